"""The command line: what it prints, where, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import PIL.Image
import pytest
import shapely
import tifffile
import torch
from typer.testing import CliRunner, Result

import napari_lumen
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.cli import app
from napari_lumen.inference import Run
from napari_lumen.inference.area import read_area
from napari_lumen.models import InputSpec, ModelCard, TrainingRecord, View, build, save_model
from napari_lumen.slides import open_slide

COMMAND = Path(sys.executable).with_name("napari-lumen")


def write_slide(path: Path, side: int, mpp: float | None = 0.5) -> Path:
    """Write a slide of purple tissue with some grain on it."""
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal((150, 80, 150), 20, (side, side, 3)), 0, 255).astype(np.uint8)
    where = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", compression="deflate", **where)
    return path


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "tissue.tif", 300)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights; what it finds means nothing."""
    torch.manual_seed(0)
    arguments = {"preset": "light"}
    card = ModelCard(
        name="random-nuclei",
        title="Random",
        summary="Finds nothing in particular.",
        task="segmentation",
        architecture="focusnetpp",
        arguments=arguments,
        activation="sigmoid",
        classes=ClassTable.of([(1, "nucleus", (255, 255, 0))]),
        input=InputSpec(views=(View(size=128, mpp=0.5),), overlap=32),
        training=TrainingRecord(data="nothing", split="none"),
        scores={"Dice on nothing": 0.1234},
        licence="CC0-1.0",
        limits="Not for anything.",
        weights_sha256="0" * 64,
    )
    return save_model(tmp_path_factory.mktemp("models"), build("focusnetpp", **arguments), card)


def call(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [str(part) for part in arguments])


def assert_refused(result: Result, *parts: str) -> None:
    """One sentence on stderr, nothing on stdout, exit code 1, no traceback."""
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_the_version_is_that_of_the_package() -> None:
    result = call("--version")
    assert result.exit_code == 0
    assert result.stdout == f"napari-lumen {napari_lumen.__version__}\n"


def test_help_names_every_command() -> None:
    result = call("--help")
    assert result.exit_code == 0
    for command in ("info", "predict", "convert", "models", "runs", "demo"):
        assert command in result.stdout


def test_info_shows_size_pixel_size_and_levels(slide: Path) -> None:
    result = call("info", slide)
    assert result.exit_code == 0
    for part in ("tissue.tif", "300 x 300 px (0.15 x 0.15 mm)", "0.5 x 0.5 µm"):
        assert part in result.stdout


def test_info_as_json_is_one_object(slide: Path) -> None:
    result = call("info", slide, "--json")
    facts = json.loads(result.stdout)
    assert (facts["height"], facts["width"]) == (300, 300)
    assert facts["mpp"] == {"y": pytest.approx(0.5), "x": pytest.approx(0.5)}
    assert facts["levels"] == [{"height": 300, "width": 300, "downsample": {"y": 1.0, "x": 1.0}}]
    with napari_lumen.open_slide(slide) as opened:
        assert facts["fingerprint"] == opened.fingerprint


def test_info_tells_of_a_name_that_is_no_text(slide: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.tif")
    shutil.copyfile(slide, odd)
    assert json.loads(call("info", odd, "--json").stdout)["path"].endswith(r"caf\xe9.tif")
    assert call("info", odd).stdout.startswith(r"caf\xe9.tif")


def test_info_of_a_real_slide(shared_data: Path) -> None:
    result = call("info", shared_data / "slides" / "CMU-1-Small-Region.svs")
    assert result.exit_code == 0
    for part in ("aperio", "2,220 x 2,967 px (1.11 x 1.48 mm)", "20x", "thumbnail, label, macro"):
        assert part in result.stdout


def test_info_says_that_a_pixel_size_is_unknown(tmp_path: Path) -> None:
    result = call("info", write_slide(tmp_path / "silent.tif", 256, mpp=None))
    assert "unknown" in result.stdout
    assert json.loads(call("info", tmp_path / "silent.tif", "--json").stdout)["mpp"] is None


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line_on_stderr(shared_data: Path) -> None:
    result = call("info", shared_data / "slides" / "boxes.tiff", "--json")
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: boxes.tiff states a pixel size of")
    assert result.stderr.count("\n") == 1
    assert json.loads(result.stdout)["mpp"] is None


def test_a_file_that_is_no_slide_ends_with_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "words.svs"
    path.write_text("not a slide")
    assert_refused(call("info", path), "words.svs")
    assert_refused(call("info", tmp_path / "missing.svs"), "missing.svs")


def test_models_are_listed_and_shown(model: Path) -> None:
    assert call("models", "list").exit_code == 0
    shown = call("models", "show", model)
    assert shown.exit_code == 0
    for part in ("random-nuclei", "nucleus", "128 x 128 px at 0.5 µm per pixel", "0.1234", "CC0-1.0"):
        assert part in shown.stdout
    card = ModelCard.model_validate_json(call("models", "show", model, "--json").stdout)
    assert card.name == "random-nuclei"


def test_the_shipped_models_are_in_the_list() -> None:
    listed = call("models", "list").stdout
    for name in napari_lumen.models.available():
        assert name in listed


def test_an_unknown_model_is_named(slide: Path, tmp_path: Path) -> None:
    assert_refused(call("models", "show", "no-such-model"), "no-such-model")
    assert_refused(
        call("predict", slide, "--model", "no-such-model", "--out", tmp_path / "run"), "no-such-model"
    )
    assert not (tmp_path / "run").exists()


def test_predict_writes_a_run_and_says_what_it_found(slide: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = call("predict", slide, "--model", model, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    record = Run.open(out).record
    assert record.model == "random-nuclei"
    assert record.region is None
    for part in ("class", "objects", "area mm²", "nucleus", str(out), "napari --plugin napari-lumen"):
        assert part in result.stdout
    assert f"{record.tiles} tiles" in result.stdout
    assert "running the model" in result.stderr
    assert f"{record.tiles}/{record.tiles} tiles" in result.stderr


def test_predict_over_a_region_answers_for_that_region(slide: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = call("predict", slide, "--model", model, "--out", out, "--region", "40,60,128,96")
    assert result.exit_code == 0, result.stderr
    assert Run.open(out).record.region == (40, 60, 128, 96)


def test_predict_within_shapes_or_a_mask_answers_for_them_alone(
    slide: Path, model: Path, tmp_path: Path
) -> None:
    shapes, mask = tmp_path / "shapes.geojson", tmp_path / "mask.png"
    write_geojson(shapes, [Annotation(shapely.box(60, 40, 156, 168), "tumour")])
    with open_slide(slide) as opened:
        height, width = opened.shape
    inside = np.zeros((height // 4, width // 4), np.uint8)
    inside[10:42, 15:39] = 255
    imageio.imwrite(mask, inside)
    areas = []
    for number, file in enumerate((shapes, mask)):
        out = tmp_path / f"run{number}"
        result = call("predict", slide, "--model", model, "--out", out, "--within", file)
        assert result.exit_code == 0, result.stderr
        record = Run.open(out).record
        areas.append(record.analysed_mm2)
        assert record.region == pytest.approx((40, 60, 128, 96), abs=2)
    assert areas[0] == pytest.approx(areas[1], rel=0.05)


@pytest.mark.parametrize("kind", ["bool tiff", "inverted tiff", "rgba png", "palette png", "16 bit tiff"])
def test_a_mask_means_its_stored_values_however_they_are_shown(
    slide: Path, tmp_path: Path, kind: str
) -> None:
    inside = np.zeros((75, 75), bool)
    inside[10:42, 15:39] = True
    path = tmp_path / ("mask.png" if kind.endswith("png") else "mask.tif")
    if kind == "bool tiff":
        tifffile.imwrite(path, inside)
    elif kind == "inverted tiff":
        tifffile.imwrite(path, inside.astype(np.uint8), photometric="miniswhite")
    elif kind == "16 bit tiff":
        tifffile.imwrite(path, inside * np.uint16(7))
    elif kind == "rgba png":
        clear = np.full((75, 75, 4), 200, np.uint8)
        clear[~inside, 3] = 0
        imageio.imwrite(path, clear)
    else:
        picture = PIL.Image.fromarray(inside.astype(np.uint8), mode="P")
        picture.putpalette([255, 255, 255, 255, 0, 0])
        picture.save(path)
    with open_slide(slide) as opened:
        area = read_area(path, opened)
    assert area.bounds == (60, 40, 156, 168)
    assert area.area == 96 * 128


def test_predict_within_what_is_no_area_of_the_slide_is_refused(
    slide: Path, model: Path, tmp_path: Path
) -> None:
    def refused(file: Path, *more: object) -> str:
        result = call("predict", slide, "--model", model, "--out", tmp_path / "run", "--within", file, *more)
        assert result.exit_code != 0
        assert not (tmp_path / "run").exists()
        return result.stderr

    blank, wide, nothing = tmp_path / "blank.png", tmp_path / "wide.png", tmp_path / "none.geojson"
    with open_slide(slide) as opened:
        imageio.imwrite(blank, np.zeros((opened.shape[0] // 4, opened.shape[1] // 4), np.uint8))
    imageio.imwrite(wide, np.full((20, 200), 255, np.uint8))
    write_geojson(nothing, [])
    assert "outlines no area" in refused(blank)
    assert "is no mask of" in refused(wide)
    assert "outlines no area" in refused(nothing)
    assert "gone.geojson" in refused(tmp_path / "gone.geojson")
    assert "not both" in refused(blank, "--region", "0,0,9,9")
    assert "one slide" in refused(nothing, slide)


def test_predict_takes_the_pixel_size_from_the_user(model: Path, tmp_path: Path) -> None:
    silent = write_slide(tmp_path / "silent.tif", 256, mpp=None)
    refused = call("predict", silent, "--model", model, "--out", tmp_path / "run")
    assert_refused(refused, "silent.tif", "--mpp")
    result = call("predict", silent, "--model", model, "--out", tmp_path / "run", "--mpp", "0.5")
    assert result.exit_code == 0, result.stderr
    record = Run.open(tmp_path / "run").record
    assert record.mpp == (0.5, 0.5)
    assert record.mpp_source == "user"


def test_convert_keeps_the_pixel_size_that_it_was_given(tmp_path: Path) -> None:
    silent = write_slide(tmp_path / "silent.tif", 200, mpp=None)
    assert json.loads(call("info", silent, "--json").stdout)["mpp"] is None
    result = call("convert", silent, tmp_path / "one.ome.tif", "--slide-mpp", "0.25")
    assert result.exit_code == 0, result.stderr
    assert json.loads(call("info", silent, "--json").stdout)["mpp"] == {"y": 0.25, "x": 0.25}


def test_predict_does_not_write_into_a_folder_with_something_in_it(
    slide: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    assert_refused(call("predict", slide, "--model", model, "--out", tmp_path), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_predict_over_many_slides_ends_with_a_table_and_1_when_one_failed(
    slide: Path, model: Path, tmp_path: Path
) -> None:
    other = write_slide(tmp_path / "other.tif", 280)
    words = tmp_path / "words.tif"
    words.write_text("not a slide")
    out = tmp_path / "cohort"
    result = call("predict", slide, other, words, "--model", model, "--out", out)
    assert result.exit_code == 1
    for part in ("tissue.tif", "other.tif", "words.tif", "failed", "2 of 3 slides finished, 1 failed"):
        assert part in result.stdout
    assert "Traceback" not in result.stderr
    with (out / "cohort.csv").open(newline="") as file:
        rows = {Path(row["slide"]).name: row for row in csv.DictReader(file)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "tissue.tif": "finished",
        "other.tif": "finished",
        "words.tif": "failed",
    }
    assert Run.open(out / rows["other.tif"]["run"]).record.model == "random-nuclei"
    more = call("predict", write_slide(tmp_path / "more.tif", 270), "--model", model, "--out", out)
    assert more.exit_code == 0, more.stderr  # one slide, into the folder of a cohort
    with (out / "cohort.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert call("runs", "list", out).stdout.count("random-nuclei") == 3


def test_predict_over_a_folder_of_one_slide_is_a_cohort(slide: Path, model: Path, tmp_path: Path) -> None:
    result = call("predict", slide.parent, "--model", model, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "cohort.json").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = call("predict", empty, "--model", model, "--out", tmp_path / "out")
    assert_refused(refused, "no slide in the folder")


@pytest.mark.parametrize(
    ("region", "part"),
    [
        ("1,2,3", "is not y,x,height,width"),
        ("a,b,c,d", "is not y,x,height,width"),
        ("nan,0,5,5", "is not y,x,height,width"),
        ("0,0,0,5", "covers nothing"),
        ("0,0,-5,5", "covers nothing"),
    ],
)
def test_a_region_that_is_none_is_a_usage_error(
    slide: Path, model: Path, tmp_path: Path, region: str, part: str
) -> None:
    result = call("predict", slide, "--model", model, "--out", tmp_path / "run", f"--region={region}")
    assert result.exit_code == 2
    assert "--region" in result.stderr
    assert part in result.stderr
    assert not (tmp_path / "run").exists()


def test_the_installed_command_ends_with_1_after_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "info", tmp_path / "none.svs"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert "none.svs" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_cancels_and_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    large = write_slide(tmp_path / "large.tif", 4096)
    runs = tmp_path / "runs"
    runs.mkdir()
    process = subprocess.Popen(
        [COMMAND, "predict", large, "--model", model, "--out", runs / "run", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "dumb"},
    )
    try:
        while process.poll() is None and not any(runs.iterdir()):  # the unfinished run
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "cancelled" in stderr
    assert "Traceback" not in stderr
    assert not any(runs.iterdir())
