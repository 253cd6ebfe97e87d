"""What happens when a slide or a result comes into a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Layer

from fakes import ArraySlide
from napari_lumen import open_slide
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Window
from napari_lumen.inference.run import RUN_FILE, Run
from napari_lumen.plugin import opening
from napari_lumen.plugin.controllers.arrivals import Arrivals
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.slide_layers import slide_layers
from plugin_fakes import channel_slide, write_run


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def panel_opened() -> list[bool]:
    return []


@pytest.fixture
def arrivals(viewer: ViewerModel, panel_opened: list[bool]) -> Iterator[Arrivals]:
    made = Arrivals(viewer, lambda: panel_opened.append(True))
    yield made
    made.close()


def slide_of(mpp: tuple[float, float] | None = (0.5, 0.5), name: str = "case.svs") -> ArraySlide:
    slide = ArraySlide(np.full((300, 200, 3), 200, np.uint8), mpp=mpp)
    slide.path = Path(name)
    return slide


def added(viewer: ViewerModel, layers: Any) -> list[Any]:
    made = [Layer.create(*data) for data in layers]
    viewer.layers.extend(made)
    return made


def test_a_missing_pixel_size_is_asked_for_once(
    arrivals: Arrivals, viewer: ViewerModel, told: list[Any], panel_opened: list[bool]
) -> None:
    added(viewer, slide_layers(slide_of()))
    assert not told
    added(viewer, slide_layers(channel_slide(np.zeros((64, 64, 2), np.uint8), mpp=None)))
    (note,) = told
    assert note.message.startswith(
        "Give the pixel size in the Slide panel: it is not known of cells.ome.tif,"
    )
    assert "for the other slides" in note.message  # napari shows units only where all layers have the same
    ((button, then),) = note.actions
    assert button == "Open it"
    then(None)
    assert panel_opened == [True]


def test_the_scale_bar_comes_with_the_first_slide_in_micrometres(
    arrivals: Arrivals, viewer: ViewerModel, told: list[Any]
) -> None:
    bar = viewer.canvas.overlays.scale_bar
    (layer,) = added(viewer, slide_layers(slide_of(mpp=None)))
    assert not bar.visible
    SlideLayers(viewer).give_pixel_size(layer, 0.25)
    assert bar.visible
    bar.visible = False  # the user does not want it
    added(viewer, slide_layers(slide_of()))
    assert not bar.visible
    viewer.layers.clear()
    added(viewer, slide_layers(slide_of()))
    assert bar.visible


@pytest.mark.parametrize("slide_first", [True, False])
@pytest.mark.parametrize("mpp", [(0.25, 0.25), None])
def test_a_run_that_is_dropped_lies_on_its_slide(
    arrivals: Arrivals,
    viewer: ViewerModel,
    told: list[Any],
    tmp_path: Path,
    slide_first: bool,
    mpp: tuple[float, float] | None,
) -> None:
    slide = slide_of()
    run = write_run(tmp_path, slide, Window(8, 8, 8, 8), step=2.0)
    slide.mpp = mpp  # corrected, or lost, since
    parts = [slide_layers(slide), run_layers(run, "case").layers]
    made = [added(viewer, part) for part in (parts if slide_first else parts[::-1])]
    (layer,), results = made if slide_first else made[::-1]
    labels = results[-1]
    corner = layer.world_to_data(labels.data_to_world((8 - 0.5, 8 - 0.5)))
    np.testing.assert_allclose(corner, (15.5, 15.5), atol=1e-9)
    assert {tuple(map(str, item.units)) for item in viewer.layers} == {
        ("pixel", "pixel") if mpp is None else ("micrometer", "micrometer")
    }


def test_a_run_of_another_slide_stays_where_it_is(
    arrivals: Arrivals, viewer: ViewerModel, tmp_path: Path
) -> None:
    results = added(viewer, run_layers(write_run(tmp_path, slide_of(), Window(8, 8, 8, 8)), "case").layers)
    before = [tuple(layer.scale) for layer in results]
    slide = slide_of(mpp=(0.1, 0.1))
    data, settings, kind = slide_layers(slide)[0]
    settings["metadata"]["napari_lumen"]["fingerprint"] = "another"
    added(viewer, [(data, settings, kind)])
    assert [tuple(layer.scale) for layer in results] == before


def test_the_slider_of_a_channel_reaches_beyond_what_is_shown(
    arrivals: Arrivals, viewer: ViewerModel
) -> None:
    pixels = np.random.default_rng(0).integers(100, 900, (300, 200, 2), np.uint16)
    first, _ = added(viewer, slide_layers(channel_slide(pixels)))
    assert first.contrast_limits[1] < 1000
    assert list(first.contrast_limits_range) == [0, 1023]


# a run folder that is opened brings its slide

TISSUE = Window(96, 64, 40, 24)  # level-0 px


def slide_file(path: Path, sized: bool = True, glass: int = 230) -> Path:
    """Write a light slide with a dark rectangle, TISSUE."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((600, 400, 3), glass, np.uint8)
    image[TISSUE.slices] = 40
    size = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"} if sized else {}
    tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb", compression="deflate", **size)
    return path


def run_of(path: Path, folder: Path, mpp: float | None = None, **record: Any) -> Path:
    """Write a run that found the dark rectangle of a slide."""
    with open_slide(path, mpp) as slide:
        run = write_run(folder, slide, Window(48, 32, 20, 12))
    (folder / RUN_FILE).write_text(run.record.model_copy(update=record).model_dump_json())
    return folder


def opened(viewer: Any, run: Path) -> list[Any]:
    layers: list[Any] = viewer.open(run, plugin="napari-lumen")
    return layers


def slides_in(viewer: Any) -> list[Any]:
    return SlideLayers(viewer).layers()


def assert_aligned(slide: Any, labels: Any) -> None:
    """See that the label's edges lie on the rectangle's, each within half a pixel of the slide."""
    found = np.argwhere(np.asarray(labels.data[0]) == 1)
    dark = np.argwhere(np.asarray(slide.data[0])[..., 0] == 40)
    for label_edge, edge in (
        (found.min(axis=0) - 0.5, dark.min(axis=0) - 0.5),
        (found.max(axis=0) + 0.5, dark.max(axis=0) + 0.5),
    ):
        np.testing.assert_allclose(slide.world_to_data(labels.data_to_world(label_edge)), edge, atol=0.5)


def test_a_run_brings_its_slide_as_if_opened_by_itself(
    viewer: ViewerModel, told: list[Any], tmp_path: Path
) -> None:
    path = slide_file(tmp_path / "slides" / "case.tif")
    slide, *results = opened(viewer, run_of(path, tmp_path / "out" / "run"))
    assert list(viewer.layers) == [slide, *results]
    assert not told
    assert len(results) == 4
    (alone,) = ViewerModel().open(path, plugin="napari-lumen")
    assert (slide.name, slide.rgb, slide.multiscale, slide.visible) == ("case.tif", True, True, True)
    for name in ("scale", "translate", "units", "blending", "interpolation2d"):
        assert str(getattr(slide, name)) == str(getattr(alone, name)), name
    assert set(slide.metadata["napari_lumen"]) == set(alone.metadata["napari_lumen"])
    assert results[-1].name.startswith("case · ")
    assert_aligned(slide, results[-1])


def test_a_slide_that_states_another_size_than_the_run_used_carries_its_results(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    path = slide_file(tmp_path / "case.tif")
    slide, *_, labels = opened(viewer, run_of(path, tmp_path / "run", mpp=0.3))
    assert tuple(slide.scale) == (0.5, 0.5)
    assert_aligned(slide, labels)


@pytest.mark.parametrize("sized", [True, False])
def test_the_pixel_size_that_was_given_for_the_run_is_kept(
    viewer: ViewerModel, tmp_path: Path, sized: bool
) -> None:
    path = slide_file(tmp_path / "case.tif", sized)
    run = run_of(path, tmp_path / "run", mpp=0.3, mpp_source="user")
    slide, *_, labels = opened(viewer, run)
    assert tuple(slide.scale) == (0.3, 0.3)
    assert {tuple(map(str, layer.units)) for layer in viewer.layers} == {("micrometer", "micrometer")}
    assert slide.metadata["napari_lumen"]["slide"].mpp_given
    assert_aligned(slide, labels)


@pytest.mark.parametrize("where", ["run", ".", ".."])
def test_a_slide_that_was_moved_with_its_run_is_found(
    viewer: ViewerModel, told: list[Any], tmp_path: Path, where: str
) -> None:
    path = slide_file(tmp_path / "old" / "case.tif")
    run = run_of(path, tmp_path / "new" / "runs" / "run")
    moved = (run.parent / where / "case.tif").resolve()
    shutil.move(path, moved)
    slide, *_, labels = opened(viewer, run)
    assert slide.metadata["napari_lumen"]["path"] == str(moved)
    assert not told
    assert_aligned(slide, labels)


def test_a_slide_of_a_run_that_windows_wrote_is_found_beside_it(viewer: ViewerModel, tmp_path: Path) -> None:
    path = slide_file(tmp_path / "case.tif")
    slide, *_ = opened(viewer, run_of(path, tmp_path / "run", slide="D:\\slides\\case.tif"))
    assert slide.metadata["napari_lumen"]["path"] == str(path)


def test_without_its_slide_a_run_comes_alone_and_asks_for_it(
    viewer: ViewerModel, told: list[Any], tmp_path: Path
) -> None:
    path = slide_file(tmp_path / "old" / "case.tif")
    run = run_of(path, tmp_path / "run")
    path.unlink()
    assert len(opened(viewer, run)) == 4
    assert not slides_in(viewer)
    assert [(note.severity.value, note.message) for note in told] == [
        (
            "warning",
            f"Open case.tif to see it below the results of run: it is neither at {path} nor beside the run.",
        )
    ]


@pytest.mark.parametrize("bad", [b"", b"A letter, not a slide."])
def test_what_replaced_the_slide_is_not_taken(
    viewer: ViewerModel, told: list[Any], tmp_path: Path, bad: bytes
) -> None:
    path = slide_file(tmp_path / "old" / "case.tif")
    run = run_of(path, tmp_path / "run")
    slide_file(path, glass=220)
    assert len(opened(viewer, run)) == 4
    path.write_bytes(bad)
    assert len(opened(viewer, run)) == 4
    assert not slides_in(viewer)
    assert [note.message for note in told] == [
        f"Open case.tif to see it below the results of run: {path} {why}."
        for why in ("is another slide now", "cannot be read")
    ]
    slide_file(tmp_path / "case.tif")  # the right one, beside the run
    opened(viewer, run)
    assert len(slides_in(viewer)) == 1
    assert len(told) == 2


def test_who_cancels_the_slide_gets_the_results(
    viewer: ViewerModel, told: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(run: Run) -> Any:
        raise Cancelled("The slide was not opened.")

    run = run_of(slide_file(tmp_path / "case.tif"), tmp_path / "run")
    monkeypatch.setattr(opening, "open_slide_of", cancelled)
    assert len(opened(viewer, run)) == 4
    assert not told
