"""A slide with annotations, as label images and as areas to draw patches from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.rasterise import rasterise
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError
from napari_lumen.geometry import Grid, Window
from napari_lumen.slides import Slide
from napari_lumen.training.data.fingerprints import checksum
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.data.item import IGNORE, Item

_AREAS = ("Polygon", "MultiPolygon")
_BACKGROUND, _NO_LABEL = "(background)", "(no label)"
_OVERVIEW = 256  # px, longer side


@dataclass(frozen=True)
class AnnotationRules:
    """What the names of annotations say about labels.

    Attributes
    ----------
    classes : ClassTable
        An annotation of one of these names has its value. Where two overlap, the later one lies on top. With
        a single class, annotations without a name are of it.
    unlabelled : {"ignore", "background"}
        What no annotation covers: without a label, or background all over the slide.
    background : tuple of str
        Names of what was outlined as background.
    regions : tuple of str
        Names of outlines within which everything was annotated: what is left there is background.
    ignored : tuple of str
        Names of outlines that have no label, whatever else lies there.
    """

    classes: ClassTable
    unlabelled: Literal["ignore", "background"] = "ignore"
    background: tuple[str, ...] = ("Background",)
    regions: tuple[str, ...] = ("Region*",)  # as in QuPath
    ignored: tuple[str, ...] = ("Ignore*",)

    def value(self, annotation: Annotation, slide: str) -> int:
        """Return the label value of an annotation: that of its class, 0 or `IGNORE`.

        Raises
        ------
        AnnotationError
            When its name means nothing.
        """
        name = annotation.class_name
        if name is None and len(self.classes) == 1:
            return next(iter(self.classes)).value
        if name in self.background or name in self.regions:
            return 0
        if name in self.ignored:
            return IGNORE
        try:
            return self.classes[name or ""].value
        except KeyError:
            known = ", ".join(entry.name for entry in self.classes)
            raise AnnotationError(
                f"{slide} has an annotation {f'of the class {name!r}' if name else 'without a class'}; there "
                f"is {known}. Add the class, or name it in the field ignored of the data."
            ) from None


@dataclass(frozen=True)
class AnnotatedSlide:
    """A slide with its annotations.

    Attributes
    ----------
    item : Item
        Its name, patient and stain group.
    slide : Slide
        RGB, of known pixel size; open for as long as it is trained on.
    annotations : sequence of Annotation
        In level-0 pixels (x, y), pixel edges at integers.
    rules : AnnotationRules
    tissue : geometry, optional
        In the same pixels; background is drawn from there alone.
    """

    item: Item
    slide: Slide
    annotations: Sequence[Annotation]
    rules: AnnotationRules
    tissue: BaseGeometry | None = field(default=None, repr=False)

    def labels(self, grid: Grid, window: Window) -> Labels:
        """Return class values in a window of a grid, each pixel by its centre: uint8 (h, w).

        Outside the slide there is no label.
        """
        place = grid.region_of(window)
        height, width = self.slide.shape
        field = shapely.box(place.x, place.y, place.right, place.bottom)
        ground = Annotation(field, _NO_LABEL if self.rules.unlabelled == "ignore" else _BACKGROUND)
        near = np.sort(self._tree.query(field))
        out = rasterise([ground, *(self._painted[index] for index in near)], grid, self._table, window=window)
        y = grid.origin[0] + (window.y + np.arange(window.height) + 0.5) * grid.step[0]
        x = grid.origin[1] + (window.x + np.arange(window.width) + 0.5) * grid.step[1]
        out[(y < 0) | (y >= height)] = IGNORE
        out[:, (x < 0) | (x >= width)] = IGNORE
        return out

    def overview(self) -> RGB:
        """Return the slide reduced to at most 256 px, to be compared with others: uint8 (h, w, 3)."""
        step = max(1.0, max(self.slide.shape) / _OVERVIEW)
        height, width = (max(1, round(side / step)) for side in self.slide.shape)
        grid = Grid((height, width), (self.slide.shape[0] / height, self.slide.shape[1] / width))
        return self.slide.read_grid(grid, Window(0, 0, height, width))

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of the slide, its annotations and the rules."""
        shapes = [(item.class_name, item.geometry.wkb) for item in self.annotations]
        tissue = None if self.tissue is None else self.tissue.wkb
        return checksum(self.slide.fingerprint, self.rules, shapes, tissue)

    @cached_property
    def areas(self) -> dict[int, list[BaseGeometry]]:
        """What is seen of each class and, as 0, of the background: polygons that do not overlap."""
        height, width = self.slide.shape
        whole = shapely.box(0, 0, width, height)
        shapes = [(one.geometry, self._table[one.class_name or ""].value) for one in self._painted]
        if self.rules.unlabelled == "background":
            shapes.insert(0, (whole if self.tissue is None else self.tissue, 0))
        elif self.tissue is not None:
            shapes = [
                (shape if value else shapely.intersection(shape, self.tissue), value)
                for shape, value in shapes
            ]
        geometries = [shape for shape, _ in shapes]
        tree = shapely.STRtree(geometries)
        found: dict[int, list[BaseGeometry]] = {}
        for index, (shape, value) in enumerate(shapes):
            if value == IGNORE:
                continue
            above = [geometries[other] for other in tree.query(shape, "intersects") if other > index]
            seen = shapely.intersection(shape, whole)
            if above:
                seen = shapely.difference(seen, shapely.union_all(above))
            found.setdefault(value, []).extend(
                part for part in shapely.get_parts(seen) if part.geom_type in _AREAS and part.area > 0
            )
        return {value: parts for value, parts in found.items() if parts}

    @cached_property
    def _painted(self) -> list[Annotation]:
        """Outlines in the order in which they are laid on each other, of the classes of `_table`."""
        layers: tuple[list[Annotation], ...] = ([], [], [])
        for annotation in self.annotations:
            if annotation.geometry.geom_type not in _AREAS:  # points and lines enclose nothing
                continue
            value = self.rules.value(annotation, self.item.name)
            layer = 0 if annotation.class_name in self.rules.regions else 2 if value == IGNORE else 1
            shape = shapely.make_valid(annotation.geometry)
            layers[layer].append(Annotation(shape, self._table[value].name))
        return [annotation for layer in layers for annotation in layer]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([annotation.geometry for annotation in self._painted])

    @cached_property
    def _table(self) -> ClassTable:
        """The classes, with names of ours for the background and for what has no label."""
        ours = [(0, _BACKGROUND, (0, 0, 0)), (IGNORE, _NO_LABEL, (0, 0, 0))]
        return ClassTable(classes=(*ClassTable.of(ours), *self.rules.classes))
