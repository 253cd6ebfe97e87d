"""Evaluating a set of images: which scores come out, their intervals, and the page to read them on."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import LumenError
from napari_lumen.evaluation import (
    ImagePair,
    ObjectPair,
    Score,
    bootstrap,
    dice,
    evaluate,
    mean_iou,
    write_report,
)
from napari_lumen.evaluation.errors import ERRORS
from napari_lumen.evaluation.thumbnails import IGNORED, RIGHT, thumbnails

CLASSES = ClassTable.of([(1, "nucleus", (255, 200, 0)), (2, "<gland>", (0, 100, 200))])
IGNORE = 255


def pairs(count: int = 8, objects: bool = False, probability: bool = False) -> Iterator[ImagePair]:
    """Images in which ever more of a nucleus is missed; in the last is nothing on either side."""
    for index in range(count):
        truth = np.zeros((32, 32), np.uint8)
        if index < count - 1:
            truth[2:18, 2:18], truth[22:30, 4:28], truth[0] = 1, 2, IGNORE
        predicted = np.where(truth == IGNORE, 1 if index < count - 1 else 0, truth)
        predicted[2 : 2 + index, 2:18] = 0
        numbers = predicted.astype(int), np.where(truth == IGNORE, 0, truth)
        yield ImagePair(
            name=f"patient{index // 2} image{index}",
            predicted=predicted,
            truth=truth,
            objects=ObjectPair(predicted, truth, *numbers) if objects else None,
            probability={"nucleus": np.where(predicted == 1, 0.9, 0.2)} if probability else {},
            group=f"patient{index // 2}",
        )


def score(scores: list[Score], name: str, class_name: str, over: str) -> Score:
    return next(s for s in scores if (s.name, s.class_name, s.over) == (name, class_name, over))


def test_pooled_and_mean_scores_are_those_of_the_masks() -> None:
    found = evaluate(pairs(), CLASSES, ignore=IGNORE, resamples=50)
    masks = [((p.predicted == 1)[1:], (p.truth == 1)[1:]) for p in pairs()]
    pooled = score(found.scores, "dice", "nucleus", "pooled")
    assert pooled.value == pytest.approx(dice(*(np.stack(side) for side in zip(*masks, strict=True))))
    mean = score(found.scores, "dice", "nucleus", "mean of images")
    assert mean.value == pytest.approx(np.mean([dice(*mask) for mask in masks[:-1]]))
    assert mean.images == 7  # the last image has no nucleus: it says nothing
    smoothed = score(found.scores, "dice_smoothed", "nucleus", "mean of images")
    assert smoothed.images == 8
    assert score(found.scores, "mean_iou", "all classes", "pooled").value == mean_iou(found.confusion)
    both = score(found.scores, "dice", "all but background", "pooled")
    assert both.value == pytest.approx((pooled.value + 1) / 2)


def test_intervals_hold_the_score_and_are_those_of_resampled_patients() -> None:
    found = evaluate(pairs(), CLASSES, ignore=IGNORE, resamples=300, seed=5)
    value = score(found.scores, "iou", "nucleus", "mean of images")
    assert value.low < value.value < value.high
    single = np.nan_to_num(found.by_image["iou", "nucleus"])
    defined = ~np.isnan(found.by_image["iou", "nucleus"])
    low, high = bootstrap(
        lambda weights: (weights @ single) / (weights @ defined),
        [pair.group for pair in pairs()],
        resamples=300,
        seed=5,
    )
    assert (value.low, value.high) == pytest.approx((low, high))
    assert found.groups == 4


def test_a_single_patient_gives_no_interval() -> None:
    found = evaluate(pairs(2), CLASSES, ignore=IGNORE, resamples=20)
    assert all(np.isnan([s.low, s.high]).all() for s in found.scores)


def test_objects_and_probabilities_bring_their_scores() -> None:
    found = evaluate(pairs(objects=True, probability=True), CLASSES, ignore=IGNORE, resamples=20)
    quality = score(found.scores, "panoptic_quality", "nucleus", "pooled")
    kept = [(16 - index) / 16 for index in range(7)]
    assert quality.value == pytest.approx(sum(kept) / 7)
    assert score(found.scores, "recognition_quality", "nucleus", "pooled").value == 1.0
    assert score(found.scores, "dsb_precision", "all but background", "mean of images").images == 7
    assert found.roc["nucleus"].area == pytest.approx(
        score(found.scores, "roc_auc", "nucleus", "pooled").value
    )
    assert found.worst[0].score == pytest.approx((kept[-1] + 1) / 2)


def test_the_bach_score_is_given_when_asked_for_and_the_classes_are_its_own() -> None:
    classes = ClassTable.of([(v, n, (9, 9, 9)) for v, n in enumerate(("benign", "in situ", "invasive"), 1)])
    truth = np.array([[0, 1, 2, 3]])
    found = evaluate([ImagePair("a", truth[:, ::-1], truth)], classes, bach=True, resamples=5)
    assert score(found.scores, "bach_score", "all classes", "pooled").value == pytest.approx(1 - 8 / 10)
    with pytest.raises(ValueError, match="BACH"):
        evaluate(pairs(), CLASSES, ignore=IGNORE, bach=True)


def test_all_ignored_leaves_every_score_open() -> None:
    truth = np.full((4, 4), IGNORE)
    found = evaluate([ImagePair("a", truth * 0 + 1, truth)], CLASSES, ignore=IGNORE, resamples=5)
    assert all(np.isnan(s.value) for s in found.scores if not s.name.endswith("_smoothed"))
    assert found.worst == []


def test_the_worst_images_are_the_worst_in_order() -> None:
    found = evaluate(pairs(), CLASSES, ignore=IGNORE, worst=3, resamples=5)
    assert [image.name.split()[1] for image in found.worst] == ["image6", "image5", "image4"]


def test_an_image_that_does_not_fit_is_named() -> None:
    truth = np.zeros((4, 4), int)
    with pytest.raises(ValueError, match=r"second: .*holds the value 3"):
        evaluate([ImagePair("first", truth, truth), ImagePair("second", truth + 3, truth)], CLASSES)
    with pytest.raises(ValueError, match=r"first: .*differ in shape"):
        evaluate([ImagePair("first", truth, truth[:2])], CLASSES)
    with pytest.raises(ValueError, match="second has other probabilities or objects than first"):
        evaluate(
            [
                ImagePair("first", truth, truth),
                ImagePair("second", truth, truth, ObjectPair(truth, truth, truth, truth)),
            ],
            CLASSES,
        )
    with pytest.raises(ValueError, match="no image"):
        evaluate([], CLASSES)


def test_the_picture_of_errors_tells_them_apart() -> None:
    truth, predicted = np.array([[0, 1, 1, 0, 2, 255]]), np.array([[0, 1, 0, 1, 1, 1]])
    tissue = np.full((1, 6, 3), 77, np.uint8)
    pair = ImagePair("a", predicted, truth, pixels=lambda: tissue)
    pictures = thumbnails(pair, CLASSES, ignore=255)
    missed, false, confused = (item.color for item in ERRORS)
    expected = [RIGHT, RIGHT, missed, false, confused, IGNORED]
    np.testing.assert_array_equal(pictures["errors"][0], expected)
    np.testing.assert_array_equal(pictures["tissue"], tissue)
    assert list(pictures) == ["tissue", "truth", "prediction", "errors"]


def test_pictures_are_small_however_large_the_image() -> None:
    truth = np.ones((1000, 600), np.uint8)
    shapes = {picture.shape for picture in thumbnails(ImagePair("a", truth, truth), CLASSES).values()}
    assert shapes == {(167, 100, 3)}


class Page(HTMLParser):
    """Collects what a page refers to and holds, and that its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = evaluate(pairs(objects=True, probability=True), CLASSES, ignore=IGNORE, resamples=50)
    return write_report(
        tmp_path_factory.mktemp("out") / "report", found, "A & B", [("model", "<script>")]
    ).parent


def test_the_page_is_whole_and_needs_no_other_file(report: Path) -> None:
    page = Page((report / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "script" not in page.tags
    assert "gland" not in page.tags
    for given in ("A & B", "<script>", "<gland>"):
        assert given in page.text
    for heading in ("Scores: pooled", "Scores: mean of images", "Confusion", "Curves", "Worst images"):
        assert heading in page.text


def test_the_curves_on_the_page_are_drawings_of_the_curves(report: Path) -> None:
    html = (report / "report.html").read_text(encoding="utf-8")
    drawings = [ET.fromstring(part.split("</svg>")[0] + "</svg>") for part in _after(html, "<svg")]
    assert len(drawings) == 2
    for drawing in drawings:
        (line,) = drawing.iter("polyline")
        points = np.array([point.split(",") for point in line.get("points", "").split()], float)
        assert len(points) >= 3
        assert (np.diff(points[:, 0]) >= 0).all()


def _after(text: str, mark: str) -> list[str]:
    return [mark + part for part in text.split(mark)[1:]]


def test_pictures_on_the_page_are_png(report: Path) -> None:
    page = Page((report / "report.html").read_text(encoding="utf-8"))
    first = Image.open(io.BytesIO(base64.b64decode(page.links[0].partition(",")[2])))
    assert (first.format, first.size) == ("PNG", (32, 32))


def test_the_tables_hold_every_score_and_leave_open_what_is_not_defined(report: Path) -> None:
    with (report / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    quality = next(r for r in rows if r["score"] == "panoptic_quality" and r["class"] == "nucleus")
    assert 0 < float(quality["low_95"]) < float(quality["value"]) < float(quality["high_95"]) <= 1
    perfect = next(r for r in rows if r["score"] == "dice" and r["class"] == "<gland>")
    assert (perfect["value"], perfect["low_95"]) == ("1", "")
    with (report / "images.csv").open(newline="", encoding="utf-8") as file:
        images = list(csv.DictReader(file))
    assert len(images) == 8
    assert images[-1]["dice (nucleus)"] == ""
    with (report / "confusion.csv").open(newline="", encoding="utf-8") as file:
        matrix = list(csv.reader(file))
    assert matrix[0][1:] == ["background", "nucleus", "<gland>"]
    assert sum(int(cell) for row in matrix[1:] for cell in row[1:]) == 8 * 32 * 32 - 7 * 32


def test_a_report_replaces_an_earlier_one_and_leaves_nothing_beside(report: Path) -> None:
    write_report(report, evaluate(pairs(3), CLASSES, ignore=IGNORE, resamples=5), "Again")
    assert sorted(path.name for path in report.iterdir()) == [
        "confusion.csv",
        "images.csv",
        "report.html",
        "scores.csv",
    ]
    assert "Again" in (report / "report.html").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LumenError, match="Cannot write the report into"):
        write_report(tmp_path / "file", evaluate(pairs(3), CLASSES, ignore=IGNORE, resamples=5), "A")
