"""Which files of a run that has ended are gone: deleted by hand, or lost by a copy or a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.run import Run


def lost_files(run: Run) -> Iterator[Path]:
    """Yield the files that a run has written and that are not in its folder any more."""
    record = run.record
    for raster in record.rasters:
        for level in range(len(raster.shapes)):
            yield from _missing(run.path / raster.path / str(level) / "zarr.json")
    for file in record.files:
        yield from _missing(run.path / file.path)
    leading = {raster.path: "" if raster.channel is None else "0/" for raster in record.rasters}
    for path, level, row, column in Ledger(run.path, held=False).blocks:
        yield from _missing(run.path / path / str(level) / f"c/{leading.get(path, '')}{row}/{column}")


def _missing(file: Path) -> Iterator[Path]:
    if not file.is_file():
        yield file
