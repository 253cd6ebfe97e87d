"""Which field of a slide is to be explained, by whose model, and explaining it in a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.geometry import Region
from napari_lumen.plugin.attention_source import FieldSource
from napari_lumen.plugin.explainers import Asker, Explainers
from napari_lumen.plugin.jobs import Emit
from napari_lumen.plugin.placing import origin_of, step_of
from napari_lumen.plugin.regions import view_region

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.geometry import Pair
    from napari_lumen.plugin.attention_source import MapSource
    from napari_lumen.plugin.catalogue import ModelChoice
    from napari_lumen.slides import Slide


@dataclass(frozen=True, slots=True)
class Asked:
    """A field that is to be explained.

    Attributes
    ----------
    asker : Asker
        Whose model.
    place : Region or (float, float)
        Level-0 px: the field, or the middle of a tile.
    title : str
    channels : tuple of str or None
        Gates whose channels are kept, see `Explainer.explain`.
    """

    asker: Asker
    place: Region | Pair
    title: str
    channels: tuple[str, ...] | None = None


def view_asked(viewer: ViewerModel, layer: Layer, slide: Slide, model: ModelChoice) -> Asked | str:
    """Return the field that is in view; else why there is none, and what to do."""
    region = view_region(viewer, step_of(layer), slide.shape, origin_of(layer))
    if region.empty:
        return f"The view shows nothing of {layer.name}: move it over the slide."
    return Asked(Asker(model=model.path), region, f"Field: {model.title}")


def point_asked(source: MapSource | None, model: ModelChoice | None, point: Pair) -> Asked | str | None:
    """Return the tile at a point, level-0 px: that of the run that is looked at, else one around it.

    Else why there is none; None without a run and a model.
    """
    if source is not None and source.run is not None:
        tile = source.at(*point).tile
        if tile is None:
            return "The run has no tile there: click on what it covers."
        return Asked(source.asker, tile, f"Field: {source.card.title}")
    return None if model is None else Asked(Asker(model=model.path), point, f"Field: {model.title}")


def explaining(explainers: Explainers, slide: Slide, asked: Asked) -> Callable[[Emit, Event], FieldSource]:
    """Return the work of a job that explains a field."""

    def work(emit: Emit, cancel: Event) -> FieldSource:
        from napari_lumen.explain.field_maps import FieldMaps

        found, card = explainers.explain(slide, asked.asker, asked.place, cancel, asked.channels)
        maps, mpp = FieldMaps(found), slide.require_mpp()
        return FieldSource(maps, asked.title, slide.fingerprint, mpp, card, asked.asker)

    return work
