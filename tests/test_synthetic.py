"""The synthetic slide keeps its promises, whatever it looks like."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_lumen.errors import Cancelled, SlideError
from napari_lumen.slides.synthetic import CLASSES, CONTEXT_DEPTH, REGIONS, SyntheticSlide, write_slide
from napari_lumen.slides.synthetic.layout import Kind

# Coarse pixels keep these tests quick: a block of 256 µm is 128 px.
MPP = 2.0


@pytest.fixture(scope="module")
def slide() -> SyntheticSlide:
    return SyntheticSlide(height=768, width=1024, mpp=MPP, seed=7)


def test_windows_agree_pixel_for_pixel(slide: SyntheticSlide) -> None:
    other = SyntheticSlide(height=768, width=1024, mpp=MPP, seed=7)
    whole, truth = slide.read(200, 300, 200, 300), slide.truth(200, 300, 200, 300)
    for y, x, height, width in ((230, 311, 40, 200), (399, 599, 1, 1), (200, 300, 57, 300)):
        part = slice(y - 200, y - 200 + height), slice(x - 300, x - 300 + width)
        assert np.array_equal(other.read(y, x, height, width), whole[part])
        piece = other.truth(y, x, height, width)
        assert np.array_equal(piece.instances, truth.instances[part])
        assert np.array_equal(piece.classes, truth.classes[part])
        assert np.array_equal(piece.regions, truth.regions[part])


def test_another_seed_is_another_slide(slide: SyntheticSlide) -> None:
    other = SyntheticSlide(height=768, width=1024, mpp=MPP, seed=8)
    assert not np.array_equal(other.read(256, 384, 100, 100), slide.read(256, 384, 100, 100))


def test_outside_the_slide_is_white_and_unlabelled(slide: SyntheticSlide) -> None:
    pixels = slide.read(-10, 1000, 30, 50)
    assert pixels.shape == (30, 50, 3)
    assert (pixels[:10] == 255).all()
    assert (pixels[:, 24:] == 255).all()
    assert not slide.truth(-10, 1000, 10, 50).regions.any()
    assert slide.read(5000, 5000, 3, 4).shape == (3, 4, 3)
    assert slide.nuclei(5000, 5000, 10, 10) == []


def test_the_truth_fits_the_pixels() -> None:
    fine = SyntheticSlide(height=3072, width=4096, mpp=0.5, seed=7)
    y, x = _centre(fine, Kind.LYMPHOID)
    window = y - 128, x - 128, 256, 256
    pixels, truth = fine.read(*window).astype(float), fine.truth(*window)
    inside = truth.instances > 0
    assert np.array_equal(inside, truth.classes > 0)
    assert pixels[inside, 0].mean() < pixels[~inside, 0].mean() - 40  # haematoxylin takes the red
    assert set(np.unique(truth.classes)) <= {0, *(item.value for item in CLASSES)}
    assert (truth.regions == REGIONS["lymphoid"].value).mean() > 0.95
    nuclei = {nucleus.id: nucleus for nucleus in fine.nuclei(*window)}
    numbers, counts = np.unique(truth.instances[inside], return_counts=True)
    assert len(nuclei) > 100
    shown = [number for number in nuclei if number in set(numbers.tolist())]
    assert len(shown) > 0.99 * len(nuclei)
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        if number in nuclei:
            rows, columns = np.nonzero(truth.instances == number)
            if min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < 255:
                a, b = nuclei[number].semi_axes
                assert count < 1.5 * np.pi * a * b + 8
                assert abs(rows.mean() + 0.5 + window[0] - nuclei[number].y) < 6


def test_nuclei_have_the_sizes_of_their_kind(slide: SyntheticSlide) -> None:
    found = slide.nuclei(0, 0, *slide.shape)
    diameters = {
        item.name: [
            2 * MPP * np.sqrt(nucleus.semi_axes[0] * nucleus.semi_axes[1])
            for nucleus in found
            if nucleus.class_value == item.value
        ]
        for item in CLASSES
    }
    assert all(len(values) > 50 for values in diameters.values())
    assert 4.5 < np.median(diameters["lymphocyte"]) < 7.5
    assert 5 < np.median(diameters["epithelial"]) < 9
    assert 9 < np.median(diameters["malignant"]) < 14
    long = [n.semi_axes[0] / n.semi_axes[1] for n in found if n.class_value == CLASSES["fibroblast"].value]
    assert np.median(long) > 2.5


def test_regions_enclose_exactly_the_pixels_of_the_truth(slide: SyntheticSlide) -> None:
    window = 100, 200, 300, 400
    labels = slide.truth(*window).regions
    areas: dict[str | None, float] = {}
    for annotation in slide.regions(*window):
        assert annotation.object_type == "annotation"
        areas[annotation.class_name] = areas.get(annotation.class_name, 0) + annotation.geometry.area
        left, top, right, bottom = annotation.geometry.bounds
        assert 200 <= left < right <= 600
        assert 100 <= top < bottom <= 400
    assert areas == {
        item.name: (labels == item.value).sum() for item in REGIONS if (labels == item.value).any()
    }


def test_every_region_is_on_a_sample_slide(slide: SyntheticSlide) -> None:
    found = np.unique(slide.truth(0, 0, 768, 1024).regions)
    assert set(found) == {0, *(item.value for item in REGIONS)}


@pytest.mark.parametrize(
    ("size", "seed"),
    [
        *[((1024, 1024), seed) for seed in (0, 3, 42)],
        ((1536, 2048), 3),
        ((2048, 2048), 0),
        ((800, 9000), 42),
    ],
)
def test_small_slides_hold_everything_too(size: tuple[int, int], seed: int) -> None:
    """Sizes are in pixels of 0.5 µm; the same tissue is drawn here with coarser ones."""
    mpp = 4.0
    height, width = (round(side * 0.5 / mpp) for side in size)
    slide = SyntheticSlide(height, width, mpp, seed)
    found = {item.class_name for item in slide.regions(0, 0, height, width)}
    assert found >= {"stroma", "in situ carcinoma", "invasive carcinoma", "lymphoid", "adipose"}
    classes = {nucleus.class_value for nucleus in slide.nuclei(0, 0, height, width)}
    assert classes == {item.value for item in CLASSES}


def test_tumours_of_a_millimetre_have_a_core_that_only_the_surroundings_tell() -> None:
    for seed in range(20):
        slide = SyntheticSlide(2048, 2048, mpp=0.5, seed=seed)
        for feature in slide._layout.features(0, 0, 1024, 1024):
            assert feature.kind not in (Kind.IN_SITU, Kind.INVASIVE) or feature.radius > CONTEXT_DEPTH


def test_windows_of_a_small_slide_agree_pixel_for_pixel() -> None:
    whole, other = (SyntheticSlide(256, 256, mpp=4.0, seed=1) for _ in range(2))
    pixels, truth = whole.read(0, 0, 256, 256), whole.truth(0, 0, 256, 256)
    for y, x in ((150, 150), (50, 125)):
        part = slice(y, y + 45), slice(x, x + 55)
        assert np.array_equal(other.read(y, x, 45, 55), pixels[part])
        assert np.array_equal(other.truth(y, x, 45, 55).instances, truth.instances[part])
        assert np.array_equal(other.truth(y, x, 45, 55).regions, truth.regions[part])


def test_only_the_surroundings_tell_in_situ_from_invasive() -> None:
    """A 128 µm patch in the core stays the same when the context is swapped; a 512 µm one does not."""
    first, second = (SyntheticSlide(3072, 4096, mpp=0.5, seed=7, swap_context=swap) for swap in (False, True))
    y, x = _centre(first, Kind.IN_SITU)
    patch = y - 128, x - 128, 256, 256  # 128 µm
    change = np.abs(first.read(*patch).astype(int) - second.read(*patch))
    assert change.max() <= 1  # vector and scalar arithmetic may round differently
    assert np.count_nonzero(change) < 20
    assert np.array_equal(first.truth(*patch).instances, second.truth(*patch).instances)
    assert (first.truth(*patch).regions == REGIONS["in situ carcinoma"].value).all()
    assert (second.truth(*patch).regions == REGIONS["invasive carcinoma"].value).all()
    band = y - 32, x - 512, 64, 64  # at the left edge of the 512 µm context
    assert not np.array_equal(first.read(*band), second.read(*band))


def test_a_hundred_thousand_pixels_a_side_are_laid_out_at_once() -> None:
    tracemalloc.start()
    begun = time.perf_counter()
    huge = SyntheticSlide(height=100_000, width=100_000, mpp=0.5, seed=3)
    pixels = huge.read(50_000, 50_000, 300, 300)
    numbers = huge.truth(99_000, 50_000, 100, 100).instances
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (300, 300, 3)
    assert numbers.dtype == np.int64
    assert peak < 400e6
    assert time.perf_counter() - begun < 120


def test_the_file_is_a_pyramid_that_shows_the_slide(tmp_path: Path) -> None:
    slide = SyntheticSlide(height=300, width=600, mpp=MPP, seed=7)
    path, progress = tmp_path / "slide.ome.tif", []
    write_slide(slide, path, tile=256, quality=95, factor=2, on_progress=progress.append)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        series = file.series[0]
        assert [level.shape for level in series.levels] == [(300, 600, 3), (150, 300, 3)]
        page = series.levels[0].pages[0]
        assert page.compression.name == "JPEG"
        assert page.photometric.name == "YCBCR"
        assert page.tile == (256, 256)
        assert f'PhysicalSizeX="{MPP}"' in (file.ome_metadata or "")
        assert 'PhysicalSizeXUnit="µm"' in (file.ome_metadata or "")
        pixels = series.levels[0].asarray().astype(int)
        half = series.levels[1].asarray().astype(int)
    drawn = slide.read(0, 0, 300, 600).astype(int)
    assert np.abs(pixels - drawn).mean() < 8  # JPEG halves the colour's resolution
    mean = drawn.reshape(150, 2, 300, 2, 3).mean((1, 3))
    assert np.abs(half - mean).mean() < 8
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_the_same_slide_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.ome.tif", "b.ome.tif"):
        write_slide(SyntheticSlide(120, 200, mpp=4.0, seed=1), tmp_path / name, tile=64)
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()


class _Plain(SyntheticSlide):
    """Draws nothing, to write slides of any height in no time; notes the largest window asked for."""

    largest = 0

    def read(self, y: int, x: int, height: int, width: int) -> np.ndarray:
        type(self).largest = max(self.largest, height * width)
        return np.full((height, width, 3), (y // 512) % 256, np.uint8)


def test_writing_holds_a_band_and_not_the_slide(tmp_path: Path) -> None:
    peaks = []
    for height in (1024, 8192):
        slide = _Plain(height, 2048, mpp=0.5, seed=1)
        tracemalloc.start()
        write_slide(slide, tmp_path / "slide.ome.tif", workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert _Plain.largest <= slide.block**2
    assert peaks[1] < peaks[0] + 2e6  # eight times as high, 50 MB of pixels, no more memory
    with tifffile.TiffFile(tmp_path / "slide.ome.tif") as file:
        assert file.series[0].levels[-1].shape == (512, 128, 3)
        assert abs(int(file.series[0].levels[1].asarray()[-1, 0, 0]) - 15) < 3


def test_a_cancelled_or_failed_write_leaves_nothing(tmp_path: Path, slide: SyntheticSlide) -> None:
    with pytest.raises(Cancelled):
        write_slide(slide, tmp_path / "a.ome.tif", cancel=lambda: True)
    with pytest.raises(SlideError, match="multiple of 16"):
        write_slide(slide, tmp_path / "a.ome.tif", tile=100)
    with pytest.raises(SlideError, match="nowhere"):
        write_slide(slide, tmp_path / "nowhere" / "a.ome.tif")
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_make_no_slide_are_refused() -> None:
    with pytest.raises(ValueError, match="height and width"):
        SyntheticSlide(0, 10)
    with pytest.raises(ValueError, match="mpp"):
        SyntheticSlide(10, 10, mpp=0)


def test_the_sample_slide_and_its_truth_belong_together() -> None:
    folder = Path(__file__).resolve().parents[1] / "sample_data"
    from napari_lumen.annotations.geojson import read_geojson

    with tifffile.TiffFile(folder / "lumen-sample.ome.tif") as file:
        assert file.series[0].shape == (3072, 4096, 3)
    found = read_geojson(folder / "lumen-sample.geojson.gz")
    for kind, table in (("annotation", REGIONS), ("detection", CLASSES)):
        names = {item.class_name for item in found if item.object_type == kind}
        assert names == {item.name for item in table}
    assert sum(item.stat().st_size for item in folder.iterdir() if item.is_file()) < 10e6


def _centre(slide: SyntheticSlide, kind: Kind) -> tuple[int, int]:
    """Level-0 centre of the slide's first field of a kind, at least `CONTEXT_DEPTH` below its border."""
    layout = slide._layout
    height, width = (side * slide.mpp for side in slide.shape)
    feature = next(item for item in layout.features(0, 0, height, width) if item.kind == kind)
    if kind in (Kind.IN_SITU, Kind.INVASIVE):
        depth = layout.distance(feature, np.array([[feature.y]]), np.array([[feature.x]]))
        assert float(depth[0, 0]) < -CONTEXT_DEPTH
    return round(feature.y / slide.mpp), round(feature.x / slide.mpp)
