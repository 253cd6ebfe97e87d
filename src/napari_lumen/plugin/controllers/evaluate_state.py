"""What the Evaluate panel shows, and when it lets an evaluation start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_lumen.comparison import SlideEvaluation

ALL = "all"  # of the layers
FILE = "file"
CORRECTED = "corrected "  # and the folder of a run: the windows of it that people have corrected
NO_CLASS = ""  # stands for outlines without a class
BACKGROUND, IGNORED = "Background", "Ignore*"
RULES = (BACKGROUND, "Region*", IGNORED)  # names that are no classes
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
        Key and title: of a layer its name, `ALL` of them, `CORRECTED` and a run, or `FILE`.
    truth : str or None
    file : Path or None
        Chosen as a truth.
    drawn : tuple of str
        Names of the classes of the truth; "" for outlines without one; of a label image the digits of its
        values.
    values : mapping of str to str
        What these values stand for in the run, "" for nothing; empty of a truth that names its classes.
    known : tuple of str
        Of the classes of the run.
    counted : mapping of str to str
        What the user said of names of the truth: the class of the run that they count as, or "" for none.
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
    drawn: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    counted: Mapping[str, str] = field(default_factory=dict)
    where: Where = "run"
    objects: bool = False
    busy: str = ""
    cancelling: bool = False
    done: float | None = None
    message: str = ""
    result: SlideEvaluation | None = None

    @property
    def names(self) -> tuple[tuple[str, str | None], ...]:
        """The classes of the truth and as what of the run each counts: "" for none, None to be chosen.

        Empty where the run has all of them and the user has said nothing: then there is nothing to choose.
        What the values of an image mean is never certain.
        """
        found: dict[str, str | None] = {}
        for name in self.drawn:
            if name in RULES:
                continue
            if name == NO_CLASS:
                found[name] = self.known[0] if len(self.known) == 1 else None
            else:
                found[name] = self.values.get(name, name if name in self.known else "")
            said = self.counted.get(name)
            if said in (*self.known, BACKGROUND, ""):  # not of a run that was chosen before
                found[name] = said
        plain = all(said == name or (name == NO_CLASS and said) for name, said in found.items())
        if not self.known or (plain and not self.values and not set(found) & set(self.counted)):
            return ()
        return tuple(found.items())

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
