"""Whether a map matters, without widgets: a check of a field, and how many annotated boxes are covered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.attention_matters_work import (
    EFFORTS,
    Baseline,
    Check,
    Checked,
    check_field,
    covered_boxes,
)
from napari_lumen.plugin.controllers.command import Command
from napari_lumen.plugin.evaluation_truth import truth_layers
from napari_lumen.plugin.jobs import Emit
from napari_lumen.plugin.placing import origin_of, step_of
from napari_lumen.plugin.regions import view_region
from napari_lumen.plugin.wording import time_left

if TYPE_CHECKING:
    from napari_lumen.explain.coverage import Coverage
    from napari_lumen.explain.faithfulness import Faithfulness
    from napari_lumen.geometry import Pair
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.controllers.attention_state import ChosenMap

_SURE = 3  # passes after which the time that is left can be told


@dataclass(frozen=True, slots=True)
class MattersState:
    """All that the tool shows.

    Attributes
    ----------
    title : str
        Of the map that is checked next; "" without one.
    where : str
        What of the slide is checked.
    classes : tuple of str
    class_name : str or None
        Whose probability is followed; None for the most probable.
    effort : str
        Key of one of `EFFORTS`.
    baseline : {"blur", "mean"}
    busy : str
        What is being done; "" when nothing is.
    cancelling : bool
    done : float or None
        How much, 0 to 1; None while that is not known.
    checked : Checked or None
        The last check.
    coverage : Coverage or None
        The last count.
    covered_title : str
        Of the map that was counted for.
    message : str
        How the last command ended, or what is missing.
    """

    title: str = ""
    where: str = ""
    classes: tuple[str, ...] = ()
    class_name: str | None = None
    effort: str = "usual"
    baseline: Baseline = "blur"
    busy: str = ""
    cancelling: bool = False
    done: float | None = None
    checked: Checked | None = None
    coverage: Coverage | None = None
    covered_title: str = ""
    message: str = ""


class MattersController:
    """State and rules of the Matters tool.

    Parameters
    ----------
    attention : AttentionController
    """

    changed = Signal(MattersState)

    def __init__(self, attention: AttentionController) -> None:
        self._attention = attention
        self._command = Command(attention.jobs, self._update, cancelling=False, done=None)
        self._closed = False
        self.state = MattersState()
        attention.chosen.connect(self._on_chosen)
        self._on_chosen(attention.current)

    # what the user does

    def choose_class(self, name: str | None) -> None:
        """Choose whose probability is followed; None for the most probable."""
        self._update(class_name=name)

    def choose_effort(self, key: str) -> None:
        """Choose how thoroughly a field is checked."""
        self._update(effort=key)

    def choose_baseline(self, baseline: Baseline) -> None:
        """Choose what stands for cells that are taken away."""
        self._update(baseline=baseline)

    def check(self) -> None:
        """Check the field, or in a run the tile in the middle of the view."""
        chosen = self._attention.current
        if chosen is None or self.state.busy:
            return
        point = self._middle(chosen)
        if point is None:
            self._update(message="The view shows nothing of the slide: move it over a place to check.")
            return
        state, slide = self.state, self._attention.slides.slide(chosen.slide)
        effort = next(item for item in EFFORTS if item.key == state.effort)
        wanted = Check(chosen, point, state.class_name, effort, state.baseline)
        explainers = self._attention.explainers
        self._start(
            "Loading the model …",
            lambda emit, cancel: check_field(wanted, slide, explainers, emit, cancel),
            lambda found: self._update(checked=found),
        )

    def count_boxes(self) -> None:
        """Count which of the boxes around what is outlined on the slide the map covers."""
        chosen = self._attention.current
        if chosen is None or self.state.busy:
            return
        slide, title = chosen.slide, chosen.title
        drawn = truth_layers(slide, self._attention.viewer.layers)
        layers = [item.as_layer_data_tuple() for item in drawn if item.visible]
        frame = Frame.of(slide)
        self._start(
            "Counting …",
            lambda emit, cancel: covered_boxes(chosen, layers, frame),
            lambda found: self._update(coverage=found, covered_title=title),
        )

    def cancel(self) -> None:
        """Ask what is being done to stop; it does so after the pass that it is at."""
        self._command.cancel()

    def close(self) -> None:
        """Let go; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._command.close()
        self._attention.chosen.disconnect(self._on_chosen)

    # what happens

    def _on_chosen(self, chosen: ChosenMap | None) -> None:
        if chosen is None:
            self._update(title="", where="", classes=(), class_name=None, coverage=None)
            return
        classes = tuple(item.name for item in chosen.source.card.classes)
        field = chosen.source.explained is not None
        self._update(
            title=chosen.title,
            where="the explained field" if field else "the tile in the middle of the view",
            classes=classes,
            class_name=self.state.class_name if self.state.class_name in classes else None,
            coverage=None,
        )

    def _middle(self, chosen: ChosenMap) -> Pair | None:
        """Return the middle of what is in view of the slide, level-0 px."""
        layer = chosen.slide
        slide = self._attention.slides.slide(layer)
        seen = view_region(self._attention.viewer, step_of(layer), slide.shape, origin_of(layer))
        return None if seen.empty else (seen.y + seen.height / 2, seen.x + seen.width / 2)

    def _start(self, busy: str, work: Callable[[Emit, Event], Any], done: Callable[[Any], None]) -> None:
        began: list[float] = []

        def progress(event: tuple[int, int]) -> None:
            passes, total = event
            if not passes:
                return
            began.append(time.monotonic())  # loading the model does not count
            rate = (began[-1] - began[0]) / max(1, passes - 1)
            left = time_left(rate * (total - passes)) if passes > _SURE and len(began) > 1 else ""
            self._update(busy=f"Pass {passes} of {total}{left}", done=passes / total)

        self._command.run(busy, work, done, progress)

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)


def verdict(found: Faithfulness) -> str:
    """Return what a check says of a map, in plain words."""
    deletion = found.deletion.area < min(curve.area for curve in found.random_deletion)
    insertion = found.insertion.area > max(curve.area for curve in found.random_insertion)
    what = f"what the model says of {found.class_name}"
    if deletion and insertion:
        return f"The cells that the map marks decide {what}: both curves are better than every random order."
    if deletion:
        return f"The cells that the map marks are needed for {what}, but alone they do not suffice."
    if insertion:
        return f"The cells that the map marks suffice for {what}, but it does not need them."
    if found.deletion.scores[-1] >= found.deletion.scores[0]:
        return (
            f"Without the whole field {found.class_name} is as probable as with it: this check says nothing. "
            "Put something else in its place, or follow another class."
        )
    return f"The cells that the map marks matter no more than random ones for {what}."
