"""What may be asked of a slide, in what depth it answers, in how much memory, and what it does not hold."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Grid, Window
from napari_lumen.slides import Channel
from napari_lumen.slides import damage as damage_module
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.level import levels_from_shapes
from napari_lumen.slides.resample import resample
from napari_lumen.slides.slide import Slide

Array = npt.NDArray[Any]


class KnownSlide(Slide):
    """A slide of one level whose pixels are an array (h, w, samples)."""

    def __init__(self, pixels: Array, on_read: Callable[[Window], None] | None = None) -> None:
        super().__init__(Path("known.tif"))
        self.levels = levels_from_shapes([pixels.shape[:2]])
        self.dtype, self.mpp = pixels.dtype, (0.25, 0.25)
        if pixels.shape[2] != 3:
            self.channels = tuple(Channel(str(number)) for number in range(pixels.shape[2]))
        self.magnification = None
        self.vendor, self.properties, self.bounds = "known", {}, None
        self.associated = AssociatedImages({})
        self.largest_read = 0
        self._pixels, self._on_read = pixels, on_read

    def _read(self, level: int, window: Window) -> Array:
        self.largest_read = max(self.largest_read, window.height * window.width)
        if self._on_read is not None:
            self._on_read(window)
        return self._pixels[window.slices]

    def close(self) -> None:
        pass


# ---------------------------------------------------------------------------------------------------------
# What may be asked


@pytest.fixture
def slide() -> KnownSlide:
    return KnownSlide(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((0, 0, 8, 8, -1), "only level 0, not -1"),
        ((0, 0, 8, 8, 99), "only level 0, not 99"),
        ((0, 0, 8, 8, 0.5), "only level 0, not 0.5"),
        ((0, 0, -8, 8), "at least 1 x 1, not .* height -8"),
        ((0, 0, 8, 0), "at least 1 x 1, not .* width 0"),
        ((float("nan"), 0, 8, 8), "whole pixels .* y nan"),
    ],
)
def test_what_is_no_window_is_refused_in_a_sentence(
    slide: KnownSlide, arguments: tuple[Any, ...], part: str
) -> None:
    with pytest.raises(ValueError, match=rf"known\.tif .*{part}.*\.$"):
        slide.read(*arguments)


@pytest.mark.parametrize(
    "window", [(0.7, 0, 5, 5), (0, np.float32(0.5), 5, 5), (0, 0, 5.5, 5), (0, 0, 5, np.float64(4.9))]
)
def test_a_fraction_of_a_pixel_is_refused_in_a_sentence(slide: KnownSlide, window: tuple[Any, ...]) -> None:
    with pytest.raises(SlideError, match=r"^known\.tif is read in whole pixels, not y .*[^.]\.$"):
        slide.read(*window)
    with pytest.raises(SlideError, match="whole pixels"):
        slide.read_at(0.7, 0.2, 5, 5.5, 0.5)  # type: ignore[arg-type]
    assert slide.read_at(0.7, 0.2, 5, 5, 0.5).shape == (5, 5, 3)


@pytest.mark.parametrize("kind", [int, float, np.int64, np.uint8, np.float32])
def test_numbers_that_are_whole_are_whole_pixels(slide: KnownSlide, kind: Any) -> None:
    np.testing.assert_array_equal(slide.read(*map(kind, (3, 4, 5, 6))), slide.read(3, 4, 5, 6))


@pytest.mark.parametrize("mpp", [0, -1, float("nan"), float("inf"), 1e9, "fine", (1, 2, 3), None])
def test_what_is_no_pixel_size_is_refused_in_a_sentence(slide: KnownSlide, mpp: Any) -> None:
    with pytest.raises(ValueError, match=r"known\.tif is read at a pixel size, .* above 0 .*\.$"):
        slide.read_at(0, 0, 8, 8, mpp)


def test_a_place_and_a_size_to_read_at_are_finite(slide: KnownSlide) -> None:
    with pytest.raises(ValueError, match="two finite numbers"):
        slide.read_at(float("inf"), 0, 8, 8, 0.5)
    with pytest.raises(ValueError, match="at least 1 x 1"):
        slide.read_at(0, 0, 0, 8, 0.5)


@pytest.mark.parametrize(
    "mpp", [np.float32(0.5), np.array(0.5), [0.5, 0.5], np.array([0.5, 0.5], np.float32)]
)
def test_numbers_of_numpy_are_numbers(slide: KnownSlide, mpp: Any) -> None:
    one, eight = np.float32(1), np.int64(8)
    np.testing.assert_array_equal(slide.read_at(one, one, eight, eight, mpp), slide.read_at(1, 1, 8, 8, 0.5))
    np.testing.assert_array_equal(slide.read(one, eight, eight, eight, np.int64(0)), slide.read(1, 8, 8, 8))
    assert slide.read_at(0, 0, 8, 8, np.int64(1)).shape == (8, 8, 3)


# ---------------------------------------------------------------------------------------------------------
# Depth


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 200),
        ("int8", -128),
        ("uint16", 65535),
        ("uint32", 16777217),
        ("uint32", 4294967295),
        ("int32", 2147483647),
        ("int32", -2147483648),
        ("uint64", 2**64 - 1),
        ("int64", -(2**63)),
        ("float16", 0.1),
        ("float32", 0.1),
        ("float64", 0.1),
        ("float64", float("nan")),
    ],
)
def test_a_constant_of_any_depth_stays_that_constant(dtype: str, value: float) -> None:
    image = np.full((60, 70, 2), value, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mpp in (0.3, 0.13, 1.0, (0.4, 0.9)):
            found = KnownSlide(image).read_at(3.3, 4.7, 10, 9, mpp)
            assert found.dtype == image.dtype
            np.testing.assert_array_equal(found, image[:10, :9])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("mpp", [(0.2505, 0.2505), (0.35, 0.61), (0.13, 0.17)])
def test_a_pixel_is_the_same_whatever_window_it_is_read_in(dtype: str, mpp: tuple[float, float]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (500, 600, 3)).astype(dtype)
    slide = KnownSlide(image)
    step = (mpp[0] / 0.25, mpp[1] / 0.25)
    grid = Grid((int(500 / step[0]), int(600 / step[1])), step)
    whole = slide.read_grid(grid, Window(0, 0, *grid.shape))
    for y in range(-20, grid.shape[0], 71):
        for x in range(-20, grid.shape[1], 71):
            window = Window(y, x, 96, 96).intersect(Window(0, 0, *grid.shape))
            inside = Window(window.y - y, window.x - x, window.height, window.width)
            found = slide.read_grid(grid, Window(y, x, 96, 96))[inside.slices]
            np.testing.assert_allclose(found, whole[window.slices], atol=1e-4 * (dtype == "float32"))


@pytest.mark.parametrize("ratio", [1.002, 1.7, 3.3, 0.6])
def test_resampling_is_that_of_pillow(ratio: float) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (200, 230, 3)).astype(np.uint8)
    corner, shape = (2.25, 3.5), (int(190 / max(1, ratio)), int(220 / max(1, ratio)))
    box = (corner[1], corner[0], corner[1] + shape[1] * ratio, corner[0] + shape[0] * ratio)
    size = (shape[1], shape[0])
    wanted = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=box))
    found = resample(pixels, shape, corner, (ratio, ratio))
    assert np.abs(found.astype(int) - wanted).max() <= 1  # which rounds between rows and columns, too


@pytest.mark.parametrize("dtype", ["uint32", "int32", "int64", "float64"])
def test_deep_values_are_resampled_as_their_difference_is(dtype: str) -> None:
    ramp = np.broadcast_to(np.arange(0, 4000, 10)[None, :, None], (40, 400, 1))
    base = 2_000_000_000
    shallow = KnownSlide(ramp.astype(np.uint16)).read_at(4, 4, 8, 150, 0.6)
    deep = KnownSlide((ramp + base).astype(dtype)).read_at(4, 4, 8, 150, 0.6)
    assert np.abs((deep - np.dtype(dtype).type(base)).astype(np.float64) - shallow).max() <= 1


def test_values_over_the_whole_of_32_bits_are_resampled_without_overflow() -> None:
    image = np.array([[[0], [2**32 - 1]] * 32] * 64, np.uint32)
    found = KnownSlide(image).read_at(8, 8, 8, 8, 0.5)
    assert np.abs(found.astype(np.float64) - 2**31).max() < 2**20


# ---------------------------------------------------------------------------------------------------------
# Memory


def test_one_pixel_of_a_whole_slide_is_averaged_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_lumen.slides.regrid._MOST_PIXELS", 1 << 18)
    y, x = np.mgrid[:3000, :3000]
    image = np.stack([y * 255 // 2999, x * 255 // 2999, np.full_like(y, 77)], axis=-1).astype(np.uint8)
    slide = KnownSlide(image)
    for count in (1, 2):
        found = slide.read_at(0, 0, count, count, 0.25 * 3000 / count)
        assert slide.largest_read <= 1 << 18
        assert (found[..., 2] == 77).all()
        middles = (np.arange(count) + 0.5) * 255 / count
        # at the slide's edge the triangle leans inwards
        assert np.abs(found[:, 0, 0] - middles).max() <= 255 / count / 6
        np.testing.assert_array_equal(found[..., 0].T, found[..., 1])


def test_what_is_far_from_the_slide_costs_nothing() -> None:
    slide = KnownSlide(np.zeros((100, 100, 3), np.uint8))
    found = slide.read_at(0, 0, 3, 3, 1e6)
    assert (found[1:, 1:] == 255).all()
    assert slide.largest_read <= 100 * 100


# ---------------------------------------------------------------------------------------------------------
# Damage


def broken_at_the_start(window: Window) -> None:
    if window.y < 256 and window.x < 256:
        raise SlideError("known.tif cannot be decoded there.")


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.filterwarnings("ignore:.*hatched")
def test_the_hatch_lies_within_what_each_channel_shows(dtype: str) -> None:
    rng = np.random.default_rng(0)
    tops = (4000, 300)
    image = np.stack([rng.integers(100, top, (512, 512)) for top in tops], axis=-1).astype(dtype)
    shown = KnownSlide(image, broken_at_the_start).dask_levels()[0].compute()
    np.testing.assert_array_equal(shown[256:], image[256:])
    for channel, top in enumerate(tops):
        thirds = [100 + (top - 100) * part / 3 for part in (1, 2)]
        np.testing.assert_allclose(np.unique(shown[:256, :256, channel]), thirds, atol=2)


@pytest.mark.filterwarnings("ignore:.*hatched")
def test_where_nothing_is_known_the_hatch_is_seen_in_the_whole_range() -> None:
    def broken(window: Window) -> None:
        raise SlideError("known.tif cannot be decoded there.")

    for dtype, greys in (("uint8", [168, 208]), ("uint16", [21845, 43690]), ("float64", [1 / 3, 2 / 3])):
        shown = KnownSlide(np.zeros((64, 64, 2), dtype), broken).dask_levels()[0].compute()
        assert shown.dtype == dtype
        np.testing.assert_allclose(np.unique(shown), greys)


@pytest.mark.parametrize(
    ("cause", "is_passing"),
    [
        (ConnectionError("no route"), True),
        (OSError(5, "Input/output error"), True),
        (OSError("image file is truncated"), False),
        (RuntimeError("corrupt JPEG"), False),
    ],
)
@pytest.mark.filterwarnings("ignore:.*hatched")
def test_a_tile_that_the_network_did_not_deliver_is_asked_for_again(
    cause: Exception, is_passing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(damage_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    failing, asked = [True], [0]

    def read(window: Window) -> None:
        asked[0] += 1
        if failing[0]:
            raise SlideError("known.tif cannot be read.") from cause

    image = np.zeros((64, 64, 3), np.uint8)
    slide = KnownSlide(image, read)
    view = slide.dask_levels()[0]
    assert view.compute().any()
    failing[0], before = False, asked[0]
    assert view.compute().any()
    assert asked[0] == before  # not at once: each tile of a view may have to wait for an answer
    now[0] += 10
    assert view.compute().any() != is_passing
    assert len(slide.damage) == (not is_passing)
