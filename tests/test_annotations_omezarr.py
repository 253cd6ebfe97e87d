"""OME-Zarr label images and outlines, one from the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
import zarr
from shapely import Point, Polygon, box

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import read_annotations
from napari_lumen.annotations.omezarr import read_labels, write_labels
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError
from napari_lumen.geometry import Grid

TABLE = ClassTable.of([(1, "tumour", (255, 0, 0)), (7, "stroma", (0, 9, 200))])
RING = Polygon([(8, 16), (80, 16), (80, 88), (8, 88)], [[(16, 24), (32, 24), (32, 40), (16, 40)]])


def test_outlines_along_pixels_come_back_with_class_and_colour(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    given = [
        Annotation(RING, "tumour"),
        Annotation(box(200, 8, 208, 24), "stroma"),
        Annotation(Point(9, 9), "stroma"),
    ]
    write_labels(path, given, Grid((1500, 300), (8, 4), (0, 4)), TABLE, (0.5, 0.25))
    found = read_labels(path, mpp=(0.5, 0.25))
    assert [(item.class_name, item.color) for item in found] == [
        ("stroma", (0, 9, 200)),
        ("tumour", (255, 0, 0)),
    ]
    assert found[0].geometry.equals(given[1].geometry)
    assert found[1].geometry.equals(RING)
    coarse = read_labels(path, level=1, mpp=(0.5, 0.25))
    bounds = [shapely.total_bounds([item.geometry for item in items]) for items in (coarse, found)]
    assert (np.abs(bounds[0] - bounds[1]) <= (4, 8, 4, 8)).all()  # half a pixel of the coarser level
    assert [item.name for item in tmp_path.iterdir()] == ["labels"]
    assert [item.class_name for item in read_annotations(path)] == ["stroma", "tumour"]


def test_levels_halve_until_they_are_small_and_say_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    grid = Grid((3000, 5), (2, 2))
    write_labels(path, [], grid, TABLE, (0.5, 0.5))
    group = zarr.open_group(path, mode="r")
    assert [group[name].shape for name in "012"] == [(3000, 5), (1500, 3), (750, 2)]
    multiscale = group.attrs["ome"]["multiscales"][0]
    transforms = [item["coordinateTransformations"] for item in multiscale["datasets"]]
    assert [scale["scale"] for scale, _ in transforms] == [[1, 1], [2, 2], [4, 4]]
    assert [shift["translation"] for _, shift in transforms] == [[0.25, 0.25], [0.75, 0.75], [1.75, 1.75]]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_others_write_is_read_from_the_image_or_from_its_labels(tmp_path: Path, version: str) -> None:
    image = zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    labels = image.create_group("labels")
    cells = labels.create_group("cells")
    data = np.zeros((1, 6, 9), np.int32)
    data[0, 1:3, 2:5], data[0, 4, 8] = 70000, 3
    cells.create_array("0", data=data)
    said = {
        "multiscales": [
            {
                "axes": [{"name": "c"}, {"name": "y"}, {"name": "x"}],
                "datasets": [
                    {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 0.25, 0.25]}]}
                ],
            }
        ],
        "image-label": {"colors": [{"label-value": 3, "rgba": [1, 2, 3, 255]}]},
    }
    for group, attributes in ((labels, {"labels": ["cells"]}), (cells, said)):
        group.attrs.update(attributes if version == "0.4" else {"ome": attributes})
    for path in ("image.zarr", "image.zarr/labels", "image.zarr/labels/cells"):
        first, second = read_labels(tmp_path / path)
        assert (first.class_name, first.color, first.geometry.bounds) == ("label 70000", None, (2, 1, 5, 3))
        assert (second.class_name, second.color) == ("label 3", (1, 2, 3))
    assert read_labels(tmp_path / path, mpp=(0.5, 0.5))[0].geometry.bounds == (1, 0.5, 2.5, 1.5)


def test_folders_that_are_no_labels_and_names_that_are_taken_are_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    image = zarr.open_group(tmp_path / "image.zarr", mode="w")
    image.create_group("labels").attrs["ome"] = {"labels": ["a", "b"]}
    floats = zarr.open_group(tmp_path / "floats", mode="w")
    floats.create_array("0", data=np.zeros((3, 4)))
    floats.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    nothing = zarr.open_group(tmp_path / "nothing", mode="w")
    nothing.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "9"}]}]}
    for name, says in (
        ("missing", "no OME-Zarr label image"),
        ("empty", "no OME-Zarr label image"),
        ("image.zarr", "2 label images, a, b:"),
        ("floats", "not \\(h, w\\) of integers"),
        ("nothing", "no level 0"),
    ):
        with pytest.raises(AnnotationError, match=says) as caught:
            read_labels(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(AnnotationError, match="there already"):
        write_labels(tmp_path / "empty", [], Grid((3, 4), (1, 1)), TABLE, (1, 1))
    with pytest.raises(AnnotationError, match="no class of the table: glass"):
        write_labels(tmp_path / "new", [Annotation(RING, "glass")], Grid((3, 4), (1, 1)), TABLE, (1, 1))
    with pytest.raises(AnnotationError, match="Cannot write"):
        write_labels(tmp_path / "no" / "where", [], Grid((3, 4), (1, 1)), TABLE, (1, 1))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["empty", "floats", "image.zarr", "nothing"]
