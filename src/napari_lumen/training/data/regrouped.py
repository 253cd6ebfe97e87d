"""A set of images seen with other classes: some merged, the others as background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.training.data.fingerprints import checksum, fingerprint
from napari_lumen.training.data.image_set import RGB, ImageSet, Labels
from napari_lumen.training.data.item import IGNORE


class Regrouped:
    """An `ImageSet` whose classes are made of those of another.

    Parameters
    ----------
    images : ImageSet
    groups : mapping of str to sequence of str
        Each new class with the names of those that it is made of; it has the colour of the first. All
        others become background.

    Raises
    ------
    RunError
        When a name is unknown, or in two groups.
    """

    def __init__(self, images: ImageSet, groups: Mapping[str, Sequence[str]]) -> None:
        known = {entry.name: entry for entry in images.classes}
        self._values = np.zeros(256, np.uint8)
        self._values[IGNORE] = IGNORE
        table, used = [], set[str]()
        for value, (name, members) in enumerate(groups.items(), start=1):
            for member in members:
                if member not in known:
                    raise RunError(f"There is no class {member!r}; there is {', '.join(known)}.")
                if member in used:
                    raise RunError(f"The class {member!r} is in two groups; leave it in one.")
                used.add(member)
                self._values[known[member].value] = value
            if not members:
                raise RunError(f"The group {name!r} is made of no class; name one.")
            table.append((value, name, known[members[0]].color))
        self.classes = ClassTable.of(table)
        self.items = images.items
        self.images = images

    def image(self, index: int) -> RGB:
        """Return the image of an item: uint8 (h, w, 3)."""
        return self.images.image(index)

    def labels(self, index: int) -> Labels:
        """Return values of the new classes: uint8 (h, w)."""
        return self._values[self.images.labels(index)]

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, or None where it is not known."""
        return self.images.mpp(index)

    def fingerprint(self, index: int) -> str:
        """Return a checksum of the item in the other set, and of the groups."""
        return checksum(fingerprint(self.images, index), self._values)
