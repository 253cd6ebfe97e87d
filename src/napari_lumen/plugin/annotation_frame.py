"""Where the level-0 pixels of a slide lie in the world of a viewer, for what is drawn on it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_lumen.geometry import Pair
from napari_lumen.plugin.placing import facts_of, fingerprint_of, is_slide, origin_of, step_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


@dataclass(frozen=True, slots=True)
class Frame:
    """The placement of a slide.

    Attributes
    ----------
    mpp : (float, float)
        World units per level-0 pixel, (y, x): µm, or 1 while the pixel size is not known.
    origin : (float, float)
        Where in the world the middle of its first pixel lies, (y, x).
    units : tuple of str
        Of the world.
    fingerprint : str or None
        Of the slide; None without one.
    shape : (int, int) or None
        Height and width of level 0; None without a slide.
    name : str
        Of the slide; "" without one.
    """

    mpp: Pair = (1.0, 1.0)
    origin: Pair = (0.0, 0.0)
    units: tuple[str, str] = ("pixel", "pixel")
    fingerprint: str | None = None
    shape: tuple[int, int] | None = None
    name: str = ""

    @classmethod
    def of(cls, slide: Layer) -> Frame:
        """Return the frame of a slide's layer."""
        y, x = (str(unit) for unit in slide.units[-2:])
        height, width = facts_of(slide)["shape"]
        return cls(
            step_of(slide), origin_of(slide), (y, x), fingerprint_of(slide), (height, width), slide.name
        )

    def keywords(self) -> dict[str, Any]:
        """Return where napari puts a layer whose data are level-0 pixels, counted from pixel centres."""
        return {"scale": self.mpp, "translate": self.origin, "units": self.units}


def frame_in(viewer: ViewerModel) -> Frame:
    """Return the frame of the slide in use: of the selected layer, else the topmost; else of no slide."""
    active = viewer.layers.selection.active
    slides = [layer for layer in viewer.layers if is_slide(layer)]
    fitting = [
        layer for layer in slides if active is not None and fingerprint_of(layer) == fingerprint_of(active)
    ]
    chosen = next(reversed(fitting or slides), None)
    return Frame() if chosen is None else Frame.of(chosen)


def current_frame() -> Frame:
    """Return the frame of the slide in use in the window in use; without a window that of no slide."""
    viewer = current_window()
    return Frame() if viewer is None else frame_in(viewer)


def current_window() -> ViewerModel | None:
    """Return the viewer of the window in use; None without a window."""
    if "qtpy.QtWidgets" not in sys.modules:
        return None
    from napari import current_viewer

    viewer: ViewerModel | None = current_viewer()
    return viewer
