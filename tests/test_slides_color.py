"""Colours shown as sRGB: those of lcms and of the standard's own formula, on any thread."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fakes import ArraySlide
from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.color import Color, to_srgb
from plugin_fakes import linear_profile

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def linear() -> Color:
    return to_srgb(linear_profile())


def encoded(light: np.ndarray) -> np.ndarray:
    """Return sRGB values of light in [0, 1], by IEC 61966-2-1."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_light_comes_out_as_the_standard_encodes_it(linear: Color) -> None:
    pixels = RNG.integers(0, 256, (64, 48, 3), np.uint8)
    shown = linear(pixels)
    assert (shown.shape, shown.dtype) == (pixels.shape, np.uint8)
    np.testing.assert_allclose(shown, encoded(pixels / 255), atol=1.5)
    assert np.abs(shown.astype(int) - pixels).max() > 50


def test_glass_stays_white_and_black_stays_black(linear: Color) -> None:
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(linear(ends), ends)


@pytest.mark.parametrize("shape", [(256, 256, 3), (1, 1, 3), (7, 5, 3), (0, 4, 3)])
def test_the_answers_are_those_of_lcms(linear: Color, shape: tuple[int, int, int]) -> None:
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(linear_profile())),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    pixels = RNG.integers(0, 256, shape, np.uint8)
    wanted = (
        pixels if not pixels.size else np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), transform))
    )
    np.testing.assert_array_equal(linear(pixels), wanted)


def test_part_of_a_larger_picture_is_converted_as_the_whole(linear: Color) -> None:
    pixels = RNG.integers(0, 256, (50, 60, 3), np.uint8)
    np.testing.assert_array_equal(linear(pixels[3:20:2, 5:30]), linear(pixels)[3:20:2, 5:30])


def test_many_threads_get_the_same_answers() -> None:
    fresh = to_srgb(linear_profile())  # its table is built while they all ask
    tiles = [RNG.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(16)]
    with ThreadPoolExecutor(8) as threads:
        shown = list(threads.map(fresh, tiles))
    for tile, answer in zip(tiles, shown, strict=True):
        np.testing.assert_array_equal(answer, fresh(tile))


def test_the_profile_of_a_real_slide_is_understood(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.dicom") as slide:
        assert slide.icc_profile is not None
        tile = slide.read(1000, 700, 64, 64)
        np.testing.assert_allclose(to_srgb(slide.icc_profile)(tile).astype(int), tile, atol=2)  # it is sRGB


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"no profile",
        linear_profile()[:200],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ],
)
def test_a_broken_or_foreign_profile_is_one_sentence(profile: bytes) -> None:
    with pytest.raises(SlideError, match="colour profile") as caught:
        to_srgb(profile)
    assert "\n" not in str(caught.value)


def test_the_viewers_levels_are_coloured_and_what_is_read_stays_raw(linear: Color) -> None:
    slide = ArraySlide(RNG.integers(0, 256, (3000, 700, 3), np.uint8))
    for shown, raw in zip(slide.dask_levels(linear), slide.dask_levels(), strict=True):
        assert shown.name != raw.name  # napari's cache keeps chunks by name
        np.testing.assert_array_equal(shown[100:300, 50:90], linear(np.asarray(raw[100:300, 50:90])))
    np.testing.assert_array_equal(slide.read(5, 5, 20, 20), np.asarray(slide.dask_levels()[0][5:25, 5:25]))
