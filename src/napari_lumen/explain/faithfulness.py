"""Does it matter where the map is high? Deleting and inserting its top cells, against random order.

Deletion and insertion after Petsiuk, Das and Saenko (RISE, BMVC 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from napari_lumen.errors import RunError
from napari_lumen.explain.distribution import Distribution
from napari_lumen.explain.field import Explainer, read_views
from napari_lumen.explain.parts import Item
from napari_lumen.explain.place import Field, field_of
from napari_lumen.geometry import Grid, Pair, Region
from napari_lumen.slides import Slide
from napari_lumen.stain.colour_table import ColourTable
from napari_lumen.tissue import Mask

Baseline = Literal["blur", "mean"]
Values = npt.NDArray[np.floating[Any]]
RGB = npt.NDArray[np.uint8]
_FOUND = 0.5  # of the probability: what a segmentation found
_BLUR = 1 / 32  # of the field's longer side: the deviation of the blur


@dataclass(frozen=True, eq=False)
class Curve:
    """What a model says while cells are taken away, or put back.

    Attributes
    ----------
    shares : ndarray
        Share of the cells, from 0 to 1.
    scores : ndarray
        Probability of the class, in [0, 1].
    """

    shares: Values
    scores: Values

    @property
    def area(self) -> float:
        """Under the curve, in [0, 1], by trapezia."""
        return float(np.trapezoid(self.scores, self.shares))


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Whether the cells in which a map is high decide what a model says.

    Attributes
    ----------
    map_name, class_name : str
    baseline : {"blur", "mean"}
    seed : int
    deletion, insertion : Curve
        By the map, its highest cells first.
    random_deletion, random_insertion : tuple of Curve
        Of the same cells in random orders.
    """

    map_name: str
    class_name: str
    baseline: Baseline
    seed: int
    deletion: Curve
    insertion: Curve
    random_deletion: tuple[Curve, ...]
    random_insertion: tuple[Curve, ...]

    @property
    def deletion_gain(self) -> float:
        """Mean area of the random deletions less that by the map: above 0 where the map's cells matter."""
        return _mean_area(self.random_deletion) - self.deletion.area

    @property
    def insertion_gain(self) -> float:
        """Area of the insertion by the map less the mean of the random ones: above 0 where they suffice."""
        return self.insertion.area - _mean_area(self.random_insertion)

    def summary(self) -> str:
        """Return the result in a sentence or two."""
        return (
            f"Area under the curve of {self.class_name}: deletion {self.deletion.area:.3f} (random "
            f"{_mean_area(self.random_deletion):.3f}, lower is better), insertion {self.insertion.area:.3f} "
            f"(random {_mean_area(self.random_insertion):.3f}, higher is better)."
        )


def faithfulness(
    explainer: Explainer,
    slide: Slide,
    place: Region | Pair,
    item: Item,
    *,
    class_name: str | None = None,
    steps: int = 10,
    repeats: int = 3,
    baseline: Baseline = "blur",
    seed: int = 0,
    stain: ColourTable | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Faithfulness:
    """Delete and insert the cells of a field in the order of a map, and in random orders.

    A cell is taken away by the baseline's pixels; only the fine view is changed. Equal cells come in random
    order, those without a value last. The order of a map that has one cell, or the same value in all, would
    be random itself.

    Parameters
    ----------
    explainer : Explainer
    slide : Slide
    place : Region or (float, float)
        Of the field that `item` is of.
    item : Item
        Of kind ``map``.
    class_name : str, optional
        By default that of the highest probability.
    steps : int
        Forward passes a curve.
    repeats : int
        Random orders.
    baseline : {"blur", "mean"}
        The field blurred by 1/32 of its side, or its mean colour.
    seed : int
        Of the random orders: the same seed gives the same result.
    stain : ColourTable, optional
        As the field was explained.
    on_progress : callable
        Called with passes done and all passes before each; what it raises ends the check.

    Returns
    -------
    Faithfulness
        Scores are the probability of the class; of a segmentation its mean over the pixels that were found
        (at least 0.5), or over the field where none was.

    Raises
    ------
    RunError
        When the item is no map, all its values are equal or NaN, or there is no such class.
    """
    if item.grid is None or item.kind != "map":
        raise RunError(f"{item.title} is no map: choose one of the maps of the field.")
    if Distribution.of(item.values).flat:
        raise RunError(
            f"{item.title} {_without_order(item.values)}, so there is no order to check: choose another map "
            "or a larger field."
        )
    if steps < 1 or repeats < 1:
        raise RunError(f"A check needs at least one step and one random order, not {steps} and {repeats}.")
    field = field_of(slide, explainer.model.card.input, place)
    views = read_views(slide, field, stain)
    tissue = explainer.tissue(slide, field)
    score, name = _scorer(explainer, views, tissue, class_name)
    cells = _cells(item, item.grid, field)
    without = _without(views[0], baseline)
    rng = np.random.default_rng(seed)
    count = item.values.size
    orders = [_order(item.values, rng), *(rng.permutation(count) for _ in range(repeats))]
    total, done = 2 + 2 * len(orders) * (steps - 1), 0

    def scored(shown: RGB) -> float:
        nonlocal done
        on_progress(done, total)
        done += 1
        return score(shown)

    ends = scored(views[0]), scored(without)
    shares = np.linspace(0, 1, steps + 1)

    def curve(order: npt.NDArray[np.intp], first: RGB, last: RGB, edges: tuple[float, float]) -> Curve:
        rank = np.empty(count, np.intp)
        rank[order] = np.arange(count)
        at = rank[cells]
        inner = [
            scored(np.where((at < round(share * count))[..., None], last, first)) for share in shares[1:-1]
        ]
        return Curve(shares, np.array([edges[0], *inner, edges[1]]))

    deletions = tuple(curve(order, views[0], without, ends) for order in orders)
    insertions = tuple(curve(order, without, views[0], ends[::-1]) for order in orders)
    on_progress(total, total)
    return Faithfulness(
        item.name, name, baseline, seed, deletions[0], insertions[0], deletions[1:], insertions[1:]
    )


def _without_order(values: Values) -> str:
    if not np.isfinite(values).any():
        return "has no values in this field"
    if values.size == 1:
        return "has one cell in this field"
    return f"is {values[np.isfinite(values)][0]:.4g} all over this field"


def _mean_area(curves: Sequence[Curve]) -> float:
    return float(np.mean([curve.area for curve in curves]))


def _scorer(
    explainer: Explainer, views: tuple[RGB, ...], tissue: Mask | None, class_name: str | None
) -> tuple[Callable[[RGB], float], str]:
    """Return what scores a fine view, and the class that it speaks of."""
    names = [item.name for item in explainer.model.card.classes]
    said = explainer.network.probabilities(views, tissue)
    means = np.nanmean(said.reshape(len(said), -1), axis=1)
    name = names[int(means.argmax())] if class_name is None else class_name
    if name not in names:
        raise RunError(f"{explainer.model.card.title} has no class {name!r}; it has {', '.join(names)}.")
    channel = names.index(name)
    found = said[channel] >= _FOUND if said.ndim == 3 and (said[channel] >= _FOUND).any() else ...

    def score(fine: RGB) -> float:
        said = explainer.network.probabilities((fine, *views[1:]), tissue)
        return float(np.nanmean(said[channel][found]))

    return score, name


def _cells(item: Item, grid: Grid, field: Field) -> npt.NDArray[np.intp]:
    """Return for each pixel of the fine view the number of the cell in which its middle lies."""
    rows, columns = (
        np.minimum((np.arange(side) + 0.5) * own / step, count - 1e-6).astype(np.intp)
        for side, own, step, count in zip(
            field.grid.shape, field.grid.step, grid.step, item.values.shape, strict=True
        )
    )
    return np.asarray(rows[:, None] * item.values.shape[1] + columns, np.intp)


def _order(values: Values, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the cells by their values, the highest first."""
    flat = np.nan_to_num(values.ravel().astype(np.float64), nan=-np.inf)
    return np.asarray(np.lexsort((rng.random(len(flat)), -flat)), np.intp)


def _without(view: RGB, baseline: Baseline) -> RGB:
    """Return a view from which everything was taken away."""
    if baseline == "mean":
        return np.broadcast_to(np.rint(view.mean(axis=(0, 1))).astype(np.uint8), view.shape)
    deviation = max(view.shape[:2]) * _BLUR
    return np.asarray(gaussian_filter(view, (deviation, deviation, 0), mode="nearest"), np.uint8)
