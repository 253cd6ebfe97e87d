"""Layers that show one set of annotations: napari keeps outlines and points apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_lumen.plugin.layers import KEY, LayerData
from napari_lumen.plugin.placing import facts_of

if TYPE_CHECKING:
    from napari.layers import Layer

_SET = "together"  # in the facts of layers: what those of one set share


def joined(layers: Sequence[LayerData]) -> list[LayerData]:
    """Return layers that will be known as one set."""
    mark = uuid4().hex
    for _, attributes, _ in layers:
        attributes["metadata"][KEY][_SET] = mark
    return list(layers)


def set_of(layer: Layer, layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that show the same set as a layer, itself among them."""
    mark = facts_of(layer).get(_SET)
    return [other for other in layers if other is layer or (mark and facts_of(other).get(_SET) == mark)]
