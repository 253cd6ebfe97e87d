"""The gallery of the Attention panel: what is ranked, its pictures, going there, and saving it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Vectors
from PIL import Image

from attention_bench import Bench
from explain_fakes import marker_model
from fakes import ArraySlide
from napari_lumen.geometry import Region, Window, level0_to_world
from napari_lumen.inference import Run, predict
from napari_lumen.plugin.annotation_layers import annotations_on
from napari_lumen.plugin.controllers.attention_gallery import GalleryController
from napari_lumen.plugin.explainers import Asker
from plugin_fakes import StepJobs, write_run

ROWS, COLUMNS, TILE = 4, 5, 64
GREY = np.random.default_rng(3).permutation(ROWS * COLUMNS).reshape(ROWS, COLUMNS).astype(np.uint8) * 12
ORDER = np.argsort(GREY.ravel())  # the darkest first
MODEL = marker_model(8, whole=True, attention=("map8", "boxes"), size=TILE)


def slide() -> ArraySlide:
    return ArraySlide(np.kron(GREY[..., None], np.ones((TILE, TILE, 3), np.uint8)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    whole = Region(0, 0, ROWS * TILE, COLUMNS * TILE)
    return predict(slide(), MODEL, whole, tmp_path_factory.mktemp("tiles") / "run")


@pytest.fixture
def bench(run: Run) -> Bench:
    bench = Bench(slide(), MODEL)
    bench.show_run(run)
    bench.controller.choose_map("map8")
    return bench


@pytest.fixture
def gallery(bench: Bench) -> GalleryController:
    controller = GalleryController(bench.controller)
    controller.watch(True)
    return controller


def place(index: int) -> Region:
    row, column = divmod(int(index), COLUMNS)
    return Region(row * TILE, column * TILE, TILE, TILE)


def test_the_tiles_in_the_order_of_the_chosen_map_come_with_their_pictures(
    gallery: GalleryController,
) -> None:
    state = gallery.state
    assert [entry.region for entry in state.entries] == [place(index) for index in ORDER]
    for entry, picture, index in zip(state.entries, state.pictures, ORDER, strict=True):
        assert picture is not None
        grey = GREY.ravel()[index]
        assert entry.value == pytest.approx(1 - grey / 255, abs=2e-3)
        np.testing.assert_array_equal(picture[2:-2, 2:-2], grey)
        assert entry.color == ((255, 0, 0) if grey < 128 else (0, 0, 255))
    assert state.complete
    assert state.heading == "Map8: all 20 tiles, highest first"
    gallery.choose_order(True)
    assert gallery.state.entries[0].region == place(ORDER[-1])
    gallery.choose_order(False)
    gallery.choose_class("pale")
    assert {entry.class_name for entry in gallery.state.entries} == {"pale"}
    assert len(gallery.state.entries) == np.count_nonzero(GREY >= 128)


def test_another_map_ranks_anew_and_the_least_sure_tile_has_most_entropy(
    gallery: GalleryController, bench: Bench
) -> None:
    bench.controller.choose_map("entropy")
    first = gallery.state.entries[0].region
    assert first == place(int(np.abs(GREY.astype(float) - 127.5).argmin()))
    assert gallery.state.heading.startswith("Entropy: ")


def test_boxes_of_a_run_are_ranked_by_their_scores(gallery: GalleryController) -> None:
    assert [key for key, _ in gallery.state.kinds] == ["tiles", "boxes"]
    gallery.choose_count(25)
    gallery.choose_kind("boxes")
    assert [entry.value for entry in gallery.state.entries] == [7.5] * 20 + [2.25] * 5
    assert gallery.state.entries[0].region == Region(32, 48, 32, 16)
    assert gallery.state.heading == "Boxes: the 25 highest by score"


def test_going_to_a_tile_shows_all_of_it_in_the_middle_and_marks_it(
    gallery: GalleryController, bench: Bench
) -> None:
    gallery.go_to(3)
    region = place(ORDER[3])
    camera = bench.viewer.scene.camera
    middle = level0_to_world((region.y + TILE / 2, region.x + TILE / 2), (0.5, 0.5))
    assert camera.center[-2:] == pytest.approx(middle)
    seen = 400 / camera.zoom / 0.5  # level-0 px of a canvas of 400 px
    assert 1.2 * TILE < seen < 4 * TILE
    assert gallery.state.at == 3
    (mark,) = [layer for layer in bench.viewer.layers if isinstance(layer, Vectors)]
    corners = np.array([mark.data_to_world(vector[0]) for vector in mark.data])
    low, high = (
        level0_to_world((region.y, region.x), (0.5, 0.5)),
        level0_to_world((region.bottom, region.right), (0.5, 0.5)),
    )
    width = mark.edge_width * 0.5
    assert corners.min(axis=0) == pytest.approx(np.array(low) - width / 2)  # drawn around it, not over it
    assert corners.max(axis=0) == pytest.approx(np.array(high) + width / 2)
    assert annotations_on(bench.viewer, bench.layer) == []  # nobody learns from a mark
    gallery.go_to(4)
    assert len([layer for layer in bench.viewer.layers if isinstance(layer, Vectors)]) == 1
    gallery.watch(False)
    assert mark not in bench.viewer.layers


def test_nothing_is_read_for_a_gallery_that_nobody_sees(bench: Bench) -> None:
    controller = GalleryController(bench.controller)
    bench.controller.choose_map("entropy")
    assert controller.state.entries == ()
    controller.watch(True)
    assert len(controller.state.entries) == ROWS * COLUMNS


def test_what_was_asked_for_before_is_stopped_and_never_shown(bench: Bench) -> None:
    jobs = StepJobs(first_at_once=False)
    controller = GalleryController(bench.controller)
    bench.controller.jobs = jobs
    controller.watch(True)
    controller.choose_order(True)
    (_, _, first), (_, _, second) = jobs.held
    assert first.cancel.is_set()
    assert not second.cancel.is_set()
    jobs.let_run()
    assert controller.state.entries == ()
    assert controller.state.busy
    jobs.let_run()
    assert controller.state.entries[0].region == place(ORDER[-1])
    assert not controller.state.busy


def test_the_boxes_of_a_field_are_ranked_and_a_field_has_no_tiles() -> None:
    bench = Bench(slide(), MODEL)
    controller = GalleryController(bench.controller)
    controller.watch(True)
    assert "Run a model" in controller.state.message
    bench.controller.explain(Asker(model=Path("marker")), Region(0, 0, TILE, TILE), "Field")
    assert [entry.value for entry in controller.state.entries] == [7.5, 2.25]
    assert controller.state.entries[0].region == Region(32, 48, 32, 16)
    assert controller.state.complete


def test_a_map_without_values_is_one_sentence(tmp_path: Path) -> None:
    empty = ArraySlide(np.full((512, 512, 3), 200, np.uint8))
    bench = Bench(empty)
    bench.show_run(write_run(tmp_path / "run", empty, Window(0, 0, 8, 8)))  # its tiles were never finished
    controller = GalleryController(bench.controller)
    controller.watch(True)
    bench.controller.choose_map("probability.nucleus")
    assert controller.state.entries == ()
    assert controller.state.message == (
        "Probability of nucleus has no values here: nothing was computed, or nothing was kept."
    )
    controller.choose_class("gland")
    assert "Nothing here is of the class gland" in controller.state.message


def test_the_table_and_the_picture_hold_what_is_shown(
    gallery: GalleryController, tmp_path: Path, told: list[Any]
) -> None:
    gallery.save_table(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["y"]), float(row["x"])) for row in rows] == [(place(i).y, place(i).x) for i in ORDER]
    assert float(rows[1]["x_um"]) == place(ORDER[1]).x * 0.5
    gallery.save_picture(tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (pixels == (255, 0, 0)).all(axis=-1).sum() > 0  # frames in the colours of the classes
    assert (pixels == (0, 0, 255)).all(axis=-1).sum() > 0
    assert gallery.state.message == f"Saved: {tmp_path / 'sheet.png'}"
    gallery.save_table(tmp_path / "missing" / "table.csv")
    assert "cannot be written" in told[-1].message


def test_clicks_and_arrow_keys_go_from_picture_to_picture(bench: Bench, qtbot: Any) -> None:
    from qtpy.QtCore import Qt

    from napari_lumen.plugin.widgets.attention_gallery import GalleryTool

    tool = GalleryTool(bench.controller)
    tool.resize(340, 700)
    qtbot.addWidget(tool)
    tool.show()
    qtbot.waitUntil(lambda: tool.pictures.count() == ROWS * COLUMNS, timeout=5000)
    pictures = tool.pictures
    assert [pictures.item(i).text() for i in (0, 1)] == [
        f"{e.value:.3g}" for e in tool.controller.state.entries[:2]
    ]
    qtbot.mouseClick(
        pictures.viewport(), Qt.MouseButton.LeftButton, pos=pictures.visualItemRect(pictures.item(2)).center()
    )
    assert tool.controller.state.at == 2
    for _ in range(3):  # beyond the end of a row
        qtbot.keyClick(pictures, Qt.Key.Key_Right)
    assert tool.controller.state.at == 5
    qtbot.keyClick(pictures, Qt.Key.Key_Left)
    assert tool.controller.state.at == 4
    image = pictures.item(4).icon().pixmap(pictures.iconSize()).toImage()
    assert image.pixelColor(1, 1).getRgb()[:3] == tool.controller.state.entries[4].color
    middle = image.pixelColor(image.width() // 2, image.height() // 2).getRgb()[:3]
    assert middle == (GREY.ravel()[ORDER[4]],) * 3
    assert tool.save_table.isEnabled()
    tool.controller.close()
