"""Corrected windows as annotations: outlines of what each class is now, in any of the known file formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.annotations.shapes import Annotation, Source
from napari_lumen.corrections.images import read_png
from napari_lumen.corrections.settled import settled
from napari_lumen.corrections.store import IGNORE, CorrectionStore


def corrected_outlines(store: CorrectionStore) -> Iterator[Annotation]:
    """Yield the outlines of the classes in every corrected window, in level-0 px.

    Where windows overlap, each shows what counts there now. An object that a window cuts is outlined as far
    as the window reaches.

    Parameters
    ----------
    store : CorrectionStore

    Raises
    ------
    RunError
        When a file of a window is gone or damaged.
    """
    index = store.index
    for window in index.windows:
        labels = settled(store.folder, index, window, read_png(store.folder / window.labels))
        labels[labels == IGNORE] = 0
        grid = window.grid((labels.shape[0], labels.shape[1]))
        time = None
        with suppress(ValueError):
            time = datetime.fromisoformat(window.time or "")
        for value, outline in polygonise(labels, origin=grid.origin, step=grid.step):
            item = store.classes[value]
            yield Annotation(
                outline,
                item.name,
                item.color,
                name=window.name,
                author=window.author,
                time=time,
                source=Source(),
            )


def export_windows(store: CorrectionStore, out: Path, format: str | None = None) -> int:  # noqa: A002
    """Write the outlines of all corrected windows; return how many there are.

    Parameters
    ----------
    store : CorrectionStore
    out : Path
    format : str, optional
        As of `write_annotations`; told by the file's name when left out.

    Raises
    ------
    AnnotationError
        When the file cannot be written.
    RunError
        As of `corrected_outlines`.
    """
    outlines = list(corrected_outlines(store))
    write_annotations(out, outlines, format)
    return len(outlines)
