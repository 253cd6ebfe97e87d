"""`napari-lumen evaluate froc | stages | boxes`: cases computed by hand, and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from shapely import Point, box
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner, Result

from fakes import Darkness, model_of
from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.cli import app
from napari_lumen.comparison import evaluate_stages
from napari_lumen.comparison.detections import Detections
from napari_lumen.comparison.lesion_truth import lesions_of
from napari_lumen.evaluation.staging import STAGES
from napari_lumen.geometry import Region
from napari_lumen.inference import Run, predict
from napari_lumen.slides import open_slide

STEP = 32  # level-0 px of a pixel of CAMELYON16's level 5
LESIONS = (box(0, 0, 4000, 4000), box(20_000, 8_000, 24_000, 12_000), box(9_600, 9_600, 9_696, 9_696))


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.fixture
def detected(tmp_path: Path) -> Path:
    """Both lesions of a slide are found, its isolated cells too, and there are two false detections."""
    inside = [(0.9, 2000, 2000), (0.8, 15_000, 500), (0.7, 22_000, 10_000), (0.6, 9_650, 9_650)]
    write_rows(tmp_path / "found" / "tumor_001.csv", inside)
    write_rows(tmp_path / "found" / "normal_001.csv", [("confidence", "x", "y"), (0.95, 60_000, 90_000)])
    return tmp_path / "found"


def outlines(tmp_path: Path) -> Path:
    (tmp_path / "xml").mkdir(parents=True)
    write_annotations(tmp_path / "xml" / "tumor_001.xml", [Annotation(one, "_0") for one in LESIONS], "asap")
    return tmp_path / "xml"


def masks(tmp_path: Path) -> Path:
    mask = np.zeros((13_000 // STEP, 25_000 // STEP), np.uint8)
    for one in LESIONS:
        left, top, right, bottom = (round(edge / STEP) for edge in one.bounds)
        mask[top:bottom, left:right] = 255
    (tmp_path / "tif").mkdir()
    finest = np.kron(mask, np.ones((2, 2), np.uint8))
    with tifffile.TiffWriter(tmp_path / "tif" / "tumor_001_Mask.tif") as tiff:
        tiff.write(finest, subifds=1, tile=(256, 256), photometric="minisblack", compression="deflate")
        tiff.write(mask, subfiletype=1, tile=(256, 256), photometric="minisblack", compression="deflate")
    return tmp_path / "tif"


def flat_masks(tmp_path: Path) -> Path:
    """Masks without the level at which lesions are counted."""
    (path,) = masks(tmp_path).iterdir()
    finest = tifffile.imread(path)
    tifffile.imwrite(path, finest, tile=(256, 256), photometric="minisblack", compression="deflate")
    return tmp_path / "tif"


@pytest.mark.parametrize("truth", [outlines, masks, flat_masks])
def test_froc_is_that_of_the_challenge_by_hand(truth: Any, detected: Path, tmp_path: Path) -> None:
    more = ("--mask-mpp", 0.243 * STEP / 2) if truth is not outlines else ()
    out = tmp_path / "report"
    done = run_command(
        "froc", detected, truth(tmp_path), "--out", out, "--tumour-free", "--resamples", 20, *more
    )
    assert done.exit_code == 0, done.output
    curve = [(float(row["false_positives"]), float(row["sensitivity"])) for row in rows_of(out / "curve.csv")]
    assert curve == [(0, 0), (0.5, 0), (0.5, 0.5), (1, 0.5), (1, 1)]
    scores = {row["look_up"]: row for row in rows_of(out / "scores.csv")}
    #                      0.25 0.5   1  2  4  8
    assert float(scores["bisect"]["score"]) == pytest.approx((0 + 0 + 0.5 + 1 + 1 + 1) / 6, abs=1e-5)
    assert float(scores["nearest"]["score"]) == pytest.approx((0.5 + 0.5 + 1 + 1 + 1 + 1) / 6, abs=1e-5)
    assert scores["nearest"]["at_0.25"] == "0.5"
    slides = {row["slide"]: row for row in rows_of(out / "slides.csv")}
    assert list(slides["tumor_001"].values()) == ["tumor_001", "2", "1", "4", "2", "1"]
    assert list(slides["normal_001"].values()) == ["normal_001", "0", "0", "1", "0", "1"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "false positives a slide" in page
    assert "tumor_001" in page
    assert "0.5833" in done.output


def test_a_mask_is_counted_as_coarsely_whatever_levels_it_has(tmp_path: Path) -> None:
    nothing = Detections(np.zeros((0, 2)), np.zeros(0))
    found = {}
    for kind in (masks, flat_masks):
        (tmp_path / kind.__name__).mkdir()
        (path,) = kind(tmp_path / kind.__name__).iterdir()
        lesions, step = lesions_of(path, nothing, 0.243, 0.243 * STEP / 2)
        assert step == STEP
        found[kind] = lesions.numbers
    np.testing.assert_array_equal(found[masks], found[flat_masks])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no truth", "say so by --tumour-free"),
        ("no detections", "holds no detections of tumor_002"),
        ("words", "line 2: 'a,b,c' is not confidence, x, y"),
        ("nothing", "not a confidence above 0"),
        ("semicolons", "line 1: '0.9;1;1' is not confidence, x, y"),
        ("half a header", "line 1: 'x,y,value' does not name confidence, x and y"),
        ("other groups", "Something"),
    ],
)
def test_froc_says_what_is_missing(change: str, said: str, detected: Path, tmp_path: Path) -> None:
    truth = outlines(tmp_path)
    free = () if change == "no truth" else ("--tumour-free",)
    if change == "no detections":
        write_annotations(truth / "tumor_002.xml", [Annotation(LESIONS[0], "_0")], "asap")
    if change in ("words", "nothing"):
        row = "a,b,c" if change == "words" else "0,5,5"
        write_rows(detected / "normal_001.csv", [(0.5, 1, 1), row.split(",")])
    if change in ("semicolons", "half a header"):
        row = "0.9;1;1" if change == "semicolons" else "x,y,value"
        write_rows(detected / "normal_001.csv", [row.split(",")])
    if change == "other groups":
        write_annotations(truth / "tumor_001.xml", [Annotation(LESIONS[0], "Something")], "asap")
    refused = run_command("froc", detected, truth, "--out", tmp_path / "report", *free)
    assert refused.exit_code == 1
    assert said in refused.output.replace("\n", " ")
    assert not (tmp_path / "report").exists()


def test_a_header_says_which_column_is_which(detected: Path, tmp_path: Path) -> None:
    found = []
    for order in ([0, 1, 2], [1, 2, 0]):
        rows = [("Confidence", "X coordinate", "y_level0"), (0.9, 2000, 2000), (0.8, 15_000, 500)]
        write_rows(detected / "tumor_001.csv", [[row[place] for place in order] for row in rows])
        done = run_command(
            "froc",
            detected,
            outlines(tmp_path / str(order[0])),
            "--out",
            tmp_path / "report",
            "--tumour-free",
        )
        assert done.exit_code == 0, done.output
        found.append(rows_of(tmp_path / "report" / "slides.csv"))
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run over a slide with a dark square of 500 µm and a dark spot of 30 µm, both found."""
    image = np.full((1536, 2048, 3), 255, np.uint8)
    image[200:1200, 300:1300] = image[1300:1360, 1800:1860] = (90, 30, 110)
    folder = tmp_path_factory.mktemp("runs")
    where = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}  # 0.5 µm
    tifffile.imwrite(folder / "case.one.tif", image, tile=(256, 256), photometric="rgb", **where)
    model = model_of(Darkness(), mpp=1.0, size=256, attention=("attention",))
    with open_slide(folder / "case.one.tif") as slide:
        return predict(slide, model, Region(0, 0, 1536, 2048), folder / "run")


def test_the_detections_of_a_run_are_the_peaks_of_its_probability(run: Run, tmp_path: Path) -> None:
    write_geojson(tmp_path / "truth.geojson", [Annotation(box(300, 200, 1300, 1200), "tumour")])
    done = run_command("froc", run.path, tmp_path / "truth.geojson", "--out", tmp_path / "report")
    assert done.exit_code == 0, done.output
    (slide,) = rows_of(tmp_path / "report" / "slides.csv")
    assert (slide["slide"], slide["lesions"], slide["found"], slide["false"]) == ("case", "1", "1", "1")
    refused = run_command(
        "froc", run.path, tmp_path / "truth.geojson", "--out", tmp_path / "other", "--class", "light"
    )
    assert "no probability of 'light'; there is dark" in refused.output.replace("\n", " ")


NODES = {
    "truth": {"a": ["negative"] * 3, "b": ["macro", "itc", "negative"], "c": ["macro"] + ["micro"] * 3},
    "said": {"a": ["negative"] * 3, "b": ["micro", "itc", "negative"], "c": ["macro"] + ["micro"] * 3},
}


def stage_files(folder: Path, form: str) -> list[Path]:
    files = []
    for side in ("said", "truth"):
        rows: list[tuple[str, ...]] = [
            ("patient", "slide", "stage") if form == "ours" else ("patient", "stage")
        ]
        for patient, nodes in NODES[side].items():
            for number, stage in enumerate(nodes):
                if form == "ours":
                    rows.append((patient, f"{patient}{number}", stage))
                else:
                    rows.append((f"patient_{patient}_node_{number}.tif", stage))
            if form == "challenge with patients":
                whole = {"a": "pN0", "b": "pN1mi" if side == "said" else "pN1", "c": "pN2"}
                rows.append((f"patient_{patient}.zip", whole[patient]))
        files.append(write_rows(folder / f"{side}.csv", rows))
    return files


def test_patients_without_a_truth_are_told_of(tmp_path: Path) -> None:
    files = []
    for side, names in (("said", "ab"), ("truth", "a")):
        rows = [
            ("patient", "slide", "stage"),
            *((name, f"{name}{i}", "itc") for name in names for i in range(5)),
        ]
        files.append(write_rows(tmp_path / f"{side}.csv", rows))
    with pytest.warns(UserWarning, match="Patients without a truth are left out, 1: b"):
        assert len(evaluate_stages(*files).patients) == 1


@pytest.mark.parametrize("form", ["ours", "challenge", "challenge with patients"])
def test_stages_of_patients_are_scored_by_hand(form: str, tmp_path: Path) -> None:
    done = run_command("stages", *stage_files(tmp_path, form), "--out", tmp_path / "out", "--resamples", 20)
    assert done.exit_code == 0, done.output
    scores = {row["score"]: row for row in rows_of(tmp_path / "out" / "scores.csv")}
    # pN0, pN1, pN2 against pN0, pN1mi, pN2: 1 of distance squared, of 51 / 9 * 3 by chance
    kappa = 1 - (1 / 3) / (51 / 9)
    truth, said = ["pN0", "pN1", "pN2"], ["pN0", "pN1mi", "pN2"]
    assert kappa == pytest.approx(cohen_kappa_score(truth, said, labels=STAGES, weights="quadratic"))
    assert float(scores["quadratic_kappa"]["value"]) == pytest.approx(kappa, abs=1e-5)
    assert float(scores["patient_accuracy"]["value"]) == pytest.approx(2 / 3, abs=1e-5)
    assert float(scores["slide_accuracy"]["value"]) == pytest.approx(0.9)
    patients = rows_of(tmp_path / "out" / "patients.csv")
    assert [row["truth"] for row in patients] == truth
    assert [row["predicted"] for row in patients] == said
    (confused,) = [row for row in rows_of(tmp_path / "out" / "confusion.csv") if row["pN1mi"] == "1"]
    assert next(iter(confused.values())) == "pN1"
    assert f"{kappa:.4f}" in done.output


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("patient", "slide", "stage"), ("a", "a0", "big")], "line 2: 'big' is no stage of a slide"),
        ([("patient", "stage"), ("patient_a.zip", "pN7")], "'pN7' is no stage of a patient"),
        ([("patient", "stage"), ("a.zip", "pN0"), ("a.zip", "pN1")], "the patient a comes twice"),
        ([("slide", "stage"), ("a0", "itc")], "no columns patient and stage"),
        ([("patient", "slide", "stage"), ("a", "a0", "itc")], "says nothing of the patient b"),
        ([("patient", "slide", "stage"), ("a", "a0")], "it has 2 of 3 columns"),
    ],
)
def test_stages_that_are_none_are_refused(rows: Any, said: str, tmp_path: Path) -> None:
    truth = write_rows(
        tmp_path / "t.csv", [("patient", "slide", "stage"), ("a", "a0", "itc"), ("b", "b0", "itc")]
    )
    refused = run_command("stages", write_rows(tmp_path / "p.csv", rows), truth, "--out", tmp_path / "out")
    assert refused.exit_code == 1
    assert said in refused.output.replace("\n", " ")


def test_boxes_of_which_half_lies_in_a_map_are_covered(tmp_path: Path) -> None:
    for name in ("maps", "boxes", "images"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "maps" / "one.npy", np.repeat([[3.0, 3.0, 1.0, 1.0]], 4, axis=0))
    Image.new("RGB", (40, 80)).save(tmp_path / "images" / "one.png")  # map pixels are of 10 x 20 px
    outlined = [box(10, 5, 30, 25), box(12, 5, 32, 25)]  # 0.5 and 0.4 of them lie left of 20
    write_geojson(
        tmp_path / "boxes" / "one.geojson",
        [*(Annotation(one, "a") for one in outlined), Annotation(Point(1, 1))],
    )
    arguments = (
        "boxes",
        tmp_path / "maps",
        tmp_path / "boxes",
        "--images",
        tmp_path / "images",
        "--resamples",
        5,
    )
    done = run_command(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "1 of 2" in done.output
    assert [row["share"] for row in rows_of(tmp_path / "out" / "boxes.csv")] == ["0.5", "0.4"]
    (score,) = rows_of(tmp_path / "out" / "scores.csv")
    assert (score["score"], score["value"], score["boxes"]) == ("box_coverage", "0.5", "2")
    assert "one" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for threshold, covered in ((0.5, "2 of 2"), (2, "1 of 2"), (3, "0 of 2")):  # of values of 1 and 3
        done = run_command(*arguments, "--out", tmp_path / "out", "--absolute", "--threshold", threshold)
        assert covered in done.output
    refused = run_command(*arguments, "--out", tmp_path / "none", "--class", "b")
    assert "no box of the class 'b'" in refused.output.replace("\n", " ")


def test_boxes_on_a_slide_are_covered_by_the_maps_of_its_run(run: Run, tmp_path: Path) -> None:
    squares = [box(300, 200, 700, 1200), box(900, 300, 1650, 700), box(850, 300, 1800, 700)]
    write_geojson(tmp_path / "boxes.geojson", [Annotation(one, "a") for one in squares])
    for more in ((), ("--map", "dark", "--absolute")):
        done = run_command(
            "boxes", run.path, tmp_path / "boxes.geojson", "--out", tmp_path / "out", "--resamples", 5, *more
        )
        assert done.exit_code == 0, done.output
        shares = [float(row["share"]) for row in rows_of(tmp_path / "out" / "boxes.csv")]
        assert shares == pytest.approx([1, 400 / 750, 450 / 950], abs=0.015)
        assert "2 of 3" in done.output
    refused = run_command(
        "boxes", run.path, tmp_path / "boxes.geojson", "--out", tmp_path / "o", "--map", "x"
    )
    assert "no map 'x'; there is dark, attention" in refused.output.replace("\n", " ")


def test_boxes_and_maps_must_be_of_the_same_images(tmp_path: Path) -> None:
    for name in ("maps", "boxes"):
        (tmp_path / name).mkdir()
    for name in ("one", "two"):
        np.save(tmp_path / "maps" / f"{name}.npy", np.eye(4))
    write_geojson(tmp_path / "boxes" / "one.geojson", [Annotation(box(0, 0, 2, 2))])
    arguments = ("boxes", tmp_path / "maps", tmp_path / "boxes", "--out", tmp_path / "out")
    assert "holds no boxes of two" in run_command(*arguments).output.replace("\n", " ")
    (tmp_path / "maps" / "two.npy").unlink()
    (tmp_path / "maps" / "one.npy").unlink()
    assert "holds no runs or maps" in run_command(*arguments).output.replace("\n", " ")


def test_masks_need_not_be_named(tmp_path: Path) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[3:9, 4:8] = 1
    Image.fromarray(labels).save(tmp_path / "a.png")
    for named in ((), ("masks",)):
        done = run_command(
            *named, tmp_path / "a.png", tmp_path / "a.png", "--out", tmp_path / "out", "--resamples", 2
        )
        assert done.exit_code == 0, done.output
    first = run_command("--resamples", 2, "--out", tmp_path / "out", tmp_path / "a.png", tmp_path / "a.png")
    assert first.exit_code == 0, first.output
    shown = run_command("--help").output
    assert all(word in shown for word in ("masks", "froc", "stages", "boxes"))
