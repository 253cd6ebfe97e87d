"""Which runs of a slide the Attention panel can look at, and the slide of a run that has moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.errors import LumenError
from napari_lumen.plugin.attention_source import RunSource
from napari_lumen.plugin.controllers.attention_state import SourceChoice
from napari_lumen.plugin.moved_slides import remember_place
from napari_lumen.plugin.placing import facts_of, fingerprint_of, is_result

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.plugin.controllers.slides import SlideLayers


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


def missing_slide(layers: Iterable[Layer]) -> str | None:
    """Return the name of the slide of a shown run, where no slide is open; None where no run is shown."""
    shown = (facts_of(layer) for layer in layers if is_result(layer))
    return next((Path(facts["slide"]).name for facts in shown), None)


def open_moved(viewer: ViewerModel, slides: SlideLayers, path: Path) -> str:
    """Open the slide of a shown run from where it lies now; it is found there from then on.

    Returns
    -------
    str
        Why that is not its slide; "" where it is, or where the reader has told why it cannot be opened.
    """
    wanted = {fingerprint_of(layer) for layer in viewer.layers if is_result(layer)}
    try:
        viewer.open(str(path), plugin="napari-lumen")
    except LumenError:
        return ""
    found = wanted & {fingerprint_of(layer) for layer in slides.layers()}
    for fingerprint in found:
        if fingerprint is not None:
            remember_place(fingerprint, path)
    return "" if found else f"{path.name} is not the slide of the run: its pixels differ."


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
