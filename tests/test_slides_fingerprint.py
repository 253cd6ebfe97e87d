"""Knowing a slide again: the same bytes under any name, and no two slides for one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.fingerprint import fingerprint_of, spread
from napari_lumen.slides.pixel_size import remember_mpp


def write_field(path: Path, seed: int) -> Path:
    """Write an uncompressed slide with white margins: of one size, and alike at both ends."""
    image = np.full((1000, 1000, 3), 255, np.uint8)
    image[200:800, 200:800] = np.random.default_rng(seed).integers(0, 255, (600, 600, 3), np.uint8)
    tifffile.imwrite(path, image, photometric="rgb", tile=(256, 256), metadata=None)
    return path


def test_slides_with_the_same_margins_are_told_apart(tmp_path: Path) -> None:
    first, second = write_field(tmp_path / "1.tif", 1), write_field(tmp_path / "2.tif", 2)
    assert first.stat().st_size == second.stat().st_size
    with open_slide(first) as one, open_slide(second) as other:
        assert one.fingerprint != other.fingerprint
        remember_mpp(one.fingerprint, (0.25, 0.25))
    with open_slide(first) as one, open_slide(second) as other:
        assert one.mpp == (0.25, 0.25)
        assert other.mpp is None


def test_a_slide_is_known_by_its_bytes_not_by_names_or_their_order(tmp_path: Path) -> None:
    for name, content in (("a", b"1" * 10), ("b", b"2" * 700_000), ("c", b"1" * 10)):
        (tmp_path / name).write_bytes(content)
    a, b, c = (tmp_path / name for name in "abc")
    assert fingerprint_of([a]) == fingerprint_of([c]) != fingerprint_of([b])
    assert fingerprint_of([a, b]) == fingerprint_of([b, c]) != fingerprint_of([a, c])


@pytest.mark.parametrize("columns", [1, 7, 64, 100])
def test_samples_lie_all_over_and_in_no_one_column(columns: int) -> None:
    places = np.array(spread(64, 6400 * columns))
    assert (np.diff(places) > 0).all()
    assert np.array_equal(places // (100 * columns), np.arange(64))
    assert len(set(places % columns)) >= min(columns, 32)
    assert spread(64, 5) == [0, 1, 2, 3, 4]


def test_a_dicom_slide_is_one_by_folder_or_file_under_any_name(shared_data: Path, tmp_path: Path) -> None:
    original = shared_data / "slides" / "CMU-1-Small-Region.dicom"
    copy = tmp_path / "copy"
    shutil.copytree(original, copy, copy_function=shutil.copyfile)
    for number, file in enumerate(sorted(copy.iterdir(), reverse=True)):
        file.rename(copy / f"{number}.dcm")
    (copy / ".DS_Store").write_bytes(b"of the Finder")
    with open_slide(original) as folder, open_slide(copy) as moved, open_slide(copy / "0.dcm") as file:
        assert folder.fingerprint == moved.fingerprint == file.fingerprint


def test_a_slide_that_is_gone_says_so_and_can_still_be_shown(tmp_path: Path) -> None:
    path = write_field(tmp_path / "gone.tif", 1)
    with open_slide(path, mpp=0.5) as slide:
        path.unlink()
        assert slide.dask_levels()[0].shape == (1000, 1000, 3)
        with pytest.raises(SlideError, match=r"gone\.tif can no longer be read from .* Put it back"):
            _ = slide.fingerprint
