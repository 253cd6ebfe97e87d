"""What each napari window has one of: the `Browsing` that looks after its slides."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.browsing import Browsing


def browsing() -> Browsing | None:
    """Return what looks after the slides of the window in use, made when it opens its first slide.

    Returns
    -------
    Browsing or None
        None where a program opens slides without a window.
    """
    if "qtpy.QtWidgets" not in sys.modules:  # no window without Qt, and opening a slide must not load it
        return None
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None:
        return None
    from napari_lumen.plugin.anchor import anchored

    return anchored(viewer)
