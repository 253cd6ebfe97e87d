"""The Evaluate panel: joins its widgets, controller and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.plugin.controllers.evaluate import EvaluateController
from napari_lumen.plugin.controllers.evaluate_state import EvaluateState
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.panel import Panel, unproxied
from napari_lumen.plugin.widgets.evaluate import EvaluateForm
from napari_lumen.plugin.widgets.evaluation_names import EvaluationNames
from napari_lumen.plugin.widgets.evaluation_places import EvaluationPlaces
from napari_lumen.plugin.widgets.evaluation_tables import EvaluationTables

if TYPE_CHECKING:
    from napari import Viewer


class EvaluatePanel(Panel):
    """Dock widget "Evaluate".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : EvaluateController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: EvaluateController | None = None) -> None:
        self.controller = controller or EvaluateController(unproxied(napari_viewer), Jobs())
        self.names = EvaluationNames()
        self.form = EvaluateForm(self.names)
        self.tables = EvaluationTables()
        self.places = EvaluationPlaces()
        super().__init__((self.controller,), self.form, self.tables, self.places)
        self._connect()
        self._show(self.controller.state)

    def _connect(self) -> None:
        form, controller = self.form, self.controller
        form.slide_chosen.connect(controller.choose_slide)
        form.run_chosen.connect(controller.choose_run)
        form.truth_chosen.connect(controller.choose_truth)
        form.file_chosen.connect(controller.choose_file)
        form.where_chosen.connect(controller.choose_where)
        self.names.counted.connect(controller.count_as)
        form.objects_set.connect(controller.score_objects)
        form.evaluate_clicked.connect(controller.evaluate)
        form.cancel_clicked.connect(controller.cancel)
        form.save_clicked.connect(controller.save)
        self.places.place_clicked.connect(controller.go_to)
        controller.changed.connect(self._show)

    def _show(self, state: EvaluateState) -> None:
        self.form.show_state(state)
        self.names.show_state(state)
        found = state.result
        self.tables.show_evaluation(found)
        self.places.show_result(found)
