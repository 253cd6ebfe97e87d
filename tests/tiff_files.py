"""TIFF files of known pixels, written for the tests of slides."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.slides.cache import TileCache
from napari_lumen.slides.tiff import TiffSlide

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


def philips_xml(spacings: list[tuple[float | str, float | str]]) -> str:
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


def patch(path: Path, place: int, value: int, kind: int = 4) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(struct.pack({3: "<H", 4: "<I", 16: "<Q"}[kind], value))


def value_of(path: Path, code: int, value: int, page: int = 0) -> None:
    """Write another value into a tag that holds one number."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[page].tags[code]
    patch(path, tag.valueoffset, value, int(tag.dtype))


def patch_count(path: Path, index: int, value: int) -> None:
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[325]
    patch(path, tag.valueoffset + index * {3: 2, 4: 4}[int(tag.dtype)], value, int(tag.dtype))
