"""The part of a training that every device does: plan, train, and write the model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import pandas as pd
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from safetensors import SafetensorError

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import ModelError, RunError, first_line
from napari_lumen.models import ModelCard, TrainingRecord, find_model, load_model, read_card, save_model
from napari_lumen.training.checkpoint import Place
from napari_lumen.training.config import TrainingConfig
from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.splits import Split
from napari_lumen.training.launch import Tell
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.recipe import Plan, Recipe, TrainingData
from napari_lumen.training.trainer import CURVES, Trainer
from napari_lumen.training.turn import Turn
from napari_lumen.validation import first_problem

MODEL, TEST = "model", "test"
OF_START = ", validation, of "  # between the name of a score and that of the model it is of


@dataclass(frozen=True)
class Job:
    """A training as it is sent to each device.

    Attributes
    ----------
    config : TrainingConfig
    recipe : Recipe
        Made of the configuration once: its networks are built to check their arguments.
    images : image set or None
        Opened already; None to open the configured ones here.
    split : Split
    folder : Path
        Of the training.
    """

    config: TrainingConfig
    recipe: Recipe
    images: Pictures | None
    split: Split
    folder: Path

    def plan(self) -> Plan:
        """Build the network, with the weights that it begins with, and the phases.

        Raises
        ------
        RunError
            When the data are not what the recipe takes, no model could have its numbers, or a step has fewer
            examples than there are devices.
        """
        images = self.config.data.open() if self.images is None else self.images
        data = TrainingData(images, self.split, self.config.data_text)
        recipe = self.recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            try:
                plan = recipe.plan(data)
            except ValidationError as error:  # of the model's card, such as a tile that no run could read
                raise RunError(f"Recipe {recipe.kind}: {first_problem(error)}.") from error
        if self.config.start is not None:
            _begin_with(plan, self.config.start)
        _require_shares(plan, self.config.settings.devices)
        return plan


def run_job(job: Job, fabric: Fabric, tell: Tell, cancel: Event) -> Place:
    """Train on one device; the first one writes the model.

    Raises
    ------
    RunError
        Of the training, or when memory or disk do not suffice.
    """
    try:
        with in_words():
            return _trained(job, fabric, tell, cancel)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise RunError(
            f"The training cannot go on in {job.folder}: {reason}. Free some space, or see whether the data "
            "are still there; from the last checkpoint, the same call goes on."
        ) from error


@contextmanager
def in_words() -> Iterator[None]:
    """Say in a sentence what torch raises when a step asks for too much, or has too little.

    Raises
    ------
    RunError
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            "The memory of the device does not suffice for a step of this training. Set micro_batch in the "
            "settings to a smaller number: the batch stays what the recipe says. The last checkpoint is kept."
        ) from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RunError(
            "A step had too little to normalise: one image, so small that the deepest level sees just "
            "one value. Take larger images, or more of them in a step."
        ) from error


def _trained(job: Job, fabric: Fabric, tell: Tell, cancel: Event) -> Place:
    plan, recipe = job.plan(), job.recipe
    trainer = Trainer(
        fabric,
        job.config.settings,
        job.folder,
        recipe.seed,
        largest_gradient=recipe.largest_gradient,
        on_progress=tell,
        cancel=cancel,
    )
    before = _before(job, plan, fabric, tell, cancel)
    place = trainer.fit(plan.network, plan.phases)
    if fabric.is_global_zero and not (job.folder / MODEL / job.config.name).is_dir():
        scores = {f"{name}, validation": value for name, value in _chosen(job.folder, plan, place).items()}
        if TEST in job.split.parts:
            tested = _measured(job, plan, fabric, cancel, TEST)
            scores |= {f"{name}, test": value for name, value in tested.items()}
        scores |= before
        card = _card(job, plan, scores)
        save_model(job.folder / MODEL, plan.model.cpu(), card, job.split.text)
    fabric.barrier()
    return place


def _card(job: Job, plan: Plan, scores: dict[str, float]) -> ModelCard:
    config, recipe = job.config, job.recipe
    counts = ", ".join(f"{part} {len(names)}" for part, names in job.split.parts.items())
    return ModelCard(
        name=config.name,
        title=config.title or config.name,
        summary=config.summary or f"Trained by the recipe {recipe.kind}.",
        training=TrainingRecord(
            data=config.data_text or f"{config.data.kind}: {getattr(config.data, 'folder', '')}",
            split=f"By {job.split.by}, seed {job.split.seed}; images: {counts}.",
            recipe={"recipe": recipe.kind, **recipe.model_dump(mode="json")},
        ),
        scores={name: value for name, value in scores.items() if math.isfinite(value)},
        licence=config.licence,
        limits=config.limits,
        weights_sha256="0" * 64,  # of the file, when it is written
        **plan.card,
    )


def _chosen(folder: Path, plan: Plan, place: Place) -> dict[str, float]:
    """Return the validation scores of the chosen epoch: of the last one without a choice."""
    table = pd.read_parquet(folder / CURVES)
    table = table[table["kind"] == "score"]
    if place.best_phase is not None:
        table = table[
            (table["phase"] == plan.phases[place.best_phase].name) & (table["epoch"] == place.best_epoch)
        ]
    elif len(table):
        last = table.iloc[-1]
        table = table[(table["phase"] == last["phase"]) & (table["epoch"] == last["epoch"])]
    if place.best is not None and place.best_phase is not None and table.empty:  # the curves were lost
        choice = plan.phases[place.best_phase].choice
        return {} if choice is None else {choice.score: place.best}
    return {str(name): float(value) for name, value in zip(table["name"], table["value"], strict=True)}


def _before(job: Job, plan: Plan, fabric: Fabric, tell: Tell, cancel: Event) -> dict[str, float]:
    """Return the validation scores of the model that the training begins with, by whose they are."""
    if job.config.start is None or not fabric.is_global_zero:
        return {}
    plan.network.to(fabric.device)
    scores = _measured(job, plan, fabric, cancel, "validation")
    phase = plan.phases[-1]
    tell(TrainingProgress("started", phase.name, 0, phase.epochs, 0, 0, scores))
    start = read_card(find_model(job.config.start)).name
    return {f"{name}{OF_START}{start}": of for name, of in scores.items()}


def _measured(job: Job, plan: Plan, fabric: Fabric, cancel: Event, part: str) -> dict[str, float]:
    """Return the scores of the weights that the network has, on images of a part of the split.

    They are what the last phase measures at the end of its epochs. Those of the test part are of images
    that nothing was trained on nor chosen by.
    """
    parts = {**job.split.parts, "validation": job.split.parts[part]}
    phase = replace(job, split=job.split.model_copy(update={"parts": parts})).plan().phases[-1]
    network = plan.network.eval()
    turn = Turn(fabric, network, cancel=cancel)
    phase.begin(network, turn)
    with torch.no_grad(), turn.autocast():
        return dict(phase.validate(network.eval(), turn))


def _require_shares(plan: Plan, devices: int) -> None:
    for phase in plan.phases:
        if phase.batch < devices:
            raise RunError(
                f"A step of the phase {phase.name!r} has {phase.batch} examples, too few for {devices} "
                "devices. Ask for fewer devices, or for a larger batch in the recipe."
            )


def _begin_with(plan: Plan, start: str) -> None:
    """Give a network the weights of a model.

    Raises
    ------
    ModelError
        When they do not fit, or are of the same classes in another order.
    """
    model = load_model(start)
    if "classes" in plan.card:
        _require_order(start, [known.name for known in model.card.classes], plan.card["classes"])
    try:
        plan.model.load_state_dict(model.network.state_dict())
    except RuntimeError as error:
        raise ModelError(
            f"The training cannot begin with the model {start!r}: its network is not the recipe's "
            f"({first_line(error)}). Give the recipe the arguments of that model's card."
        ) from error


def _require_order(start: str, before: Sequence[str], classes: ClassTable) -> None:
    """Make sure that a class which both know has the same place; tell what counts as what otherwise."""
    now = [known.name for known in classes]
    if (len(before) == len(now) == 1) or list(before) == now:
        return  # one alone is the same by any name
    if set(before) & set(now) or len(before) != len(now):
        raise ModelError(
            f"The training cannot begin with the model {start!r}: its classes are {', '.join(before)}, those "
            f"of the data {', '.join(now)}. Give the data's the same order and names."
        )
    pairs = ", ".join(f"{known!r} as {name!r}" for known, name in zip(now, before, strict=True))
    warnings.warn(f"The training begins with what {start!r} knows of others: {pairs}.", stacklevel=2)
