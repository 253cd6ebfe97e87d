"""Learning curves: every loss of every step and every score of every validation, as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

from napari_lumen.training.tables import read_rows, write_rows

Kind = Literal["loss", "score", "rate"]
COLUMNS = ("phase", "epoch", "step", "kind", "name", "value")


class Curves:
    """Rows (phase, epoch, step, kind, name, value) in the order of the training.

    A row counts what was done before it: a score of epoch 3 has the number of steps of that epoch. Kinds
    are ``loss``, ``score`` (of the validation) and ``rate`` (of learning, by optimiser and group).
    """

    def __init__(self, rows: list[tuple[str, int, int, str, str, float]] | None = None) -> None:
        self._rows = rows or []

    def add(self, phase: str, epoch: int, step: int, kind: Kind, values: Mapping[str, float]) -> None:
        """Note values of one moment."""
        self._rows += [(phase, epoch, step, kind, name, value) for name, value in values.items()]

    def table(self) -> pd.DataFrame:
        """Return all rows."""
        return pd.DataFrame(self._rows, columns=list(COLUMNS))

    def write(self, path: Path) -> None:
        """Write the table, whole or not at all."""
        write_rows(path, self.table())

    @classmethod
    def read(cls, path: Path, rows: int) -> Curves:
        """Read the first `rows` rows: later ones were noted after the checkpoint and will come again.

        Where the file is lost, damaged or shorter, curves without rows and a warning.
        """
        table = read_rows(path, rows)
        return cls() if table is None else cls(list(table.itertuples(index=False, name=None)))

    def __len__(self) -> int:
        return len(self._rows)
