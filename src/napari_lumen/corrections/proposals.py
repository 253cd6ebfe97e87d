"""Which fields of a slide are most worth correcting next: the measures, and lists of fields as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from shapely import box

from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import RunError
from napari_lumen.geometry import Region
from napari_lumen.holding import write_text

By = Literal["entropy", "disagreement", "flips", "attention", "diversity", "random"]
METHODS: tuple[By, ...] = get_args(By)
Array = npt.NDArray[np.floating[Any]]

_TINY = 1e-12
_COLUMNS = ("rank", "y", "x", "height", "width", "by", "score", "reason")
_CLASS = "proposal"


@dataclass(frozen=True)
class Proposal:
    """A field that is worth correcting.

    Attributes
    ----------
    region : Region
        Level-0 px.
    score : float
        The higher, the more it is worth, by the same measure.
    by : str
        The measure.
    reason : str
        One sentence.
    """

    region: Region
    score: float
    by: By
    reason: str


def entropy(probability: Array) -> Array:
    """Return how unsure a model is of each pixel: 0 sure, 1 all classes alike.

    Shannon's entropy over the classes and the background, over its largest value.

    Parameters
    ----------
    probability : ndarray
        (C, h, w) in [0, 1] without the background, which is what is left to 1.

    Returns
    -------
    ndarray
        (h, w).
    """
    background = np.clip(1 - probability.sum(axis=0), 0, 1)
    total = probability.sum(axis=0) + background  # classes that are not exclusive come to more than 1
    # one class after the other: of a strip of a slide no array of all is held
    found = _terms(background / total)
    for of_class in probability:
        found = found + _terms(of_class / total)
    return np.asarray(found / np.log(len(probability) + 1))


def _terms(probability: Array) -> Array:
    return np.asarray(-probability * np.log(np.maximum(probability, _TINY)))


def deviation(passes: Array) -> Array:
    """Return how far several answers for the same pixels lie apart: 0 alike, 1 opposite.

    The mean total variation distance to the mean answer, doubled.

    Parameters
    ----------
    passes : ndarray
        (N, C, h, w) probabilities, without the background.

    Returns
    -------
    ndarray
        (h, w).
    """
    background = 1 - passes.sum(axis=1, keepdims=True)
    all_classes = np.concatenate([background, passes], axis=1)
    apart = np.abs(all_classes - all_classes.mean(axis=0)).sum(axis=1) / 2
    return np.asarray(np.minimum(1, 2 * apart.mean(axis=0)))


def spread(attention: Array) -> float:
    """Return how far attention varies over a field: its standard deviation over its mean.

    0 where it is alike everywhere. There a model sees nothing, and is hardly ever wrong (`docs/papers.md`).

    Parameters
    ----------
    attention : ndarray
        (h, w), not negative; NaN where the model did not look.
    """
    known = attention[np.isfinite(attention)].astype(np.float64)
    return float(known.std() / known.mean()) if known.any() else 0.0


def k_centre(features: Array, count: int, chosen: Array | None = None) -> list[tuple[int, float]]:
    """Return the rows that cover a set best, one after the other: each the farthest from those before.

    The greedy algorithm 1 of Sener and Savarese, Active learning for convolutional neural networks: a
    core-set approach, ICLR 2018.

    Parameters
    ----------
    features : ndarray
        (n, d).
    count : int
    chosen : ndarray, optional
        (m, d) that are there already; without any, the first is the one nearest to the mean.

    Returns
    -------
    list of (int, float)
        Index, and its distance to the nearest before it; that of the first to the mean.
    """
    if not len(features):
        return []
    found: list[tuple[int, float]] = []
    if chosen is not None and len(chosen):
        nearest = np.min([_distances(features, row) for row in chosen], axis=0)
    else:
        to_mean = _distances(features, features.mean(axis=0))
        first = int(np.argmin(to_mean))
        found.append((first, float(to_mean[first])))
        nearest = _distances(features, features[first])
    while len(found) < min(count, len(features)):
        taken = [index for index, _ in found]
        open_to = nearest.copy()
        open_to[taken] = -1
        index = int(np.argmax(open_to))
        found.append((index, float(nearest[index])))
        nearest = np.minimum(nearest, _distances(features, features[index]))
    return found[:count]


def standardised(features: Array) -> Array:
    """Return features (n, d) with mean 0 and deviation 1 each; those that never change stay 0."""
    deviations = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(deviations > _TINY, deviations, 1))


def write_proposals(proposals: Sequence[Proposal], out: Path) -> None:
    """Write proposals: `.csv`, a row each in level-0 px, or `.geojson`, boxes for QuPath.

    Raises
    ------
    RunError
        When the name says no format, or the file cannot be written.
    AnnotationError
        When the GeoJSON cannot be written.
    """
    suffix = out.suffix.lower()
    if suffix == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for rank, item in enumerate(proposals, start=1):
            place = (item.region.y, item.region.x, item.region.height, item.region.width)
            writer.writerow((rank, *place, item.by, f"{item.score:.6g}", item.reason))
        try:
            write_text(out, text.getvalue())
        except OSError as error:
            raise RunError(f"Cannot write {out}: {error.strerror or error}. Choose another place.") from error
    elif suffix == ".geojson":
        write_annotations(out, [_outlined(rank, item) for rank, item in enumerate(proposals, start=1)])
    else:
        raise RunError(f"{out.name} says no format: name it .csv or .geojson.")


def _outlined(rank: int, item: Proposal) -> Annotation:
    region = item.region
    return Annotation(
        box(region.x, region.y, region.right, region.bottom),
        _CLASS,
        name=f"{rank}. {item.reason}",
        measurements={"rank": float(rank), item.by: item.score},
    )


def _distances(features: Array, row: Array) -> Array:
    return np.asarray(np.linalg.norm(features - row, axis=1))
