"""The Project panel: joins form, controller and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.plugin.controllers.project import ProjectController
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.panel import Panel, unproxied
from napari_lumen.plugin.widgets.project import ProjectForm

if TYPE_CHECKING:
    from napari import Viewer


class ProjectPanel(Panel):
    """Dock widget "Project".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : ProjectController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: ProjectController | None = None) -> None:
        self.controller = controller or ProjectController(unproxied(napari_viewer), Jobs())
        self.form = ProjectForm()
        super().__init__((self.controller,), self.form)
        self._connect()
        self.form.show_state(self.controller.state)

    def _connect(self) -> None:
        form, controller = self.form, self.controller
        form.create_clicked.connect(controller.create)
        form.open_clicked.connect(controller.open)
        form.look_clicked.connect(controller.look_again)
        form.add_open_clicked.connect(controller.add_open)
        form.add_clicked.connect(controller.add_path)
        form.classes_chosen.connect(controller.take_classes)
        form.find_clicked.connect(controller.find_moved)
        form.author_named.connect(controller.name_author)
        form.keep_clicked.connect(controller.keep_drawn)
        form.compare_clicked.connect(controller.compare)
        form.score_clicked.connect(controller.score)
        form.cancel_clicked.connect(controller.cancel)
        form.table.slide_selected.connect(controller.select)
        form.table.slide_opened.connect(controller.open_slide)
        form.places.place_clicked.connect(controller.differences.go_to)
        controller.board.changed.connect(form.show_state)
