"""ASAP, ImageScope, BACH and MoNuSAC XML: what each says of its shapes and classes, both ways."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, MultiPoint, MultiPolygon, Point, Polygon, box

from napari_lumen.annotations.asap import read_asap, write_asap
from napari_lumen.annotations.bach import BACH_CLASSES
from napari_lumen.annotations.camelyon import CAMELYON_CLASSES, camelyon
from napari_lumen.annotations.cuts import without_holes
from napari_lumen.annotations.formats import format_of, read_annotations, write_annotations
from napari_lumen.annotations.imagescope import read_imagescope
from napari_lumen.annotations.imagescope_writing import write_imagescope
from napari_lumen.annotations.mending import Repair, valid
from napari_lumen.annotations.rasterise import rasterise
from napari_lumen.annotations.shapes import Annotation, ellipse
from napari_lumen.errors import AnnotationError
from napari_lumen.geometry import Grid

RING = Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(3, 3), (6, 3), (6, 6), (3, 6)]])


def asap(*annotations: str, groups: str = "") -> str:
    body = "".join(annotations)
    return (
        f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{body}</Annotations>'
        f"<AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )


def asap_annotation(points: list[tuple[float, float]], kind: str = "Polygon", group: str = "None") -> str:
    coordinates = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points))
    return (
        f'<Annotation Name="n" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{coordinates}</Coordinates></Annotation>"
    )


def region(points: list[tuple[float, float]], inside: str = "", **attributes: object) -> str:
    said = "".join(f' {name}="{value}"' for name, value in attributes.items())
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return f"<Region{said}>{inside}<Vertices>{vertices}</Vertices></Region>"


def layer(*regions: str, name: str = "", color: int = 65280, inside: str = "") -> str:
    return (
        f'<Annotation Id="1" Name="{name}" LineColor="{color}">{inside}'
        f"<Regions>{''.join(regions)}</Regions></Annotation>"
    )


def imagescope(*layers: str) -> str:
    return f'<Annotations MicronsPerPixel="0.5">{"".join(layers)}</Annotations>'


def corners(shape: Polygon) -> list[tuple[float, float]]:
    return [(x, y) for x, y in shapely.get_coordinates(shape)[:-1].tolist()]


# ---------------------------------------------------------------------------------------------------------
# ASAP


def test_asap_types_are_the_shapes_they_are_and_come_back(tmp_path: Path) -> None:
    given = [
        Annotation(Point(1.5, 2), "cell", (0, 0, 255), "dot"),
        Annotation(MultiPoint([(1, 2), (3, 4)]), name="points"),
        Annotation(LineString([(0, 0), (3, 4)]), name="ruler"),
        Annotation(box(2, 3, 8, 9), "tumour & <stroma>", (170, 0, 16), 'a "box"'),
        Annotation(Polygon([(0, 0), (9, 1), (4, 8.25)]), "cell", (0, 0, 255), "µ"),
        Annotation(Polygon([(0, 0), (9, 1), (4, 8)]), name="s", metadata={"ASAP type": "Spline"}),
    ]
    path = tmp_path / "a.xml"
    write_asap(path, given)
    root = ET.parse(path).getroot()
    assert [item.get("Type") for item in root.iter("Annotation")] == [
        "Dot", "PointSet", "Measurement", "Rectangle", "Polygon", "Spline",
    ]  # fmt: skip
    listed = {item.get("Name"): item.get("Color") for item in root.iter("Group")}
    assert listed == {"cell": "#0000ff", "tumour & <stroma>": "#aa0010"}
    assert {item.get("PartOfGroup") for item in root.iter("Annotation")} == {*listed, "None"}
    found = read_asap(path)
    for one, other in zip(found, given, strict=True):
        assert one.geometry.equals(other.geometry)
        assert (one.class_name, one.name, one.kind) == (other.class_name, other.name, other.kind)
        assert one.metadata == other.metadata
        assert other.color is None or one.color == other.color


def test_asap_coordinates_stand_in_their_order_not_in_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    text = asap(asap_annotation([(0, 0), (4, 4), (4, 0), (0, 4)]))  # a bow tie, as the file has it
    path.write_text(text.replace('Order="1"', 'Order="two"').replace('Order="2"', 'Order="1"'))
    with pytest.raises(AnnotationError, match="coordinate 1 has no number Order"):
        read_asap(path)
    path.write_text(path.read_text().replace('"two"', '"2"'))
    assert read_asap(path)[0].geometry.equals(box(0, 0, 4, 4))


@pytest.mark.parametrize("given", [RING, MultiPolygon([RING, box(20, 0, 24, 4)])])
def test_holes_and_parts_pass_through_asap_which_knows_neither(
    tmp_path: Path, given: Polygon | MultiPolygon
) -> None:
    path = tmp_path / "a.xml"
    write_asap(path, [Annotation(given, "tumour")])
    told: list[Repair] = []
    found = read_asap(path, told.append)
    assert shapely.union_all([item.geometry for item in found]).equals(given)
    assert len(told) == 1


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_one_outline_with_cuts_is_the_polygon_with_its_holes(seed: int) -> None:
    random = np.random.default_rng(seed)
    bites = [Point(*random.uniform(0, 100, 2)).buffer(random.uniform(2, 9)) for _ in range(15)]
    whole = shapely.difference(Point(50, 50).buffer(45), shapely.union_all(bites))
    for part in shapely.get_parts(whole):
        cut = without_holes(part)
        assert not cut.interiors
        assert abs(cut.area - part.area) < 1e-8
        assert shapely.symmetric_difference(valid(cut), part).area < 1e-6


def test_asap_has_no_polylines_and_says_so_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    with pytest.raises(AnnotationError, match=r"a\.xml: annotation 1 is a line of several points"):
        write_asap(path, [Annotation(box(0, 0, 1, 1)), Annotation(LineString([(0, 0), (1, 1), (2, 0)]))])
    assert list(tmp_path.iterdir()) == []


def test_camelyon_groups_are_painted_in_order_and_what_is_excluded_last(tmp_path: Path) -> None:
    path = tmp_path / "tumor_000.xml"
    path.write_text(
        asap(
            asap_annotation(corners(box(2, 2, 4, 4)), group="_2"),
            asap_annotation(corners(box(0, 0, 6, 6)), group="_0"),
            asap_annotation(corners(box(8, 0, 9, 1)), group="_1"),
            asap_annotation(corners(box(0, 0, 10, 10))),
            groups='<Group Name="_0" PartOfGroup="None" Color="#aa0000"><Attributes/></Group>',
        )
    )
    found = camelyon(read_annotations(path))
    assert [item.class_name for item in found] == ["tumour", "tumour", "excluded"]
    mask = rasterise(found, Grid((10, 10), (1, 1)), CAMELYON_CLASSES)
    assert mask.sum() == 36 - 4 + 1
    assert mask[3, 3] == 0
    seventeen = [Annotation(box(2, 2, 4, 4), "normal"), Annotation(box(0, 0, 6, 6), "metastases")]
    mask = rasterise(camelyon(seventeen), Grid((10, 10), (1, 1)), CAMELYON_CLASSES)
    assert [(mask == value).sum() for value in (1, 2)] == [32, 4]
    with pytest.raises(AnnotationError, match=r'"stroma" is no group of CAMELYON'):
        camelyon([Annotation(box(0, 0, 1, 1), "stroma")])


# ---------------------------------------------------------------------------------------------------------
# ImageScope


def test_imagescope_types_colours_and_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    regions = [
        region(corners(box(0, 0, 4, 2)), Type=0, NegativeROA=0, Text="here"),
        region([(10, 20), (14, 26)], Type=1),
        region([(10, 20), (30, 40)], Type=2),
        region([(10, 20), (30, 40)], Type=3),
        region([(5, 6)], Type=5),
    ]
    path.write_text(imagescope(layer(*regions, name="Tumour", color=1 + 256 * 2 + 65536 * 3)))
    found = read_imagescope(path)
    assert {(item.class_name, item.color) for item in found} == {("Tumour", (1, 2, 3))}
    assert [item.name for item in found] == ["here", None, None, None, None]
    assert [item.kind for item in found] == ["rectangle", "rectangle", "ellipse", "line", "point"]
    assert found[1].geometry.equals(box(10, 20, 14, 26))
    assert found[2].geometry.bounds == (10, 20, 30, 40)
    assert found[2].geometry.area == pytest.approx(np.pi * 100, rel=2e-4)


def test_negative_regions_are_holes_of_the_region_before_them_that_surrounds_them(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    island, hole, lone = box(4, 4, 5, 5), box(3, 3, 6, 6), box(50, 50, 60, 60)
    path.write_text(
        imagescope(
            layer(
                region(corners(box(0, 0, 9, 9)), NegativeROA=0),
                region(corners(hole), NegativeROA=1),
                region(corners(island), NegativeROA=0),
                region(corners(box(2, 2, 8, 8)), NegativeROA=0),  # over the hole, but drawn later
                region(corners(lone), NegativeROA=1),
            )
        )
    )
    told: list[Repair] = []
    found = read_imagescope(path, told.append)
    assert [item.geometry.area for item in found] == [81 - 9, 1, 36]
    assert found[0].geometry.equals(RING)
    assert [repair.what for repair in told] == ["The negative region 4 lies in no other and was left out."]


def test_a_hole_drawn_before_its_region_is_still_its_hole(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    regions = [
        region(corners(box(3, 3, 6, 6)), NegativeROA=1),
        region(corners(box(0, 0, 90, 90)), NegativeROA=0),
        region(corners(box(0, 0, 9, 9)), NegativeROA=0),
    ]
    path.write_text(imagescope(layer(*regions)))
    assert [item.geometry.area for item in read_imagescope(path)] == [8100, 72]


def test_what_is_written_for_imagescope_is_read_back_with_its_holes_and_areas(tmp_path: Path) -> None:
    given = [
        Annotation(RING, "tumour", (200, 10, 20), "first"),
        Annotation(box(2, 2, 7, 7), "tumour", (200, 10, 20), "over its hole"),
        Annotation(MultiPolygon([RING, box(4, 4, 5, 5)]), "stroma", (1, 2, 3)),
        Annotation(ellipse(0, 10, 20, 40), "stroma", (1, 2, 3), is_ellipse=True),
    ]
    path = tmp_path / "a.xml"
    write_imagescope(path, given)
    regions = list(ET.parse(path).getroot().iter("Region"))
    assert [float(item.get("Area", "")) for item in regions[:3]] == [81, 9, 25]
    assert float(regions[-1].get("Area", "")) == pytest.approx(np.pi * 150, abs=1e-3)
    found = read_annotations(path)
    assert [item.class_name for item in found] == ["tumour", "tumour", "stroma", "stroma", "stroma"]
    assert [item.name for item in found] == ["first", "over its hole", None, None, None]
    assert [item.color for item in found] == [(200, 10, 20)] * 2 + [(1, 2, 3)] * 3
    assert found[0].geometry.equals(RING)
    assert [item.geometry.area for item in found[:4]] == [72, 25, 72, 1]
    assert found[4].kind == "ellipse"
    assert found[4].geometry.equals_exact(given[3].geometry, 1e-9)


@pytest.mark.parametrize("format", ["imagescope", "bach", "monusac"])
def test_points_and_lines_are_no_regions(tmp_path: Path, format: str) -> None:  # noqa: A002
    for shape, name in ((Point(1, 2), "point"), (LineString([(0, 0), (1, 1)]), "line")):
        with pytest.raises(AnnotationError, match=rf"a\.xml: annotation 1 is a {name}"):
            write_annotations(tmp_path / "a.xml", [Annotation(box(0, 0, 1, 1)), Annotation(shape)], format)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------
# BACH and MoNuSAC


@pytest.mark.parametrize("kind", ["bach", "monusac"])
def test_classes_that_are_not_of_a_challenge_are_read_again_without_naming_the_format(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "own.xml"
    write_annotations(
        path, [Annotation(box(0, 0, 5, 5), "Cell"), Annotation(box(9, 9, 12, 15), "Nest")], kind
    )
    assert [item.class_name for item in read_annotations(path)] == ["Cell", "Nest"]


def test_a_bach_label_is_the_first_attribute_or_else_the_text(tmp_path: Path) -> None:
    path = tmp_path / "A01.xml"
    square = corners(box(0, 0, 4, 4))

    def attribute(*values: str) -> str:
        said = "".join(f'<Attribute Name="Diagnosis" Value="{value}"/>' for value in values)
        return f"<Attributes>{said}</Attributes>"

    regions = [
        region(square, attribute("Benign", "Carcinoma invasive"), Text="invasive"),
        region(square, "<Attributes/>", Text="Carcinoma IN SITU"),
        region(square, attribute("Carcinoma invasive")),
        region(square, Text="artefact"),
        region(square),
    ]
    path.write_text(imagescope(layer(*regions)))
    assert format_of(path) == "bach"
    found = read_annotations(path)
    assert [item.class_name for item in found] == ["benign", "in situ", "invasive", "artefact", None]
    assert [item.color for item in found[:3]] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert [BACH_CLASSES[name].value for name in ("benign", "in situ", "invasive")] == [1, 2, 3]
    again = tmp_path / "again.xml"
    write_annotations(again, found, "bach")
    assert [item.class_name for item in read_annotations(again)] == [item.class_name for item in found]
    path.write_text(imagescope(layer(*regions, name="Tumour")))  # a layer with a name has its own class
    assert {item.class_name for item in read_annotations(path)} == {"Tumour"}


def test_a_monusac_class_is_the_attribute_of_its_layer(tmp_path: Path) -> None:
    path = tmp_path / "TCGA_1.xml"
    names = ["Epithelial", "Lymphocyte", "Macrophage", "Neutrophil", "Ambiguous"]
    square = [(0.5, 1.25), (4.5, 1.25), (4.5, 3.25), (0.5, 3.25)]
    layers = [
        layer(region(square), inside=f'<Attributes><Attribute Name="{name}" Id="0" Value=""/></Attributes>')
        for name in names
    ]
    path.write_text(imagescope(*layers))
    assert format_of(path) == "monusac"
    found = read_annotations(path)
    assert [item.class_name for item in found] == names
    assert all(item.geometry.equals(box(0.5, 1.25, 4.5, 3.25)) for item in found)
    again = tmp_path / "again.xml"
    write_annotations(again, found, "monusac")
    assert format_of(again) == "monusac"
    assert [item.class_name for item in read_annotations(again)] == names
    assert all(item.geometry.equals(found[0].geometry) for item in read_annotations(again))
