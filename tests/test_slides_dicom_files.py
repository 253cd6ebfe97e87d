"""DICOM slides: which files make one, and what is said of those that cannot be read."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import simplejpeg
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from dicom_files import (
    Made,
    assert_one_sentence,
    noise,
    picture,
    write_instance,
    write_slide,
)
from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide

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


@pytest.mark.parametrize("size", [600, 1200, 0.5, 0.99])
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


def test_files_that_are_only_called_dicom_are_told_of_once_and_passed_over(tmp_path: Path) -> None:
    image = write_slide(tmp_path / "slide")
    (tmp_path / "slide" / "._0.dcm").write_bytes(b"\0\5\x16\7" + bytes(4092))  # macOS leaves such
    (tmp_path / "slide" / "empty.dcm").touch()
    (tmp_path / "slide" / "notes.dcm").write_text("not DICOM")
    for path in (tmp_path / "slide", tmp_path / "slide" / "1.dcm"):
        with pytest.warns(
            UserWarning, match=r"\._0\.dcm, empty\.dcm, notes\.dcm beside the files of"
        ) as told:
            slide = open_slide(path)
        with slide:
            np.testing.assert_array_equal(slide.read(0, 0, 200, 300), image)
        assert len(told) == 1


def test_pictures_of_one_size_that_are_no_channels_open_each_by_its_file(tmp_path: Path) -> None:
    images = [noise(200, 300, seed=seed) for seed in range(2)]
    for number, image in enumerate(images):
        write_instance(tmp_path / f"{number}.dcm", [image])
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path)
    assert_one_sentence(caught.value, "2 pictures of 300 x 200 px", "each opens by its own file")
    for number, image in enumerate(images):
        with open_slide(tmp_path / f"{number}.dcm") as slide:
            np.testing.assert_array_equal(slide.read(0, 0, 200, 300), image)


def test_a_sparse_file_of_a_size_far_beyond_its_tiles_is_refused(tmp_path: Path) -> None:
    made = Made(only=[1, 2, 7], other={"TotalPixelMatrixRows": 9_000_000})
    with pytest.raises(SlideError) as caught:
        open_slide(write_instance(tmp_path / "tall.dcm", [picture()], made))
    assert_one_sentence(caught.value, "tall.dcm", "300 x 9,000,000 px", "row 128")


def test_levels_that_cannot_be_of_one_picture_are_refused(tmp_path: Path) -> None:
    write_instance(tmp_path / "0.dcm", [picture(200, 3000)], Made())
    write_instance(tmp_path / "1.dcm", [picture(100, 150)], Made(step=2))
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path)
    assert_one_sentence(caught.value, "0.dcm", "3000 x 200 px", "1.dcm", "150 x 100 px")


def test_a_coarse_level_padded_to_a_whole_tile_is_a_level(tmp_path: Path) -> None:
    write_instance(tmp_path / "0.dcm", [picture(1000, 200)], Made())
    write_instance(tmp_path / "1.dcm", [picture(128, 64)], Made(step=8))  # 125 x 25 px, padded
    with open_slide(tmp_path) as slide:
        assert [level.shape for level in slide.levels] == [(1000, 200), (128, 64)]


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
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"TotalPixelMatrixRows": 14_287_048}, "300 x 14287048 px"),
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


@pytest.mark.parametrize(
    ("syntax", "marker", "place"),
    [
        (JPEGBaseline8Bit, b"\xff\xc0", 5),
        (JPEGLSLossless, b"\xff\xf7", 5),
        (JPEG2000Lossless, b"\xff\x4f\xff\x51", 9),
    ],
)
def test_a_frame_that_asks_for_gigabytes_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str, marker: bytes, place: int
) -> None:
    path = write_instance(tmp_path / "huge.dcm", [picture()], Made(syntax=syntax))
    data = bytearray(path.read_bytes())
    start = data.find(marker) + place
    data[start : start + 2] = b"\x20\xff"
    path.write_bytes(data)

    def decoder(*given: object, **named: object) -> None:
        pytest.fail("it was decoded")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", decoder)
    monkeypatch.setattr(imagecodecs, "jpegls_decode", decoder)
    monkeypatch.setattr(imagecodecs, "jpeg2k_decode", decoder)
    with open_slide(path) as slide, pytest.raises(SlideError, match="the frame holds") as caught:
        slide.read(0, 0, 10, 10)
    assert_one_sentence(caught.value, "huge.dcm", "tile row 0, column 0")


def test_a_broken_jpeg_frame_is_told(tmp_path: Path) -> None:
    """libjpeg makes grey of it without an error."""
    path = write_instance(tmp_path / "hole.dcm", [noise(128, 128)], Made(syntax=JPEGBaseline8Bit))
    data = path.read_bytes()
    middle = data.find(b"\xff\xda") + 3000
    path.write_bytes(data[:middle] + bytes(300) + data[middle + 300 :])
    with open_slide(path) as slide, pytest.raises(SlideError, match="tile row 0, column 0") as caught:
        slide.read(0, 0, 10, 10)
    assert_one_sentence(caught.value, "hole.dcm")


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
