"""What a worker's warnings say to the user: ours, and nobody else's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


class OwnWarnings:
    """A hook on `warnings` that lets our own through; torch's and zarr's advice to programmers is dropped.

    Hooks of several workers lie on top of each other; one whose worker has ended passes everything on until
    those above it have gone too.
    """

    def __init__(self, below: Any) -> None:
        self._below = below
        self._on = True

    @classmethod
    def put_on(cls) -> OwnWarnings:
        """Put a hook on top and return it."""
        hook = cls(warnings.showwarning)
        warnings.showwarning = hook
        return hook

    def take_off(self) -> None:
        """Let everything through from now on, and go when nothing lies above."""
        self._on = False
        while isinstance(warnings.showwarning, OwnWarnings) and not warnings.showwarning._on:
            warnings.showwarning = warnings.showwarning._below

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        """Take a warning, as `warnings.showwarning`."""
        if self._on and "napari_lumen" not in Path(filename).parts:
            return
        self._below(message, category, filename, lineno, file, line)
