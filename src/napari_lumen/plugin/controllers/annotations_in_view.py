"""Of annotations too many for Shapes, the outlines of those in view, above the pyramid of them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.plugin.annotation_pyramid import OUTLINES, SET
from napari_lumen.plugin.annotation_shapes import class_rgba, line_widths, parts_of
from napari_lumen.plugin.annotation_targets import Hidden
from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.placing import facts_of, origin_of, step_of
from napari_lumen.plugin.regions import view_region

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Shapes

MOST_IN_VIEW = 1_000  # outlines that napari draws anew within a tenth of a second
KIND_IN_VIEW = "annotations in view"


class AnnotationsInView:
    """Keeps a layer of Shapes, for looking only, on what is in view of a pyramid of annotations.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None

    def show(self, pyramid: Labels | None, hidden: Hidden = frozenset()) -> None:
        """Outline what is in view of a pyramid; nothing where that is too much, hidden, or there is none."""
        if pyramid is None or pyramid not in self._viewer.layers:
            self.remove()
            return
        found = facts_of(pyramid)[SET]
        numbers = self._in_view(pyramid) if pyramid.visible else []
        parts = [
            (corners, kind, found.classes[found.slots[number]])
            for number in numbers
            for kind, corners in parts_of(found.items[number])
        ]
        layer = self._made_for(pyramid)
        layer.data = [(corners, kind) for corners, kind, _ in parts]
        if parts:
            layer.edge_width = line_widths([corners for corners, _, _ in parts])
            layer.edge_color = class_rgba([name for _, _, name in parts], found.table, hidden)
        layer.editable = False  # new data make it editable

    def remove(self) -> None:
        """Take the layer away."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None

    def _in_view(self, pyramid: Labels) -> Any:
        shape = (pyramid.data[0] if pyramid.multiscale else pyramid.data).shape
        seen = view_region(self._viewer, step_of(pyramid), shape, origin_of(pyramid))
        if seen.empty:
            return []
        numbers = facts_of(pyramid)[OUTLINES].within(seen)
        return numbers if len(numbers) <= MOST_IN_VIEW else []

    def _made_for(self, pyramid: Labels) -> Shapes:
        from napari.layers import Shapes

        facts = {"kind": KIND_IN_VIEW, "of": pyramid, "fingerprint": facts_of(pyramid)["fingerprint"]}
        layer = self._layer
        if layer is None or layer not in self._viewer.layers or facts_of(layer)["of"] is not pyramid:
            self.remove()
            layer = self._layer = Shapes(
                ndim=2,
                name=f"{pyramid.name} · in view",
                scale=pyramid.scale,
                translate=pyramid.translate,
                units=pyramid.units,
                face_color="transparent",
                metadata={KEY: facts},
            )
            active = self._viewer.layers.selection.active
            self._viewer.layers.insert(self._viewer.layers.index(pyramid) + 1, layer)
            self._viewer.layers.selection.active = active
        if not np.array_equal(layer.scale, pyramid.scale):  # a pixel size was given
            layer.scale, layer.translate = pyramid.scale, pyramid.translate
        return layer
