"""DICOM slides: their pixels however they are stored and tiled, against pydicom and OpenSlide."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_files import (
    TILE,
    Made,
    assert_one_sentence,
    encoded,
    noise,
    openslide_image,
    picture,
    tiles_of,
    write_instance,
    write_slide,
)
from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.dicom import DicomSlide
from napari_lumen.slides.vendor import OpenSlideSlide

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


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLosslessSV1, JPEGLSLossless])
@pytest.mark.parametrize(("samples", "dtype"), [(3, "u1"), (1, "u1"), (1, "u2")])
def test_every_lossless_coding_comes_back_as_written(
    tmp_path: Path, syntax: str, samples: int, dtype: str
) -> None:
    image = noise(130, 150, samples, dtype) // 4  # JPEG-LS cannot store noise of all bits
    with open_slide(write_instance(tmp_path / "a.dcm", [image], Made(syntax=syntax))) as slide:
        assert isinstance(slide, DicomSlide)
        np.testing.assert_array_equal(slide.read(0, 0, 130, 150), image)


def test_colours_one_after_the_other_come_back_as_written(tmp_path: Path) -> None:
    image = noise(130, 150)
    with open_slide(write_instance(tmp_path / "a.dcm", [image], Made(planar=True))) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 130, 150), image)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_where_white_is_zero_the_values_are_turned(tmp_path: Path, syntax: str) -> None:
    image = noise(130, 150, 1, "u2") // 16  # of 12 bits
    other = {"BitsStored": 12, "HighBit": 11}
    made = Made(syntax=syntax, photometric="MONOCHROME1", other=other)
    with open_slide(write_instance(tmp_path / "a.dcm", [image], made)) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 130, 150), 4095 - image)


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


@pytest.mark.parametrize("names", [("DAPI", "FITC", "Cy5"), ("Cy5", "DAPI", "FITC")])
@pytest.mark.parametrize("by", ["identifier", "description"])
def test_a_file_a_channel_is_one_slide_of_channels(tmp_path: Path, names: tuple[str, ...], by: str) -> None:
    """The order is that of the identifiers, else of the files; it is the same whichever file is named."""
    images = [noise(200, 300, 1, "u2", seed) for seed in range(3)]
    for step in (1, 2):
        for number, (name, image) in enumerate(zip(names, images, strict=True)):
            identifier = str(9 + number) if by == "identifier" else "1"
            file = f"{step}{2 - number if by == 'identifier' else number}.dcm"
            made = Made(step=step, paths=(name,), identifier=identifier)
            write_instance(tmp_path / file, [np.ascontiguousarray(image[::step, ::step])], made)
    for path in (tmp_path, tmp_path / "11.dcm", tmp_path / "22.dcm"):
        with open_slide(path) as slide:
            assert [channel.name for channel in slide.channels] == list(names)
            assert len({channel.color for channel in slide.channels}) == 3
            assert slide.dtype == np.uint16
            for level, step in enumerate((1, 2)):
                expected = np.concatenate(images, axis=2)[::step, ::step]
                np.testing.assert_array_equal(slide.read(0, 0, *expected.shape[:2], level=level), expected)


def test_channels_that_are_sparse_are_placed_by_their_optical_path(tmp_path: Path) -> None:
    images = [noise(200, 300, 1, "u2", seed) for seed in range(2)]
    only = [3, 25, 0, 39]  # of 20 tiles a channel
    made = Made(paths=("DAPI", "FITC"), only=only)
    with open_slide(write_instance(tmp_path / "a.dcm", images, made)) as slide:
        found = slide.read(0, 0, 200, 300)
    expected = np.zeros((200, 300, 2), np.uint16)
    for number in only:
        channel, place = divmod(number, 20)
        y, x = place // 5 * TILE, place % 5 * TILE
        expected[y : y + TILE, x : x + TILE, channel] = images[channel][y : y + TILE, x : x + TILE, 0]
    np.testing.assert_array_equal(found, expected)


def test_a_pixel_size_that_only_the_frames_state_is_read(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "a.dcm", [picture()])
    data = pydicom.dcmread(path)
    data.PerFrameFunctionalGroupsSequence = [data.SharedFunctionalGroupsSequence[0] for _ in range(20)]
    del data.SharedFunctionalGroupsSequence
    data.save_as(path)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize("stated", ["0.0005", "wide\\wide"])
def test_a_pixel_size_that_cannot_be_read_is_told_of(tmp_path: Path, stated: str) -> None:
    path = write_instance(tmp_path / "a.dcm", [picture()])
    data = pydicom.dcmread(path)
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del measures.PixelSpacing
    measures.add_new(0x00280030, "LO", stated.split("\\"))
    data.save_as(path)
    with pytest.warns(UserWarning, match=r"a\.dcm states a pixel size of '(0\.0005|wide\\+wide)' mm"):
        slide = open_slide(path)
    with slide:
        assert slide.mpp is None


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
