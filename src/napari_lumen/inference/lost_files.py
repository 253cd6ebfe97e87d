"""Which files of a run that has ended are gone or cut short: deleted by hand, or lost by a copy or a disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import google_crc32c

from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.run import Run

_PARQUET_END = b"PAR1"


def lost_files(run: Run) -> Iterator[Path]:
    """Yield the files that a run has written and that are not whole in its folder any more.

    Pixels are not decoded, which of a large run would take minutes: of a file that holds them its end is
    looked at, where zarr says with a checksum what is in it.
    """
    record = run.record
    chunks: dict[tuple[str, int], int] = {}
    for raster in record.rasters:
        for level in range(len(raster.shapes)):
            file = run.path / raster.path / str(level) / "zarr.json"
            found = _chunks_in_a_file(file)
            if found is None:
                yield file
            else:
                chunks[raster.path, level] = found
    for listed in record.files:
        file = run.path / listed.path
        if not file.is_file() or (file.suffix == ".parquet" and _end(file, 4) != _PARQUET_END):
            yield file
    leading = {raster.path: "" if raster.channel is None else "0/" for raster in record.rasters}
    for path, level, row, column in Ledger(run.path, held=False).blocks:
        file = run.path / path / str(level) / f"c/{leading.get(path, '')}{row}/{column}"
        count = chunks.get((path, level))
        if not file.is_file() or (count is not None and not _is_whole(file, count)):
            yield file


def _chunks_in_a_file(file: Path) -> int | None:
    """Return how many chunks a file of an array holds; None where its description is gone or damaged."""
    try:
        said: Any = json.loads(file.read_bytes())
        whole = said["chunk_grid"]["configuration"]["chunk_shape"]
        part = said["codecs"][0]["configuration"]["chunk_shape"]
        return prod(int(side) // int(of) for side, of in zip(whole, part, strict=True))
    except (OSError, ValueError, KeyError, TypeError, LookupError):
        return None


def _is_whole(file: Path, chunks: int) -> bool:
    """Whether a file ends with the index of its chunks (sharding of zarr 3) and the checksum of that."""
    index = _end(file, 16 * chunks + 4)
    return len(index) == 16 * chunks + 4 and google_crc32c.value(index[:-4]) == int.from_bytes(
        index[-4:], "little"
    )


def _end(file: Path, count: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - count))
        return opened.read()
