"""The pixel size that a file states, as text or as a resolution; what of it is of no use is named."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from napari_lumen.geometry import Pair
from napari_lumen.slides.pixel_size import COARSEST, MPP_RANGE, checked_mpp

_UNITS = {"um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "mm": 1e3}
_UM_PER_INCH = 25400.0
_PRINT_DPI = (300, 350, 360, 400, 600, 720, 1200)
_SAME_DPI = 0.01  # by which a rounded resolution may be off
_LONGEST = 40  # letters of what a file says


@dataclass(frozen=True, slots=True)
class StatedSize:
    """The pixel size that a file states.

    Attributes
    ----------
    mpp : (float, float) or None
        µm per pixel (y, x), unchecked: it may be one that no slide has.
    unused : str
        What is stated and cannot be used, and why not, as the end of "It states a pixel size of".
    """

    mpp: Pair | None = None
    unused: str = ""

    def checked(self, path: Path) -> Pair | None:
        """Return the pixel size; None with a warning where what is stated is none."""
        if not self.unused:
            return checked_mpp(self.mpp, path)
        warnings.warn(
            f"{path.name} states a pixel size of {self.unused}; it is treated as unknown.",
            UserWarning,
            stacklevel=2,
        )
        return None


def size_of_text(text: str | None) -> StatedSize:
    """Return the pixel size of a text such as `0.25`; with a decimal comma or a unit, it is as clear."""
    words = " ".join((text or "").split())
    if not words:
        return StatedSize()
    unit = next((unit for unit in _UNITS if words.lower().endswith(unit)), "")
    number = words[: len(words) - len(unit)].rstrip()
    if re.fullmatch(r"[-+]?\d+,\d+", number):
        number = number.replace(",", ".")
    try:
        side = float(number) * _UNITS.get(unit, 1.0)
    except ValueError:
        return StatedSize(unused=f"{words[:_LONGEST]!r}, which cannot be read")
    return StatedSize((side, side))


def size_of_resolution(mpp: Pair) -> StatedSize:
    """Return the pixel size of a plain TIFF whose resolution comes to this.

    Any program writes a resolution, which is a microscope's only up to 20 µm. Those that are usual in print
    (300, 600 dpi and such) state no pixel size of a slide, and are passed over without a word. All else that
    is coarser is named: here up to 100 µm, and by `checked_mpp` what is no slide's at all (72, 96 dpi).
    """
    if all(0 < side <= MPP_RANGE[1] for side in mpp) and any(side > COARSEST for side in mpp):
        if all(_is_for_print(side) for side in mpp):
            return StatedSize()
        return StatedSize(unused=f"{mpp[1]:g} x {mpp[0]:g} µm, which is more than a microscope's")
    return StatedSize(mpp)


def _is_for_print(side: float) -> bool:
    return any(abs(side * dpi / _UM_PER_INCH - 1) <= _SAME_DPI for dpi in _PRINT_DPI)
