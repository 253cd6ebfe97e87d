"""How many annotated boxes a map covers: image by image, as gated attention measures it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from shapely import box

from explain_fakes import marker_model
from fakes import ArraySlide
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.boxes import evaluate_boxes
from napari_lumen.evaluation.boxes import attention_mask
from napari_lumen.explain.coverage import box_coverage, run_box_coverage
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.geometry import Grid, Region
from napari_lumen.inference import predict
from napari_lumen.models.instances import InstanceSelection


def outlines(*boxes: tuple[float, float, float, float]) -> list[Annotation]:
    """Of (top, left, bottom, right)."""
    return [Annotation(box(left, top, right, bottom)) for top, left, bottom, right in boxes]


@pytest.mark.parametrize("shape", [(7, 7), (5, 9), (1, 7)])
def test_a_mask_is_what_gated_attention_selects_instances_by(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).gamma(2.0, size=shape).astype(np.float32)
    wanted = InstanceSelection().normalise(torch.from_numpy(values)[None, None])[0].numpy() > 0.5
    found = attention_mask(values, (224, 224))
    assert 0 < wanted.mean() < 1
    assert (found != wanted).mean() < 1e-3  # values at the threshold, by rounding


def test_a_flat_map_marks_nothing_nor_does_what_was_not_computed() -> None:
    assert not attention_mask(np.full((3, 3), 0.7), (9, 9)).any()
    assert not attention_mask(np.full((3, 3), math.nan), (9, 9)).any()
    values = np.array([[0.0, 1.0, math.nan, math.nan]])
    np.testing.assert_array_equal(attention_mask(values, (1, 4)), [[False, True, False, False]])
    assert not attention_mask(values, (8, 8))[:, 4:].any()


def test_boxes_of_a_field_are_covered_by_their_area() -> None:
    values = np.zeros((4, 4))
    values[:, :2] = 1.0
    grid = Grid((4, 4), (16.0, 8.0), (100.0, 200.0))  # enlarged the map is high in x 200 to 216
    known = outlines((100, 200, 132, 216), (116, 208, 148, 224), (100, 208, 164, 232), (900, 900, 910, 910))
    found = box_coverage(values, grid, known)
    np.testing.assert_allclose(found.shares, [1.0, 0.5, 1 / 3], atol=1e-6)
    assert found.covered == pytest.approx(2 / 3)
    assert math.isnan(box_coverage(values, grid, []).covered)
    values[:, 3] = np.nan
    assert len(box_coverage(values, grid, outlines((100, 225, 132, 232))).shares) == 0


def test_in_a_run_each_tile_is_an_image_with_a_range_of_its_own(tmp_path: Path) -> None:
    tile, cell = 64, 8
    darkness = np.zeros((2 * tile, 2 * tile))
    darkness[8:32, 8:32] = 250  # the darkest of all
    darkness[16:48, 72:104] = 25  # as marked within its own tile
    slide = ArraySlide(np.repeat((255 - darkness)[..., None], 3, axis=2).astype(np.uint8))
    model = marker_model(cell, whole=True, attention=("map8",), size=tile)
    run = predict(slide, model, Region(0, 0, 2 * tile, 2 * tile), tmp_path / "run")
    known = outlines((8, 8, 32, 32), (16, 72, 48, 104), (16, 88, 48, 120), (70, 70, 90, 90), (8, 20, 32, 100))
    found = run_box_coverage(run, RunMaps(run)["map8"], known)
    assert found.by_tile
    # enlarged, an edge between two cells stays where it is, and corners get round
    np.testing.assert_allclose(found.shares, [1, 1, 0.5, 0, (24 * 12 + 16 * 28) / (24 * 80)], atol=0.05)
    whole = box_coverage(*RunMaps(run)["map8"].read(), known)
    assert whole.shares[1] == 0  # one range for all tiles sees the darkest alone
    write_geojson(tmp_path / "boxes.geojson", known)
    scored = evaluate_boxes(run.path, tmp_path / "boxes.geojson", map_name="map8", resamples=2)
    np.testing.assert_allclose([row.share for row in scored.boxes], found.shares, atol=1e-6)
    by_class = run_box_coverage(run, RunMaps(run)["dark"], known)
    assert not by_class.by_tile  # a value a tile: there the image is the run
