"""Published weights for encoders: from a file or a URL, checked, and never by running code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_lumen.errors import ModelError, some_of
from napari_lumen.models.pickles import names_code
from napari_lumen.models.weight_source import WeightSource

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_DEEPEST = 8  # wrappers around wrappers; a state dict that holds itself would have no end
_CODE = ("GLOBAL", "TorchScript archives")  # as torch.load names what it refuses


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
        A file (``.safetensors``, or what `torch.save` wrote, of which only tensors are read), a ``file://``
        URL, or an ``http(s)://`` URL, which is kept in the user's cache folder. A URL may end in
        ``#sha256=HEX``, the checksum of the file, whole or its first 8 digits or more: every network that
        takes `pretrained` takes it so.
    sha256 : str, optional
        Checksum of the file, whole or its first digits; by default the one behind the URL, or else the one
        that torchvision puts into the file's name (``resnet18-f37072fd.pth``), where there is one.
    left_out : sequence of str
        Prefixes of keys that the file may hold and the module does not want, e.g. ``aux1.``.
    replaced : sequence of str
        Prefixes of layers that fit only the file's own classes: taken where the shapes agree, else kept
        random and reported as left out. Where the file has none, they are missing.

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
    place = WeightSource.parse(str(source))
    place.fetch()
    place.check(sha256)
    state = _read(place)
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
        if key not in state and not key.endswith("num_batches_tracked")  # older files have no such count
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
    return f"{len(keys)} are ({some_of(keys)})"


def _read(source: WeightSource) -> Mapping[str, Tensor]:
    try:
        return _state_dict(source.path)
    except _CodeError as error:
        raise ModelError(
            f"The weights {source.text} hold more than tensors, which could run code, and are not loaded; "
            "save the state dict alone, best as safetensors."
        ) from error
    except Exception as error:  # readers of damaged files raise whatever their bytes lead to
        source.forget()
        raise ModelError(
            f"The weights {source.text} cannot be read: they are damaged, or no state dict of tensors as "
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
        if any(word in str(error) for word in _CODE) or names_code(path):
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
