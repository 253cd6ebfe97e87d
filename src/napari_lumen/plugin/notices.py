"""Tell the user: one sentence for what went wrong on purpose, a traceback only for our own mistakes."""

from __future__ import annotations

from collections.abc import Callable

from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_error,
    show_info,
    show_warning,
)

from napari_lumen.errors import LumenError

__all__ = ["ask", "show", "tell", "warn"]


class _Question(Notification):
    """A notification with a button, beside which napari says where it comes from."""

    @property
    def source(self) -> str:
        """Our name: napari's would be that of an object of its own."""
        return "Lumen"


def tell(message: str) -> None:
    """Show good news."""
    show_info(message)


def warn(message: str) -> None:
    """Show what the user should know though nothing failed."""
    show_warning(message)


def ask(message: str, button: str, then: Callable[[], None]) -> None:
    """Show what the user should do, with a button that takes them there."""
    notification_manager.dispatch(
        _Question(message, NotificationSeverity.WARNING, actions=[(button, lambda dialog: then())])
    )


def show(error: BaseException) -> None:
    """Show an error.

    A `LumenError` is its own sentence. Anything else is a mistake in a program: napari then offers the
    traceback, which a bug report needs.
    """
    if isinstance(error, LumenError):
        show_error(str(error))
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
