"""Outlines painted into labels along pixel edges, and back."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely import LineString, MultiPolygon, Point, Polygon, box

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.polygonise import polygonise, polygonise_objects
from napari_lumen.annotations.rasterise import rasterise
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError
from napari_lumen.geometry import Grid, Window

TABLE = ClassTable.of([(0, "nothing", (0, 0, 0)), *((n, f"class {n}", (n, 0, 0)) for n in range(1, 256))])


@given(
    labels=st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255]))
    ),
    origin=st.tuples(st.integers(-5, 10**6), st.integers(-5, 10**6)),
    step=st.tuples(st.sampled_from([0.5, 1, 2, 3.7, 128]), st.sampled_from([1, 4, 0.25])),
)
@settings(max_examples=200, deadline=None)
def test_labels_to_outlines_to_labels_is_the_identity(
    labels: np.ndarray, origin: tuple[float, float], step: tuple[float, float]
) -> None:
    outlines = polygonise(labels, origin=origin, step=step)
    annotations = [Annotation(outline, f"class {value}") for value, outline in outlines]
    assert np.array_equal(rasterise(annotations, Grid(labels.shape, step, origin), TABLE), labels)


def test_a_ring_of_15056_pixels_is_one_polygon_with_one_hole_and_back() -> None:
    axis = np.arange(-100, 101)
    radius = np.hypot(axis[:, None], axis[None])
    ring = (radius < 80) & (radius >= 40)
    assert ring.sum() == 15056
    [outline] = polygonise_objects(ring.astype(np.uint8)).values()
    assert outline.geom_type == "Polygon"
    assert len(outline.interiors) == 1
    assert outline.area == 15056
    assert np.array_equal(rasterise([outline], Grid(ring.shape, (1, 1))), ring)


@given(
    corners=st.lists(st.tuples(st.floats(-20, 60), st.floats(-20, 60)), min_size=3, max_size=7),
    step=st.sampled_from([0.7, 1.3, 4.9]),
)
@settings(max_examples=100, deadline=None)
def test_at_any_downsample_the_pixels_whose_centres_lie_inside_are_painted(
    corners: list[tuple[float, float]], step: float
) -> None:
    outline = shapely.MultiPoint(corners).convex_hull
    if outline.geom_type != "Polygon":
        return
    y, x = np.meshgrid(3 + (np.arange(9) + 0.5) * step, 5 + (np.arange(9) + 0.5) * step, indexing="ij")
    inside = shapely.contains_xy(outline, x, y)
    clear = shapely.distance(outline.exterior, shapely.points(x, y)) > 1e-6  # a centre on an edge is no one's
    found = rasterise([outline], Grid((9, 9), (step, step), (3, 5)))
    assert np.array_equal(found[clear], inside[clear])


def test_later_annotations_lie_on_top_and_a_value_of_0_clears() -> None:
    given = [
        Annotation(box(0, 0, 6, 6), "class 7"),
        Annotation(box(2, 2, 8, 8), "class 9"),
        Annotation(box(4, 4, 5, 5), "nothing"),
    ]
    found = rasterise(given, Grid((8, 8), (1, 1)), TABLE)
    assert found.dtype == np.uint8
    assert [found[0, 0], found[3, 3], found[7, 7], found[4, 4], found[0, 7]] == [7, 9, 9, 0, 0]


def test_holes_and_all_parts_are_as_they_were() -> None:
    ring = Polygon([(0, 0), (6, 0), (6, 6), (0, 6)], [[(2, 2), (4, 2), (4, 4), (2, 4)]])
    found = rasterise([box(2, 2, 3, 3), MultiPolygon([ring, box(7, 0, 8, 1)])], Grid((8, 8), (1, 1)))
    assert found.sum() == 36 - 4 + 1 + 1
    assert found[2, 2] == 1  # what lies beneath a hole shows


def test_lines_and_points_are_painted_only_when_asked() -> None:
    grid, given = Grid((4, 8), (1, 1)), [LineString([(0.5, 1.5), (7.5, 1.5)]), Point(2.5, 3.5)]
    assert not rasterise(given, grid).any()
    painted = rasterise(given, grid, thin=True)
    assert painted[1].all()
    assert painted[3, 2] == 1
    assert painted.sum() == 9


def test_a_window_is_that_part_of_the_whole() -> None:
    random = np.random.default_rng(0)
    given = [Point(*random.uniform(0, 400, 2)).buffer(random.uniform(5, 60)) for _ in range(30)]
    grid = Grid((50, 40), (8, 10), (3, -7))
    whole = rasterise(given, grid)
    for window in (Window(10, 5, 20, 30), Window(0, 0, 1, 1), Window(49, 39, 1, 1), Window(5, 5, 0, 3)):
        assert np.array_equal(rasterise(given, grid, window=window), whole[window.slices])


def test_nothing_gives_background() -> None:
    assert rasterise([], Grid((3, 4), (1, 1))).tolist() == np.zeros((3, 4)).tolist()
    assert not rasterise([Polygon()], Grid((3, 4), (1, 1))).any()


def test_a_class_that_has_no_value_is_named() -> None:
    with pytest.raises(AnnotationError, match=r"no class of the table: None, stroma\. It has"):
        rasterise([Annotation(box(0, 0, 1, 1), "stroma"), box(0, 0, 1, 1)], Grid((2, 2), (1, 1)), TABLE)
    far = ClassTable.of([(256, "far", (0, 0, 0))])
    with pytest.raises(AnnotationError, match="256"):
        rasterise([], Grid((2, 2), (1, 1)), far)
