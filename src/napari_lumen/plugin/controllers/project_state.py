"""What the Project panel shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_lumen.project import Agreement, SlideStanding
    from napari_lumen.project.differences import Differences


@dataclass(frozen=True, slots=True)
class ProjectState:
    """All that the panel shows.

    Attributes
    ----------
    folder : Path or None
        Of the open project.
    name : str
    classes : tuple of str
        Their names.
    standings : tuple of SlideStanding
        Its slides.
    selected : str or None
        Name of the slide that is selected in the table.
    author : str
        Who draws.
    drawn : str
        What would be kept: the name of a layer on an open slide of the project; "" for nothing.
    can_add : bool
        Whether a slide is open that can be added with its runs.
    busy : str
        What is being done; "" when nothing is.
    cancelling : bool
    done : float or None
        How much, 0 to 1; None while that is not known.
    message : str
        How the last command ended.
    compared : tuple of (str, str, str) or None
        Slide and the two people of `agreement`.
    agreement : Agreement or None
    differences : Differences or None
        Where they differ; None where the slide was not open.
    """

    folder: Path | None = None
    name: str = ""
    classes: tuple[str, ...] = ()
    standings: tuple[SlideStanding, ...] = ()
    selected: str | None = None
    author: str = ""
    drawn: str = ""
    can_add: bool = False
    busy: str = ""
    cancelling: bool = False
    done: float | None = None
    message: str = ""
    compared: tuple[str, str, str] | None = None
    agreement: Agreement | None = None
    differences: Differences | None = None

    @property
    def standing(self) -> SlideStanding | None:
        """The slide that is selected, as it stands."""
        return next((item for item in self.standings if item.entry.name == self.selected), None)
