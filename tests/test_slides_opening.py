"""Which reader opens what, by what a file holds; and what is no slide file at all."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.location import located, printable

Array = npt.NDArray[Any]


def noise(*shape: int, dtype: npt.DTypeLike = np.uint8) -> Array:
    limits = np.iinfo(np.dtype(dtype))
    rng = np.random.default_rng(0)
    return rng.integers(limits.min, limits.max, shape, np.dtype(dtype).type, endpoint=True)


# ---------------------------------------------------------------------------------------------------------
# TIFFs by what they hold


@pytest.mark.parametrize("name", ["fl.ome.tf2", "fl"])
def test_a_tiff_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    image = noise(3, 200, 300)
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD3", "CD8"]}}
    with (tmp_path / name).open("wb") as file:
        tifffile.imwrite(file, image, tile=(128, 128), photometric="minisblack", ome=True, metadata=metadata)
    with open_slide(tmp_path / name) as slide:
        assert [channel.name for channel in slide.channels] == ["DAPI", "CD3", "CD8"]
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300), image.transpose(1, 2, 0))


@pytest.mark.parametrize("dtype", ["int8", "uint64"])
def test_a_grey_tiff_of_rare_depth_keeps_its_values(tmp_path: Path, dtype: str) -> None:
    image = noise(200, 300, dtype=dtype)
    path = tmp_path / "rare.tif"
    tifffile.imwrite(path, image, tile=(128, 128), photometric="minisblack")
    with open_slide(path) as slide:
        assert slide.dtype == dtype
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300)[..., 0], image)


def test_a_palette_of_16_bits_gives_its_colours(tmp_path: Path) -> None:
    image, colors = noise(200, 300, dtype=np.uint16), noise(3, 65536, dtype=np.uint16)
    path = tmp_path / "palette.tif"
    tifffile.imwrite(path, image, tile=(128, 128), photometric="palette", colormap=colors)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300), (colors >> 8).T[image])


# ---------------------------------------------------------------------------------------------------------
# Pixel sizes of plain TIFFs


def write_tiff(path: Path, dpi: tuple[int, int]) -> Path:
    where = {"resolution": dpi, "resolutionunit": "INCH"}
    tifffile.imwrite(path, noise(256, 256, 3), tile=(128, 128), photometric="rgb", metadata=None, **where)
    return path


@pytest.mark.parametrize("dpi", [300, 400, 600, 1200])
def test_a_print_resolution_of_a_tiff_is_no_pixel_size(tmp_path: Path, dpi: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_slide(write_tiff(tmp_path / "print.tif", (dpi, dpi))) as slide:
            assert slide.mpp is None
        with open_slide(write_tiff(tmp_path / "scan.tif", (25400, 12700))) as slide:
            assert slide.mpp == pytest.approx((2, 1))


@pytest.mark.parametrize(
    ("dpi", "told"), [((508, 508), "50 x 50"), ((1016, 1016), "25 x 25"), ((25400, 508), "1 x 50")]
)
def test_a_resolution_of_neither_print_nor_microscope_is_told_of(
    tmp_path: Path, dpi: tuple[int, int], told: str
) -> None:
    words = rf"coarse\.tif states a pixel size of {told} µm, which is more .*; it is treated as unknown\.$"
    with pytest.warns(UserWarning, match=words):
        slide = open_slide(write_tiff(tmp_path / "coarse.tif", dpi))
    with slide:
        assert slide.mpp is None


@pytest.mark.parametrize(("ratio", "told"), [((0, 1), "inf x"), ((1, 0), "0 x"), ((1, 1), "25400 x")])
def test_an_absurd_resolution_is_unknown_and_said_so(
    tmp_path: Path, ratio: tuple[int, int], told: str
) -> None:
    path = write_tiff(tmp_path / "absurd.tif", (25400, 25400))
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.tags["XResolution"].valueoffset
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack("<II", *ratio))
    with pytest.warns(UserWarning, match=rf"absurd\.tif states a pixel size of {told} 1 µm"):
        slide = open_slide(path)
    with slide:
        assert slide.mpp is None


# ---------------------------------------------------------------------------------------------------------
# Paths


def test_what_is_no_file_is_told_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.svs"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(SlideError, match=rf"{path.name} is not a file\. Give the slide file itself\."):
            open_slide(path)


def test_nothing_is_no_name_of_a_slide() -> None:
    with pytest.raises(SlideError, match="No slide is named"):
        open_slide("")


def test_a_tilde_that_is_no_home_is_part_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_tiff(tmp_path / "~tmp.tiff", (25400, 25400))
    with open_slide("~tmp.tiff") as slide:
        assert slide.shape == (256, 256)
    assert located("~/a.svs") == tmp_path / "home" / "a.svs"
    assert located(b"a.svs") == Path("a.svs")
    assert located(".") == tmp_path


def test_names_that_are_no_text_can_be_printed() -> None:
    assert printable(os.fsdecode(b"caf\xe9.tif")) == r"caf\xe9.tif"
    assert printable(Path("café 😐.svs")) == "café 😐.svs"
