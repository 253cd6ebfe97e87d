"""How many of an expert's boxes the maps of a model cover."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import shapely

from napari_lumen.annotations.formats import read_annotations
from napari_lumen.comparison.label_image import IMAGE_SUFFIXES, read_array
from napari_lumen.comparison.outlines import OUTLINE_SUFFIXES
from napari_lumen.errors import AnnotationError, RunError
from napari_lumen.evaluation.bootstrap import bootstrap
from napari_lumen.evaluation.box_report import BoxEvaluation, BoxRow, coverage_of, write_box_report
from napari_lumen.evaluation.boxes import Mask, attention_mask, covered_share, share_in_images
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference import Run
from napari_lumen.inference.run import RUN_FILE

Edges = tuple[float, float, float, float]


class _Map(Protocol):
    """A map laid on a slide or an image."""

    def share(self, box: Edges) -> float:
        """Return which share of a box (top, left, bottom, right; level-0 px) lies in the map."""


@dataclass(frozen=True, slots=True)
class _Above:
    """Where a pixel is in the map: above a share of its range, or above a value."""

    threshold: float
    absolute: bool


def evaluate_boxes(
    maps: str | os.PathLike[str],
    boxes: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    map_name: str | None = None,
    class_name: str | None = None,
    threshold: float = 0.5,
    absolute: bool = False,
    images: str | os.PathLike[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> BoxEvaluation:
    """Count the boxes of which at least half lies in a map; the same as ``napari-lumen evaluate boxes``.

    Parameters
    ----------
    maps : path
        A run, a map (NPY, TIFF, PNG) that covers its image edge to edge, or a folder of these.
    boxes : path
        Outlines (GeoJSON, XML), of which the bounding boxes count, in pixels of the slide or image; a folder
        of such files, named as the maps or the slides of the runs.
    out : path, optional
        Folder for the tables (CSV) and one page.
    map_name : str, optional
        Attention map or class of a run; where it has several, it must be said.
    class_name : str, optional
        Only outlines of this class.
    threshold : float
        Above it a pixel is in the map: a share of the range of the image's map, which is enlarged to the
        image before. Attention of a run that answers each tile as a whole is such a map a tile.
    absolute : bool
        The threshold is a value of the map, as for probabilities.
    images : path, optional
        Folder of the images, named as the maps, where maps are coarser than these.
    resamples, seed : int
        Of the bootstrapped 95 % interval, over images.

    Raises
    ------
    AnnotationError, RunError
        When a map has no boxes, boxes have no map, or a file cannot be used.
    """
    maps, boxes = Path(maps), Path(boxes)
    pairs = _pairs(maps, boxes)
    rows: list[BoxRow] = []
    for name, (said, there) in sorted(pairs.items()):
        found = _edges(there, class_name)
        if not len(found):
            continue
        above = _Above(threshold, absolute)
        one = _of_run(said, map_name, above) if said.is_dir() else _MapFile(said, _size(images, name), above)
        for top, left, bottom, right in found.tolist():
            share = one.share((top, left, bottom, right))
            rows.append(BoxRow(name, top, left, bottom, right, share))
    if not rows:
        raise AnnotationError(f"{boxes} holds no box{f' of the class {class_name!r}' if class_name else ''}.")
    names = sorted({row.image for row in rows})
    of_image = [[row for row in rows if row.image == name] for name in names]

    def coverage(weights: npt.NDArray[np.int64]) -> float:
        drawn = [row for part, times in zip(of_image, weights, strict=True) for row in part * int(times)]
        return coverage_of(drawn)

    evaluation = BoxEvaluation(
        tuple(rows), bootstrap(coverage, names, resamples=resamples, seed=seed), threshold, absolute
    )
    if out is not None:
        facts = [("maps", str(maps)), ("boxes", str(boxes))]
        write_box_report(Path(out), evaluation, f"{maps.name} against {boxes.name}", facts)
    return evaluation


class _MapFile:
    """A map in a file, edge to edge on an image."""

    def __init__(self, path: Path, size: tuple[int, int] | None, above: _Above) -> None:
        values = read_array(path)
        if values.ndim != 2:
            raise AnnotationError(f"{path} is no map: it has the shape {values.shape}. Give one channel.")
        height, width = size or values.shape
        high = above.threshold
        self._mask = values > high if above.absolute else attention_mask(values, (height, width), high)
        self._step = np.array([height, width]) / self._mask.shape

    def share(self, box: Edges) -> float:
        return float(covered_share(self._mask, (np.array(box) / np.tile(self._step, 2))[None])[0])


class _MapOfRun:
    """A map of a run; it may be larger than memory."""

    def __init__(self, run: Run, name: str, above: _Above) -> None:
        raster = next(one for one in run.record.rasters if one.name == name and one.kind != "labels")
        self._grid: Grid = run.grid(raster)
        self._levels = run.levels(raster)
        self._threshold = above.threshold if above.absolute else self._within(above.threshold)

    def share(self, box: Edges) -> float:
        top, left, bottom, right = box
        window = self._grid.window_of(Region(top, left, bottom - top, right - left))
        origin, step = np.array(self._grid.origin), np.array(self._grid.step)
        edges = (np.array(box) - np.tile(origin, 2)) / np.tile(step, 2) - np.tile([window.y, window.x], 2)
        # NaN, where the model did not run, is not above
        mask = np.asarray(self._levels[0][window.slices]) > self._threshold
        return float(covered_share(mask, edges[None])[0])

    def _within(self, share: float) -> float:
        """Return the value at a share of the map's range."""
        import dask.array as da

        low, high = da.compute(da.nanmin(self._levels[0]), da.nanmax(self._levels[0]))
        return float(low + share * (high - low))


class _AttentionOfTiles:
    """Attention of a run whose tiles are answered each as a whole: each is an image of its own."""

    def __init__(self, run: Run, name: str, threshold: float) -> None:
        raster = next(one for one in run.record.rasters if one.name == name and one.kind == "attention")
        self._grid, self._tiles = run.grid(raster), run.tiles
        self._values = run.levels(raster)[0]
        self._side, self._threshold = run.record.tile - run.record.overlap, threshold

    def share(self, box: Edges) -> float:
        return share_in_images(box, self._tiles, self._mask)

    def _mask(self, tile: Window) -> Mask:
        window = self._grid.window_of(self._tiles.region_of(tile))
        values = np.asarray(self._values[window.slices])
        return attention_mask(values, (self._side, self._side), self._threshold)


def _of_run(path: Path, name: str | None, above: _Above) -> _Map:
    run = Run.open(path)
    kinds = {raster.name: raster.kind for raster in run.record.rasters if raster.kind != "labels"}
    if name is None:
        attention = [one for one, kind in kinds.items() if kind == "attention"]
        likely = attention or list(kinds)
        if len(likely) != 1:
            there = ", ".join(kinds) or "none"
            raise RunError(f"{path} holds several maps or none ({there}): name one by --map.")
        name = likely[0]
    if name not in kinds:
        raise RunError(f"{path} holds no map {name!r}; there is {', '.join(kinds) or 'none'}.")
    if run.record.card.task == "classification" and kinds[name] == "attention" and not above.absolute:
        return _AttentionOfTiles(run, name, above.threshold)
    return _MapOfRun(run, name, above)


def _pairs(maps: Path, boxes: Path) -> dict[str, tuple[Path, Path]]:
    """Return map and boxes by the name of the image."""
    said, there = _by_name(maps, IMAGE_SUFFIXES, runs=True), _by_name(boxes, OUTLINE_SUFFIXES, runs=False)
    if len(said) == len(there) == 1 and boxes.is_file():
        name = next(iter(said))
        return {name: (said[name], next(iter(there.values())))}
    for name in sorted(there.keys() - said.keys()):
        raise AnnotationError(f"{maps} holds no map of {name}, of which {boxes} has boxes.")
    for name in sorted(said.keys() - there.keys()):
        raise AnnotationError(
            f"{boxes} holds no boxes of {name}. Where there is none, give a file without any."
        )
    return {name: (said[name], there[name]) for name in there}


def _by_name(place: Path, suffixes: Sequence[str], *, runs: bool) -> dict[str, Path]:
    if not place.exists():
        raise AnnotationError(f"{place} is not there.")
    one = place.is_file() or (place / RUN_FILE).exists()
    found: dict[str, Path] = {}
    for path in [place] if one else sorted(place.iterdir()):
        if runs and (path / RUN_FILE).exists():
            name = Run.open(path).slide_name
        else:
            suffix = next((end for end in suffixes if path.name.lower().endswith(end)), None)
            if suffix is None or path.name.startswith(".") or path.is_dir():
                continue
            name = path.name[: -len(suffix)]
        if name in found:
            raise AnnotationError(f"{place} holds {found[name].name} and {path.name}: which is meant?")
        found[name] = path
    if not found:
        kinds = f"runs or maps ({', '.join(suffixes)})" if runs else f"outlines ({', '.join(suffixes)})"
        raise AnnotationError(f"{place} holds no {kinds}.")
    return found


def _edges(path: Path, class_name: str | None) -> npt.NDArray[np.float64]:
    """Return the boxes of a file, (n, 4): top, left, bottom, right."""
    chosen = [item for item in read_annotations(path) if class_name in (None, item.class_name)]
    bounds = shapely.bounds([item.geometry for item in chosen]).reshape(-1, 4)
    edges = np.asarray(bounds[:, [1, 0, 3, 2]], np.float64)
    return edges[(edges[:, 2:] > edges[:, :2]).all(axis=1)]  # points and lines enclose nothing


def _size(images: str | os.PathLike[str] | None, name: str) -> tuple[int, int] | None:
    """Return height and width of the image of a map, where there is a folder of them."""
    if images is None:
        return None
    from PIL import Image

    for path in sorted(Path(images).glob(f"{name}.*")):
        with Image.open(path) as image:
            return image.height, image.width
    raise AnnotationError(f"{images} holds no image {name}.")
