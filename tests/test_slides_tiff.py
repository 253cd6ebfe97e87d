"""TIFF slides read directly: every coding, exact to the pixel, and what opening them costs."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import PIL.Image
import pytest
import tifffile

from napari_lumen.slides import jpeg, open_slide
from napari_lumen.slides.cache import TileCache, process_cache
from napari_lumen.slides.tiff import TiffSlide
from tiff_files import (
    direct,
    field,
    patch,
    whole,
    write_j2k,
    write_jpeg,
)

LOSSLESS: list[dict[str, Any]] = [
    {},
    {"compression": "lzw"},
    {"compression": "lzw", "predictor": True},
    {"compression": "deflate"},
    {"compression": "deflate", "predictor": True},
    {"compression": "zstd"},
    {"compression": "zstd", "predictor": True},
    {"compression": "packbits"},
    {"compression": "lzma"},
]
CUTS: list[dict[str, Any]] = [
    {"tile": (64, 96)},
    {"rowsperstrip": 1},
    {"rowsperstrip": 37},
    {"rowsperstrip": 1000},
]


@pytest.mark.parametrize("coding", LOSSLESS, ids=lambda coding: "-".join(map(str, coding.values())) or "none")
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{next(iter(cut))}-{next(iter(cut.values()))}")
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_every_lossless_coding_and_cut_comes_back_exact(
    tmp_path: Path, coding: dict[str, Any], cut: dict[str, Any], planar: str
) -> None:
    image = field(301, 401)
    path = tmp_path / "field.tif"
    stored = image if planar == "contig" else np.moveaxis(image, -1, 0)
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, **coding, **cut)
    with direct(path) as slide:
        assert slide.is_rgb
        np.testing.assert_array_equal(whole(slide), image)
        np.testing.assert_array_equal(slide.read(100, 50, 111, 207), image[100:211, 50:257])


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 1)])
@pytest.mark.parametrize("cut", [{"tile": (64, 96)}, {"rowsperstrip": 32}], ids=["tiles", "strips"])
def test_jpeg_of_every_subsampling_agrees_with_tifffile(
    tmp_path: Path, photometric: str, subsampling: tuple[int, int], cut: dict[str, Any]
) -> None:
    path = tmp_path / "field.tif"
    tifffile.imwrite(
        path,
        field(301, 401),
        photometric=photometric,
        compression="jpeg",
        subsampling=subsampling,
        **cut,
    )
    with direct(path) as slide:
        np.testing.assert_array_equal(whole(slide), tifffile.imread(path))


@pytest.mark.parametrize("abbreviated", [False, True])
@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
def test_jpeg_agrees_with_openslide_with_its_tables_apart_or_not(
    tmp_path: Path, abbreviated: bool, subsampling: str
) -> None:
    """What tifffile writes has whole JPEGs; scanners write the tables once for all tiles."""
    image = field(512, 512)
    path = write_jpeg(tmp_path / "field.tif", image, abbreviated=abbreviated, subsampling=subsampling)
    with direct(path) as slide, openslide.OpenSlide(str(path)) as handle:
        expected = np.asarray(handle.read_region((0, 0), 0, (512, 512)))[..., :3].astype(int)
        assert np.abs(whole(slide) - expected).max() <= 2


@pytest.mark.parametrize("factors", [0x42, 0x24, 0x31])
def test_samplings_that_turbojpeg_does_not_know_are_decoded_by_libjpeg(factors: int) -> None:
    data = bytearray(imagecodecs.jpeg8_encode(np.full((64, 96, 3), 90, np.uint8), subsampling="444"))
    data[data.find(b"\xff\xc0") + 11] = factors
    out = np.empty((64, 96, 3), np.uint8)
    jpeg.decode(bytes(data), out)
    np.testing.assert_array_equal(out, imagecodecs.jpeg8_decode(bytes(data)))


@pytest.mark.parametrize("samples", [2, 4])
def test_jpeg_of_two_or_four_channels_comes_back_as_written(tmp_path: Path, samples: int) -> None:
    image = field(128, 128, samples)
    space = {"colorspace": "CMYK", "outcolorspace": "CMYK"} if samples == 4 else {}
    path = tmp_path / "channels.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter([imagecodecs.jpeg8_encode(image, level=95, **space)]),
            shape=image.shape,
            dtype=np.uint8,
            tile=(128, 128),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unspecified"] * (samples - 1),
            compression="jpeg",
        )
    with direct(path) as slide:
        np.testing.assert_array_equal(whole(slide), tifffile.imread(path))


def test_jpeg_2000_in_rgb_agrees_with_openslide(tmp_path: Path) -> None:
    image = field(256, 256)
    path = write_j2k(tmp_path / "field.svs", image, 33005, mct=True)
    with direct(path) as slide, openslide.OpenSlide(str(path)) as handle:
        expected = np.asarray(handle.read_region((0, 0), 0, (256, 256)))[..., :3]
        np.testing.assert_array_equal(whole(slide), expected)
        np.testing.assert_array_equal(whole(slide), image)


def test_jpeg_2000_in_ycbcr_agrees_with_openslide(tmp_path: Path) -> None:
    image = field(256, 256)
    path = write_j2k(tmp_path / "field.svs", np.asarray(PIL.Image.fromarray(image).convert("YCbCr")), 33003)
    with direct(path) as slide, openslide.OpenSlide(str(path)) as handle:
        expected = np.asarray(handle.read_region((0, 0), 0, (256, 256)))[..., :3].astype(int)
        assert np.abs(whole(slide) - expected).max() <= 2
        assert slide.magnification == 20


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 5])
def test_every_depth_keeps_its_values(
    tmp_path: Path, dtype: str, byteorder: str, predictor: bool, samples: int
) -> None:
    image = field(130, 150, samples, np.dtype(dtype))
    path = tmp_path / "field.tif"
    tifffile.imwrite(
        path,
        image if samples > 1 else image[..., 0],
        tile=(64, 64),
        photometric="minisblack",
        planarconfig="contig" if samples > 1 else None,
        byteorder=byteorder,  # type: ignore[arg-type]
        compression="deflate",
        predictor=predictor,
        extrasamples=["unspecified"] * (samples - 1) if samples > 1 else None,
    )
    with direct(path) as slide:
        assert len(slide.channels) == slide.samples == samples
        assert slide.dtype == (np.float32 if dtype[0] == "f" else np.dtype(dtype))
        np.testing.assert_array_equal(whole(slide), image.astype(slide.dtype))
        assert slide.read(-10, -10, 5, 5).max() == 0  # nothing fluoresces outside


def test_a_bigtiff_is_read(tmp_path: Path) -> None:
    path, image = tmp_path / "field.btf", field(300, 300)
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", bigtiff=True, compression="zstd")
    with direct(path) as slide:
        np.testing.assert_array_equal(whole(slide), image)


def test_colours_of_16_bits_are_three_channels_with_their_range(tmp_path: Path) -> None:
    path, image = tmp_path / "deep.tif", field(200, 200, 3, np.uint16)
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb")
    with direct(path) as slide:
        assert [channel.name for channel in slide.channels] == ["Red", "Green", "Blue"]
        assert slide.dtype == np.uint16
        np.testing.assert_array_equal(whole(slide), image)


def test_more_than_colours_are_channels_of_which_none_is_lost(tmp_path: Path) -> None:
    """Some writers call any picture of several samples RGB."""
    path, image = tmp_path / "five.tif", field(150, 190, 5, np.uint16)
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", planarconfig="contig")
    with direct(path) as slide:
        assert len(slide.channels) == 5
        np.testing.assert_array_equal(whole(slide), image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_unspecified_fourth_of_16_bits_is_a_channel_and_opacity_is_not(
    tmp_path: Path, dtype: type
) -> None:
    image = field(100, 120, 4, dtype)
    for kind, channels in (("unassalpha", 3), ("unspecified", 3 if dtype == np.uint8 else 4)):
        path = tmp_path / f"{kind}.tif"
        tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", extrasamples=[kind])
        with direct(path) as slide:
            assert slide.samples == channels
            assert slide.is_rgb == (dtype == np.uint8)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_opacity_is_laid_on_white(tmp_path: Path, kind: str) -> None:
    colors, opacity = field(100, 100), field(100, 100, 1)[..., 0]
    share = opacity[..., None] / 255
    stored = np.rint(colors * share).astype(np.uint8) if kind == "assocalpha" else colors
    path = tmp_path / "clear.tif"
    tifffile.imwrite(
        path, np.dstack([stored, opacity]), tile=(64, 64), photometric="rgb", extrasamples=[kind]
    )
    expected = colors if kind == "unspecified" else colors * share + 255 * (1 - share)
    with direct(path) as slide:
        assert slide.is_rgb
        assert np.abs(whole(slide).astype(float) - expected).max() <= 1


def test_a_palette_is_looked_up_and_white_is_zero_is_turned(tmp_path: Path) -> None:
    index = field(100, 100, 1)[..., 0]
    colormap = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "p.tif", index, tile=(64, 64), photometric="palette", colormap=colormap)
    tifffile.imwrite(tmp_path / "w.tif", index, tile=(64, 64), photometric="miniswhite")
    with direct(tmp_path / "p.tif") as slide:
        expected = np.asarray(PIL.Image.open(tmp_path / "p.tif").convert("RGB"))
        np.testing.assert_array_equal(whole(slide), expected)
    with direct(tmp_path / "w.tif") as slide:
        np.testing.assert_array_equal(whole(slide)[..., 0], 255 - index)


@pytest.mark.parametrize("gap", ["offset", "count"])
@pytest.mark.parametrize("samples", [1, 3])
def test_a_tile_that_is_not_stored_is_ground(tmp_path: Path, gap: str, samples: int) -> None:
    path, image = tmp_path / "sparse.tif", field(256, 256, samples)
    photometric = "rgb" if samples == 3 else "minisblack"
    tifffile.imwrite(path, image.squeeze(), tile=(128, 128), photometric=photometric, compression="deflate")
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[324 if gap == "offset" else 325]
        patch(
            path, tag.valueoffset + struct.calcsize({3: "H", 4: "I"}[int(tag.dtype)]) * 1, 0, int(tag.dtype)
        )
    expected = image.copy()
    expected[:128, 128:] = 255 if samples == 3 else 0
    with direct(path) as slide:
        np.testing.assert_array_equal(whole(slide), expected)


def test_an_uncompressed_image_in_one_strip_is_read_in_bands(tmp_path: Path) -> None:
    path, image = tmp_path / "bands.tif", field(3000, 2500)
    tifffile.imwrite(path, image, photometric="rgb", rowsperstrip=3000)
    with direct(path) as slide:
        assert slide.levels[0].tile == (256, 2500)
        np.testing.assert_array_equal(slide.read(1100, 400, 700, 300), image[1100:1800, 400:700])


# ---------------------------------------------------------------------------------------------------------
# Threads, and what opening and reading cost


def test_slides_share_one_budget_and_a_closed_one_gives_its_part_back(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.tif" for index in range(2)]
    for path in paths:
        tifffile.imwrite(path, field(512, 512), tile=(128, 128), photometric="rgb")
    cache = TileCache(30 * 128 * 128 * 3)
    slides = [TiffSlide(path, cache=cache) for path in paths]
    whole(slides[0])
    assert cache.nbytes == 16 * 128 * 128 * 3
    whole(slides[1])
    assert cache.nbytes == cache.limit
    slides[1].close()
    assert cache.nbytes == 14 * 128 * 128 * 3
    del slides[0]  # a viewer does not close what it drops
    cache.put("other", 0, np.zeros(8, np.uint8))
    assert cache.nbytes == 8


def test_open_slide_uses_the_cache_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, field(256, 256), tile=(128, 128), photometric="rgb")
    before = process_cache().nbytes
    with open_slide(path) as slide:
        slide.read(0, 0, 256, 256)
        assert process_cache().nbytes == before + 256 * 256 * 3
    assert process_cache().nbytes == before


@pytest.mark.parametrize("window", [(0, 0, 128, 128), (128, 128, 128, 128), (3, 5, 20, 30), (0, 0, 300, 300)])
def test_what_is_read_may_be_written_to_and_spoils_no_other_reading(
    tmp_path: Path, window: tuple[int, int, int, int]
) -> None:
    path, image = tmp_path / "field.tif", field(300, 300)
    tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb", compression="deflate")
    y, x, height, width = window
    with direct(path) as slide:
        for _ in range(4):  # decoded, then kept, then from the cache
            pixels = slide.read(*window)
            np.testing.assert_array_equal(pixels, image[y : y + height, x : x + width])
            pixels[...] = 0


def test_opening_a_large_slide_reads_no_more_than_opening_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = imagecodecs.jpeg8_encode(np.full((16, 16, 3), 200, np.uint8))
    amounts = []
    for side in (40, 390):
        path = tmp_path / f"{side}.tif"
        with tifffile.TiffWriter(path, bigtiff=True) as tiff:
            tiff.write(
                (tile for _ in range(side * side)),
                shape=(side * 16, side * 16, 3),
                dtype=np.uint8,
                tile=(16, 16),
                photometric="rgb",
                compression="jpeg",
                metadata=None,
            )
        amounts.append(bytes_of_opening(path, monkeypatch))
    assert amounts[1] <= 1.05 * amounts[0]


def bytes_of_opening(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    read, amounts = os.pread, []

    def counted(descriptor: int, count: int, offset: int) -> bytes:
        amounts.append(count)
        return read(descriptor, count, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", counted)
        TiffSlide(path, cache=TileCache(0)).close()
    return sum(amounts)


def test_a_slide_in_one_strip_is_decoded_once_for_all_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, image = tmp_path / "strip.tif", field(600, 500)
    tifffile.imwrite(path, image, photometric="rgb", compression="deflate", rowsperstrip=600)
    with direct(path, limit=1000) as slide:  # less than the strip
        read, times = slide._file.read, []
        monkeypatch.setattr(slide._file, "read", lambda *place: times.append(place) or read(*place))
        for y in range(0, 600, 100):
            np.testing.assert_array_equal(slide.read(y, 0, 100, 500), image[y : y + 100])
        assert len(times) == 1
