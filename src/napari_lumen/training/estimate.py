"""What a training would do, and how long and with how much memory: nothing of it is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

from lightning_fabric import Fabric

from napari_lumen.errors import Cancelled
from napari_lumen.models.genotype import Genotype
from napari_lumen.training.config import TrainingConfig
from napari_lumen.training.contents import Contents, count_contents
from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.leaks import check_leaks
from napari_lumen.training.job import Job, in_words
from napari_lumen.training.labelled import require_labels
from napari_lumen.training.launch import Tell, launch
from napari_lumen.training.recipes.multistage import MultiStageRecipe
from napari_lumen.training.search import rebuilt_config, search_recipe
from napari_lumen.training.trial import PhaseTrial, Trial, try_plan
from napari_lumen.training.turn import Turn

_DEAREST = Genotype.uniform("conv5", "conv15")  # what a search may find takes at most as long


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training would do.

    Attributes
    ----------
    name : str
        Of the model that would come out.
    recipe : str
    start : str or None
        Model that it would begin with.
    contents : Contents
        The parts of the split.
    device, precision : str
    devices : int
        How many train together.
    weights : int
        Numbers of the network.
    phases : tuple of PhaseTrial
    memory : int
        Largest resident set of a process while it was tried, bytes.
    gpu_memory : int or None
        Most that was held on a GPU, bytes.
    cache : int
        What decoded images may take beyond that, bytes.
    """

    name: str
    recipe: str
    start: str | None
    contents: Contents
    device: str
    precision: str
    devices: int
    weights: int
    phases: tuple[PhaseTrial, ...]
    memory: int
    gpu_memory: int | None
    cache: int

    @property
    def seconds(self) -> float:
        """Of the whole training."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return sum(phase.steps for phase in self.phases)


def dry_run(
    config: TrainingConfig | str | os.PathLike[str],
    *,
    images: Pictures | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
    cancel: Event | None = None,
) -> Estimate:
    """Say what a training would do, by really doing a few steps of each phase on its data.

    Parameters
    ----------
    config : TrainingConfig or path
    images : image set, optional
        As of `train`.
    on_stage : callable, optional
        Called with what is being done.
    cancel : threading.Event, optional

    Returns
    -------
    Estimate
        Steps are exact, times as good as a few steps tell.

    Raises
    ------
    RunError
        As of `train`.
    Cancelled
    """
    if not isinstance(config, TrainingConfig):
        config = TrainingConfig.read(Path(config))
    asked = cancel or Event()
    check = partial(_check, asked)
    recipe, settings = config.make_recipe(), config.settings
    device = settings.resolved()
    on_stage("opening the data")
    opened = config.data.open() if images is None else images
    split = config.split.divide(opened)
    config.start_weights()  # a model that is not there is told as the training tells it
    on_stage("comparing the images")
    check_leaks(config.split.compared(opened), split, check=check)
    on_stage("counting the classes")
    require_labels(opened, split, check)
    slides = recipe.slides(opened) if isinstance(recipe, MultiStageRecipe) else None
    contents = count_contents(opened, split, slides=slides, check=check)
    on_stage("trying a few steps")
    on_each = opened if settings.devices == 1 else images
    job = Job(config, recipe, on_each, split, Path())  # nothing is put there
    trial: Trial = launch(settings, partial(_trial, job), lambda event: None, asked)
    return Estimate(
        name=config.name,
        recipe=recipe.kind,
        start=config.start,
        contents=contents,
        device=str(device),
        precision=settings.precision_on(device),
        devices=settings.devices,
        weights=trial.weights,
        phases=trial.phases,
        memory=trial.memory,
        gpu_memory=trial.gpu_memory,
        cache=config.data.cache_mb * 1_000_000,
    )


def dry_run_search(
    config: TrainingConfig | str | os.PathLike[str],
    *,
    images: Pictures | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
    cancel: Event | None = None,
) -> tuple[Estimate, Estimate]:
    """Say what a search would do, and the training from scratch after it.

    What the search will find is not known: the second estimate is of the largest operations.

    Parameters and errors are those of `dry_run` and `search`.
    """
    if not isinstance(config, TrainingConfig):
        config = TrainingConfig.read(Path(config))
    second = rebuilt_config(config, search_recipe(config), _DEAREST)
    first = config.model_copy(update={"name": f"{config.name}-search"})
    one = dry_run(first, images=images, on_stage=on_stage, cancel=cancel)
    return one, dry_run(second, images=images, on_stage=on_stage, cancel=cancel)


def _trial(job: Job, fabric: Fabric, tell: Tell, cancel: Event) -> Trial:
    plan, recipe, settings = job.plan(), job.recipe, job.config.settings
    turn = Turn(
        fabric,
        plan.network.to(fabric.device),
        micro_batch=settings.micro_batch,
        largest_gradient=recipe.largest_gradient,
        cancel=cancel,
        trial=True,
    )
    with in_words():
        return try_plan(plan, fabric, settings, turn, recipe.seed)


def _check(cancel: Event) -> None:
    if cancel.is_set():
        raise Cancelled("The dry run was cancelled.")
