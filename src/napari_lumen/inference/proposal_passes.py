"""Sending fields of a finished run through its model again, flipped and turned."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from napari_lumen.corrections.proposals import deviation
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.run import Run
from napari_lumen.models import View, load_model
from napari_lumen.models.device import resolve_device
from napari_lumen.slides import Slide
from napari_lumen.stain.normalisation import colour_table

# As it is, turned by half, flipped, and flipped and turned: rows and columns stay what they are.
_TURNS = ((1, 1), (-1, -1), (1, -1), (-1, 1))


class FieldPasses:
    """The model of a run, made ready for fields of its slide.

    Parameters
    ----------
    run : Run
    slide : Slide

    Raises
    ------
    RunError
        When the run's model is another by now, or its slide.
    ModelError
        When the model is gone.
    """

    def __init__(self, run: Run, slide: Slide) -> None:
        if slide.fingerprint != run.record.fingerprint:
            raise RunError(f"{run.path} is a run over another slide than {slide.path.name}.")
        model = load_model(run.record.model)
        if model.card.weights_sha256 != run.record.weights_sha256:
            raise RunError(
                f"{run.record.model_title} has other weights than when {run.path} was made: run it again "
                "first."
            )
        self._slide = slide
        self._views = model.card.input.views
        method, found = model.card.input.stain, run.record.stain
        self._stain = None if method is None or found is None else colour_table(method, found)
        self._forward = Forward(model, resolve_device("auto"))

    def disagreement(self, region: Region) -> float:
        """Return how far the answers for the middle of a field lie apart, 0 alike to 1; see `deviation`."""
        middle = region.y + region.height / 2, region.x + region.width / 2
        batch = [
            np.stack([view[::down, ::across] for down, across in _TURNS])
            for view in (self._read(self._field(middle, view)) for view in self._views)
        ]
        probability = self._forward.submit(batch).result().probability
        if probability.ndim == 4:
            turned = [of[:, ::down, ::across] for of, (down, across) in zip(probability, _TURNS, strict=True)]
        else:  # a class for the whole field
            turned = [of[:, None, None] for of in probability]
        return float(deviation(np.stack(turned)).mean())

    def answer(self, middle: Pair) -> tuple[npt.NDArray[np.float32], Grid]:
        """Return the probabilities about a place, float32 (classes, h, w), and where they lie.

        Of a model that answers for whole tiles they are (classes,).

        Parameters
        ----------
        middle : (float, float)
            Level-0 px.
        """
        fields = [self._field(middle, view) for view in self._views]
        batch = [self._read(field)[None] for field in fields]
        said: npt.NDArray[np.float32] = self._forward.submit(batch).result().probability[0]
        whole = fields[0]
        if said.ndim != 3:
            return said, whole
        shape = said.shape[1], said.shape[2]
        step = whole.region.height / shape[0], whole.region.width / shape[1]
        return said, Grid(shape, step, whole.origin)

    def _field(self, middle: Pair, view: View) -> Grid:
        own = self._slide.require_mpp()
        step = view.mpp / own[0], view.mpp / own[1]
        top, left = (math.floor(at - view.size * by / 2) for at, by in zip(middle, step, strict=True))
        return Grid((view.size, view.size), step, (float(top), float(left)))

    def _read(self, field: Grid) -> npt.NDArray[np.uint8]:
        pixels: npt.NDArray[np.uint8] = self._slide.read_grid(field, Window(0, 0, *field.shape))
        return pixels if self._stain is None else self._stain.apply(pixels)
