"""Tiles of large fields: what they and their context show, what they cover, and which an epoch takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from fakes import ArraySlide
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference.reading import TileReader
from napari_lumen.models import View
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.fields import FieldTiles, TileViews, covering, starts
from napari_lumen.training.regions import at_pixels
from training_pictures import LabelledArrays

MPP = 0.5


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("corner", [(40.0, 64.0), (-16.0, 150.0), (33.5, 20.25)])
@pytest.mark.parametrize("mpp", [0.5, 1.0, 0.7])
def test_a_tile_and_its_context_are_read_as_a_run_reads_them(corner: tuple[float, float], mpp: float) -> None:
    picture, size = noise(180, 200), 32
    views = TileViews(size, mpp, MPP, context=3.5)
    step = views.step(None)
    grid = Grid((size, size), (step, step), corner)
    reader = TileReader(ArraySlide(picture), grid, (View(size=size, mpp=mpp), View(size=size, mpp=mpp * 3.5)))
    wanted = reader.read(Window(0, 0, size, size))
    assert wanted is not None
    np.testing.assert_array_equal(views.fine(picture, *corner, step), wanted[0])
    np.testing.assert_array_equal(views.around(picture, *corner, step)[0], wanted[1])


def test_outside_a_field_it_is_white_and_without_a_label() -> None:
    views = TileViews(8, 1.0, 1.0, context=2)
    black, labels = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8)
    fine, truth = views.fine(black, -4, 0, 1), views.labels(labels, -4, 0, 1)
    assert (fine[:4] == 255).all()
    assert not fine[4:].any()
    assert (truth[:4] == IGNORE).all()
    assert (truth[4:] == 1).all()
    context = views.around(black, 0, 0, 1)[0]
    assert (context[[0, -1]] == 255).all()
    assert not context[3:5, 3:5].any()


@given(
    st.tuples(st.integers(5, 300), st.integers(5, 300)),
    st.floats(8, 120, allow_nan=False, allow_infinity=False),
)
def test_tiles_cover_a_field_and_each_pixel_is_answered_by_one(shape: tuple[int, int], side: float) -> None:
    counted = np.zeros(shape, int)
    for y, x, (rows, columns) in covering(shape, side):
        counted[rows, columns] += 1
        for start, part, length in ((y, rows, shape[0]), (x, columns, shape[1])):
            assert start - 1 <= part.start
            assert part.stop <= start + side + 1
            assert start >= min(0, length - side) - 1e-9
    assert (counted == 1).all()


def test_tiles_that_overlap_meet_halfway() -> None:
    (y, x, first), (_, second_x, second) = covering((16, 22), 16)
    assert (y, x, second_x) == (0, 0, 6)
    assert first == (slice(0, 16), slice(0, 11))
    assert second == (slice(0, 16), slice(11, 22))


def test_tiles_lie_half_a_tile_apart_as_in_the_paper() -> None:
    assert starts(5000, 1000, 500) == [500.0 * number for number in range(9)]  # 81 in a region
    assert starts(60, 100, 50) == [-20]


def test_logits_are_taken_to_the_pixels_of_the_field_by_cubic_interpolation() -> None:
    logits = torch.randn(3, 10, 12, generator=torch.Generator().manual_seed(0))
    found = at_pixels(logits, (5, -7), 2.0, (slice(5, 25), slice(-7, 17)))
    wanted = F.interpolate(logits[None], scale_factor=2, mode="bicubic", align_corners=False)[0]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    same = at_pixels(logits, (5, -7), 1.0, (slice(7, 15), slice(-7, 5)))
    torch.testing.assert_close(same, logits[:, 2:], atol=1e-4, rtol=1e-4)


def four_quarters() -> LabelledArrays:
    """A field whose upper left quarter is of class 2, and whose right half has no label."""
    labels = np.zeros((64, 64), np.uint8)
    labels[:32, :32] = 2
    labels[:, 32:] = IGNORE
    return LabelledArrays([np.zeros((64, 64, 3), np.uint8)], [labels], mpp=None)


def test_an_epoch_holds_enough_tiles_of_the_favoured_classes() -> None:
    tiles = FieldTiles(four_quarters(), [0], TileViews(16, 1.0, 1.0), stride=0.25, favoured=[2])
    places = [(tiles[index].y, tiles[index].x) for index in range(len(tiles))]
    assert max(x for _, x in places) < 32  # there is nothing to learn in the right half
    shows = np.array([y < 32 and x < 32 for y, x in places])
    assert 0 < shows.sum() < len(shows)
    drawn = tiles.draw(30, 2 / 3, np.random.default_rng(0))
    assert len(set(drawn)) == 30
    assert shows[drawn].sum() == 20
    assert drawn != sorted(drawn)
    assert tiles.draw(30, 2 / 3, np.random.default_rng(1)) != drawn
    everything = tiles.draw(10_000, 0.01, np.random.default_rng(0))
    assert sorted(everything) == list(range(len(tiles)))


def test_fields_without_any_label_are_an_error() -> None:
    nothing = LabelledArrays([np.zeros((8, 8, 3), np.uint8)], [np.full((8, 8), IGNORE, np.uint8)])
    with pytest.raises(RunError, match="has a label"):
        len(FieldTiles(nothing, [0], TileViews(4, 1.0, 1.0), stride=0.5))
