"""Published weights for encoders: from a file or a URL, checked, and never by running code."""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_lumen.errors import ModelError, first_line

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
# torchvision's file names end in it; digits alone are more often a date
_HASH_IN_NAME = re.compile(r"-(?=[0-9]*[a-f])([0-9a-f]{8,64})\.")
_DEEPEST = 8  # wrappers around wrappers; a state dict that holds itself would have no end
_CODE = ("GLOBAL", "TorchScript archives")  # as torch.load names what it refuses
_LONGEST_NAME = 100  # characters of a file's name in the cache


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
    state = _read(path, str(source))
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
    try:
        module.load_state_dict(taken, strict=False)
    except RuntimeError as error:  # tensors without values, or sparse ones
        raise ModelError(
            f"The weights {source} hold tensors that cannot be taken; save dense ones on the CPU."
        ) from error
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
    file = source.rsplit("/", 1)[-1].split("?")[0][-_LONGEST_NAME:]
    name = f"{hashlib.sha256(source.encode()).hexdigest()[:12]}-{file}"
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.WARNING)  # it recommends a checksum to programmers
    try:
        return Path(pooch.retrieve(source, known_hash=None, fname=name, path=folder))
    except (requests.RequestException, OSError, ValueError) as error:
        raise ModelError(
            f"The weights {source} cannot be fetched: {first_line(error)}. Check the address and the "
            "connection, or fetch the file yourself and give its path."
        ) from error
    finally:
        logger.setLevel(before)


def _check(path: Path, source: str, sha256: str | None) -> None:
    named = _HASH_IN_NAME.search(path.name if "://" not in source else source.rsplit("/", 1)[-1])
    wanted = sha256 or (named.group(1) if named else None)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"The weights {source} cannot be read ({error.strerror}).") from error
    if wanted and not found.startswith(wanted.lower()):
        _forget(path, source)
        raise ModelError(
            f"The weights {source} are damaged or were replaced: their SHA-256 begins {found[:12]}, not "
            f"{wanted[:12]}; fetch them again."
        )


def _forget(path: Path, source: str) -> None:
    """Take a broken file out of the cache, which would serve it for ever; the user's own file stays."""
    if source.startswith(("http://", "https://")):
        path.unlink(missing_ok=True)


def _read(path: Path, source: str) -> Mapping[str, Tensor]:
    try:
        return _state_dict(path)
    except _CodeError as error:
        raise ModelError(
            f"The weights {source} hold more than tensors, which could run code, and are not loaded; save "
            "the state dict alone, best as safetensors."
        ) from error
    except Exception as error:  # readers of damaged files raise whatever their bytes lead to
        _forget(path, source)
        raise ModelError(
            f"The weights {source} cannot be read: they are damaged, or no state dict of tensors as "
            "torch.save or safetensors writes one. Fetch them again, or take another file."
        ) from error


class _CodeError(Exception):
    """A pickle names something to be called that is no tensor."""


def _state_dict(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's hints to programmers
            loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        if any(word in str(error) for word in _CODE):
            raise _CodeError from error
        raise
    for _ in range(_DEEPEST):
        if not isinstance(loaded, Mapping):
            break
        inner = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping) or not all(
        isinstance(value, Tensor) and not value.is_complex() for value in loaded.values()
    ):
        raise ValueError("no state dict")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}
