"""Writing an OME-TIFF: tiles encoded as they come, then put together with a pyramid in SubIFDs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import imagecodecs
import numpy as np
import tifffile

from napari_lumen.slides.convert.plan import TILE, Block, Pixels, Plan
from napari_lumen.slides.convert.target import Facts, Target, Tell
from napari_lumen.slides.convert.work import Key, Place, WorkFolder

COMPRESSIONS = ("jpeg", "deflate", "zstd")

_CLASSIC = 3_900_000_000  # bytes: what certainly fits the 4 GiB of a classic TIFF with its tables
_FULL_COLOR = 90  # quality from which JPEG keeps all of the colour, as libvips does
_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_OME_TYPES = {"f4": "float", "f8": "double"}
_KEPT = 1  # first number of the keys of tiles kept without loss; 0: as they go into the file


class TiffTarget(Target):
    """An OME-TIFF of tiles of 512 px.

    Parameters
    ----------
    work : WorkFolder
    plan : Plan
    facts : Facts
    compression : str
        One of `COMPRESSIONS`; "jpeg" for 8-bit RGB only.
    quality : int
        Of JPEG, 1 to 100.
    """

    def __init__(self, work: WorkFolder, plan: Plan, facts: Facts, compression: str, quality: int) -> None:
        self.plan = plan
        self._work, self._facts = work, facts
        self._compression, self._quality = compression, quality
        self._fresh: dict[Key, Place] = {}

    def write(self, level: int, row: int, column: int, pixels: Pixels, *, keep: bool) -> None:
        """Encode a tile into the file of tiles."""
        if keep:
            data = bytes(imagecodecs.zstd_encode(np.ascontiguousarray(pixels).tobytes(), level=1))
            self._fresh[_KEPT, level, row, column] = self._work.append(data)
        missing = TILE - pixels.shape[0], TILE - pixels.shape[1]
        if any(missing):  # the edge repeats, so that JPEG draws no ringing from a border into the slide
            pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        for plane, values in enumerate(self._planes(pixels)):
            self._fresh[0, level, plane, row, column] = self._work.append(self._encoded(values))

    def kept(self, level: int, row: int, column: int) -> Pixels:
        """Decode a tile that was kept."""
        data = imagecodecs.zstd_decode(self._work.read(self._work.places[_KEPT, level, row, column]))
        window = self.plan.window(level, row, column)
        pixels = np.frombuffer(data, self.plan.dtype)
        return pixels.reshape(window.height, window.width, self.plan.samples)

    def commit(self, block: Block) -> None:
        """Record a block with the places of its tiles."""
        self._work.commit(block.key, self._fresh.items())
        self._fresh = {}

    def is_done(self, block: Block) -> bool:
        """Whether a block was recorded."""
        return block.key in self._work.done

    def finish(self, tell: Tell) -> Path:
        """Copy the tiles into one file, level by level."""
        path = self._work.path / "image.tif"
        size = sum(length for key, (_, length) in self._work.places.items() if key[0] != _KEPT)
        counts = [rows * columns * self._plane_count for rows, columns in map(self.plan.tiles, self._levels)]
        told = 0

        def stored(level: int) -> Iterator[bytes]:
            nonlocal told
            rows, columns = self.plan.tiles(level)
            for plane in range(self._plane_count):
                for row in range(rows):
                    for column in range(columns):
                        tell(told, sum(counts))
                        yield self._work.read(self._work.places[0, level, plane, row, column])
                        told += 1

        with path.open("w+b") as file:
            with tifffile.TiffWriter(file, bigtiff=size > _CLASSIC, byteorder="<", ome=False) as tiff:
                for level in self._levels:
                    tiff.write(stored(level), **self._layout(level))
            file.flush()
            os.fsync(file.fileno())
        return path

    @property
    def _levels(self) -> range:
        return range(len(self.plan.shapes))

    @property
    def _is_rgb(self) -> bool:
        return not self._facts.channels

    @property
    def _plane_count(self) -> int:
        return 1 if self._is_rgb else self.plan.samples

    def _planes(self, pixels: Pixels) -> list[Pixels]:
        if self._is_rgb:
            return [np.ascontiguousarray(pixels)]
        return [np.ascontiguousarray(pixels[..., plane]) for plane in range(self.plan.samples)]

    @property
    def _subsampling(self) -> tuple[int, int]:
        return (1, 1) if self._quality >= _FULL_COLOR else (2, 2)

    @property
    def _predicted(self) -> bool:
        """Whether differences from the left neighbour are stored: shorter, and floats have no such way."""
        return self._compression != "jpeg" and self.plan.dtype.kind in "ui"

    def _encoded(self, values: Pixels) -> bytes:
        if self._compression == "jpeg":
            return bytes(
                imagecodecs.jpeg8_encode(
                    values,
                    level=self._quality,
                    colorspace="RGB",
                    outcolorspace="YCBCR",
                    subsampling=self._subsampling,
                )
            )
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        if self._predicted:
            values = np.asarray(imagecodecs.delta_encode(values, axis=1))
        data = np.ascontiguousarray(values).tobytes()
        if self._compression == "zstd":
            return bytes(imagecodecs.zstd_encode(data, level=9))
        return bytes(imagecodecs.zlib_encode(data, level=6))

    def _layout(self, level: int) -> dict[str, Any]:
        height, width = self.plan.shapes[level]
        first = level == 0
        layout: dict[str, Any] = {
            "shape": (height, width, 3) if self._is_rgb else (self.plan.samples, height, width),
            "dtype": self.plan.dtype.newbyteorder("<"),
            "tile": (TILE, TILE),
            "photometric": "rgb" if self._is_rgb else "minisblack",
            "compression": {"jpeg": "jpeg", "deflate": "adobe_deflate", "zstd": "zstd"}[self._compression],
            "metadata": None,
            "description": ome_xml(self.plan, self._facts) if first else None,
            "subifds": len(self.plan.shapes) - 1 if first else None,
            "subfiletype": 0 if first else 1,
            "iccprofile": self._facts.icc_profile if first else None,
            "software": "napari-lumen",
        }
        if self._compression == "jpeg":
            layout["subsampling"] = self._subsampling
        if self._predicted:
            layout["predictor"] = True
        if self.plan.mpp is not None:
            y, x = (1e4 / (size * 2**level) for size in self.plan.mpp)
            layout |= {"resolution": (x, y), "resolutionunit": "CENTIMETER"}
        return layout


def ome_xml(plan: Plan, facts: Facts) -> bytes:
    """Return the OME-XML of one image: https://docs.openmicroscopy.org/ome-model/6.3.1/ome-tiff/."""
    root = ET.Element("OME", {"xmlns": _OME, "Creator": "napari-lumen"})
    if facts.magnification is not None:
        instrument = ET.SubElement(root, "Instrument", {"ID": "Instrument:0"})
        ET.SubElement(
            instrument, "Objective", {"ID": "Objective:0", "NominalMagnification": f"{facts.magnification:g}"}
        )
    image = ET.SubElement(root, "Image", {"ID": "Image:0", "Name": facts.name})
    if facts.magnification is not None:
        ET.SubElement(image, "InstrumentRef", {"ID": "Instrument:0"})
        ET.SubElement(image, "ObjectiveSettings", {"ID": "Objective:0"})
    height, width = plan.shapes[0]
    kind = plan.dtype.str[1:]
    described = {
        "ID": "Pixels:0",
        "DimensionOrder": "XYCZT",
        "Type": _OME_TYPES.get(kind, plan.dtype.name),
        "BigEndian": "false",
        "SizeX": str(width),
        "SizeY": str(height),
        "SizeC": str(plan.samples),
        "SizeZ": "1",
        "SizeT": "1",
    }
    if not facts.channels:
        described["Interleaved"] = "true"
    if plan.mpp is not None:
        for axis, size in zip("YX", plan.mpp, strict=True):
            described |= {f"PhysicalSize{axis}": f"{size:.10g}", f"PhysicalSize{axis}Unit": "µm"}
    pixels = ET.SubElement(image, "Pixels", described)
    if not facts.channels:
        ET.SubElement(pixels, "Channel", {"ID": "Channel:0:0", "SamplesPerPixel": "3"})
    for index, channel in enumerate(facts.channels):
        ET.SubElement(
            pixels,
            "Channel",
            {
                "ID": f"Channel:0:{index}",
                "Name": channel.name,
                "SamplesPerPixel": "1",
                "Color": str(_signed(channel.color)),
            },
        )
    planes = len(facts.channels) or 1
    ET.SubElement(pixels, "TiffData", {"IFD": "0", "PlaneCount": str(planes)})
    head = b'<?xml version="1.0" encoding="UTF-8"?>'
    return head + bytes(ET.tostring(root, encoding="utf-8", xml_declaration=False))


def _signed(color: tuple[int, int, int]) -> int:
    """Return a colour as OME writes it: RGBA in a signed number of 32 bits."""
    return int.from_bytes(bytes((*color, 255)), "big", signed=True)
