"""From a slide to a better model and back, in the real window, with the mouse and the keys."""

from __future__ import annotations

import importlib
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from napari_lumen.annotations.formats import read_annotations
from napari_lumen.corrections import CorrectionStore
from napari_lumen.corrections.images import read_png
from napari_lumen.inference.run import Run
from napari_lumen.models import available
from napari_lumen.plugin.layers import KEY

_DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.slow  # it runs a model twice and trains one
def test_a_model_is_run_corrected_by_strokes_trained_run_again_scored_and_exported(
    make_napari_viewer: Any, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(_DOCS)
    docs = importlib.import_module("loop")  # the pictures are made by the same steps
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(*docs.WINDOW)  # a window is what is in view
    loop = docs.Loop(viewer)
    loop.open(shared_data / "slides" / docs.SLIDE.name)
    loop.run()
    first = _newest_run(viewer)
    assert first.record.model == "nuclei-focusnetpp-light"
    assert (first.record.counts[0].objects or 0) > 100

    store = CorrectionStore(first.path)
    for number, field in enumerate(docs.FIELDS, start=1):
        loop.paint(field)
        painted = viewer.layers.selection.active
        before, after = loop.panels["Correct"].controller.desk.window.before, painted.data.copy()
        _changed_where_the_strokes_went(loop, field, painted, before, after)
        loop.accept()
        assert len(store.windows) == number
        window = store.windows[-1]
        assert np.array_equal(read_png(store.folder / window.labels), after)
        assert window.changed is not None
        assert sum(kind.pixels for kind in window.changed.kinds) == (before != after).sum()
    boxes = [shapely.box(item.x, item.y, item.x + item.width, item.y + item.height) for item in store.windows]
    assert not any(one.intersects(other) for one, other in combinations(boxes, 2))
    counted = {count.name: count.objects for count in loop.panels["Correct"].controller.state.counts}
    assert counted["nucleus"] < first.record.counts[0].objects  # what was taken for nuclei in the horn

    train, run = loop.panels["Train"].controller, loop.panels["Run model"].controller
    offered: list[bool] = []
    train.changed.connect(
        lambda state: offered.append(docs.NAME in [m.title for m in run.state.models]) if state.busy else None
    )
    loop.choose_training(epochs=1)
    parts = {part.name: part.images for part in train.state.found.contents.parts}
    assert parts == {"train": 2, "validation": 1}
    loop.train()
    assert offered
    assert not any(offered)
    assert docs.NAME in available()
    title, *scores = train.state.result.splitlines()
    assert title == "On the same held-out images"
    assert all(" before, " in line and line.endswith(" now") for line in scores)
    assert train.state.name == f"{docs.NAME}-2"  # the next one, which is free
    assert "On the same held-out images" in loop.panels["Train"].form.status.text()

    loop.run(docs.NAME)
    second = _newest_run(viewer)
    assert (second.record.model, second.path != first.path) == (docs.NAME, True)

    loop.evaluate()
    evaluation = loop.panels["Evaluate"].controller
    assert evaluation.state.message == ""
    dice = float(loop.panels["Evaluate"].tables.classes.item(0, 0).text())
    assert dice == pytest.approx(_dice(second, store), abs=0.001)

    exported = tmp_path / "nuclei.geojson"
    loop.export(exported)
    found = read_annotations(exported)
    assert len(found) == second.record.counts[0].objects
    assert {item.class_name for item in found} == {"nucleus"}
    for panel in loop.panels.values():
        panel.controller.close()


def _newest_run(viewer: Any) -> Run:
    """Return the run whose labels are on top."""
    layer = next(x for x in reversed(viewer.layers) if x.metadata.get(KEY, {}).get("kind") == "labels")
    return Run.open(layer.metadata[KEY]["run"])


def _changed_where_the_strokes_went(loop: Any, field: Any, layer: Any, before: Any, after: Any) -> None:
    """Each stroke has painted along its path, over those before it, and nothing else has changed."""
    slide = loop.viewer.layers[0]
    rows, columns = np.indices(after.shape)
    middles = shapely.points(columns, rows)
    expected, edges = before.copy(), np.zeros(after.shape, bool)
    for stroke in field.strokes:
        path = [layer.world_to_data(slide.data_to_world(place)) for place in stroke.path]
        away = shapely.distance(middles, shapely.LineString([(x, y) for y, x in path]))
        radius = stroke.width * float(slide.scale[0] / layer.scale[0]) / 2
        expected[away <= radius] = stroke.value
        edges |= abs(away - radius) <= 1.5  # px by which napari rounds a brush
    assert np.array_equal(after[~edges], expected[~edges])
    assert (after != before)[~edges].any()


def _dice(run: Run, store: CorrectionStore) -> float:
    """Return the Dice of the one class in the corrected windows, of all their pixels together."""
    levels, grid = run.levels(run.labels), run.grid(run.labels)
    both = either = 0
    for window in store.windows:
        truth = read_png(store.folder / window.labels)
        place = grid.window_of(window.grid((truth.shape[0], truth.shape[1])).region)
        predicted = np.asarray(levels[0][place.slices])
        assert predicted.shape == truth.shape
        both += 2 * int(((predicted == 1) & (truth == 1)).sum())
        either += int((predicted == 1).sum() + (truth == 1).sum())
    return both / either
