"""Cohorts: what is done is skipped, one bad slide stops no other, and the table is whole at any moment."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import tifffile

from fakes import Darkness, model_of
from napari_lumen import RunError, SlideError
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Region
from napari_lumen.holding import held
from napari_lumen.inference import Run, cohort, predict
from napari_lumen.inference.cohort import CohortProgress, predict_cohort
from napari_lumen.inference.cohort_table import CSV_FILE, JSON_FILE
from napari_lumen.slides.finding import find_slides, names_one_slide

MODEL = model_of(Darkness(), size=128, overlap=32)


def write_slide(path: Path, squares: int = 1, mpp: float | None = 0.5) -> Path:
    """Write a slide of dark squares on glass."""
    image = np.full((400, 900, 3), 255, np.uint8)
    for index in range(squares):
        image[100:250, 80 + 250 * index : 230 + 250 * index] = (60, 20, 90)
    where = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", compression="deflate", **where)
    return path


def bad_slide(path: Path) -> Path:
    path.write_bytes(b"II*\0nothing")
    return path


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / CSV_FILE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_slide_has_a_run_and_a_row_and_a_bad_one_stops_no_other(tmp_path: Path) -> None:
    slides = [
        write_slide(tmp_path / "a.tif"),
        bad_slide(tmp_path / "b.tif"),
        write_slide(tmp_path / "c.tif", 2),
    ]
    told: list[CohortProgress] = []
    found = predict_cohort(slides, MODEL, tmp_path / "out", on_progress=told.append)
    assert [row.status for row in found.rows] == ["finished", "failed", "finished"]
    assert found.failed == (found.rows[1],)
    assert found.rows[1].error is not None
    assert found.rows[1].error.startswith("b.tif ")
    assert [row.objects for row in found.rows] == [{"dark": 1}, {}, {"dark": 2}]
    for slide, row in ((slides[0], found.rows[0]), (slides[2], found.rows[2])):
        assert row.run is not None
        assert row.run.startswith(f"{slide.stem}-")
        alone = predict(slide, MODEL, None, tmp_path / slide.stem).record
        assert row.area_mm2["dark"] == alone.counts[0].area_mm2
        assert row.tiles == alone.tiles
        assert Run.open(found.path / row.run).record.counts == alone.counts
    rows = table(found.path)
    assert [(Path(row["slide"]).name, row["status"]) for row in rows] == [
        ("a.tif", "finished"),
        ("b.tif", "failed"),
        ("c.tif", "finished"),
    ]
    assert [row["dark objects"] for row in rows] == ["1", "", "2"]
    assert float(rows[0]["dark mm2"]) == pytest.approx(150 * 150 * 0.25 / 1e6, rel=0.1)
    assert rows[1]["error"] == found.rows[1].error
    assert [row["run"] for row in json.loads((found.path / JSON_FILE).read_text())] == [
        row["run"] or None for row in rows
    ]
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert (told[-1].done, told[-1].total) == (3, 3)
    assert {step.step.stage for step in told if step.step} >= {"finding tissue", "running the model"}


def test_what_is_done_is_skipped_and_what_was_mended_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = [write_slide(tmp_path / "a.tif"), bad_slide(tmp_path / "b.tif")]
    first = predict_cohort(slides, MODEL, tmp_path / "out")
    write_slide(tmp_path / "b.tif", 3)
    ran = []

    def noted(slide: object, *arguments: object, **options: object) -> Run:
        ran.append(str(slide))
        return predict(slide, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cohort, "predict", noted)
    second = predict_cohort(slides, MODEL, tmp_path / "out")
    assert len(ran) == 1
    assert "b.tif" in ran[0]
    assert second.rows[0] == first.rows[0]
    assert second.rows[1].objects == {"dark": 3}
    assert [row["status"] for row in table(tmp_path / "out")] == ["finished", "finished"]


def test_a_run_of_which_files_are_gone_is_not_what_is_done(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif")
    first = predict_cohort([slide], MODEL, tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*/labels/classes/0/c/0/0")
    content = file.read_bytes()
    for damage in (file.unlink, lambda: file.write_bytes(content[:-5])):
        damage()
        again = predict_cohort([slide], MODEL, tmp_path / "out")
        assert again.rows[0].objects == first.rows[0].objects
        assert file.read_bytes() == content


def test_runs_of_other_models_and_regions_lie_side_by_side(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif", 2)
    other = model_of(Darkness(), size=128, overlap=16)
    other = type(other)(other.network, other.card.model_copy(update={"name": "other"}), other.path)
    region = Region(0, 0, 400, 300)
    calls = [(MODEL, None), (MODEL, region), (other, None), (MODEL, None)]
    runs = [predict_cohort([slide], model, tmp_path / "out", where).rows[0].run for model, where in calls]
    assert len(set(runs)) == 3
    assert runs[3] == runs[0]
    assert sorted(row["run"] for row in table(tmp_path / "out")) == sorted(set(map(str, runs)))


def test_a_slide_that_is_named_twice_is_run_once(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif")
    link = tmp_path / "link.tif"
    link.symlink_to(slide)
    copy = tmp_path / "elsewhere" / "a.tif"
    copy.parent.mkdir()
    shutil.copyfile(slide, copy)
    other = write_slide(tmp_path / "other" / "a.tif", 3)
    found = predict_cohort([slide, slide, link, copy, other], MODEL, tmp_path / "out")
    assert [Path(row.slide) for row in found.rows] == [slide, copy, other]
    first, second, third = (row.run for row in found.rows)
    assert first == second != third
    assert [row.objects["dark"] for row in found.rows] == [1, 1, 3]


def test_a_cancelled_cohort_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.tif", count) for name, count in (("a", 1), ("b", 2), ("c", 3))]
    cancel = Event()

    def stop(progress: CohortProgress) -> None:
        step = progress.step
        if progress.slide == "b.tif" and step is not None and step.stage == "running the model" and step.done:
            cancel.set()

    with pytest.raises(Cancelled, match=r"1 of 3 slides are finished in .*out; the same call goes on"):
        predict_cohort(slides, MODEL, tmp_path / "out", on_progress=stop, cancel=cancel)
    assert [row["status"] for row in table(tmp_path / "out")] == ["finished", "unfinished", "unfinished"]
    found = predict_cohort(slides, MODEL, tmp_path / "out")
    assert [row.objects["dark"] for row in found.rows] == [1, 2, 3]
    assert [row["status"] for row in table(tmp_path / "out")] == ["finished"] * 3


def test_a_cohort_stopped_again_still_lists_what_was_finished_before_once(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.tif", number) for number, name in enumerate("ab", 1)]
    predict_cohort(slides, MODEL, tmp_path / "out")
    cancel = Event()
    cancel.set()
    with pytest.raises(Cancelled, match="2 of 2 slides are finished"):
        predict_cohort(slides, MODEL, tmp_path / "out", cancel=cancel)
    assert [row["status"] for row in table(tmp_path / "out")] == ["finished", "finished"]


def test_an_error_that_nobody_foresaw_stops_no_other_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = [write_slide(tmp_path / "a.tif"), write_slide(tmp_path / "b.tif", 2)]

    def breaking(slide: object, *arguments: object, **options: object) -> Run:
        if "a.tif" in str(slide):
            raise ZeroDivisionError("division by zero")
        return predict(slide, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cohort, "predict", breaking)
    found = predict_cohort(slides, MODEL, tmp_path / "out")
    assert [row.error for row in found.rows] == ["ZeroDivisionError: division by zero.", None]


def test_a_slide_without_pixel_size_fails_unless_one_is_given(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / "silent.tif", mpp=None)]
    (row,) = predict_cohort(slides, MODEL, tmp_path / "out").rows
    assert "pixel size" in str(row.error)
    (row,) = predict_cohort(slides, MODEL, tmp_path / "out", mpp=0.5).rows
    assert row.status == "finished"


def test_a_folder_that_is_no_cohorts_is_left_alone(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif")
    predict(slide, MODEL, None, tmp_path / "run")
    with pytest.raises(RunError, match="is the folder of one run"):
        predict_cohort([slide], MODEL, tmp_path / "run")
    with pytest.raises(RunError, match="is a file"):
        predict_cohort([slide], MODEL, slide)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / CSV_FILE).write_text("patients")
    with pytest.raises(RunError, match=r"cohort\.csv would be overwritten"):
        predict_cohort([slide], MODEL, mine)
    assert [entry.name for entry in mine.iterdir()] == [CSV_FILE]
    (tmp_path / "busy").mkdir()
    with held(tmp_path / "busy"), pytest.raises(RunError, match=r"busy is in use"):
        predict_cohort([slide], MODEL, tmp_path / "busy")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / JSON_FILE).write_text("[{}]")
    with pytest.raises(RunError, match=r"cohort\.json is damaged"):
        predict_cohort([slide], MODEL, broken)


def test_folders_and_patterns_name_the_slides_in_them(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / "slides" / name) for name in ("b.tif", "a.svs")]
    deep = write_slide(tmp_path / "slides" / "deep" / "c.tif")
    (tmp_path / "slides" / "notes.txt").write_text("mine")
    (tmp_path / "slides" / ".hidden.tif").write_bytes(b"")
    dicom = tmp_path / "slides" / "dicom"
    dicom.mkdir()
    (dicom / "1.dcm").write_bytes(b"")
    zarr = tmp_path / "slides" / "image.zarr"
    zarr.mkdir()
    run = tmp_path / "slides" / "run"
    run.mkdir()
    for name in ("zarr.json", "plan.json"):
        (run / name).write_text("{}")
    assert find_slides([tmp_path / "slides"]) == [slides[1], slides[0], dicom, zarr]
    assert find_slides([tmp_path / "slides" / "*.tif"]) == [slides[0]]
    assert find_slides([str(tmp_path / "slides" / "**" / "*.tif")]) == [slides[0], deep]
    assert find_slides([dicom, "https://example.org/a.zarr"]) == [dicom, "https://example.org/a.zarr"]
    for one in (slides[0], dicom, zarr, "https://example.org/a.zarr", tmp_path / "missing.svs"):
        assert names_one_slide(one)
    for many in (tmp_path / "slides", tmp_path / "slides" / "*.tif"):
        assert not names_one_slide(many)
    (run / "zarr.json").unlink()
    with pytest.raises(SlideError, match=r"no slide in the folder .*run"):
        find_slides([run])
    with pytest.raises(SlideError, match="nothing matches it"):
        find_slides([tmp_path / "*.ndpi"])


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a[1].tif")
    assert find_slides([slide]) == [slide]
    assert names_one_slide(slide)
