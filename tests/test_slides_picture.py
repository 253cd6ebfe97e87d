"""Plain pictures as slides of one level."""

from __future__ import annotations

import io
import math
import struct
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageCms, ImageFile, ImageOps

from napari_lumen.errors import SlideError
from napari_lumen.slides import Channel, open_slide
from napari_lumen.slides.picture import PictureSlide

Array = npt.NDArray[Any]
PRIMARIES = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def noise(*shape: int, dtype: npt.DTypeLike = np.uint8) -> Array:
    top = np.iinfo(np.dtype(dtype)).max
    return np.random.default_rng(0).integers(0, top, shape, dtype, endpoint=True)


def whole(path: Path) -> Array:
    with open_slide(path) as slide:
        pixels = slide.read(0, 0, *slide.shape)
        assert pixels.dtype == slide.dtype
        assert pixels.shape[2] == slide.samples
    return pixels


def assert_one_sentence(error: SlideError, name: str) -> None:
    message = str(error)
    assert name in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 300


# ---------------------------------------------------------------------------------------------------------
# What is read


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp"])
def test_a_colour_picture_agrees_with_pillow(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"field.{suffix}"
    Image.fromarray(noise(70, 90, 3)).save(path)
    with open_slide(path) as slide:
        assert slide.is_rgb
        assert [level.shape for level in slide.levels] == [(70, 90)]
        assert slide.mpp is None
        np.testing.assert_array_equal(slide.read(0, 0, 70, 90), np.asarray(Image.open(path)))
        np.testing.assert_array_equal(slide.read(10, 20, 5, 6), np.asarray(Image.open(path))[10:15, 20:26])
        assert (slide.read(-3, 0, 3, 90) == 255).all()


def test_real_pictures_agree_with_pillow(shared_data: Path) -> None:
    pictures = [
        next((shared_data / folder).rglob(pattern))
        for folder, pattern in (
            ("cells_wbc", "*.bmp"),
            ("glands_glas_grades", "*.jpg"),
            ("nuclei_consep", "*.png"),
        )
        if any((shared_data / folder).rglob(pattern))
    ]
    assert pictures
    for path in pictures:
        np.testing.assert_array_equal(whole(path), np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_grey_picture_is_one_channel(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(noise(40, 50)).save(path)
    with open_slide(path) as slide:
        assert [channel.color for channel in slide.channels] == [(255, 255, 255)]
        np.testing.assert_array_equal(slide.read(0, 0, 40, 50)[..., 0], np.asarray(Image.open(path)))
        assert not slide.read(-3, 0, 3, 50).any()


def test_a_picture_of_one_bit_is_black_and_white(tmp_path: Path) -> None:
    mask = noise(40, 50) > 128
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(whole(tmp_path / "mask.png")[..., 0], mask * np.uint8(255))


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_16_bits_keep_their_range(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = noise(*shape, dtype=np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(imagecodecs.png_encode(image))
    with open_slide(path) as slide:
        assert slide.dtype == np.uint16
        assert [channel.color for channel in slide.channels] == (
            PRIMARIES if len(shape) == 3 else [(255, 255, 255)]
        )
    np.testing.assert_array_equal(whole(path), image.reshape(40, 50, -1))


def test_labels_of_the_nuclei_keep_their_numbers(shared_data: Path) -> None:
    path = next(
        file
        for file in sorted((shared_data / "nuclei_dsb2018").rglob("*.png"))
        if Image.open(file).mode.startswith("I")
    )
    np.testing.assert_array_equal(whole(path)[..., 0], np.asarray(Image.open(path)))


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_transparent_lies_on_white(tmp_path: Path, deep: bool) -> None:
    dtype = np.uint16 if deep else np.uint8
    top = np.iinfo(dtype).max
    image = np.zeros((4, 5, 4), dtype)
    image[..., :3] = (top, 0, top // 5)
    image[:, 1:3, 3] = (top, top // 5)
    path = tmp_path / "clear.png"
    path.write_bytes(imagecodecs.png_encode(image))
    found = whole(path)
    assert (found[:, 0] == top).all()
    np.testing.assert_array_equal(found[:, 1], image[:, 1, :3])
    assert found[0, 2] == pytest.approx([top, top * 0.8, top * 0.84], abs=1)


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(noise(40, 50, 3)).quantize(17)
    image.save(tmp_path / "few.png")
    image.save(tmp_path / "few.bmp")
    for name in ("few.png", "few.bmp"):
        np.testing.assert_array_equal(whole(tmp_path / name), np.asarray(image.convert("RGB")))
    image.save(tmp_path / "clear.png", transparency=0)
    clear = np.asarray(image) == 0
    assert clear.any()
    assert (whole(tmp_path / "clear.png")[clear] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(noise(40, 56, 3)).save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    with open_slide(path) as slide:
        assert slide.shape == expected.shape[:2]
        np.testing.assert_array_equal(slide.read(0, 0, *slide.shape), expected)


def test_the_suffix_does_not_decide(tmp_path: Path) -> None:
    image = noise(20, 30, 3)
    Image.fromarray(image).save(tmp_path / "really.png", "BMP")
    np.testing.assert_array_equal(whole(tmp_path / "really.png"), image)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_the_colour_profile_comes_from_the_file(tmp_path: Path, suffix: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / f"profile.{suffix}"
    Image.fromarray(noise(20, 30, 3)).save(path, icc_profile=profile)
    with open_slide(path) as slide:
        assert slide.icc_profile == profile


# ---------------------------------------------------------------------------------------------------------
# Plain TIFF


@pytest.mark.parametrize(
    ("shape", "dtype", "layout"),
    [
        ((60, 70, 3), np.uint8, {"photometric": "rgb"}),
        ((60, 70, 3), np.uint8, {"photometric": "rgb", "compression": "lzw", "rowsperstrip": 7}),
        ((60, 70), np.uint8, {}),
        ((60, 70), np.uint16, {"byteorder": ">"}),
        ((60, 70), np.float32, {}),
        ((60, 70, 3), np.uint16, {"photometric": "rgb"}),
    ],
)
def test_a_plain_tiff_agrees_with_tifffile(
    tmp_path: Path, shape: tuple[int, ...], dtype: type, layout: dict[str, Any]
) -> None:
    image = (
        noise(*shape, dtype=dtype)
        if dtype != np.float32
        else noise(*shape).astype(np.float32) / np.float32(7)
    )
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, image, **layout)
    with open_slide(path) as slide:
        assert slide.is_rgb is (dtype == np.uint8 and len(shape) == 3)
        assert slide.dtype == dtype
    np.testing.assert_array_equal(whole(path), tifffile.imread(path).reshape(60, 70, -1))


# From here on the reader of plain TIFFs itself, whatever the tiled reader takes first.


def alone(path: Path) -> Array:
    with PictureSlide(path) as slide:
        pixels = slide.read(0, 0, *slide.shape)
        assert pixels.shape[2] == slide.samples
        assert pixels.dtype == slide.dtype
    return pixels


def test_palettes_masks_and_inverted_greys_come_out_as_pillow_shows_them(tmp_path: Path) -> None:
    grey = noise(60, 70)
    few = Image.fromarray(noise(60, 70, 3)).quantize(17)
    few.save(tmp_path / "few.tif")
    tifffile.imwrite(tmp_path / "inverted.tif", grey, photometric="miniswhite")
    Image.fromarray(grey > 128).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(alone(tmp_path / "few.tif"), np.asarray(few.convert("RGB")))
    np.testing.assert_array_equal(alone(tmp_path / "inverted.tif")[..., 0], 255 - grey)
    np.testing.assert_array_equal(alone(tmp_path / "mask.tif")[..., 0], (grey > 128) * np.uint8(255))


@pytest.mark.parametrize("shape", [(60, 70), (60, 70, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, ">u2"])
def test_a_tiff_in_strips_agrees_with_tifffile(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    image = noise(*shape, dtype=np.dtype(dtype).newbyteorder("="))
    path = tmp_path / "strips.tif"
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(path, image, byteorder=">", photometric=photometric, rowsperstrip=9, compression="zlib")
    np.testing.assert_array_equal(alone(path), image.reshape(60, 70, -1))


def test_planes_are_channels_and_opacity_lies_on_white(tmp_path: Path) -> None:
    planes = noise(4, 60, 70, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "planes.ome.tif", planes, photometric="minisblack", metadata={"axes": "CYX"})
    np.testing.assert_array_equal(alone(tmp_path / "planes.ome.tif"), planes.transpose(1, 2, 0))
    clear = noise(60, 70, 4)
    clear[:30, :, 3], clear[30:, :, 3] = 0, 255
    tifffile.imwrite(tmp_path / "clear.tif", clear, photometric="rgb", extrasamples=["unassalpha"])
    found = alone(tmp_path / "clear.tif")
    assert (found[:30] == 255).all()
    np.testing.assert_array_equal(found[30:], clear[30:, :, :3])


def test_a_stack_or_a_cut_tiff_is_no_picture(tmp_path: Path) -> None:
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, noise(5, 60, 70), photometric="minisblack", metadata={"axes": "ZYX"})
    cut = tmp_path / "cut.tif"
    tifffile.imwrite(cut, noise(60, 70))
    cut.write_bytes(cut.read_bytes()[:-100])
    for path, part in ((stack, r"stack along Z \(5\)"), (cut, "truncated")):
        with pytest.raises(SlideError, match=part) as caught:
            PictureSlide(path)
        assert_one_sentence(caught.value, path.name)


# ---------------------------------------------------------------------------------------------------------
# Pixel sizes


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_a_microscope_s_pixel_size_is_taken(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sized.{suffix}"
    Image.fromarray(noise(20, 30, 3)).save(path, dpi=(25400 / 0.5, 25400 / 0.25))
    with PictureSlide(path) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.5), rel=1e-4)


def test_a_turned_photograph_turns_its_pixel_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(noise(40, 56, 3)).save(path, exif=exif, dpi=(25400 // 2, 25400 // 4))
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((2, 4), rel=1e-4)


@pytest.mark.parametrize("dpi", [72, 96, 300, 1200])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_a_print_resolution_is_no_pixel_size(tmp_path: Path, suffix: str, dpi: int) -> None:
    path = tmp_path / f"print.{suffix}"
    Image.fromarray(noise(20, 30, 3)).save(path, dpi=(dpi, dpi))
    with PictureSlide(path) as slide:
        assert slide.mpp is None


@pytest.mark.parametrize(("dpi", "told"), [(25_400_000, "0.001 x 0.001 µm"), (1e-9, "inf x inf µm")])
def test_an_absurd_density_is_unknown_and_said_so(tmp_path: Path, dpi: float, told: str) -> None:
    path = tmp_path / "absurd.png"
    Image.fromarray(noise(20, 30, 3)).save(path, dpi=(dpi, dpi))
    with pytest.warns(UserWarning, match=rf"absurd\.png states a pixel size of {told}"):
        slide = PictureSlide(path)
    assert slide.mpp is None


@pytest.mark.parametrize("compression", ["webp", "png"])
def test_a_pixel_size_of_ome_counts_for_a_picture_too(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "rare.ome.tif"
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 250.0, "PhysicalSizeYUnit": "nm"}
    image = noise(100, 100, 3)
    tifffile.imwrite(
        path, image, photometric="rgb", compression=compression, metadata={"axes": "YXS", **sizes}
    )
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.5))


# ---------------------------------------------------------------------------------------------------------
# What cannot be read


def saved(suffix: str, **how: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(noise(300, 300, 3)).save(data, suffix, **how)
    return data.getvalue()


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("form", ["png", "jpeg", "progressive", "bmp"])
def test_a_truncated_picture_is_refused_when_opened(
    tmp_path: Path, form: str, fraction: float, tolerant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    data = saved("jpeg", progressive=True) if form == "progressive" else saved(form)
    path = tmp_path / f"part.{'jpg' if form == 'progressive' else form}"
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(SlideError, match="truncated") as caught:
        open_slide(path)
    assert_one_sentence(caught.value, path.name)


def test_a_cut_jpeg_with_a_whole_thumbnail_is_still_cut(tmp_path: Path) -> None:
    thumbnail = saved("jpeg")
    comment = thumbnail[:60000]  # its end marker lies in a segment, before the scan
    data = saved("jpeg")
    segment = b"\xff\xe1" + struct.pack(">H", len(comment) + 2) + comment
    path = tmp_path / "camera.jpg"
    path.write_bytes(data[:2] + segment + data[2:])
    with open_slide(path) as slide:
        assert slide.shape == (300, 300)
    path.write_bytes((data[:2] + segment + data[2:])[:-3000])
    with pytest.raises(SlideError, match="truncated"):
        open_slide(path)


def png_of(width: int, height: int) -> bytes:
    """Return a PNG whose head promises a size and whose data are a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_more_than_a_gigapixel_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(100_000, 100_000))
    with pytest.raises(SlideError, match="gigapixel") as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "bomb.png")


def test_a_picture_beyond_pillow_s_own_limit_is_opened(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000), 1).save(tmp_path / "large.png")
    before = Image.MAX_IMAGE_PIXELS
    with open_slide(tmp_path / "large.png") as slide:
        assert slide.shape == (20_000, 20_000)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("empty.png", lambda path: path.write_bytes(b"")),
        ("words.png", lambda path: path.write_text("This is not a picture.\n" * 50)),
        ("words.jpg", lambda path: path.write_text("This is not a picture.\n" * 50)),
        ("head.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n")),
        ("head.jpg", lambda path: path.write_bytes(b"\xff\xd8\xff")),
        ("head.bmp", lambda path: path.write_bytes(b"BM")),
        ("head.bmp", lambda path: path.write_bytes(b"BM" + bytes(60))),
        ("flat.png", lambda path: path.write_bytes(png_of(0, 10))),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    make(tmp_path / name)
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path / name)
    assert_one_sentence(caught.value, name)


def test_broken_pixels_are_told_in_a_sentence_when_read(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(png_of(100, 100))
    with open_slide(path) as slide, pytest.raises(SlideError, match="cannot be decoded") as caught:
        slide.read(0, 0, 10, 10)
    assert_one_sentence(caught.value, "broken.png")


def test_a_picture_that_cannot_be_decoded_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(png_of(3000, 3000))
    with open_slide(path) as slide:
        assert isinstance(slide, PictureSlide)
        tried: list[int] = []
        load = slide._file.load
        monkeypatch.setattr(
            slide,
            "_file",
            replace(slide._file, load=lambda: (tried.append(1), load())[1]),  # type: ignore[func-returns-value]
        )
        caught = []
        with ThreadPoolExecutor(4) as pool:
            for read in [pool.submit(slide.read, 0, 0, 10, 10) for _ in range(8)]:
                with pytest.raises(SlideError, match="cannot be decoded") as error:
                    read.result()
                caught.append(error.value)
                assert_one_sentence(error.value, "broken.png")
        assert len(set(map(id, caught))) == 8  # each reader's own, for raising one changes it
        with pytest.warns(UserWarning, match="hatched"):
            assert len(np.unique(slide.dask_levels()[0][:1500, :1500].compute())) == 2
        assert len(tried) == 1


def test_a_picture_that_is_gone_says_so_and_may_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, deep, tiff = tmp_path / "plain.png", tmp_path / "deep.png", tmp_path / "plain.tif"
    Image.fromarray(noise(40, 50, 3)).save(plain)
    deep.write_bytes(imagecodecs.png_encode(noise(40, 50, dtype=np.uint16)))
    tifffile.imwrite(tiff, noise(40, 50))
    for path in (plain, deep, tiff):
        with PictureSlide(path) as slide:
            path.rename(tmp_path / "elsewhere")
            with pytest.raises(SlideError, match=r"is no longer at .* Put it back") as caught:
                slide.read(0, 0, 10, 10)
            assert_one_sentence(caught.value, path.name)
            (tmp_path / "elsewhere").rename(path)
            with monkeypatch.context() as patch:
                patch.setattr(time, "monotonic", lambda: math.inf)
                assert slide.read(0, 0, 10, 10).shape[:2] == (10, 10)


def test_a_picture_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.png"
    Image.fromarray(noise(40, 50, 3)).save(path)

    def locked() -> Array:
        raise PermissionError(13, "Permission denied", str(path))

    with open_slide(path) as slide:
        assert isinstance(slide, PictureSlide)
        monkeypatch.setattr(slide, "_file", replace(slide._file, load=locked))
        with pytest.raises(SlideError, match="cannot be read: Permission denied") as caught:
            slide.read(0, 0, 10, 10)
        assert_one_sentence(caught.value, "locked.png")


# ---------------------------------------------------------------------------------------------------------
# Threads, closing


def test_threads_decode_it_once_and_a_closed_picture_says_so(tmp_path: Path) -> None:
    path = tmp_path / "field.png"
    image = noise(200, 300, 3)
    Image.fromarray(image).save(path)
    slide = open_slide(path)
    with ThreadPoolExecutor(8) as pool:
        for pixels in pool.map(lambda y: slide.read(y, 0, 10, 300), range(0, 190, 10)):
            pixels[:] = 0  # what is handed out is the reader's own
    path.unlink()
    np.testing.assert_array_equal(slide.read(0, 0, 200, 300), image)
    slide.close()
    slide.close()
    with pytest.raises(SlideError, match="closed"):
        slide.read(0, 0, 8, 8)


def test_a_picture_is_kept_by_its_fingerprint_and_shown_in_levels(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.fromarray(np.full((100, 5000), 77, np.uint8)).save(path)
    with open_slide(path) as slide:
        assert slide.channels == (Channel("grey"),)
        levels = slide.dask_levels()
        assert max(levels[-1].shape) <= 2048
        assert (np.asarray(levels[-1]) == 77).all()
        before = slide.fingerprint
    path.rename(tmp_path / "moved.png")
    with open_slide(tmp_path / "moved.png") as slide:
        assert slide.fingerprint == before
