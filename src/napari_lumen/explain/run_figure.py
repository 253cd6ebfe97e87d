"""Figures of what a run keeps, and of an explained field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from napari_lumen.annotations.decision import STATES, has_states
from napari_lumen.errors import RunError
from napari_lumen.explain.distribution import Distribution
from napari_lumen.explain.drawing import Drawing
from napari_lumen.explain.figure import Frame, Shown, Style, figure
from napari_lumen.explain.parts import ExplainedField, Item
from napari_lumen.explain.run_map import RunMap
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.explain.titles import full_title
from napari_lumen.geometry import Region
from napari_lumen.slides import Slide

_BOX_COLOR = (0, 90, 181)
_MOST_VALUES = 16_000_000  # of a map that are read for a figure
_NOT_COMPARABLE = "Normalised in each tile: values of two tiles cannot be compared"


def run_figure(
    slide: Slide, maps: RunMaps, name: str, region: Region, *, style: Style | None = None
) -> Drawing:
    """Draw a map of a run over a region of its slide.

    Parameters
    ----------
    slide : Slide
        Of the run, see `require_slide_of`.
    maps : RunMaps
    name : str
        See `figure_map_of`.
    region : Region
        Level-0 px.
    style : Style, optional
        Its scaling looks at the values of the region where it is over a ``selection`` or ``tile``.

    Raises
    ------
    RunError
        When the run has no such map, or nothing of it lies in the region.
    SlideError
        When the slide cannot be read there.
    """
    style = style or Style()
    item, states = figure_map_of(maps, name)
    values, grid = item.read(region, _MOST_VALUES)
    if not values.size:
        raise RunError(f"The region lies beside what {maps.run.path.name} covers. Choose one inside it.")
    spread = item.distribution() if style.scaling.over == "slide" else Distribution.of(values)
    note = _note(item)
    shown = Shown(item.title, values, grid, spread, item.value_range, note, item.within, states)
    record = maps.run.record
    return figure(
        slide, region, shown, source=f"{record.model_title}, run {maps.run.path.name}.", style=style
    )


def figure_map_of(maps: RunMaps, name: str) -> tuple[RunMap, bool]:
    """Return a map of a run, and whether it is to be shown in the colours of a decision.

    Parameters
    ----------
    maps : RunMaps
    name : str
        See `RunMaps.find`; of a tumour probability with ``:states`` after it, it is shown as tumour, normal
        and no label.

    Raises
    ------
    RunError
        When the run has no such map, or it decides nothing.
    """
    item = maps.find(name.removesuffix(STATES))
    if not name.endswith(STATES):
        return item, False
    if not has_states(item.name):
        raise RunError(f"{item.title} is no tumour probability: leave out {STATES} to see it in one colour.")
    return item, True


def field_figure(
    slide: Slide,
    explained: ExplainedField,
    item: Item | None = None,
    *,
    states: bool = False,
    boxes: Sequence[Item] = (),
    style: Style | None = None,
) -> Drawing:
    """Draw a map of an explained field over its tissue, or the tissue alone, with boxes.

    Parameters
    ----------
    slide : Slide
    explained : ExplainedField
    item : Item, optional
        Of kind ``map``.
    states : bool
        Whether it is a tumour probability that is to be shown as tumour, normal and no label.
    boxes : sequence of Item
        Of kind ``boxes``.
    style : Style, optional

    Raises
    ------
    RunError
        When the item is no map.
    SlideError
        When the slide cannot be read there.
    """
    style = style or Style()
    style = replace(style, scaling=replace(style.scaling, over="tile"))  # there are no other values
    shown = None
    if item is not None:
        if item.grid is None:
            raise RunError(f"{item.title} is no map, and so has no picture; it is a list of {item.kind}.")
        note = "" if item.comparable else f"{_NOT_COMPARABLE}{_instead(item.raw)}"
        title, spread = full_title(item.name), Distribution.of(item.values)
        shown = Shown(title, item.values, item.grid, spread, item.value_range, note, explained.region, states)
    frames = [Frame(region, found.title, _BOX_COLOR) for found in boxes for region, _ in found.boxes]
    return figure(
        slide, explained.region, shown, frames=frames, source=f"{explained.title}, one field.", style=style
    )


def require_slide_of(maps: RunMaps, slide: Slide) -> None:
    """See that a slide is the one of a run.

    Raises
    ------
    RunError
        When it is another one.
    """
    record = maps.run.record
    if slide.fingerprint != record.fingerprint:
        raise RunError(
            f"{slide.path.name} is not the slide of {maps.run.path.name}, which was {record.slide}: its "
            "pixels differ. Give that one, wherever it lies now."
        )


def _note(item: RunMap) -> str:
    return "" if item.comparable else f"{_NOT_COMPARABLE}{_instead(item.raw)}"


def _instead(raw: str | None) -> str:
    return "." if raw is None else f"; those of {raw} can."
