"""Which directories of a TIFF are its levels and channels, and what vendors say of them."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.level import Channel
from napari_lumen.slides.tiff import UnsupportedLayoutError
from napari_lumen.slides.tiff_look import TiffKind, look
from tiff_files import (
    assert_one_sentence,
    direct,
    field,
    philips_xml,
    whole,
    write_channels,
    write_qptiff,
    write_ventana,
)

# ---------------------------------------------------------------------------------------------------------
# Levels


def test_the_largest_image_is_the_base_wherever_it_lies(tmp_path: Path) -> None:
    """Some writers begin with a thumbnail or with the coarsest level, and mark only these as reduced."""
    image = field(480, 640)
    for name, steps in (("rising.tif", (4, 2, 1)), ("thumbnail first.tif", (4, 1, 2))):
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            for number, step in enumerate(steps):
                cut = {} if number == 0 and steps[1] == 1 else {"tile": (64, 64)}
                tiff.write(image[::step, ::step], photometric="rgb", subfiletype=int(step > 1), **cut)
        with direct(tmp_path / name) as slide:
            assert [level.shape for level in slide.levels] == [(480, 640), (240, 320), (120, 160)]
            for number, step in enumerate((1, 2, 4)):
                np.testing.assert_array_equal(whole(slide, number), image[::step, ::step])


def test_a_mask_beside_the_picture_is_passed_over(tmp_path: Path) -> None:
    """GDAL writes one for each level, of the same size."""
    path, image = tmp_path / "masked.tif", field(300, 400)
    with tifffile.TiffWriter(path) as tiff:
        for step in (1, 2):
            level, kind = image[::step, ::step], int(step > 1)
            tiff.write(level, photometric="rgb", subfiletype=kind, tile=(64, 64))
            mask = np.ones(level.shape[:2], bool)
            tiff.write(mask, photometric=4, subfiletype=kind + 4, tile=(64, 64))
    with direct(path) as slide:
        assert [level.shape for level in slide.levels] == [(300, 400), (150, 200)]
        np.testing.assert_array_equal(whole(slide), image)


# ---------------------------------------------------------------------------------------------------------
# Channels


def test_an_ome_tiff_of_channels_has_their_names_colours_and_levels(tmp_path: Path) -> None:
    path = tmp_path / "channels.ome.tif"
    image = np.moveaxis(field(400, 300, 4, np.uint16), -1, 0)
    colors = [(0, 0, 255), (0, 255, 0), (255, 64, 0), (255, 255, 255)]
    packed = [struct.unpack(">i", bytes([*color, 255]))[0] for color in colors]
    levels = write_channels(
        path,
        image,
        Channel={"Name": ["DAPI", "CD8", "PanCK", "AF"], "Color": packed},
        PhysicalSizeX=325,
        PhysicalSizeXUnit="nm",
        PhysicalSizeY=0.5,
        PhysicalSizeYUnit="µm",
    )
    with direct(path) as slide:
        assert slide.channels == tuple(map(Channel, ["DAPI", "CD8", "PanCK", "AF"], colors))
        assert slide.mpp == pytest.approx((0.5, 0.325))
        assert slide.dtype == np.uint16
        assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2), (4, 4)]
        for index, level in enumerate(levels):
            np.testing.assert_array_equal(whole(slide, index), np.moveaxis(level, 0, -1))
        assert slide.dask_levels()[0].shape == (400, 300, 4)


def test_channels_without_names_get_names_and_distinct_colours(tmp_path: Path) -> None:
    path = tmp_path / "channels.ome.tif"
    write_channels(path, np.moveaxis(field(200, 200, 3), -1, 0))
    with direct(path) as slide:
        assert not slide.is_rgb
        assert [channel.name for channel in slide.channels] == ["Channel 1", "Channel 2", "Channel 3"]
        assert len({channel.color for channel in slide.channels}) == 3


def test_red_green_and_blue_taken_apart_are_a_picture_again(tmp_path: Path) -> None:
    path, image = tmp_path / "rgb.ome.tif", field(200, 200)
    packed = [struct.unpack(">i", bytes([*color, 255]))[0] for color in np.eye(3, dtype=np.uint8) * 255]
    write_channels(path, np.moveaxis(image, -1, 0), Channel={"Color": packed})
    with direct(path) as slide:
        assert slide.is_rgb
        np.testing.assert_array_equal(whole(slide), image)


def test_a_grey_pyramid_is_one_channel(shared_data: Path) -> None:
    path = shared_data / "slides" / "tissue_mask_pyramid.tif"
    with direct(path) as slide, tifffile.TiffFile(path) as tiff:
        assert [channel.name for channel in slide.channels] == ["Intensity"]
        for index in range(4):
            expected = tiff.series[0].levels[index].asarray()
            np.testing.assert_array_equal(whole(slide, index)[..., 0], expected)


def test_a_qptiff_has_a_channel_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "scan.qptiff"
    image = np.moveaxis(field(200, 300, 2), -1, 0)
    write_qptiff(path, image)
    with direct(path) as slide:
        assert slide.channels == (Channel("DAPI", (0, 0, 255)), Channel("Opal 520", (0, 255, 0)))
        assert slide.mpp == pytest.approx((0.5, 0.5))
        assert slide.magnification == 20
        assert [level.shape for level in slide.levels] == [(200, 300), (100, 150)]
        np.testing.assert_array_equal(whole(slide), np.moveaxis(image, 0, -1))
        np.testing.assert_array_equal(whole(slide, 1), np.moveaxis(image[:, ::2, ::2], 0, -1))
        shapes = {name: picture.shape for name, picture in slide.associated.items()}
    assert shapes == {"thumbnail": (40, 50, 3), "macro": (60, 90, 3), "label": (30, 30, 3)}


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [("ZYX", (3, 64, 64), "3 planes along Z"), ("TCYX", (2, 3, 64, 64), "2 planes along T")],
)
@pytest.mark.parametrize("kind", ["ome", "imagej", "shaped"])
def test_a_stack_is_refused_by_the_name_of_its_axes(
    tmp_path: Path, axes: str, shape: tuple[int, ...], words: str, kind: str
) -> None:
    path = tmp_path / ("stack.ome.tif" if kind == "ome" else "stack.tif")
    options = {} if kind == "shaped" else {kind: True}
    tifffile.imwrite(
        path, np.zeros(shape, np.uint8), photometric="minisblack", metadata={"axes": axes}, **options
    )
    with pytest.raises(SlideError, match=words) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, path.name)


@pytest.mark.parametrize("axes", ["ZCYX", "TZCYX"])
def test_axes_of_length_one_do_not_matter(tmp_path: Path, axes: str) -> None:
    path, image = tmp_path / "flat.ome.tif", np.moveaxis(field(100, 120, 3), -1, 0)
    shape = (1,) * (len(axes) - 3) + image.shape
    tifffile.imwrite(path, image.reshape(shape), ome=True, photometric="minisblack", metadata={"axes": axes})
    with direct(path) as slide:
        np.testing.assert_array_equal(whole(slide), np.moveaxis(image, 0, -1))


def test_an_imagej_hyperstack_of_channels_has_its_pixel_size(tmp_path: Path) -> None:
    path, image = tmp_path / "cells.tif", np.moveaxis(field(100, 120, 2, np.uint16), -1, 0)
    tifffile.imwrite(
        path,
        image,
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "CYX", "unit": "um"},
        compression="zlib",
    )
    with direct(path) as slide:
        assert slide.mpp == pytest.approx((0.5, 0.25))
        np.testing.assert_array_equal(whole(slide), np.moveaxis(image, 0, -1))


# ---------------------------------------------------------------------------------------------------------
# Vendors


def test_a_philips_slide_agrees_with_openslide(tmp_path: Path) -> None:
    """Its levels are padded to whole tiles; only the spacings in the XML say how large they are."""
    path = tmp_path / "philips.tiff"
    xml = philips_xml([(0.00025, 0.0002), (0.0005, 0.0004), (0.001, 0.0008)])
    layout: dict[str, Any] = {
        "tile": (128, 128),
        "photometric": "ycbcr",
        "compression": "jpeg",
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(field(640, 896), description=xml, software="Philips DP v1.0", **layout)
        tiff.write(field(384, 512), description="level=1", subfiletype=1, **layout)
        tiff.write(field(256, 256), description="level=2", subfiletype=1, **layout)
        tiff.write(field(90, 120), description="Macro", photometric="rgb", metadata=None)
    with direct(path) as slide, openslide.OpenSlide(str(path)) as handle:
        assert handle.properties["openslide.vendor"] == slide.vendor == "philips"
        assert [level.shape[::-1] for level in slide.levels] == list(handle.level_dimensions)
        assert [level.downsample[0] for level in slide.levels] == list(handle.level_downsamples)
        assert slide.mpp == pytest.approx((0.25, 0.2))
        assert slide.mpp == pytest.approx(
            tuple(float(handle.properties[f"openslide.mpp-{axis}"]) for axis in "yx")
        )
        for index, level in enumerate(slide.levels):
            expected = np.asarray(handle.read_region((0, 0), index, level.shape[::-1]))[..., :3].astype(int)
            assert np.abs(whole(slide, index) - expected).max() <= 2
        assert slide.associated["macro"].shape == (90, 120, 3)


@pytest.mark.parametrize("value", ["0", "-0.00025", "nan", "inf", "wide"])
def test_a_philips_slide_without_a_sound_pixel_size_is_still_a_slide(tmp_path: Path, value: str) -> None:
    path, image = tmp_path / "philips.tiff", field(640, 896)
    xml = philips_xml([(value, value)] * 3)
    layout: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, description=xml, software="Philips DP v1.0", **layout)
        tiff.write(field(384, 512), description="level=1", subfiletype=1, **layout)
        tiff.write(field(256, 256), description="level=2", subfiletype=1, **layout)
    stated = "nan" if value == "wide" else f"{float(value) * 1000:g}"
    with pytest.warns(UserWarning, match=f"philips.tiff states a pixel size of {stated} x {stated} µm"):
        slide = open_slide(path)
    with slide:
        assert (slide.vendor, slide.mpp) == ("philips", None)
        assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2), (4, 4)]
        np.testing.assert_array_equal(slide.read(0, 0, 640, 896), image)


@pytest.mark.parametrize("value", ["inf", "nan", "-1"])
def test_an_ome_pixel_size_that_cannot_be_is_told_of(tmp_path: Path, value: str) -> None:
    path = tmp_path / "odd.ome.tif"
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
        'DimensionOrder="XYCZT" ID="Pixels:0" Type="uint8" SizeC="1" SizeT="1" SizeX="64" SizeY="64" '
        f'SizeZ="1" PhysicalSizeX="{value}" PhysicalSizeY="0.5"><Channel ID="Channel:0:0"/>'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(64, 64), description=xml, metadata=None)
    with pytest.warns(UserWarning, match=rf"odd\.ome\.tif states a pixel size of {value} x 0\.5 µm"):
        slide = direct(path)
    with slide:
        assert slide.mpp is None


def test_a_plain_ventana_slide_is_read_directly(tmp_path: Path) -> None:
    path = tmp_path / "ventana.tif"
    write_ventana(path)
    with direct(path) as slide, tifffile.TiffFile(path) as tiff:
        assert (slide.vendor, slide.mpp, slide.magnification) == ("ventana", (0.2325, 0.2325), 40)
        for index, page in enumerate(tiff.pages[1:]):
            np.testing.assert_array_equal(whole(slide, index), page.asarray())
        assert slide.associated["macro"].shape == (60, 80, 3)


def test_a_ventana_slide_of_overlapping_tiles_is_left_to_openslide(tmp_path: Path) -> None:
    path = tmp_path / "ventana.tif"
    write_ventana(path, "<EncodeInfo><SlideStitchInfo/></EncodeInfo>")
    with pytest.raises(UnsupportedLayoutError, match="overlapping"):
        direct(path)


def test_the_profile_of_colours_is_that_of_the_base(tmp_path: Path, shared_data: Path) -> None:
    path, profile = tmp_path / "profiled.tif", b"a profile of colours" * 20
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(field(128, 128), tile=(64, 64), photometric="rgb", iccprofile=profile)
    with direct(path) as slide:
        assert slide.icc_profile == profile
    with direct(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        assert slide.icc_profile is None


# ---------------------------------------------------------------------------------------------------------
# A look at the head


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda path: tifffile.imwrite(path, field(300, 400), photometric="rgb"), TiffKind.PICTURE),
        (
            lambda path: tifffile.imwrite(
                path, field(300, 400), tile=(64, 64), resolution=(300, 300), resolutionunit="INCH"
            ),
            TiffKind.PICTURE,
        ),
        (
            lambda path: tifffile.imwrite(
                path, field(300, 400), tile=(64, 64), resolution=(40000, 40000), resolutionunit="CENTIMETER"
            ),
            TiffKind.SLIDE,
        ),
        (lambda path: write_channels(path, np.moveaxis(field(200, 200, 2), -1, 0)), TiffKind.SLIDE),
        (lambda path: write_qptiff(path, np.moveaxis(field(200, 200, 2), -1, 0)), TiffKind.SLIDE),
        (lambda path: write_ventana(path), TiffKind.SLIDE),
        (lambda path: path.write_bytes(b"II*\0" + bytes(range(40))), TiffKind.BROKEN),
        (lambda path: path.write_bytes(b"words"), TiffKind.BROKEN),
    ],
    ids=["photo", "print", "field", "channels", "qptiff", "ventana", "garbage", "words"],
)
def test_a_look_at_a_tiff_tells_slides_from_pictures(
    tmp_path: Path, write: Callable[[Path], object], kind: TiffKind
) -> None:
    path = tmp_path / "some.tif"
    write(path)
    assert look(path) is kind


# ---------------------------------------------------------------------------------------------------------
# What is stated and not used


def write_aperio(path: Path, mpp: str) -> None:
    text = f"Aperio Image Library v1|AppMag = 20|MPP = {mpp}"
    tifffile.imwrite(path, field(64, 64), tile=(64, 64), photometric="rgb", description=text, metadata=None)


def write_iscan(path: Path, mpp: str) -> None:
    xml = f'<iScan Magnification="40" ScanRes="{mpp}" />'.encode()
    layout: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
    tifffile.imwrite(
        path, field(64, 64), description="level=0", extratags=[(700, 1, None, xml, True)], **layout
    )


@pytest.mark.parametrize("write", [write_aperio, write_iscan])
@pytest.mark.parametrize(
    ("text", "mpp"), [("0.25", 0.25), ("0,25", 0.25), ("0.5 um", 0.5), ("0.5um", 0.5), ("250 nm", 0.25)]
)
def test_a_pixel_size_with_a_comma_or_a_unit_is_read(
    tmp_path: Path, write: Callable[[Path, str], None], text: str, mpp: float
) -> None:
    write(tmp_path / "comma.tif", text)
    with direct(tmp_path / "comma.tif") as slide:
        assert slide.mpp == pytest.approx((mpp, mpp))


@pytest.mark.parametrize("write", [write_aperio, write_iscan])
@pytest.mark.parametrize("text", ["abc", "0.5 furlongs", "1,000.5", "0x1"])
def test_a_pixel_size_that_cannot_be_read_is_told_of(
    tmp_path: Path, write: Callable[[Path, str], None], text: str
) -> None:
    write(tmp_path / "odd.tif", text)
    words = rf"odd\.tif states a pixel size of '{text}', which cannot be read; it is treated as unknown\.$"
    with pytest.warns(UserWarning, match=words):
        slide = direct(tmp_path / "odd.tif")
    with slide:
        assert slide.mpp is None


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ('PhysicalSizeX="0.25"', "0.25 µm x nothing"),
        ('PhysicalSizeX="0.02" PhysicalSizeXUnit="thou" PhysicalSizeY="0.5"', "0.02 thou x 0.5 µm"),
        ('PhysicalSizeX="wide" PhysicalSizeY="0.5"', "wide µm x 0.5 µm"),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"', None),
    ],
)
def test_an_ome_pixel_size_that_cannot_be_read_is_told_of(
    tmp_path: Path, stated: str, told: str | None
) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
        'DimensionOrder="XYCZT" ID="Pixels:0" Type="uint8" SizeC="1" SizeT="1" SizeX="64" SizeY="64" '
        f'SizeZ="1" {stated}><Channel ID="Channel:0:0"/><TiffData IFD="0" PlaneCount="1"/></Pixels></Image>'
        "</OME>"
    ).encode()
    path = tmp_path / "odd.ome.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(64, 64), description=xml, metadata=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with direct(path) as slide:
            assert slide.mpp is None
    assert [str(warning.message) for warning in caught] == (
        [f"odd.ome.tif states a pixel size of {told}, which cannot be read; it is treated as unknown."]
        if told
        else []
    )


def test_an_imagej_unit_that_is_not_known_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "odd.tif"
    for unit in ("", "pixel"):
        tifffile.imwrite(path, field(64, 64, 1)[..., 0], imagej=True, metadata={"unit": unit})
        direct(path).close()
    tifffile.imwrite(path, field(64, 64, 1)[..., 0], imagej=True, metadata={"unit": "furlong"})
    with pytest.warns(UserWarning, match=r"odd\.tif states a pixel size of a number of 'furlong'"):
        slide = direct(path)
    with slide:
        assert slide.mpp is None


@pytest.mark.parametrize("inside", [False, True], ids=["in the chain", "in its directory"])
def test_a_level_of_no_width_is_left_out_and_told_of(tmp_path: Path, inside: bool) -> None:
    path, image = tmp_path / "thin.tif", field(256, 256)
    with tifffile.TiffWriter(path) as tiff:
        layout: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
        tiff.write(image, subifds=2 if inside else 0, **layout)
        tiff.write(image[::2, ::2], subfiletype=1, **layout)
        tiff.write(image[::4, ::4], subfiletype=1, **layout)
    with tifffile.TiffFile(path) as tiff:
        pages = tiff.pages.first.pages if inside else tiff.pages[1:]
        offset = pages[0].tags["ImageWidth"].valueoffset
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack("<H", 0))
    number = "reduced directory 1 of 2" if inside else "directory 2 of 3"
    words = rf"thin\.tif states a level of 0 x 128 px in {number}, which holds nothing; it is left out\.$"
    with pytest.warns(UserWarning, match=words) as caught:
        slide = direct(path)
    assert len(caught) == 1
    with slide:
        assert [level.shape for level in slide.levels] == [(256, 256), (64, 64)]
