"""The option --region, which several commands take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from napari_lumen.geometry import Region


def parse_region(text: str) -> Region:
    """Return the region written as ``y,x,height,width`` in level-0 pixels.

    Raises
    ------
    typer.BadParameter
        When it is not four numbers, or is empty.
    """
    from napari_lumen.geometry import Region

    try:
        y, x, height, width = numbers = [float(part) for part in text.split(",")]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("a region has edges")
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not y,x,height,width in pixels of level 0, as in 1000,2000,512,512."
        ) from None
    if not (height > 0 and width > 0):
        raise typer.BadParameter(f"{text!r} covers nothing: the height and the width must be above 0.")
    return Region(y, x, height, width)


RegionOption = Annotated[
    Any,
    typer.Option(
        parser=parse_region,
        metavar="Y,X,H,W",
        help="Only this rectangle: top, left, height and width in pixels of level 0.",
    ),
]
