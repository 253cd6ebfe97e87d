"""The one coordinate model: what lies where, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from napari_lumen.geometry import (
    Grid,
    Region,
    Window,
    level0_to_world,
    snap_downsample,
    spanned,
    tile_starts,
    windows,
    world_to_level0,
)

sides = st.integers(1, 200_000)
steps = st.floats(0.05, 500)
coordinates = st.floats(-1e5, 1e6)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    shape = (draw(st.integers(1, 5000)), draw(st.integers(1, 5000)))
    return Grid(shape, (draw(steps), draw(steps)), (draw(coordinates), draw(coordinates)))


@st.composite
def grids_with_a_window(draw: st.DrawFn) -> tuple[Grid, Window]:
    grid = draw(grids())
    y, x = draw(st.integers(0, grid.shape[0] - 1)), draw(st.integers(0, grid.shape[1] - 1))
    height, width = draw(st.integers(1, grid.shape[0] - y)), draw(st.integers(1, grid.shape[1] - x))
    return grid, Window(y, x, height, width)


def test_a_level_of_8333_of_33333_pixels_is_downsampled_by_exactly_4() -> None:
    assert snap_downsample(33333, 8333) == 4.0
    assert snap_downsample(33333, 8334) == 4.0  # the writer rounded up


@given(st.integers(1, 12), st.integers(4, 50_000), st.data(), st.booleans())
def test_powers_of_two_are_found_whichever_way_the_writer_rounded(
    exponent: int, level_side: int, data: st.DataObject, up: bool
) -> None:
    factor = 2**exponent
    rest = data.draw(st.integers(0, factor - 1))
    base = level_side * factor + rest
    assert snap_downsample(base, level_side + (up and rest > 0)) == factor


@given(st.integers(3, 60), st.integers(200, 20_000), st.data())
def test_integers_are_found(factor: int, level_side: int, data: st.DataObject) -> None:
    base = level_side * factor + data.draw(st.integers(0, factor - 1))
    assume(2 ** round(np.log2(base / level_side)) != factor)
    assert snap_downsample(base, level_side) == factor


def test_a_ratio_that_is_no_integer_is_kept() -> None:
    assert snap_downsample(10_000, 3000) == pytest.approx(10 / 3)
    assert snap_downsample(4864, 1390) == 4864 / 1390


def test_a_side_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        snap_downsample(0, 10)


def test_a_map_of_one_value_for_224_pixels_is_not_shifted_by_half_a_tile() -> None:
    coarse = Grid((10, 10), (224.0, 224.0))
    assert coarse.scale((0.25, 0.5)) == (56.0, 112.0)
    assert coarse.translate((0.25, 0.5)) == (223 / 2 * 0.25, 223 / 2 * 0.5)


def test_level_0_itself_is_not_moved() -> None:
    assert Grid((10, 10), (1.0, 1.0)).translate((0.25, 0.25)) == (0.0, 0.0)


@given(grids_with_a_window(), st.floats(0.05, 10), st.floats(0.05, 10))
def test_napari_shows_the_centre_of_every_pixel_at_the_centre_of_its_footprint(
    grid_and_window: tuple[Grid, Window], mpp_y: float, mpp_x: float
) -> None:
    grid, window = grid_and_window
    mpp = (mpp_y, mpp_x)
    pixel = grid.region_of(Window(window.y, window.x, 1, 1))
    centre = level0_to_world((pixel.y + pixel.height / 2, pixel.x + pixel.width / 2), mpp)
    shown = [
        origin + index * scale
        for origin, index, scale in zip(
            grid.translate(mpp), (window.y, window.x), grid.scale(mpp), strict=True
        )
    ]
    assert shown == pytest.approx(centre, rel=1e-9, abs=1e-4)


@given(grids_with_a_window())
def test_a_window_comes_back_from_its_region(grid_and_window: tuple[Grid, Window]) -> None:
    grid, window = grid_and_window
    assert grid.window_of(grid.region_of(window)) == window


@given(grids_with_a_window(), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_window_of_a_region_covers_it_and_no_row_more(
    grid_and_window: tuple[Grid, Window], before: float, after: float
) -> None:
    grid, window = grid_and_window
    assume(window.height > 2 and window.width > 2)
    whole = grid.region_of(window)
    part = Region(
        whole.y + before * grid.step[0],
        whole.x + before * grid.step[1],
        whole.height - (before + after) * grid.step[0],
        whole.width - (before + after) * grid.step[1],
    )
    assert grid.window_of(part) == window


@given(grids_with_a_window(), st.floats(0.01, 0.49))
def test_a_pixel_that_is_cut_is_not_within_a_region(grid_and_window: tuple[Grid, Window], cut: float) -> None:
    grid, window = grid_and_window
    whole = grid.region_of(window)
    assert grid.window_within(whole) == window
    smaller = Region(
        whole.y + cut * grid.step[0],
        whole.x + cut * grid.step[1],
        whole.height - 2 * cut * grid.step[0],
        whole.width - 2 * cut * grid.step[1],
    )
    inner = grid.window_within(smaller)
    assert (inner.height, inner.width) == (max(0, window.height - 2), max(0, window.width - 2))


def test_a_region_beside_the_grid_has_an_empty_window() -> None:
    window = Grid((10, 10), (1.0, 1.0)).window_of(Region(50, 50, 5, 5))
    assert window.height == window.width == 0


@given(grids(), st.integers(1, 9))
def test_a_coarsened_grid_starts_at_the_same_edge_and_covers_the_fine_one(grid: Grid, factor: int) -> None:
    coarse = grid.coarsened(factor)
    assert coarse.origin == grid.origin
    assert coarse.step == (grid.step[0] * factor, grid.step[1] * factor)
    for fine, rough in zip(grid.shape, coarse.shape, strict=True):
        assert fine <= rough * factor < fine + factor


@given(st.integers(1, 5000), st.integers(1, 600), st.data())
def test_tiles_cover_everything_and_none_is_for_nothing(length: int, tile: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, tile))
    starts = tile_starts(length, tile, stride)
    assert starts[0] == 0
    assert set(np.diff(starts)) <= {stride}
    assert starts[-1] + tile >= length
    assert len(starts) == 1 or starts[-2] + tile < length


@pytest.mark.parametrize("stride", [0, -1, 65])
def test_tiles_that_would_leave_gaps_are_refused(stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        tile_starts(100, 64, stride)


@given(st.tuples(coordinates, coordinates), st.tuples(st.floats(0.05, 10), st.floats(0.05, 10)))
def test_world_and_level_0_are_inverse(point: tuple[float, float], mpp: tuple[float, float]) -> None:
    assert level0_to_world(world_to_level0(point, mpp), mpp) == pytest.approx(point, rel=1e-9, abs=1e-6)


def test_the_origin_of_the_world_is_the_centre_of_the_first_pixel() -> None:
    assert world_to_level0((0.0, 0.0), (0.25, 0.25)) == (0.5, 0.5)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 120))
def test_windows_partition_a_raster(height: int, width: int, size: int) -> None:
    seen = np.zeros((height, width), np.uint8)
    for window in windows((height, width), size):
        seen[window.slices] += 1
    assert (seen == 1).all()


@given(*[st.tuples(coordinates, coordinates, st.floats(0, 1e5), st.floats(0, 1e5))] * 2)
def test_the_common_part_of_two_regions_lies_in_both(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> None:
    one, other = Region(*first), Region(*second)
    common = one.intersect(other)
    if not common.empty:
        for whole in (one, other):
            assert whole.y <= common.y
            assert whole.x <= common.x
            assert common.bottom <= whole.bottom + 1e-6
            assert common.right <= whole.right + 1e-6


@pytest.mark.parametrize(("height", "width"), [(-1, 5), (5, -1), (float("nan"), 5)])
def test_a_region_cannot_be_inside_out(height: float, width: float) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        Region(0, 0, height, width)


@pytest.mark.parametrize(
    ("shape", "step"), [((-1, 4), (1.0, 1.0)), ((4, 4), (0.0, 1.0)), ((4, 4), (1.0, -2.0))]
)
def test_a_grid_needs_a_positive_step(shape: tuple[int, int], step: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="positive step"):
        Grid(shape, step)


@pytest.mark.parametrize(
    "part",
    [0, 7, -1, slice(None), slice(2, 5), slice(-3, None), slice(6, 2), slice(None, None, 3), slice(8, 1, -2)],
)
def test_what_an_index_spans_holds_what_it_takes(part: int | slice) -> None:
    axis = np.arange(10)
    start, length, within = spanned(part, len(axis))
    np.testing.assert_array_equal(axis[start : start + length][within], axis[part])
