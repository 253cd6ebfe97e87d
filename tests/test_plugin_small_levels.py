"""The levels that are shown from memory: which, read how often, and stopped how soon."""

from __future__ import annotations

from threading import Event
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Layer

from napari_lumen.errors import Cancelled, SlideError
from napari_lumen.geometry import Window
from napari_lumen.plugin import small_levels
from napari_lumen.plugin.ready import make_ready
from napari_lumen.plugin.slide_layers import slide_layers
from napari_lumen.plugin.small_levels import read_small_levels
from plugin_fakes import ReadSlide, channel_slide

RNG = np.random.default_rng(5)


def flat(side: int = 20_000) -> ReadSlide:
    """Return a slide without a pyramid, of one colour a quarter."""
    corners = np.array([[[250, 10, 20], [0, 200, 0]], [[9, 9, 9], [200, 200, 250]]], np.uint8)
    half = side // 2
    levels = np.broadcast_to(corners[:, None, :, None], (2, half, 2, half, 3)).reshape(side, side, 3)
    return ReadSlide(levels, tile=256)


@pytest.fixture(scope="module")
def slide() -> ReadSlide:
    return flat()


def test_without_a_pyramid_level_0_is_read_once_and_never_again(slide: ReadSlide) -> None:
    slide.reads.clear()
    ready = make_ready(slide)
    read = sum(window.height * window.width for _, window in slide.reads)
    assert read < 1.5 * 20_000 * 20_000
    assert [level.shape for level in ready.small] == [(2500, 2500, 3), (1250, 1250, 3)]
    slide.reads.clear()
    (data,) = slide_layers(slide, None, ready)
    layer: Any = Layer.create(*data)
    assert layer.thumbnail[..., :3].any()
    np.asarray(layer.data[-1])
    np.asarray(layer.data[-2])
    assert not slide.reads
    np.testing.assert_array_equal(layer.data[-1][10, 10], (250, 10, 20))
    np.testing.assert_array_equal(layer.data[-1][-10, 10], (9, 9, 9))
    assert isinstance(layer.data[0], da.Array)


def test_a_pyramid_keeps_its_coarsest_level_only() -> None:
    image = RNG.integers(0, 256, (4000, 4000, 3), np.uint8)
    stored = ReadSlide(image, image[::4, ::4])
    (small,) = read_small_levels(stored)
    np.testing.assert_array_equal(small, image[::4, ::4])
    assert {level for level, _ in stored.reads} == {1}


def test_reading_tells_how_far_it_is_and_stops_within_a_band(slide: ReadSlide) -> None:
    steps: list[tuple[int, int, str]] = []
    cancel = Event()

    def emit(step: tuple[int, int, str]) -> None:
        steps.append(step)
        if len(steps) == 3:
            cancel.set()

    slide.reads.clear()
    with pytest.raises(Cancelled):
        read_small_levels(slide, emit, cancel)
    assert steps[0] == (0, 2500, "Reading an overview of array.tif, which has no pyramid, …")
    assert steps[1][0] > 0
    assert max(window.height * window.width for _, window in slide.reads) < 20_000_000
    assert len(slide.reads) <= 4


def test_channels_lie_each_in_one_piece_and_are_not_copied() -> None:
    values = RNG.integers(0, 3000, (5000, 5000, 2), np.uint16)
    layers: list[Any] = [Layer.create(*data) for data in slide_layers(channel_slide(values))]
    small = layers[0].metadata["napari_lumen"]["small"]
    for index, layer in enumerate(layers):
        assert layer.data[-1].flags.c_contiguous
        assert np.shares_memory(layer.data[-1], small[-1])
        np.testing.assert_array_equal(layer.data[-1], small[-1][..., index])


def test_large_channels_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_levels, "_MOST_BYTES", 1 << 20)
    values = np.zeros((9000, 9000, 2), np.uint8)
    assert [level.shape for level in read_small_levels(channel_slide(values))] == [(1125, 1125, 2)]


def test_what_a_server_does_not_deliver_is_no_level() -> None:
    image = np.zeros((600, 600, 3), np.uint8)

    class Silent(ReadSlide):
        def _read(self, level: int, window: Window) -> Any:
            raise SlideError("array.tif cannot be fetched.") from TimeoutError()

    with pytest.warns(UserWarning, match="hatched"), pytest.raises(SlideError, match="cannot be fetched"):
        read_small_levels(Silent(image))
