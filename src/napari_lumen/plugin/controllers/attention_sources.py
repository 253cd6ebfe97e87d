"""Which runs of a slide the Attention panel can look at, and the slide of a run that has moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.plugin.attention_source import RunSource
from napari_lumen.plugin.controllers.attention_state import MissingSlide, SourceChoice
from napari_lumen.plugin.jobs import Emit
from napari_lumen.plugin.opening import AnotherSlideError, open_ready
from napari_lumen.plugin.placing import facts_of, fingerprint_of, is_open, is_result
from napari_lumen.plugin.reader import layers_of_slide
from napari_lumen.slides.moved import remember_place

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Layer

    from napari_lumen.plugin.ready import Ready
    from napari_lumen.slides import Slide


def shown_runs(layers: Sequence[Layer], fingerprint: str | None) -> tuple[SourceChoice, ...]:
    """Return the runs that are shown over a slide, topmost first.

    Parameters
    ----------
    layers : sequence of Layer
        All of the viewer.
    fingerprint : str or None
        Of the slide.
    """
    found: dict[str, str] = {}
    for layer in reversed(layers):
        if is_result(layer) and fingerprint_of(layer) == fingerprint:
            facts = facts_of(layer)
            found.setdefault(facts["run"], f"{facts['model']} ({Path(facts['run']).name})")
    return tuple(SourceChoice(key, title) for key, title in found.items())


def missing_slide(layers: LayerList) -> MissingSlide | None:
    """Return the slide that is not open of a shown run: that of the selected layer, else of the topmost one.

    Parameters
    ----------
    layers : LayerList
        All of the viewer.
    """
    active = layers.selection.active
    ordered = [*([] if active is None else [active]), *reversed(layers)]
    for facts in (facts_of(layer) for layer in ordered if is_result(layer)):
        fingerprint, slide = facts["fingerprint"], facts.get("slide")
        if slide and not is_open(fingerprint, layers):
            return MissingSlide(fingerprint, PureWindowsPath(slide).name, Path(facts["run"]).name)
    return None


def open_moved(path: Path, missing: MissingSlide, emit: Emit, cancel: Event) -> tuple[Slide, Ready]:
    """Open the slide of a run from where it lies now; reads: not for the GUI thread.

    Raises
    ------
    SlideError
        When it cannot be opened, or is another slide; that is closed again.
    Cancelled
    """
    try:
        return open_ready(path, emit, cancel, missing.fingerprint)
    except AnotherSlideError as error:
        raise AnotherSlideError(
            f"{path.name} is not {missing.name}, which the run was made of: its pixels differ."
        ) from error


def add_below_run(layers: LayerList, missing: MissingSlide, opened: tuple[Slide, Ready]) -> None:
    """Put a slide that was found below the results of its runs, and note where it lies."""
    from napari.layers import Layer

    slide, ready = opened
    remember_place(missing.fingerprint, slide.path)
    if is_open(missing.fingerprint, layers):  # it was opened otherwise meanwhile
        slide.close()
        return
    places = [
        index
        for index, layer in enumerate(layers)
        if is_result(layer) and fingerprint_of(layer) == missing.fingerprint
    ]
    place = min(places, default=len(layers))
    for offset, data in enumerate(layers_of_slide(slide, ready)):
        layers.insert(place + offset, Layer.create(*data))


def open_run(key: str, title: str) -> RunSource:
    """Open a run by its folder; reads, and imports torch: not for the GUI thread.

    Raises
    ------
    RunError
        When it cannot be read.
    """
    from napari_lumen.explain.run_maps import RunMaps
    from napari_lumen.inference.run import Run

    maps = RunMaps(Run.open(key))
    _ = maps.analysed  # read here, once
    return RunSource(maps, title)
