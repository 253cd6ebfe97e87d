"""The Tile tool: everything of one field, and the tiles of a run that are most like it."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import torch

from attention_bench import Bench
from explain_fakes import dark_at, marker_model
from fakes import ArraySlide
from napari_lumen.explain.nearest import TileVectors, tile_vectors
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.geometry import Grid, Region
from napari_lumen.inference import Run, predict
from napari_lumen.plugin.controllers.attention_tile import TileController
from napari_lumen.plugin.explainers import Asker
from test_inference_slide import COLUMNS, PATCH, ROWS, WHOLE, Together, picture, small, two_lumps, two_stages

SHADES = np.array([[30, 240, 32], [90, 28, 200]], np.uint8)


@pytest.fixture(scope="module")
def shaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArraySlide, Run]:
    """Six tiles in a colour of their own each, whose gates are that colour."""
    pixels = np.kron(SHADES[..., None], np.ones((64, 64, 3), np.uint8))
    pixels[..., 1] = 255 - pixels[..., 1]
    slide = ArraySlide(pixels)
    model = marker_model(8, whole=True, attention=("map8", "gate"), size=64)
    return slide, predict(slide, model, Region(0, 0, 128, 192), tmp_path_factory.mktemp("shaded") / "run")


def test_a_field_is_shown_with_its_crop_numbers_and_a_picture_a_map() -> None:
    slide = dark_at(Region(204, 192, 16, 16), (400, 420))
    bench = Bench(slide, marker_model(2, 4, size=64))
    tile = TileController(bench.controller)
    assert tile.shown.region is None
    bench.controller.explain(Asker(model=Path("marker")), (212.0, 200.0), "Field")
    shown, field = tile.shown, bench.controller.field
    assert field is not None
    assert shown.region == field.explained_region
    assert "32 × 32 µm" in shown.said
    assert shown.crop is not None
    assert shown.crop.shape == (240, 240, 3)
    assert shown.crop[120, 120].max() < 60 < shown.crop[5, 5].min()  # black in the middle, white around
    assert [name for name, _, _ in shown.maps] == [item.name for item in field.maps]
    assert all(picture.shape == (72, 72, 3) for _, _, picture in shown.maps)
    assert dict(shown.probabilities) == dict(field.explained.probabilities)
    tile.show_map("map4")
    assert bench.controller.state.chosen == "map4"
    tile.go_to_field()
    y, x = bench.viewer.scene.camera.center[-2:]
    region = field.explained_region
    assert (y, x) == pytest.approx(((region.y + 32 - 0.5) * 0.5, (region.x + 32 - 0.5) * 0.5))
    tile.close()


def test_tiles_that_are_alike_are_found_by_the_gates_that_a_run_keeps(shaded: tuple[ArraySlide, Run]) -> None:
    slide, run = shaded
    vectors = tile_vectors(RunMaps(run), slide)
    assert vectors is not None
    assert vectors.said == "channel gates"
    gates = np.stack([1 - SHADES / 255, SHADES / 255, 1 - SHADES / 255], axis=-1).reshape(6, 3)
    cosine = gates @ gates.T / np.outer(*(2 * [np.linalg.norm(gates, axis=1)]))
    found = vectors.nearest(10.0, 10.0)
    order = [int(entry.region.y // 64 * 3 + entry.region.x // 64) for entry in found]
    expected = [index for index in np.argsort(-cosine[0]).tolist() if index]
    assert order == expected
    assert [entry.value for entry in found] == pytest.approx(cosine[0][expected], abs=1e-5)
    assert vectors.nearest(1000.0, 10.0) == ()


def test_tiles_that_are_alike_are_found_by_the_vectors_of_a_first_stage_while_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    slide = ArraySlide(picture())
    model = two_stages(small())
    maps = RunMaps(predict(slide, model, WHOLE, tmp_path / "run"))
    vectors = tile_vectors(maps, slide, model)
    assert vectors is not None
    assert vectors.said == "features"
    tiles = picture().reshape(ROWS, PATCH, COLUMNS, PATCH, 3).swapaxes(1, 2).reshape(-1, PATCH, PATCH, 3)
    with torch.inference_mode():
        pixels = torch.from_numpy(tiles.astype(np.float32) / 255).permute(0, 3, 1, 2)
        features = model.network.patch_features(pixels).numpy()  # type: ignore[operator]
    lengths = np.linalg.norm(features, axis=1)
    own = 2 * COLUMNS + 4
    cosine = features @ features[own] / (lengths * lengths[own])
    cosine[own] = -np.inf
    first = vectors.nearest(2.5 * PATCH, 4.5 * PATCH, 3)
    assert [int(entry.region.y // PATCH * COLUMNS + entry.region.x // PATCH) for entry in first] == (
        np.argsort(-cosine)[:3].tolist()
    )
    assert [entry.value for entry in first] == pytest.approx(np.sort(cosine)[::-1][:3], abs=1e-3)
    assert tile_vectors(maps, slide) is None  # only the model says which vectors are meant
    rmtree(tmp_path / "cache")
    assert tile_vectors(maps, slide, model) is None


def test_the_tile_of_a_run_comes_with_those_that_are_like_it(shaded: tuple[ArraySlide, Run]) -> None:
    slide, run = shaded
    bench = Bench(slide, marker_model(8, whole=True, attention=("map8", "gate"), size=64))
    bench.show_run(run)
    tile = TileController(bench.controller)
    bench.controller.explain_at(10.0, 10.0)
    assert tile.shown.nearest_said == "Tiles that are alike, by their channel gates:"
    entry, picture = tile.shown.nearest[0]
    assert entry.region == Region(64, 64, 64, 64)  # 28 is nearest to 30 beside 32
    assert picture is not None
    tile.go_to(0)
    y, x = bench.viewer.scene.camera.center[-2:]
    assert (y, x) == pytest.approx(((96 - 0.5) * 0.5, (96 - 0.5) * 0.5))
    tile.go_to(99)


def test_a_tile_without_a_vector_has_none_that_are_like_it() -> None:
    values = np.array([[[1.0, np.nan, 0.5]], [[0.0, np.nan, 0.5]]], np.float32)
    vectors = TileVectors(values, Grid((1, 3), (10.0, 10.0)), "features")
    assert [entry.region.x for entry in vectors.nearest(5, 5)] == [20.0]
    assert vectors.nearest(5, 15) == ()


def test_a_tile_of_a_run_in_two_stages_shows_the_runs_numbers_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    slide, model = ArraySlide(two_lumps()[: 12 * PATCH, : 12 * PATCH]), two_stages(Together())
    bench = Bench(slide, model)
    run = predict(slide, model, None, tmp_path / "run")
    bench.show_run(run)
    tile, point = TileController(bench.controller), (6.5 * PATCH, 5.5 * PATCH)
    bench.controller.explain_at(*point)
    said = RunMaps(run).at(*point).probabilities
    assert tile.shown.probabilities == said
    assert "the values are the run's own" in tile.shown.said
    assert ("probability.tumour", f"Probability of tumour {said['tumour']:.3g}") in [
        (name, title) for name, title, _ in tile.shown.maps
    ]
    bench.controller.explain_at(10.0, 10.0)
    assert "The run found no tissue there" in bench.controller.state.message
    place = Region(4 * PATCH, 4 * PATCH, PATCH, PATCH)
    bench.controller.explain(Asker(model=Path("stages")), place, "Field")
    assert "a run, which sees the slide, can say otherwise" in tile.shown.said
