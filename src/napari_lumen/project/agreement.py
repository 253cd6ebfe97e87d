"""How far two people agree on a slide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.scanlines import Outlines
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import ProjectError
from napari_lumen.evaluation import Overlap, confusion_matrix, kappa
from napari_lumen.geometry import Grid, Region, Window, windows

_LARGEST = 1 << 27  # pixels that are compared; above it every second one, and so on
_TILE = 2048  # px
_MOST = 254  # classes in 8 bits, beside the background
_NO_CLASS = "no class"
_RULES = ("Region*", "Ignore*")  # names that are no classes
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Two people's annotations of one slide, compared pixel by pixel.

    Attributes
    ----------
    classes : ClassTable
        Without the background.
    confusion : ndarray (classes + 1, classes + 1)
        Pixels; rows are the first person's, columns the second's, the background first.
    dice, kappa : mapping of str to float
        By class against all else; NaN where neither has drawn it.
    overall : float
        Cohen's kappa over all classes and the background.
    region : Region
        The rectangle around all that either has drawn, level-0 px; more background would raise kappa.
    step : float
        Level-0 pixels per pixel that was compared.
    """

    classes: ClassTable
    confusion: npt.NDArray[np.int64]
    dice: Mapping[str, float]
    kappa: Mapping[str, float]
    overall: float
    region: Region
    step: float


def agreement(
    first: Sequence[Annotation],
    second: Sequence[Annotation],
    classes: ClassTable | None = None,
    region: Region | None = None,
) -> Agreement:
    """Compare what two people have drawn on one slide.

    Parameters
    ----------
    first, second : sequence of Annotation
        In level-0 pixels (x, y). Where outlines of one person overlap, the later lies on top.
    classes : ClassTable, optional
        Known classes; others are added.
    region : Region, optional
        Where to compare, level-0 px; the rectangle around all outlines when left out.

    Raises
    ------
    ProjectError
        When neither has outlined an area, or there are too many classes.
    """
    sides = Sides.of(first, second, classes, region)
    confusion = sides.empty()
    for _, one, other in sides.tiles():
        confusion += sides.count(one, other)
    return sides.agreement(confusion)


@dataclass(frozen=True, eq=False)
class Sides:
    """What two people have drawn, painted on one grid.

    Attributes
    ----------
    classes : ClassTable
        Of all that either has drawn.
    grid : Grid
        The pixels that are compared.
    """

    classes: ClassTable
    grid: Grid
    _outlines: tuple[Outlines, Outlines]
    _order: Mapping[str, int]

    @classmethod
    def of(
        cls,
        first: Sequence[Annotation],
        second: Sequence[Annotation],
        classes: ClassTable | None = None,
        region: Region | None = None,
    ) -> Sides:
        """Return both sides; the parameters and errors are those of `agreement`."""
        sides = [[item for item in side if _counts(item)] for side in (first, second)]
        names = dict.fromkeys(item.class_name or _NO_CLASS for side in sides for item in side)
        if not names:
            raise ProjectError("Neither of the two has outlined an area: there is nothing to compare.")
        known = () if classes is None else tuple(item for item in classes if item.name in names)
        colors = ClassTable(classes=known)
        for name in names:
            if name not in colors:
                colors = colors.added(name)
        if len(colors) > _MOST:
            raise ProjectError(f"There are {len(colors):,} classes, but at most {_MOST} can be told apart.")
        shown = ClassTable.of([(index, item.name, item.color) for index, item in enumerate(colors, 1)])
        order = {item.name: item.value for item in shown}
        one, other = (
            Outlines(
                [item.geometry for item in side],
                np.array([order[item.class_name or _NO_CLASS] for item in side], np.uint8),
            )
            for side in sides
        )
        return cls(shown, _grid(region or _around(sides)), (one, other), order)

    def tiles(self) -> Iterator[tuple[Window, Labels, Labels]]:
        """Yield the windows of the grid with the values (h, w) of both; 0 where nothing is drawn."""
        one, other = self._outlines
        for window in windows(self.grid.shape, _TILE):
            yield window, one.paint(self.grid, window), other.paint(self.grid, window)

    def empty(self) -> npt.NDArray[np.int64]:
        """Return a confusion matrix of nothing."""
        return np.zeros((len(self._order) + 1,) * 2, np.int64)

    def count(self, one: Labels, other: Labels) -> npt.NDArray[np.int64]:
        """Return the confusion matrix of a tile; rows are the first person's."""
        return confusion_matrix(other, one, range(len(self._order) + 1))

    def agreement(self, confusion: npt.NDArray[np.int64]) -> Agreement:
        """Return how far the two agree, given the matrices of all tiles summed."""
        dice = Overlap.of_confusion(confusion).dice()
        return Agreement(
            self.classes,
            confusion,
            {name: float(dice[index]) for name, index in self._order.items()},
            {name: float(kappa(_one_against_all(confusion, index))) for name, index in self._order.items()},
            float(kappa(confusion)),
            self.grid.region,
            self.grid.step[0],
        )


def _counts(item: Annotation) -> bool:
    return item.geometry.area > 0 and item.class_name not in _RULES


def _around(sides: Sequence[Sequence[Annotation]]) -> Region:
    left, top, right, bottom = shapely.total_bounds([item.geometry for side in sides for item in side])
    left, top = max(0.0, float(np.floor(left))), max(0.0, float(np.floor(top)))
    return Region(top, left, max(1.0, float(np.ceil(bottom)) - top), max(1.0, float(np.ceil(right)) - left))


def _grid(region: Region) -> Grid:
    step = 1
    while (region.height / step) * (region.width / step) > _LARGEST:
        step *= 2
    shape = (max(1, int(region.height // step)), max(1, int(region.width // step)))
    return Grid(shape, (float(step), float(step)), (region.y, region.x))


def _one_against_all(confusion: npt.NDArray[np.int64], index: int) -> npt.NDArray[np.int64]:
    both = confusion[index, index]
    row, column = confusion[index].sum() - both, confusion[:, index].sum() - both
    return np.array([[confusion.sum() - both - row - column, column], [row, both]])
