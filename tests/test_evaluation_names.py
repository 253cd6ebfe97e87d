"""Classes that have other names in the truth than in the run: on the command line and in the panel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shapely import box
from typer.testing import CliRunner, Result

import napari_lumen
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.cli import app
from napari_lumen.comparison import evaluate_slide
from napari_lumen.errors import AnnotationError
from napari_lumen.inference import Run
from test_plugin_evaluate import Bench, nucleus

FOUND = nucleus(128, 128)  # what the run found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def run(bench: Bench) -> Run:
    return bench.run


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def truth(folder: Path, *annotations: Annotation) -> Path:
    file = folder / "truth.geojson"
    write_geojson(file, list(annotations))
    return file


def test_several_classes_of_the_truth_count_as_one_of_the_run(run: Run, tmp_path: Path) -> None:
    drawn = [
        nucleus(128, 128, 16, of="Tumor"),
        nucleus(144, 144, 16, of="tumour cell"),
        nucleus(600, 600, of="gland"),
    ]
    names = {"Tumor": "nucleus", "tumour cell": "nucleus"}
    found = evaluate_slide(run.path, truth(tmp_path, *drawn), renamed=names)
    as_named = [replace(item, class_name=names.get(item.class_name or "", "gland")) for item in drawn]
    expected = evaluate_slide(run.path, truth(tmp_path, *as_named))
    np.testing.assert_array_equal(found.evaluation.confusion, expected.evaluation.confusion)
    assert found.evaluation.confusion[1, 1] == 2 * 8 * 8  # of the run's pixels, of 2 level-0 px
    assert ("Tumor as nucleus, tumour cell as nucleus") in dict(found.facts).values()


def test_the_command_line_maps_names_and_says_what_there_is_of_unknown_ones(run: Run, tmp_path: Path) -> None:
    file = truth(tmp_path, nucleus(128, 128, of="Tumor"), nucleus(600, 600, of="Stroma"))
    base = (run.path, file, "--out", tmp_path / "report")
    result = call(*base, "--map", "Tumor=nucleus", "--map", "Stroma=Ignore*")
    assert result.exit_code == 0, result.stderr
    assert "Tumor as nucleus" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    perfect = next(line for line in result.stdout.splitlines() if line.startswith("dice"))
    assert "1.0000" in perfect
    for wrong, said in (
        ("Tumour=nucleus", "The truth has no class 'Tumour' that could be renamed; there is Stroma, Tumor."),
        ("Tumor=nuclei", "'Tumor' cannot be counted as 'nuclei'; there is nucleus, gland"),
    ):
        result = call(*base, "--map", wrong)
        assert result.exit_code == 1
        assert said in " ".join(result.stderr.split())
    assert call(*base, "--map", "Tumor").exit_code == 2
    assert call(*base, "--map", "Tumor=nucleus", "--map", "Tumor=gland").exit_code == 2


def test_values_of_a_label_image_are_named_by_their_digits(tmp_path: Path) -> None:
    predicted, there = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    predicted[2:8, 2:8] = 1
    there[2:8, 2:8], there[12:18, 12:18] = 7, 9
    for name, labels in (("predicted", predicted), ("truth", there)):
        Image.fromarray(labels).save(tmp_path / f"{name}.png")
    sides = tmp_path / "predicted.png", tmp_path / "truth.png"
    found = napari_lumen.evaluate(*sides, classes={1: "nucleus"}, renamed={"7": "nucleus", "9": "Ignore*"})
    np.testing.assert_array_equal(found.confusion, [[400 - 36 - 36, 0], [0, 36]])
    with pytest.raises(AnnotationError, match=r"no class '8'.*there is 7, 9"):
        napari_lumen.evaluate(*sides, classes={1: "nucleus"}, renamed={"8": "nucleus"})
    with pytest.raises(AnnotationError, match="numbers objects"):
        napari_lumen.evaluate(*sides, objects="numbers", renamed={"7": "object"})


def test_outlines_without_a_class_can_be_given_one(run: Run, tmp_path: Path) -> None:
    file = truth(tmp_path, Annotation(FOUND.geometry))
    found = napari_lumen.evaluate(run.path, file, renamed={"": "nucleus"})
    dice = next(
        s.value for s in found.scores if (s.name, s.class_name, s.over) == ("dice", "nucleus", "pooled")
    )
    assert dice == 1


def test_the_panel_asks_for_names_only_where_the_run_has_others(bench: Bench) -> None:
    bench.draw(FOUND)
    assert bench.controller.state.names == ()
    bench.viewer.layers.remove("truth")
    bench.draw(nucleus(128, 128, of="Tumor"), nucleus(600, 600), Annotation(box(0, 0, 9, 9), "Ignore*"))
    assert bench.controller.state.names == (("Tumor", ""), ("nucleus", "nucleus"))
    bench.controller.count_as("Tumor", "nucleus")
    bench.controller.count_as("nucleus", "")
    bench.controller.evaluate()
    assert bench.scores()["dice", "nucleus"] == 1  # that elsewhere does not count
    assert not np.asarray(bench.errors.data[0]).any()
    bench.controller.count_as("Tumor", "a class of another run")
    assert dict(bench.controller.state.names)["Tumor"] == ""
    bench.controller.count_as("Tumor", "Background")
    bench.controller.evaluate()
    assert bench.scores()["precision", "nucleus"] == 0


def test_the_panel_reads_the_names_of_a_file_and_gives_the_scores_of_the_command_line(
    bench: Bench, tmp_path: Path
) -> None:
    file = truth(tmp_path, nucleus(144, 128, of="Tumor"), Annotation(box(600, 600, 640, 640)))
    bench.controller.choose_file(file)
    assert bench.controller.state.names == (("Tumor", ""), ("", None))
    bench.controller.evaluate()
    assert (
        "without a class" in bench.controller.state.message or "say which" in bench.controller.state.message
    )
    bench.controller.count_as("Tumor", "nucleus")
    bench.controller.count_as("", "gland")
    bench.controller.evaluate()
    bench.controller.save(tmp_path / "panel")
    napari_lumen.evaluate(
        bench.run.path, file, tmp_path / "command", renamed={"Tumor": "nucleus", "": "gland"}
    )
    for name in ("scores.csv", "confusion.csv", "report.html"):
        assert (tmp_path / "panel" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()


def test_a_region_in_which_nothing_was_found_by_people_is_a_truth(run: Run, tmp_path: Path) -> None:
    found = evaluate_slide(run.path, truth(tmp_path, Annotation(box(100, 100, 200, 200), "Region*")))
    np.testing.assert_array_equal(found.evaluation.confusion[0, :2], [50 * 50 - 256, 256])
