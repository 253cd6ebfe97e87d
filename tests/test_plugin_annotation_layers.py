"""Annotations on a slide in napari: every type there and back without loss, by the reader and the writers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from napari.layers import Labels, Layer, Points, Shapes
from npe2 import PluginManager
from shapely import LineString, MultiLineString, MultiPoint, MultiPolygon, Point, Polygon, box

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.classified import Classified
from napari_lumen.annotations.formats import read_annotations, write_annotations
from napari_lumen.annotations.rasterise import rasterise
from napari_lumen.annotations.scanlines import Outlines
from napari_lumen.annotations.shapes import Annotation, Source, ellipse
from napari_lumen.errors import AnnotationError
from napari_lumen.geometry import Grid, Window
from napari_lumen.plugin import annotation_reader
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_reader import annotation_layers, napari_get_reader
from napari_lumen.plugin.annotation_shapes import annotations_of, shape_layers
from napari_lumen.plugin.annotation_writer import _write as save
from napari_lumen.plugin.annotation_writer import annotations_in

FRAME = Frame((0.25, 0.5), (10.0, 20.0), ("um", "um"), "abc", (4000, 6000), "slide")
TABLE = ClassTable.of([(1, "tumour", (255, 0, 0)), (2, "stroma", (0, 0, 255))])
HOLE = Polygon([(0, 0), (30.123456789, 0), (30, 30), (0, 30)], [[(5, 5), (9, 5), (9, 9), (5, 9)]])
SHAPES = {
    "polygon": Polygon([(1 / 3, 0), (90_000.7, 4), (5, 9.1)]),
    "holes": HOLE,
    "multipolygon": MultiPolygon([HOLE, box(100, 100, 110, 120)]),
    "rectangle": box(3, 4, 8, 10),
    "ellipse": ellipse(2, 3, 22, 13),
    "line": LineString([(1, 2), (3, 4.5)]),
    "polyline": LineString([(1, 2), (3, 4.5), (9, 9)]),
    "multiline": MultiLineString([[(0, 0), (1, 1)], [(5, 5), (6, 7), (8, 8)]]),
    "point": Point(7.25, 8.5),
    "multipoint": MultiPoint([(1, 2), (3, 4)]),
}


def full(shape: Any, kind: str) -> Annotation:
    return Annotation(
        shape,
        "tumour",
        (255, 0, 0),
        name="one",
        object_type="detection",
        measurements={"area µm^2": 1.5},
        is_ellipse=kind == "ellipse",
        locked=True,
        nucleus=box(4, 5, 6, 7),
        author="Ada",
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        source=Source("nuclei", "run 1"),
        metadata={"ASAP type": "Spline"},
    )


def through_napari(found: list[Annotation]) -> list[Annotation]:
    layers = [Layer.create(*data) for data in shape_layers(found, FRAME, "a", TABLE)]
    return [item for layer in layers for item in annotations_of(layer.as_layer_data_tuple(), FRAME)]


@pytest.mark.parametrize("kind", SHAPES)
def test_an_annotation_comes_back_from_napari_as_it_was(kind: str) -> None:
    before = full(SHAPES[kind], kind)
    (after,) = through_napari([before])
    assert after == before
    assert (
        shapely.get_coordinates(after.geometry).tolist() == shapely.get_coordinates(before.geometry).tolist()
    )


def test_what_is_said_of_nothing_stays_unsaid() -> None:
    bare = [Annotation(shape) for shape in (SHAPES["rectangle"], SHAPES["point"])]
    assert through_napari(bare) == bare


def test_layers_lie_in_micrometres_along_pixel_edges_in_the_colours_of_their_classes() -> None:
    (data,) = shape_layers([Annotation(box(100, 200, 110, 220), "stroma", (0, 0, 255))], FRAME, "a", TABLE)
    layer = Layer.create(*data)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    # the middle of pixel (0, 0) lies at the origin, its edge half a pixel before
    assert layer.extent.world.tolist() == [
        [10 + 199.5 * 0.25, 20 + 99.5 * 0.5],
        [10 + 219.5 * 0.25, 20 + 109.5 * 0.5],
    ]
    assert layer.edge_color.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "ellipse", "line", "polyline", "holes"])
def test_a_shape_that_was_moved_is_moved_by_as_much_and_keeps_what_is_said_of_it(kind: str) -> None:
    before = full(shapely.transform(SHAPES[kind], lambda xy: np.minimum(xy, 500)), kind)
    layer = Layer.create(*shape_layers([before], FRAME, "a", TABLE)[0])
    layer.data = [
        (corners + np.array([8, 16]), str(shape))
        for corners, shape in zip(layer.data, layer.shape_type, strict=True)
    ]
    (after,) = annotations_of(layer.as_layer_data_tuple())
    moved = shapely.transform(before.geometry, lambda xy: xy + np.array([16, 8]))
    assert shapely.symmetric_difference(after.geometry, moved).area == pytest.approx(0, abs=1e-3)
    assert after.geometry.bounds == pytest.approx(moved.bounds, abs=1e-4)
    assert replace(after, geometry=before.geometry) == before


def test_a_part_that_was_deleted_is_gone_and_a_new_shape_comes_last() -> None:
    found = [Annotation(SHAPES["multipolygon"], "tumour", (255, 0, 0)), Annotation(SHAPES["line"])]
    layer = Layer.create(*shape_layers(found, FRAME, "a", TABLE)[0])
    layer.selected_data = {0}
    layer.remove_selected()
    layer.add_polygons(np.array([(0, 0), (0, 8), (8, 8)]))
    multi, line, new = annotations_of(layer.as_layer_data_tuple())
    assert multi.geometry.equals(box(100, 100, 110, 120))
    assert line == found[1]
    assert new.geometry.equals(Polygon([(0.5, 0.5), (8.5, 0.5), (8.5, 8.5)]))


def test_a_copy_that_was_pasted_is_an_annotation_of_its_own() -> None:
    before = Annotation(box(0, 0, 10, 10), "tumour", (255, 0, 0), author="Ada")
    layer = Layer.create(*shape_layers([before], FRAME, "a", TABLE)[0])
    features = layer.features.iloc[[0, 0]].reset_index(drop=True)
    layer.data = [(layer.data[0], "rectangle"), (layer.data[0] + 40, "rectangle")]
    layer.features = features
    first, second = annotations_of(layer.as_layer_data_tuple())
    assert first == before
    assert second == replace(before, geometry=box(40, 40, 50, 50))


def test_shapes_of_the_users_own_are_placed_by_the_slide_below_them() -> None:
    layer = Shapes([np.array([(10, 20), (10, 30), (20, 30), (20, 20)])], shape_type="rectangle", scale=(2, 2))
    (found,) = annotations_of(layer.as_layer_data_tuple(), FRAME)
    # world 20..40 down and 40..60 across, of a slide at (10, 20) with 0.25 and 0.5 µm a pixel
    assert found.geometry.bounds == pytest.approx((40.5, 40.5, 80.5, 120.5))


def test_a_slide_whose_outlines_cross_and_touch_is_painted_as_gdal_paints_it() -> None:
    rng = np.random.default_rng(1)
    shapes = [Point(*rng.uniform(0, 300, 2)).buffer(r) for r in rng.uniform(0.5, 30, 60)] + [
        HOLE,
        Point(1, 1),
    ]
    values = rng.integers(1, 200, len(shapes)).astype(np.uint8)
    outlines = Outlines(shapes, values)
    table = ClassTable.of([(value, str(value), (0, 0, 0)) for value in range(1, 201)])
    items = [Annotation(shape, str(value)) for shape, value in zip(shapes, values, strict=True)]
    for grid, window in (
        (Grid((300, 310), (1, 1)), None),
        (Grid((80, 90), (3.7, 3.3), (-7.1, 11.3)), Window(5, 9, 60, 70)),
    ):
        expected = rasterise(items, grid, table, window=window)
        assert expected.any()
        assert np.array_equal(outlines.paint(grid, window), expected)
    assert not Outlines([], np.zeros(0, np.uint8)).paint(Grid((3, 4), (1, 1))).any()


def many(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Annotation], list[Any]]:
    monkeypatch.setattr(annotation_reader, "MOST_SHAPES", 10)
    squares = [
        Annotation(box(x, y, x + 6, y + 6), "tumour" if x < 2000 else "stroma")
        for x in range(0, 4000, 400)
        for y in range(0, 3000, 300)
    ]
    found = [*squares, Annotation(Point(5, 5), "tumour")]
    return found, annotation_layers(found, FRAME, "many", TABLE)


def test_more_outlines_than_shapes_can_hold_are_a_pyramid_at_the_place_of_the_slide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, (pyramid, points) = many(monkeypatch)
    layer = Layer.create(*pyramid)
    assert (type(layer), pyramid[1]["multiscale"], points[2]) == (Labels, True, "points")
    assert layer.scale.tolist() == [0.25, 0.5]
    first = np.asarray(layer.data[0][295:310, 2395:2410])
    assert first.tolist() == np.pad(np.full((6, 6), 2), ((5, 4), (5, 4))).tolist()
    assert max(layer.data[-1].shape) <= 2048
    assert annotations_in([layer.as_layer_data_tuple(), points], FRAME) == [
        replace(item, color=TABLE[item.class_name or ""].color) for item in found
    ]


def test_a_merge_recolours_a_pyramid_and_repaints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, (pyramid, _) = many(monkeypatch)
    from napari_lumen.plugin.annotation_pyramid import SET, slot_colors
    from napari_lumen.plugin.layers import KEY

    before: Classified = pyramid[1]["metadata"][KEY][SET]
    merged = before.merged("tumour", "stroma")
    colors = slot_colors(merged, frozenset()).color_dict
    assert colors[1].tolist() == colors[2].tolist() == [0, 0, 1, 1]
    assert slot_colors(merged, frozenset({"stroma"})).color_dict[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "name", ["qupath/qupath05.geojson", "asap/tumor_009.xml", "imagescope/glomeruli_0038.xml"]
)
def test_real_files_open_in_napari_and_are_saved_as_they_were(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    path = shared_data / "annotations" / name
    reader = napari_get_reader(str(path))
    assert reader is not None
    layers = [Layer.create(*data).as_layer_data_tuple() for data in reader(str(path))]
    save("geojson", str(tmp_path / "a.geojson"), layers)
    write_annotations(tmp_path / "b.geojson", read_annotations(path))
    saved, straight = (read_annotations(tmp_path / name) for name in ("a.geojson", "b.geojson"))
    assert len(saved) == len(straight) > 0
    for one, other in zip(saved, straight, strict=True):
        assert replace(one, color=None) == replace(other, color=None)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xml", "<?xml version='1.0'?><svg/>"),
        ("a.xml", "no xml"),
        ("a.json", '{"name": "package"}'),
        ("a.json", "[1, 2, 3]"),
        ("a.json.gz", "not packed"),
    ],
)
def test_files_of_others_are_left_to_others(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert napari_get_reader(str(tmp_path / name)) is None
    assert napari_get_reader([str(tmp_path / name)] * 2) is None


def test_a_broken_file_shows_nothing_and_says_why_once(tmp_path: Path, told: list[Any]) -> None:
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": [{"type": "Feat')
    reader = napari_get_reader(str(tmp_path / "a.geojson"))
    assert reader is not None
    with pytest.raises(AnnotationError, match="cut off"):
        reader(str(tmp_path / "a.geojson"))
    assert len(told) == 1


def test_a_repaired_outline_is_told(tmp_path: Path, told: list[Any]) -> None:
    bow = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [bow]}}
    (tmp_path / "a.json").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    reader = napari_get_reader(str(tmp_path / "a.json"))
    assert reader is not None
    assert len(reader(str(tmp_path / "a.json"))[0][0]) == 2
    assert "crosses itself" in told[0].message


def test_napari_offers_a_writer_for_each_format() -> None:
    manifest = PluginManager.instance().get_manifest("napari-lumen")
    writers = {item.display_name: item for item in manifest.contributions.writers or ()}
    assert set(writers) == {
        "QuPath GeoJSON", "ASAP XML", "Aperio ImageScope XML", "Table of annotations", "OME-Zarr labels",
    }  # fmt: skip
    assert ".geojson.gz" in writers["QuPath GeoJSON"].filename_extensions


@pytest.mark.parametrize(
    ("format_name", "name"),
    [("geojson", "a.geojson.gz"), ("asap", "a.xml"), ("imagescope", "a.xml"), ("omezarr", "a.zarr")],
)
def test_labels_that_somebody_painted_are_saved_as_outlines_of_their_pixels(
    tmp_path: Path, format_name: str, name: str
) -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[5:9, 10:16] = 3
    save(format_name, str(tmp_path / name), [Labels(labels).as_layer_data_tuple()])
    (found,) = read_annotations(tmp_path / name)
    assert found.geometry.equals(box(10, 5, 16, 9))
    assert found.class_name == "label 3"


def test_layers_together_are_one_table_and_nothing_is_not_written(tmp_path: Path) -> None:
    layers = [
        data
        for item in ("rectangle", "point")
        for data in shape_layers([full(SHAPES[item], item)], FRAME, "a", TABLE)
    ]
    save("csv", str(tmp_path / "a.csv"), layers)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 3
    with pytest.raises(AnnotationError, match="hold no annotations"):
        save("geojson", str(tmp_path / "b.geojson"), [Points(np.zeros((0, 2))).as_layer_data_tuple()])
    assert not (tmp_path / "b.geojson").exists()
