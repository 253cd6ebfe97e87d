"""Label, macro and thumbnail of a slide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


class AssociatedImages(Mapping[str, Picture]):
    """Label, macro and thumbnail by name, each read when asked for: uint8 (h, w, 3)."""

    def __init__(self, readers: Mapping[str, Callable[[], Picture]]) -> None:
        self._readers = dict(readers)

    def __getitem__(self, name: str) -> Picture:
        return self._readers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._readers  # without decoding the picture

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)
