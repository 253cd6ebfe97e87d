"""The Train panel: joins form, controller and jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize

from napari_lumen.plugin.closing import AtStake
from napari_lumen.plugin.controllers.train import TrainController
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.panel import Panel, unproxied
from napari_lumen.plugin.run_model_panel import RunModelPanel
from napari_lumen.plugin.widgets.train import TrainForm

if TYPE_CHECKING:
    from napari import Viewer

_LOWEST, _USUAL = 320, 800  # px


class TrainPanel(Panel):
    """Dock widget "Train".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : TrainController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: TrainController | None = None) -> None:
        self.controller = controller or TrainController(unproxied(napari_viewer), Jobs())
        self.form = TrainForm()
        super().__init__((self.controller,), self.form)
        self.setMinimumHeight(_LOWEST)  # beside other panels, it would be the few pixels that are left
        self._connect()
        self.form.show_state(self.controller.state)

    def sizeHint(self) -> QSize:  # noqa: N802  # Qt's name
        """Ask for the height of the form; the user gives it less."""
        return QSize(super().sizeHint().width(), _USUAL)

    def at_stake(self) -> tuple[AtStake, ...]:
        """Return the training that goes on."""
        state = self.controller.state
        if not state.busy:
            return ()
        what = f"The training {state.training} has not finished."
        more = "It can be paused: what is learned is kept, and it goes on another day."
        return (AtStake(what, "Pause and close", self._pause, more=more),)

    def _pause(self) -> bool:
        self.controller.pause()
        return True

    def _connect(self) -> None:
        form, controller = self.form, self.controller
        form.data.data_chosen.connect(controller.choose_data)
        form.data.slide_chosen.connect(controller.choose_slide)
        form.data.author_chosen.connect(controller.choose_author)
        form.data.folder_chosen.connect(controller.choose_folder)
        form.data.elsewhere_chosen.connect(controller.choose_elsewhere)
        form.data.held_out_chosen.connect(controller.choose_held_out)
        form.data.look_clicked.connect(controller.look)
        form.start_chosen.connect(controller.choose_start)
        form.recipe_chosen.connect(controller.choose_recipe)
        form.number_set.connect(controller.set_number)
        form.name_chosen.connect(controller.choose_name)
        form.device_chosen.connect(controller.choose_device)
        form.estimate_clicked.connect(controller.estimate)
        form.train_clicked.connect(controller.start)
        form.pause_clicked.connect(controller.pause)
        form.cancel_clicked.connect(controller.cancel)
        form.go_on_clicked.connect(controller.go_on)
        form.discard_clicked.connect(controller.discard)
        controller.changed.connect(form.show_state)
        controller.model_made.connect(self._on_model_made)

    def _on_model_made(self, model: Path) -> None:
        """Let the Run panels of this window know of a new model."""
        window = self.window()
        for panel in [] if window is None else window.findChildren(RunModelPanel):
            panel.controller.look_again()
