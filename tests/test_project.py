"""Projects: what belongs to a slide, what was moved or replaced, two people on one slide, bad input."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from shapely import box
from typer.testing import CliRunner, Result

from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import read_annotations
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.cli import app
from napari_lumen.corrections import CorrectionStore
from napari_lumen.errors import AnnotationError, ProjectError, SlideError
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.project import Project, agreement
from napari_lumen.project import record as record_module
from plugin_fakes import write_run


def call(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "300", "TERM": "dumb"}).invoke(app, ["project", *map(str, arguments)])


def write_tiff(path: Path, value: int = 200, mpp: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((300, 300, 3), value, np.uint8)
    size = {} if mpp is None else {"resolution": (10_000 / mpp,) * 2, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", compression="deflate", **size)
    return path


def square(left: float, side: float = 40, of: str = "nucleus") -> Annotation:
    return Annotation(box(left, 100, left + side, 100 + side), of)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one slide, which lies beside its folder."""
    found = Project.create(tmp_path / "study", classes=ClassTable.named(["nucleus", "gland"]))
    found.add_slide(write_tiff(tmp_path / "slides" / "case.tif"), patient="p1")
    return found


def run_on(project: Project, folder: Path) -> Path:
    """Write a run over the slide that found a nucleus at rows and columns 100 to 140."""
    slide = ArraySlide(np.zeros((300, 300, 3), np.uint8))
    slide.__dict__["fingerprint"] = project.slides[0].fingerprint
    return write_run(folder, slide, Window(100, 100, 40, 40), step=1.0, levels=1).path


def test_all_that_belongs_to_a_slide_is_found_again_after_the_whole_is_moved(tmp_path: Path) -> None:
    study = tmp_path / "here" / "study"
    project = Project.create(study)
    project.add(write_tiff(tmp_path / "here" / "slides" / "case.tif"))
    run = run_on(project, study / "runs" / "one")
    write_geojson(tmp_path / "here" / "case.geojson", [square(100)])
    assert project.add(run) == "run of case"
    assert project.add(tmp_path / "here" / "case.geojson", author="ann") == "annotations of case"
    window = Grid((8, 8), (1.0, 1.0))
    CorrectionStore(run).commit(window, np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8), "me")
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = Project(tmp_path / "there" / "study")
    (standing,) = moved.standings()
    assert (standing.state, standing.authors, standing.runs, standing.corrected) == ("here", ("ann",), 1, 1)
    assert standing.problems == ()
    assert not Path(moved.slides[0].path).is_absolute()


def test_a_slide_that_was_moved_is_found_by_its_fingerprint_under_another_name(
    project: Project, tmp_path: Path
) -> None:
    archive = tmp_path / "archive" / "2026"
    archive.mkdir(parents=True)
    write_tiff(archive / "case.tif", value=90)  # of the same name, but another slide
    Path(project.place(project.slides[0].path)).rename(archive / "renamed.tif")
    assert project.standings()[0].state == "missing"
    assert "is not at" in project.problems()[0]
    assert project.find_moved() == {}
    assert project.find_moved([tmp_path / "archive"]) == {"case": archive / "renamed.tif"}
    assert Project(project.folder).problems() == []


def test_a_slide_replaced_by_another_of_the_same_name_is_told(project: Project, tmp_path: Path) -> None:
    write_tiff(tmp_path / "slides" / "case.tif", value=90)
    (standing,) = project.standings()
    assert standing.state == "replaced"
    (problem,) = project.problems()
    assert "another slide" in problem
    result = call("check", project.folder)
    assert result.exit_code == 1
    assert "another slide" in result.stdout
    assert len(project.slides) == 1


def test_two_people_on_one_slide_stay_apart(project: Project) -> None:
    project.save_annotations("case", [square(100)], "Ann")
    project.save_annotations("case", [square(120), square(200)], "Bob")
    project.save_annotations("case", [square(110)], "Ann")
    assert len(project.annotations("case", "Ann")) == 1
    assert project.annotations("case", "Ann")[0].geometry.bounds[0] == 110
    assert len(project.annotations("case", "Bob")) == 2
    assert [item.author for item in project.slide("case").annotations] == ["Bob", "Ann"]


def test_a_second_file_of_one_person_takes_no_place_unasked(project: Project, tmp_path: Path) -> None:
    first, second = tmp_path / "case.one.geojson", tmp_path / "case.two.geojson"
    write_geojson(first, [square(100)])
    write_geojson(second, [square(120)])
    project.add(first, author="Ann")
    project.add(first, author="Ann")  # the same again
    with pytest.raises(ProjectError, match=r"What Ann has drawn on case is in .*one\.geojson already"):
        project.add(second, author="Ann")
    assert project.annotations("case", "Ann")[0].geometry.equals(square(100).geometry)
    assert call("add", project.folder, second, "--author", "Ann", "--instead").exit_code == 0
    assert Project(project.folder).annotations("case", "Ann")[0].geometry.equals(square(120).geometry)


def test_people_whose_names_look_alike_in_files_do_not_overwrite_each_other(project: Project) -> None:
    project.save_annotations("case", [square(100)], "A B")
    project.save_annotations("case", [square(100), square(200)], "A/B")
    assert [len(project.annotations("case", author)) for author in ("A B", "A/B")] == [1, 2]


def test_two_people_are_compared_by_dice_and_kappa(project: Project) -> None:
    """Two squares of 40 px that share half: of 60 x 40 px 800 are both, 800 one and 800 the other's."""
    project.save_annotations("case", [square(100)], "Ann")
    project.save_annotations("case", [square(120)], "Bob")
    found = project.compare("case", "Ann", "Bob")
    assert found.region == Region(100, 100, 40, 60)
    assert found.confusion.tolist() == [[0, 800], [800, 800]]
    assert found.dice == {"nucleus": 0.5}
    observed, chance = 800 / 2400, (1600 * 1600 + 800 * 800) / 2400**2
    assert found.overall == pytest.approx((observed - chance) / (1 - chance))
    assert found.kappa["nucleus"] == pytest.approx(found.overall)
    result = call("compare", project.folder, "case", "Ann", "Bob")
    assert "0.500" in result.stdout
    with pytest.raises(ProjectError, match="Cleo has drawn nothing on case; Ann, Bob has"):
        project.compare("case", "Ann", "Cleo")


def test_classes_of_two_people_are_compared_each_against_all_else() -> None:
    first = [square(0), square(100, of="gland")]
    second = [square(0), square(100, of="nucleus")]
    found = agreement(first, second)
    assert found.dice["nucleus"] == pytest.approx(2 * 1600 / (1600 + 3200))
    assert found.dice["gland"] == 0
    assert found.kappa["gland"] == pytest.approx(0)
    same = agreement(first, first)
    assert (same.overall, set(same.dice.values())) == (1.0, {1.0})
    with pytest.raises(ProjectError, match="nothing to compare"):
        agreement([], [])


def test_where_two_people_differ_is_mapped_and_written(project: Project, tmp_path: Path) -> None:
    """The upper half of what Bob has outlined is a gland to Ann; each has more of their own at a side."""
    project.save_annotations("case", [square(100), Annotation(box(120, 100, 140, 120), "gland")], "Ann")
    project.save_annotations("case", [square(120)], "Bob")
    found = project.differences("case", "Ann", "Bob", mpp=(0.5, 0.5))
    assert found.agreement.confusion.sum() == 60 * 40
    assert [item.name for item in found.kinds] == ["only Ann", "only Bob", "different classes"]
    areas = {
        item.name: sum(x.geometry.area for x in found.outlines() if x.class_name == item.name)
        for item in found.kinds
    }
    assert areas == {"only Ann": 20 * 40, "only Bob": 20 * 40, "different classes": 20 * 20}
    ann, bob, other = (next(x for x in found.outlines() if x.class_name == k.name) for k in found.kinds)
    assert (ann.geometry.bounds, bob.geometry.bounds) == ((100, 100, 120, 140), (140, 100, 160, 140))
    assert other.geometry.bounds == (120, 100, 140, 120)
    assert found.map.area_um2(1) == 800 / 4
    assert {(x.truth, x.predicted) for x in found.places[0].mistakes} >= {("nucleus", "")}
    with pytest.raises(SlideError, match="pixel size"):
        project.differences("case", "Ann", "Bob")
    found.write(tmp_path / "where.geojson")
    found.write(tmp_path / "where.zarr")
    for name in ("where.geojson", "where.zarr"):
        read = read_annotations(tmp_path / name)
        assert sorted((x.class_name or "", x.geometry.area) for x in read) == sorted(areas.items())
    project.save_annotations("case", [square(120)], "Cleo")
    with pytest.raises(ProjectError, match="differ nowhere"):
        project.differences("case", "Bob", "Cleo", mpp=(0.5, 0.5)).write(tmp_path / "none.geojson")
    with pytest.raises(ProjectError, match="name two people"):
        project.compare("case", "Bob", "Bob")


def test_the_command_line_writes_where_two_people_differ(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "study")
    project.add_slide(write_tiff(tmp_path / "case.tif", mpp=0.5))
    project.save_annotations("case", [square(100)], "Ann")
    project.save_annotations("case", [square(120)], "Bob")
    out = tmp_path / "where.geojson"
    result = call("compare", project.folder, "case", "Ann", "Bob", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "only Ann 200 µm², only Bob 200 µm²" in result.stdout
    assert len(read_annotations(out)) == 2


def test_a_run_is_scored_against_a_person_and_the_score_is_kept(project: Project, tmp_path: Path) -> None:
    project.add_run(run_on(project, tmp_path / "run"))
    project.save_annotations("case", [square(120), square(200, of="Stroma")], "Ann")
    result = call("score", project.folder, "--author", "Ann")
    assert result.exit_code == 0, result.stderr
    project.reread()
    (score,) = project.slide("case").scores
    assert score.dice == {"nucleus": 0.5, "gland": None}
    call("score", project.folder, "--author", "Ann")
    assert len(Project(project.folder).slide("case").scores) == 1
    assert "nucleus 0.500" in call("list", project.folder).stdout


def test_the_commands_build_a_project(tmp_path: Path) -> None:
    slide, folder = write_tiff(tmp_path / "case.tif"), tmp_path / "study"
    assert call("create", folder, "--name", "Study").exit_code == 0
    named = call("create", tmp_path / "named", "--classes", "nuclei-focusnetpp-light")
    assert named.exit_code == 0
    assert "nucleus" in call("classes", tmp_path / "named").stdout
    again = call("create", folder)
    assert (again.exit_code, "is a project already" in again.stderr) == (1, True)
    assert "no slides" in call("list", folder).stdout
    assert "Added slide case" in call("add", folder, slide, "--patient", "p1").stdout
    twice = call("add", folder, slide)
    assert "already, as case" in twice.stderr
    assert "p1" in call("list", folder).stdout
    assert json.loads(call("list", folder, "--json").stdout)["name"] == "Study"
    assert "All is there: 1 slide" in call("check", folder).stdout


def test_a_project_of_a_newer_version_is_one_sentence_and_stays_as_it_is(project: Project) -> None:
    file = project.folder / "project.json"
    newer = json.dumps({**json.loads(file.read_text()), "version": 2, "more": 1})
    file.write_text(newer)
    with pytest.raises(ProjectError, match=r"newer version of napari-lumen \(format 2, this one reads 1\)"):
        Project(project.folder)
    with pytest.raises(ProjectError, match="newer version"):
        project.set_classes(ClassTable.named(["other"]))
    assert file.read_text() == newer


def test_a_half_written_record_is_told_and_the_one_before_is_there(project: Project) -> None:
    file = project.folder / "project.json"
    project.set_classes(ClassTable.named(["other"]))
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    with pytest.raises(ProjectError, match=r"is damaged.*\.project\.json\.before") as raised:
        Project(project.folder)
    assert "Nothing was changed" in str(raised.value)
    shutil.copy(project.folder / ".project.json.before", file)
    assert [item.name for item in Project(project.folder).classes] == ["nucleus", "gland"]


def test_a_folder_that_cannot_be_written_changes_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (project.folder / "project.json").read_text()

    def refuse(path: Path, text: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(record_module, "write_text", refuse)
    with pytest.raises(ProjectError, match=r"Read-only file system.*nothing there has changed"):
        project.set_classes(ClassTable.named(["other"]))
    assert (project.folder / "project.json").read_text() == before
    assert len(project.classes) == 2


def test_two_processes_that_change_a_project_lose_nothing(project: Project, tmp_path: Path) -> None:
    other = Project(project.folder)
    project.add_slide(write_tiff(tmp_path / "slides" / "second.tif", 10))
    other.add_slide(write_tiff(tmp_path / "slides" / "third.tif", 20))
    assert [item.name for item in other.slides] == ["case", "second", "third"]


@pytest.mark.parametrize("what", ["annotations", "run"])
def test_what_belongs_to_no_slide_is_refused(project: Project, tmp_path: Path, what: str) -> None:
    if what == "annotations":
        place: Any = tmp_path / "other.geojson"
        write_geojson(place, [square(100)])
    else:
        slide = ArraySlide(np.zeros((300, 300, 3), np.uint8))
        place = write_run(tmp_path / "run", slide, Window(0, 0, 8, 8), levels=1).path
    with pytest.raises(ProjectError, match="slide"):
        project.add(place)
    assert Project(project.folder).record == project.record


def test_missing_files_are_named_and_the_rest_stands(project: Project) -> None:
    project.save_annotations("case", [square(100)], "Ann")
    project.save_annotations("case", [square(100)], "Bob")
    (project.folder / "annotations" / "case" / "Ann.geojson").unlink()
    (standing,) = project.standings()
    assert standing.authors == ("Bob",)
    assert "annotations of Ann" in standing.problems[0]
    with pytest.raises(AnnotationError, match=r"Ann\.geojson"):
        project.annotations("case", "Ann")


def test_the_command_line_shows_and_changes_the_classes(project: Project, tmp_path: Path) -> None:
    assert "gland" in call("classes", project.folder).stdout
    (tmp_path / "classes.csv").write_text("name\nmitosis\n")
    result = call("classes", project.folder, "--from", tmp_path / "classes.csv")
    assert result.exit_code == 0, result.stderr
    assert "mitosis" in result.stdout
    assert [item.name for item in Project(project.folder).classes] == ["mitosis"]
