"""What warnings say to the user: ours each time, and of a worker's nobody else's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from napari_lumen.plugin import notices

_SLIDES = r"napari_lumen\.slides\b"


def tell_each_time() -> None:
    """See that what slides warn of is shown at each opening in the window.

    Python shows a text once a line of a program, and napari once a session: of a damaged slide that is
    opened again after an hour, nothing would be said.
    """
    from napari.utils.notifications import notification_manager

    warnings.filterwarnings("always", category=UserWarning, module=_SLIDES, append=True)
    if warnings.showwarning == notification_manager.receive_warning:
        warnings.showwarning = _EachTime(warnings.showwarning)


class _EachTime:
    """A hook on `warnings`, above napari's, that shows those of our slides whether seen before or not."""

    def __init__(self, below: Any) -> None:
        self._below = below

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
        if _is_ours(filename):
            notices.warn(str(message))
        else:
            self._below(message, category, filename, lineno, file, line)


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
        if self._on and not _is_ours(filename):
            return
        self._below(message, category, filename, lineno, file, line)


def _is_ours(filename: str) -> bool:
    return "napari_lumen" in Path(filename).parts
