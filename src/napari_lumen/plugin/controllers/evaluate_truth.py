"""What a run may be scored against: what is drawn on its slide, what was corrected there, or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.controllers.evaluate_state import (
    ALL,
    CORRECTED,
    FILE,
    IGNORED,
    EvaluateState,
    Scored,
)
from napari_lumen.plugin.evaluation_truth import (
    InFile,
    classes_corrected,
    classes_drawn,
    truth_layers,
    truth_of_corrections,
    truth_of_file,
    truth_of_layers,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.comparison.truth import Truth


class TruthChoice:
    """Finds the truths for a slide, their classes, and what reads them.

    Parameters
    ----------
    viewer : ViewerModel

    Attributes
    ----------
    in_file : InFile
        The classes of the file that is chosen.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.in_file = InFile()
        self._viewer = viewer

    def offered(self, slide: Layer, file: Path | None, runs: Sequence[Scored]) -> tuple[tuple[str, str], ...]:
        """Return keys and titles of all that a run over a slide can be scored against.

        Parameters
        ----------
        slide : Layer
        file : Path or None
            That was chosen.
        runs : sequence of Scored
            That are shown over the slide: the windows of those that were corrected are truths, too.
        """
        names = [item.name for item in truth_layers(slide, self._viewer.layers)]
        found = [(f"layer {name}", name) for name in names]
        if len(found) > 1:
            found.append((ALL, "All that is drawn"))
        found += [
            (f"{CORRECTED}{item.run}", f"Corrected windows of {item.title.removesuffix(', corrected')}")
            for item in runs
            if item.corrected
        ]
        if file is not None:
            found.append((FILE, file.name))
        return tuple(found)

    def classes(self, slide: Layer, truth: str, known: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the classes of a truth, given those of the run."""
        if truth.startswith(CORRECTED):
            return classes_corrected(Path(truth.removeprefix(CORRECTED)))
        return self.in_file.names if truth == FILE else classes_drawn(self._layers(slide, truth), known)

    def values(self, truth: str, known: Mapping[int, str]) -> dict[str, str]:
        """Return what the values of a truth stand for, given those of the run; nothing of one with names."""
        if truth != FILE or not self.in_file.values:
            return {}
        return {name: known.get(int(name), "") for name in self.in_file.names}

    def reader(self, state: EvaluateState, slide: Layer) -> Callable[[ClassTable], Truth]:
        """Return what reads the chosen truth off the GUI thread, given the classes of the run."""
        said = dict(state.names)
        renamed = {name: target for name, target in said.items() if target and target != name}
        # what the user says does not count; of other names the run has no class, but pixels have some value
        renamed |= {name: IGNORED for name in (*state.counted, *state.values) if said.get(name) == ""}
        if state.truth == FILE and state.file is not None:
            path = state.file
            return lambda classes: truth_of_file(path, classes, renamed)
        if (state.truth or "").startswith(CORRECTED):
            folder = Path((state.truth or "").removeprefix(CORRECTED))
            return lambda classes: truth_of_corrections(folder, classes, renamed)
        chosen = self._layers(slide, state.truth or "")
        name = "all that is drawn" if state.truth == ALL else "".join(item.name for item in chosen)
        data, frame = [item.as_layer_data_tuple() for item in chosen], Frame.of(slide)
        return lambda classes: truth_of_layers(name, data, frame, classes, renamed)

    def _layers(self, slide: Layer, truth: str) -> list[Layer]:
        layers = truth_layers(slide, self._viewer.layers)
        if truth == ALL:
            return [item for item in layers if item.visible]
        return [item for item in layers if f"layer {item.name}" == truth][:1]
