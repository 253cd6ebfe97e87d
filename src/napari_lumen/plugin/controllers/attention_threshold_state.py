"""What the threshold of the Attention panel shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lumen.plugin.attention_threshold_reading import Reading


@dataclass(frozen=True, slots=True)
class ThresholdState:
    """All that the threshold shows.

    Attributes
    ----------
    title : str
        Of the map; "" without one.
    limits : (float, float) or None
        Lowest and highest value that can be chosen; None while nothing can.
    threshold : float
    area_mm2, tissue_mm2, share : float
        Above the threshold; of all tissue under the map; and which share of it lies above, 0 to 1. NaN where
        it is not known.
    areas : int or None
        How many annotations the outline would make; None until it is drawn.
    about : bool
        Whether that is not sure: the outline is drawn of coarser cells than those of the annotations.
    on : bool
        Whether the outline is shown.
    smooth : bool
        Whether it runs between the middles of cells, instead of along their edges.
    classes : tuple of str
        That annotations can be made of.
    class_name : str or None
    least_um2 : float
        Smaller areas become no annotations.
    note : str
        Of what the area is told, and what is not known; "" where there is nothing to say.
    busy : str
    message : str
        Why there is nothing, or how the last command ended.
    """

    title: str = ""
    limits: tuple[float, float] | None = None
    threshold: float = math.nan
    area_mm2: float = math.nan
    tissue_mm2: float = math.nan
    share: float = math.nan
    areas: int | None = None
    about: bool = False
    on: bool = True
    smooth: bool = False
    classes: tuple[str, ...] = ()
    class_name: str | None = None
    least_um2: float = 0.0
    note: str = ""
    busy: str = ""
    message: str = ""

    def differs(self, **changes: Any) -> bool:
        """Whether changes of some of its fields would change it; NaN is the same as NaN."""
        return any(not _equal(value, getattr(self, name)) for name, value in changes.items())


def measured(ready: Reading, threshold: float) -> dict[str, float]:
    """Return the areas above a threshold, by fields of `ThresholdState`."""
    above = ready.above
    return {
        "area_mm2": above.mm2(threshold),
        "tissue_mm2": above.tissue_mm2,
        "share": above.share_of_tissue(threshold),
    }


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))  # NaN is not itself
