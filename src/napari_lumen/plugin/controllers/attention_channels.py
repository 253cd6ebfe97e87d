"""The Channels tool without its widget: the gates of the field under the cursor, and a channel as a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_lumen.errors import RunError
from napari_lumen.plugin.explainers import Asker

if TYPE_CHECKING:
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.attention_source import FieldSource, MapSource
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_reading import Reading


@dataclass(frozen=True, eq=False)
class Gates:
    """The gates of one place.

    Attributes
    ----------
    names : tuple of (str, str)
        Gates that can be chosen: name and title.
    name : str or None
        The chosen one.
    values : ndarray or None
        (C,); None where there are none here.
    place : Region or None
        Field or tile that they are of, level-0 px.
    channel : int or None
        Whose map is shown.
    said : str
        Of what these are, or why there are none.
    """

    names: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    values: npt.NDArray[np.floating] | None = None
    place: Region | None = None
    channel: int | None = None
    said: str = "Choose a run or explain a view: its channel gates come up here."


class ChannelsController:
    """Shows gates and asks for the maps of single channels.

    Parameters
    ----------
    attention : AttentionController
    """

    changed = Signal(object)  # Gates

    def __init__(self, attention: AttentionController) -> None:
        self._attention = attention
        self._wanted: tuple[str, int] | None = None
        self.gates = Gates()
        attention.sourced.connect(self._on_source)
        attention.gates_chosen.connect(self.choose)
        attention.read.connect(self._on_read)
        attention.explained.connect(self._on_explained)
        attention.changed.connect(self._on_changed)
        if attention.source is not None:
            self._on_source(attention.source)

    def choose(self, name: str) -> None:
        """Choose gates by their name."""
        self._show(name, self.gates.place)

    def show_channel(self, channel: int) -> None:
        """Show the map of a channel of the chosen gates; explains the field again where it was not kept."""
        gates, source = self.gates, self._attention.source
        if gates.name is None or gates.values is None or source is None or gates.place is None:
            return
        field = self._attention.field
        if field is not None and _is_of(field, source, gates.place) and field.keeps(gates.name):
            self._take(field, gates.name, channel)
            return
        asker = source.asker if isinstance(source.asker, Asker) else None
        if asker is not None and not self._attention.state.busy:
            self._wanted = (gates.name, channel)
            title = f"Field: {source.card.title}"
            self._attention.explain(asker, gates.place, title, channels=(gates.name,))

    def close(self) -> None:
        """Let go of the panel's controller; may be called twice."""
        self._attention.sourced.disconnect(self._on_source, missing_ok=True)
        self._attention.gates_chosen.disconnect(self.choose, missing_ok=True)
        self._attention.read.disconnect(self._on_read, missing_ok=True)
        self._attention.explained.disconnect(self._on_explained, missing_ok=True)
        self._attention.changed.disconnect(self._on_changed, missing_ok=True)

    # what happens

    def _on_source(self, source: MapSource | None) -> None:
        if source is None:
            self._set(Gates())
            return
        place = None if source.explained is None else source.explained.region
        names = self._names()
        name = self.gates.name if self.gates.name in dict(names) else next((key for key, _ in names), None)
        self._show(name, place)

    def _on_read(self, reading: Reading) -> None:
        source = self._attention.source
        if source is None or source.run is None or reading.point.tile == self.gates.place:
            return
        if self.gates.name in dict(_gates_of(source)):  # the others are of the explained field alone
            self._show(self.gates.name, reading.point.tile)

    def _on_explained(self, field: FieldSource) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and field.keeps(wanted[0]):
            self._take(field, *wanted)
        elif self._field() is field:
            names = dict(self._names())
            name = self.gates.name if self.gates.name in names else next(iter(names), None)
            self._show(name, field.explained_region)

    def _on_changed(self, state: object) -> None:
        if not self._attention.state.busy and self._wanted is not None and self._attention.state.message:
            self._wanted = None  # it was cancelled, or failed

    def _take(self, field: FieldSource, name: str, channel: int) -> None:
        shown = field.with_channel(name, channel)
        self._attention.take_field(shown, f"{name}.channel.{channel}")
        self._show(name, field.explained_region, channel)

    def _show(self, name: str | None, place: Region | None, channel: int | None = None) -> None:
        source = self._attention.source
        if source is None:
            return
        names, field = self._names(), self._field()
        if name is None or name not in dict(names):
            self._set(Gates(names, None, None, place, None, source.hint() or _none(source, field)))
            return
        if field is not None and name not in dict(_gates_of(source)):
            said = f"{len(field.explained[name].values)} channels of the explained field."
            self._set(Gates(names, name, field.explained[name].values, field.explained_region, channel, said))
            return
        values = None
        if place is not None:
            middle = (place.y + place.height / 2, place.x + place.width / 2)
            try:
                values = source.gates_at(name, *middle)
            except RunError as error:
                self._set(Gates(names, name, None, place, None, str(error)))
                return
        if values is None:
            said = "Move the cursor over tiles that the run has analysed."
        elif source.run is not None:
            said = f"{len(values)} channels of the tile under the cursor."
        else:
            said = f"{len(values)} channels of the explained field."
        self._set(Gates(names, name, values, place, channel, said))

    def _set(self, gates: Gates) -> None:
        self.gates = gates
        self.changed.emit(gates)

    def _field(self) -> FieldSource | None:
        """Return the field that was explained last by the model of the source, on its slide."""
        field, source = self._attention.field, self._attention.source
        if field is None or source is None or field.asker != source.asker:
            return None
        return field if field.fingerprint == source.fingerprint else None

    def _names(self) -> tuple[tuple[str, str], ...]:
        """Return all gates: those of the source, then those of the field that a run does not keep."""
        sources = (self._attention.source, self._field())
        return tuple(dict(pair for source in sources if source for pair in _gates_of(source)).items())


def _gates_of(source: MapSource) -> tuple[tuple[str, str], ...]:
    from napari_lumen.explain.titles import full_title

    lines = (node for root in source.tree for node in root.walk())
    return tuple((node.name, full_title(node.name)) for node in lines if node.kind == "channels")


def _none(source: MapSource, field: FieldSource | None) -> str:
    """Return why there are no gates, and what to do."""
    if source.run is None or field is not None:
        return f"{source.card.title} has no channel gates."
    return (
        f"{source.card.title} has no channel gates, or the run keeps none: right-click on tissue brings "
        "those of the tile there."
    )


def _is_of(field: FieldSource, source: MapSource, place: Region) -> bool:
    """Whether a field was explained by the model of a source and covers a place and no more."""
    return field.asker == source.asker and field.explained_region == place
