"""What a training can learn from: what is drawn on a slide, its corrections, a project, a folder."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.corrections.index import INDEX
from napari_lumen.corrections.subject import corrections_folder, folder_beside
from napari_lumen.plugin.annotation_layers import annotations_on, class_names
from napari_lumen.plugin.placing import facts_of, fingerprint_of
from napari_lumen.plugin.training_data import DataRequest

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.plugin.controllers.slides import SlideLayers
    from napari_lumen.plugin.controllers.train_state import TrainState

_WINDOW = 256  # px, side of the windows that annotations are cut into
_FINEST = 0.5  # µm per pixel of these, where no model says another


class TrainingSources:
    """Turns what the user chose into data to be looked at.

    Parameters
    ----------
    viewer : ViewerModel
    slides : SlideLayers
    """

    def __init__(self, viewer: ViewerModel, slides: SlideLayers) -> None:
        self._viewer, self._slides = viewer, slides
        self._drawn = tempfile.mkdtemp(prefix="lumen-annotations-")
        self._looks = 0

    def close(self) -> None:
        """Delete the windows that were cut to be looked at."""
        shutil.rmtree(self._drawn, ignore_errors=True)

    def request(self, state: TrainState) -> DataRequest | None:
        """Return what is to be looked at; None where there is nothing yet."""
        held_out = state.held_out / 100
        if state.data == "folder":
            return None if state.folder is None else DataRequest("folder", held_out, state.folder)
        if state.data == "project":
            if state.folder is None:
                return None
            mpp = _FINEST if state.start is None else state.start.mpp
            return DataRequest(
                "project", held_out, state.folder, elsewhere=state.elsewhere, mpp=mpp, author=state.author
            )
        layer = self._slides.named(state.slide)
        if state.data == "corrections":
            folder = state.folder or self._corrections(layer)
            return None if folder is None else DataRequest("corrections", held_out, folder)
        if layer is None:
            return None
        slide = self._slides.slide(layer)
        annotations = tuple(annotations_on(self._viewer, layer))
        names = tuple(class_names(list(annotations)))
        if not names or slide.mpp is None:
            return None
        self._looks += 1  # an earlier look may still write
        return DataRequest(
            "annotations",
            held_out,
            Path(self._drawn) / str(self._looks),
            slide=slide,
            annotations=annotations,
            names=names,
            elsewhere=state.elsewhere,
            mpp=max(_FINEST, *slide.mpp) if state.start is None else state.start.mpp,
            size=_WINDOW,
        )

    @staticmethod
    def asks_slide(state: TrainState) -> bool:
        """Whether what is learned from depends on the slide that is chosen."""
        return state.data == "annotations" or (state.data == "corrections" and state.folder is None)

    def nothing(self, state: TrainState) -> str:
        """Return why there is nothing to look at."""
        if state.data == "folder":
            return "Choose a folder of images with labels."
        if state.data == "project":
            return "Choose the folder of a project."
        layer = self._slides.named(state.slide)
        if layer is None:
            return "Open a slide first: drop it on the window, or File > Open Sample > Lumen."
        if state.data == "corrections":
            return "Nothing is corrected on this slide yet: correct some windows, or choose a folder."
        if self._slides.slide(layer).mpp is None:
            return "Give the slide's pixel size first, in the Slide panel."
        return "Nothing is drawn on the slide: add a Shapes layer named as a class, and outline some."

    def _corrections(self, slide: Layer | None) -> Path | None:
        """Return the folder of corrections that belongs to what is shown on a slide."""
        if slide is None:
            return None
        runs = dict.fromkeys(
            facts_of(layer)["run"]
            for layer in reversed(self._viewer.layers)
            if "run" in facts_of(layer) and fingerprint_of(layer) == fingerprint_of(slide)
        )
        places = [*(Path(run) for run in runs), folder_beside(self._slides.slide(slide).path)]
        return next((place for place in places if (corrections_folder(place) / INDEX).is_file()), None)
