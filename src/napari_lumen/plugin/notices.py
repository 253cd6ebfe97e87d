"""Tell the user: one sentence for what went wrong on purpose, a traceback only for our own mistakes."""

from __future__ import annotations

from napari.utils.notifications import notification_manager, show_error, show_info, show_warning

from napari_lumen.errors import LumenError

__all__ = ["show", "tell", "warn"]


def tell(message: str) -> None:
    """Show good news."""
    show_info(message)


def warn(message: str) -> None:
    """Show what the user should know though nothing failed."""
    show_warning(message)


def show(error: BaseException) -> None:
    """Show an error.

    A `LumenError` is its own sentence. Anything else is a mistake in a program: napari then offers the
    traceback, which a bug report needs.
    """
    if isinstance(error, LumenError):
        show_error(str(error))
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
