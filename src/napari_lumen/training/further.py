"""Training a model further: the recipe and the numbers that its network fits."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from napari_lumen.models.card import InputSpec, ModelCard
from napari_lumen.training.recipes import RECIPES
from napari_lumen.training.recipes.focusnetpp import FocusNetPPRecipe

_ONE_CLASS = ("focusnetpp", "unet", "attention_unet", "unetpp", "r2unet", "bcdunet")
_AS_IS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # mean and deviation of an input that is not normalised


def recipe_for(card: ModelCard) -> tuple[str, dict[str, Any]] | None:
    """Return the recipe by which a model can be trained further, and the numbers that differ from its own.

    A model of one of our recipes goes on by that. Another one of an architecture that FocusNet++'s recipe
    trains is cut into squares at the pixel size that the model runs at.

    Returns
    -------
    (str, dict) or None
        None where no recipe trains such a model.
    """
    kept = dict(card.training.recipe)
    name = kept.pop("recipe", None)
    if isinstance(name, str) and name in RECIPES:
        known = RECIPES[name].model_fields
        numbers = {key: value for key, value in kept.items() if key in known}
        try:
            return name, RECIPES[name](**numbers).model_dump(mode="json", exclude_defaults=True)
        except ValidationError:  # of an older version
            return None
    if card.architecture in _ONE_CLASS and len(card.classes) == 1 and _is_plain(card.input):
        view = card.input.views[0]
        numbers = {
            "architecture": card.architecture,
            "arguments": card.network_arguments,
            "framing": "crop",
            "size": view.size,
            "mpp": view.mpp,
        }
        return FocusNetPPRecipe.kind, numbers
    return None


def _is_plain(spec: InputSpec) -> bool:
    return (spec.mean, spec.std) == _AS_IS and len(spec.views) == 1
