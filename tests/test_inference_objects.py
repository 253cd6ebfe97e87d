"""Objects of a run: whole across borders, measured in µm, split where nuclei touch, and listed in a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import regionprops

from fakes import ArraySlide, Darkness, model_of
from napari_lumen import RunError
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference import Progress, Run, predict
from napari_lumen.inference.measures import Objects
from napari_lumen.inference.object_blocks import BlockLook
from napari_lumen.inference.object_table import OBJECTS_FILE, ObjectTable, export_objects
from napari_lumen.inference.objects import ObjectJoiner, seen_by_threads
from napari_lumen.models import Model

CLASSES = ClassTable.of([(1, "nucleus", (0, 190, 255)), (2, "gland", (255, 120, 0))])


@dataclass
class Arrays:
    """Rasters that are arrays."""

    values: np.ndarray
    seen: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape

    def labels(self, window: Window) -> np.ndarray:
        return self.values[window.slices]

    def probability(self, window: Window) -> np.ndarray:
        return self.seen[(slice(None), *window.slices)]


def found(
    labels: np.ndarray,
    side: int,
    margin: int = 1,
    split: bool = False,
    check: Callable[[], None] = lambda: None,
    smallest: int = 1,
) -> Objects:
    """Return the objects of labels 1 and 2, sorted by what does not depend on the blocks."""
    noise = np.random.default_rng(5).integers(0, 256, (2, *labels.shape), np.uint8)
    how, joiner = BlockLook((1, 2), side, margin, split, smallest), ObjectJoiner(side, check)
    rows, columns = (range(-(-length // side)) for length in labels.shape)
    parts = list(joiner.join(seen_by_threads(Arrays(labels, noise), how, product(rows, columns), check)))
    objects = Objects.concatenated(parts)
    np.testing.assert_array_equal(joiner.pixels, np.bincount(labels.ravel(), minlength=256))
    return objects[np.lexsort((objects.sums[:, 1], objects.sums[:, 0], objects.area, *objects.box.T))]


def test_what_is_all_edge_is_measured_and_outlined_by_its_box() -> None:
    noise = (np.random.default_rng(0).random((1100, 1100)) < 0.5).astype(np.uint8)
    objects = found(noise, 1024)
    numbers = ndimage.label(noise, np.ones((3, 3)))[0]
    assert len(objects) == numbers.max()
    largest = int(np.argmax(objects.area))
    assert objects.area[largest] == np.bincount(numbers.ravel())[1:].max()
    inside = shapely.box(1, 1, 1023, 1023)
    assert objects.outline[largest].covers(inside)
    assert shapely.get_num_coordinates(objects.outline[largest]) < 200_000
    small = np.flatnonzero(objects.area < 1000)
    assert np.array_equal(shapely.area(objects.outline[small]), objects.area[small])


def assert_same(objects: Objects, whole: Objects) -> None:
    for name in ("value", "area", "sums", "probability", "pairs", "box"):
        np.testing.assert_array_equal(getattr(objects, name), getattr(whole, name), name)
    np.testing.assert_allclose(objects.spread, whole.spread, atol=1e-6)
    for outline, wanted in zip(objects.outline, whole.outline, strict=True):
        assert outline.is_valid
        assert outline.equals(wanted)


def discs(shape: tuple[int, int], places: np.ndarray, radii: np.ndarray) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.uint8)
    for (y, x), radius in zip(places, radii, strict=True):
        labels[np.hypot(rows - y, columns - x) < radius] = 1
    return labels


@given(arrays(np.uint8, (23, 31), elements=st.integers(0, 2)), st.integers(3, 9))
@settings(max_examples=60, deadline=None)
def test_objects_are_neither_cut_nor_doubled_at_the_borders_of_blocks(labels: np.ndarray, side: int) -> None:
    objects = found(labels, side)
    areas = []
    for value in (1, 2):
        components, count = ndimage.label(labels == value, np.ones((3, 3)))
        areas += [(value, area) for area in np.bincount(components.ravel(), minlength=count + 1)[1:]]
    assert sorted(zip(objects.value, objects.area, strict=True)) == sorted(areas)
    assert_same(objects, found(labels, 100))


@given(
    arrays(np.uint8, (23, 31), elements=st.integers(0, 2), fill=st.just(0)),
    st.integers(3, 9),
    st.integers(1, 4),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_small_objects_are_left_out_and_no_others(
    labels: np.ndarray, side: int, margin: int, split: bool
) -> None:
    every = found(labels, side, margin, split)
    objects = found(labels, side, margin, split, smallest=5)
    assert_same(objects[objects.area >= 5], every[every.area >= 5])


def test_what_is_measured_is_what_the_pixels_say() -> None:
    labels = np.random.default_rng(2).integers(0, 3, (40, 50), np.uint8)
    labels[10:30, 10:35] = 1
    probability = np.random.default_rng(5).integers(0, 256, (2, 40, 50), np.uint8)  # as in `found`
    objects = found(labels, 16)
    (largest,) = np.flatnonzero(objects.area == objects.area[objects.value == 1].max())
    numbers, _ = ndimage.label(labels == 1, np.ones((3, 3)))
    (truth,) = [item for item in regionprops(numbers) if item.area == objects.area[largest]]
    rows, columns = truth.coords.T
    assert objects.probability[largest] == probability[0, rows, columns].sum(dtype=int)
    assert tuple(objects.centroid[largest]) == pytest.approx((rows.mean() + 0.5, columns.mean() + 0.5))
    assert tuple(objects.box[largest]) == truth.bbox
    assert objects.outline[largest].area == truth.area
    # second moments of the squares that pixels are
    spread = np.cov(rows, columns, bias=True) + np.eye(2) / 12
    low, high = np.linalg.eigvalsh(spread)
    assert objects.eccentricity[largest] == pytest.approx(math.sqrt(1 - low / high))


def test_perimeter_eccentricity_and_solidity_are_those_of_the_shape_not_of_its_pixels() -> None:
    disc = found(discs((100, 100), np.array([[50, 50]]), np.array([30])), 32)
    assert disc.perimeter[0] == pytest.approx(2 * math.pi * 30, rel=0.02)
    assert disc.eccentricity[0] < 0.05
    assert disc.solidity[0] > 0.97
    ring = discs((100, 100), np.array([[50, 50]]), np.array([30]))
    ring[discs((100, 100), np.array([[50, 50]]), np.array([20])) > 0] = 0
    assert found(ring, 32).perimeter[0] == pytest.approx(2 * math.pi * 50, rel=0.02)
    assert found(ring, 32).solidity[0] == pytest.approx(5 / 9, abs=0.02)
    bar = np.zeros((100, 100), np.uint8)
    bar[40:50, 10:90] = 1
    assert found(bar, 32).eccentricity[0] == pytest.approx(math.sqrt(1 - (10 / 80) ** 2), abs=1e-3)


@pytest.mark.parametrize("offset", range(0, 64, 7))
def test_two_discs_that_touch_are_two_wherever_they_lie(offset: int) -> None:
    labels = discs((160, 160), np.array([[60, 40], [64, 57]]) + offset, np.array([10, 9]))
    assert len(found(labels, 64)) == 1
    split = found(labels, 64, margin=64, split=True)
    assert len(split) == 2
    assert_same(split, found(labels, 500, split=True))
    assert split.area.sum() == labels.sum()
    assert sorted(split.area) == pytest.approx([math.pi * 81, math.pi * 100], rel=0.05)


def test_a_disc_and_an_ellipse_with_rough_edges_stay_whole() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:80, :80]
    for height, width in ((12, 12), (8, 16), (20, 14)):
        away = ((rows - 40) / height) ** 2 + ((columns - 40) / width) ** 2
        labels = (away < 1 + rng.uniform(-0.12, 0.12, (80, 80))).astype(np.uint8)
        labels = ndimage.binary_opening(labels).astype(np.uint8)
        assert len(found(labels, 500, split=True)) == 1


@given(st.integers(0, 2**32 - 1), st.integers(40, 110))
@settings(max_examples=15, deadline=None)
def test_a_crowd_is_split_as_in_the_whole_image(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    labels = discs((200, 220), rng.uniform(0, 220, (90, 2)), rng.uniform(5, 9, 90))
    labels[discs((200, 220), rng.uniform(0, 220, (20, 2)), rng.uniform(5, 9, 20)) > 0] = 2
    assert_same(found(labels, side, margin=64, split=True), found(labels, 500, split=True))


def test_a_crowd_that_hangs_together_beyond_the_margin_is_split_as_in_the_whole_image() -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        labels = discs((400, 400), rng.integers(0, 400, (1150, 2)), rng.integers(6, 9, 1150))
        whole = found(labels, 500, split=True)
        areas = found(labels, 500)
        assert (areas.box[:, 2] - areas.box[:, 0]).max() > 64 + 2 * 100
        assert len(whole) > 200
        assert_same(found(labels, 64, margin=100, split=True), whole)


def test_an_area_far_larger_than_a_block_is_one_object_with_its_holes() -> None:
    rng = np.random.default_rng(1)
    smooth = ndimage.gaussian_filter(rng.standard_normal((700, 900)), 3)
    labels = (smooth > -0.06).astype(np.uint8)
    objects = found(labels, 64)
    components, count = ndimage.label(labels, np.ones((3, 3)))
    assert len(objects) == count
    assert sorted(objects.area) == sorted(np.bincount(components.ravel())[1:])
    assert_same(objects, found(labels, 1000))
    giant = objects.outline[objects.area.argmax()]
    assert sum(len(part.interiors) for part in shapely.get_parts(giant)) > 100


def test_a_piece_of_a_slide_that_is_wider_than_the_margin_is_still_whole() -> None:
    labels = np.ones((300, 300), np.uint8)
    labels[150, :140] = 0
    objects = found(labels, 50, margin=20, split=True)
    assert list(objects.area) == [300 * 300 - 140]


def test_nothing_found_is_a_table_without_rows(tmp_path: Path) -> None:
    assert len(found(np.zeros((50, 50), np.uint8), 20)) == 0
    with ObjectTable(tmp_path, Grid((50, 50), (1, 1)), (0.5, 0.5), CLASSES) as table:
        table.add(found(np.zeros((50, 50), np.uint8), 20))
    assert parquet.read_table(tmp_path / OBJECTS_FILE).num_rows == 0


def picture() -> np.ndarray:
    base = np.full((600, 500, 3), 255, np.uint8)
    base[100:140, 60:100] = 0
    base[300:420, 200:240] = 0
    base[500:504, 400:404] = 0  # a speck
    return base


def model(objects: str = "components", mpp: float = 0.5) -> Model:
    made = model_of(Darkness(), mpp=mpp, classes=ClassTable.of([(1, "nucleus", (0, 190, 255))]))
    return Model(made.network, made.card.model_copy(update={"objects": objects}), made.path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a slide whose pixels are 0.25 µm high and 0.125 µm wide, at 0.5 µm."""
    slide = ArraySlide(picture(), mpp=(0.25, 0.125))
    return predict(slide, model(), Region(0, 0, 600, 500), tmp_path_factory.mktemp("objects") / "run")


def test_the_table_is_in_micrometres_and_level_0_pixels(run: Run) -> None:
    table = run.objects().sort_values("area_um2")
    assert list(table["class"]) == ["nucleus", "nucleus"]
    assert list(table["area_um2"]) == [40 * 0.25 * 40 * 0.125, 120 * 0.25 * 40 * 0.125]
    assert list(table["centroid_y_um"]) == [120 * 0.25, 360 * 0.25]
    assert list(table["centroid_x_um"]) == [80 * 0.125, 220 * 0.125]
    assert list(table["centroid_y_px"]) == [120, 360]
    assert table[["top_px", "left_px", "bottom_px", "right_px"]].to_numpy().tolist() == [
        [100, 60, 140, 100],
        [300, 200, 420, 240],
    ]
    outline = shapely.from_wkb(table["outline"].iloc[0])
    assert outline.equals(shapely.box(60, 100, 100, 140))
    # a square of 10 by 5 µm: its long axis lies along y
    assert table["eccentricity"].iloc[0] == pytest.approx(math.sqrt(1 - 0.25))
    assert (table["mean_probability"] > 0.99).all()
    assert sorted(run.objects(["id"])["id"]) == [1, 2]


def test_the_counts_of_the_run_are_those_of_the_table(run: Run) -> None:
    (count,) = run.record.counts
    table = run.objects()
    assert count.objects == len(table) == 2
    speck = 4 * 0.25 * 4 * 0.125
    assert count.area_mm2 * 1e6 == pytest.approx(table["area_um2"].sum() + speck)
    assert [(file.kind, file.path) for file in run.record.files] == [("objects", OBJECTS_FILE)]
    assert table["area_um2"].min() >= run.record.min_object_um2


def test_csv_and_parquet_hold_the_same_numbers(run: Run, tmp_path: Path) -> None:
    table = run.objects()
    assert export_objects(run, tmp_path / "a.csv") == len(table)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "a.csv"), table.drop(columns="outline"), check_dtype=False
    )
    assert export_objects(run, tmp_path / "a.parquet") == len(table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), table)
    assert b"geo" in parquet.read_schema(tmp_path / "a.parquet").metadata
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", "a.parquet"]


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_geojson_holds_detections_with_measurements_and_class_colours(
    run: Run, tmp_path: Path, name: str
) -> None:
    table = run.objects()
    export_objects(run, tmp_path / name)
    read = read_geojson(tmp_path / name)
    assert [item.name for item in read] == [str(number) for number in table["id"]]
    assert {(item.object_type, item.class_name, item.color) for item in read} == {
        ("detection", "nucleus", (0, 190, 255))
    }
    for item, (_, row) in zip(read, table.iterrows(), strict=True):
        assert item.geometry.area * 0.25 * 0.125 == row["area_um2"] == item.measurements["Area µm^2"]
        assert item.measurements["Mean probability"] == row["mean_probability"]


def test_what_cannot_be_exported_says_why(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a\.xlsx does not say what to write: it should end in \.csv"):
        export_objects(run, tmp_path / "a.xlsx")
    with pytest.raises(RunError, match=r"Cannot write .*nowhere"):
        export_objects(run, tmp_path / "nowhere" / "a.csv")
    with pytest.raises(RunError, match="have no column 'colour'"):
        run.objects(["colour"])


def test_a_model_of_regions_has_areas_but_no_objects(tmp_path: Path) -> None:
    slide = ArraySlide(picture(), mpp=(0.25, 0.125))
    regions = predict(slide, model("none"), Region(0, 0, 600, 500), tmp_path / "run")
    (count,) = regions.record.counts
    assert count.objects is None
    assert count.area_mm2 == pytest.approx((40 * 40 + 120 * 40 + 4 * 4) * 0.25 * 0.125 / 1e6)
    with pytest.raises(RunError, match="has no table of objects: its model finds areas"):
        regions.objects()


def test_a_run_splits_touching_nuclei_where_its_card_says_so(tmp_path: Path) -> None:
    base = np.full((300, 300, 3), 255, np.uint8)
    base[discs((300, 300), np.array([[140, 128], [150, 160]]), np.array([18, 18])) > 0] = 0
    slide = ArraySlide(base)
    for objects, count in (("components", 1), ("watershed", 2)):
        made = predict(slide, model(objects), Region(0, 0, 300, 300), tmp_path / objects)
        assert made.record.counts[0].objects == len(made.objects()) == count


def test_a_run_that_is_cancelled_while_counting_counts_again(tmp_path: Path) -> None:
    slide, cancel = ArraySlide(picture()), Event()
    told: list[Progress] = []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if progress.stage == "counting":
            cancel.set()

    with pytest.raises(Cancelled):
        predict(slide, model(), Region(0, 0, 600, 500), tmp_path / "run", on_progress=stop, cancel=cancel)
    assert [progress.stage for progress in told].count("counting") == 1
    assert not [file for file in (tmp_path / "run").iterdir() if OBJECTS_FILE in file.name]
    with pytest.raises(RunError, match="holds no finished run"):
        Run.open(tmp_path / "run")
    slide.largest_read = 0
    again = predict(slide, model(), Region(0, 0, 600, 500), tmp_path / "run")
    assert again.record.counts[0].objects == len(again.objects()) == 2
    assert slide.largest_read == 0  # no tile was run again


def test_the_search_asks_about_cancel_several_times_a_block() -> None:
    asked = []
    found(np.ones((100, 100), np.uint8), 50, check=lambda: asked.append(1))
    assert len(asked) >= 3 * 4


def test_a_table_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    objects = found(np.ones((10, 10), np.uint8), 20)

    def write_and_stop() -> None:
        with ObjectTable(tmp_path, Grid((10, 10), (1, 1)), (0.5, 0.5), CLASSES) as table:
            table.add(objects)
            raise Cancelled("The run was cancelled.")

    with pytest.raises(Cancelled):
        write_and_stop()
    assert list(tmp_path.iterdir()) == []
