"""The long work of the Matters tool: checking a field, and counting covered boxes; not for the GUI thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Literal

from napari_lumen.errors import Cancelled, RunError
from napari_lumen.plugin.jobs import Emit

if TYPE_CHECKING:
    from napari_lumen.explain.coverage import Coverage
    from napari_lumen.explain.faithfulness import Faithfulness
    from napari_lumen.explain.parts import Item
    from napari_lumen.geometry import Pair, Region
    from napari_lumen.plugin.annotation_frame import Frame
    from napari_lumen.plugin.attention_source import MapSource
    from napari_lumen.plugin.controllers.attention_state import ChosenMap
    from napari_lumen.plugin.explainers import Explainers
    from napari_lumen.plugin.layers import LayerData
    from napari_lumen.slides import Slide

Baseline = Literal["blur", "mean"]
_READ = 4_000_000  # values that tell whether a map has any: all of it, or those of a coarser level


@dataclass(frozen=True, slots=True)
class Effort:
    """How thoroughly a field is checked.

    Attributes
    ----------
    key, title : str
    steps : int
        Points of a curve.
    repeats : int
        Random orders.
    """

    key: str
    title: str
    steps: int
    repeats: int

    @property
    def passes(self) -> int:
        """Forward passes that it takes."""
        return 2 + 2 * (1 + self.repeats) * (self.steps - 1)


EFFORTS = (
    Effort("quick", "Quick", 5, 2),
    Effort("usual", "Usual", 10, 3),
    Effort("thorough", "Thorough", 20, 5),
)


@dataclass(frozen=True, eq=False)
class Check:
    """What is to be checked.

    Attributes
    ----------
    chosen : ChosenMap
    point : (float, float)
        In a run, the tile at it is checked; level-0 px.
    class_name : str or None
        None for the most probable.
    effort : Effort
    baseline : {"blur", "mean"}
    """

    chosen: ChosenMap
    point: Pair
    class_name: str | None
    effort: Effort
    baseline: Baseline


@dataclass(frozen=True, eq=False)
class Checked:
    """What came of a check.

    Attributes
    ----------
    title : str
        Of the map.
    region : Region
        The field, level-0 px.
    mpp : (float, float)
    result : Faithfulness
    """

    title: str
    region: Region
    mpp: Pair
    result: Faithfulness


def check_field(wanted: Check, slide: Slide, explainers: Explainers, emit: Emit, cancel: Event) -> Checked:
    """Delete and insert what a map marks in a field; emits passes that are done, and all.

    Raises
    ------
    ModelError
        When the model is gone, or no longer the one that made the maps.
    RunError
        When the model does not record the map in a single field.
    Cancelled
    """
    from napari_lumen.explain.faithfulness import faithfulness

    source, name = wanted.chosen.source, wanted.chosen.item.name

    def tell(done: int, total: int) -> None:
        if cancel.is_set():
            raise Cancelled("The check was not finished.")
        emit((done, total))

    place = _place(source, wanted.point)
    with explainers.use(source.asker) as explainer:
        tell(0, wanted.effort.passes)
        stain = explainers.stain(slide, explainer.model.card, source.asker)
        tell(0, wanted.effort.passes)
        if source.explained is not None:
            item, region = _item(wanted.chosen), source.explained.region
        else:
            found = explainer.explain(slide, place, stain=stain)
            if name not in found:
                raise RunError(f"{wanted.chosen.title} is not a map of a single field: choose another map.")
            item, region = found[name], found.region
        result = faithfulness(
            explainer,
            slide,
            place,
            item,
            class_name=wanted.class_name,
            steps=wanted.effort.steps,
            repeats=wanted.effort.repeats,
            baseline=wanted.baseline,
            stain=stain,
            on_progress=tell,
        )
    return Checked(wanted.chosen.title, region, source.mpp, result)


def covered_boxes(chosen: ChosenMap, layers: Sequence[LayerData], frame: Frame) -> Coverage:
    """Say which of the boxes around what people have outlined a map covers, see `run_box_coverage`.

    Outlines that a model has made do not count: a map would be scored against itself.

    Raises
    ------
    RunError
        When nothing is outlined on the map, or the map has no values.
    """
    import numpy as np

    from napari_lumen.explain.coverage import box_coverage, run_box_coverage
    from napari_lumen.plugin.annotation_writer import annotations_in

    drawn = [
        item for item in annotations_in(layers, frame) if item.source is None or item.source.model is None
    ]
    if not drawn:
        raise RunError(
            "Nothing is outlined by hand on this slide: outline what matters in Annotations first."
        )
    run = chosen.source.run
    if not np.isfinite(chosen.item.read(None, _READ)[0]).any():
        raise RunError(f"{chosen.title} has no values here.")
    found = (
        box_coverage(*chosen.item.read(), drawn, within=chosen.item.within)
        if run is None
        else run_box_coverage(run, chosen.item, drawn)
    )
    if not len(found.shares):
        raise RunError(f"None of the outlines lies where {chosen.title} was computed.")
    return found


def _place(source: MapSource, point: Pair) -> Region | Pair:
    if source.explained is not None:
        return source.explained.region
    return source.at(*point).tile or point


def _item(chosen: ChosenMap) -> Item:
    """Return a map of a field as an item: also one that was added to it since, as a channel is."""
    from napari_lumen.explain.parts import Item

    values, grid = chosen.item.read()
    return Item(chosen.item.name, chosen.title, chosen.item.description, "map", values, grid)
