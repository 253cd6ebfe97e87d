"""The errors that napari-lumen raises on purpose: one sentence each, saying what, where and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class LumenError(Exception):
    """Base of every error a user can cause or meet; its text is fit to be shown to that user."""


class SlideError(LumenError):
    """A slide cannot be opened or read. The message names the file, the reason and what to do."""


class ModelError(LumenError):
    """A model folder, card or weight file cannot be used. The message names the model and the field."""


class AnnotationError(LumenError):
    """An annotation file cannot be read or written. The message names the file and the clause."""


class RunError(LumenError):
    """A run cannot start or go on. The message names the folder and what is finished."""


class ProjectError(LumenError):
    """A project cannot be read or changed. The message names the folder or the slide."""


class Cancelled(LumenError):  # noqa: N818  it is a wish, not an error
    """The user asked to stop; nothing is wrong."""


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says, without its full stop, to be put into a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return names to be put into a sentence: all of them, or the first `most` and how many more."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
