"""Damaged TIFF slides: one sentence where they are broken, and the rest is read."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.slides import jpeg, open_slide
from tiff_files import (
    assert_one_sentence,
    direct,
    field,
    patch,
    patch_count,
    whole,
    write_j2k,
    write_jpeg,
)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(field(300, 400), tile=(64, 64), photometric="rgb", compression="lzw", metadata=None)
        tiff.write(field(150, 200), tile=(64, 64), photometric="rgb", compression="lzw", metadata=None)
    return path


@pytest.mark.parametrize(
    ("code", "value", "words"),
    [
        (256, 0, "0 x 300 px"),
        (257, 0, "400 x 0 px"),
        (322, 0, "tiles of 0 x 64 px"),
        (323, 0, "tiles of 64 x 0 px"),
        (256, 2**31, "2147483648 x 300 px"),
        (257, 2**31, "400 x 2147483648 px"),
        (322, 2**31, "tiles of 2147483648"),
        (256, 500, "35 tiles where its size and theirs make 40"),
        (257, 299 + 64, "35 tiles where its size and theirs make 42"),
    ],
)
def test_a_size_that_cannot_be_is_refused_when_opened(plain: Path, code: int, value: int, words: str) -> None:
    with tifffile.TiffFile(plain) as tiff:
        tag = tiff.pages.first.tags[code]
    patch(plain, tag.offset + 2, 4, 3)  # as a long number
    patch(plain, tag.offset + 8, value)
    with pytest.raises(SlideError, match=words) as caught:
        open_slide(plain)
    assert_one_sentence(caught.value, "plain.tif")


@pytest.mark.parametrize("target", [0, 1])
def test_directories_in_a_circle_are_refused(plain: Path, target: int) -> None:
    with tifffile.TiffFile(plain) as tiff:
        offsets = [page.offset for page in tiff.pages]
        count = len(tiff.pages[1].tags)
    patch(plain, offsets[1] + 2 + 12 * count, offsets[target])
    with pytest.raises(SlideError, match="in a circle") as caught:
        open_slide(plain)
    assert_one_sentence(caught.value, "plain.tif")


def test_a_directory_that_holds_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inner.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(field(128, 128), tile=(64, 64), photometric="rgb", subifds=1, metadata=None)
        tiff.write(field(64, 64), tile=(64, 64), photometric="rgb", subfiletype=1, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        patch(path, tiff.pages.first.tags[330].valueoffset, tiff.pages.first.offset)
    with pytest.raises(SlideError, match="in a circle"):
        open_slide(path)


def test_a_tile_beyond_the_end_is_told_when_opened(plain: Path) -> None:
    with tifffile.TiffFile(plain) as tiff:
        place = tiff.pages.first.tags[324].valueoffset
    patch(plain, place, 2**31)
    with pytest.raises(SlideError, match="is truncated") as caught:
        open_slide(plain)
    assert_one_sentence(caught.value, "plain.tif")


def test_a_jpeg_without_its_tables_is_told_by_tile(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "tables.tif", field(512, 512), abbreviated=True, tables=False)
    with direct(path) as slide:
        with pytest.raises(SlideError, match="tile row 0, column 1") as caught:
            slide.read(10, 300, 20, 20)
        assert_one_sentence(caught.value, "tables.tif")


def damaged(data: bytes, damage: str) -> bytes:
    """Return a JPEG with damage; all but that of its header is decoded by libjpeg without an error."""
    count, rng = len(data), np.random.default_rng(3)
    frame = data.find(b"\xff\xc0")
    if damage == "header":
        return bytes(20) + data[20:]
    if damage == "size":  # 65,500 x 65,500 px: 12 GB
        return data[: frame + 5] + b"\xff\xdc\xff\xdc" + data[frame + 9 :]
    if damage == "hole":
        return data[: count // 2] + bytes(400) + data[count // 2 + 400 :]
    if damage == "zeros":
        return data[: count // 2] + bytes(count - count // 2)
    if damage == "zeros, ended":
        return data[: count // 2] + bytes(count - 2 - count // 2) + data[-2:]
    if damage == "another":
        return data[: count // 3] + rng.integers(0, 255, count - count // 3, np.uint8).tobytes()
    raise ValueError(damage)


def test_broken_jpeg_tables_are_told_when_opened(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "tables.tif", field(512, 512), abbreviated=True)
    with tifffile.TiffFile(path) as tiff:
        patch(path, tiff.pages.first.tags[347].valueoffset, 0)
    with pytest.raises(SlideError, match="its JPEG tables are broken") as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "tables.tif")


@pytest.mark.parametrize(
    "damage", ["header", "size", "hole", "zeros", "zeros, ended", "another", "cut", "half", "the last bytes"]
)
@pytest.mark.parametrize("abbreviated", [False, True])
def test_a_broken_codestream_is_told_and_the_others_are_read(
    tmp_path: Path, damage: str, abbreviated: bool
) -> None:
    path = write_jpeg(tmp_path / "hole.tif", field(512, 512), abbreviated=abbreviated)
    with direct(path) as slide:
        expected = whole(slide)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offset, count = page.dataoffsets[3], page.databytecounts[3]
    shorter = {"cut": 40, "half": count // 2, "the last bytes": count - 200}
    if damage in shorter:
        patch_count(path, 3, shorter[damage])
        data = path.read_bytes()
    else:
        data = path.read_bytes()
        data = data[:offset] + damaged(data[offset : offset + count], damage) + data[offset + count :]
    path.write_bytes(data)
    with direct(path) as slide:
        with pytest.raises(SlideError, match="tile row 1, column 1") as caught:
            slide.read(300, 300, 100, 100)
        assert_one_sentence(caught.value, "hole.tif")
        np.testing.assert_array_equal(slide.read(0, 0, 256, 512), expected[:256])
        with pytest.warns(UserWarning, match="shown hatched"):
            shown = np.asarray(slide.dask_levels()[0])
        np.testing.assert_array_equal(shown[256:, :256], expected[256:, :256])
        assert set(np.unique(shown[256:, 256:])) == {168, 208}


@pytest.mark.parametrize(
    "padding", [b"", bytes(40), b"\x11" * 40, b"\x01\x02\x03"], ids=["none", "zeros", "ones", "three"]
)
@pytest.mark.parametrize(
    "end", [b"", b"\xff\xd9", b"\xff\xd9" + bytes(30)], ids=["no end", "end", "end, then zeros"]
)
def test_a_whole_jpeg_with_padding_or_without_its_end_marker_is_read(padding: bytes, end: bytes) -> None:
    image = field(64, 64)
    data = bytes(imagecodecs.jpeg8_encode(image))
    out = np.empty_like(image)
    jpeg.decode(data[:-2] + padding + end, out)
    np.testing.assert_array_equal(out, imagecodecs.jpeg8_decode(data))


def test_a_jpeg_2000_tile_whose_end_was_never_written_is_told(tmp_path: Path) -> None:
    """OpenJPEG makes pixels of the zeros."""
    path = write_j2k(tmp_path / "zeros.svs", field(256, 256), 33005)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    with path.open("r+b") as file:
        file.seek(offset + count // 2)
        file.write(bytes(count - count // 2))
    with direct(path) as slide:
        with pytest.raises(SlideError, match="tile row 0, column 0: its end is zeros"):
            slide.read(0, 0, 9, 9)
        slide.read(0, 128, 9, 9)


def test_a_jpeg_2000_header_of_terabytes_is_not_decoded(tmp_path: Path) -> None:
    path = write_j2k(tmp_path / "huge.svs", field(256, 256), 33005)
    data = bytearray(path.read_bytes())
    start = data.find(b"\xff\x4f\xff\x51")
    data[start + 8 : start + 16] = struct.pack(">II", 1 << 20, 1 << 20)
    data[start + 24 : start + 32] = struct.pack(">II", 1 << 20, 1 << 20)
    path.write_bytes(data)
    with direct(path) as slide:
        with pytest.raises(SlideError, match="tile row 0, column 0") as caught:
            slide.read(0, 0, 9, 9)
        assert_one_sentence(caught.value, "huge.svs")


def test_one_compressed_strip_of_gigabytes_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "strip.tif"
    tifffile.imwrite(
        path, field(64, 64), photometric="rgb", compression="zstd", rowsperstrip=64, metadata=None
    )
    with tifffile.TiffFile(path) as tiff:
        tags = [tiff.pages.first.tags[code] for code in (256, 257, 278)]
    for tag in tags:
        patch(path, tag.offset + 2, 4, 3)
        patch(path, tag.offset + 8, 40_000)
    with pytest.raises(SlideError, match=r"4\.8 GB in one compressed strip.*tiled") as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "strip.tif")


def test_a_file_that_is_removed_or_cut_while_open_still_answers(tmp_path: Path) -> None:
    path, image = tmp_path / "gone.tif", field(256, 256)
    tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb")
    with direct(path) as slide:
        path.rename(tmp_path / "moved.tif")
        np.testing.assert_array_equal(slide.read(0, 0, 128, 128), image[:128, :128])
        os.truncate(tmp_path / "moved.tif", 1000)
        with pytest.raises(SlideError, match="truncated: it ends at byte 1,000 of") as caught:
            slide.read(128, 128, 50, 50)
        assert_one_sentence(caught.value, "gone.tif")


def test_ome_channels_in_another_file_are_refused(tmp_path: Path) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0">'
        '<Pixels DimensionOrder="XYCZT" ID="Pixels:0" Type="uint8" SizeC="2" SizeT="1" SizeX="64" SizeY="64" '
        'SizeZ="1"><Channel ID="Channel:0:0"/><Channel ID="Channel:0:1"/>'
        '<TiffData FirstC="0" IFD="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData FirstC="1" IFD="0" PlaneCount="1"><UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as tiff:
        for _ in range(2):
            tiff.write(np.zeros((64, 64), np.uint8), description=xml, metadata=None)
    with pytest.raises(SlideError, match=r"another file, b\.ome\.tif") as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "a.ome.tif")


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("coding", ["lzw", "packbits", "deflate", "zstd", "lzma"])
@pytest.mark.parametrize("cut", [{"tile": (256, 256)}, {"rowsperstrip": 256}])
def test_noise_that_no_codec_makes_smaller_is_no_damage(
    tmp_path: Path, dtype: str, coding: str, cut: dict[str, Any]
) -> None:
    noise = np.frombuffer(np.random.default_rng(0).bytes(300 * 400 * np.dtype(dtype).itemsize), dtype)
    image = noise.reshape(300, 400)
    if dtype == "float64":
        image = np.random.default_rng(0).normal(0, 1, (300, 400))
    path = tmp_path / "noise.tif"
    tifffile.imwrite(path, image, compression=coding, metadata=None, **cut)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 300, 400)[..., 0], image.astype(slide.dtype))


@pytest.mark.parametrize("subsampling", ["444", "420"])
def test_the_worst_noise_as_jpeg_is_no_damage(tmp_path: Path, subsampling: str) -> None:
    image = np.random.default_rng(0).integers(0, 2, (256, 256, 3), np.uint8) * 255
    path = tmp_path / "noise.tif"
    coded = imagecodecs.jpeg8_encode(image, level=100, subsampling=subsampling)
    layout: dict[str, Any] = {"tile": (256, 256), "photometric": "ycbcr", "compression": "jpeg"}
    tifffile.imwrite(path, iter([coded]), shape=image.shape, dtype=np.uint8, metadata=None, **layout)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 256, 256), imagecodecs.jpeg8_decode(coded))


def test_a_tile_that_states_far_more_bytes_than_its_pixels_is_told_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.tif"
    tifffile.imwrite(path, np.zeros((512, 256), np.uint8), tile=(256, 256), compression="lzw", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["TileByteCounts"]
        where, size = tag.valueoffset, struct.calcsize({3: "H", 4: "I"}[tag.dtype])
    path.write_bytes(path.read_bytes() + bytes(1 << 20))
    with path.open("r+b") as file:
        file.seek(where)
        file.write((2 * 256 * 256 + (1 << 16) + 1).to_bytes(4, "little")[: max(size, 4)])
    with open_slide(path) as slide, pytest.raises(SlideError, match=r"it states 196,609 bytes"):
        slide.read(0, 0, 256, 256)
