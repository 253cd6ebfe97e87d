"""Detections of many slides: as CAMELYON16 takes them, or the peaks of the probability maps of runs."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from napari_lumen.errors import AnnotationError, RunError, first_line
from napari_lumen.inference import Run
from napari_lumen.inference.run import RUN_FILE

_COLUMNS = (("conf", "prob", "score"), ("x",), ("y",))  # how their names begin in headers
_PEAK_MPP = 16.0  # about level 6, in which the challenge's entries look for detections


@dataclass(frozen=True)
class Detections:
    """What was detected on a slide.

    Attributes
    ----------
    points : ndarray (n, 2)
        (y, x) in level-0 px.
    probability : ndarray (n,)
        Above 0.
    mpp : float or None
        µm per level-0 pixel, where it is known.
    """

    points: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    mpp: float | None = None


def read_detections(
    place: Path, class_name: str | None, threshold: float, distance_um: float
) -> dict[str, Detections]:
    """Return what was detected, by the name of the slide; see `evaluate_froc`.

    Raises
    ------
    AnnotationError, RunError
        When there is none, or a file cannot be used.
    """
    if not place.exists():
        raise AnnotationError(f"{place} is not there.")
    if (place / RUN_FILE).exists() or place.is_file():
        entries = [place]
    else:
        entries = sorted(
            entry
            for entry in place.iterdir()
            if entry.suffix.lower() == ".csv" or (entry / RUN_FILE).exists()
        )
    found: dict[str, Detections] = {}
    for entry in entries:
        if entry.is_dir():
            run = Run.open(entry)
            name, detections = run.slide_name, _of_run(run, class_name, threshold, distance_um)
        else:
            name, detections = entry.stem, _of_csv(entry)
        if name in found:
            raise AnnotationError(f"{place} holds detections of {name} twice: which are meant?")
        found[name] = detections
    if not found:
        raise AnnotationError(f"{place} holds neither CSV files of detections nor runs.")
    return found


def _of_csv(path: Path) -> Detections:
    """Read rows of confidence, x and y; a header may come first, and name them in another order."""
    order = list(range(3))
    rows: list[list[float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not any(cell.strip() for cell in row):
                    continue
                try:
                    confidence, x, y = (float(row[place]) for place in order)
                except (ValueError, IndexError):
                    if number == 1 and all(cell.strip()[:1].isalpha() for cell in row if cell.strip()):
                        order = _order(path, row)
                        continue
                    raise AnnotationError(
                        f"{path}, line {number}: {','.join(row)!r} is not confidence, x, y in level-0 pixels."
                    ) from None
                if not (0 < confidence < math.inf and math.isfinite(x) and math.isfinite(y)):
                    raise AnnotationError(
                        f"{path}, line {number}: {','.join(row)!r} is not a confidence above 0 and a place."
                    )
                rows.append([y, x, confidence])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"Cannot read {path}: {first_line(error)}.") from error
    values = np.array(rows, np.float64).reshape(-1, 3)
    return Detections(values[:, :2], values[:, 2])


def _order(path: Path, header: list[str]) -> list[int]:
    """Return where a header has confidence, x and y; as they stand where it names none of them."""
    names = [cell.strip().lower() for cell in header]
    places = [
        next((place for place, name in enumerate(names) if name.startswith(known)), None)
        for known in _COLUMNS
    ]
    found = [place for place in places if place is not None]
    if not found:
        return list(range(3))
    if len(found) < 3:
        raise AnnotationError(f"{path}, line 1: {','.join(header)!r} does not name confidence, x and y.")
    return found


def _of_run(run: Run, class_name: str | None, threshold: float, distance_um: float) -> Detections:
    """Return the peaks of a probability map, at a level of about 16 µm."""
    maps = {raster.name: raster for raster in run.record.rasters if raster.kind == "probability"}
    if class_name is None and len(maps) != 1:
        raise RunError(
            f"{run.path} holds probabilities of {', '.join(maps) or 'no class'}: name one by --class."
        )
    name = class_name or next(iter(maps))
    if name not in maps:
        raise RunError(f"{run.path} holds no probability of {name!r}; there is {', '.join(maps) or 'none'}.")
    raster, mpp = maps[name], run.record.mpp
    finest = run.grid(raster)
    own = max(finest.scale(mpp))
    level = min(len(raster.shapes) - 1, max(0, round(math.log2(_PEAK_MPP / own))))
    values = np.nan_to_num(np.asarray(run.levels(raster)[level]))
    step = np.array(finest.step) * 2**level
    peaks = _peaks(values, threshold, max(1, round(distance_um / (own * 2**level))))
    points = (peaks + 0.5) * step + np.array(finest.origin)
    return Detections(points, values[tuple(peaks.T)].astype(np.float64), mpp[0])


def _peaks(values: npt.NDArray[np.float32], threshold: float, apart: int) -> npt.NDArray[np.intp]:
    """Return the highest pixels (n, 2) above a threshold, more than so many pixels apart.

    skimage's `peak_local_max` looks at a whole square around each pixel: minutes for a slide.
    """
    highest = values == maximum_filter(values, size=2 * apart + 1)
    candidates = np.argwhere(highest & (values > max(threshold, 0)))
    candidates = candidates[np.argsort(-values[tuple(candidates.T)], kind="stable")]
    left = np.ones(len(candidates), bool)
    chosen: list[int] = []
    if len(candidates):
        near = cKDTree(candidates)
        for index in range(len(candidates)):
            if left[index]:
                chosen.append(index)
                left[near.query_ball_point(candidates[index], apart)] = False
    return candidates[chosen]
