"""Tools for objects and proposals in the Correct panel, without a screen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from fakes import Darkness, model_of
from napari_lumen.corrections import CorrectionStore
from napari_lumen.errors import ModelError
from napari_lumen.geometry import Region
from napari_lumen.inference import proposal_passes
from plugin_fakes import NUCLEUS as TABLE
from plugin_fakes import StepJobs
from test_plugin_correct import GLAND, NUCLEUS, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def drag(bench: Bench, *places: tuple[float, float]) -> None:
    """Drag from place to place, (row, column) of the open window."""
    layer = bench.edit

    def event(kind: str, place: tuple[float, float]) -> Any:
        return SimpleNamespace(
            type=kind,
            button=1,
            position=tuple(layer.data_to_world(place)),
            modifiers=(),
            handled=False,
            is_dragging=True,
        )

    mouse_press_callbacks(layer, event("mouse_press", places[0]))
    for place in places[1:]:
        mouse_move_callbacks(layer, event("mouse_move", place))
    mouse_release_callbacks(layer, event("mouse_release", places[-1]))


def corner(bench: Bench) -> tuple[int, int]:
    """Return where the one nucleus, of 16 x 16 px, begins in the window."""
    row, column = np.argwhere(bench.edit.data == NUCLEUS)[0]
    return int(row), int(column)


def test_a_tool_opens_its_window_and_the_brush_puts_it_away(bench: Bench) -> None:
    bench.press("D")
    layer = bench.edit
    assert (bench.controller.state.tool, layer.mouse_pan) == ("delete", False)
    assert bench.controller.state.message == "Click on an object to delete it."
    bench.press("2")
    assert (bench.controller.state.tool, bench.controller.state.selected) == ("delete", GLAND)
    layer.mode = "paint"
    assert bench.controller.state.tool == ""
    bench.press("J")
    assert [item.name for item in bench.viewer.layers][-1] == "Stroke"
    assert bench.viewer.layers.selection.active is layer
    bench.press("J")
    assert (bench.controller.state.tool, layer.mouse_pan) == ("", True)
    bench.press("J")
    bench.press("Z")
    assert (bench.controller.state.tool, layer.mouse_pan) == ("", True)
    bench.press("1")
    assert str(layer.mode) == "paint"
    bench.press("C")
    bench.press("S")
    assert bench.controller.state.tool == ""
    assert [item.metadata["napari_lumen"]["kind"] for item in bench.viewer.layers[-2:]] == [
        "attention",
        "labels",
    ]


def test_a_view_is_moved_while_space_is_held(bench: Bench) -> None:
    bench.press("D")
    layer = bench.edit
    row, column = corner(bench)
    held = next(call for key, call in layer.keymap.items() if str(key) == "Space")(layer)
    next(held)
    assert layer.mouse_pan
    drag(bench, (row + 2, column + 2))
    assert (layer.data == NUCLEUS).sum() == 256
    next(held, None)
    drag(bench, (row + 2, column + 2))
    assert not (layer.data == NUCLEUS).any()
    layer.undo()
    assert (layer.data == NUCLEUS).sum() == 256


def test_a_digit_gives_its_class_to_the_object_under_the_mouse(bench: Bench) -> None:
    bench.press("R")
    layer = bench.edit
    row, column = corner(bench)
    bench.viewer.cursor.position = tuple(layer.data_to_world((row + 5, column + 5)))
    bench.press("2")
    assert (layer.data == GLAND).sum() == 256
    assert bench.controller.state.counts[1].objects == 1
    assert bench.controller.state.message == "Reclassified 1 object. Ctrl+Z undoes it."
    layer.undo()
    bench.controller.tick()
    assert [count.objects for count in bench.controller.state.counts] == [1234, 0]
    bench.controller.skip()
    assert [count.objects for count in bench.controller.state.counts] == [1234, 0]


def test_counts_follow_what_is_painted_and_fall_back_when_it_is_skipped(
    bench: Bench, told: list[Any]
) -> None:
    bench.controller.open()
    bench.edit.data[:20, :20] = GLAND
    bench.controller.tick()
    assert bench.controller.state.counts[1].objects == 1
    labels = next(x for x in bench.viewer.layers if x.metadata["napari_lumen"]["kind"] == "labels")
    assert labels.metadata["napari_lumen"]["counts"] == bench.controller.state.counts
    bench.controller.skip()
    assert bench.controller.state.counts[1].objects == 0
    assert labels.metadata["napari_lumen"]["counts"][1].objects == 0


def test_what_a_tool_cannot_do_is_said(bench: Bench) -> None:
    bench.press("C")
    row, column = corner(bench)
    drag(bench, (row + 5, column - 3), (row + 5, column + 5))
    assert bench.controller.state.message == "The line must cross an object from edge to edge."
    bench.press("I")
    bench.press("0")
    drag(bench, (row + 40, column + 40))
    assert bench.controller.state.message == "Choose the class of the object first: 1 to 9."
    bench.press("1")
    drag(bench, (row + 40, column + 40))
    assert "Nothing stands out there" in bench.controller.state.message
    drag(bench, (row + 5, column + 5))
    assert "There is an object already" in bench.controller.state.message
    drag(bench, (-30, -30))
    assert bench.controller.state.message == "Click inside the window."
    assert not bench.controller.desk.unsaved


def test_an_object_that_the_run_half_saw_is_added_where_it_saw_it(bench: Bench) -> None:
    assert bench.run is not None
    probability = bench.run.levels(bench.run.record.rasters[1])[0].compute() * 255
    rows, columns = np.indices(probability.shape)
    seen = (rows - 100) ** 2 + (columns - 110) ** 2 <= 36
    probability[seen] = 90
    array = np.stack([probability, np.zeros_like(probability)]).astype(np.uint8)
    da.to_zarr(da.from_array(array), str(bench.run.path / "probability" / "0"), overwrite=True)
    bench.press("I")
    origin = np.round(np.asarray(bench.edit.translate) - 0.5)  # pixels of 1 µm
    drag(bench, (100 - origin[0], 110 - origin[1]))
    assert bench.controller.state.message == "Added 1 object. Ctrl+Z undoes it."
    assert (bench.edit.data == NUCLEUS).sum() == 256 + seen.sum()


def ask(bench: Bench, row: int, column: int) -> str:
    """Ask the model for the object at a pixel of the run, of 1 µm; return what is said."""
    bench.press("U")
    origin = np.round(np.asarray(bench.edit.translate) - 0.5)
    drag(bench, (row - origin[0], column - origin[1]))
    bench.press("U")
    return bench.controller.state.message


def test_an_object_that_the_model_hardly_saw_is_added_by_asking_it(bench: Bench) -> None:
    assert bench.run is not None
    probability = bench.run.levels(bench.run.record.rasters[1])[0].compute() * 255
    rows, columns = np.indices(probability.shape)
    seen = (rows - 100) ** 2 + (columns - 110) ** 2 <= 36
    probability[seen] = 15  # 6 %: what no threshold of a run takes, and Add takes for colours only
    array = np.stack([probability, np.zeros_like(probability)]).astype(np.uint8)
    da.to_zarr(da.from_array(array), str(bench.run.path / "probability" / "0"), overwrite=True)
    assert ask(bench, 100, 110) == "Added 1 object. Ctrl+Z undoes it."
    assert (bench.edit.data == NUCLEUS).sum() == 256 + seen.sum()
    before = bench.edit.data.copy()
    assert "The model sees no nucleus there" in ask(bench, 130, 60)
    np.testing.assert_array_equal(bench.edit.data, before)


def test_the_model_itself_is_asked_where_the_run_kept_no_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    assert bench.run is not None
    pixels = bench.slide._arrays[0]  # a dark disc of 12 µm that the run has missed
    rows, columns = np.indices(pixels.shape[:2])
    dark = (rows - 201) ** 2 + (columns - 221) ** 2 <= 12**2
    pixels[dark] = 20
    model = model_of(Darkness(), classes=TABLE)
    monkeypatch.setattr(proposal_passes, "load_model", lambda name: model)
    kept = tuple(x for x in bench.run.record.rasters if x.kind != "probability")
    record = bench.run.record.model_copy(update={"rasters": kept})
    (bench.run.path / "run.json").write_text(record.model_dump_json())
    bench.start()
    ask(bench, 100, 110)
    added = (bench.edit.data == NUCLEUS).sum() - 256
    assert added == pytest.approx(dark.sum() / 4, rel=0.1)  # pixels of the run are of 2 level-0 px
    monkeypatch.setattr(proposal_passes, "load_model", gone)
    bench.press("S")
    bench.start()
    before = bench.controller.state.message
    assert ask(bench, 130, 60) != before
    assert "no model" in bench.controller.state.message


def gone(name: str) -> None:
    raise ModelError(f"There is no model {name!r}.")


def test_without_a_run_there_is_no_model_to_ask(tmp_path: Path) -> None:
    bench = Bench(tmp_path, with_run=False)
    bench.controller.choice.name_classes("nucleus")
    bench.press("U")
    drag(bench, (50, 50))
    assert "no model to ask" in bench.controller.state.message


def test_proposals_are_boxed_on_the_slide_and_opened_best_first(bench: Bench) -> None:
    state = bench.controller.board
    assert [way for way, _ in state.state.ways] == ["entropy", "flips", "attention", "diversity", "random"]
    selected = bench.viewer.layers.selection.active
    bench.controller.proposals.propose("random")
    (only,) = state.state.proposals  # the one field in which the run found anything
    boxes = bench.viewer.layers[-1]
    assert (boxes.name, bench.viewer.layers.selection.active) == ("Proposals", selected)
    first = boxes.data_to_world(boxes.data[0].min(axis=0))
    assert first == pytest.approx((-0.25, -0.25))  # napari counts from the middle of a pixel of 0.5 µm
    bench.controller.proposals.go_to(0)
    assert state.state.open
    assert bench.edit.data.shape == (128, 128)
    assert not boxes.visible
    bench.controller.proposals.go_to(0)  # nothing was changed: it is opened again
    bench.edit.data[:3] = GLAND
    bench.controller.proposals.go_to(0)
    assert "A window is open" in state.state.message
    bench.controller.next()  # accepts
    (window,) = CorrectionStore(bench.folder / "run").windows
    assert Region(window.y, window.x, window.height, window.width) == only.region
    assert state.state.proposals == ()
    assert boxes not in bench.viewer.layers
    bench.controller.proposals.propose("entropy")
    assert state.state.message == "All that was analysed is corrected."


def test_proposals_are_forgotten_with_their_run(bench: Bench) -> None:
    bench.controller.proposals.propose("entropy")
    assert bench.controller.state.proposals
    bench.controller.choice.choose_run("")
    assert (bench.controller.state.proposals, bench.controller.state.ways) == ((), ())
    assert all(layer.name != "Proposals" for layer in bench.viewer.layers)


def test_looking_for_proposals_can_be_stopped(bench: Bench) -> None:
    jobs = StepJobs(first_at_once=False)
    bench.controller.board.jobs = jobs
    bench.controller.proposals.propose("entropy")
    assert (bench.controller.state.looking, bench.controller.state.busy) == (True, "Looking for fields …")
    bench.controller.proposals.clear()
    jobs.let_run()
    state = bench.controller.state
    assert (state.looking, state.busy, state.proposals) == (False, "", ())
