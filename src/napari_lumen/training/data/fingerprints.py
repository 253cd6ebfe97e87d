"""Checksums of what is learned from, by which a training knows its own data again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.splits import Split

_ARRAYS = ("image", "labels", "instances", "grade")  # what sets may have of an item


@runtime_checkable
class Fingerprinted(Protocol):
    """Items whose files tell whether their pixels or labels are still the same."""

    def fingerprint(self, index: int) -> str:
        """Return a checksum of all that is read of an item."""


def fingerprint_data(images: Pictures, split: Split, *, check: Callable[[], None] = lambda: None) -> str:
    """Return a checksum of the items of a split: pixels, labels, classes, pixel sizes and common slides.

    Where the files lie does not matter. Files are hashed as they are, slides known by their fingerprints;
    what a set says nothing of is read and hashed.

    Parameters
    ----------
    images : Pictures
    split : Split
    check : callable, optional
        Called for each item; what it raises ends the work.
    """
    found = [repr(getattr(images, "classes", None))]
    slides: dict[str | None, int] = {}
    for part in split.parts:
        for index in split.indices(images.items, part):
            check()
            item = images.items[index]
            mpp = images.mpp(index) if hasattr(images, "mpp") else None
            slide = slides.setdefault(item.slide, len(slides))
            found.append(checksum(part, item.name, slide, mpp, fingerprint(images, index)))
    return checksum(*found)


def fingerprint(images: Any, index: int) -> str:
    """Return a checksum of the pixels and labels of one item."""
    if isinstance(images, Fingerprinted):
        return images.fingerprint(index)
    return checksum(*(getattr(images, name)(index) for name in _ARRAYS if hasattr(images, name)))


def checksum(*parts: object) -> str:
    """Return a checksum of files, arrays and values."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        elif isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            content = hashlib.sha256(np.ascontiguousarray(part).data).digest()
        else:
            content = hashlib.sha256(part if isinstance(part, bytes) else repr(part).encode()).digest()
        digest.update(content)
    return digest.hexdigest()
