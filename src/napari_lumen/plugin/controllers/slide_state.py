"""What the Slide panel shows: of the slide in words, of the view, and the pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_lumen.geometry import Pair, Region

if TYPE_CHECKING:
    from napari_lumen.plugin.overview import Picture


@dataclass(frozen=True, slots=True)
class SlideState:
    """What is known of the chosen slide, in words.

    Attributes
    ----------
    slides : tuple of str
        Names of the open slides.
    slide : str or None
        The chosen one.
    shape : (int, int)
        Height and width of its level 0.
    facts, properties : tuple of (str, str)
        What matters, and all that the scanner says: name and value.
    asks_pixel_size : bool
        Whether the file does not state it.
    pixel_size : float or None
        µm, where the user gave it.
    """

    slides: tuple[str, ...] = ()
    slide: str | None = None
    shape: tuple[int, int] = (1, 1)
    facts: tuple[tuple[str, str], ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    asks_pixel_size: bool = False
    pixel_size: float | None = None


@dataclass(frozen=True, slots=True)
class InView:
    """What of the slide is in view.

    Attributes
    ----------
    region : Region
        In level-0 pixels; empty when nothing is.
    centre : (float, float)
        The middle of the view (y, x) in level-0 pixels, which may lie beyond the slide.
    magnification : float or None
        Under the current zoom, as of a microscope; None without a pixel size.
    """

    region: Region = Region(0, 0, 0, 0)  # noqa: RUF009  # frozen
    centre: Pair = (0.0, 0.0)
    magnification: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AssociatedPicture:
    """Label, macro or thumbnail.

    Attributes
    ----------
    name : str
    private : bool
        Whether it may carry a patient's name, and so is shown only when asked for.
    shown : bool
    image : ndarray or None
        uint8 (h, w, 3), once it was read.
    problem : str
        Why it cannot be read.
    """

    name: str
    private: bool
    shown: bool = False
    image: Picture | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The overview, None until it was read, and the associated pictures."""

    overview: Picture | None = None
    associated: tuple[AssociatedPicture, ...] = ()
