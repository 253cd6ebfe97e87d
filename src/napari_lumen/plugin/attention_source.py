"""Where the maps of the Attention panel come from: a run that is shown, or one explained field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from napari_lumen.plugin.attention_tree import Node, field_tree, run_tree
from napari_lumen.plugin.explainers import Asker

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.explain.field_maps import FieldMaps
    from napari_lumen.explain.parts import ExplainedField
    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.explain.run_maps import PointReading, RunMaps
    from napari_lumen.geometry import Pair
    from napari_lumen.inference.run import Run
    from napari_lumen.models import ModelCard


class MapSource(Protocol):
    """Maps of one slide that a model made.

    Attributes
    ----------
    key : str
        Tells it from others: the folder of a run, or ``field``.
    title : str
    fingerprint : str
        Of the slide.
    mpp : (float, float)
        µm per level-0 px, as the maps were made with.
    card : ModelCard
    asker : Asker
        Whose model explains further fields.
    maps : tuple of RunMap
    tree : tuple of Node
    """

    key: str
    title: str
    fingerprint: str
    mpp: Pair
    card: ModelCard
    asker: Asker
    maps: tuple[RunMap, ...]
    tree: tuple[Node, ...]

    @property
    def run(self) -> Run | None:
        """The run, None of a field."""
        ...

    @property
    def explained(self) -> ExplainedField | None:
        """The field, None of a run."""
        ...

    def find(self, name: str) -> RunMap:
        """Return a map by its name; raises `RunError` where there is none."""
        ...

    def at(self, y: float, x: float, distributions: Mapping[str, Distribution] | None = None) -> PointReading:
        """Return what it says at a point, level-0 px."""
        ...

    def gates_at(self, name: str, y: float, x: float) -> npt.NDArray[np.floating] | None:
        """Return the gates (C,) of the tile at a point; None where there are none."""
        ...

    def hint(self) -> str | None:
        """Return how to get what it does not keep, one sentence; None where it has all."""
        ...


class RunSource:
    """What a run keeps; see `MapSource`. Opening one imports torch: not for the GUI thread.

    Parameters
    ----------
    maps : RunMaps
    title : str
    """

    def __init__(self, maps: RunMaps, title: str) -> None:
        record = maps.run.record
        self.key = str(maps.run.path)
        self.title = title
        self.fingerprint = record.fingerprint
        self.mpp = record.mpp
        self.card = record.card
        self.run: Run | None = maps.run
        self.explained: ExplainedField | None = None
        self.asker = Asker(run=maps.run.path)
        self.maps = maps.maps
        self.tree = run_tree(maps)
        self.find = maps.find
        self.at = maps.at
        self.gates_at = maps.gates_at
        self.hint = lambda: maps.hint() or _rest_hint(maps)


class FieldSource:
    """One explained field, which is kept; see `MapSource`.

    Parameters
    ----------
    maps : FieldMaps
    title : str
    fingerprint : str
    mpp : (float, float)
    card : ModelCard
    asker : Asker
        Whose model explained it.
    """

    KEY = "field"

    def __init__(
        self, maps: FieldMaps, title: str, fingerprint: str, mpp: Pair, card: ModelCard, asker: Asker
    ) -> None:
        self.key = self.KEY
        self.title = title
        self.fingerprint = fingerprint
        self.mpp = mpp
        self.card = card
        self.run: Run | None = None
        self.explained: ExplainedField = maps.explained
        self.explained_region = maps.explained.region
        self.asker = asker
        self._fields = maps
        self.maps = maps.maps
        self.tree = field_tree(maps.explained, maps.extra)
        self.find = maps.find
        self.at = maps.at

    def keeps(self, gate: str) -> bool:
        """Whether the channels of a gate were kept, so that each can be shown."""
        return gate in self._fields.explained.channels

    def with_channel(self, gate: str, channel: int) -> FieldSource:
        """Return the same field with one more map: of a channel before its gate.

        Raises
        ------
        RunError
            When the channels of the gate were not kept.
        """
        maps = self._fields.with_channel(gate, channel)
        return FieldSource(maps, self.title, self.fingerprint, self.mpp, self.card, self.asker)

    def gates_at(self, name: str, y: float, x: float) -> npt.NDArray[np.floating] | None:
        """Return the gates (C,) of the field, which are those of all its points."""
        return self.explained[name].values if name in self.explained else None

    def hint(self) -> str | None:
        """Return what to do where the network records nothing."""
        if len(self.tree) > 1:
            return None
        return (
            f"{self.card.title} records no attention: choose a model whose network does, or look at its "
            "probability and entropy."
        )


def _rest_hint(maps: RunMaps) -> str | None:
    """Return how to see what the network records and the run does not keep; None where it keeps all."""
    record, recorded = maps.run.record, maps.recorded
    boxes = {file.name for file in record.files if file.kind == "boxes"}
    kept = {item.name for item in maps.attention}.union(maps.gates, boxes) & recorded
    if len(kept) == len(recorded):
        return None
    return (
        f"This run keeps {len(kept)} of the {len(recorded)} maps and gates that {record.model_title} "
        "records: right-click the tissue, or Explain this view, for the others."
    )
