"""What lies under the cursor: value, percentile, class probabilities and tile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_lumen.errors import RunError
from napari_lumen.geometry import Pair, world_to_level0
from napari_lumen.plugin.placing import origin_of, step_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.explain.run_maps import PointReading
    from napari_lumen.plugin.attention_source import MapSource
    from napari_lumen.plugin.attention_tree import Node
    from napari_lumen.plugin.controllers.attention_state import ChosenMap

_MOST_CLASSES = 4  # that a line of text names


@dataclass(frozen=True, eq=False)
class Reading:
    """What a source says of a point.

    Attributes
    ----------
    point : PointReading
    name, title : str
        Of the shown map; "" where none is.
    value, percentile : float
        Of that map; NaN where nothing was computed, or not all of its values are read yet.
    """

    point: PointReading
    name: str
    title: str
    value: float
    percentile: float

    @property
    def said(self) -> tuple[str, ...]:
        """Lines for a card: the value, the classes, the place."""
        point = self.point
        if not point.analysed and math.isnan(self.value):
            return ("The model did not look here.",)
        lines = []
        if self.title:
            above = "" if math.isnan(self.percentile) else f", higher than {self.percentile:.0f} % of the map"
            lines.append("No value here" if math.isnan(self.value) else f"Value {self.value:.4g}{above}")
        if point.probabilities:
            lines.append(_classes_said(point.probabilities))
        if point.tile is not None:
            tile = point.tile
            side = f"{tile.width:.0f} × {tile.height:.0f} px"
            lines.append(f"Tile at x {round(tile.x)}, y {round(tile.y)}, {side} of the slide")
        return tuple(lines)


def numbers_said(source: MapSource, node: Node) -> str:
    """Return what a line of the tree says that is no map: the classes of the whole field, or a table."""
    if node.kind == "classes" and source.explained is not None:
        item = source.explained[node.name]
        said = _classes_said(dict(zip(item.labels, item.values.tolist(), strict=True)))
        return f"The model answers for the whole field: {said}. The map that was shown stays."
    return (
        f"{node.title} is a table, which has no place on the slide: napari-lumen explain writes it to a file."
    )


def _classes_said(probabilities: Mapping[str, float]) -> str:
    """Return the most probable classes in one line."""
    classes = sorted(probabilities.items(), key=lambda pair: -pair[1])[:_MOST_CLASSES]
    return ", ".join(f"{name} {value:.2f}" for name, value in classes)


def point_under(cursor: tuple[float, ...], slide: Layer) -> Pair:
    """Return the point of a slide under a cursor, level-0 px."""
    origin = origin_of(slide)
    return world_to_level0((cursor[-2] - origin[0], cursor[-1] - origin[1]), step_of(slide))


def reading_at(
    source: MapSource, current: ChosenMap | None, spread: Distribution | None, point: Pair
) -> Reading:
    """Return what a source says of a point of its slide, level-0 px.

    Raises
    ------
    RunError
        When a map of it is damaged.
    """
    name = "" if current is None else current.item.name
    known = {name: spread} if name and spread is not None else {}
    found = source.at(*point, known)
    value = found.values.get(name, float("nan"))
    percentile = found.percentiles.get(name, float("nan"))
    return Reading(found, name, "" if current is None else current.title, value, percentile)


class CursorReader:
    """Says in napari's status bar what lies under the cursor, where that is another than before.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._asked: object = None
        self._said = ""
        viewer.events.status.connect(self._on_status)

    def read(
        self, slide: Layer, source: MapSource, current: ChosenMap | None, spread: Distribution | None
    ) -> Reading | None:
        """Return what lies there; None off the canvas, as before, or where the map is damaged."""
        if not self._viewer.mouse_over_canvas:
            self.forget()
            return None
        point = point_under(self._viewer.cursor.position, slide)
        asked = (point, source, current, spread)
        if asked == self._asked:
            return None
        self._asked = asked
        try:
            found = reading_at(source, current, spread, point)
        except RunError:  # the layer has told of it
            self._said = ""
            return None
        said = " · ".join(found.said)
        self._said = f"{found.title}: {said}" if found.title else said
        self._viewer.status = self._said
        return found

    def forget(self) -> None:
        """Leave the status bar to napari."""
        self._asked, self._said = None, ""

    def close(self) -> None:
        """Let go of the viewer."""
        self.forget()
        self._viewer.events.status.disconnect(self._on_status)

    def _on_status(self, event: Any) -> None:
        """Say it again over napari's own text, which comes of a thread, and so often later than ours."""
        if self._said and self._viewer.mouse_over_canvas:
            self._viewer.status = self._said
