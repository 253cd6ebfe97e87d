"""The configuration of the training that the Train panel's state describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.errors import LumenError

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.train_state import TrainState
    from napari_lumen.training.config import TrainingConfig

_SHOWN = 3  # held-out images


def configured(state: TrainState) -> TrainingConfig | None:
    """Return what would be trained; None while something is missing."""
    if state.blocked or state.found is None or state.recipe is None:
        return None
    from napari_lumen.training.config import TrainingConfig

    origin = "" if state.start is None else f", trained further from {state.start.title}"
    what = "the annotations" if state.data == "annotations" else state.found.source["folder"]
    return TrainingConfig.model_validate(
        {
            "name": state.name,
            "recipe": {"name": state.recipe.name, **state.numbers},
            "data": dict(state.found.source),
            "data_text": f"{what} on {state.slide}" if state.data == "annotations" else str(what),
            "summary": f"Finds {', '.join(state.found.names)}{origin}.",
            "split": dict(state.found.split),
            "start": None if state.start is None else str(state.start.path),
            "settings": {"device": state.device, "samples": _SHOWN},
        }
    )


def wrong_number(state: TrainState) -> str:
    """Return what is wrong with the numbers of the recipe, which was imported when it was looked up."""
    if state.recipe is None or not state.numbers:
        return ""
    from napari_lumen.training.recipes import make_recipe

    try:
        make_recipe(state.recipe.name, **state.numbers)
    except LumenError as error:
        return str(error)
    return ""
