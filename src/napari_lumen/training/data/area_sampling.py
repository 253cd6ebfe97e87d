"""Random points in polygons, evenly over their area."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from napari_lumen.geometry import Pair


class AreaSampler:
    """Draws points from polygons, each place as likely as any other of the same area.

    Polygons are cut into triangles along their own corners, so that also a thin one costs a single draw.

    Parameters
    ----------
    polygons : sequence of geometry
        Polygons in (x, y), which do not overlap.
    weights : sequence of float, optional
        Of an area of 1 in each polygon, such as its µm².
    """

    def __init__(self, polygons: Sequence[BaseGeometry], weights: Sequence[float] | None = None) -> None:
        cut = shapely.constrained_delaunay_triangles(np.array(polygons, object))
        triangles, polygon = shapely.get_parts(cut, return_index=True)
        corners = shapely.get_coordinates(triangles).reshape(-1, 4, 2)[:, :3]  # the fourth closes the ring
        areas = shapely.area(triangles)
        if weights is not None:
            areas = areas * np.asarray(weights, float)[polygon]
        self._corners, self._polygon = corners, polygon
        self._until = np.cumsum(areas)

    @property
    def area(self) -> float:
        """Weighted area of all polygons."""
        return float(self._until[-1]) if len(self._until) else 0.0

    def draw(self, rng: np.random.Generator) -> tuple[int, Pair]:
        """Return which polygon a random point is in, and its (x, y)."""
        at, far, aside = rng.random(3)
        # at most the last: rounding may lead to the very end
        triangle = min(int(np.searchsorted(self._until, at * self.area, "right")), len(self._until) - 1)
        one, two, three = self._corners[triangle]
        root = np.sqrt(far)
        x, y = (1 - root) * one + root * (1 - aside) * two + root * aside * three
        return int(self._polygon[triangle]), (float(x), float(y))
