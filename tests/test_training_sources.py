"""Data as a configuration names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from shapely.geometry import box

from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError, RunError
from napari_lumen.slides.synthetic import SyntheticSlide, write_slide
from napari_lumen.training.sources import Source

SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for sub in ("images", "labels"):
        (tmp_path / sub).mkdir()
    labels = np.array([[0, 1, 2, 3], [255, 1, 2, 3]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels" / "a.png")
    Image.fromarray(np.full((2, 4, 3), 200, np.uint8)).save(tmp_path / "images" / "a.png")
    return tmp_path


def test_paths_are_beside_the_file(folder: Path) -> None:
    content = {"kind": "images", "folder": ".", "classes": ["one", "two", "three"]}
    images = SOURCE.validate_python(content, context={"folder": folder}).open()
    assert [item.name for item in images.items] == ["a"]


def test_classes_are_regrouped_and_the_others_are_background(folder: Path) -> None:
    content = {
        "kind": "images",
        "folder": str(folder),
        "classes": ["one", "two", "three"],
        "groups": {"outer": ["three", "one"]},
    }
    images = SOURCE.validate_python(content).open()
    assert [entry.name for entry in images.classes] == ["outer"]  # type: ignore[attr-defined]
    assert images.labels(0).tolist() == [[0, 1, 0, 1], [255, 1, 0, 1]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"a": ["four"]}, "no class 'four'"),
        ({"a": ["one"], "b": ["one"]}, "two groups"),
        ({"a": []}, "no class"),
    ],
)
def test_groups_that_cannot_be_are_told(folder: Path, groups: dict[str, list[str]], said: str) -> None:
    content = {"kind": "images", "folder": str(folder), "classes": ["one", "two", "three"], "groups": groups}
    with pytest.raises(RunError, match=said):
        SOURCE.validate_python(content).open()


def test_images_of_one_class_cannot_be_regrouped(folder: Path) -> None:
    (folder / "images").rename(folder / "grade")
    content = {"kind": "graded", "folder": str(folder), "groups": {"a": ["grade"]}}
    (folder / "labels").rename(folder / "other")
    with pytest.raises(RunError, match="'graded' have no label images"):
        SOURCE.validate_python(content).open()


def test_background_may_be_a_class_of_whole_images_alone(folder: Path) -> None:
    (folder / "images").rename(folder / "background")
    (folder / "labels").rename(folder / "tumour")
    content = {"kind": "graded", "folder": str(folder), "classes": ["background", "tumour"]}
    assert SOURCE.validate_python(content).open().grade(0) == 0  # type: ignore[attr-defined]
    with pytest.raises(ValidationError, match="background is what none of the classes covers"):
        SOURCE.validate_python({**content, "kind": "images"})


def test_annotated_slides_become_patches_of_their_classes(tmp_path: Path) -> None:
    slide = SyntheticSlide(600, 800, mpp=0.5, seed=3)
    write_slide(slide, tmp_path / "a.tif")
    shapes = [Annotation(box(100, 100, 300, 300), "gland"), Annotation(box(0, 0, 800, 600), "Region*")]
    write_annotations(tmp_path / "a.geojson", shapes)
    content = {
        "kind": "slides",
        "slides": [{"slide": "a.tif", "annotations": "a.geojson", "patient": "p1"}],
        "classes": ["gland"],
        "mpp": 1.0,
        "size": 64,
        "count": 20,
    }
    source = SOURCE.validate_python(content, context={"folder": tmp_path})
    patches = source.open()
    middle = [int(patches.labels(index)[32, 32]) for index in range(20)]  # type: ignore[attr-defined]
    assert sum(middle) == 10  # as many of the class as of the background
    assert {item.patient for item in patches.items} == {"p1"}
    assert patches.image(0).shape == (64, 64, 3)
    write_annotations(tmp_path / "a.geojson", [*shapes, Annotation(box(400, 100, 500, 200), "fold")])
    with pytest.raises(AnnotationError, match=r"of the class 'fold'.* in the field ignored"):
        source.open()
    known = SOURCE.validate_python({**content, "ignored": ["fold"]}, context={"folder": tmp_path}).open()
    assert len(known.items) == 20
    both = {**content, "ignored": ["fold"], "classes": ["gland", "necrosis", "fat"]}
    with pytest.raises(
        RunError, match=r"'data\.classes': no area of 'necrosis' and 'fat' is annotated on a\.tif"
    ):
        SOURCE.validate_python(both, context={"folder": tmp_path}).open()


def test_a_slide_without_a_pixel_size_is_given_one(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.full((256, 256, 3), 200, np.uint8), tile=(128, 128), photometric="rgb"
    )
    write_annotations(tmp_path / "a.geojson", [Annotation(box(10, 10, 200, 200), "gland")])
    slide = {"slide": "a.tif", "annotations": "a.geojson"}
    content = {
        "kind": "slides",
        "classes": ["gland"],
        "mpp": 1.0,
        "size": 64,
        "count": 4,
        "background": False,
    }
    with pytest.raises(
        RunError, match=r"'data\.slides': a\.tif does not state its pixel size; give it as mpp"
    ):
        SOURCE.validate_python({**content, "slides": [slide]}, context={"folder": tmp_path}).open()
    known = {**content, "slides": [{**slide, "mpp": 0.5}]}
    patches = SOURCE.validate_python(known, context={"folder": tmp_path}).open()
    assert patches.slide(0).require_mpp() == (0.5, 0.5)  # type: ignore[attr-defined]
