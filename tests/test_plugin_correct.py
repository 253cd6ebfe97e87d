"""The rules of the Correct panel: windows, brush, commits and what is not committed, without a screen."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels, Layer

from fakes import ArraySlide
from napari_lumen.corrections import CorrectionStore, abandoned_drafts
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Grid, Region, Window, level0_to_world
from napari_lumen.inference.run import Run
from napari_lumen.plugin.controllers import correct, correct_state
from napari_lumen.plugin.controllers.correct import CorrectController
from napari_lumen.plugin.controllers.correct_state import next_field, window_grid
from napari_lumen.plugin.jobs import Callbacks, Job
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import slide_layer
from plugin_fakes import write_run

NUCLEUS, GLAND = 1, 2


class AtOnce:
    """Does work where it is started."""

    def start(self, work: Callable[..., Any], callbacks: Callbacks[Any]) -> Job:
        job = Job()
        try:
            value = work(callbacks.progress, job.cancel)
        except Cancelled:
            callbacks.cancelled()
        except Exception as error:
            callbacks.failed(error)
        else:
            callbacks.done(value)
        return job

    def close(self) -> None:
        pass


class Bench:
    """A viewer with a slide of 1024 px, a run that found one nucleus, and the controller."""

    def __init__(
        self, folder: Path, *, with_run: bool = True, side: int = 1024, mpp: Any = (0.5, 0.5)
    ) -> None:
        self.folder = folder
        self.viewer = ViewerModel()
        self.slide = ArraySlide(np.full((side, side, 3), 200, np.uint8), mpp=mpp)
        self.slide.location = self.slide.path = folder / "case.tif"
        self.layer = self.viewer.add_layer(Layer.create(*slide_layer(self.slide)))
        self.run: Run | None = None
        self.controller = self.start()
        if with_run:
            self.run = write_run(folder / "run", self.slide, Window(64, 64, 16, 16), step=2.0)
            add_result(self.viewer, self.layer, run_layers(self.run, "case"))
        self.look_at(Region(100, 100, 200, 200))

    def start(self) -> CorrectController:
        self.controller = CorrectController(self.viewer, AtOnce(), self.folder / "drafts")
        return self.controller

    def look_at(self, region: Region) -> None:
        """Fill the canvas, and a margin, with a region."""
        middle = region.y + region.height / 2, region.x + region.width / 2
        mpp = self.slide.mpp or (1.0, 1.0)
        self.viewer.scene.camera.center = (0.0, *level0_to_world(middle, mpp))
        self.viewer.canvas.size = (800, 800)
        self.viewer.scene.camera.zoom = 800 * 0.94 / (region.height * mpp[0])

    @property
    def edit(self) -> Labels:
        return next(x for x in self.viewer.layers if x.metadata.get("napari_lumen", {}).get("kind") == "edit")

    def shown(self, level: int = 0) -> Any:
        return np.asarray(self.viewer.layers[-1].data[level])

    def press(self, key: str) -> None:
        layer = self.viewer.layers.selection.active
        assert layer is not None
        for of in (layer, self.viewer):
            found = {str(binding): call for binding, call in of.keymap.items()}
            if key in found:
                found[key](of)
                return
        raise KeyError(key)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_window_is_filled_with_the_answer_and_lies_where_it_belongs(bench: Bench) -> None:
    bench.controller.open()
    layer = bench.edit
    assert isinstance(layer.data, np.ndarray)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert bench.viewer.layers.selection.active is layer
    assert (int((layer.data == NUCLEUS).sum()), str(layer.mode)) == (256, "paint")
    assert layer.bounding_box.visible
    first = np.argwhere(layer.data == NUCLEUS)[0]
    # pixel 64 of the run's grid of 2 level-0 px begins at level-0 px 128, and its middle lies at 129
    assert layer.data_to_world(first) == pytest.approx(level0_to_world((129, 129), (0.5, 0.5)))
    results = bench.viewer.layers[-2]
    assert not np.asarray(results.data[0])[64:80, 64:80].any()  # what is erased must not show through


@pytest.mark.parametrize("lost", ["", "run.json", "labels"])
@pytest.mark.parametrize("key", ["W", "N"])
def test_a_run_that_was_deleted_meanwhile_is_said_and_not_shown_as_background(
    bench: Bench, told: list[Any], lost: str, key: str
) -> None:
    assert bench.run is not None
    (bench.run.path / lost).rename(bench.folder / "elsewhere")
    bench.press(key)
    assert not bench.controller.state.open
    (note,) = told
    assert note.message == bench.controller.state.message
    assert str(bench.run.path) in note.message
    assert "Put its folder back" in note.message
    (bench.folder / "elsewhere").rename(bench.run.path / lost)
    bench.press(key)
    assert bench.controller.state.open


def test_an_accepted_window_shows_at_every_zoom_and_the_runs_own_labels_stay(bench: Bench) -> None:
    assert bench.run is not None
    before = np.asarray(bench.run.levels(bench.run.labels)[0])
    bench.controller.open()
    layer = bench.edit
    layer.selected_label = GLAND
    layer.brush_size = 8
    layer.paint((20.0, 60.0), GLAND)
    layer.paint((21.0, 61.0), GLAND)
    layer.undo()
    painted = layer.data.copy()
    assert (painted == GLAND).any()
    bench.controller.name_author("Ada")
    bench.controller.accept()
    assert not bench.controller.state.open
    assert bench.viewer.layers[-1].name == "case · nucleus, gland"
    assert bench.viewer.layers.selection.active is bench.viewer.layers[-1]
    (window,) = CorrectionStore(bench.run.path).windows
    assert window.author == "Ada"
    store = CorrectionStore(bench.run.path)
    y, x = (round(edge / 2) for edge in (window.y, window.x))
    assert window.shape is not None
    expected = before.copy()
    expected[y : y + window.shape[0], x : x + window.shape[1]] = painted
    assert np.array_equal(bench.shown(0), expected)
    assert (bench.shown(1) == GLAND).sum() == pytest.approx((expected == GLAND).sum() / 4, abs=6)
    assert np.array_equal(np.asarray(bench.run.levels(bench.run.labels)[0]), before)
    nucleus, gland = bench.controller.state.counts
    assert (nucleus.objects, gland.objects) == (1234, 1)
    assert bench.viewer.layers[-1].metadata["napari_lumen"]["counts"] == (nucleus, gland)
    assert gland.area_mm2 == pytest.approx((painted == GLAND).sum() * 1e-6)
    again = run_layers(bench.run, "case").layers[-1][0]
    assert np.array_equal(np.asarray(again[0]), expected)
    bench.controller.revert(store.windows[0].name)
    assert np.array_equal(bench.shown(0), before)
    assert bench.controller.state.counts[1].objects == 0
    assert "no longer counts" in bench.controller.state.message


def test_keys_choose_what_is_painted_and_open_and_close_windows(bench: Bench) -> None:
    opening = next(call for key, call in bench.viewer.keymap.items() if str(key) == "W")
    opening(bench.viewer)
    layer = bench.edit
    layer.mode = "erase"
    bench.press("2")
    assert (layer.selected_label, str(layer.mode), bench.controller.state.selected) == (GLAND, "paint", GLAND)
    bench.press("0")
    assert bench.controller.state.selected == 0
    bench.press("9")  # no such class: neither a class nor one of napari's tools
    assert (bench.controller.state.selected, str(layer.mode)) == (0, "paint")
    bench.press("W")
    assert "A window is open" in bench.controller.state.message
    layer.preserve_labels = True
    assert bench.controller.state.preserve
    bench.press("S")
    assert not bench.controller.state.open
    assert bench.controller.state.message == "Closed: nothing was changed."
    bench.controller.open()
    assert bench.edit.preserve_labels
    bench.press("A")
    assert bench.controller.state.message == "Window 0001 is kept: all was right."


def test_the_brush_keeps_its_size_on_the_screen(bench: Bench) -> None:
    bench.controller.open()
    layer, camera = bench.edit, bench.viewer.scene.camera
    layer.brush_size = 16
    zoom = camera.zoom
    for factor, size in ((2, 8), (0.5, 32), (1, 16), (1000, 1), (1, 16)):
        camera.zoom = zoom * factor
        assert layer.brush_size == size
    bench.controller.desk.keep_brush(False)
    camera.zoom = zoom * 4
    assert layer.brush_size == 16
    bench.controller.desk.keep_brush(True)
    camera.zoom = zoom * 8
    assert layer.brush_size == 8


def test_a_window_that_would_be_too_large_is_offered_at_a_coarser_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert correct_state.MOST_SIDE == 8192
    for module in (correct, correct_state):
        monkeypatch.setattr(module, "MOST_SIDE", 819)
    bench = Bench(tmp_path, with_run=False, side=900)
    bench.controller.choice.name_classes("nucleus, stroma")
    bench.look_at(Region(0, 0, 900, 900))
    bench.controller.open()
    state = bench.controller.state
    assert not state.open
    assert "900 × 900 px, and a window may be 819 px" in state.message
    assert state.coarser == 2.0
    bench.controller.choose_size(state.coarser)
    bench.controller.open()
    assert bench.edit.data.shape == (450, 450)


def test_what_cannot_be_corrected_is_said_in_a_sentence(tmp_path: Path) -> None:
    empty = CorrectController(ViewerModel(), AtOnce(), tmp_path)
    assert empty.state.blocked.startswith("Open a slide first")
    empty.open()
    assert empty.state.message == empty.state.blocked
    unsized = Bench(tmp_path, with_run=False, mpp=None)
    assert unsized.controller.state.blocked.startswith("Give the pixel size")
    bench = Bench(tmp_path, with_run=False)
    assert bench.controller.state.blocked.startswith("Name the classes")
    bench.controller.choice.name_classes("nucleus, nucleus")
    assert "same name" in bench.controller.state.blocked
    bench.controller.choice.name_classes("nucleus")
    bench.look_at(Region(5000, 5000, 100, 100))
    bench.controller.open()
    assert "shows nothing of" in bench.controller.state.message


def test_nothing_can_be_painted_outside_the_slide(bench: Bench) -> None:
    bench.look_at(Region(-100, -100, 300, 300))
    bench.controller.open()
    layer = bench.edit
    layer.brush_size = 50
    layer.paint((0.0, 0.0), GLAND)
    top, left = layer.data_to_world((0, 0))
    assert (top, left) == pytest.approx(level0_to_world((1, 1), (0.5, 0.5)))
    bench.controller.accept()
    (window,) = CorrectionStore(bench.folder / "run").windows
    assert (window.y, window.x) == (0, 0)


def test_a_full_disk_leaves_the_window_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    bench.controller.open()
    bench.edit.data[:5] = GLAND

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("napari_lumen.corrections.images.os.fsync", full)
        bench.controller.desk.autosave()
        bench.controller.accept()
    assert bench.controller.state.open
    assert "No space left on device" in bench.controller.state.message
    assert (bench.edit.data[:5] == GLAND).all()
    assert [note.message.split(":")[0].split(" in ")[0] for note in told] == [
        "Edits cannot be kept",
        f"The correction cannot be written to {bench.folder / 'run' / 'corrections'}",
    ]
    bench.controller.accept()
    assert not bench.controller.state.open


def test_a_slide_that_was_replaced_meanwhile_is_not_corrected(bench: Bench, told: list[Any]) -> None:
    bench.controller.open()
    bench.slide.fingerprint_now = lambda: "another"  # type: ignore[method-assign]
    bench.controller.accept()
    assert "another slide by now, of the same name" in told[-1].message
    assert bench.controller.state.open


def test_a_skipped_window_can_be_brought_back(bench: Bench, told: list[Any]) -> None:
    bench.controller.open()
    bench.edit.data[:5] = GLAND
    bench.controller.desk.autosave()
    bench.controller.skip()
    assert not bench.controller.state.open
    assert told[-1].actions[0][0] == "Bring it back"
    assert not abandoned_drafts(bench.folder / "drafts")
    told[-1].actions[0][1](None)
    assert (bench.edit.data[:5] == GLAND).all()
    assert bench.controller.desk.unsaved


def test_edits_outlive_their_layer_and_their_window(bench: Bench) -> None:
    bench.controller.open()
    bench.edit.data[:5] = GLAND
    bench.viewer.layers.remove(bench.edit)  # by the user
    ((folder, record),) = bench.controller.state.drafts
    assert record.slide == str(bench.folder / "case.tif")
    bench.controller.drafts.restore(folder)
    assert bench.controller.state.drafts == ()
    bench.edit.data[5:7] = NUCLEUS
    painted = bench.edit.data.copy()
    bench.controller.desk.autosave()
    bench.edit.data[7] = NUCLEUS
    bench.controller.close()
    assert all(layer.metadata["napari_lumen"]["kind"] != "edit" for layer in bench.viewer.layers)
    controller = bench.start()
    ((folder, _),) = controller.state.drafts
    controller.drafts.restore(folder)
    assert np.array_equal(bench.edit.data[:7], painted[:7])
    assert (bench.edit.data[7] == NUCLEUS).all()
    controller.accept()
    assert not abandoned_drafts(bench.folder / "drafts")
    assert len(controller.state.windows) == 1


def test_classes_in_use_stay_and_new_ones_are_added(tmp_path: Path, told: list[Any]) -> None:
    bench = Bench(tmp_path, with_run=False, side=2100)
    choice = bench.controller.choice
    choice.name_classes("nucleus, stroma")
    bench.controller.open()
    bench.edit.data[:10] = 2
    bench.controller.accept()
    choice.name_classes("nucleus")
    assert '"stroma" is a class of 1 corrected window and stays' in told[-1].message
    assert bench.controller.state.message == told[-1].message
    assert [item.name for item in bench.controller.state.classes] == ["nucleus", "stroma"]
    choice.name_classes("nucleus, stroma, fat")
    assert [(item.value, item.name) for item in bench.controller.state.classes] == [
        (1, "nucleus"),
        (2, "stroma"),
        (3, "fat"),
    ]
    bench.controller.open()
    bench.edit.data[20:30, :50] = 3
    bench.controller.accept()
    assert int((bench.shown(0) == 3).sum()) == 10 * 50
    assert 3 in bench.viewer.layers["case · corrections"].colormap.color_dict


def test_a_draft_of_a_slide_that_is_not_open_waits_for_it(bench: Bench) -> None:
    bench.controller.open()
    bench.edit.data[:5] = GLAND
    bench.controller.close()
    bench.viewer.layers.remove(bench.viewer.layers[-1])
    controller = bench.start()
    ((folder, _),) = controller.state.drafts
    controller.drafts.restore(folder)
    assert controller.state.message.startswith(f"Open the run {bench.folder / 'run'} first")
    bench.viewer.layers.clear()
    controller.drafts.restore(folder)
    assert controller.state.message.startswith(f"Open {bench.folder / 'case.tif'} first")
    controller.drafts.forget(folder)
    assert controller.state.drafts == ()


def test_next_opens_fields_in_which_something_was_found_until_all_are_corrected(bench: Bench) -> None:
    bench.look_at(Region(600, 600, 300, 300))
    bench.controller.next()
    assert (bench.edit.data == NUCLEUS).any()
    bench.controller.next()  # accepts, and the one nucleus is corrected
    assert not bench.controller.state.open
    assert "no field left" in bench.controller.state.message
    assert len(bench.controller.state.windows) == 1
    fields = [next_field((100, 100), (40, 30), None, lambda field: True)]
    while len(fields) < 7:
        fields.append(next_field((100, 100), (40, 30), fields[-1], lambda field: True))
    places = [(field.y, round(field.x)) for field in fields if field is not None]
    assert places == [(0, 0), (0, 33), (0, 67), (50, 0), (50, 33), (50, 67), (0, 0)]


def test_without_a_run_what_is_painted_is_kept_beside_the_slide_and_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, with_run=False, side=2100)
    bench.controller.choice.name_classes("nucleus, stroma")
    bench.controller.open()
    bench.edit.data[:10, :20] = 2
    bench.controller.accept()
    assert (tmp_path / "case.tif.corrections" / "corrections.json").is_file()
    corrections = bench.viewer.layers[-1]
    assert corrections.name == "case · corrections"
    assert int((bench.shown(0) == 2).sum()) == 200
    assert int((bench.shown(1) == 2).sum()) == 50
    assert not corrections.editable
    bench.controller.close()
    bench.viewer.layers.remove(corrections)
    controller = bench.start()  # the classes are those of what is there
    assert controller.state.class_names == "nucleus, stroma"
    assert int((bench.shown(0) == 2).sum()) == 200
    controller.revert("0001")
    assert not bench.shown(0).any()


def test_windows_are_aligned_with_the_labels_at_any_size_and_origin() -> None:
    labels = Grid((500, 500), (2.004, 2.004), (101.5, 33.25))
    for factor in (0.5, 1.0, 4.0):
        grid = window_grid(labels, factor, Region(70, 40, 300, 300), (2000, 2000))
        for axis in (0, 1):
            offset = (grid.origin[axis] - labels.origin[axis]) / (labels.step[axis] * factor)
            assert offset == pytest.approx(round(offset), abs=1e-6)
        assert grid.region.y <= 70
        assert grid.region.bottom >= 370
        assert grid.region.x <= 40
