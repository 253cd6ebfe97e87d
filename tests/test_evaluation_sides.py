"""Two sides that do not say the same: other values, other capitals, numbers for classes, other areas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shapely import box
from typer.testing import CliRunner, Result

from fakes import ArraySlide, Darkness, model_of
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.cli import app
from napari_lumen.comparison import evaluate
from napari_lumen.geometry import Region
from napari_lumen.inference import predict


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def said(done: Result) -> str:
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    return " ".join(done.output.split())


def save(path: Path, labels: np.ndarray) -> Path:
    Image.fromarray(labels).save(path)
    return path


def square(value: int) -> np.ndarray:
    labels = np.zeros((40, 50), np.uint8)
    labels[10:20, 10:30] = value
    return labels


def numbered(count: int) -> np.ndarray:
    labels = np.zeros((4, 4 * count), np.uint16)
    for number in range(count):
        labels[1:3, 4 * number : 4 * number + 2] = number + 1
    return labels


def test_values_of_which_none_is_on_both_sides_are_no_score_of_zero(tmp_path: Path) -> None:
    predicted, truth = save(tmp_path / "said.png", square(255)), save(tmp_path / "truth.png", square(1))
    out = ("--out", tmp_path / "report")
    message = said(run_command(predicted, truth, *out))
    assert "said.png has the values 255" in message
    assert "truth.png 1: none in common" in message
    assert "--map '1=class 255'" in message
    assert not (tmp_path / "report").exists()
    assert run_command(predicted, truth, *out, "--map", "1=class 255").exit_code == 0
    nothing = save(tmp_path / "nothing.png", square(0))
    assert run_command(nothing, truth, *out).exit_code == 0  # what finds nothing has no value of its own


def test_classes_that_differ_in_capitals_are_told(tmp_path: Path) -> None:
    shape = box(10, 10, 30, 20)
    write_geojson(tmp_path / "said.geojson", [Annotation(shape, "tumor"), Annotation(shape, "stroma")])
    write_geojson(tmp_path / "truth.geojson", [Annotation(shape, "Tumor"), Annotation(shape, "stroma")])
    places = tmp_path / "said.geojson", tmp_path / "truth.geojson"
    message = said(run_command(*places, "--out", tmp_path / "report"))
    assert "said.geojson has the classes stroma, tumor" in message
    assert "--map 'Tumor=tumor'" in message
    done = run_command(*places, "--out", tmp_path / "report", "--map", "Tumor=tumor")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("count", [8, 101, 3000])
def test_numbers_of_objects_are_no_classes(tmp_path: Path, count: int) -> None:
    labels = save(tmp_path / "labels.png", numbered(count))
    message = said(run_command(labels, labels, "--out", tmp_path / "report"))
    assert f"labels.png has {count:,} values, which number objects: say so by --objects numbers" in message
    found = evaluate(labels, labels, objects="numbers", resamples=2)
    assert [item.name for item in found.classes] == ["background", "object"]


def test_many_classes_of_several_areas_each_are_classes(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.png", np.tile(numbered(9), (2, 1)).astype(np.uint8))
    assert len(evaluate(labels, labels, resamples=2).classes) == 10


@pytest.mark.parametrize("side", [60, 1000])
def test_where_both_sides_are_outlines_all_of_the_region_counts(tmp_path: Path, side: int) -> None:
    tumour, region = Annotation(box(10, 10, 50, 50), "Tumor"), Annotation(box(0, 0, side, side), "Region*")
    write_geojson(tmp_path / "said.geojson", [tumour])
    write_geojson(tmp_path / "truth.geojson", [tumour, region])
    found = evaluate(tmp_path / "said.geojson", tmp_path / "truth.geojson", resamples=2)
    assert found.confusion.tolist() == [[side * side - 1600, 0], [0, 1600]]


def test_a_run_of_a_part_is_scored_against_the_outlines_of_its_slide(tmp_path: Path) -> None:
    pixels = np.full((512, 512, 3), 255, np.uint8)
    pixels[64:128, 64:128] = pixels[400:464, 400:464] = (90, 30, 110)
    run = predict(ArraySlide(pixels), model_of(Darkness()), Region(0, 0, 256, 256), tmp_path / "run")
    squares = [Annotation(box(64, 64, 128, 128), "dark"), Annotation(box(400, 400, 464, 464), "dark")]
    write_geojson(tmp_path / "truth.geojson", squares)
    found = evaluate(run.path, tmp_path / "truth.geojson", resamples=2)
    assert found.confusion.tolist() == [[256 * 256 - 64 * 64, 0], [0, 64 * 64]]


def test_the_page_says_what_its_names_mean(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.png", square(1))
    evaluate(labels, labels, tmp_path / "report", objects="areas", resamples=2)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    for text in ("By the mean of their classes' panoptic quality", "mean IoU of the objects that match"):
        assert text in page
    for name in ("dice smoothed", "recognition quality", "dsb precision", "panoptic quality as published"):
        assert f"<b>{name}</b>: " in page
