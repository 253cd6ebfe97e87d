"""What the Compare tool shows, and what a comparison of two maps has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_lumen.explain.agreement import Agreement, Overlap
    from napari_lumen.geometry import Pair
    from napari_lumen.plugin.controllers.attention_state import Legend

Which = Literal["first", "second"]
Where = Literal["all", "view"]
Shown = Literal["none", "beside", "swipe", "difference"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two maps that are compared.

    Attributes
    ----------
    source : str or None
        Key of the run or field.
    name : str or None
        Of the map.
    names : tuple of (str, str)
        Name and title of the maps that the source has.
    """

    source: str | None = None
    name: str | None = None
    names: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Compared:
    """A comparison.

    Attributes
    ----------
    agreement : Agreement
    titles : (str, str)
    cells : int
        Of which both maps have a value.
    mpp : (float, float)
        µm per level-0 px.
    legends : (Legend, Legend, Legend)
        Of the first map, of the second and of their difference.
    thresholds : (float, float)
        That were proposed.
    range : (float, float)
        Lowest and highest value of both.
    note : str
        What the reader of the numbers should know.
    """

    agreement: Agreement
    titles: tuple[str, str]
    cells: int
    mpp: Pair
    legends: tuple[Legend, Legend, Legend]
    thresholds: tuple[float, float]
    range: tuple[float, float]
    note: str

    def mm2(self, area: float) -> float:
        """Return an area of level-0 px² in mm²."""
        return area * self.mpp[0] * self.mpp[1] / 1e6


@dataclass(frozen=True, slots=True)
class CompareState:
    """All that the tool shows.

    Attributes
    ----------
    sources : tuple of (str, str)
        Key and title of what can be compared on the slide.
    first, second : Side
    where : {"all", "view"}
        What part counts.
    found : Compared or None
    thresholds : (float, float)
        From which on a place counts as high, in the first map and in the second.
    overlap : Overlap or None
    shown : {"none", "beside", "swipe", "difference"}
        How the two are shown.
    busy : str
    message : str
        How the last command ended.
    """

    sources: tuple[tuple[str, str], ...] = ()
    first: Side = Side()
    second: Side = Side()
    where: Where = "all"
    found: Compared | None = None
    thresholds: tuple[float, float] = (0.5, 0.5)
    overlap: Overlap | None = None
    shown: Shown = "none"
    busy: str = ""
    message: str = ""

    @property
    def blocked(self) -> str | None:
        """Why nothing can be compared, and what to do; None when it can."""
        if not self.sources:
            return "Run a model on the slide, or explain a view, to have maps to compare."
        if self.first.name is None or self.second.name is None:
            return "Choose two maps."
        if (self.first.source, self.first.name) == (self.second.source, self.second.name):
            return "Both are the same map: choose another one, or explain this view with another model."
        return None
