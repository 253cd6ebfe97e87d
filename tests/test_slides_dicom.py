"""DICOM slides: in one file or many, in parts, sparse or full, against pydicom and OpenSlide."""

from __future__ import annotations

import shutil
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import openslide
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.dicom import DicomSlide
from napari_lumen.slides.vendor import OpenSlideSlide

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
    planes: int = 1
    paths: tuple[str, ...] = ("",)
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
    return tile.tobytes()


def write_instance(path: Path, images: Sequence[npt.NDArray[np.generic]], made: Made | None = None) -> Path:
    """Write one file; `images` holds one picture for each optical path and focal plane, planes faster."""
    made = made or Made()
    height, width, samples = images[0].shape
    frames = [tile for image in images for tile in tiles_of(image)]
    across = -(-width // TILE)
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
        data.PlanarConfiguration = 0
    bits = images[0].dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.Rows = data.Columns = TILE
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = height, width
    data.TotalPixelMatrixFocalPlanes = made.planes
    data.DimensionOrganizationType = "TILED_FULL" if made.only is None else "TILED_SPARSE"
    data.OpticalPathSequence = []
    for number, name in enumerate(made.paths):
        light = Dataset()
        light.OpticalPathIdentifier, light.OpticalPathDescription = str(number), name
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
            place.ColumnPositionInTotalImagePixelMatrix = number % across * TILE + 1
            place.RowPositionInTotalImagePixelMatrix = number // across * TILE + 1
            group.PlanePositionSlideSequence = [place]
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


# ---------------------------------------------------------------------------------------------------------
# Real slides


def test_a_real_folder_is_read_as_openslide_and_pydicom_read_it(shared_data: Path) -> None:
    folder = shared_data / "slides" / "CMU-1-Small-Region.dicom"
    headers = {file: pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(folder.iterdir())}
    base = next(file for file, header in headers.items() if header.ImageType[2] == "VOLUME")
    header = headers[base]
    with open_slide(folder) as slide, openslide.OpenSlide(str(base)) as handle:
        assert isinstance(slide, DicomSlide)
        assert slide.shape == (header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns)
        assert slide.levels[0].tile == (header.Rows, header.Columns)
        spacing = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        assert slide.mpp == pytest.approx((float(spacing[0]) * 1e3, float(spacing[1]) * 1e3))
        assert slide.icc_profile == header.OpticalPathSequence[0].ICCProfile
        np.testing.assert_array_equal(slide.read(0, 0, *slide.shape), openslide_image(base)[..., :3])
        assert sorted(slide.associated) == ["label", "macro", "thumbnail"]
        for name, image in slide.associated.items():
            np.testing.assert_array_equal(image, np.asarray(handle.associated_images[name])[..., :3])


@pytest.mark.parametrize("name", ["jpeg.dicom", "jpeg2000.dicom"])
def test_a_real_file_is_read_as_openslide_reads_it(shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / name
    with open_slide(path) as slide:
        assert isinstance(slide, DicomSlide)
        np.testing.assert_array_equal(slide.read(0, 0, *slide.shape), openslide_image(path)[..., :3])


def test_nothing_of_the_patient_is_among_the_properties(tmp_path: Path) -> None:
    write_slide(tmp_path / "slide")
    with open_slide(tmp_path / "slide") as slide:
        assert slide.properties["dicom.Manufacturer"] == "Maker"
        assert "Secret" not in str(slide.properties)


# ---------------------------------------------------------------------------------------------------------
# How pixels are stored


@pytest.mark.parametrize("undefined_lengths", [False, True])
@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_lossless_pixels_come_back_as_written(
    tmp_path: Path, syntax: str, table: str, undefined_lengths: bool
) -> None:
    image = noise(200, 300)
    made = Made(syntax=syntax, table=table, undefined_lengths=undefined_lengths)
    path = write_instance(tmp_path / "a.dcm", [image], made)
    with open_slide(path) as slide:
        assert isinstance(slide, DicomSlide)
        assert slide.mpp == pytest.approx((0.5, 0.25))
        assert slide.magnification == 20
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300), image)
        np.testing.assert_array_equal(slide.read(61, 125, 70, 9), image[61:131, 125:134])


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_jpeg_has_the_colours_that_the_header_states(tmp_path: Path, photometric: str) -> None:
    image = picture()
    made = Made(syntax=JPEGBaseline8Bit, photometric=photometric)
    path = write_instance(tmp_path / "a.dcm", [image], made)
    with open_slide(path) as slide:
        assert isinstance(slide, DicomSlide)
        found = slide.read(0, 0, 200, 300)
    assert np.abs(found.astype(int) - image).mean() < 3
    if photometric != "YBR_FULL":  # which OpenSlide refuses
        np.testing.assert_array_equal(found, openslide_image(path)[..., :3])


def test_of_the_colours_of_jpeg_the_header_is_believed_not_the_stream(tmp_path: Path) -> None:
    """Scanners write RGB without the marker that says so; a decoder left alone takes it for YCbCr."""
    made = Made(syntax=JPEGBaseline8Bit, photometric="RGB")
    path = write_instance(tmp_path / "a.dcm", [picture()], made)
    data = pydicom.dcmread(path)
    silent = Made(syntax=JPEGBaseline8Bit)  # a stream that says YCbCr, under a header that says RGB
    data.PixelData = encapsulate([encoded(tile, silent) for tile in tiles_of(picture())])
    data.save_as(path)
    with open_slide(path) as slide:
        found = slide.read(0, 0, 200, 300)
    np.testing.assert_array_equal(found, openslide_image(path)[..., :3])
    assert np.abs(found.astype(int) - picture()).mean() > 20  # it was not converted


def test_a_frame_in_several_fragments_is_joined(tmp_path: Path) -> None:
    image = noise(100, 150)
    path = write_instance(tmp_path / "a.dcm", [image], Made(syntax=JPEG2000Lossless))
    data = pydicom.dcmread(path)
    streams = [encoded(tile, Made(syntax=JPEG2000Lossless)) for tile in tiles_of(image)]
    data.PixelData = encapsulate(streams, fragments_per_frame=3, has_bot=True)
    data.save_as(path)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 100, 150), image)


def test_an_extended_table_of_a_large_header_is_found(tmp_path: Path) -> None:
    """The header is longer than what is read of a file at first."""
    image = noise(200, 300)
    made = Made(syntax=JPEG2000Lossless, table="extended", icc=bytes(300_000))
    with open_slide(write_instance(tmp_path / "a.dcm", [image], made)) as slide:
        assert slide.icc_profile == bytes(300_000)
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300), image)


# ---------------------------------------------------------------------------------------------------------
# Tiling


@pytest.mark.parametrize("undefined_lengths", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGBaseline8Bit])
def test_a_sparse_slide_is_white_where_no_tile_is(
    tmp_path: Path, syntax: str, undefined_lengths: bool
) -> None:
    only = [1, 2, 7, 11, 19]
    made = Made(syntax=syntax, only=only, undefined_lengths=undefined_lengths)
    path = write_instance(tmp_path / "a.dcm", [picture()], made)
    reference = openslide_image(path)
    with open_slide(path) as slide, OpenSlideSlide(path) as other:
        assert isinstance(slide, DicomSlide)
        found = slide.read(0, 0, 200, 300)
        np.testing.assert_array_equal(found, other.read(0, 0, 200, 300))
    there = np.zeros((200, 300), bool)
    for number in only:
        y, x = number // 5 * TILE, number % 5 * TILE
        there[y : y + TILE, x : x + TILE] = True
    np.testing.assert_array_equal(reference[..., 3] == 255, there)
    np.testing.assert_array_equal(found[there], reference[there][:, :3])
    assert (found[~there] == 255).all()


@pytest.mark.parametrize("only", [None, [0, 2, 4, 9, 15, 19]])
def test_a_slide_in_parts_is_read_as_one(tmp_path: Path, only: list[int] | None) -> None:
    image = picture()
    cuts = [0, 7, 13, 20] if only is None else [0, 1, 4, 6]
    for number in range(3):
        part = (number + 1, 3, slice(cuts[number], cuts[number + 1]))
        made = Made(part=part, only=only, syntax=JPEGBaseline8Bit)
        write_instance(tmp_path / f"{number}.dcm", [image], made)
    with open_slide(tmp_path) as slide, OpenSlideSlide(tmp_path / "1.dcm") as other:
        assert isinstance(slide, DicomSlide)
        found = slide.read(0, 0, 200, 300)
        np.testing.assert_array_equal(found, other.read(0, 0, 200, 300))
    assert (found == 255).all(axis=2).any() == (only is not None)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    for number in (0, 2):
        part = (number + 1, 3, slice([0, 7, 13][number], [7, 13, 20][number]))
        write_instance(tmp_path / f"{number}.dcm", [picture()], Made(part=part))
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path)
    assert_one_sentence(caught.value, tmp_path.name, "part 2 of 3", "300 x 200 px")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_each_level_is_exact_whatever_its_ratio(tmp_path: Path, syntax: str) -> None:
    """OpenSlide blends neighbours where the ratio of a level is not whole."""
    levels = [noise(333, 401), noise(83, 100, seed=1)]
    for number, level in enumerate(levels):
        write_instance(tmp_path / f"{number}.dcm", [level], Made(step=4**number, syntax=syntax))
    rng = np.random.default_rng(0)
    with open_slide(tmp_path) as slide:
        for number, level in enumerate(levels):
            for _ in range(30):
                y, x = int(rng.integers(0, level.shape[0] - 20)), int(rng.integers(0, level.shape[1] - 20))
                np.testing.assert_array_equal(
                    slide.read(y, x, 20, 20, level=number), level[y : y + 20, x : x + 20]
                )


def test_of_several_focal_planes_the_middle_one_is_shown_and_said(tmp_path: Path) -> None:
    planes = [noise(200, 300, seed=seed) for seed in range(3)]
    with open_slide(write_instance(tmp_path / "a.dcm", planes, Made(planes=3))) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300), planes[1])
        assert slide.properties["lumen.focal-plane"] == "2 of 3"


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_optical_paths_are_channels_with_their_names_and_range(
    tmp_path: Path, syntax: str, dtype: str
) -> None:
    images = [noise(200, 300, 1, dtype, seed) for seed in range(2)]
    made = Made(paths=("DAPI", "FITC"), syntax=syntax)
    with open_slide(write_instance(tmp_path / "a.dcm", images, made)) as slide:
        assert [channel.name for channel in slide.channels] == ["DAPI", "FITC"]
        assert slide.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300), np.concatenate(images, axis=2))
        assert (slide.read(-10, -10, 5, 5) == 0).all()


# ---------------------------------------------------------------------------------------------------------
# Folders


@pytest.mark.parametrize("names", ["{}.dcm", "IM{}", "1.2.840.{}"])
def test_a_folder_and_each_file_of_it_open_the_same_slide(tmp_path: Path, names: str) -> None:
    image = write_slide(tmp_path / "slide", names=names)
    (tmp_path / "slide" / "notes.txt").write_text("not DICOM")
    for path in (tmp_path / "slide", *(tmp_path / "slide" / names.format(n) for n in range(3))):
        with open_slide(path) as slide:
            assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2), (4, 4)]
            for number, step in enumerate((1, 2, 4)):
                level = image[::step, ::step]
                np.testing.assert_array_equal(slide.read(0, 0, *level.shape[:2], level=number), level)


def test_two_slides_in_a_folder_are_named_and_each_opens_by_its_file(tmp_path: Path) -> None:
    first = write_slide(tmp_path, names="first{}.dcm")
    second = noise(150, 130)
    write_instance(tmp_path / "second.dcm", [second], Made(series="1.2.3.4.6"))
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path)
    assert_one_sentence(
        caught.value, "2 slides", "GLASS-5", "first0.dcm", "GLASS-6", "second.dcm", "Choose a file"
    )
    with open_slide(tmp_path / "second.dcm") as slide:
        assert [level.shape for level in slide.levels] == [(150, 130)]
        np.testing.assert_array_equal(slide.read(0, 0, 150, 130), second)
    with open_slide(tmp_path / "first1.dcm") as slide:
        assert len(slide.levels) == 3
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300), first)


def test_the_same_file_twice_is_one_level(tmp_path: Path) -> None:
    write_slide(tmp_path / "slide")
    shutil.copyfile(tmp_path / "slide" / "0.dcm", tmp_path / "slide" / "copy of 0.dcm")
    with open_slide(tmp_path / "slide") as slide:
        assert len(slide.levels) == 3


@pytest.mark.parametrize("size", [0, 100, 600, 1200, 0.5, 0.99])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGBaseline8Bit])
def test_one_broken_file_of_a_folder_is_named(tmp_path: Path, syntax: str, size: float) -> None:
    """OpenSlide passes over it, and takes the next coarser level for the finest."""
    write_slide(tmp_path / "slide", Made(syntax=syntax))
    broken = tmp_path / "slide" / "0.dcm"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: int(size * len(whole)) if size < 1 else int(size)])
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path / "slide")
    assert_one_sentence(caught.value, "0.dcm", "slide")
    with pytest.raises(SlideError) as caught:
        open_slide(broken)
    assert_one_sentence(caught.value, "0.dcm")
    with pytest.warns(
        UserWarning, match="lacks its finest level"
    ) as told:  # whoever opens another file of it is told what is lacking
        open_slide(tmp_path / "slide" / "1.dcm").close()
    assert any("0.dcm beside 1.dcm cannot be used" in str(one.message) for one in told)


def test_a_missing_finest_level_is_told_of(tmp_path: Path) -> None:
    write_slide(tmp_path / "slide")
    (tmp_path / "slide" / "0.dcm").unlink()
    with pytest.warns(UserWarning, match=r"slide lacks its finest level: .* 150 x 100 px"):
        slide = open_slide(tmp_path / "slide")
    with slide:
        assert slide.mpp == pytest.approx((1.0, 0.5))  # of what is there


def test_a_whole_slide_warns_of_nothing(tmp_path: Path) -> None:
    write_slide(tmp_path / "slide")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_slide(tmp_path / "slide").close()


def test_a_label_without_its_slide_is_no_slide(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "label.dcm", [picture(60, 60)], Made(kind="LABEL"))
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "label.dcm", "label picture")
    with pytest.raises(SlideError, match="holds no DICOM slide"):
        open_slide(tmp_path)


def test_pictures_are_read_when_asked_for(tmp_path: Path) -> None:
    write_slide(tmp_path / "slide")
    images = {"LABEL": picture(50, 60, 1), "OVERVIEW": picture(100, 170, 2), "THUMBNAIL": picture(90, 80, 3)}
    for kind, image in images.items():
        write_instance(tmp_path / "slide" / f"{kind}.dcm", [image], Made(kind=kind))
    with open_slide(tmp_path / "slide") as slide:
        for name, kind in (("label", "LABEL"), ("macro", "OVERVIEW"), ("thumbnail", "THUMBNAIL")):
            np.testing.assert_array_equal(slide.associated[name], images[kind])


# ---------------------------------------------------------------------------------------------------------
# Files that cannot be read


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"PlanarConfiguration": 1}, "one after the other"),
        ({"BitsAllocated": 32}, "32 bits"),
        ({"PixelRepresentation": 1}, "sign"),
        ({"TotalPixelMatrixRows": 0}, "300 x 0 px"),
        ({"Rows": 0}, "state"),
        ({"NumberOfFrames": 7}, "states 7 tiles where its size asks for 20"),
        ({"TotalPixelMatrixRows": 2000}, "states 20 tiles"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(
    tmp_path: Path, other: dict[str, object], words: str
) -> None:
    path = write_instance(tmp_path / "odd.dcm", [picture()], Made(other=other))
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "odd.dcm", words)


def test_a_picture_that_is_no_slide_is_refused(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "scan.dcm", [picture()])
    data = pydicom.dcmread(path)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.save_as(path)
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "scan.dcm", "no slide")


def test_the_implicit_syntax_is_named(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "implicit.dcm", [picture()], Made(syntax=ImplicitVRLittleEndian))
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "implicit.dcm", "transfer syntax 1.2.840.10008.1.2")


def test_a_damaged_tile_is_named_and_leaves_the_others(tmp_path: Path) -> None:
    image = noise(200, 300)
    path = write_instance(tmp_path / "hole.dcm", [image], Made(syntax=JPEG2000Lossless))
    data = bytearray(path.read_bytes())
    found = -1
    for _ in range(7):  # the seventh of five in a row: row 1, column 1
        found = data.find(b"\xff\x4f\xff\x51", found + 1)
    data[found : found + 60] = bytes(60)
    path.write_bytes(data)
    with open_slide(path) as slide:
        for _ in range(2):
            with pytest.raises(SlideError, match="level 0, tile row 1, column 1") as caught:
                slide.read(0, 0, 200, 300)
            assert_one_sentence(caught.value, "hole.dcm")
        np.testing.assert_array_equal(slide.read(0, 0, 64, 300), image[:64])
        np.testing.assert_array_equal(slide.read(64, 128, 64, 172), image[64:128, 128:])


@pytest.mark.parametrize("seed", range(8))
def test_mutated_headers_give_a_sentence_or_a_slide(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = Made(syntax=JPEGBaseline8Bit, only=[1, 2, 7], undefined_lengths=seed % 2 == 0)
    whole = write_instance(tmp_path / "whole", [picture()], made).read_bytes()
    path = tmp_path / "only" / "mutant.dcm"
    path.parent.mkdir()
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(128, 1800, int(rng.integers(1, 6))):
            data[at] = int(rng.integers(0, 256))
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with open_slide(path) as slide:
                    slide.read(0, 0, min(200, slide.shape[0]), min(300, slide.shape[1]))
            except SlideError as error:
                assert_one_sentence(error, "mutant.dcm")


# ---------------------------------------------------------------------------------------------------------
# Threads and closing


def test_eight_threads_read_what_was_written(tmp_path: Path) -> None:
    image = noise(200, 300)
    path = write_instance(tmp_path / "a.dcm", [image], Made(syntax=JPEG2000Lossless, table="none"))
    places = np.random.default_rng(0).integers(0, 130, (80, 2)).tolist()
    with open_slide(path) as slide, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: slide.read(*place, 70, 90), places))
    for (y, x), part in zip(places, found, strict=True):
        np.testing.assert_array_equal(part, image[y : y + 70, x : x + 90])


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    image = noise(200, 300)
    with open_slide(write_instance(tmp_path / "a.dcm", [image])) as slide:
        for box in ((0, 0, TILE, TILE), (10, 10, 20, 20), (0, 0, 200, 300)):
            slide.read(*box)[:] = 0
        np.testing.assert_array_equal(slide.read(0, 0, 200, 300), image)


def open_files(folder: Path) -> int:
    links = (link for link in Path("/proc/self/fd").iterdir())
    return sum(1 for link in links if link.is_symlink() and str(link.resolve()).startswith(str(folder)))


@pytest.mark.parametrize("drop", [lambda slides: slides[0].close(), lambda slides: slides.clear()])
def test_a_closed_or_forgotten_slide_holds_no_file(
    tmp_path: Path, drop: Callable[[list[DicomSlide]], None]
) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("only Linux lists the files of a process")
    write_slide(tmp_path / "slide")
    slides = [open_slide(tmp_path / "slide")]
    slides[0].read(0, 0, 10, 10)
    assert open_files(tmp_path) == 3
    drop(slides)  # type: ignore[arg-type]
    assert open_files(tmp_path) == 0


def test_a_closed_slide_says_so_also_of_its_pictures(tmp_path: Path) -> None:
    write_slide(tmp_path / "slide")
    write_instance(tmp_path / "slide" / "label.dcm", [picture(60, 60)], Made(kind="LABEL"))
    slide = open_slide(tmp_path / "slide")
    slide.close()
    slide.close()
    for ask in (lambda: slide.read(0, 0, 200, 300), lambda: slide.associated["label"]):
        with pytest.raises(SlideError, match="closed"):
            ask()
