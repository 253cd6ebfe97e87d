"""Where a network looked in one field of view: one forward pass, and all that it recorded in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import RunError
from napari_lumen.explain.field_pass import FieldPass
from napari_lumen.explain.parts import ExplainedField
from napari_lumen.explain.place import Field, field_of
from napari_lumen.explain.placing import GATED, placed
from napari_lumen.explain.two_stages import tissue_patches
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.models import Model, ModelCard
from napari_lumen.models.device import resolve_device
from napari_lumen.slides import Slide
from napari_lumen.stain.colour_table import ColourTable
from napari_lumen.stain.normalisation import colour_table
from napari_lumen.stain.of_slide import stain_of_slide
from napari_lumen.tissue import Mask, tissue_mask

RGB = npt.NDArray[np.uint8]


class Explainer:
    """A model made ready to explain one field after the other; one thread at a time may use it.

    Parameters
    ----------
    model : Model
    device : str
        ``auto``, ``cpu``, ``cuda``, ...

    Raises
    ------
    RunError
        When there is no such device.
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        self.model = model
        self.network = FieldPass(model, resolve_device(device))
        self._mask: tuple[str, tuple[Mask, Grid]] | None = None

    def explain(
        self,
        slide: Slide,
        place: Region | Pair,
        *,
        stain: ColourTable | None = None,
        channels: Sequence[str] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> ExplainedField:
        """Send a field through the network and place all that it recorded.

        A model that classifies a slide in two stages sees of it the field's tissue alone: near the edges of
        the field it can say another thing than a run, see `run_tile`.

        Parameters
        ----------
        slide : Slide
        place : Region or (float, float)
            See `field_of`.
        stain : ColourTable, optional
            See `stain_table`.
        channels : sequence of str, optional
            Gates whose channels are kept as maps; by default those of gated attention alone, since channels
            of large maps take much memory. See `channel_map`.
        check : callable, optional
            Called often while tissue is looked for, see `tissue`; what it raises ends that.

        Raises
        ------
        SlideError
            When the slide cannot be read there, or its pixel size is unknown.
        RunError
            When the place is outside the slide or too large, memory does not suffice, or two stages find no
            tissue there.
        ModelError
            When the network does not fit its card.
        """
        field = field_of(slide, self.model.card.input, place)
        tissue = self.tissue(slide, field, check)
        return self.explain_views(read_views(slide, field, stain), field, channels=channels, tissue=tissue)

    def tissue(self, slide: Slide, field: Field, check: Callable[[], None] = lambda: None) -> Mask | None:
        """Return which patches of a field a model that classifies a slide in two stages looks at.

        The slide's tissue is looked for once, which takes seconds of a large one.

        Returns
        -------
        ndarray or None
            bool (rows, columns), see `tissue_patches`; None for all other models: there all count.

        Raises
        ------
        RunError
            When there is no tissue on the slide, or in the field.
        """
        card = self.model.card
        if card.task != "slide":
            return None
        if self._mask is None or self._mask[0] != slide.fingerprint:
            self._mask = (slide.fingerprint, tissue_mask(slide, check))
        if not self._mask[1][0].any():
            raise RunError(
                f"No tissue was found on {slide.path.name}: nothing on it stands out from the glass. Choose "
                "another slide, or run the model on the view: over a region it answers for all of it."
            )
        return tissue_patches(*self._mask[1], field.grid, card.input.views[0].size)

    def explain_views(
        self,
        views: Sequence[RGB],
        field: Field,
        *,
        channels: Sequence[str] | None = None,
        tissue: Mask | None = None,
    ) -> ExplainedField:
        """Explain the pixels of a field that are already read, see `read_views` and `tissue`."""
        infos, card = self.network.infos, self.model.card
        gates = [info.name for info in infos if info.kind == "channel"]
        kept = [name for name in gates if name == GATED] if channels is None else list(channels)
        unknown = [name for name in kept if name not in gates]
        if unknown:
            raise RunError(
                f"{card.title} has no channel gate {unknown[0]!r}; there is {', '.join(gates) or 'none'}."
            )
        recorded = self.network.record(views, kept, tissue)
        return placed(card, infos, recorded, field)


def explain_field(
    slide: Slide,
    model: Model,
    place: Region | Pair,
    *,
    device: str = "auto",
    stain: ColourTable | None = None,
    channels: Sequence[str] | None = None,
) -> ExplainedField:
    """Say where a model looked in one field of view: one forward pass with everything recorded.

    Parameters are those of `Explainer`, which is the faster for several fields, and of its `explain`.

    Examples
    --------
    >>> field = explain_field(slide, load_model("nuclei-focusnetpp-light"), (1000.0, 1200.0))
    >>> field["d1.0.att0"].grid.region
    """
    return Explainer(model, device).explain(slide, place, stain=stain, channels=channels)


def read_views(slide: Slide, field: Field, stain: ColourTable | None = None) -> tuple[RGB, ...]:
    """Read the pixels of a field, (h, w, 3) uint8 a view; white outside the slide.

    Raises
    ------
    RunError
        When the slide is no colour picture.
    SlideError
        When it cannot be read there.
    """
    if not slide.is_rgb:
        raise RunError(f"{slide.path.name} is no colour picture: models read stained tissue. Choose another.")
    views = (slide.read_grid(grid, Window(0, 0, *grid.shape)) for grid in field.views)
    return tuple(view if stain is None else stain.apply(view) for view in views)


def stain_table(
    slide: Slide, card: ModelCard, check: Callable[[], None] = lambda: None
) -> ColourTable | None:
    """Return what brings a slide to the stain of a model; None where the model takes slides as they are.

    Looks at fields from all over the slide, as a run does: seconds. For a field of a run,
    `napari_lumen.inference.slide_stain.kept_stain` has it already.

    Parameters
    ----------
    slide : Slide
    card : ModelCard
    check : callable, optional
        Called often; what it raises ends the search.
    """
    if card.input.stain is None:
        return None
    found = stain_of_slide(slide, card.input.stain, card.mpp, check)
    return None if found is None else colour_table(card.input.stain, found)
