"""Outlines whose names are no classes but say what of the slide was annotated, as in QuPath."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.outlines import Outlines
from napari_lumen.comparison.source import Labels
from napari_lumen.geometry import Grid, Region, Window

BACKGROUND, REGION, IGNORED = "Background", "Region*", "Ignore*"
RULES = (BACKGROUND, REGION, IGNORED)
_PART = ClassTable.named(["part"])


def narrowed(annotations: Iterable[Annotation], classes: Iterable[str]) -> set[str]:
    """Return which names of outlines take pixels from the count, as `Region*` and `Ignore*` do.

    Parameters
    ----------
    annotations : iterable of Annotation
    classes : iterable of str
        Names that are classes, and no rules.
    """
    return ({item.class_name or "" for item in annotations} & {REGION, IGNORED}) - set(classes)


@dataclass(frozen=True)
class RuledOutlines(Outlines):
    """Outlines, of which only what lies within the regions that were annotated counts.

    Attributes
    ----------
    regions, ignored : sequence of Annotation
        Where everything was annotated, empty for everywhere; and where nothing counts.
    ignore : int
        Label value of what does not count.
    """

    regions: Sequence[Annotation] = ()
    ignored: Sequence[Annotation] = ()
    ignore: int = 0

    @classmethod
    def of(cls, outlines: Outlines, ignore: int | None) -> RuledOutlines:
        """Tell the rules from the classes of some outlines; without an `ignore`, all of the slide counts."""
        known = {item.name for item in outlines.classes}
        rules = {REGION, IGNORED} - known
        rest = [item for item in outlines.annotations if (item.class_name or "") not in rules]
        regions, ignored = (
            [item for item in outlines.annotations if item.class_name == name and ignore is not None]
            if name in rules
            else []
            for name in (REGION, IGNORED)
        )
        skipped = {} if BACKGROUND in known else {BACKGROUND: 0}
        return cls(
            outlines.name,
            rest,
            outlines.classes,
            {**skipped, **outlines.skipped},
            regions,
            ignored,
            ignore or 0,
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and right edge of all outlines and regions, level-0 px."""
        bottom, right = super().bounds
        region = self.extent
        return (bottom, right) if region is None else (max(bottom, region.bottom), max(right, region.right))

    @property
    def extent(self) -> Region | None:
        """The rectangle around the regions, level-0 px; None for everywhere."""
        if not self.regions:
            return None
        left, top, right, bottom = self._regions.box
        return Region(top, left, bottom - top, right - left)

    def labels(self, grid: Grid, window: Window) -> Labels:
        """Return the label values of the outlines in a window of a grid."""
        values = super().labels(grid, window)
        if self.regions:
            values[self._regions.labels(grid, window) == 0] = self.ignore
        if self.ignored:
            values[self._ignored.labels(grid, window) > 0] = self.ignore
        return values

    @cached_property
    def _regions(self) -> Outlines:
        return _parts(self.name, self.regions)

    @cached_property
    def _ignored(self) -> Outlines:
        return _parts(self.name, self.ignored)


def _parts(name: str, annotations: Iterable[Annotation]) -> Outlines:
    return Outlines(name, [Annotation(item.geometry) for item in annotations], _PART)
