"""A dialog that waits for a job with a progress bar and Cancel, while the window behind it keeps drawing."""

from __future__ import annotations

from typing import Any, TypeVar

from qtpy.QtCore import QEventLoop, Qt
from qtpy.QtWidgets import QProgressDialog, QWidget

from napari_lumen.errors import Cancelled
from napari_lumen.plugin.jobs import Callbacks, JobRunner, Work

T = TypeVar("T")

_STEPS = 1000  # of the bar: bytes of a large slide do not fit Qt's 32-bit range


def wait_for(jobs: JobRunner, work: Work[T], text: str, parent: QWidget | None = None) -> T:
    """Run some work behind a dialog and return its result.

    Parameters
    ----------
    jobs : JobRunner
    work : callable
        Emits (done, total).
    text : str
        What is going on.
    parent : QWidget, optional

    Raises
    ------
    Exception
        What the work raised; `Cancelled` when the user clicked Cancel.
    """
    loop = QEventLoop()
    outcome: list[T] = []
    errors: list[BaseException] = []
    dialog = QProgressDialog(text, "Cancel", 0, _STEPS, parent)
    dialog.setWindowTitle("napari-lumen")
    dialog.setWindowModality(Qt.WindowModality.WindowModal)
    dialog.setAutoClose(False)
    dialog.setAutoReset(False)
    dialog.setMinimumDuration(0)

    def on_progress(progress: Any) -> None:
        done, total = progress
        dialog.setValue(_STEPS * done // max(1, total))

    def on_done(value: T) -> None:
        outcome.append(value)
        loop.quit()

    def on_failed(error: BaseException) -> None:
        errors.append(error)
        loop.quit()

    def on_cancelled() -> None:
        on_failed(Cancelled("The download was cancelled; nothing was kept."))

    job = jobs.start(work, Callbacks(on_progress, on_done, on_failed, on_cancelled))
    dialog.canceled.connect(job.cancel.set)
    dialog.show()
    if not job.finished:
        loop.exec()
    dialog.canceled.disconnect()
    dialog.close()
    dialog.deleteLater()
    if errors:
        raise errors[0]
    return outcome[0]
