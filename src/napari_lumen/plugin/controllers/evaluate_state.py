"""What the Evaluate panel shows, and when it lets an evaluation start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_lumen.comparison import SlideEvaluation

ALL = "all"  # of the layers
FILE = "file"
Where = Literal["run", "view"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A run that can be scored.

    Attributes
    ----------
    run : str
        Its folder.
    corrected : bool
        With what people have corrected.
    title : str
    """

    run: str
    corrected: bool
    title: str


@dataclass(frozen=True, slots=True)
class EvaluateState:
    """All that the panel shows.

    Attributes
    ----------
    slides : tuple of str
    slide : str or None
    runs : tuple of Scored
        Over the slide, topmost first.
    run : Scored or None
    truths : tuple of (str, str)
        Key and title: of a layer its name, `ALL` of them, or `FILE`.
    truth : str or None
    file : Path or None
        Chosen as a truth.
    where : {"run", "view"}
    objects : bool
        Whether connected areas are scored, too.
    busy : str
        What is being done; "" when nothing is.
    cancelling : bool
    done : float or None
        How much, 0 to 1; None while that is not known.
    message : str
        How the last command ended.
    result : SlideEvaluation or None
    """

    slides: tuple[str, ...] = ()
    slide: str | None = None
    runs: tuple[Scored, ...] = ()
    run: Scored | None = None
    truths: tuple[tuple[str, str], ...] = ()
    truth: str | None = None
    file: Path | None = None
    where: Where = "run"
    objects: bool = False
    busy: str = ""
    cancelling: bool = False
    done: float | None = None
    message: str = ""
    result: SlideEvaluation | None = None

    @property
    def blocked(self) -> str | None:
        """Why nothing can be scored, and what to do; None when it can."""
        if self.slide is None:
            return "Open a slide first: drop it on the window, or File > Open Sample > Lumen."
        if self.run is None:
            return "Run a model on the slide first, or drop the folder of a run on the window."
        if self.truth is None:
            return "Outline what is true in the Annotations panel, or choose a file."
        return None
