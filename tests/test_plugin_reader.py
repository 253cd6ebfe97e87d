"""Opening: what the reader claims, what it makes of a slide, and what the user is told when it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.plugins._npe2 import get_readers
from napari.utils.notifications import notification_manager
from npe2 import PluginManager

from napari_lumen.errors import SlideError
from napari_lumen.plugin import reader
from napari_lumen.plugin.own_warnings import tell_each_time
from napari_lumen.plugin.reader import napari_get_reader
from napari_lumen.slides import SUFFIXES
from plugin_fakes import damaged_slide

UM = ["micrometer", "micrometer"]
SLIDES = (
    "CMU-1-Small-Region.svs",
    "CMU-1-Small-Region.dicom",
    "OS-1-detail.ome.tif",
    "OS-2-ndpi.ome.tif",
    "test3-DAPI-2.ndpi",
    "jpeg.dicom",
    "jpeg2000.dicom",
)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What napari's notifications say while the test runs."""
    before = len(notification_manager.records)
    messages: list[str] = []

    def note(notification: object) -> None:
        messages.append(str(getattr(notification, "message", notification)))

    notification_manager.notification_ready.connect(note)
    yield messages
    notification_manager.notification_ready.disconnect(note)
    del notification_manager.records[before:]


def picture(path: Path, shape: tuple[int, ...] = (300, 400, 3), **keywords: object) -> Path:
    tifffile.imwrite(path, np.full(shape, 180, np.uint8), photometric="rgb", **keywords)
    return path


@pytest.mark.parametrize("name", SLIDES)
def test_a_slide_opens_as_a_pyramid_in_micrometres(viewer: ViewerModel, shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / name
    (layer,) = viewer.open(path, plugin="napari-lumen")
    facts = layer.metadata["napari_lumen"]
    assert layer.multiscale
    assert layer.rgb
    assert [str(unit) for unit in layer.units] == UM
    assert tuple(layer.scale) == facts["mpp"] == facts["slide"].mpp
    assert tuple(layer.translate) == (0, 0)
    assert all(isinstance(level, da.Array) for level in layer.data[:-1])
    assert isinstance(layer.data[-1], np.ndarray)
    assert layer.data[0].shape == (*facts["shape"], 3)
    assert max(layer.data[-1].shape) <= 2048
    assert facts["size_mm"] == pytest.approx(
        [n * m / 1000 for n, m in zip(*(facts[k] for k in ("shape", "mpp")), strict=True)]
    )
    assert {"vendor", "magnification", "levels", "fingerprint", "properties", "associated"} <= set(facts)
    assert np.asarray(layer.data[-1]).std() > 1


def test_the_layer_shows_the_slides_own_pixels(viewer: ViewerModel, shared_data: Path) -> None:
    (layer,) = viewer.open(shared_data / "slides" / "CMU-1-Small-Region.svs", plugin="napari-lumen")
    slide = layer.metadata["napari_lumen"]["slide"]
    np.testing.assert_array_equal(layer.data[0][1000:1100, 700:900], slide.read(1000, 700, 100, 200))


def test_a_slide_without_a_pixel_size_is_shown_in_pixels(viewer: ViewerModel, tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    image = np.full((512, 4096, 3), 200, np.uint8)
    tifffile.imwrite(path, image, photometric="rgb", tile=(256, 256))
    (layer,) = viewer.open(path, plugin="napari-lumen")
    assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]
    assert tuple(layer.scale) == (1, 1)
    assert layer.metadata["napari_lumen"]["mpp"] is None


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("upper", [False, True])
def test_every_suffix_of_a_slide_is_offered_to_our_reader(suffix: str, upper: bool) -> None:
    name = f"/data/case 12{suffix.upper() if upper else suffix}"
    readers = {reader.plugin_name for reader in PluginManager.instance().iter_compatible_readers([name])}
    assert "napari-lumen" in readers


@pytest.fixture
def gesture(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when something is dropped on the window."""
    monkeypatch.setattr(reader, "from_a_gesture", lambda: True)


def is_naparis(path: Path) -> bool:
    return napari_get_reader(str(path)) is reader._read_as_napari


def test_a_photograph_is_left_to_napari(tmp_path: Path, gesture: None) -> None:
    photograph = picture(tmp_path / "photo.tif")
    assert is_naparis(photograph)
    tiled = picture(tmp_path / "tiled.tif", tile=(128, 128), resolution=(300, 300), resolutionunit="INCH")
    assert is_naparis(tiled)
    assert is_naparis(picture(tmp_path / "camera.tif", (30, 9504, 3)))
    ((pixels, *_),) = reader._read_as_napari(str(photograph))
    assert pixels.shape == (300, 400, 3)
    assert napari_get_reader([str(tiled), str(tiled)]) is None


def test_a_grey_or_deep_tiff_is_left_to_napari(tmp_path: Path, gesture: None) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.zeros((5000, 5000), np.uint16), tile=(256, 256))
    assert is_naparis(path)


def strips(path: Path) -> Path:
    return picture(path, rowsperstrip=16, resolution=(20000, 20000), resolutionunit="CENTIMETER")


def test_strips_with_a_microscopes_pixel_size_or_of_great_length_are_a_slide(
    tmp_path: Path, gesture: None
) -> None:
    assert not is_naparis(strips(tmp_path / "scanned.tif"))
    assert not is_naparis(picture(tmp_path / "long.tif", (30, 12_000, 3), rowsperstrip=8))


def test_strips_with_a_pixel_size_open_in_micrometres(viewer: ViewerModel, tmp_path: Path) -> None:
    (layer,) = viewer.open(strips(tmp_path / "scanned.tif"), plugin="napari-lumen")
    assert [str(unit) for unit in layer.units] == UM
    assert tuple(layer.scale) == (0.5, 0.5)


def test_a_program_that_names_our_reader_gets_it(viewer: ViewerModel, tmp_path: Path) -> None:
    for name, options in (("tiled.tif", {"tile": (128, 128)}), ("strips.tif", {})):
        (layer,) = viewer.open(picture(tmp_path / name, **options), plugin="napari-lumen")
        assert layer.metadata["napari_lumen"]["slide"].mpp is None


def test_a_grey_pyramid_is_a_slide_of_one_channel(viewer: ViewerModel, shared_data: Path) -> None:
    (layer,) = viewer.open(shared_data / "slides" / "tissue_mask_pyramid.tif", plugin="napari-lumen")
    assert not layer.rgb
    assert layer.multiscale
    np.testing.assert_allclose(layer.scale, 0.972, atol=1e-3)


def test_a_small_tiff_with_a_microscopes_pixel_size_is_a_slide(tmp_path: Path) -> None:
    path = picture(
        tmp_path / "field.tif", tile=(128, 128), resolution=(40000, 40000), resolutionunit="CENTIMETER"
    )
    assert napari_get_reader(str(path)) is not None


def bad_files(folder: Path, shared_data: Path) -> dict[str, Path]:
    text = folder / "notes.svs"
    text.write_text("This is a letter, not a slide.")
    whole = (shared_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    truncated = folder / "half.svs"
    truncated.write_bytes(whole[: len(whole) // 2])
    empty, empty_tiff = folder / "empty.ndpi", folder / "empty.tif"
    empty.touch()
    empty_tiff.touch()
    unopenable = folder / "unopenable.tiff"
    shutil.copy(shared_data / "slides" / "unopenable.tiff", unopenable)
    without = folder / "letters"
    without.mkdir()
    (without / "letter.txt").write_text("Dear colleague")
    return {path.name: path for path in (text, truncated, empty, empty_tiff, unopenable, without)}


BAD = ("notes.svs", "half.svs", "empty.ndpi", "empty.tif", "unopenable.tiff", "letters")


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_opened_gives_one_sentence(
    viewer: ViewerModel, shared_data: Path, tmp_path: Path, told: list[str], name: str
) -> None:
    with pytest.raises(SlideError) as caught:
        viewer.open(bad_files(tmp_path, shared_data)[name], plugin="napari-lumen")
    sentence = str(caught.value)
    assert name in sentence
    assert "\n" not in sentence
    assert told == [sentence]
    assert not viewer.layers


def test_a_slide_whose_pixels_are_damaged_gives_one_sentence(
    viewer: ViewerModel, shared_data: Path, told: list[str]
) -> None:
    with pytest.raises(SlideError, match=r"unreadable\.svs cannot be decoded"):
        viewer.open(shared_data / "slides" / "unreadable.svs", plugin="napari-lumen")
    assert len(told) == 1
    assert not viewer.layers


def test_a_slide_of_which_nothing_can_be_decoded_is_refused(
    viewer: ViewerModel, tmp_path: Path, told: list[str]
) -> None:
    with pytest.raises(SlideError, match=r"all\.tif cannot be decoded") as caught:
        viewer.open(damaged_slide(tmp_path / "all.tif"), plugin="napari-lumen")
    assert told == [str(caught.value)]
    assert not viewer.layers


@pytest.mark.filterwarnings("ignore:.*shown hatched")
def test_a_slide_whose_middle_is_damaged_opens_hatched(viewer: ViewerModel, tmp_path: Path) -> None:
    path = damaged_slide(tmp_path / "middle.tif", bad={5, 6, 9, 10})
    (layer,) = viewer.open(path, plugin="napari-lumen")
    drawn = np.asarray(layer.data[-1])
    np.testing.assert_array_equal(drawn[:256], 220)
    assert set(np.unique(drawn[256:768, 256:768])) == {168, 208}


@pytest.mark.filterwarnings("ignore:.*shown hatched")
def test_a_slide_of_which_one_corner_is_left_opens(viewer: ViewerModel, tmp_path: Path) -> None:
    path = damaged_slide(tmp_path / "corner.tif", bad=set(range(15)))
    (layer,) = viewer.open(path, plugin="napari-lumen")
    np.testing.assert_array_equal(np.asarray(layer.data[0])[768:, 768:], 220)


def test_an_ome_zarr_image_is_a_slide_and_another_array_store_is_not(tmp_path: Path, gesture: None) -> None:
    image, labels = tmp_path / "image.zarr", tmp_path / "table.zarr"
    for folder, attributes in ((image, {"ome": {"version": "0.5", "multiscales": []}}), (labels, {})):
        folder.mkdir()
        text = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes})
        (folder / "zarr.json").write_text(text)
    older = tmp_path / "older.zarr"
    older.mkdir()
    (older / ".zgroup").write_text('{"zarr_format": 2}')
    assert is_naparis(older)
    (older / ".zattrs").write_text('{"multiscales": []}')
    assert not is_naparis(older)
    assert not is_naparis(image)
    assert is_naparis(labels)


def test_an_array_store_without_an_image_gives_one_sentence(
    viewer: ViewerModel, tmp_path: Path, told: list[str]
) -> None:
    (tmp_path / "cells.zarr").mkdir()
    with pytest.raises(SlideError):
        viewer.open(tmp_path / "cells.zarr", plugin="napari-lumen")
    with pytest.raises(SlideError):  # napari's own fails on it with an error for programmers
        reader._read_as_napari(str(tmp_path / "cells.zarr"))
    assert len(told) == 2
    assert all(message.startswith("cells.zarr holds no OME-Zarr image") for message in told)


def test_another_array_store_is_read_as_napari_does(
    viewer: ViewerModel, tmp_path: Path, gesture: None
) -> None:
    zarr.save_array(tmp_path / "table.zarr", np.arange(100.0).reshape(10, 10))
    (layer,) = viewer.open(tmp_path / "table.zarr", plugin="napari-lumen")
    np.testing.assert_array_equal(np.asarray(layer.data), np.arange(100.0).reshape(10, 10))


@pytest.mark.filterwarnings("default")  # as in the window
def test_damage_is_told_at_each_opening(viewer: ViewerModel, tmp_path: Path, told: list[str]) -> None:
    path = damaged_slide(tmp_path / "middle.tif", bad={5})
    with notification_manager:  # as napari.run does
        for _ in range(2):
            tell_each_time()
            (layer,) = viewer.open(path, plugin="napari-lumen")
            np.asarray(layer.data[-1])
            warnings.warn("of somebody else", UserWarning, stacklevel=1)
        hook = warnings.showwarning
        tell_each_time()
        assert warnings.showwarning is hook
    hatched = [message for message in told if message.endswith("is shown hatched.")]
    assert len(hatched) == 2
    assert told.count("of somebody else") == 1


def test_opening_a_slide_loads_no_torch(tmp_path: Path) -> None:
    path = picture(
        tmp_path / "field.tif", tile=(128, 128), resolution=(40000, 40000), resolutionunit="CENTIMETER"
    )
    code = (
        "import sys\n"
        "from napari_lumen.plugin.reader import napari_get_reader\n"
        "assert napari_get_reader(sys.argv[1])(sys.argv[1])\n"
        "assert not {'torch', 'qtpy', 'vispy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(path)], check=True)


def test_our_reader_is_the_first_that_napari_offers_for_a_slide() -> None:
    """napari's own reader claims *.svs as well, and would load it whole."""
    assert min(get_readers("case.svs").values()) == "Lumen"
