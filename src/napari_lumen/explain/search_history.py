"""What an architecture search tries and finds: the weights of its operations over epochs, and the genotype.

NAS-SCAM (Liu et al., MICCAI 2020), section 2.2 and Fig. 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_lumen.errors import RunError
from napari_lumen.models.genotype import CAM_OPS, EDGES, POSITIONS, SAM_OPS, Genotype

CellKind = Literal["sam", "cam"]
ALPHAS, GENOTYPES, GENOTYPE = "alphas.parquet", "genotypes.parquet", "genotype.json"
_OPERATIONS: dict[str, tuple[str, ...]] = {"sam": SAM_OPS, "cam": CAM_OPS}


@dataclass(frozen=True, eq=False)
class Weights:
    """The softmax of the alphas of one cell over the epochs of a search.

    Attributes
    ----------
    position : str
        D1 to U4, or "D1 to U4" of a search that shares one cell.
    cell : {"sam", "cam"}
    edges, operations : tuple of str
    epochs : ndarray (n,)
    values : ndarray (n, edges, operations)
        In [0, 1]; the operations of an edge sum to 1.
    """

    position: str
    cell: CellKind
    edges: tuple[str, ...]
    operations: tuple[str, ...]
    epochs: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    def winners(self, epoch: int = -1) -> tuple[str, ...]:
        """Return the operation of the highest weight on each edge, of an epoch by its place; the last."""
        return tuple(self.operations[index] for index in self.values[epoch].argmax(axis=-1).tolist())


@dataclass(frozen=True, eq=False)
class SearchHistory:
    """A search, finished or going on.

    Attributes
    ----------
    folder : Path
    weights : tuple of Weights
        By position, spatial before channel.
    genotype : Genotype or None
        Of the best epoch where the search has ended, else what the last epoch would give.
    finished : bool
    """

    folder: Path
    weights: tuple[Weights, ...]
    genotype: Genotype | None
    finished: bool

    def of(self, position: str, cell: CellKind) -> Weights:
        """Return the weights of a cell; of a search that shares one, that one at every position.

        Raises
        ------
        RunError
            When there is no such position or cell.
        """
        for item in self.weights:
            if item.cell == cell and (item.position == position or " to " in item.position):
                return item
        raise RunError(
            f"{self.folder} has no weights of {position} {cell}; positions are {', '.join(POSITIONS)}."
        )


def read_search(folder: str | Path) -> SearchHistory:
    """Read what a search has noted so far; call it again while the search goes on.

    Parameters
    ----------
    folder : path
        Of the search itself, or the one that holds it as ``search``.

    Raises
    ------
    RunError
        When there are no weights yet, or they are damaged.
    """
    place = Path(folder)
    if not (place / ALPHAS).exists() and (place / "search").is_dir():
        place = place / "search"
    try:
        table = pd.read_parquet(place / ALPHAS)
        weights = tuple(_weights(table))
    except FileNotFoundError as error:
        raise RunError(
            f"{place} holds no weights of a search: {ALPHAS} appears with its first epoch. Wait for that, or "
            "choose the folder of an architecture search."
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{place / ALPHAS} is damaged. Let the search go on, which writes it anew.") from error
    finished = (place / GENOTYPE).exists()
    return SearchHistory(place, weights, _genotype(place, finished), finished)


def _weights(table: pd.DataFrame) -> Iterator[Weights]:
    for (position, cell), part in table.groupby(["position", "cell"], sort=False):
        operations = _OPERATIONS[cell]
        cube = part.pivot(index="epoch", columns=["edge", "operation"], values="weight").sort_index()
        wanted = pd.MultiIndex.from_product([EDGES, operations])
        values = cube[wanted].to_numpy(float).reshape(len(cube), len(EDGES), len(operations))
        yield Weights(position, cell, EDGES, operations, cube.index.to_numpy(np.int64), values)


def _genotype(place: Path, finished: bool) -> Genotype | None:
    try:
        if finished:
            return Genotype.read((place / GENOTYPE).read_text(encoding="utf-8"))
        return Genotype.read(str(pd.read_parquet(place / GENOTYPES)["genotype"].iloc[-1]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise RunError(f"The genotype in {place} is damaged: {error}.") from error
