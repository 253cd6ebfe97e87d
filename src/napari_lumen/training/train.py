"""Train a model: the folder of a training, from its data to the model that comes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import pandas as pd

from napari_lumen.errors import Cancelled, RunError, first_line
from napari_lumen.holding import disk_error, held
from napari_lumen.models import load_model
from napari_lumen.models.store import SPLIT
from napari_lumen.training.config import TrainingConfig
from napari_lumen.training.data.fingerprints import fingerprint_data
from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.leaks import check_leaks
from napari_lumen.training.job import MODEL, OF_START, Job, run_job
from napari_lumen.training.labelled import require_labels
from napari_lumen.training.launch import launch
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.recipe import Recipe
from napari_lumen.training.record import RECORD, TrainingState, identity_of, now, versions
from napari_lumen.training.trainer import CHECKPOINT, CURVES

_ADVICE = "Wait for that training or choose another folder."


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes
    ----------
    folder : Path
    model : Path
        The model's folder, which `load_model` and `predict` take.
    scores : dict of str to float
        Of the validation at the epoch that was chosen, of the test part where the split has one, and of the
        validation of the model that the training began with.
    state : TrainingState
    """

    folder: Path
    model: Path
    scores: dict[str, float]
    state: TrainingState

    def compared(self) -> dict[str, tuple[float, float]]:
        """Return each validation score of the model that the training began with, and of the new one.

        Both are of the same images. Empty where the training began with random weights.
        """
        pairs = ((key.partition(OF_START), before) for key, before in self.scores.items() if OF_START in key)
        return {
            name: (before, self.scores[f"{name}, validation"])
            for (name, _, _), before in pairs
            if f"{name}, validation" in self.scores
        }

    def curves(self) -> pd.DataFrame:
        """Return the learning curves: phase, epoch, step, kind (loss, score, rate), name, value."""
        return pd.read_parquet(self.folder / CURVES)


def train(
    config: TrainingConfig | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    images: Pictures | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    cancel: Event | None = None,
) -> Training:
    """Train a model by a recipe, in a folder from which the same call goes on.

    The folder holds the split, checkpoint, best weights and learning curves, and at the end the model with
    its card. Nothing else is written: a model that the training began with stays as it is.

    Parameters
    ----------
    config : TrainingConfig or path
        Recipe, data and split, or a TOML file of them; its paths are relative to that file.
    out : path
        New, empty, or of the same training.
    images : image set, optional
        Data of your own in place of those of the configuration; for several devices it must be one that
        can be pickled.
    on_progress : callable, optional
        Called with each `TrainingProgress`.
    cancel : threading.Event, optional
        Set it to stop within one step.

    Returns
    -------
    Training

    Raises
    ------
    RunError
        When a field is wrong, the same image is on both sides of the split, the folder holds another
        training, or a loss is no number.
    Cancelled
        When the user asked for it.
    """
    if not isinstance(config, TrainingConfig):
        config = TrainingConfig.read(Path(config))
    folder, recipe = Path(out), config.make_recipe()
    opened = config.data.open() if images is None else images
    split = config.split.divide(opened)
    first = config.start_weights()
    check = partial(_check, cancel or Event())
    data = fingerprint_data(opened, split, check=check)
    numbers = recipe.model_dump(mode="json")
    identity = identity_of(recipe.kind, numbers, split.parts, data, first, config.name)
    require_labels(opened, split, check)
    _require_free(folder)
    with _on_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder, _ADVICE):
        _require_free(folder)
        state = _begun(folder, config, recipe, identity)
        if state.state == "finished" and (folder / MODEL / config.name).is_dir():
            return _finished(folder, config)
        if state.sessions == 1 or not (folder / SPLIT).exists():
            check_leaks(config.split.compared(opened), split, check=check)
        with _on_disk(folder):
            state.write(folder)  # first: who finds a split alone in a folder cannot tell whose it is
            split.write(folder / SPLIT)
        # each of several processes opens the configured data for itself
        on_each = opened if config.settings.devices == 1 else images
        job = Job(config, recipe, on_each, split, folder)
        try:
            place = launch(
                config.settings,
                partial(run_job, job),
                on_progress or (lambda event: None),
                cancel or Event(),
            )
        except Cancelled:
            _ended(folder, state, "cancelled")
            raise
        except BaseException as error:
            _ended(folder, state, "failed", first_line(error))
            raise
        done = state.model_copy(
            update={
                "state": "finished",
                "ended": now(),
                "seconds": round(place.seconds, 1),
                "best": place.best,
                "best_epoch": None if place.best_epoch is None else place.best_epoch + 1,
            }
        )
        with _on_disk(folder):
            done.write(folder)
    return _finished(folder, config)


def _begun(folder: Path, config: TrainingConfig, recipe: Recipe, identity: str) -> TrainingState:
    """Return the state of this session, or refuse a folder of another training."""
    settings = config.settings
    device = settings.resolved()
    state = TrainingState.read(folder) if (folder / RECORD).exists() else None
    if state is not None and state.identity != identity:
        if state.state == "finished" or (folder / CHECKPOINT).exists():
            raise RunError(
                f"{folder} holds another training ({state.name}: recipe {state.recipe}; of another name, "
                "other numbers, first weights or data: their split, images, labels and classes). "
                "Choose another folder."
            )
        state = None  # nothing was learnt yet: the numbers were wrong, say, and are put right
    if state is None:
        return TrainingState(
            name=config.name,
            recipe=recipe.kind,
            numbers=recipe.model_dump(mode="json"),
            data=config.data_text or config.data.kind,
            identity=identity,
            started=now(),
            device=f"{settings.devices} x {device}",
            precision=settings.precision_on(device),
            versions=versions(),
        )
    if state.state == "finished":
        return state
    return state.model_copy(update={"state": "running", "problem": None, "sessions": state.sessions + 1})


def _ended(folder: Path, state: TrainingState, how: str, problem: str | None = None) -> None:
    with suppress(OSError):  # of a full disk, which is already being told
        state.model_copy(update={"state": how, "problem": problem, "ended": now()}).write(folder)


def _finished(folder: Path, config: TrainingConfig) -> Training:
    model = folder / MODEL / config.name
    scores = load_model(model).card.scores
    return Training(folder, model, dict(scores), TrainingState.read(folder))


def _require_free(folder: Path) -> None:
    if folder.is_file():
        raise RunError(f"{folder} is a file. Choose a folder for the training.")
    if not folder.is_dir() or (folder / RECORD).exists():
        return
    if {entry.name for entry in folder.iterdir()} - {".lock", ".holder.json"}:
        raise RunError(f"{folder} is not empty. Choose another folder for the training.")


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error) from error


def _check(cancel: Event) -> None:
    if cancel.is_set():
        raise Cancelled("The training was cancelled.")
