"""The Run model panel: joins form, legend, controller and jobs."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton

from napari_lumen.plugin.closing import AtStake
from napari_lumen.plugin.controllers.run_model import RunModelController
from napari_lumen.plugin.controllers.run_state import Result, RunState
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.panel import Panel, unproxied
from napari_lumen.plugin.widgets.legend import Legend
from napari_lumen.plugin.widgets.run_model import RunModelForm

if TYPE_CHECKING:
    from napari import Viewer

    from napari_lumen.plugin.catalogue import ModelChoice


_FILES = {
    "QuPath GeoJSON (*.geojson *.geojson.gz)": ".geojson",
    "Table (*.csv)": ".csv",
    "GeoParquet (*.parquet)": ".parquet",
}
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
        self.controller = controller or RunModelController(unproxied(napari_viewer), Jobs())
        self.form = RunModelForm()
        self.legend = Legend()
        self.save = QPushButton("Save objects …")
        self.save.setToolTip(
            "Every object of this result with its outline and measurements, for QuPath or as a table. "
            "Corrected ones as they are now."
        )
        super().__init__((self.controller,), self.form, self.legend, self.save)
        self._connect()
        self._show(self.controller.state)

    def at_stake(self) -> tuple[AtStake, ...]:
        """Return the run that goes on."""
        state = self.controller.state
        if not state.running or state.model is None:
            return ()
        what = f"A run of {state.model.title} over {state.slide} has not finished."
        more = "What is finished is kept: the same run goes on from there."
        return (AtStake(what, "Stop and close", self._stop, more=more),)

    def _stop(self) -> bool:
        self.controller.cancel()
        return True

    def _connect(self) -> None:
        form, controller = self.form, self.controller
        form.slide_chosen.connect(controller.choose_slide)
        form.model_chosen.connect(controller.choose_model)
        form.where_chosen.connect(controller.choose_where)
        form.device_chosen.connect(controller.choose_device)
        form.pixel_size_given.connect(controller.give_pixel_size)
        form.run_clicked.connect(controller.run)
        form.cancel_clicked.connect(controller.cancel)
        self.save.clicked.connect(self._on_save)
        controller.changed.connect(self._show)
        controller.finished.connect(self._on_finished)
        controller.counted.connect(self.legend.show_counts)
        controller.result_gone.connect(self._on_result_gone)
        controller.trust_asked.connect(self._ask_for_trust)

    def _show(self, state: RunState) -> None:
        self.form.show_state(state)
        self.save.setVisible(state.savable)
        self.save.setEnabled(not state.saving and not state.running)

    def _on_save(self) -> None:
        path, chosen = QFileDialog.getSaveFileName(self, "Save the objects", "", ";;".join(_FILES))
        if path:
            self.controller.save_objects(Path(path if Path(path).suffix else path + _FILES[chosen]))

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
