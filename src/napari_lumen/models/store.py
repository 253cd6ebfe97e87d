"""A model on disk: a folder with its card, weights and the split of its data, or one of another kind."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from napari_lumen.errors import ModelError, first_line
from napari_lumen.models.arguments import brief
from napari_lumen.models.attention_checks import unknown_attention
from napari_lumen.models.card import ModelCard
from napari_lumen.models.describe import example_input
from napari_lumen.models.foreign import Adapter, find_adapter
from napari_lumen.models.paths import user_path
from napari_lumen.models.registry import build, names
from napari_lumen.validation import first_problem

CARD, WEIGHTS = "card.json", "weights.safetensors"
SPLIT = "split.json"  # which items were trained on and which held out; models of old have none
_STATISTIC = "running_var"  # a variance
_CHANNELS = 3  # of a tile
_PROBE = 64  # px, side of the input by which the outputs of a network are counted


class DamagedWeightsError(ModelError):
    """The weights of a model are not those of its card; another copy may be whole."""


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
    folder = user_path(path)
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
    # without values first: a card may ask for more than the memory holds, and its weights tell
    with torch.device("meta"):
        plan = _built(path, card)
    weights = _read_weights(path, card)
    _require_fit(plan, weights, path / WEIGHTS, card)
    network = build(card.architecture, **card.network_arguments).eval()
    network.load_state_dict(weights)
    _require_outputs(network, path, card)
    return Model(network, card, path)


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
    try:
        network = build(card.architecture, **card.network_arguments)
    except ModelError as error:
        raise _unusable(folder, f"field 'arguments': {str(error).rstrip('.')}") from error
    tasks = getattr(network, "tasks", (getattr(network, "task", card.task),))
    if card.task not in tasks:
        made_for = " and ".join(tasks)
        raise _unusable(
            folder, f"field 'task': {card.architecture!r} is made for {made_for}, not {card.task}"
        )
    views = getattr(network, "view_count", len(card.input.views))
    if views != len(card.input.views):
        raise _unusable(
            folder,
            f"field 'input.views': {_network_of(card)} eats {views} of them, not {len(card.input.views)}",
        )
    channels = getattr(network, "in_channels", _CHANNELS)
    if channels != _CHANNELS:
        raise _unusable(
            folder,
            f"field 'arguments': {_network_of(card)} eats {channels} channels, and a tile has {_CHANNELS}",
        )
    unknown = unknown_attention(card, network)
    if unknown:
        raise _unusable(folder, unknown)
    return network


def _require_outputs(network: nn.Module, folder: Path, card: ModelCard) -> None:
    """See that a network answers with the channels of its card."""
    try:
        with torch.no_grad():
            logits: Tensor = network(example_input(network, (_PROBE, _PROBE)))
    except (RuntimeError, ValueError, TypeError) as error:
        raise _unusable(
            folder, f"field 'arguments': {_network_of(card)} answers for no tile ({first_line(error)})"
        ) from error
    if logits.shape[1] != card.channels:
        background = ", a background before them" if card.has_background else ""
        raise _unusable(
            folder,
            f"field 'classes': it names {len(card.classes)}{background}, which is {card.channels} channels, "
            f"and {_network_of(card)} answers with {logits.shape[1]}",
        )


def _read_weights(folder: Path, card: ModelCard) -> dict[str, Tensor]:
    """Return the tensors of a folder, which are those of its card, and finite."""
    file = folder / WEIGHTS
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The weights of model {card.name!r} cannot be read: {file} ({error.strerror}). "
            "Pickled weights (.pt, .pth) are not loaded; convert them to safetensors."
        ) from error
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        raise DamagedWeightsError(
            f"The weights {file} are not those of the card (field 'weights_sha256' differs): "
            "the file is damaged or was replaced; fetch the model again."
        )
    try:
        weights: dict[str, Tensor] = load_tensors(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"The weights {file} are no safetensors file: {first_line(error)}.") from error
    floating = ((key, value.float()) for key, value in weights.items() if value.is_floating_point())
    broken = next((key for key, value in floating if not value.isfinite().all()), None)
    if broken is not None:
        raise ModelError(
            f"The weights {file} are of no use: {broken} holds values that are no numbers; the training that "
            "wrote them went wrong."
        )
    variances = ((key, value) for key, value in weights.items() if key.rpartition(".")[2] == _STATISTIC)
    negative = next((key for key, value in variances if not value.is_complex() and (value < 0).any()), None)
    if negative is not None:
        raise ModelError(
            f"The weights {file} are of no use: {negative} holds a variance below 0, of which there is no "
            "root; the file is damaged, or was not written by a training."
        )
    return weights


def _require_fit(network: nn.Module, weights: Mapping[str, Tensor], file: Path, card: ModelCard) -> None:
    """See that weights are those of a network, by their names and shapes."""
    own = network.state_dict()
    missing, unexpected = own.keys() - weights.keys(), weights.keys() - own.keys()
    if missing or unexpected:
        raise _misfit(
            file,
            card,
            f"{len(missing)} tensors are missing (first {_first(own, missing)}) and "
            f"{len(unexpected)} unexpected (first {_first(weights, unexpected)})",
        )
    for key, value in own.items():
        if value.shape != weights[key].shape:
            raise _misfit(
                file,
                card,
                f"size mismatch, {key} is {tuple(weights[key].shape)} and not {tuple(value.shape)}",
            )
        # one of another kind would be converted: rounded, or without its imaginary part
        if value.is_floating_point() != weights[key].is_floating_point() or weights[key].is_complex():
            raise _misfit(file, card, f"{key} holds {_kind(weights[key])} and not {_kind(value)}")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first(state: Mapping[str, Tensor], chosen: Set[str]) -> str:
    return next((key for key in state if key in chosen), "-")


def _misfit(file: Path, card: ModelCard, reason: str) -> ModelError:
    return ModelError(
        f"The weights {file} do not fit {_network_of(card)} (fields 'architecture' and 'arguments'): "
        f"{reason}."
    )


def _network_of(card: ModelCard) -> str:
    return f"network {card.architecture}({brief(card.arguments)})"


def save_model(folder: Path, network: nn.Module, card: ModelCard, split: str | None = None) -> Path:
    """Write a model folder, `folder / card.name`, and return it; the checksum is put into the card.

    The folder appears only when it is whole.

    Parameters
    ----------
    folder : Path
        Of models.
    network : nn.Module
    card : ModelCard
    split : str, optional
        JSON of the parts of its data, kept beside the card.

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
        if split is not None:
            (partial / SPLIT).write_text(split, encoding="utf-8")
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
