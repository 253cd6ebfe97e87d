"""Published weights for encoders: from a file or a URL, checked, and never by running code."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_lumen.errors import ModelError, first_line

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")  # torchvision's file names end in it


@dataclass(frozen=True, slots=True)
class PretrainedReport:
    """What became of the keys of a file of weights.

    Attributes
    ----------
    source : str
        File or URL.
    loaded : int
        Tensors that were taken.
    left_out : tuple of str
        Keys of the file that are known and not wanted: auxiliary heads, the last layer of other classes.
    missing : tuple of str
        Keys of the network that the file has not; they keep their random values.
    unexpected : tuple of str
        Keys of the file that the network has not.
    """

    source: str
    loaded: int
    left_out: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def load_pretrained(
    module: nn.Module,
    source: str | Path,
    *,
    sha256: str | None = None,
    left_out: Sequence[str] = (),
    replaced: Sequence[str] = (),
) -> PretrainedReport:
    """Fill a module with the weights of a state dict.

    Parameters
    ----------
    module : nn.Module
        Filled in place.
    source : str or path
        A file (``.safetensors``, or what `torch.save` wrote, of which only tensors are read) or an
        ``http(s)`` URL, which is kept in the user's cache folder.
    sha256 : str, optional
        Checksum of the file, whole or its first digits; by default the one that torchvision puts into
        the file's name, where there is one.
    left_out : sequence of str
        Prefixes of keys that the file may hold and the module does not want, e.g. ``aux1.``.
    replaced : sequence of str
        Prefixes of layers that fit only the file's own classes: taken where the shapes agree, else kept
        random and reported as left out.

    Returns
    -------
    PretrainedReport

    Raises
    ------
    ModelError
        When the file cannot be had or read, is not the one of the checksum, holds more than tensors, or
        does not fit the module at all.

    Warns
    -----
    UserWarning
        When keys are missing or unexpected; the message names them.
    """
    path = _local(str(source))
    _check(path, str(source), sha256)
    state = _read(path)
    own = module.state_dict()
    taken: dict[str, Tensor] = {}
    skipped: list[str] = []
    unexpected: list[str] = []
    for key, value in state.items():
        if key.startswith(tuple(left_out)):
            skipped.append(key)
        elif key not in own:
            (skipped if key.startswith(tuple(replaced)) else unexpected).append(key)
        elif own[key].shape == value.shape:
            taken[key] = value
        elif key.startswith(tuple(replaced)):
            skipped.append(key)
        else:
            raise ModelError(
                f"The weights {source} do not fit: {key} is {tuple(value.shape)} there and "
                f"{tuple(own[key].shape)} in the network; take weights of the same depth."
            )
    missing = tuple(
        key
        for key in own
        if key not in taken
        and not key.endswith("num_batches_tracked")  # older files have no such count
        and not key.startswith(tuple(replaced))
    )
    if not taken:
        raise ModelError(
            f"The weights {source} are not of this network: none of their {len(state)} names is known "
            f"(first {next(iter(state), '-')}); take a state dict with torchvision's names."
        )
    module.load_state_dict(taken, strict=False)
    report = PretrainedReport(str(source), len(taken), tuple(skipped), missing, tuple(unexpected))
    if missing or unexpected:
        warnings.warn(
            f"Of the weights {source}, {len(taken)} tensors were taken; "
            f"{_some(missing)} missing and keep random values, {_some(unexpected)} unexpected.",
            stacklevel=3,
        )
    return report


def _some(keys: Sequence[str]) -> str:
    if not keys:
        return "none are"
    return f"{len(keys)} are ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"


def _local(source: str) -> Path:
    if not source.startswith(("http://", "https://")):
        return Path(source.removeprefix("file://")).expanduser()
    import pooch  # imported late: most networks are built without a download
    import requests

    folder = platformdirs.user_cache_path("napari-lumen") / "pretrained"
    name = f"{hashlib.sha256(source.encode()).hexdigest()[:12]}-{source.rsplit('/', 1)[-1].split('?')[0]}"
    try:
        return Path(pooch.retrieve(source, known_hash=None, fname=name, path=folder))
    except (requests.RequestException, OSError, ValueError) as error:
        raise ModelError(
            f"The weights {source} cannot be fetched: {first_line(error)}. Check the address and the "
            "connection, or fetch the file yourself and give its path."
        ) from error


def _check(path: Path, source: str, sha256: str | None) -> None:
    named = _HASH_IN_NAME.search(path.name if "://" not in source else source.rsplit("/", 1)[-1])
    wanted = sha256 or (named.group(1) if named else None)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"The weights {source} cannot be read ({error.strerror}).") from error
    if wanted and not found.startswith(wanted.lower()):
        if "://" in source:
            path.unlink(missing_ok=True)  # else the damaged copy would be served again
        raise ModelError(
            f"The weights {source} are damaged or were replaced: their SHA-256 begins {found[:12]}, not "
            f"{wanted[:12]}; fetch them again."
        )


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"The weights {path} hold more than tensors, which could run code, and are not loaded; save "
            "the state dict alone, best as safetensors."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"The weights {path} cannot be read: {first_line(error)}.") from error
    while isinstance(loaded, Mapping):
        inner = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ModelError(f"The weights {path} are not a state dict: names and tensors.")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}
