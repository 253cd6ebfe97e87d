"""What the Train panel does on worker threads: looking for recipes and models, training, keeping models."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import platformdirs

from napari_lumen.holding import write_text
from napari_lumen.plugin.live_training import LiveTraining, Watch
from napari_lumen.plugin.recipe_fields import RecipeChoice, recipe_choice

if TYPE_CHECKING:
    from napari_lumen.training.config import TrainingConfig
    from napari_lumen.training.train import Training

CONFIG, OUT, DATA = "config.json", "training", "data"
_OFFERED = ("focusnetpp", "darefinenet", "gated_attention", "nas_scam", "multistage")


@dataclass(frozen=True, slots=True)
class StartChoice:
    """A model that a training may begin with.

    Attributes
    ----------
    path : Path
    title : str
    recipe : str
        That trains it further.
    numbers : mapping
        Of the recipe, where they are not its own.
    classes : tuple of str
    mpp : float
        µm per pixel at which it runs.
    size : int
        Side of its tile, px.
    """

    path: Path
    title: str
    recipe: str
    numbers: Mapping[str, Any]
    classes: tuple[str, ...]
    mpp: float
    size: int


@dataclass(frozen=True, slots=True)
class TrainingCatalogue:
    """What there is to choose from.

    Attributes
    ----------
    recipes : tuple of RecipeChoice
    starts : tuple of StartChoice
    names : frozenset of str
        Of the models there are: a new one needs another.
    devices : tuple of (str, str)
        Name and what to show.
    unfinished : tuple of str
        Names of trainings that were paused, or ended by a failure, a kill or a power cut.
    """

    recipes: tuple[RecipeChoice, ...]
    starts: tuple[StartChoice, ...]
    names: frozenset[str]
    devices: tuple[tuple[str, str], ...]
    unfinished: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """A finished training and where its model is kept now."""

    training: Training
    model: Path
    title: str
    compared: Mapping[str, tuple[float, float]]


def trainings_folder() -> Path:
    """Return the folder where the trainings of the window lie."""
    return platformdirs.user_data_path("napari-lumen") / "trainings"


def look_up_training() -> TrainingCatalogue:
    """Read the recipes and the cards of all models; takes seconds, for it imports torch."""
    from napari_lumen.errors import ModelError
    from napari_lumen.inference import devices
    from napari_lumen.models import available, read_card
    from napari_lumen.training.further import recipe_for
    from napari_lumen.training.recipes import RECIPES

    found = available()
    starts = []
    for path in found.values():
        try:
            card = read_card(path)
        except ModelError:  # the Run panel tells of it
            continue
        known = recipe_for(card)
        if known is not None and known[0] in _OFFERED:
            names = tuple(item.name for item in card.classes)
            view = card.input.views[0]
            starts.append(StartChoice(path, card.title, *known, names, view.mpp, view.size))
    recipes = tuple(recipe_choice(RECIPES[name]) for name in _OFFERED)
    return TrainingCatalogue(recipes, tuple(starts), frozenset(found), tuple(devices()), unfinished())


def unfinished() -> tuple[str, ...]:
    """Return the names of trainings that can go on."""
    folders = (path.parent for path in trainings_folder().glob(f"*/{CONFIG}"))
    return tuple(
        sorted(folder.name for folder in folders if not any((folder / OUT / "model").glob("*/card.json")))
    )


def put_down(config: TrainingConfig, data: Path | None) -> Path:
    """Make the folder of a new training, with its configuration and the windows that it learns from.

    Parameters
    ----------
    config : TrainingConfig
    data : Path or None
        Folder of windows that is to go with it.
    """
    from napari_lumen.errors import RunError

    folder = trainings_folder() / config.name
    try:
        folder.mkdir(parents=True)
        if data is not None:
            shutil.copytree(data, folder / DATA)
            source = config.data.model_copy(update={"folder": folder / DATA})
            config = config.model_copy(update={"data": source})
        write_text(folder / CONFIG, config.model_dump_json(indent=1) + "\n")  # the last: now it can go on
    except OSError as error:
        throw_away(folder)
        raise RunError(f"The training cannot be kept in {folder}: {error.strerror or error}.") from error
    return folder


def throw_away(folder: Path) -> None:
    """Delete the folder of a training, or what of it can be deleted."""
    shutil.rmtree(folder, ignore_errors=True)


def train_in(
    folder: Path,
    emit: Callable[[LiveTraining], None],
    cancel: Event,
    fit: Callable[..., Training] | None = None,
) -> Trained:
    """Train in a folder, from its beginning or from where it stopped, and keep the model.

    Raises
    ------
    LumenError
        As of `napari_lumen.train`, and when the model cannot be kept.
    """
    import pandas as pd

    from napari_lumen.models import available, install_model, read_card
    from napari_lumen.plugin.priority import give_way
    from napari_lumen.training.config import TrainingConfig
    from napari_lumen.training.memory import resident
    from napari_lumen.training.train import train

    give_way()
    config = TrainingConfig.model_validate_json((folder / CONFIG).read_bytes())
    curves = folder / OUT / "curves.parquet"
    watch = Watch(pd.read_parquet(curves) if curves.is_file() else None)
    training = (fit or train)(
        config,
        folder / OUT,
        on_progress=lambda event: emit(watch.note(event, resident())),
        cancel=cancel,
    )
    kept = available().get(config.name) or install_model(training.model)
    return Trained(training, kept, read_card(kept).title, training.compared())
