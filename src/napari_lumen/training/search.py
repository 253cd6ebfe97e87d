"""Search an architecture, and train what was found from scratch (NAS-SCAM, section 2.2)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from pydantic import ValidationError

from napari_lumen.errors import RunError
from napari_lumen.models.genotype import EDGES, Genotype
from napari_lumen.training.config import TrainingConfig
from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.recipes.nas_scam import read_genotype
from napari_lumen.training.recipes.nas_scam_search import GENOTYPE, NASSCAMSearchRecipe
from napari_lumen.training.train import Training, train
from napari_lumen.validation import first_problem

SEARCH, REBUILT = "search", "rebuilt"
_ANY = Genotype.of_rows([["conv1"] * len(EDGES)], [["conv1"] * len(EDGES)])


@dataclass(frozen=True)
class Search:
    """A finished search.

    Attributes
    ----------
    genotype : Genotype
        The operations that won, of the best epoch.
    search : Training
        Its folder holds `alphas.parquet` and `genotypes.parquet`: the coefficients and their winners over the
        epochs.
    rebuilt : Training
        Of the network that the genotype stands for, from scratch: the model.
    """

    genotype: Genotype
    search: Training
    rebuilt: Training


def search(
    config: TrainingConfig | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    images: Pictures | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    cancel: Event | None = None,
) -> Search:
    """Search an architecture and train it from scratch; stopped at any moment, the same call goes on.

    Parameters
    ----------
    config : TrainingConfig or path
        Of the recipe ``nas_scam_search``, or a TOML file of it; `rebuilt` in it changes numbers of the
        training from scratch.
    out : path
        Gets the folders of both trainings, ``search`` and ``rebuilt``.
    images, on_progress, cancel
        As of `train`.

    Returns
    -------
    Search

    Raises
    ------
    RunError
        As of `train`, and when the recipe is no search.
    Cancelled
        When the user asked for it.
    """
    if not isinstance(config, TrainingConfig):
        config = TrainingConfig.read(Path(config))
    recipe = search_recipe(config)
    rebuilt_config(config, recipe, _ANY)  # a wrong number is told before the search, not after it
    out = Path(out)
    if out.is_dir() and {entry.name for entry in out.iterdir()} - {SEARCH, REBUILT}:
        raise RunError(f"{out} is not empty. Choose another folder for the search.")
    first = config.model_copy(update={"name": f"{config.name}-search"})
    found = train(first, out / SEARCH, images=images, on_progress=on_progress, cancel=cancel)
    try:
        genotype = read_genotype(found.folder / GENOTYPE)
    except ValueError as error:
        raise RunError(f"The search left no genotype: {error}.") from error
    second = rebuilt_config(config, recipe, genotype)
    trained = train(second, out / REBUILT, images=images, on_progress=on_progress, cancel=cancel)
    return Search(genotype, found, trained)


def search_recipe(config: TrainingConfig) -> NASSCAMSearchRecipe:
    """Return the recipe of a search.

    Raises
    ------
    RunError
        When the recipe searches nothing.
    """
    recipe = config.make_recipe()
    if not isinstance(recipe, NASSCAMSearchRecipe):
        raise RunError(
            f"The recipe {recipe.kind} searches nothing; {NASSCAMSearchRecipe.kind} does. Train it instead."
        )
    return recipe


def rebuilt_config(config: TrainingConfig, recipe: NASSCAMSearchRecipe, genotype: Genotype) -> TrainingConfig:
    """Return the training from scratch that follows a search which finds a genotype.

    Raises
    ------
    RunError
        When a number in `rebuilt` is wrong.
    """
    try:
        rebuilt = recipe.rebuilt(genotype, **config.rebuilt)
    except ValidationError as error:
        raise RunError(f"Field 'rebuilt': {first_problem(error)}.") from error
    numbers = {"name": rebuilt.kind, **rebuilt.model_dump(mode="json")}
    return config.model_copy(update={"recipe": numbers, "rebuilt": {}})
