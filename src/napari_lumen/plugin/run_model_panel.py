"""The Run model panel: joins form, legend, controller and jobs."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QMessageBox

from napari_lumen.plugin.controllers.run_model import RunModelController
from napari_lumen.plugin.controllers.run_state import Result
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.panel import Panel
from napari_lumen.plugin.widgets.legend import Legend
from napari_lumen.plugin.widgets.run_model import RunModelForm

if TYPE_CHECKING:
    from napari import Viewer

    from napari_lumen.plugin.catalogue import ModelChoice


_LONGEST = 100  # letters of a title in a question


class RunModelPanel(Panel):
    """Dock widget "Run model".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : RunModelController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: RunModelController | None = None) -> None:
        self.controller = controller or RunModelController(napari_viewer, Jobs())
        self.form = RunModelForm()
        self.legend = Legend()
        super().__init__((self.controller,), self.form, self.legend)
        self._connect()
        self.form.show_state(self.controller.state)

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
        controller.counted.connect(self.legend.show_counts)
        controller.result_gone.connect(self._on_result_gone)
        controller.trust_asked.connect(self._ask_for_trust)

    def _on_finished(self, result: Result) -> None:
        self.legend.show_run(result.run.record, result.shown.scales, result.slide)

    def _on_result_gone(self) -> None:
        self.legend.hide()

    def _ask_for_trust(self, model: ModelChoice) -> None:
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Warning)
        box.setWindowTitle("Trust this model?")
        box.setText(f"This model was not made by this plugin: {model.danger} can run any code here.")
        # the title is the model's own words: they must not be able to hide these
        named = f"{escape(model.title[:_LONGEST])}<br>{escape(str(model.path))}"
        box.setInformativeText(f"Run it only if you trust where it comes from:<br><br>{named}")
        trust = box.addButton("Trust and run", QMessageBox.ButtonRole.AcceptRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        box.exec()
        if box.clickedButton() is trust:
            self.controller.trust(model)
            self.controller.run()
