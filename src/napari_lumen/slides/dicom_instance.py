"""One DICOM file of a slide: what its header says."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_lumen.slides.dicom_errors import BrokenDicomError, UnsupportedDicomError
from napari_lumen.slides.dicom_groups import (
    OpticalPath,
    Placed,
    Spacing,
    offset_table,
    optical_paths,
    pixel_spacing,
    placed_frames,
)
from napari_lumen.slides.dicom_tags import (
    PIXEL_DATA,
    Element,
    RanOffError,
    elements,
    integer,
    text,
    texts,
)
from napari_lumen.slides.level import LARGEST_SIDE

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
NATIVE = "1.2.840.10008.1.2.1"
_UNREAD = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
}
_META_GROUP = b"\x02\0"
_FIRST_READ = 64 << 10
_LARGEST_HEADER = 1 << 30
_TAIL = 64 << 10  # trailing padding and signatures come behind the last frame
_END_OF_FRAMES = b"\xfe\xff\xdd\xe0\0\0\0\0"
_LARGEST_TILE = 1 << 28  # bytes, decoded
_FACTS = {
    0x00080070: "Manufacturer",
    0x00081090: "ManufacturerModelName",
    0x00181020: "SoftwareVersions",
    0x0020000E: "SeriesInstanceUID",
    0x00400512: "ContainerIdentifier",
    0x00209311: "DimensionOrganizationType",
    0x00280004: "PhotometricInterpretation",
    0x00282110: "LossyImageCompression",
}


@dataclass(frozen=True, slots=True)
class Instance:
    """One file of a slide, by its header.

    Attributes
    ----------
    path : Path
    sop, source : str
        Unique identifiers of the file, and of the image that it is a part of.
    series, container : str
        Of the slide.
    kind : str
        VOLUME, LABEL, OVERVIEW or THUMBNAIL.
    resampled : bool
        Whether it was reduced from a finer one.
    syntax, photometric : str
    samples, bits, significant : int
        Values per pixel, bits of each as stored, and how many of these count.
    planar : bool
        Whether pixels that are not compressed are stored colour after colour.
    shape, tile : (int, int)
        Height and width, px.
    frames, planes : int
        Frames in this file, and focal planes.
    paths : tuple of OpticalPath
    spacing : Spacing
    first_frame : int
        Number of the image's frames in the parts before this one.
    part : (int, int) or None
        Number of the part, from 1, and of how many.
    placed : Placed or None
        Where each frame lies, where the tiling is sparse.
    start, size : int
        Of the pixel data in the file; -1 for a size that is not stated.
    offsets : (ndarray, ndarray) or None
        Extended offset table: offsets and lengths of the frames.
    facts : mapping of str to str
        Without those about the patient.
    """

    path: Path
    sop: str
    source: str
    series: str
    container: str
    kind: str
    resampled: bool
    syntax: str
    photometric: str
    samples: int
    bits: int
    significant: int
    planar: bool
    shape: tuple[int, int]
    tile: tuple[int, int]
    frames: int
    planes: int
    paths: tuple[OpticalPath, ...]
    spacing: Spacing
    first_frame: int
    part: tuple[int, int] | None
    placed: Placed | None
    start: int
    size: int
    offsets: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None
    facts: Mapping[str, str]

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of tiles of the whole image."""
        return -(-self.shape[0] // self.tile[0]), -(-self.shape[1] // self.tile[1])


def is_dicom(path: Path) -> bool:
    """Return whether a file says that it is DICOM. OSError is passed on."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_instance(path: Path) -> Instance | None:
    """Return what a DICOM file says of itself, or None when it is no whole-slide image.

    Raises
    ------
    BrokenDicomError
        When it is damaged or truncated.
    UnsupportedDicomError
    OSError
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        data = file.read(_FIRST_READ)
        while True:
            try:
                found = _parsed(path, data)
                break
            except RanOffError as error:
                if len(data) >= min(length, _LARGEST_HEADER):
                    raise BrokenDicomError(f"it is truncated: it ends at byte {length:,}") from error
                more = file.read(3 * len(data))
                if not more:
                    raise BrokenDicomError(f"it is truncated: it ends at byte {len(data):,}") from error
                data += more
        if found is not None:
            file.seek(max(found.start, length - _TAIL))
            _check_end(found, file.read(), length)
    return found


def _check_end(instance: Instance, tail: bytes, length: int) -> None:
    """Refuse a file that ends before its last frame does."""
    stated = instance.size >= 0
    if length < instance.start + instance.size if stated else _END_OF_FRAMES not in tail:
        raise BrokenDicomError(f"it is truncated: its pixels break off at byte {length:,}")


def _parsed(path: Path, data: bytes) -> Instance | None:
    if data[128:132] != b"DICM":
        raise BrokenDicomError("it does not begin as a DICOM file does")
    meta: dict[int, Element] = {}
    end = 132
    for element in elements(data, 132):
        meta[element.tag] = element
        end = element.end
        if data[end : end + 2] != _META_GROUP:  # what follows is in the syntax that these state
            break
    if text(data, meta.get(0x00020002)) != WHOLE_SLIDE:
        return None
    syntax = text(data, meta.get(0x00020010))
    if syntax in _UNREAD:
        raise UnsupportedDicomError(f"its transfer syntax {syntax} ({_UNREAD[syntax]}) is not one of slides")
    top: dict[int, Element] = {element.tag: element for element in elements(data, end)}
    if PIXEL_DATA not in top:
        raise BrokenDicomError("it holds no pixels")
    try:
        return _instance(path, data, top, syntax)
    except (KeyError, ValueError, struct.error, IndexError) as error:
        raise BrokenDicomError("its header lacks what a slide's must state") from error


def _instance(path: Path, data: bytes, top: dict[int, Element], syntax: str) -> Instance:
    kinds = [*texts(data, top[0x00080008]), "", "", ""]
    pixels = top[PIXEL_DATA]
    sop = text(data, top[0x00080018])
    samples, allocated = integer(data, top[0x00280002]), integer(data, top[0x00280100])
    shape = (integer(data, top[0x00480007]), integer(data, top[0x00480006]))
    tile = (integer(data, top[0x00280010]), integer(data, top[0x00280011]))
    frames = integer(data, top.get(0x00280008), 1)
    if min(*shape, *tile, frames, samples) < 1 or max(shape) > LARGEST_SIDE:
        raise BrokenDicomError(f"it states a size of {shape[1]} x {shape[0]} px in {frames} frames")
    if allocated not in (8, 16) or integer(data, top.get(0x00280103), 0):
        raise UnsupportedDicomError(f"its values have {allocated} bits or a sign")
    if tile[0] * tile[1] * samples * allocated // 8 > _LARGEST_TILE:
        raise UnsupportedDicomError(f"its tiles have {tile[1]} x {tile[0]} px")
    paths = optical_paths(data, top)
    part = integer(data, top.get(0x00209162), 0), integer(data, top.get(0x00209163), 0)
    return Instance(
        path=path,
        sop=sop,
        source=text(data, top.get(0x00200242)) or sop,
        series=text(data, top[0x0020000E]),
        container=text(data, top.get(0x00400512)),
        kind=kinds[2],
        resampled=kinds[3] == "RESAMPLED",
        syntax=syntax,
        photometric=text(data, top[0x00280004]),
        samples=samples,
        bits=allocated,
        significant=min(integer(data, top.get(0x00280101), 0) or allocated, allocated),
        planar=integer(data, top.get(0x00280006), 0) == 1,
        shape=shape,
        tile=tile,
        frames=frames,
        planes=max(1, integer(data, top.get(0x00480303), 1)),
        paths=paths,
        spacing=pixel_spacing(data, top, shape),
        first_frame=integer(data, top.get(0x00209228), 0),
        part=part if part[0] else None,
        placed=placed_frames(data, top, frames, paths),
        start=pixels.start,
        size=-1 if pixels.undefined else pixels.end - pixels.start,
        offsets=offset_table(data, top, frames),
        facts={f"dicom.{name}": fact for tag, name in _FACTS.items() if (fact := text(data, top.get(tag)))},
    )
