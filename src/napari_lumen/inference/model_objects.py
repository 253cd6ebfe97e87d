"""Objects that the model of a run sees about a place, though the run did not mark them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_lumen.corrections.changes import part_of, sampled
from napari_lumen.corrections.drawn import Mask
from napari_lumen.corrections.object_growing import grown_on_probability
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid
from napari_lumen.inference.run import Run

if TYPE_CHECKING:
    from napari_lumen.inference.proposal_passes import FieldPasses
    from napari_lumen.slides import Slide

_FAINT = 0.02  # probability below which the model has seen nothing
_SHARES = (0.5, 0.65, 0.8, 0.9)  # of the peak: a higher one where the area runs out of the field

Probability = npt.NDArray[np.float32]


class ModelObjects:
    """Asks a run, and where it kept no probabilities its model, for the object about a place.

    The model is loaded when it is first needed, and stays loaded.

    Parameters
    ----------
    run : Run
    slide : Slide
        Of the run.
    """

    def __init__(self, run: Run, slide: Slide) -> None:
        self._run, self._slide = run, slide
        self._passes: FieldPasses | None = None

    def kept(self, class_name: str, grid: Grid) -> Probability | None:
        """Return how probable the run found a class, (h, w) of a grid, 0 to 1; None where it kept nothing."""
        for raster in self._run.record.rasters:
            if raster.kind == "probability" and raster.name == class_name:
                own = self._run.grid(raster)
                window = own.window_of(grid.region)
                values = np.asarray(self._run.levels(raster)[0][window.slices])
                return sampled(values, part_of(own, window), grid) if values.size else None
        return None

    def at(self, class_name: str, grid: Grid, seed: tuple[int, int]) -> Mask | None:
        """Return the object of a class that holds a place, at a threshold that is lowered until it does.

        The threshold is half of what the class has at the place, or more where the area at that threshold
        reaches beyond the field.

        Parameters
        ----------
        class_name : str
            Of the run.
        grid : Grid
            A small field of the slide.
        seed : (int, int)
            Row and column of the place in it.

        Returns
        -------
        ndarray or None
            bool (h, w). None where the model sees nothing of the class there.

        Raises
        ------
        ModelError
            When the model has to be asked and is gone.
        RunError
            When it is another by now, or answers for whole tiles.
        """
        probability = self.kept(class_name, grid)
        if probability is None:
            probability = self._asked(class_name, grid, seed)
        return grown_on_probability(probability, seed, least=_FAINT, shares=_SHARES)

    def _asked(self, class_name: str, grid: Grid, seed: tuple[int, int]) -> Probability:
        from napari_lumen.inference.proposal_passes import FieldPasses  # it needs torch

        if self._passes is None:
            self._passes = FieldPasses(self._run, self._slide)
        middle = (
            grid.origin[0] + (seed[0] + 0.5) * grid.step[0],
            grid.origin[1] + (seed[1] + 0.5) * grid.step[1],
        )
        said, own = self._passes.answer(middle)
        if said.ndim != 3:
            raise RunError(
                f"{self._run.record.model_title} answers for whole tiles, so it outlines nothing: paint the "
                "object, or outline it by its colours."
            )
        names = [item.name for item in self._run.record.card.classes]
        return sampled(said[names.index(class_name)], own, grid)
