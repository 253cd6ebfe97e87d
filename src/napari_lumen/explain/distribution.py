"""How the values of a map are spread, so that one value can be judged among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Distribution:
    """The finite values of a map, in order.

    Attributes
    ----------
    ordered : ndarray
        Ascending, without NaN; may be empty.
    """

    ordered: npt.NDArray[np.floating[Any]]

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Distribution:
        """Return that of an array of any shape; NaN and infinite values are left out."""
        flat = np.asarray(values).ravel()
        return cls(np.sort(flat[np.isfinite(flat)]))

    @property
    def flat(self) -> bool:
        """Whether there is no difference to be shown: all values are equal, or there is none."""
        return not len(self.ordered) or bool(self.ordered[0] == self.ordered[-1])

    @property
    def extent(self) -> tuple[float, float]:
        """Lowest and highest value; NaN where there is none."""
        if not len(self.ordered):
            return float("nan"), float("nan")
        return float(self.ordered[0]), float(self.ordered[-1])

    def percentile(self, value: float) -> float:
        """Return which share of the values lies below one, 0 to 100; of equal ones half. NaN without any."""
        if not len(self.ordered) or not np.isfinite(value):
            return float("nan")
        low, high = (
            np.searchsorted(self.ordered, value, "left"),
            np.searchsorted(self.ordered, value, "right"),
        )
        return float(low + high) / 2 / len(self.ordered) * 100

    def quantile(self, percent: float) -> float:
        """Return the value below which a share of them lies, 0 to 100; NaN where there is none."""
        if not len(self.ordered):
            return float("nan")
        # as np.percentile, which would look for the order again: of millions of values, while a slider moves
        whole, part = divmod(percent / 100 * (len(self.ordered) - 1), 1.0)
        low = float(self.ordered[int(whole)])
        return low + (float(self.ordered[min(int(whole) + 1, len(self.ordered) - 1)]) - low) * part
