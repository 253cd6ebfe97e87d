"""The labels of a run with its corrections, written as an image of their own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from napari_lumen.errors import RunError
from napari_lumen.geometry import windows
from napari_lumen.inference.corrected import corrected_labels
from napari_lumen.inference.run import Run
from napari_lumen.inference.store import RunStore, image_label

_BLOCK = 2048  # px a side of one file


def export_corrected(run: Run, out: Path) -> None:
    """Write the labels of a run with its corrections as an OME-Zarr 0.5 label image; whole or not at all.

    Parameters
    ----------
    run : Run
    out : Path
        Folder to write; must not be there yet.

    Raises
    ------
    RunError
        When the folder is there or cannot be written, or the corrections are damaged.
    """
    if out.exists():
        raise RunError(f"{out} is there already: choose another name, or delete it.")
    labels = corrected_labels(run)
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        pyramid = RunStore(temporary, run.record.mpp).create(
            "labels",
            labels.grid,
            len(labels.base),
            np.uint8,
            block=_BLOCK,
            extra=image_label(run.record.classes),
        )
        for level, array in enumerate(pyramid.arrays):
            height, width = array.shape
            for window in windows((height, width), _BLOCK):
                array[window.slices] = labels.read(level, window)
        (temporary / "labels").replace(out)
    except OSError as error:
        raise RunError(f"Cannot write {out}: {error.strerror or error}. Choose another place.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
