"""Vendor formats: OpenSlide's pixels at the right place, from many threads; one sentence for the rest."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openslide
import PIL.Image
import pytest
import tifffile
from openslide import lowlevel

from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.cache import TileCache
from napari_lumen.slides.vendor import OpenSlideSlide

NDPI = "test3-DAPI-2.ndpi"


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_pyramid(path: Path, *levels: npt.NDArray[np.uint8]) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                level, tile=(256, 256), photometric="rgb", compression="deflate", subfiletype=int(number > 0)
            )
    return path


def assert_one_sentence(error: SlideError, *words: str) -> None:
    message = str(error)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 400


# ---------------------------------------------------------------------------------------------------------
# Where pixels lie


@pytest.mark.parametrize("size", [256, 187])
def test_tiles_of_each_level_of_an_ndpi_are_the_level_read_at_once(shared_data: Path, size: int) -> None:
    path = shared_data / "slides" / NDPI
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as handle:
        assert len(slide.levels) == 7
        for number, level in enumerate(slide.levels):
            height, width = level.shape
            whole = np.asarray(handle.read_region((0, 0), number, (width, height)))
            assert (whole[..., 3] == 255).all()
            joined = np.zeros((height, width, 3), np.uint8)
            for y in range(0, height, size):
                for x in range(0, width, size):
                    tile = slide.read(y, x, min(size, height - y), min(size, width - x), level=number)
                    joined[y : y + size, x : x + size] = tile
            np.testing.assert_array_equal(joined, whole[..., :3])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_level_of_a_whole_ratio_is_read_to_the_pixel(tmp_path: Path, factor: int) -> None:
    levels = noise(300 * factor, 340 * factor), noise(300, 340, seed=1)
    rng = np.random.default_rng(2)
    with OpenSlideSlide(write_pyramid(tmp_path / "whole.tif", *levels)) as slide:
        for _ in range(40):
            y, x = int(rng.integers(0, 260)), int(rng.integers(0, 300))
            np.testing.assert_array_equal(
                slide.read(y, x, 40, 40, level=1), levels[1][y : y + 40, x : x + 40]
            )


def test_a_level_of_a_broken_ratio_lies_within_half_a_level_0_pixel(tmp_path: Path) -> None:
    """OpenSlide blends there: of stripes, as much of the neighbour shows as what is read is shifted."""
    base = np.zeros((3333, 3333, 3), np.uint8)
    stripes = np.empty((833, 833, 3), np.uint8)
    stripes[:] = np.where(np.arange(833) % 2, 200, 40).astype(np.uint8)[None, :, None]
    with OpenSlideSlide(write_pyramid(tmp_path / "broken.tif", base, stripes)) as slide:
        shifts = []
        for x in range(1, 780, 13):
            found = slide.read(100, x, 8, 50, level=1).astype(float)
            shifts.append(np.abs(found - stripes[100:108, x : x + 50]).max() / (200 - 40))
    assert 0.05 < max(shifts) <= 0.5 / 4 + 0.01


def test_fluorescence_stored_as_rgb_stays_rgb(shared_data: Path) -> None:
    path = shared_data / "slides" / NDPI
    with open_slide(path) as slide:
        assert slide.is_rgb
        assert slide.dtype == np.uint8
        found = slide.read(1000, 900, 512, 512).astype(int)
    stored = tifffile.imread(path)[1000:1512, 900:1412]
    assert np.abs(found - stored).max() <= 2  # two builds of libjpeg


def test_what_is_not_opaque_lies_on_white(tmp_path: Path) -> None:
    """A tile that is not there is glass, also where OpenSlide blends its neighbour's edge."""
    base, tiles = noise(2049, 2049), [noise(256, 256, seed) for seed in range(16)]
    tiles[5] = tiles[6] = None  # type: ignore[call-overload]
    path = tmp_path / "holes.tif"
    with tifffile.TiffWriter(path) as tiff:
        layout = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate"}
        tiff.write(base, **layout)
        tiff.write(iter(tiles), shape=(1023, 1023, 3), dtype=np.uint8, subfiletype=1, **layout)
    with OpenSlideSlide(path) as slide, openslide.OpenSlide(str(path)) as handle:
        step = handle.level_downsamples[1]
        image = handle.read_region((round(200 * step), round(200 * step)), 1, (400, 400))
        alpha = np.asarray(image)[..., 3]
        assert alpha.min() == 0  # else this shows nothing
        assert ((alpha > 0) & (alpha < 255)).any()
        ground = PIL.Image.new("RGBA", image.size, (255, 255, 255, 255))
        ground.alpha_composite(image)
        found = slide.read(200, 200, 400, 400, level=1).astype(int)
    assert np.abs(found - np.asarray(ground)[..., :3]).max() <= 1  # Pillow rounds twice
    assert (found[alpha == 0] == 255).all()


# ---------------------------------------------------------------------------------------------------------
# OpenSlide's cache


@contextmanager
def counted_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[int], list[Any]]]:
    """Yield the sizes of the caches that are made, and the handle of each time that one is given one."""
    sizes: list[int] = []
    given: list[Any] = []
    create, give = lowlevel.cache_create, lowlevel.set_cache
    with monkeypatch.context() as patch:
        patch.setattr(lowlevel, "cache_create", lambda size: (sizes.append(size), create(size))[1])
        patch.setattr(
            lowlevel, "set_cache", lambda handle, cache: (given.append(id(handle)), give(handle, cache))[1]
        )
        yield sizes, given


def test_all_slides_share_one_cache_of_openslide_that_follows_the_limit(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = shared_data / "slides" / NDPI, TileCache(64 << 20)
    with counted_caches(monkeypatch) as (sizes, given), ExitStack() as stack:
        slides = [stack.enter_context(OpenSlideSlide(path, cache=cache)) for _ in range(3)]
        before = [slide.read(1000, 900, 300, 300) for slide in slides]
        assert sizes == [8 << 20]
        cache.set_limit(16 << 20)
        assert sizes == [8 << 20, 2 << 20]
        given.clear()
        after = [slide.read(1000, 900, 300, 300) for slide in slides for _ in range(2)]
        assert len(given) == len(set(given)) == 3  # each slide has got the new one, once
        cache.set_limit(0)
        assert sizes[2:] == [0]
        bare = slides[1].read(1000, 900, 300, 300)
        assert len(given) == 4
        for pixels in (*before, *after):
            np.testing.assert_array_equal(pixels, bare)


def test_the_last_slide_takes_openslides_cache_with_it(shared_data: Path) -> None:
    cache = TileCache(800)
    slides = [OpenSlideSlide(shared_data / "slides" / NDPI, cache=cache) for _ in range(2)]
    for index in range(8):
        cache.put("other", index, np.zeros(100, np.uint8))
    assert cache.nbytes == 700
    for slide in slides:
        slide.close()
    cache.put("other", 9, np.zeros(100, np.uint8))
    assert cache.nbytes == 800
    with pytest.raises(SlideError, match="is closed"):
        slides[0].read(0, 0, 8, 8)


def test_the_limit_may_change_while_slides_are_read_and_closed(shared_data: Path, tmp_path: Path) -> None:
    cache, path = TileCache(64 << 20), shared_data / "slides" / NDPI
    with OpenSlideSlide(path) as slide:
        expected = slide.read(1000, 900, 64, 64)
    broken = damaged(shared_data, tmp_path)

    def reads(number: int) -> bool:
        if number % 4 == 0:
            cache.set_limit((8 + number) << 20)
            return True
        if number % 4 == 1:
            with OpenSlideSlide(broken, cache=cache) as slide, pytest.raises(SlideError):
                slide.read(300, 300, 64, 64)
            return True
        with OpenSlideSlide(path, cache=cache) as slide:
            return np.array_equal(slide.read(1000, 900, 64, 64), expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(reads, range(80)))


# ---------------------------------------------------------------------------------------------------------
# Facts


def test_facts_are_those_that_openslide_states(shared_data: Path) -> None:
    path = shared_data / "slides" / NDPI
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as handle:
        stated = handle.properties
        assert slide.properties == dict(stated)
        assert slide.vendor == "hamamatsu"
        assert slide.magnification == 40
        assert slide.mpp == (float(stated["openslide.mpp-y"]), float(stated["openslide.mpp-x"]))
        assert slide.icc_profile is None
        assert [level.tile for level in slide.levels[:2]] == [(8, 3968), (8, 1984)]
        expected = np.asarray(handle.associated_images["macro"])[..., :3]
        assert list(slide.associated) == ["macro"]
        np.testing.assert_array_equal(slide.associated["macro"], expected)


def test_the_colour_profile_is_that_of_openslide(shared_data: Path) -> None:
    folder = shared_data / "slides" / "CMU-1-Small-Region.dicom"
    file = next(file for file in sorted(folder.iterdir()))
    with OpenSlideSlide(file) as slide, openslide.OpenSlide(str(file)) as handle:
        profile = handle.color_profile
        assert profile is not None
        assert slide.icc_profile == profile.tobytes()


def test_associated_images_are_read_when_asked_for(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = lowlevel._read_associated_image

    def noted(handle: Any, name: str, place: Any) -> None:
        read.append(name)
        original(handle, name, place)

    monkeypatch.setattr(lowlevel, "_read_associated_image", noted)
    with open_slide(shared_data / "slides" / NDPI) as slide:
        assert list(slide.associated) == ["macro"]
        assert read == []
        assert slide.associated["macro"].shape == (406, 1188, 3)
    assert read == ["macro"]


# ---------------------------------------------------------------------------------------------------------
# Handles


@contextmanager
def counted_handles(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    counts = {"opened": 0, "closed": 0}
    open_, close = lowlevel.open, lowlevel.close

    def opened(name: Any) -> Any:
        counts["opened"] += 1
        handle = open_(name)
        handle._close = closed  # what the handle calls when it is let go
        return handle

    def closed(handle: Any) -> None:
        counts["closed"] += 1
        close(handle)

    with monkeypatch.context() as patch:
        patch.setattr(lowlevel, "open", opened)
        patch.setattr(lowlevel, "close", closed)
        yield counts


def test_threads_share_one_handle_and_closing_frees_it(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted_handles(monkeypatch) as counts:
        slide = OpenSlideSlide(shared_data / "slides" / NDPI)
        for _ in range(3):  # threads that end between
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda n: slide.read(64 * n, 0, 64, 64), range(16)))
        assert counts == {"opened": 1, "closed": 0}
        slide.close()
        assert counts == {"opened": 1, "closed": 1}
        with pytest.raises(SlideError, match="closed"):
            slide.associated["macro"]


def damaged(shared_data: Path, tmp_path: Path) -> Path:
    """Write a JPEG 2000 slide whose tile in row 1, column 1 of 256 px cannot be decoded."""
    data = bytearray((shared_data / "slides" / "jpeg2000.dicom").read_bytes())
    found = -1
    for _ in range(6):
        found = data.find(b"\xff\x4f\xff\x51", found + 1)
    data[found : found + 200] = bytes(200)
    path = tmp_path / "damaged.dicom"
    path.write_bytes(data)
    return path


def test_after_an_error_the_slide_is_read_on_by_a_new_handle(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted_handles(monkeypatch) as counts:
        with OpenSlideSlide(damaged(shared_data, tmp_path)) as slide:
            errors = []
            for _ in range(5):
                with pytest.raises(SlideError, match="level 0, row 300, column 280") as caught:
                    slide.read(300, 280, 8, 8)
                assert_one_sentence(caught.value, "damaged.dicom")
                errors.append(caught.value)
                assert slide.read(0, 0, 8, 8).shape == (8, 8, 3)
            assert counts["closed"] >= 5  # those of the second try, though the errors are kept
        del caught, errors  # an error holds on to where it came from
        gc.collect()
        assert counts["opened"] == counts["closed"] > 5  # none is kept


def test_one_damaged_tile_spoils_no_other_thread_of_openslide(shared_data: Path, tmp_path: Path) -> None:
    places = [(y, x) for y in range(0, 640, 128) for x in range(0, 896, 128)] * 2
    with (
        OpenSlideSlide(damaged(shared_data, tmp_path)) as slide,
        OpenSlideSlide(shared_data / "slides" / "jpeg2000.dicom") as whole,
    ):

        def agrees(place: tuple[int, int]) -> bool | None:
            try:
                return np.array_equal(slide.read(*place, 64, 64), whole.read(*place, 64, 64))
            except SlideError:
                return None

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(agrees, places))
    for (y, x), answer in zip(places, answers, strict=True):
        assert answer is (None if 256 <= y < 512 and 256 <= x < 512 else True)


def test_a_slide_removed_while_open_is_told_of(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "gone.ndpi"
    shutil.copyfile(shared_data / "slides" / NDPI, path)
    with OpenSlideSlide(path) as slide:
        path.unlink()
        with pytest.raises(SlideError) as caught:
            slide.read(0, 0, 64, 64)
        with pytest.raises(SlideError) as caught_too:
            _ = slide.associated["macro"]
    for error in (caught.value, caught_too.value):
        assert_one_sentence(error, "gone.ndpi", "no longer")


# ---------------------------------------------------------------------------------------------------------
# Names and files


@pytest.mark.parametrize("name", ["a slide with spaces.ndpi", "😐.ndpi", "n" * 200 + ".ndpi"])
def test_any_name_is_opened(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = shared_data / "slides" / NDPI
    shutil.copyfile(source, tmp_path / name)
    with open_slide(tmp_path / name) as slide, open_slide(source) as original:
        np.testing.assert_array_equal(slide.read(0, 0, 64, 64, level=5), original.read(0, 0, 64, 64, level=5))


@pytest.mark.parametrize("name", ["broken slide.ndpi", "😐.ndpi", "n" * 200 + ".ndpi"])
def test_any_name_is_in_the_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no slide" * 100)
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path / name)
    assert_one_sentence(caught.value, name)


def test_a_file_that_may_not_be_read_is_told_of(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.ndpi"
    shutil.copyfile(shared_data / "slides" / NDPI, path)
    original = Path.open

    def refused(self: Path, *arguments: Any, **options: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)  # root may read everything
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "secret.ndpi", "Permission denied")


# ---------------------------------------------------------------------------------------------------------
# MIRAX


def write_mirax(folder: Path, *files: str) -> Path:
    """Write an MRXS slide's index without its pictures: enough to see which files it names."""
    (folder / "slide.mrxs").write_bytes(b"\xff\xd8\xff\xd9")
    data = folder / "slide"
    data.mkdir()
    lines = ["[GENERAL]", "SLIDE_ID = ABC", "[HIERARCHICAL]", "INDEXFILE = Index.dat", "[DATAFILE]"]
    lines += ["FILE_COUNT = 3", *(f"FILE_{n} = Data000{n}.dat" for n in range(3))]
    (data / "Slidedat.ini").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    for name in files:
        (data / name).write_bytes(b"\0" * 64)
    return folder / "slide.mrxs"


ALL = ("Index.dat", "Data0000.dat", "Data0001.dat", "Data0002.dat")


@pytest.mark.parametrize("missing", ALL)
def test_a_mirax_slide_names_the_file_that_is_missing(tmp_path: Path, missing: str) -> None:
    path = write_mirax(tmp_path, *(name for name in ALL if name != missing))
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "slide.mrxs", f"lacks {missing} in its folder slide")


def test_a_mirax_slide_counts_the_files_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"lacks Data0000\.dat and 2 more"):
        open_slide(write_mirax(tmp_path, "Index.dat"))


def test_a_mirax_slide_without_its_folder_says_so(tmp_path: Path) -> None:
    path = tmp_path / "alone.mrxs"
    path.write_bytes(b"\xff\xd8\xff\xd9")
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "alone.mrxs", "no folder alone beside it")


def test_a_mirax_slide_without_its_index_says_so(tmp_path: Path) -> None:
    path = write_mirax(tmp_path, *ALL)
    (tmp_path / "slide" / "Slidedat.ini").unlink()
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "slide.mrxs", "Slidedat.ini")


def test_a_mirax_slide_with_all_files_is_left_to_openslide(tmp_path: Path) -> None:
    with pytest.raises(SlideError) as caught:  # its pictures are zeros
        open_slide(write_mirax(tmp_path, *ALL))
    assert "lacks" not in str(caught.value)
    assert_one_sentence(caught.value, "slide.mrxs")
