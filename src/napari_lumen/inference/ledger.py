"""What of a run is finished: one line a cell, written when its pixels are on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from napari_lumen.errors import RunError
from napari_lumen.geometry import Window
from napari_lumen.inference.plan import Cell

LEDGER_FILE = "ledger.jsonl"

FileOfBlock = tuple[str, int, int, int]  # path of the raster in the folder, level, row and column


@dataclass
class Ledger:
    """The cells of a run that are finished, and the tiles that failed.

    Parameters
    ----------
    folder : Path
        Of the run. What an earlier session wrote there is read; a last line cut by a crash is dropped.
    held : bool
        Whether this process holds the folder, and so may cut that line off the file.

    Attributes
    ----------
    covered : dict of (int, int) to int
        Pixels of each finished cell that the model answered for.
    failed : dict of Window to str
        Tiles that could not be read, and why.
    blocks : set of (str, int, int, int)
        Blocks of rasters that have a file: path of the raster, level, row and column. One without a file is
        empty, unless it is listed here: then its file was lost.
    """

    folder: Path
    held: bool = True
    covered: dict[Cell, int] = field(default_factory=dict)
    failed: dict[Window, str] = field(default_factory=dict)
    blocks: set[FileOfBlock] = field(default_factory=set)

    def __post_init__(self) -> None:
        try:
            data = self._file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return
        except IsADirectoryError as error:
            raise RunError(
                f"{self._file} is a folder, where the run keeps what is finished. Delete the run's folder, "
                "and run it again."
            ) from error
        whole = data[: data.rfind(b"\n") + 1]
        if self.held and len(whole) < len(data):
            with self._file.open("r+b") as file:
                file.truncate(len(whole))
        for line in whole.splitlines():
            # a line that says nothing costs no more than its cell, which is answered again
            with suppress(ValueError, KeyError, TypeError, IndexError):
                self._read(json.loads(line))

    def _read(self, entry: Mapping[str, Any]) -> None:
        if "again" in entry:
            self._forget([(int(row), int(column)) for row, column in entry["again"]])
        elif "block" in entry:
            path, level, row, column = entry["block"]
            self.blocks.add((str(path), int(level), int(row), int(column)))
        elif "cell" in entry:
            row, column = entry["cell"]
            self.covered[int(row), int(column)] = int(entry["covered"])
        else:
            y, x, height, width = map(int, entry["tile"])
            self.failed[Window(y, x, height, width)] = str(entry["why"])

    @property
    def _file(self) -> Path:
        return self.folder / LEDGER_FILE

    def add(
        self,
        covered: Iterable[tuple[Cell, int]],
        failed: Iterable[tuple[Window, str]],
        blocks: Iterable[FileOfBlock] = (),
    ) -> None:
        """Record cells whose pixels are on disk, tiles that failed, and blocks that have a file by now.

        It is on disk when this returns.
        """
        # a list at once: readers add to what is given here
        cells, tiles = dict(covered), {tile: why for tile, why in list(failed) if tile not in self.failed}
        # tiles first: a cell must not be told of as finished without those that it lacks
        lines: list[Mapping[str, object]] = [
            {"tile": [tile.y, tile.x, tile.height, tile.width], "why": why} for tile, why in tiles.items()
        ]
        fresh = [block for block in blocks if block not in self.blocks]
        lines += [{"block": list(block)} for block in fresh]
        lines += [{"cell": list(cell), "covered": pixels} for cell, pixels in cells.items()]
        self._append(lines)
        self.blocks.update(fresh)
        self.covered.update(cells)
        self.failed.update(tiles)

    def try_again(self, cells: Iterable[Cell]) -> None:
        """Forget that tiles failed, and that cells are finished: those left open by them, or lost since."""
        again = [cell for cell in cells if cell in self.covered]
        if self.failed or again:
            self._append([{"again": [list(cell) for cell in again]}])
            self._forget(again)

    def _forget(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            self.covered.pop(cell, None)
        self.failed.clear()

    def _append(self, lines: Sequence[Mapping[str, object]]) -> None:
        if not lines:
            return
        with self._file.open("ab+") as file:
            self._cut(file)
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _cut(file: BinaryIO) -> None:
        """Cut off a last line of which a full disk took a part only: what follows would continue it."""
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        if end and file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
