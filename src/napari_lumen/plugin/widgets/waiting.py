"""Waiting for a job behind a dialog with a progress bar and Cancel, while the window keeps drawing."""

from __future__ import annotations

from typing import Any, TypeVar

from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QProgressDialog, QWidget

from napari_lumen.errors import Cancelled
from napari_lumen.plugin.jobs import Callbacks, JobRunner, Work

T = TypeVar("T")

_MOMENT = 200  # ms: a dialog for less is only a flash
_NEVER = 2**31 - 1  # ms
_STEPS = 1000  # of the bar: bytes of a large slide do not fit Qt's 32-bit range


def wait_for(jobs: JobRunner, work: Work[T], text: str, parent: QWidget | None = None) -> T:
    """Run some work and return its result; behind a dialog when that takes longer than a moment.

    Parameters
    ----------
    jobs : JobRunner
    work : callable
        Emits (done, total), or (done, total, what is going on); a total of 0 is not known.
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
    dialog = _dialog(text, parent)

    def on_progress(progress: Any) -> None:
        done, total, *words = progress
        dialog.setLabelText(*(words or [text]))
        dialog.setRange(0, _STEPS if total else 0)
        dialog.setValue(_STEPS * done // max(1, total))

    def on_done(value: T) -> None:
        outcome.append(value)
        loop.quit()

    def on_failed(error: BaseException) -> None:
        errors.append(error)
        loop.quit()

    def on_cancelled() -> None:
        on_failed(Cancelled("Cancelled; nothing was kept."))

    job = jobs.start(work, Callbacks(on_progress, on_done, on_failed, on_cancelled))
    dialog.canceled.connect(job.cancel.set)
    QTimer.singleShot(_MOMENT, loop.quit)
    loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    if not job.finished:
        dialog.show()
        loop.exec()
    dialog.canceled.disconnect()
    dialog.close()
    dialog.deleteLater()
    if errors:
        raise errors[0]
    return outcome[0]


def _dialog(text: str, parent: QWidget | None) -> QProgressDialog:
    dialog = QProgressDialog(text, "Cancel", 0, 0, parent)
    dialog.setWindowTitle("napari-lumen")
    dialog.setWindowModality(Qt.WindowModality.WindowModal)
    dialog.setAutoClose(False)
    dialog.setAutoReset(False)
    dialog.setMinimumDuration(_NEVER)  # it would come up by itself
    return dialog
