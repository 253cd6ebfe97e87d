"""Tables of what a network is like after each epoch, such as the alphas of an architecture search."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from napari_lumen.errors import first_line
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
        """Go on with the first rows of each table; later ones are dropped, for they will come again."""
        for name, count in rows.items():
            table = read_rows(self._folder / f"{name}.parquet", count)
            if table is not None:
                self._parts[name] = [table]
        self.write()


def write_rows(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet, whole or not at all."""
    with appearing(path) as partial:
        table.to_parquet(partial, index=False)


def read_rows(path: Path, rows: int) -> pd.DataFrame | None:
    """Read the first rows of a table that was written before a checkpoint.

    Returns
    -------
    DataFrame or None
        None, with a warning, where the file is lost, damaged or shorter: the checkpoint has all that the
        training needs.
    """
    try:
        table = pd.read_parquet(path)
        problem = "has lost its last rows" if len(table) < rows else None
    except FileNotFoundError:
        problem = "is not there any more"
    except (OSError, ValueError) as error:
        problem = f"is damaged ({first_line(error)})"
    if problem is None:
        return table.head(rows)
    warnings.warn(
        f"{path} {problem}: the training goes on from its checkpoint, and this table begins anew there.",
        stacklevel=2,
    )
    return None
