"""Models on disk: a folder with `card.json` and `weights.safetensors`, and the zoo of such folders."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import platformdirs
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from napari_lumen.errors import ModelError
from napari_lumen.models.attention import attention_modules
from napari_lumen.models.card import ModelCard
from napari_lumen.models.registry import build

_CARD, _WEIGHTS = "card.json", "weights.safetensors"


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its weights and its card.

    Attributes
    ----------
    network : nn.Module
        In evaluation mode, on the CPU.
    card : ModelCard
    path : Path
        Folder that it came from.
    """

    network: nn.Module
    card: ModelCard
    path: Path


def user_models() -> Path:
    """Return the folder where a user's own models lie."""
    return platformdirs.user_data_path("napari-lumen") / "models"


def available() -> dict[str, Path]:
    """Return the folders of all models by name: those of the package, then the user's."""
    found: dict[str, Path] = {}
    for place in (Path(str(files("napari_lumen.models") / "zoo")), user_models()):
        if place.is_dir():
            for folder in sorted(place.iterdir()):
                if (folder / _CARD).is_file():
                    found.setdefault(folder.name, folder)
    return found


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read and check the card of a model folder, without its weights.

    Raises
    ------
    ModelError
        When it is missing, not JSON, or a field is missing or wrong; the message names the field.
    """
    file = Path(path) / _CARD
    try:
        return ModelCard.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ModelError(
            f"{Path(path)} holds no model: {_CARD} cannot be read ({error.strerror}). "
            f"Choose a folder with {_CARD} and {_WEIGHTS}."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or _CARD
        raise ModelError(
            f"The card {file} is not usable: field {field!r}: {first['msg']}. Correct the card."
        ) from error


def find_model(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a model given by name or by path.

    Raises
    ------
    ModelError
        When there is no such model; the message lists those there are.
    """
    known = available()
    if str(name) in known:
        return known[str(name)]
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    raise ModelError(
        f"There is no model {str(name)!r}; there is {', '.join(known) or 'none'}, or give a model folder."
    )


def load_model(name: str | os.PathLike[str]) -> Model:
    """Load a model by name (of the package or the user's folder) or from a folder.

    Parameters
    ----------
    name : str or path
        As listed by `available`, or a folder with ``card.json`` and ``weights.safetensors``.

    Returns
    -------
    Model
        In evaluation mode.

    Raises
    ------
    ModelError
        When it is not there, its card is wrong, its weights are damaged or do not fit the network.
        Pickles are never loaded.
    """
    path = find_model(name)
    card = read_card(path)
    file = path / _WEIGHTS
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
    network = build(card.architecture, **card.arguments)
    try:
        missing, unexpected = network.load_state_dict(load_tensors(data), strict=False)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"The weights {file} do not fit network {card.architecture!r}: {reason}.") from error
    if missing or unexpected:
        raise ModelError(
            f"The weights {file} do not fit network {card.architecture!r} with {card.arguments}: "
            f"{len(missing)} tensors are missing (first {next(iter(missing), '-')}) and "
            f"{len(unexpected)} unexpected (first {next(iter(unexpected), '-')})."
        )
    maps = {info.name for info, _ in attention_modules(network) if info.kind == "spatial"}
    for wanted in card.attention:
        if wanted not in maps:
            raise ModelError(
                f"The card {path / _CARD} is not usable: field 'attention': network "
                f"{card.architecture!r} has no spatial map {wanted!r}."
            )
    return Model(network.eval(), card, path)


def save_model(folder: Path, network: nn.Module, card: ModelCard) -> Path:
    """Write a model folder, `folder / card.name`, and return it; the checksum is put into the card.

    The folder appears only when it is whole.
    """
    target = folder / card.name
    partial = folder / f".{card.name}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    data = save_tensors({key: value.contiguous() for key, value in network.state_dict().items()})
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    (partial / _WEIGHTS).write_bytes(data)
    (partial / _CARD).write_text(card.model_dump_json(indent=2) + "\n")
    if target.exists():
        raise ModelError(f"There is a model at {target} already; remove it or choose another name.")
    partial.replace(target)
    return target
