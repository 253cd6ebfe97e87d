"""A model on disk: a folder with `card.json` and `weights.safetensors`, or one of another kind."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from napari_lumen.errors import ModelError, first_line
from napari_lumen.models.attention import attention_modules
from napari_lumen.models.card import ModelCard, first_problem
from napari_lumen.models.foreign import Adapter, find_adapter
from napari_lumen.models.registry import build, names

CARD, WEIGHTS = "card.json", "weights.safetensors"


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its weights and its card.

    Attributes
    ----------
    network : nn.Module
        In evaluation mode, on the CPU.
    card : ModelCard
    path : Path
        Folder or file that it came from.
    """

    network: nn.Module
    card: ModelCard
    path: Path


def adapter_of(path: Path) -> Adapter | None:
    """Return what brings in the foreign model at a path; None for a folder of ours, and for anything else."""
    return None if os.path.lexists(path / CARD) else find_adapter(path)


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read and check the card of a model, or make it from a foreign model's config; nothing of it is run.

    Raises
    ------
    ModelError
        When it is missing, not JSON, or a field is missing or wrong; the message names the field.
    """
    folder = Path(path)
    adapter = adapter_of(folder)
    if adapter is not None:
        return adapter.read(folder).card
    try:
        return ModelCard.model_validate_json((folder / CARD).read_bytes())
    except OSError as error:
        raise ModelError(
            f"{folder} holds no model: {CARD} cannot be read ({error.strerror}). "
            f"Choose a folder with {CARD} and {WEIGHTS}."
        ) from error
    except ValidationError as error:
        raise _unusable(folder, first_problem(error)) from error


def open_model(path: Path, *, trust: bool = False) -> Model:
    """Load the model at a path.

    Parameters
    ----------
    path : Path
        Folder, or the file of a foreign model.
    trust : bool
        Let a foreign model run the code that it brings along. One of ours brings none: only tensors are
        read.

    Raises
    ------
    ModelError
        See `load_model`.
    """
    adapter = adapter_of(path)
    if adapter is not None:
        if not trust:
            raise adapter.refuse(path)
        network, card = adapter.open(path)
        return Model(network, card, path)
    card = read_card(path)
    network = _built(path, card)
    _fill(network, path, card)
    return Model(network.eval(), card, path)


def _unusable(folder: Path, problem: str) -> ModelError:
    return ModelError(f"The card {folder / CARD} is not usable: {problem}. Correct the card.")


def _built(folder: Path, card: ModelCard) -> nn.Module:
    """Build the network of a card, and see that the card speaks of such a network."""
    if card.architecture not in names():
        raise _unusable(
            folder,
            f"field 'architecture': there is no network named {card.architecture!r}; "
            f"there is {', '.join(names())}",
        )
    # the weights come from the folder: published ones are not to be fetched only to be overwritten
    arguments = {key: value for key, value in card.arguments.items() if not key.endswith("pretrained")}
    try:
        network = build(card.architecture, **arguments)
    except ModelError as error:
        raise _unusable(folder, f"field 'arguments': {str(error).rstrip('.')}") from error
    task = getattr(network, "task", card.task)
    if task != card.task:
        raise _unusable(folder, f"field 'task': {card.architecture!r} is made for {task}, not {card.task}")
    views = getattr(network, "view_count", len(card.input.views))
    if views != len(card.input.views):
        raise _unusable(
            folder,
            f"field 'input.views': {card.architecture!r} with {card.arguments} eats {views} of them, not "
            f"{len(card.input.views)}",
        )
    maps = {info.name for info, _ in attention_modules(network) if info.kind == "spatial"}
    for wanted in card.attention:
        if wanted not in maps:
            raise _unusable(
                folder, f"field 'attention': network {card.architecture!r} has no spatial map {wanted!r}"
            )
    return network


def _fill(network: nn.Module, folder: Path, card: ModelCard) -> None:
    """Put the weights of a folder into the network of its card."""
    file = folder / WEIGHTS
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The weights of model {card.name!r} cannot be read: {file} ({error.strerror}). "
            "Pickled weights (.pt, .pth) are not loaded; convert them to safetensors."
        ) from error
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        raise ModelError(
            f"The weights {file} are not those of the card (field 'weights_sha256' differs): "
            "the file is damaged or was replaced; fetch the model again."
        )
    try:
        missing, unexpected = network.load_state_dict(load_tensors(data), strict=False)
    except SafetensorError as error:
        raise ModelError(f"The weights {file} are no safetensors file: {first_line(error)}.") from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise _misfit(file, card, reason) from error
    if missing or unexpected:
        raise _misfit(
            file,
            card,
            f"{len(missing)} tensors are missing (first {next(iter(missing), '-')}) and "
            f"{len(unexpected)} unexpected (first {next(iter(unexpected), '-')})",
        )


def _misfit(file: Path, card: ModelCard, reason: str) -> ModelError:
    return ModelError(
        f"The weights {file} do not fit network {card.architecture!r} with {card.arguments} (fields "
        f"'architecture' and 'arguments'): {reason}."
    )


def save_model(folder: Path, network: nn.Module, card: ModelCard) -> Path:
    """Write a model folder, `folder / card.name`, and return it; the checksum is put into the card.

    The folder appears only when it is whole.

    Raises
    ------
    ModelError
        When there is one of that name already, or it cannot be written.
    """
    with appearing(folder / card.name) as partial:
        data = save_tensors({key: value.contiguous() for key, value in network.state_dict().items()})
        card = card.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
        (partial / WEIGHTS).write_bytes(data)
        write_card(partial, card)
    return folder / card.name


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the card of a model folder."""
    (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside the target that becomes the target when the block ends well.

    Raises
    ------
    ModelError
        When the target exists, or the disk does not take it.
    """
    partial: Path | None = None
    try:
        if target.exists():
            raise ModelError(f"There is a model at {target} already; remove it or choose another name.")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
        yield partial
        partial.chmod(0o755)  # mkdtemp keeps it from others
        partial.replace(target)
    except BaseException as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise ModelError(
                f"The model cannot be written to {target}: {error.strerror or error}."
            ) from error
        raise
