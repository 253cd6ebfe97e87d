"""The queue of fields that are most worth correcting next, and their boxes on the map."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.plugin.controllers.correct_state import CorrectState, covered_by
from napari_lumen.plugin.jobs import Emit, Job
from napari_lumen.plugin.proposal_boxes import proposal_boxes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.corrections.proposals import By, Proposal
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.controllers.correct_board import CorrectBoard
    from napari_lumen.plugin.controllers.correct_choice import CorrectChoice
    from napari_lumen.plugin.controllers.correct_target import Target

COUNT = 20
_WITH = "disagreement:"  # and the folder of the other run
_WAYS: tuple[tuple[By, str], ...] = (
    ("entropy", "the model is unsure"),
    ("flips", "it says otherwise of the field flipped"),
    ("attention", "its attention varies"),
    ("diversity", "it is unlike the others"),
    ("random", "at random"),
)


class CorrectProposals:
    """Finds proposals for the run that is corrected, and shows them.

    Parameters
    ----------
    viewer : ViewerModel
    board : CorrectBoard
    choice : CorrectChoice
    open_on : callable
        Opens an edit window over a region of the slide.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        board: CorrectBoard,
        choice: CorrectChoice,
        open_on: Callable[[Region], None],
    ) -> None:
        self._viewer = viewer
        self._board = board
        self._choice = choice
        self._open_on = open_on
        self._target: Target | None = None
        self._layer: Layer | None = None
        self._job: Job | None = None
        board.changed.connect(self._on_changed)

    def propose(self, way: str) -> None:
        """Find fields in a way of those of `ways`."""
        target, layer, board = self._choice.target, self._choice.layer, self._board
        if target is None or layer is None or target.run is None or board.state.busy or board.state.open:
            return
        run, slide = target.run, target.slide
        by, _, folder = way.partition(":")

        def work(emit: Emit, cancel: Event) -> tuple[Proposal, ...]:
            from napari_lumen.inference.proposals import propose
            from napari_lumen.inference.run import Run

            other = Run.open(folder) if folder else None
            return propose(
                run,
                by,  # type: ignore[arg-type]
                COUNT,
                other=other,
                slide=slide,
                on_progress=lambda done, total: emit(f"Looking for fields: {done} of {total} …"),
                cancel=cancel,
            )

        def done(found: tuple[Proposal, ...]) -> None:
            if target is self._choice.target:
                self._target = target
                said = "" if found else "All that was analysed is corrected."
                board.update(proposals=found, message=said)

        self._job = board.run("Looking for fields …", work, done)
        if not self._job.finished:
            board.update(looking=True)

    def go_to(self, index: int) -> None:
        """Open an edit window over a proposal."""
        proposals = self._board.state.proposals
        if index < len(proposals):
            self._open_on(proposals[index].region)

    def clear(self) -> None:
        """Forget the proposals; while they are looked for, stop that."""
        if self._board.state.looking and self._job is not None:
            self._job.cancel.set()
        else:
            self._board.update(proposals=())

    def close(self) -> None:
        """Let go of the board."""
        self._board.changed.disconnect(self._on_changed)

    def _on_changed(self, state: CorrectState) -> None:
        """Leave out what was corrected meanwhile, or is of another run; keep the boxes as the list is."""
        if state.looking and not state.busy:
            self._board.update(looking=False)
            return
        left = tuple(item for item in state.proposals if not covered_by(item.region, state.windows))
        if self._target is not self._choice.target:
            left = ()
        known = ways(state) if self._choice.target is not None else ()
        if (left, known) != (state.proposals, state.ways):
            self._board.update(proposals=left, ways=known)  # which comes here again
            return
        self._draw(left)
        if self._layer is not None and self._layer.visible == state.open:
            self._layer.visible = not state.open  # its lines would lie over what is being painted

    def _draw(self, proposals: tuple[Proposal, ...]) -> None:
        slide = self._choice.layer
        if self._layer is not None and self._layer.metadata.get("proposals") == proposals:
            return
        selected = self._viewer.layers.selection.active
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None
        if proposals and slide is not None and self._target is not None:
            self._layer = proposal_boxes(proposals, slide, self._board.state.run)
            self._viewer.layers.append(self._layer)
        if selected is not None and selected in self._viewer.layers:
            self._viewer.layers.selection.active = selected


def ways(state: CorrectState) -> tuple[tuple[str, str], ...]:
    """Return how fields can be found for the chosen run: what to give to `propose`, and in words."""
    if not state.run:
        return ()
    others = [(path, title) for path, title in state.runs if path and path != state.run]
    return (
        *_WAYS[:1],
        *((f"{_WITH}{path}", f"{title} says otherwise") for path, title in others),
        *_WAYS[1:],
    )
