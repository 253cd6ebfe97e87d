"""Where a map is high, in outlines and areas; and how far two maps agree."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from napari_lumen.annotations.geojson import read_geojson, write_geojson
from napari_lumen.annotations.shapes import Source
from napari_lumen.errors import RunError
from napari_lumen.explain import agreement
from napari_lumen.explain.agreement import compare_values
from napari_lumen.explain.area_above import AreaAbove
from napari_lumen.explain.contour import area_mm2, contour, to_annotations
from napari_lumen.geometry import Grid

MPP = (0.5, 0.25)


@given(st.integers(0, 2**16 - 1), st.floats(0.1, 0.9))
def test_the_outline_along_cells_has_exactly_their_area(bits: int, threshold: float) -> None:
    values = np.array([(bits >> index) & 1 for index in range(16)], float).reshape(4, 4)
    grid = Grid((4, 4), (16.0, 8.0), (3.5, 100.25))
    outlines = contour(values, grid, threshold)
    assert sum(outline.area for outline in outlines) == values.sum() * 16 * 8
    assert area_mm2(outlines, MPP) == pytest.approx(AreaAbove.of(values, grid, MPP).mm2(threshold))


def test_an_outline_runs_along_the_edges_of_its_cells_on_the_slide() -> None:
    values = np.zeros((5, 5))
    values[1:3, 2] = 1
    (outline,) = contour(values, Grid((5, 5), (10.0, 20.0), (1000.0, 2000.0)), 0.5)
    assert outline.equals(shapely.box(2040, 1010, 2060, 1030))
    assert contour(values, Grid((5, 5), (1.0, 1.0)), 2.0) == ()
    assert contour(np.full((3, 3), np.nan), Grid((3, 3), (1.0, 1.0)), 0.0, "interpolated") == ()


def test_an_interpolated_outline_of_a_cone_is_a_circle_with_its_hole() -> None:
    y, x = np.mgrid[:80, :80] + 0.5
    away = np.hypot(y - 40, x - 40)
    ring = 10 - np.abs(away - 20)  # at least 2 between radii 12 and 28
    (outline,) = contour(ring, Grid((80, 80), (4.0, 4.0), (100.0, 200.0)), 2.0, "interpolated")
    assert len(outline.interiors) == 1
    assert outline.area == pytest.approx(math.pi * (28**2 - 12**2) * 16, rel=0.003)
    assert outline.centroid.coords[0] == pytest.approx((360, 260), abs=0.1)


def test_an_interpolated_outline_ends_at_the_edges_of_the_map_and_of_what_is_not_known() -> None:
    values = np.full((4, 6), 3.0)
    (outline,) = contour(values, Grid((4, 6), (10.0, 10.0)), 1.0, "interpolated")
    assert outline.bounds == pytest.approx((0, 0, 60, 40))
    assert outline.area == pytest.approx(60 * 40, rel=0.03)  # corners are cut
    values[:, 3:] = np.nan
    (outline,) = contour(values, Grid((4, 6), (10.0, 10.0)), 1.0, "interpolated")
    assert outline.bounds == pytest.approx((0, 0, 30, 40))


def test_a_value_equal_to_the_threshold_lies_inside() -> None:
    values = np.zeros((3, 3))
    values[1, 1] = 0.5
    grid = Grid((3, 3), (1.0, 1.0))
    assert contour(values, grid, 0.5)[0].area == 1
    assert len(contour(values, grid, 0.5, "interpolated")) == 1
    assert AreaAbove.of(values, grid, (1000.0, 1000.0)).mm2(0.5) == 1


def test_the_area_and_its_share_of_tissue_follow_the_threshold() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((9, 7))
    values[0, 0] = np.nan
    grid = Grid((9, 7), (32.0, 48.0), (16.0, 8.0))
    mask, mask_grid = rng.random((40, 41)) > 0.4, Grid((40, 41), (11.0, 13.0))
    above = AreaAbove.of(values, grid, MPP, (mask, mask_grid))
    pixels = np.kron(mask, np.ones((11, 13)))  # a value a level-0 px
    cells = [
        pixels[16 + 32 * row : 48 + 32 * row, 8 + 48 * column : 56 + 48 * column].sum()
        for row in range(9)
        for column in range(7)
    ]
    tissue = np.array(cells).reshape(9, 7)
    known = np.isfinite(values)
    for threshold in (-1.0, 0.3, 0.8, 2.0):
        chosen = known & (np.nan_to_num(values) >= threshold)
        assert above.mm2(threshold) == pytest.approx(chosen.sum() * 32 * 48 * 0.125 / 1e6)
        assert above.share_of_tissue(threshold) == pytest.approx(tissue[chosen].sum() / tissue[known].sum())
    assert math.isnan(AreaAbove.of(values, grid, MPP).share_of_tissue(0.5))


def test_an_outline_becomes_an_annotation_that_says_where_it_is_from(tmp_path: Path) -> None:
    values = np.zeros((5, 5))
    values[1, 1], values[3, 3:5] = 1, 1
    outlines = contour(values, Grid((5, 5), (10.0, 10.0)), 0.5)
    found = to_annotations(
        outlines,
        model="nuclei",
        run="run 7",
        title="Entropy",
        threshold=0.5,
        mpp=(0.5, 0.5),
        class_name="tumour",
        color=(255, 0, 0),
        least_um2=30,
    )
    (item,) = found
    assert item.source == Source("nuclei", "run 7")
    assert item.name == "Entropy ≥ 0.5"
    assert item.measurements["Area µm^2"] == 50
    write_geojson(tmp_path / "a.geojson", found)
    (read,) = read_geojson(tmp_path / "a.geojson")
    assert read.geometry.equals(item.geometry)
    assert read.source == item.source


def test_maps_of_different_cells_are_compared_place_by_place() -> None:
    rng = np.random.default_rng(1)
    fine, coarse = rng.random((12, 16)), rng.random((3, 4))
    coarse[0, 0] = np.nan
    found = compare_values(
        (fine, Grid((12, 16), (8.0, 8.0), (40.0, 80.0))), (coarse, Grid((3, 4), (32.0, 32.0), (40.0, 80.0)))
    )
    wide = np.kron(coarse, np.ones((4, 4)))
    known = np.isfinite(wide)
    assert found.grid == Grid((12, 16), (8.0, 8.0), (40.0, 80.0))
    np.testing.assert_allclose(found.difference[known], (fine - wide)[known], atol=1e-6)
    assert np.isnan(found.difference[~known]).all()
    assert found.pearson == pytest.approx(pearsonr(fine[known], wide[known]).statistic, abs=1e-6)
    assert found.spearman == pytest.approx(spearmanr(fine[known], wide[known]).statistic, abs=1e-6)
    one, other = known & (fine >= 0.4), known & (np.nan_to_num(wide) >= 0.7)
    overlap = found.overlap(0.4, 0.7)
    assert overlap.both == (one & other).sum() * 64
    assert overlap.dice == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()))
    assert overlap.iou == pytest.approx((one & other).sum() / (one | other).sum())
    assert math.isnan(found.overlap(9.0).dice)


def _by_pixels(values: np.ndarray, own: Grid, grid: Grid) -> np.ndarray:
    """The mean of a map in each cell of a grid, of samples at every half of a level-0 px."""
    places, starts = [], []
    for axis in (0, 1):
        at = np.arange(0.25, grid.shape[axis] * grid.step[axis], 0.5)
        starts.append(np.searchsorted(at, np.arange(grid.shape[axis]) * grid.step[axis]))
        places.append(np.floor((at + grid.origin[axis] - own.origin[axis]) / own.step[axis]).astype(int))
    sampled = values[np.ix_(*places)]
    counts = np.outer(*(np.diff([*start, len(at)]) for start, at in zip(starts, places, strict=True)))
    total: np.ndarray = np.add.reduceat(np.add.reduceat(sampled, starts[0], 0), starts[1], 1)
    return total / counts


@pytest.mark.parametrize(
    ("fine", "coarse", "shape"),
    [
        (Grid((40, 45), (16.0, 16.0), (7.3, 0.0)), Grid((5, 5), (146.58, 146.58)), (40, 45)),
        (Grid((6, 8), (146.58, 146.58), (0.0, 13.0)), Grid((4, 3), (224.0, 350.0), (31.0, 0.0)), (5, 7)),
        (Grid((9, 9), (146.58, 146.58)), Grid((9, 9), (146.6, 146.6), (50.0, -73.29)), (8, 8)),
        (Grid((30, 4), (20.0, 250.0), (5.0, 0.0)), Grid((4, 30), (160.0, 33.0)), (30, 30)),
        (Grid((7, 7), (99.9, 99.9)), Grid((2, 2), (350.0, 350.0)), (7, 7)),  # nests but for rounding
    ],
)
def test_maps_whose_cells_do_not_nest_are_compared_by_area_in_the_place_of_the_finer_one(
    fine: Grid, coarse: Grid, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random(fine.shape), rng.random(coarse.shape)
    found = compare_values((first, fine), (second, coarse))
    grid = found.grid
    assert grid.shape == shape
    for axis in (0, 1):
        finer = fine if fine.step[axis] <= coarse.step[axis] else coarse
        assert grid.step[axis] == finer.step[axis]
        cells = (grid.origin[axis] - finer.origin[axis]) / finer.step[axis]
        assert cells == pytest.approx(round(cells), abs=1e-9)  # no edge has moved
    one, other = (_by_pixels(*item, grid) for item in ((first, fine), (second, coarse)))
    np.testing.assert_allclose(found.first, one, atol=0.04)
    np.testing.assert_allclose(found.second, other, atol=0.04)
    swapped = compare_values((second, coarse), (first, fine))
    assert swapped.grid == grid
    np.testing.assert_array_equal(swapped.difference, -found.difference)


def test_the_numbers_of_maps_whose_cells_do_not_nest_are_those_of_their_pixels() -> None:
    rng = np.random.default_rng(4)
    coarse = rng.random((5, 5))
    coarse[2, 2] = np.nan
    fine = np.kron(coarse, np.ones((9, 9)))[:40, :45].round(2) + rng.random((40, 45)) / 2
    maps = (fine, Grid((40, 45), (16.0, 16.0), (7.0, 0.0))), (coarse, Grid((5, 5), (146.58, 146.58), (1, 9)))
    found = compare_values(*maps)
    at = np.arange(7.5, 647), np.arange(9.5, 720)  # the middle of each pixel that both cover
    one, other = (
        values[np.ix_(*(((at[axis] - grid.origin[axis]) // grid.step[axis]).astype(int) for axis in (0, 1)))]
        for values, grid in maps
    )
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    assert found.pearson == pytest.approx(pearsonr(one, other).statistic, abs=2e-3)
    assert found.spearman == pytest.approx(spearmanr(one, other).statistic, abs=2e-3)
    overlap = found.overlap(0.8, 0.5)
    assert overlap.first == pytest.approx((one >= 0.8).sum(), rel=5e-3)
    assert overlap.second == pytest.approx((other >= 0.5).sum(), rel=5e-3)
    assert overlap.both == pytest.approx(((one >= 0.8) & (other >= 0.5)).sum(), rel=5e-3)


def test_a_cell_with_values_in_less_than_half_of_it_counts_in_no_comparison() -> None:
    coarse = np.array([[np.nan, 2.0, 2.0]])
    grid = Grid((1, 6), (30.0, 10.0))
    found = compare_values((np.arange(6.0)[None], grid), (coarse, Grid((1, 3), (30.0, 24.0), (0.0, -1.0))))
    # cells end at 23 and 47: 7 of the third cell's 10 px have a value
    np.testing.assert_array_equal(found.second, [[np.nan, np.nan, 2, 2, 2, 2]])
    with pytest.raises(RunError, match="less than a cell in common"):
        compare_values(
            (np.ones((2, 2)), Grid((2, 2), (9.0, 9.0))), (coarse, Grid((1, 3), (9.0, 9.0), (13, 0)))
        )


def test_ranks_of_large_maps_are_those_of_some_rows_and_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_RANKED", 900)
    rng = np.random.default_rng(3)
    first = rng.random((60, 60))
    second = first + rng.random((60, 60))
    grid = Grid((60, 60), (4.0, 4.0))
    found = compare_values((first, grid), (second, grid))
    assert found.spearman == pytest.approx(spearmanr(first[::2, ::2].ravel(), second[::2, ::2].ravel())[0])
    assert found.pearson == pytest.approx(pearsonr(first.ravel(), second.ravel())[0], abs=1e-6)


def test_flat_maps_and_maps_of_other_places_have_no_correlation() -> None:
    grid = Grid((4, 4), (8.0, 8.0))
    flat = compare_values((np.full((4, 4), 0.1), grid), (np.arange(16.0).reshape(4, 4), grid))
    assert math.isnan(flat.pearson)
    assert math.isnan(flat.spearman)
    edges = compare_values((np.full((4, 4), 0.1), grid), (np.full((4, 4), 0.3), Grid((4, 4), (9.1, 9.1))))
    assert math.isnan(edges.pearson)  # nor where cells of both sides are mixed
    nothing = compare_values((np.full((4, 4), np.nan), grid), (np.ones((4, 4)), grid))
    assert math.isnan(nothing.pearson)
    with pytest.raises(RunError, match="cover no place in common"):
        compare_values((np.ones((4, 4)), grid), (np.ones((4, 4)), Grid((4, 4), (8.0, 8.0), (900.0, 0.0))))
