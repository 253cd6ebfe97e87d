"""Fields and tiles of models that classify a slide in two stages: what a run says of them, they say."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from typer.testing import CliRunner

from fakes import ArraySlide
from napari_lumen.annotations.decision import NO_LABEL, NORMAL, TUMOUR
from napari_lumen.cli import app
from napari_lumen.errors import RunError
from napari_lumen.explain import Explainer
from napari_lumen.explain.drawing import Bitmap
from napari_lumen.explain.export import write_field
from napari_lumen.explain.faithfulness import faithfulness
from napari_lumen.explain.field_maps import FieldMaps
from napari_lumen.explain.figure import Style
from napari_lumen.explain.run_figure import run_figure
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.explain.run_tile import run_tile
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.plugin.explainers import Asker, Explainers
from test_inference_slide import PATCH, Together, small, two_lumps, two_stages

SIDE = 12 * PATCH
NAMES = ("feature_norm", "tumour_prob")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def one_lump() -> ArraySlide:
    """A slide of which one lump of tissue, dark at its left, lies on glass."""
    base = two_lumps()[:SIDE, :SIDE].copy()
    base[4 * PATCH : 9 * PATCH, 6 * PATCH : 9 * PATCH] = (220, 150, 220)
    return ArraySlide(base)


@pytest.mark.parametrize("slide_map", ["slide", "lumps"])
def test_a_field_that_holds_all_tissue_says_what_the_run_says_and_nothing_of_glass(
    tmp_path: Path, slide_map: str
) -> None:
    slide, model = one_lump(), two_stages(small(), attention=NAMES, slide_map=slide_map)
    maps = RunMaps(predict(slide, model, None, tmp_path / "run"))
    field = Explainer(model, "cpu").explain(slide, Region(0, 0, SIDE, SIDE))
    for name in NAMES:
        wanted = maps[name].read()[0][: SIDE // PATCH, : SIDE // PATCH]
        assert np.isnan(wanted).any()
        assert np.ptp(wanted[np.isfinite(wanted)]) > 1e-3
        np.testing.assert_allclose(field[name].values, wanted, atol=1e-4)
    probability = field["probability.tumour"].values
    np.testing.assert_array_equal(
        np.isnan(probability[::PATCH, ::PATCH]), np.isnan(field["tumour_prob"].values)
    )
    assert field.probabilities["tumour"] == pytest.approx(float(np.nanmean(probability)), abs=1e-6)
    assert np.isfinite(field.entropy)
    assert np.isnan(FieldMaps(field).at(10, 10).values["tumour_prob"])


def test_a_field_and_a_slide_without_tissue_are_refused() -> None:
    model = two_stages(Together())
    with pytest.raises(RunError, match=r"^There is no tissue in this field: choose a place on the tissue\.$"):
        Explainer(model, "cpu").explain(one_lump(), Region(0, 0, PATCH, PATCH))
    glass = ArraySlide(np.full((SIDE, SIDE, 3), 255, np.uint8))
    with pytest.raises(
        RunError, match=r"^No tissue was found on array\.tif: nothing on it stands out from the"
    ):
        Explainer(model, "cpu").explain(glass, Region(0, 0, 64, 64))


def test_tumour_normal_and_no_label_are_drawn_from_python_and_by_the_commands(tmp_path: Path) -> None:
    slide, model = one_lump(), two_stages(small(), attention=NAMES)
    run = predict(slide, model, None, tmp_path / "run")
    region, style = Region(0, 0, SIDE, SIDE), Style(120, opacity=1.0)
    drawn = run_figure(slide, RunMaps(run), "tumour_prob:states", region, style=style)
    picture = next(mark for mark in drawn.marks if isinstance(mark, Bitmap)).pixels
    assert tuple(picture[5, 5]) == NO_LABEL.color  # glass
    shown = {tuple(pixel) for pixel in picture[30:80, 70:110:4].reshape(-1, 3).tolist()}
    assert shown <= {TUMOUR.color, NORMAL.color, NO_LABEL.color, (0, 0, 0), (255, 255, 255)}
    with pytest.raises(RunError, match=r"Feature norm is no tumour probability: leave out :states"):
        run_figure(slide, RunMaps(run), "feature_norm:states", Region(0, 0, SIDE, SIDE))
    field = Explainer(model, "cpu").explain(slide, Region(0, 0, SIDE, SIDE))
    files = {file.name for file in write_field(slide, field, tmp_path / "field", style=Style(100))}
    assert {"tumour_prob.png", "tumour_prob_states.png"} <= files
    said = CliRunner().invoke(
        app, ["figure", str(run.path), "--map", "feature_norm:states", "--out", str(tmp_path / "a.png")]
    )
    assert "is no tumour probability" in said.stderr


def test_a_check_of_a_field_with_glass_follows_its_tissue() -> None:
    slide, explainer = one_lump(), Explainer(two_stages(small(), attention=NAMES), "cpu")
    place = Region(2 * PATCH, 2 * PATCH, 4 * PATCH, 5 * PATCH)
    item = explainer.explain(slide, place)["feature_norm"]
    found = faithfulness(explainer, slide, place, item, steps=2, repeats=1)
    assert np.isfinite(found.deletion.scores).all()


def test_a_tile_of_a_run_that_looks_at_tiles_together_is_what_the_run_says_of_it(tmp_path: Path) -> None:
    slide, model = one_lump(), two_stages(small(), attention=NAMES)
    run = predict(slide, model, None, tmp_path / "run")
    maps, point = RunMaps(run), (6.5 * PATCH, 5.5 * PATCH)
    said, tile = maps.at(*point), run_tile(maps, *point)
    alone = Explainer(model, "cpu").explain(slide, maps.tile_at(*point) or point)
    assert abs(alone.probabilities["tumour"] - said.probabilities["tumour"]) > 0.01  # else nothing is tested
    assert tile.of_run
    assert tile.region == said.tile
    assert tile.probabilities == said.probabilities
    shown = FieldMaps(tile).at(*point)
    assert shown.values == pytest.approx(said.values)
    assert shown.probabilities == pytest.approx(said.probabilities)
    assert [part.name for part in tile.parts] == ["answer", "network"]
    # the window takes the same, and needs no model for it
    found, _ = Explainers().explain(slide, Asker(run=run.path), tile.region, Event())
    assert found.probabilities == said.probabilities
    with pytest.raises(RunError, match="The run found no tissue there"):
        run_tile(maps, 10, 10)
