"""What the Train panel shows, and when it lets a training start."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from napari_lumen.plugin.live_training import LiveTraining
    from napari_lumen.plugin.recipe_fields import RecipeChoice
    from napari_lumen.plugin.training_data import DataFound, DataKind, Elsewhere
    from napari_lumen.plugin.training_work import StartChoice
    from napari_lumen.training.estimate import Estimate

Stage = Literal["idle", "estimating", "training", "pausing", "cancelling"]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class TrainState:
    """All that the panel shows.

    Attributes
    ----------
    data : {"annotations", "corrections", "project", "folder"}
        What is learned from.
    slides : tuple of str
    slide : str or None
        Whose annotations, or whose run's corrections.
    folder : Path or None
        Of data, of a project, or of corrections.
    author : str
        Whose annotations of the project; "" for whoever drew last on each slide.
    elsewhere : {"background", "ignore"}
        What is not annotated.
    held_out : int
        Per cent that is validated on.
    looking : bool
        Whether the data are being looked at.
    found : DataFound or None
    data_problem : str
        Why there is nothing to learn from.
    recipes : tuple of RecipeChoice
    recipe : RecipeChoice or None
    numbers : mapping of str to object
        That are other than the recipe's own.
    starts : tuple of StartChoice
    start : StartChoice or None
        The model that the training begins with; None for random weights.
    name : str
        Of the new model.
    devices : tuple of (str, str)
    device : str
    estimate : Estimate or None
        Of what is chosen now.
    blocked : str or None
        Why no training can start, and what to do.
    stage : {"idle", "estimating", "training", "pausing", "cancelling"}
    training : str
        Name of the training that goes on.
    live : LiveTraining or None
        Of the training that goes on, or of the last one.
    unfinished : tuple of str
        Trainings that can go on.
    message : str
        How the last one ended.
    result : str
        The new model beside the one it came from.
    """

    data: DataKind = "annotations"
    slides: tuple[str, ...] = ()
    slide: str | None = None
    folder: Path | None = None
    author: str = ""
    elsewhere: Elsewhere = "background"
    held_out: int = 25
    looking: bool = False
    found: DataFound | None = None
    data_problem: str = ""
    recipes: tuple[RecipeChoice, ...] = ()
    recipe: RecipeChoice | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[StartChoice, ...] = ()
    start: StartChoice | None = None
    name: str = "my-model"
    devices: tuple[tuple[str, str], ...] = (("auto", "Automatic"),)
    device: str = "auto"
    estimate: Estimate | None = None
    blocked: str | None = "Reading the recipes …"
    stage: Stage = "idle"
    training: str = ""
    live: LiveTraining | None = None
    unfinished: tuple[str, ...] = ()
    message: str = ""
    result: str = ""

    @property
    def busy(self) -> bool:
        """Whether a training goes on, or is about to stop."""
        return self.stage in ("training", "pausing", "cancelling")


def next_name(name: str, taken: frozenset[str]) -> str:
    """Return a name for the model after one of a name: that with the first number that is free."""
    stem = re.sub(r"-\d+$", "", name)
    return next(found for number in itertools.count(2) if (found := f"{stem}-{number}") not in taken)


def why_blocked(state: TrainState, taken: frozenset[str], problem: str) -> str | None:
    """Return why no training can start, and what to do; None when it can.

    Parameters
    ----------
    state : TrainState
    taken : frozenset of str
        Names of the models and trainings there are.
    problem : str
        What is wrong with the numbers of the recipe; empty when nothing is.
    """
    if state.recipe is None:
        return "Reading the recipes …"
    if state.looking:
        return "Looking at the data …"
    if state.found is None:
        return state.data_problem or "Choose what to learn from."
    if state.start is not None and len(state.start.classes) != len(state.found.classes):
        return (
            f"{state.start.title} knows {_listed(state.start.classes)}; the data have "
            f"{_listed(state.found.names)}. Choose other data, or start from nothing."
        )
    if problem:
        return problem
    if not _NAME.fullmatch(state.name):
        return "Give the new model a name of small letters, digits, dots and dashes."
    if state.name in taken:
        return f"There is a model or training named {state.name} already: give another name."
    return None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
