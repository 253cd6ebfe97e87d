"""Whether what is drawn on a layer of annotations is kept in a file or a project; the layer itself knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.placing import facts_of

if TYPE_CHECKING:
    from napari.layers import Layer

_CHANGES, _KEPT = "changes", "kept"  # facts: how often it was changed, and how often when it was written last


def note_change(layer: Layer) -> None:
    """Note that something was drawn, changed or deleted."""
    _note(layer, _CHANGES, changes_of(layer) + 1)


def changes_of(layer: Layer) -> int:
    """Return how often a layer was changed; to be asked when it begins to be written."""
    return int(facts_of(layer).get(_CHANGES, 0))


def note_kept(layer: Layer, changes: int) -> None:
    """Note that a layer was written as it was after so many changes: what came since is not kept."""
    _note(layer, _KEPT, changes)


def note_named_kept(layers: Iterable[Layer], names: Iterable[str]) -> None:
    """Note that layers were written just now: of what it saves, napari tells the names."""
    known = set(names)
    for layer in layers:
        if layer.name in known and changes_of(layer):
            note_kept(layer, changes_of(layer))


def is_kept(layer: Layer) -> bool:
    """Whether all that is drawn is in a file or a project; of an empty layer True."""
    return not len(layer.data) or changes_of(layer) <= int(facts_of(layer).get(_KEPT, 0))


def _note(layer: Layer, name: str, changes: int) -> None:
    layer.metadata[KEY] = {**facts_of(layer), name: changes}  # nobody needs to hear of it
