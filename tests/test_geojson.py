"""QuPath GeoJSON and polygons along pixel edges."""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from napari_lumen.annotations.geojson import read_geojson, write_geojson
from napari_lumen.annotations.mending import Repair
from napari_lumen.annotations.polygonise import polygonise, polygonise_objects
from napari_lumen.annotations.shapes import Annotation, Source, ellipse
from napari_lumen.errors import AnnotationError


def disc(radius: float, side: int) -> np.ndarray:
    axis = np.arange(side) + 0.5 - side / 2
    return np.hypot(axis[:, None], axis[None]) < radius


def test_a_ring_is_one_polygon_with_one_hole_and_the_area_of_its_pixels() -> None:
    ring = disc(80, 200) & ~disc(40, 200)
    [(value, polygon)] = polygonise(ring)
    assert value == 1
    assert len(polygon.interiors) == 1
    assert polygon.area == ring.sum()


@pytest.mark.parametrize("radius", [0.8, 5, 12])
def test_small_objects_keep_their_area(radius: float) -> None:
    mask = disc(radius, 40)
    [(_, polygon)] = polygonise(mask)
    assert polygon.area == mask.sum()


def test_random_labels_keep_every_area_and_their_values() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, (60, 80)) * (2**40 + 1)  # numbers beyond int32 are kept
    objects = polygonise_objects(labels)
    assert sorted(objects) == sorted(set(np.unique(labels).tolist()) - {0})
    for value, outline in objects.items():
        assert outline.is_valid
        assert outline.area == (labels == value).sum()


def test_outlines_lie_on_pixel_edges_at_the_origin_and_step_asked_for() -> None:
    labels = np.zeros((4, 4), np.uint8)
    labels[1, 2] = 7
    assert polygonise(labels)[0][1].bounds == (2, 1, 3, 2)
    assert polygonise(labels, origin=(100, 200), step=(8, 4))[0][1].bounds == (208, 108, 212, 116)


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """Labels that touch at corners, enclose each other, and reach every border."""
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    return draw(arrays(np.uint8, shape, elements=st.integers(0, draw(st.integers(1, 3)))))


@given(pictures())
@settings(max_examples=300, deadline=None)
def test_outlines_are_those_of_gdal(labels: np.ndarray) -> None:
    wanted = [
        (int(value), shapely.geometry.shape(outline))
        for outline, value in rasterio.features.shapes(labels, mask=labels > 0, connectivity=4)
    ]
    found = polygonise(labels)
    assert all(outline.is_valid for _, outline in found)
    assert _sorted(found) == _sorted(wanted)


def _sorted(outlines: list[tuple[int, Polygon]]) -> list[tuple[int, str]]:
    return sorted((value, shapely.normalize(outline).wkt) for value, outline in outlines)


def test_nothing_gives_nothing() -> None:
    assert polygonise(np.zeros((5, 5), np.uint8)) == []
    assert polygonise(np.zeros((0, 5), np.uint8)) == []


@pytest.mark.parametrize("suffix", [".geojson", ".json", ".geojson.gz", ".geojson.zip"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    ring = Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(3, 3), (6, 3), (6, 6), (3, 6)]])
    given = [
        Annotation(ring, "tumour", (200, 10, 20), "first"),
        Annotation(MultiPolygon([box(0, 0, 1, 1), box(5, 5, 7.25, 8)]), "Immune cells: CD3", (1, 2, 3)),
        Annotation(Point(4, 5), object_type="detection"),
    ]
    path = tmp_path / f"a{suffix}"
    write_geojson(path, given)
    found = read_geojson(path)
    assert [(a.class_name, a.color, a.name, a.object_type) for a in found] == [
        (a.class_name, a.color, a.name, a.object_type) for a in given
    ]
    for a, b in zip(found, given, strict=True):
        assert a.geometry.equals(b.geometry)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_the_same_annotations_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    for packing in ("gz", "zip"):
        paths = [folder / f"a.geojson.{packing}" for folder in (tmp_path, tmp_path / "later")]
        for path in paths:
            write_geojson(path, [Annotation(box(0, 0, 3, 4), "nucleus", (9, 9, 9))])
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_qupath_gets_a_colour_unique_ids_and_rings_that_do_not_cross(tmp_path: Path) -> None:
    bow_tie = Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    path = tmp_path / "a.geojson"
    write_geojson(path, [Annotation(bow_tie, "tumour"), Annotation(bow_tie, "tumour"), Annotation(Polygon())])
    features = json.loads(path.read_text())["features"]
    assert len(features) == 2  # what is empty cannot be shown
    assert len({feature["id"] for feature in features}) == 2
    assert all(len(feature["properties"]["classification"]["color"]) == 3 for feature in features)
    assert all(item.geometry.is_valid and item.geometry.area == 8 for item in read_geojson(path))


def test_qupaths_other_spellings_are_read(tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}

    def feature(**properties: object) -> dict[str, object]:
        return {"type": "Feature", "id": "PathDetectionObject", "geometry": square, "properties": properties}

    path = tmp_path / "old.json"
    path.write_text(
        json.dumps(
            [
                feature(classification="Tumor", objectType="annotation"),
                feature(classification={"names": ["Tumor", "CD3"], "color": [1, 2, 3]}, object_type="cell"),
                feature(classification={"name": "Cell", "colorRGB": -8397766}),
                feature(childObjects=[feature(name="inner")], type="annotation"),
            ]
        )
    )
    found = read_geojson(path)
    assert [item.class_name for item in found] == ["Tumor", "Tumor: CD3", "Cell", None, None]
    assert [item.object_type for item in found] == [
        "annotation", "cell", "detection", "annotation", "detection",
    ]  # fmt: skip
    assert found[2].color == (127, 220, 58)
    assert found[4].name == "inner"
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        archive.write(path, "old.json")
    assert len(read_geojson(tmp_path / "old.zip")) == 5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ('{"type": "FeatureCollection"}', "no list of features"),
        ("3", "no list of features"),
        ("[3]", "feature 0"),
        ('[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": 3}}]', "geometry"),
        ('[{"type": "Feature", "properties": {}}]', "geometry"),
        (
            '[{"type": "Feature", "geometry": {"type": "Point", "coordinates": [0, 0]},'
            ' "properties": {"classification": {"name": "a", "color": [1, 2, 999]}}}]',
            "color",
        ),
    ],
)
def test_a_bad_file_is_named_with_the_clause_it_breaks(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "bad.geojson"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=says) as caught:
        read_geojson(path)
    assert "bad.geojson" in str(caught.value)


def test_missing_cut_and_misnamed_files_are_annotation_errors(tmp_path: Path) -> None:
    whole = gzip.compress(b"[]")
    (tmp_path / "cut.geojson.gz").write_bytes(whole[:-6])
    (tmp_path / "not.zip").write_bytes(b"no")
    for name in ("missing.geojson", "cut.geojson.gz", "not.zip"):
        with pytest.raises(AnnotationError, match=re.escape(name)):
            read_geojson(tmp_path / name)
    with pytest.raises(AnnotationError, match=r"a\.txt"):
        write_geojson(tmp_path / "a.txt", [])
    with pytest.raises(AnnotationError, match="nowhere"):
        write_geojson(tmp_path / "nowhere" / "a.geojson", [])


def test_measurements_are_written_as_numbers_by_name_and_read_in_both_spellings(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    given = Annotation(box(0, 0, 3, 4), object_type="detection", measurements={"Area µm^2": 12.5})
    write_geojson(path, [given, Annotation(box(0, 0, 1, 1))])
    features = json.loads(path.read_text())["features"]
    assert features[0]["properties"]["measurements"] == {"Area µm^2": 12.5}
    assert "measurements" not in features[1]["properties"]
    assert [item.measurements for item in read_geojson(path)] == [{"Area µm^2": 12.5}, {}]
    older = [{"name": "Area", "value": 3}, {"name": "Hue", "value": "NaN"}]
    features[0]["properties"]["measurements"] = older
    path.write_text(json.dumps(features))
    found = read_geojson(path)[0].measurements
    assert found["Area"] == 3
    assert np.isnan(found["Hue"])
    features[0]["properties"]["measurements"] = [3]
    path.write_text(json.dumps(features))
    with pytest.raises(AnnotationError, match=r"a\.geojson: feature 0 has measurements"):
        read_geojson(path)


def test_numbers_that_json_does_not_have_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    given = {"a": np.nan, "b": np.inf, "c": -np.inf, "d": 1e-300}
    write_geojson(path, [Annotation(box(0, 0, 3, 4), measurements=given)])
    assert json.loads(path.read_text(), parse_constant=pytest.fail)
    found = read_geojson(path)[0].measurements
    assert np.array_equal([found[name] for name in given], list(given.values()), equal_nan=True)
    path.write_text(path.read_text().replace('"NaN"', "NaN"))  # as Python writes it
    assert np.isnan(read_geojson(path)[0].measurements["a"])


def test_everything_that_an_annotation_says_comes_back(tmp_path: Path) -> None:
    given = [
        Annotation(box(0, 0, 20, 20), "Tumor", (1, 2, 3), object_type="cell", nucleus=box(5, 5, 9, 9)),
        Annotation(ellipse(3, 4, 13, 10), is_ellipse=True, locked=True, metadata={"note": "checked"}),
        Annotation(LineString([(0, 0), (3, 4)]), author="Ada", source=Source(), time=datetime(2026, 1, 2, 3)),
        Annotation(Point(1, 2), source=Source("nuclei-s", "run 7"), object_type="tile"),
        Annotation(box(0, 0, 1, 1), time=datetime(2026, 1, 2, 3, tzinfo=UTC)),
    ]
    path = tmp_path / "a.geojson"
    write_geojson(path, given)
    found = read_geojson(path)
    for one, other in zip(found, given, strict=True):
        assert replace(one, geometry=other.geometry, nucleus=other.nucleus) == other
        assert one.geometry.equals_exact(other.geometry, 1e-3)
        assert (one.nucleus is None) == (other.nucleus is None)
    assert found[0].nucleus.equals(box(5, 5, 9, 9))
    features = json.loads(path.read_text())["features"]
    assert features[1]["geometry"]["isEllipse"] is True
    assert features[1]["properties"]["isLocked"] is True
    assert found[1].geometry.bounds == (3, 4, 13, 10)  # of which QuPath makes the ellipse


def test_one_malformed_polygon_among_many_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    write_geojson(path, [Annotation(box(0, 0, 3, 4)) for _ in range(5)])
    features = json.loads(path.read_text())["features"]
    for coordinates in (
        [[[0, 0], [1], [2, 2], [0, 2]]],
        [[]],
        [[[0, 0, 0], [1], [2, 2], [3, 3]]],
        None,
        {},
        7,
    ):
        features[3]["geometry"]["coordinates"] = coordinates
        path.write_text(json.dumps(features))
        with pytest.raises(AnnotationError, match=r"a\.geojson: feature 3 has no geometry"):
            read_geojson(path)


def test_an_outline_of_two_points_is_read_as_the_line_it_is_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    geometry = {"type": "Polygon", "coordinates": [[[0, 0], [3, 4], [0, 0]]]}
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry}))
    told: list[Repair] = []
    [found] = read_geojson(path, told.append)
    assert found.geometry.length == 5
    assert found.kind == "line"
    assert [(repair.path, repair.index) for repair in told] == [(path, 0)]
    assert "encloses nothing" in told[0].what


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [[[0, 0], [4, 0], [4, 4], [0, 0]], [9, 9]],
            "Object 0 is a mixture: its areas were read, the rest was not.",
        ),
        ([[[0, 0], [4, 0], [4, 4], [0, 0]]], "Object 0 is a collection of areas: they were read as one."),
    ],
)
def test_what_is_left_out_of_a_collection_is_said(tmp_path: Path, parts: list[Any], said: str) -> None:
    path = tmp_path / "a.json"
    geometries = [
        {"type": "Polygon", "coordinates": [part]}
        if isinstance(part[0], list)
        else {"type": "Point", "coordinates": part}
        for part in parts
    ]
    collection = {"type": "GeometryCollection", "geometries": geometries}
    path.write_text(json.dumps({"type": "Feature", "geometry": collection}))
    told: list[Repair] = []
    [found] = read_geojson(path, told.append)
    assert found.geometry.area == 8
    assert [repair.what for repair in told] == [said]
