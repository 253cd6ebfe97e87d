"""What the Attention panel shows, and what may be done in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.plugin.attention_source import MapSource
    from napari_lumen.plugin.attention_tree import Node
    from napari_lumen.plugin.catalogue import ModelChoice

FIELD = "field"  # key of the field that is kept
Mode = Literal["range", "percentile", "min-max"]
Over = Literal["tile", "slide", "selection"]
Interpolation = Literal["nearest", "linear"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a map is drawn.

    Attributes
    ----------
    colormap : str
        See `napari_lumen.explain.colours`.
    opacity : float
        In [0, 1].
    gamma : float
    mode, over, low, high
        See `napari_lumen.explain.scaling.Scaling`.
    interpolation : {"nearest", "linear"}
    """

    colormap: str = "attention"
    opacity: float = 0.6
    gamma: float = 1.0
    mode: Mode = "percentile"
    over: Over = "slide"
    low: float = 1.0
    high: float = 99.0
    interpolation: Interpolation = "nearest"


@dataclass(frozen=True, slots=True)
class Legend:
    """What the colours of the shown map mean.

    Attributes
    ----------
    title : str
    limits : (float, float)
        Values at the two ends of the colours.
    said : str
        Between what the colours run, and how that was chosen.
    colors : tuple of (r, g, b, a)
        Evenly spaced, 0 to 1.
    note : str
        What must be known to read it, e.g. that tiles cannot be compared; "" where there is nothing.
    raw : str or None
        Name of the map that can be compared instead.
    names : tuple of str
        What each colour stands for, of a map in the colours of a decision; empty where values change evenly.
    """

    title: str
    limits: tuple[float, float]
    said: str
    colors: tuple[tuple[float, float, float, float], ...]
    note: str = ""
    raw: str | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """A source that can be chosen: a shown run by its folder, or the explained field by `FIELD`."""

    key: str
    title: str


@dataclass(frozen=True, slots=True)
class MissingSlide:
    """The slide of a shown run that is not open: its fingerprint and name, and the name of the run."""

    fingerprint: str
    name: str
    run: str


@dataclass(frozen=True, eq=False)
class ChosenMap:
    """The map that is shown.

    Attributes
    ----------
    source : MapSource
    item : RunMap
        Values, place and facts of it.
    name, title : str
    class_name : str or None
        Of a probability its class.
    layer : Layer
        That shows it, and will show the next one that is chosen.
    slide : Layer
        The slide's layer that it lies on.
    """

    source: MapSource
    item: RunMap
    name: str
    title: str
    class_name: str | None
    layer: Layer
    slide: Layer


@dataclass(frozen=True, slots=True)
class AttentionState:
    """All that the panel shows.

    Attributes
    ----------
    slides : tuple of str
    slide : str or None
    sources : tuple of SourceChoice
        Runs shown over the slide, topmost first, and the explained field where there is one.
    source : str or None
        Key of the one that is looked at.
    models : tuple of ModelChoice
        To explain the current view with.
    model : ModelChoice or None
    tree : tuple of Node
        Of the source.
    chosen : str or None
        Name of the map, gates or boxes that are looked at.
    look : Look
    legend : Legend or None
        Of the shown map.
    hint : str
        How to get attention where the source has none.
    busy : str
        What is being done; "" when nothing is.
    cancelling : bool
    message : str
        How the last command ended.
    missing : MissingSlide or None
        Of a shown run.
    sized : bool
        Whether the pixel size of the slide is known.
    """

    slides: tuple[str, ...] = ()
    slide: str | None = None
    sources: tuple[SourceChoice, ...] = ()
    source: str | None = None
    models: tuple[ModelChoice, ...] = ()
    model: ModelChoice | None = None
    tree: tuple[Node, ...] = ()
    chosen: str | None = None
    look: Look = field(default_factory=Look)
    legend: Legend | None = None
    hint: str = ""
    busy: str = ""
    cancelling: bool = False
    message: str = ""
    missing: MissingSlide | None = None
    sized: bool = True

    @property
    def blocked(self) -> str | None:
        """Why no view can be explained, and what to do; None when it can."""
        if self.slide is None:
            if self.missing is not None:
                return f"Open {self.missing.name}, the slide of {self.missing.run}, to look at its maps."
            return "Open a slide first: drop it on the window, or File > Open Sample > Lumen."
        if self.model is None:
            return "No model can be used: see napari-lumen models."
        if not self.sized:
            return "Give the pixel size in the Slide panel first: the slide's file does not state it."
        return None

    @property
    def wanted(self) -> str:
        """Which slide is to be found though another one is open; "" where none is."""
        if self.slide is None or self.missing is None:
            return ""
        return f"{self.missing.name}, the slide of {self.missing.run}, is not open: find it to see its maps."
