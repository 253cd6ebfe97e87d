"""The Correct panel: joins its widgets, controller, jobs and clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_lumen.corrections.draft import INTERVAL
from napari_lumen.plugin.closing import AtStake
from napari_lumen.plugin.controllers.correct import CorrectController
from napari_lumen.plugin.controllers.correct_state import CorrectState
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.panel import Panel, unproxied
from napari_lumen.plugin.widgets.correct import CorrectForm
from napari_lumen.plugin.widgets.correct_classes import PaintClasses
from napari_lumen.plugin.widgets.correct_drafts import DraftOffers
from napari_lumen.plugin.widgets.correct_proposals import ProposalQueue
from napari_lumen.plugin.widgets.correct_tools import ObjectToolRow
from napari_lumen.plugin.widgets.correct_windows import CorrectedList

if TYPE_CHECKING:
    from napari import Viewer


class CorrectPanel(Panel):
    """Dock widget "Correct".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : CorrectController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: CorrectController | None = None) -> None:
        self.controller = controller or CorrectController(unproxied(napari_viewer), Jobs())
        self.form = CorrectForm()
        self.classes = PaintClasses()
        self.tools = ObjectToolRow()
        self.queue = ProposalQueue()
        self.windows = CorrectedList()
        self.drafts = DraftOffers()
        super().__init__(
            (self.controller,),
            self.drafts,
            self.form,
            self.classes,
            self.tools,
            self.queue,
            self.windows,
            self.form.keys,
        )
        self._connect()
        self._clock = QTimer(self)
        self._clock.timeout.connect(self.controller.tick)
        self._clock.start(round(INTERVAL * 1000))
        self._show(self.controller.state)

    def at_stake(self) -> tuple[AtStake, ...]:
        """Return what is painted and not accepted."""
        if not self.controller.desk.unsaved:
            return ()
        what = "What you have painted in the edit window is not accepted yet."
        drop = self.controller.desk.close
        return (AtStake(what, "Accept and close", self.controller.accept_now, drop),)

    def _connect(self) -> None:
        form, controller = self.form, self.controller
        form.slide_chosen.connect(controller.choice.choose_slide)
        form.run_chosen.connect(controller.choice.choose_run)
        form.size_chosen.connect(controller.choose_size)
        form.classes_named.connect(controller.choice.name_classes)
        form.folder_chosen.connect(controller.choice.choose_folder)
        form.author_named.connect(controller.name_author)
        form.screen_brush_set.connect(controller.desk.keep_brush)
        form.preserve_set.connect(controller.desk.preserve)
        form.open_clicked.connect(controller.open)
        form.accept_clicked.connect(controller.accept)
        form.skip_clicked.connect(controller.skip)
        form.next_clicked.connect(controller.next)
        self.classes.chosen.connect(controller.desk.choose_class)
        self.tools.toggled.connect(controller.tools.toggle)
        self.queue.proposed.connect(controller.proposals.propose)
        self.queue.chosen.connect(controller.proposals.go_to)
        self.queue.cleared.connect(controller.proposals.clear)
        self.windows.go_clicked.connect(controller.go_to)
        self.windows.revert_clicked.connect(controller.revert)
        self.drafts.restore_clicked.connect(controller.drafts.restore)
        self.drafts.forget_clicked.connect(controller.drafts.forget)
        controller.board.changed.connect(self._show)

    def _show(self, state: CorrectState) -> None:
        self.form.show_state(state)
        self.classes.show_classes(state.classes, state.counts)
        self.classes.show_selected(state.selected if state.open else None)
        ready = state.blocked is None and not state.busy
        self.tools.show_tool(state.tool, ready=ready)
        can = ready and not state.open
        self.queue.show_queue(state.ways, state.proposals, ready=can, looking=state.looking)
        self.windows.show_windows(state.windows, state.classes, busy=bool(state.busy) or state.open)
        self.drafts.show_drafts(state.drafts)
