"""Sending fields of a finished run through its model again, flipped and turned."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from napari_lumen.corrections.proposals import deviation
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.run import Run
from napari_lumen.models import load_model
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
            for view in (self._read(middle, view.size, view.mpp) for view in self._views)
        ]
        probability = self._forward.submit(batch).result().probability
        if probability.ndim == 4:
            turned = [of[:, ::down, ::across] for of, (down, across) in zip(probability, _TURNS, strict=True)]
        else:  # a class for the whole field
            turned = [of[:, None, None] for of in probability]
        return float(deviation(np.stack(turned)).mean())

    def _read(self, middle: tuple[float, float], size: int, mpp: float) -> npt.NDArray[np.uint8]:
        own = self._slide.require_mpp()
        step = mpp / own[0], mpp / own[1]
        top, left = (math.floor(at - size * by / 2) for at, by in zip(middle, step, strict=True))
        grid = Grid((size, size), step, (float(top), float(left)))
        pixels: npt.NDArray[np.uint8] = self._slide.read_grid(grid, Window(0, 0, size, size))
        return pixels if self._stain is None else self._stain.apply(pixels)
