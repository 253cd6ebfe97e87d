"""TIFF slides read directly: every coding and layout, exact to the pixel; one sentence where it is broken."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import openslide
import PIL.Image
import pytest
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.cache import TileCache, process_cache
from napari_lumen.slides.level import Channel
from napari_lumen.slides.tiff import TiffSlide, UnsupportedLayoutError
from napari_lumen.slides.tiff_look import TiffKind, look

Image = npt.NDArray[Any]


def field(height: int, width: int, samples: int = 3, dtype: npt.DTypeLike = np.uint8) -> Image:
    """Return a smooth picture with grain, over the range of its type: every codec has something to do."""
    rng = np.random.default_rng(7)
    rows, columns, depth = np.ogrid[:height, :width, :samples]
    waves = 0.5 + 0.4 * np.sin(rows / 23 + depth) * np.cos(columns / 17 - depth)
    values = waves + rng.uniform(-0.05, 0.05, (height, width, samples))
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (values * 1000 - 300).astype(kind)
    limits = np.iinfo(kind)
    return np.clip(values * (limits.max * 0.9), limits.min, limits.max).astype(kind)


def direct(path: Path, limit: int = 64 << 20) -> TiffSlide:
    return TiffSlide(path, cache=TileCache(limit))


def whole(slide: TiffSlide, level: int = 0) -> Image:
    return slide.read(0, 0, *slide.levels[level].shape, level=level)


def assert_one_sentence(error: SlideError, name: str) -> None:
    message = str(error)
    assert name in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 320


# ---------------------------------------------------------------------------------------------------------
# Codings


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


def write_jpeg(
    path: Path, image: Image, *, abbreviated: bool, tables: bool = True, subsampling: str = "420"
) -> Path:
    """Write 256 px tiles of JPEG in YCbCr, with the quantisation and Huffman tables apart where asked."""
    tiles = [image[y : y + 256, x : x + 256] for y in (0, 256) for x in (0, 256)]
    encoded = [imagecodecs.jpeg8_encode(tile, level=85, subsampling=subsampling) for tile in tiles]
    shared: list[Any] = []
    if abbreviated:
        parts = [split_tables(data) for data in encoded]
        assert len({kept for kept, _ in parts}) == 1
        encoded = [rest for _, rest in parts]
        shared = [(347, 7, len(parts[0][0]), parts[0][0], True)] if tables else []
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter(encoded),
            shape=image.shape,
            dtype=np.uint8,
            tile=(256, 256),
            photometric="ycbcr",
            compression="jpeg",
            extratags=shared,
            metadata=None,
        )
    return path


def split_tables(data: bytes) -> tuple[bytes, bytes]:
    """Split a JPEG into its tables and the rest, each a stream of its own."""
    tables, rest, place = b"", b"", 2
    while data[place + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, place + 2)
        segment = data[place : place + 2 + length]
        if data[place + 1] in (0xDB, 0xC4):
            tables += segment
        else:
            rest += segment
        place += 2 + length
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + data[place:]


def write_j2k(path: Path, image: Image, compression: int, mct: bool = False) -> Path:
    tiles = (image[y : y + 128, x : x + 128] for y in (0, 128) for x in (0, 128))
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            (imagecodecs.jpeg2k_encode(tile, codecformat="j2k", level=0, mct=mct) for tile in tiles),
            shape=image.shape,
            dtype=np.uint8,
            tile=(128, 128),
            photometric="rgb",
            compression=compression,
            description="Aperio Image Library v11.2.1 |AppMag = 20|MPP = 0.4990",
            metadata=None,
        )
    return path


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


def patch(path: Path, place: int, value: int, kind: int = 4) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(struct.pack({3: "<H", 4: "<I", 16: "<Q"}[kind], value))


# ---------------------------------------------------------------------------------------------------------
# Channels


def write_channels(path: Path, image: Image, **metadata: Any) -> list[Image]:
    """Write a pyramid of (C, h, w) planes as OME-TIFF, each directory with its reduced ones."""
    levels = [image, image[:, ::2, ::2], image[:, ::4, ::4]]
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(
            levels[0],
            subifds=2,
            tile=(64, 64),
            photometric="minisblack",
            metadata={"axes": "CYX", **metadata},
        )
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, tile=(64, 64), photometric="minisblack")
    return levels


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


def write_qptiff(path: Path, channels: Image) -> None:
    """Write fluorescence as a PerkinElmer scanner does: a directory a channel and level, XML in each."""
    names, colors = ["DAPI", "Opal 520"], ["0,0,255", "0,255,0"]

    def xml(kind: str, channel: int | None = None) -> str:
        name = "" if channel is None else f"<Name>{names[channel]}</Name><Color>{colors[channel]}</Color>"
        return (
            '<?xml version="1.0"?><PerkinElmer-QPI-ImageDescription><DescriptionVersion>2'
            f"</DescriptionVersion><ImageType>{kind}</ImageType>{name}<Objective>20x</Objective>"
            "<ScanProfile><root/></ScanProfile></PerkinElmer-QPI-ImageDescription>"
        )

    where = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:

        def write(image: Image, description: str, **layout: Any) -> None:
            tiff.write(image, description=description, software="PerkinElmer-QPI", **where, **layout)

        for index, channel in enumerate(channels):
            write(channel, xml("FullResolution", index), tile=(64, 64), compression="lzw")
        write(field(40, 50), xml("Thumbnail"), photometric="rgb")
        for index, channel in enumerate(channels):
            write(channel[::2, ::2], xml("ReducedResolution", index), tile=(64, 64), subfiletype=1)
        write(field(60, 90), xml("Overview"), photometric="rgb")
        write(field(30, 30), xml("Label"), photometric="rgb")


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


def philips_xml(spacings: list[tuple[float, float]]) -> str:
    parts = "".join(
        '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">'
        f"&quot;{y}&quot; &quot;{x}&quot;</Attribute></DataObject>"
        for y, x in spacings
    )
    y, x = spacings[0]
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        '<Attribute Name="DICOM_MANUFACTURER">PHILIPS</Attribute>'
        '<Attribute Name="PIM_DP_SCANNED_IMAGES"><Array><DataObject ObjectType="DPScannedImage">'
        '<Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute>'
        f'<Attribute Name="DICOM_PIXEL_SPACING">&quot;{y}&quot; &quot;{x}&quot;</Attribute>'
        '<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE">'
        f"<Array>{parts}</Array></Attribute></DataObject></Array></Attribute></DataObject>"
    )


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


def iscan(inside: str = "") -> bytes:
    head = '<iScan ScanRes="0.2325" Magnification="40" UnitNumber="2000515" UserName="me" Z-layers="1"'
    return f'<?xml version="1.0"?><Metadata>{head}/>{inside}</Metadata>'.encode()


def write_ventana(path: Path, inside: str = "") -> None:
    def tag(data: bytes) -> list[Any]:
        return [(700, 1, len(data), data, True)]

    layout: dict[str, Any] = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(field(60, 80), description="Label Image", extratags=tag(iscan()), **layout)
        tiff.write(
            field(512, 768),
            description="level=0 mag=40 quality=90",
            tile=(128, 128),
            extratags=tag(iscan(inside)) if inside else [],
            **layout,
        )
        tiff.write(field(256, 384), description="level=1 mag=20 quality=90", tile=(128, 128), **layout)


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
# The cache, threads, and what opening costs


def test_the_cache_of_tiles_is_bounded_and_keeps_the_last_used() -> None:
    cache = TileCache(1000)
    for index in range(10):
        cache.put("slide", index, np.zeros((10, 10, 3), np.uint8))
    assert cache.nbytes == 900
    assert [index for index in range(10) if cache.get("slide", index) is not None] == [7, 8, 9]
    cache.get("slide", 7)
    cache.put("slide", "new", np.zeros((10, 10, 3), np.uint8))
    assert cache.get("slide", 8) is None
    assert cache.get("slide", 7) is not None
    cache.put("slide", "too large", np.zeros((20, 20, 3), np.uint8))
    assert cache.nbytes <= 1000
    cache.clear()
    assert cache.nbytes == 0


def test_a_cache_forgets_one_owner_and_shrinks_to_a_new_limit() -> None:
    cache = TileCache(10_000)
    for index in range(10):
        cache.put("one" if index % 2 else "two", index, np.zeros(100, np.uint8))
    cache.drop("one")
    assert cache.nbytes == 500
    assert cache.get("one", 1) is None
    cache.set_limit(250)
    assert (cache.limit, cache.nbytes) == (250, 200)
    assert cache.get("two", 8) is not None
    cache.abandon("two")
    cache.put("three", 0, np.zeros(10, np.uint8))
    assert cache.nbytes == 10
    with pytest.raises(ValueError, match="at least 0"):
        cache.set_limit(-1)


def test_the_cache_counts_right_from_many_threads() -> None:
    cache = TileCache(5000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: cache.put(index % 3, index % 50, np.zeros(100, np.uint8)), range(4000)))
    held = [tile for owner in range(3) for key in range(50) if (tile := cache.get(owner, key)) is not None]
    assert cache.nbytes == sum(tile.nbytes for tile in held) <= 5000


def test_threads_that_want_the_same_tile_make_it_once() -> None:
    cache, made, start = TileCache(1000), [], Barrier(8)

    def make() -> Image:
        made.append(1)
        return np.ones(10, np.uint8)

    def fetch(_: int) -> Image:
        start.wait()
        return cache.fetch("slide", 0, make)

    with ThreadPoolExecutor(8) as pool:
        tiles = list(pool.map(fetch, range(8)))
    assert len(made) == 1
    assert all(tile is tiles[0] for tile in tiles)


def test_a_tile_that_cannot_be_made_does_not_block_the_next_who_asks() -> None:
    cache, answers = TileCache(1000), iter([ValueError("broken"), np.ones(3, np.uint8)])

    def make() -> Image:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    with pytest.raises(ValueError, match="broken"):
        cache.fetch("slide", 0, make)
    assert cache.fetch("slide", 0, make).sum() == 3


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


# ---------------------------------------------------------------------------------------------------------
# Bad input


def value_of(path: Path, code: int, value: int, page: int = 0) -> None:
    """Write another value into a tag that holds one number."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[page].tags[code]
    patch(path, tag.valueoffset, value, int(tag.dtype))


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


@pytest.mark.parametrize("damage", ["header", "size", "cut", "zeros"])
def test_a_broken_codestream_is_told_and_the_others_are_read(tmp_path: Path, damage: str) -> None:
    path = write_jpeg(tmp_path / "hole.tif", field(512, 512), abbreviated=False)
    with direct(path) as slide:
        expected = whole(slide)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offset, count = page.dataoffsets[3], page.databytecounts[3]
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[offset : offset + 20] = bytes(20)
    elif damage == "size":  # 65,500 x 65,500 px: 12 GB
        frame = data.find(b"\xff\xc0", offset)
        data[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    elif damage == "cut":
        patch_count(path, 3, 40)
        data = bytearray(path.read_bytes())
    else:
        data[offset + count // 2 : offset + count] = bytes(count - count // 2)
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


def patch_count(path: Path, index: int, value: int) -> None:
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[325]
    patch(path, tag.valueoffset + index * {3: 2, 4: 4}[int(tag.dtype)], value, int(tag.dtype))


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


def test_an_uncompressed_image_in_one_strip_is_read_in_bands(tmp_path: Path) -> None:
    path, image = tmp_path / "bands.tif", field(3000, 2500)
    tifffile.imwrite(path, image, photometric="rgb", rowsperstrip=3000)
    with direct(path) as slide:
        assert slide.levels[0].tile == (256, 2500)
        np.testing.assert_array_equal(slide.read(1100, 400, 700, 300), image[1100:1800, 400:700])


def test_a_file_that_is_removed_or_cut_while_open_still_answers(tmp_path: Path) -> None:
    path, image = tmp_path / "gone.tif", field(256, 256)
    tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb")
    with direct(path) as slide:
        path.rename(tmp_path / "moved.tif")
        np.testing.assert_array_equal(slide.read(0, 0, 128, 128), image[:128, :128])
        os.truncate(tmp_path / "moved.tif", 1000)
        with pytest.raises(SlideError, match="truncated") as caught:
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
