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
    arrays: dict[Path, int | None] = {}
    for raster in run.record.rasters:
        for level in range(len(raster.shapes)):
            yield from _described(run.path / raster.path / str(level), arrays)
    for listed in run.record.files:
        file = run.path / listed.path
        if not file.is_file() or (file.suffix == ".parquet" and _end(file, 4) != _PARQUET_END):
            yield file
    leading = {raster.path: "" if raster.channel is None else "0/" for raster in run.record.rasters}
    for path, level, row, column in Ledger(run.path, held=False).blocks:
        array = run.path / path / str(level)
        yield from _described(array, arrays)
        file = array / f"c/{leading.get(path, '')}{row}/{column}"
        if not file.is_file() or not _is_whole(file, arrays[array] or 0):
            yield file


def _described(array: Path, known: dict[Path, int | None]) -> Iterator[Path]:
    """Yield the description of an array where it is not whole, and keep how many chunks its files hold."""
    if array not in known:
        known[array] = _chunks_in_a_file(array / "zarr.json")
        if known[array] is None:
            yield array / "zarr.json"


def _chunks_in_a_file(file: Path) -> int | None:
    """Return how many chunks a file of an array holds, 0 for files without an index; None without a word."""
    try:
        said: Any = json.loads(file.read_bytes())
        whole, codec = said["chunk_grid"]["configuration"]["chunk_shape"], said["codecs"][0]
        if codec["name"] != "sharding_indexed":
            return 0
        part = codec["configuration"]["chunk_shape"]
        return prod(int(side) // int(of) for side, of in zip(whole, part, strict=True))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _is_whole(file: Path, chunks: int) -> bool:
    """Whether a file ends with the index of its chunks (sharding of zarr 3) and the checksum of that."""
    if not chunks:
        return True
    index = _end(file, 16 * chunks + 4)
    return len(index) == 16 * chunks + 4 and google_crc32c.value(index[:-4]) == int.from_bytes(
        index[-4:], "little"
    )


def _end(file: Path, count: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - count))
        return opened.read()
