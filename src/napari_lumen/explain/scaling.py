"""Between which values a map is coloured, and how that is said in a legend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from napari_lumen.explain.distribution import Distribution

Mode = Literal["range", "percentile", "min-max"]
Over = Literal["tile", "slide", "selection"]
_NARROWEST = 1e-6  # of the value: limits that are equal show nothing


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a map is coloured.

    Attributes
    ----------
    mode : {"percentile", "range", "min-max"}
        ``range``: what the network guarantees, and what there is where it guarantees nothing;
        ``percentile``: `low` to `high` of the values; ``min-max``: the lowest to the highest.
    over : {"tile", "slide", "selection"}
        Whose values count; the caller gives their distribution.
    low, high : float
        Percentiles, 0 to 100.

    Raises
    ------
    ValueError
        When the percentiles do not rise from 0 to 100.
    """

    mode: Mode = "percentile"
    over: Over = "slide"
    low: float = 1.0
    high: float = 99.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"percentiles must rise from 0 to 100, not {self.low:g} to {self.high:g}")

    def limits(
        self, values: Distribution, value_range: tuple[float, float] | None = None
    ) -> tuple[float, float, str]:
        """Return the values at the two ends of the colours, and what was chosen, for the legend.

        Parameters
        ----------
        values : Distribution
            Of the tile, the slide or the selection.
        value_range : (float, float), optional
            That the network guarantees.

        Returns
        -------
        low, high : float
            Finite, low below high.
        said : str
            E.g. ``0.08 to 7.92, percentiles 1 to 99 of the slide``.
        """
        if self.mode == "range" and value_range is not None and all(map(math.isfinite, value_range)):
            return *value_range, f"{_said(*value_range)}, the network's range"
        if not len(values.ordered):
            return 0.0, 1.0, f"the {self.over} has no values here"
        lowest, highest = values.extent
        if values.flat:
            middle = abs(lowest) * _NARROWEST or _NARROWEST
            return lowest - middle, highest + middle, f"all values are {lowest:.4g} in the {self.over}"
        if self.mode == "range":
            return self._open_range(lowest, highest, value_range)
        if self.mode == "percentile":
            low, high = values.quantile(self.low), values.quantile(self.high)
            if low < high:
                return (
                    low,
                    high,
                    f"{_said(low, high)}, percentiles {self.low:g} to {self.high:g} of the {self.over}",
                )
        return lowest, highest, f"{_said(lowest, highest)}, lowest to highest of the {self.over}"

    def _open_range(
        self, lowest: float, highest: float, value_range: tuple[float, float] | None
    ) -> tuple[float, float, str]:
        """Return the limits where the network guarantees not both ends."""
        if value_range is not None and math.isfinite(value_range[0]) and value_range[0] < highest:
            said = f"the network's lower end to the highest of the {self.over}"
            return value_range[0], highest, f"{_said(value_range[0], highest)}, {said}"
        return lowest, highest, f"{_said(lowest, highest)}, lowest to highest of the {self.over}"


def _said(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"
