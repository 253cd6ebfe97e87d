"""What a run found with what people have corrected: the labels, and the counts of the legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.corrections import CorrectedLabels, CorrectionStore
from napari_lumen.geometry import Window
from napari_lumen.inference.instances import components, split_touching
from napari_lumen.inference.run import ClassCount, Run
from napari_lumen.inference.work import pixel_mm2

if TYPE_CHECKING:
    from napari_lumen.corrections.images import Pixels

_MARGIN_UM = 40.0  # around what was changed: wider than a nucleus, so that it is seen whole


def corrected_labels(run: Run, store: CorrectionStore | None = None) -> CorrectedLabels:
    """Return the labels of a run with its corrections over them, at every level.

    Parameters
    ----------
    run : Run
    store : CorrectionStore, optional
        Of the run; opened here when left out.

    Raises
    ------
    RunError
        When the corrections are damaged or of another slide.
    """
    store = CorrectionStore(run.path) if store is None else store
    return CorrectedLabels(run.levels(run.labels), run.grid(run.labels), store.changes())


def corrected_counts(
    run: Run, labels: CorrectedLabels, counts: Sequence[ClassCount] | None = None
) -> tuple[ClassCount, ...]:
    """Return what was found of each class, with the corrections.

    Areas are exact. Objects are counted before and after, as the run has counted them, in and around the
    pixels that have changed, and the difference is added to the count without them.

    Parameters
    ----------
    run : Run
    labels : CorrectedLabels
        Of the run.
    counts : sequence of ClassCount, optional
        Without the corrections; the run's own when left out.
    """
    record = run.record
    counts = record.counts if counts is None else counts
    pixel = pixel_mm2(labels.grid.scale(record.mpp))
    gained = labels.pixels_gained()
    counts_objects = any(count.objects is not None for count in counts)
    more = _objects_gained(run, labels) if counts_objects else Counter()
    corrected = []
    for count in counts:
        value = record.classes[count.name].value
        objects = None if count.objects is None else max(0, count.objects + more[value])
        area = max(0.0, count.area_mm2 + gained[value] * pixel)
        corrected.append(ClassCount(name=count.name, objects=objects, area_mm2=area))
    return tuple(corrected)


def _objects_gained(run: Run, labels: CorrectedLabels) -> Counter[int]:
    record = run.record
    step = labels.grid.scale(record.mpp)
    smallest = record.min_object_um2 / (step[0] * step[1])
    whole = Window(0, 0, *labels.base[0].shape)
    margin = max(1, round(_MARGIN_UM / min(step)))
    touched = [labels.grid.window_of(changes.region) for changes in labels.changes]
    more: Counter[int] = Counter()
    for place in _united([_grown(window, margin).intersect(whole) for window in touched]):
        before: Pixels = np.array(labels.base[0][place.slices], np.uint8)
        after = labels.read(0, place)
        for item in record.classes:
            counts = [
                _count(part == item.value, smallest, split=record.card.objects == "watershed")
                for part in (before, after)
            ]
            more[item.value] += counts[1] - counts[0]
    return more


def _count(mask: np.ndarray, smallest: float, *, split: bool) -> int:
    areas = components(mask)
    if split:
        areas = split_touching(areas)
    return int((np.bincount(areas.ravel())[1:] >= smallest).sum())


def _grown(window: Window, by: int) -> Window:
    return Window(window.y - by, window.x - by, window.height + 2 * by, window.width + 2 * by)


def _united(places: Sequence[Window]) -> list[Window]:
    """Return windows that cover these and do not overlap: an object must not be counted twice."""
    apart: list[Window] = []
    for place in places:
        joined = place
        while True:
            common = (item.intersect(joined) for item in apart)
            meeting = [item for item, part in zip(apart, common, strict=True) if part.height and part.width]
            if not meeting:
                break
            apart = [item for item in apart if item not in meeting]
            y, x = (min(getattr(item, edge) for item in (joined, *meeting)) for edge in ("y", "x"))
            bottom = max(item.y + item.height for item in (joined, *meeting))
            right = max(item.x + item.width for item in (joined, *meeting))
            joined = Window(y, x, bottom - y, right - x)
        apart.append(joined)
    return apart
