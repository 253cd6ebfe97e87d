"""What the Run model panel shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_lumen.inference.progress import Progress
    from napari_lumen.inference.run import Run
    from napari_lumen.plugin.catalogue import ModelChoice
    from napari_lumen.plugin.layers import RunLayers

Where = Literal["tissue", "view", "shapes"]
READING = "Reading the list of models …"


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
    blocked: str | None = READING
    running: bool = False
    cancelling: bool = False
    progress: Progress | None = None
    message: str = ""


@dataclass(frozen=True)
class Result:
    """A finished run as the legend shows it."""

    run: Run
    shown: RunLayers
    slide: str
