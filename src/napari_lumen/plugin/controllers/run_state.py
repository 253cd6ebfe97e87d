"""What the Run model panel shows, and when it lets a run start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lumen.inference.progress import Progress
    from napari_lumen.inference.run import Run
    from napari_lumen.plugin.catalogue import ModelChoice
    from napari_lumen.plugin.layers import RunLayers
    from napari_lumen.slides import Slide

Where = Literal["tissue", "view", "shapes"]
_READING = "Reading the list of models …"


@dataclass(frozen=True, slots=True)
class RunState:
    """All that the panel shows.

    Attributes
    ----------
    slides : tuple of str
        Names of the open slides.
    slide : str or None
        The one to run on.
    models : tuple of ModelChoice
    model : ModelChoice or None
    devices : tuple of (str, str)
        Name and what to show.
    device : str
    where : {"tissue", "view", "shapes"}
    asks_pixel_size : bool
        Whether the slide's file does not state it.
    pixel_size : float or None
        µm, as given by the user.
    blocked : str or None
        Why Run cannot be clicked, and what to do; None when it can.
    running, cancelling : bool
    progress : Progress or None
    message : str
        How the last run ended.
    savable : bool
        Whether the newest result tells objects, which can be saved.
    saving : bool
    """

    slides: tuple[str, ...] = ()
    slide: str | None = None
    models: tuple[ModelChoice, ...] = ()
    model: ModelChoice | None = None
    devices: tuple[tuple[str, str], ...] = (("auto", "Automatic"),)
    device: str = "auto"
    where: Where = "tissue"
    asks_pixel_size: bool = False
    pixel_size: float | None = None
    blocked: str | None = _READING
    running: bool = False
    cancelling: bool = False
    progress: Progress | None = None
    message: str = ""
    savable: bool = False
    saving: bool = False


@dataclass(frozen=True)
class Result:
    """A finished run as the legend shows it."""

    run: Run
    shown: RunLayers
    slide: str


def why_blocked(
    state: RunState, slide: Slide | None, catalogue_read: bool, has_shapes: Callable[[], bool]
) -> str | None:
    """Return why a run cannot start, and what to do; None when it can.

    Parameters
    ----------
    state : RunState
    slide : Slide or None
        The chosen one.
    catalogue_read : bool
        Whether it is known which models there are.
    has_shapes : callable
        Whether closed shapes are selected.
    """
    if state.slide is None:
        return "Open a slide first: drop it on the window, or File > Open Sample > Lumen."
    if not catalogue_read:
        return _READING
    if state.model is None:
        return "No model is installed: put one into the models folder and open this panel again."
    if slide is not None and not slide.is_rgb:
        return (
            f"{state.slide} is no 8-bit colour picture, it holds {len(slide.channels)} x {slide.dtype}: "
            "the models read RGB of 8 bits. Choose a slide of a stained section."
        )
    if state.asks_pixel_size and not state.pixel_size:
        return "Give the pixel size first: the slide's file does not state it."
    if state.where == "shapes" and not has_shapes():
        return "Select one or more closed shapes on a Shapes layer first."
    return None
