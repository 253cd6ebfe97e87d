"""Tables of what a network is like after each epoch, such as the alphas of an architecture search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from napari_lumen.errors import RunError
from napari_lumen.holding import appearing


class Tables:
    """Tables by name, each a Parquet file beside the checkpoint, with the columns phase and epoch first.

    Parameters
    ----------
    folder : Path
        Of the training.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: dict[str, list[pd.DataFrame]] = {}

    def add(self, phase: str, epoch: int, tables: Mapping[str, pd.DataFrame]) -> None:
        """Note the tables of an epoch."""
        for name, table in tables.items():
            part = table.copy()
            part.insert(0, "phase", phase)
            part.insert(1, "epoch", epoch)
            self._parts.setdefault(name, []).append(part)

    def rows(self) -> dict[str, int]:
        """Return how many rows each table has."""
        return {name: sum(map(len, parts)) for name, parts in self._parts.items()}

    def write(self) -> None:
        """Write the tables, each whole or not at all."""
        for name, parts in self._parts.items():
            if len(parts) > 1:
                parts[:] = [pd.concat(parts, ignore_index=True)]
            write_rows(self._folder / f"{name}.parquet", parts[0])

    def read(self, rows: Mapping[str, int]) -> None:
        """Go on with the first rows of each table; later ones are dropped, for they will come again.

        Raises
        ------
        RunError
            When a file is damaged or shorter.
        """
        for name, count in rows.items():
            self._parts[name] = [read_rows(self._folder / f"{name}.parquet", count)]
        self.write()


def write_rows(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, whole or not at all."""
    with appearing(path) as partial:
        table.to_parquet(partial, index=False)


def read_rows(path: Path, rows: int) -> pd.DataFrame:
    """Read the first rows of a table that was written before a checkpoint.

    Raises
    ------
    RunError
        When the file is damaged or shorter.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}. Begin the training in another folder.") from error
    if len(table) < rows:
        raise RunError(f"{path} has lost its last rows. Begin the training in another folder.")
    return table.head(rows)
