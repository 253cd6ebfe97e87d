"""The tiles of a run that are most like one of them, by the vectors that are stored of each tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from shapely import Polygon

from napari_lumen.errors import RunError
from napari_lumen.explain.ranking import Entry
from napari_lumen.explain.run_map import cell_at
from napari_lumen.explain.run_maps import TILES, RunMaps
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference.run import Run
from napari_lumen.inference.slide_features import FEATURES, features_folder, features_identity
from napari_lumen.inference.tile_plan import TilePlan
from napari_lumen.models import Model
from napari_lumen.slides import Slide

_MOST = 64_000_000  # numbers that are held at once


@dataclass(frozen=True, eq=False)
class TileVectors:
    """A vector a tile.

    Attributes
    ----------
    values : ndarray
        float32 (C, rows, columns); NaN where a tile has none.
    grid : Grid
        A pixel a tile, level-0 px.
    said : str
        What they are, e.g. ``features``.
    """

    values: npt.NDArray[np.float32]
    grid: Grid
    said: str

    def nearest(self, y: float, x: float, count: int = 8) -> tuple[Entry, ...]:
        """Return the tiles most like the one at a point, level-0 px, without itself, the most alike first.

        The value of each is the cosine of the angle between the two vectors, -1 to 1. None where the tile
        at the point has no vector.
        """
        cell = cell_at(self.grid, y, x)
        if cell is None:
            return ()
        flat = self.values.reshape(len(self.values), -1)
        lengths = np.sqrt((flat * flat).sum(axis=0))
        own = cell.y * self.grid.shape[1] + cell.x
        with np.errstate(invalid="ignore", divide="ignore"):
            alike = (flat[:, own] @ flat) / (lengths * lengths[own])
        alike[own] = np.nan
        order = [index for index in np.argsort(-alike, kind="stable").tolist() if np.isfinite(alike[index])]
        columns = self.grid.shape[1]
        return tuple(
            Entry(
                rank,
                float(alike[index]),
                self.grid.region_of(Window(index // columns, index % columns, 1, 1)),
            )
            for rank, index in enumerate(order[:count], start=1)
        )


def tile_vectors(maps: RunMaps, slide: Slide, model: Model | None = None) -> TileVectors | None:
    """Return the vectors that are stored of a run's tiles; None where there are none.

    Of a model that classifies a slide in two stages those of its first stage, while the user's cache has
    them; else the channel gates that the run keeps.

    Parameters
    ----------
    maps : RunMaps
    slide : Slide
        Of the run.
    model : Model, optional
        Of the run; vectors of a first stage are found with it alone.

    Raises
    ------
    RunError
        When what is stored is damaged.
    """
    run, grid = maps.run, Run.grid(maps.run.labels)
    if run.record.card.task == "slide" and model is not None:
        folder = features_folder(slide, features_identity(slide, model, _plan(run), run.record.stain))
        return _read(folder / FEATURES / "0", grid, "features")
    found = (_read(run.path / TILES / name / "0", grid, "channel gates") for name in maps.gates)
    return next((vectors for vectors in found if vectors is not None), None)


def _plan(run: Run) -> TilePlan:
    """Return the plan of a run as far as it decides which vectors are meant: its grid and tiles."""
    record = run.record
    side = record.tile - record.overlap
    step = (record.model_mpp / record.mpp[0], record.model_mpp / record.mpp[1])
    rows, columns = (
        max(1, math.ceil(length / (side * s) - 1e-6))
        for length, s in zip(record.slide_shape, step, strict=True)
    )
    grid = Grid((rows * side, columns * side), step, (0.0, 0.0))
    return TilePlan(grid, 1, record.tile, record.overlap, (), Polygon())


def _read(path: Path, labels: Grid, said: str) -> TileVectors | None:
    if not path.is_dir():
        return None
    try:
        stored: Any = zarr.open_array(str(path), mode="r")
        if stored.size > _MOST:
            return None
        values = np.asarray(stored[:], np.float32)
    except (OSError, ValueError) as error:
        raise RunError(f"What {path} keeps of tiles is damaged. Run the model again.") from error
    values[:, ~values.any(axis=0)] = np.nan  # never written
    # the labels are filled up to even sides
    grid = Grid((values.shape[1], values.shape[2]), labels.step, labels.origin)
    return TileVectors(values, grid, said) if np.isfinite(values).any() else None
