"""One face for what shows annotations, be it Shapes, Points or a pyramid: classes, colours and states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.classified import Classified
from napari_lumen.plugin.annotation_pyramid import SET, slot_colors, slot_features
from napari_lumen.plugin.annotation_shapes import (
    AUTHOR,
    BY_HAND,
    CLASS,
    KIND,
    NUMBER,
    SOURCE,
    TABLE,
    THINNEST,
    TIME,
    class_rgba,
    drawn,
    line_widths,
)
from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.placing import facts_of

if TYPE_CHECKING:
    from napari.layers import Labels, Layer, Points, Shapes

Hidden = frozenset[str]  # names of classes; "" for no class


class Target(Protocol):
    """A layer of annotations."""

    layer: Layer

    @property
    def table(self) -> ClassTable:
        """Its classes."""
        ...

    def counts(self) -> dict[str, int]:
        """Return annotations by class; "" for no class."""
        ...

    def state(self) -> Any:
        """Return what undo goes back to; never changed afterwards."""
        ...

    def restore(self, state: Any, hidden: Hidden) -> None:
        """Go to a state."""
        ...

    def apply(self, table: ClassTable, names: Mapping[str, str], hidden: Hidden) -> None:
        """Take another table; classes called `names` go by their new names."""
        ...

    def show(self, hidden: Hidden) -> None:
        """Colour by class; hidden ones are clear."""
        ...


def target_of(layer: Layer) -> Target | None:
    """Return the face of a layer of annotations, or None of any other."""
    facts = facts_of(layer)
    if facts.get("kind") != KIND:
        return None
    return PyramidTarget(layer) if SET in facts else ShapesTarget(layer)


@dataclass(frozen=True)
class _Drawn:
    data: tuple[Any, ...]
    kinds: tuple[str, ...]
    features: Any
    table: ClassTable


class ShapesTarget:
    """Shapes or Points, the class of each in the table of features."""

    def __init__(self, layer: Shapes | Points) -> None:
        self.layer = layer
        self._of_shapes = hasattr(layer, "shape_type")

    @property
    def drawing(self) -> bool:
        """Whether the mouse adds to the layer now."""
        return str(self.layer.mode).startswith("add")

    @property
    def table(self) -> ClassTable:
        """Its classes."""
        table: ClassTable = facts_of(self.layer)[TABLE]
        return table

    def counts(self) -> dict[str, int]:
        """Return annotations by class; "" for no class. The parts of one count once."""
        features = self.layer.features[: len(self.layer.data)]  # napari keeps rows of what was given up
        if CLASS not in features:
            return {}
        new = features[NUMBER] < 0
        once = features[new | ~features.duplicated(NUMBER)]
        return {str(name): int(count) for name, count in once[CLASS].value_counts().items()}

    def state(self) -> _Drawn:
        """Return what undo goes back to."""
        data = tuple(np.array(one) for one in self.layer.data)
        kinds = tuple(str(kind) for kind in self.layer.shape_type) if self._of_shapes else ()
        return _Drawn(data, kinds, self.layer.features.copy(), self.table)

    def restore(self, state: _Drawn, hidden: Hidden) -> None:
        """Go to a state."""
        if self._of_shapes:
            self.layer.data = list(zip(state.data, state.kinds, strict=True)) if state.data else []
            if state.data:
                self.layer.edge_width = line_widths(state.data)
        else:
            self.layer.data = np.array(state.data).reshape(-1, self.layer.ndim)
        self.layer.features = state.features.copy()
        self._keep(state.table)
        self.show(hidden)

    def apply(self, table: ClassTable, names: Mapping[str, str], hidden: Hidden) -> None:
        """Take another table; classes called `names` go by their new names."""
        if names and CLASS in self.layer.features:
            features = self.layer.features.copy()
            features[CLASS] = features[CLASS].replace(dict(names))
            self.layer.features = features
        self._keep(table)
        self.show(hidden)

    def show(self, hidden: Hidden) -> None:
        """Colour by class; hidden ones are clear."""
        if not len(self.layer.data) or CLASS not in self.layer.features:
            return
        colors = class_rgba(self.layer.features[CLASS], self.table, hidden)
        if self._of_shapes:
            self.layer.edge_color = colors
        else:
            self.layer.face_color = colors

    def choose(self, name: str | None, author: str, time: str, source: str) -> None:
        """Let what is drawn next be of a class."""
        import pandas as pd

        (color,) = class_rgba([name], self.table)
        self.layer.feature_defaults = pd.DataFrame([drawn(name, author, time, source)])
        # what is selected would change; after an undo some of it is there no more
        selected = {row for row in self.layer.selected_data if row < len(self.layer.data)}
        self.layer.selected_data = set()
        if self._of_shapes:
            self.layer.current_edge_color = color
            self.layer.current_face_color = "transparent"
            self.layer.current_edge_width = THINNEST
        else:
            self.layer.current_face_color = color
        self.layer.selected_data = selected

    def sign(self, name: str | None, author: str, time: str) -> None:
        """Say of what was just added what it is, and who has drawn it when.

        What the mouse draws may have got the row of a drawing that was given up.
        """
        features = self.layer.features
        new = (features[TIME] == "") & (features[NUMBER] < 0)
        if self.drawing:
            new.iloc[-1] = True
            features.loc[new, list(drawn(name))] = list(drawn(name).values())
        features.loc[new, TIME], features.loc[new, AUTHOR], features.loc[new, SOURCE] = time, author, BY_HAND
        features.loc[new, CLASS] = features.loc[new, CLASS].fillna("")

    def forget_given_up(self) -> None:
        """Drop the rows that napari leaves behind of drawings that were given up."""
        count = len(self.layer.data)
        if len(self.layer.features) > count:
            self.layer.features = self.layer.features[:count].copy()

    def reclassify(self, name: str, hidden: Hidden) -> bool:
        """Make the selected shapes of a class; False when none is selected."""
        rows = sorted(self.layer.selected_data)
        if rows:
            features = self.layer.features.copy()
            features.loc[rows, CLASS] = name
            self.layer.features = features
            self.show(hidden)
        return bool(rows)

    def _keep(self, table: ClassTable) -> None:
        self.layer.metadata[KEY] = {**facts_of(self.layer), TABLE: table}


class PyramidTarget:
    """A Labels pyramid, the class of each slot in its `Classified`."""

    def __init__(self, layer: Labels) -> None:
        self.layer = layer

    @property
    def table(self) -> ClassTable:
        """Its classes."""
        return self.state().table

    def counts(self) -> dict[str, int]:
        """Return annotations by class; "" for no class."""
        return {name or "": count for name, count in self.state().counts.items() if count}

    def state(self) -> Classified:
        """Return what undo goes back to."""
        found: Classified = facts_of(self.layer)[SET]
        return found

    def restore(self, state: Classified, hidden: Hidden) -> None:
        """Go to a state."""
        if state.classes != self.state().classes:
            self.layer.features = slot_features(state)
        self.layer.metadata[KEY] = {**facts_of(self.layer), SET: state}
        self.show(hidden)

    def apply(self, table: ClassTable, names: Mapping[str, str], hidden: Hidden) -> None:
        """Take another table; classes called `names` go by their new names."""
        found = self.state()
        classes = tuple(names.get(name or "", name) for name in found.classes)
        self.restore(replace(found, table=table, classes=classes), hidden)

    def show(self, hidden: Hidden) -> None:
        """Colour by class; hidden ones are clear."""
        self.layer.colormap = slot_colors(self.state(), hidden)
