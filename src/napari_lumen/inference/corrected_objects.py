"""The objects of a run with what people have corrected: found anew in its corrected labels."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from napari_lumen.corrections import CorrectedLabels
from napari_lumen.errors import RunError
from napari_lumen.geometry import Window
from napari_lumen.inference.corrected import corrected_labels
from napari_lumen.inference.object_blocks import Labels
from napari_lumen.inference.object_stage import SIDE, WrittenRasters, block_look
from napari_lumen.inference.object_table import ObjectTable, export_objects
from napari_lumen.inference.objects import ObjectJoiner, seen_by_threads
from napari_lumen.inference.run import Run
from napari_lumen.inference.work import pixel_mm2


@dataclass(frozen=True)
class _CorrectedRasters:
    """What a run has on disk, with corrections over its labels."""

    written: WrittenRasters
    corrected: CorrectedLabels

    @property
    def shape(self) -> tuple[int, int]:
        return self.written.shape

    def labels(self, window: Window) -> Labels:
        return self.corrected.read(0, window)

    def probability(self, window: Window) -> Labels:
        return self.written.probability(window)


def export_corrected_objects(
    run: Run, path: str | os.PathLike[str], check: Callable[[], None] = lambda: None
) -> int:
    """Write the objects of a run with its corrections, as `export_objects` does those of the run itself.

    They are told apart as the run has told them. `mean_probability` is the model's, also of what was painted.

    Parameters
    ----------
    run : Run
    path : path
        Its ending says what it becomes, see `export_objects`.
    check : callable, optional
        Called often; what it raises ends the search, and nothing is written.

    Returns
    -------
    int
        How many objects there are.

    Raises
    ------
    RunError
        As of `export_objects`, and when the corrections are damaged or the model finds areas, not objects.
    """
    record = run.record
    if record.card.objects == "none":
        raise RunError(f"The model of {run.path} finds areas, not objects: export its labels instead.")
    corrected = corrected_labels(run)
    rasters = _CorrectedRasters(WrittenRasters.of(run.path), corrected)
    pixel = pixel_mm2(corrected.grid.scale(record.mpp))
    rows, columns = (-(-side // SIDE) for side in rasters.shape)
    blocks = [(row, column) for row in range(rows) for column in range(columns)]
    with tempfile.TemporaryDirectory(prefix="lumen-objects-") as folder:
        with (
            ObjectTable(Path(folder), corrected.grid, record.mpp, record.classes) as table,
            closing(seen_by_threads(rasters, block_look(record.card, pixel), blocks, check)) as seen,
        ):
            for objects in ObjectJoiner(SIDE, check).join(seen):
                check()
                table.add(objects[objects.area * pixel >= record.min_object_um2 / 1e6])
        return export_objects(Run(Path(folder), record), path)
