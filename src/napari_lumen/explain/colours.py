"""Colours of maps, without a plotting library; the tables of matplotlib's maps are public domain (CC0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import RunError

RGBA = tuple[float, float, float, float]
_STEPS = 1024  # colours are looked up: interpolating each pixel's takes ten times as long


@dataclass(frozen=True)
class Colormap:
    """Colours evenly spaced from the lowest to the highest value.

    Attributes
    ----------
    name : str
    colors : tuple of (r, g, b, a)
        In [0, 1].
    """

    name: str
    colors: tuple[RGBA, ...]

    def at(self, share: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Return the colours (..., 4), in [0, 1], of places in [0, 1] between the two ends."""
        known = np.linspace(0, 1, len(self.colors))
        steps = np.linspace(0, 1, _STEPS)
        channels = [np.interp(steps, known, channel) for channel in zip(*self.colors, strict=True)]
        table = np.stack(channels, axis=1).astype(np.float32)
        place = np.rint(np.asarray(share, np.float32) * (_STEPS - 1)).astype(np.intp)
        return table[place]


def _opaque(*colors: tuple[int, int, int]) -> tuple[RGBA, ...]:
    return tuple((red / 255, green / 255, blue / 255, 1.0) for red, green, blue in colors)


# One hue that H&E does not have, from clear to strong: tissue stays legible where attention is low, and
# the map reads in grey too, since lightness falls as attention rises. As the window shows attention.
ATTENTION = Colormap(
    "attention",
    ((1.0, 0.93, 0.55, 0.0), (1.0, 0.80, 0.20, 0.30), (1.0, 0.50, 0.05, 0.55), (0.90, 0.15, 0.05, 0.75)),
)
GREY = Colormap("grey", _opaque((0, 0, 0), (255, 255, 255)))
# of differences: blue below nothing, red above it
DIFFERENCE = Colormap(
    "difference",
    (
        (0.13, 0.4, 0.67, 0.9),
        (0.57, 0.77, 0.87, 0.6),
        (1.0, 1.0, 1.0, 0.0),
        (0.96, 0.65, 0.51, 0.6),
        (0.7, 0.09, 0.17, 0.9),
    ),
)
VIRIDIS = Colormap(
    "viridis",
    _opaque(
        (68, 1, 84),
        (72, 24, 106),
        (71, 45, 123),
        (66, 64, 134),
        (59, 82, 139),
        (51, 99, 141),
        (44, 114, 142),
        (38, 129, 142),
        (33, 144, 140),
        (31, 159, 136),
        (40, 174, 128),
        (62, 188, 116),
        (93, 201, 99),
        (130, 211, 76),
        (171, 220, 50),
        (213, 226, 26),
        (253, 231, 37),
    ),
)
MAGMA = Colormap(
    "magma",
    _opaque(
        (0, 0, 4),
        (10, 8, 34),
        (29, 17, 70),
        (54, 16, 106),
        (80, 18, 124),
        (105, 28, 129),
        (130, 38, 129),
        (156, 46, 127),
        (182, 55, 121),
        (207, 65, 112),
        (230, 81, 99),
        (245, 105, 92),
        (251, 135, 97),
        (254, 165, 113),
        (254, 195, 135),
        (253, 224, 162),
        (252, 253, 191),
    ),
)
INFERNO = Colormap(
    "inferno",
    _opaque(
        (0, 0, 4),
        (11, 7, 36),
        (33, 12, 74),
        (60, 9, 101),
        (87, 16, 109),
        (112, 25, 110),
        (137, 34, 106),
        (163, 43, 97),
        (187, 55, 85),
        (209, 70, 68),
        (227, 89, 50),
        (241, 113, 30),
        (249, 141, 10),
        (252, 171, 15),
        (249, 202, 50),
        (242, 232, 101),
        (252, 255, 164),
    ),
)
TURBO = Colormap(
    "turbo",
    _opaque(
        (48, 18, 59),
        (64, 64, 161),
        (70, 107, 227),
        (66, 147, 255),
        (41, 187, 236),
        (24, 220, 195),
        (49, 242, 153),
        (107, 253, 100),
        (163, 253, 60),
        (204, 237, 52),
        (237, 208, 58),
        (253, 174, 53),
        (251, 128, 34),
        (236, 82, 15),
        (210, 49, 5),
        (172, 23, 1),
        (122, 4, 3),
    ),
)
COLORMAPS = {item.name: item for item in (ATTENTION, VIRIDIS, MAGMA, INFERNO, TURBO, GREY, DIFFERENCE)}


def colormap(name: str) -> Colormap:
    """Return the colours of a name.

    Raises
    ------
    RunError
        When there are none; the message lists those there are.
    """
    if name not in COLORMAPS:
        raise RunError(f"There is no colormap {name!r}; there is {', '.join(COLORMAPS)}.")
    return COLORMAPS[name]
