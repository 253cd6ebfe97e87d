"""The models there are, by name: those of the package, of the user's folder, and of a hub."""

from __future__ import annotations

import os
import shutil
from importlib.resources import files
from pathlib import Path

import platformdirs
from pydantic import ValidationError

from napari_lumen.errors import ModelError
from napari_lumen.models.card import ModelCard
from napari_lumen.models.foreign.torchscript import TorchScript
from napari_lumen.models.hub import PREFIX, HubReference, fetch
from napari_lumen.models.paths import user_path
from napari_lumen.models.store import (
    CARD,
    SPLIT,
    WEIGHTS,
    DamagedWeightsError,
    Model,
    adapter_of,
    appearing,
    open_model,
    write_card,
)
from napari_lumen.validation import first_problem


def package_models() -> Path:
    """Return the folder of the models that come with the package."""
    return Path(str(files("napari_lumen.models") / "zoo"))


def user_models() -> Path:
    """Return the folder where a user's own models lie."""
    return platformdirs.user_data_path("napari-lumen") / "models"


def available(*, foreign: bool = False) -> dict[str, Path]:
    """Return the paths of all models by name: those of the package, then the user's.

    Parameters
    ----------
    foreign : bool
        Also those of other kinds in the user's folder, which load only when trusted.
    """
    found = _models_in(package_models(), foreign=False)
    for name, path in _models_in(user_models(), foreign=foreign).items():
        found.setdefault(name, path)
    return found


def _models_in(place: Path, *, foreign: bool) -> dict[str, Path]:
    try:
        entries = sorted(place.iterdir())
    except OSError:  # it is not there, or may not be looked at
        return {}
    found: dict[str, Path] = {}
    for entry in entries:
        if entry.name.startswith("."):  # being written, or left by one that was killed
            continue
        if os.path.lexists(entry / CARD):
            found[entry.name] = entry
        elif foreign and adapter_of(entry) is not None:
            found.setdefault(entry.stem if entry.suffix in (".pt", ".ts") else entry.name, entry)
    return found


def find_model(name: str | os.PathLike[str]) -> Path:
    """Return where a model lies that is given by name, by path, or as ``hub:ORG/NAME``, which is fetched.

    Raises
    ------
    ModelError
        When there is no such model; the message lists those there are.
    """
    if str(name).startswith(PREFIX):
        return fetch(HubReference.parse(str(name)), CARD, WEIGHTS, also=(SPLIT,))
    known = available(foreign=True)
    if str(name) in known:
        return known[str(name)]
    path = user_path(name)
    # an empty name would be the folder that the user happens to be in; a long one `Path.is_dir` raises
    if str(name) and (os.path.isdir(path) or adapter_of(path) is not None):  # noqa: PTH112
        return path
    raise ModelError(
        f"There is no model {str(name)!r}; there is {', '.join(known) or 'none'}, or give a model folder."
    )


def load_model(name: str | os.PathLike[str], *, trust: bool = False) -> Model:
    """Load a model by name, from a folder, or from a hub.

    Parameters
    ----------
    name : str or path
        As listed by `available`; a folder with ``card.json`` and ``weights.safetensors``; ``hub:ORG/NAME`` or
        ``hub:ORG/NAME@REVISION``; or a foreign model: the folder of a WSInfer model or of a MONAI bundle,
        or a TorchScript file with its ``.json``.
    trust : bool
        Load a foreign model although it can run any code on this computer. A model of ours needs no trust,
        wherever it comes from: pickles are never loaded.

    Returns
    -------
    Model
        In evaluation mode.

    Raises
    ------
    ModelError
        When it is not there, its card is wrong, its weights are damaged or do not fit the network, or it
        is foreign and not trusted.
    """
    return _opened(name, find_model(name), trust=trust)


def _opened(name: str | os.PathLike[str], path: Path, *, trust: bool = False) -> Model:
    """Load the model that was found at a path; a damaged copy of one on a hub is fetched once more."""
    try:
        return open_model(path, trust=trust)
    except DamagedWeightsError:
        if not str(name).startswith(PREFIX):
            raise
        return open_model(fetch(HubReference.parse(str(name)), CARD, WEIGHTS, also=(SPLIT,), again=True))


def kind_of(path: Path) -> str:
    """Return the kind of a foreign model, or where one of ours lies: ``shipped``, ``yours``, ``folder``."""
    adapter = adapter_of(path)
    if adapter is not None:
        return adapter.kind
    return {package_models(): "shipped", user_models(): "yours"}.get(path.parent, "folder")


def install_model(name: str | os.PathLike[str], new_name: str | None = None) -> Path:
    """Copy a model into the user's folder, where all commands and the window find it, and return its place.

    It is checked before it appears: one of ours by loading it, a foreign one by reading its config.

    Parameters
    ----------
    name : str or path
        See `load_model`.
    new_name : str, optional
        Name in the user's folder; by default that of the card.

    Raises
    ------
    ModelError
        When it cannot be loaded, the name is taken, or it cannot be written.
    """
    path = find_model(name)
    adapter = adapter_of(path)
    if adapter is not None:
        card = adapter.read(path).card
    else:
        model = _opened(name, path)
        path, card = model.path, model.card
    if new_name is not None:
        try:
            card = ModelCard.model_validate(card.model_dump() | {"name": new_name})
        except ValidationError as error:
            raise ModelError(
                f"{new_name!r} cannot be the name of a model: {first_problem(error)}."
            ) from error
    taken = available(foreign=True).get(card.name)
    if taken is not None:
        raise ModelError(
            f"There is a model named {card.name!r} already ({taken}): remove it or choose another name."
        )
    target = user_models() / card.name
    with appearing(target) as partial:
        if adapter is None:
            shutil.copyfile(path / WEIGHTS, partial / WEIGHTS)
            write_card(partial, card)
            if (path / SPLIT).is_file():
                shutil.copyfile(path / SPLIT, partial / SPLIT)
        elif path.is_dir():
            shutil.copytree(path, partial, dirs_exist_ok=True)
        else:
            for file in (path, path.with_suffix(".json")):
                shutil.copyfile(file, partial / file.name)
        if isinstance(adapter, TorchScript) and new_name is not None:  # it is called as its file
            program = adapter.read(partial).weights
            for file in (program, program.with_suffix(".json")):
                file.replace(file.with_stem(new_name))
    return target


def remove_model(name: str) -> Path:
    """Delete a model from the user's folder, and return where it lay.

    Raises
    ------
    ModelError
        When there is none of that name in it, or it cannot be deleted.
    """
    own = _models_in(user_models(), foreign=True)
    path = own.get(name)
    if path is None:
        raise ModelError(
            f"There is no model {name!r} in your folder {user_models()}; there is {', '.join(own) or 'none'}."
        )
    gone = path.with_name(f".{path.name}.removed")
    try:
        if path.is_file():  # TorchScript with its sidecar
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink()
        elif path.is_symlink():
            path.unlink()
        else:
            path.replace(gone)  # from now on it is not listed, whatever happens next
            shutil.rmtree(gone)
    except OSError as error:
        raise ModelError(f"The model {path} cannot be removed: {error.strerror or error}.") from error
    return path
