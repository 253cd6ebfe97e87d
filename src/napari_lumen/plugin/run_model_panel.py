"""The Run model panel: joins form, legend, controller and jobs, and stops them when its window goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_lumen.plugin.controllers.run_model import Result, RunModelController
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.widgets.legend import Legend
from napari_lumen.plugin.widgets.run_model import RunModelForm

if TYPE_CHECKING:
    from napari import Viewer

_WIDTH = 330


class RunModelPanel(QWidget):
    """Dock widget "Run model".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : RunModelController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: RunModelController | None = None) -> None:
        super().__init__()
        self.controller = controller or RunModelController(napari_viewer, Jobs())
        self.form = RunModelForm()
        self.legend = Legend()
        self.setMinimumWidth(_WIDTH)
        self._lay_out()
        self._connect()
        self.form.show_state(self.controller.state)

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.addWidget(self.form)
        layout.addWidget(self.legend)
        layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)

    def _connect(self) -> None:
        form, controller = self.form, self.controller
        form.slide_chosen.connect(controller.choose_slide)
        form.model_chosen.connect(controller.choose_model)
        form.where_chosen.connect(controller.choose_where)
        form.device_chosen.connect(controller.choose_device)
        form.pixel_size_given.connect(controller.give_pixel_size)
        form.run_clicked.connect(controller.run)
        form.cancel_clicked.connect(controller.cancel)
        controller.changed.connect(form.show_state)
        controller.finished.connect(self._on_finished)
        self.destroyed.connect(controller.close)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(controller.close)

    def _on_finished(self, result: Result) -> None:
        self.legend.show_run(result.run.record, result.shown.scales, result.slide)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802  # Qt's name
        """Watch the window that the panel has come to lie in: its close must stop a run."""
        super().showEvent(event)
        window = self.window()
        if window is not None:
            window.installEventFilter(self)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802  # Qt's name
        """Stop the run when napari takes the panel out of its dock: the widget lives on, unseen."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.controller.close()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Stop the run when the window was really closed: the user may still be asked, and say no."""
        if event is not None and event.type() == QEvent.Type.Close and watched is self.window():
            QTimer.singleShot(0, self._close_with_window)
        return False

    def _close_with_window(self) -> None:
        window = self.window()
        if window is None or not window.isVisible():
            self.controller.close()
