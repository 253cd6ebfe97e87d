"""DICOM slides of known pixels, written for the tests."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import openslide
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from napari_lumen.errors import SlideError

Image = npt.NDArray[np.uint8]
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
TILE = 64
SERIES = "1.2.3.4.5"


@dataclass(frozen=True)
class Made:
    """How a synthetic instance is written."""

    series: str = SERIES
    kind: str = "VOLUME"
    step: int = 1
    syntax: str = ExplicitVRLittleEndian
    photometric: str = ""
    table: str = "basic"  # basic, extended or none
    only: Sequence[int] | None = None  # tiles of a sparse one
    part: tuple[int, int, slice] | None = None  # number, of how many, which frames
    planar: bool = False
    planes: int = 1
    paths: tuple[str, ...] = ("",)
    identifier: str = ""  # of the one optical path
    icc: bytes = b""
    undefined_lengths: bool = False
    sop: str = ""
    other: dict[str, object] = field(default_factory=dict)


def tiles_of(image: npt.NDArray[np.generic]) -> list[npt.NDArray[np.generic]]:
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    return [
        np.ascontiguousarray(padded[y : y + TILE, x : x + TILE])
        for y in range(0, height, TILE)
        for x in range(0, width, TILE)
    ]


def encoded(tile: npt.NDArray[np.generic], made: Made) -> bytes:
    if made.syntax == JPEGBaseline8Bit:
        if made.photometric == "RGB":
            return bytes(imagecodecs.jpeg8_encode(tile, level=95, colorspace="RGB", outcolorspace="RGB"))
        return bytes(imagecodecs.jpeg8_encode(tile, level=95))
    if made.syntax == JPEG2000Lossless:
        return bytes(imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", reversible=True))
    if made.syntax == JPEGLSLossless:
        return bytes(imagecodecs.jpegls_encode(tile))
    if made.syntax == JPEGLosslessSV1:
        space = {"colorspace": "RGB", "outcolorspace": "RGB"} if tile.shape[2] == 3 else {}
        bits = None if tile.itemsize == 1 else 16
        return bytes(imagecodecs.jpeg8_encode(tile, lossless=True, bitspersample=bits, **space))
    if made.syntax == RLELossless:
        bits = tile.itemsize * 8
        return RLELosslessEncoder.encode(
            tile.tobytes(),
            rows=TILE,
            columns=TILE,
            samples_per_pixel=tile.shape[2],
            number_of_frames=1,
            bits_allocated=bits,
            bits_stored=bits,
            pixel_representation=0,
            photometric_interpretation="RGB" if tile.shape[2] == 3 else "MONOCHROME2",
            planar_configuration=0,
        )
    return (np.moveaxis(tile, -1, 0) if made.planar else tile).tobytes()


def write_instance(path: Path, images: Sequence[npt.NDArray[np.generic]], made: Made | None = None) -> Path:
    """Write one file; `images` holds one picture for each optical path and focal plane, planes faster."""
    made = made or Made()
    height, width, samples = images[0].shape
    frames = [tile for image in images for tile in tiles_of(image)]
    across = -(-width // TILE)
    cells = across * -(-height // TILE)
    chosen = list(made.only) if made.only is not None else list(range(len(frames)))
    before = 0
    if made.part is not None:
        before = made.part[2].start
        chosen = chosen[made.part[2]]
    sop = made.sop or f"{made.series}.{zlib.crc32(path.name.encode())}.{made.step}"
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = WHOLE_SLIDE
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = sop
    data.file_meta.TransferSyntaxUID = made.syntax
    reduced = made.step > 1
    data.ImageType = [
        "DERIVED" if reduced else "ORIGINAL", "PRIMARY", made.kind, "RESAMPLED" if reduced else "NONE",
    ]  # fmt: skip
    data.Modality, data.Manufacturer, data.PatientName = "SM", "Maker", "Secret^Person"
    data.SeriesInstanceUID, data.StudyInstanceUID = made.series, made.series + ".1"
    data.ContainerIdentifier = f"GLASS-{made.series[-1]}"
    data.SamplesPerPixel = samples
    data.PhotometricInterpretation = made.photometric or (
        "MONOCHROME2" if samples == 1 else "YBR_FULL_422" if made.syntax == JPEGBaseline8Bit else "RGB"
    )
    if samples > 1:
        data.PlanarConfiguration = int(made.planar)
    bits = images[0].dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.Rows = data.Columns = TILE
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = height, width
    data.TotalPixelMatrixFocalPlanes = made.planes
    data.DimensionOrganizationType = "TILED_FULL" if made.only is None else "TILED_SPARSE"
    data.OpticalPathSequence = []
    for number, name in enumerate(made.paths):
        light = Dataset()
        light.OpticalPathIdentifier = made.identifier or str(number)
        light.OpticalPathDescription = name
        light.ObjectiveLensPower = "20"
        if made.icc:
            light.ICCProfile = made.icc
        data.OpticalPathSequence.append(light)
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [0.0005 * made.step, 0.00025 * made.step]
    shared.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    if made.only is not None:
        data.PerFrameFunctionalGroupsSequence = []
        for number in chosen:
            place, group = Dataset(), Dataset()
            place.ColumnPositionInTotalImagePixelMatrix = number % cells % across * TILE + 1
            place.RowPositionInTotalImagePixelMatrix = number % cells // across * TILE + 1
            group.PlanePositionSlideSequence = [place]
            if len(made.paths) > 1:
                light = Dataset()
                light.OpticalPathIdentifier = str(number // cells)
                group.OpticalPathIdentificationSequence = [light]
            data.PerFrameFunctionalGroupsSequence.append(group)
    if made.part is not None:
        data.ConcatenationUID = made.series + ".9"
        data.SOPInstanceUIDOfConcatenationSource = made.series + f".77.{made.step}"
        data.ConcatenationFrameOffsetNumber = before
        data.InConcatenationNumber, data.InConcatenationTotalNumber = made.part[:2]
    data.NumberOfFrames = len(chosen)
    streams = [encoded(frames[number], made) for number in chosen]
    if made.syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        data.PixelData = b"".join(streams)
        data["PixelData"].VR = "OB" if bits == 8 else "OW"
    else:
        if made.table == "extended":
            data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(
                streams
            )
        else:
            data.PixelData = encapsulate(streams, has_bot=made.table == "basic")
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
    for name, value in made.other.items():
        setattr(data, name, value)
    if made.undefined_lengths:
        for element in data.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
    data.save_as(path, enforce_file_format=True)
    return path


def picture(height: int = 200, width: int = 300, seed: int = 0) -> Image:
    """Return smooth colours, which JPEG keeps, on a pattern that no two places share."""
    y, x = np.mgrid[:height, :width]
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    waves = [np.sin(x / 17 + p) + np.cos(y / 23 + 2 * p) + x / 300 for p in phase]
    return np.clip(127 + 45 * np.stack(waves, axis=2), 0, 255).astype(np.uint8)


def noise(
    height: int, width: int, samples: int = 3, dtype: str = "u1", seed: int = 0
) -> npt.NDArray[np.generic]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, samples), dtype)


def write_slide(folder: Path, made: Made | None = None, names: str = "{}.dcm") -> Image:
    """Write a pyramid of three levels, and return its finest."""
    made = made or Made()
    folder.mkdir(exist_ok=True)
    image = picture()
    for number, step in enumerate((1, 2, 4)):
        one = Made(series=made.series, syntax=made.syntax, step=step)
        write_instance(folder / names.format(number), [np.ascontiguousarray(image[::step, ::step])], one)
    return image


def openslide_image(path: Path, level: int = 0) -> npt.NDArray[np.uint8]:
    with openslide.OpenSlide(str(path)) as handle:
        return np.asarray(handle.read_region((0, 0), level, handle.level_dimensions[level]))


def assert_one_sentence(error: SlideError, *words: str) -> None:
    message = str(error)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 300
