"""What all adapters share: their interface, the making of a card, and loading once the user trusts it."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import ModelError, first_line
from napari_lumen.models.card import ModelCard
from napari_lumen.models.foreign.network import Channels, ForeignNetwork
from napari_lumen.validation import first_problem

_T = TypeVar("_T", bound=BaseModel)

_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "license.txt", "docs/license.txt")
_NOT_OURS = "Not checked by napari-lumen: see those who published it. Research use only, not for diagnosis."


@dataclass(frozen=True)
class ForeignModel:
    """What the files of a foreign model say of it; nothing of it has run.

    Attributes
    ----------
    card : ModelCard
        Made from its own config.
    weights : Path
        The file that holds the network or its weights.
    channels : Channels
        How the network's channels become those of the card.
    side : int
        Side of the square that the network itself eats, px; tiles of another size are resized to it.
    """

    card: ModelCard
    weights: Path
    channels: Channels
    side: int


class Adapter(ABC):
    """Brings in the models of one kind."""

    kind: ClassVar[str]
    """Name of the kind, e.g. ``WSInfer``."""
    danger: ClassVar[str]
    """What of such a model can run code."""

    @abstractmethod
    def knows(self, path: Path) -> bool:
        """Whether a file or folder is of this kind, by names alone; never raises."""

    @abstractmethod
    def read(self, path: Path) -> ForeignModel:
        """Read what the model says of itself, without running anything of it.

        Raises
        ------
        ModelError
            Naming the file and the field, when something is missing or cannot be expressed here.
        """

    def load(self, path: Path, model: ForeignModel) -> nn.Module:
        """Return the network itself; this can run code that came with the model."""
        return load_torchscript(model.weights)

    def refuse(self, path: Path) -> ModelError:
        """Return the error for a model that the user has not said to trust."""
        return ModelError(
            f"{path} is a foreign model ({self.kind}): {self.danger} can run any code on this computer, so "
            "it is loaded only when you say that you trust it, by --trust or load_model(..., trust=True)."
        )

    def open(self, path: Path) -> tuple[nn.Module, ModelCard]:
        """Load a model that the user trusts: its network behind our interface, and its card.

        Raises
        ------
        ModelError
            When it cannot be loaded, or its answer is not what its config says.
        """
        model = self.read(path)
        try:
            network = self.load(path, model).eval()
            with torch.inference_mode():
                answer = network(torch.zeros(1, 3, model.side, model.side))
        except ModelError:
            raise
        except Exception as error:  # code of others: it raises what it likes
            # TorchScript puts its own trace first, and the reason last
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
            raise ModelError(f"The network {model.weights} cannot be run: {reason}.") from error
        _check(answer, model)
        return ForeignNetwork(network, model.card.task, model.side, model.channels).eval(), model.card


def _check(answer: object, model: ForeignModel) -> None:
    """See that an answer to one tile has the channels of the classes and, for maps, the input's size."""
    count, side = model.channels.count, model.side
    maps = model.card.task == "segmentation"
    wanted = (1, count, side, side) if maps else (1, count)
    if not isinstance(answer, Tensor):
        raise ModelError(
            f"The network {model.weights} answers with {type(answer).__name__} instead of one tensor, "
            "which napari-lumen cannot show."
        )
    found = tuple(answer.shape) if maps else tuple(answer.reshape(len(answer), -1).shape)
    if found != wanted:
        raise ModelError(
            f"The network {model.weights} answers with shape {tuple(answer.shape)} where its config "
            f"(task {model.card.task}, {count} channels, input of {side} px) says {wanted}."
        )


def load_torchscript(file: Path) -> nn.Module:
    """Load a TorchScript program onto the CPU.

    Raises
    ------
    ModelError
        When it is damaged, or no TorchScript.
    """
    try:
        with warnings.catch_warnings():
            # torch.export is to replace it, but models are published as TorchScript
            warnings.simplefilter("ignore", DeprecationWarning)
            network: nn.Module = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{file} is damaged or is not TorchScript: {first_line(error)}.") from error
    return network


def is_file(path: Path) -> bool:
    """Whether a path is a file; also where it may not be looked at, which `Path.is_file` raises."""
    return os.path.isfile(path)  # noqa: PTH113


def read_json(file: Path, form: type[_T], what: str) -> _T:
    """Read a config of a given form.

    Raises
    ------
    ModelError
        Naming the field that is missing or wrong.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(f"The {what} {file} cannot be read ({error.strerror}).") from error
    try:
        return form.model_validate_json(data)
    except ValidationError as error:
        raise ModelError(f"The {what} {file} is not usable: {first_problem(error)}.") from error


def make_card(
    path: Path, weights: Path, classes: Sequence[str], file: Path, fields: Mapping[str, Any]
) -> ModelCard:
    """Make the card of a foreign model.

    Parameters
    ----------
    path : Path
        Of the model; it gives the name, and the licence where a file states one.
    weights : Path
        File whose checksum the card carries.
    classes : sequence of str
        In the order of the card's channels.
    file : Path
        Config to name when a value of it does not fit.
    fields : mapping
        The other fields of `ModelCard`; title, scores, limits and licence have values of their own.
    """
    try:
        with weights.open("rb") as opened:
            checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} holds no network: {weights} cannot be read ({error.strerror}).") from error
    try:
        table = ClassTable.named(classes)
        named = path.name if path.is_dir() else path.stem
        own = {
            "name": re.sub(r"[^a-z0-9._-]+", "-", named.lower()).strip("-._") or "model",
            "title": named,
            "classes": table,
            "scores": {},
            "limits": _NOT_OURS,
            "licence": licence_of(path if path.is_dir() else path.parent),
            "weights_sha256": checksum,
        }
        return ModelCard.model_validate(
            own | {key: value for key, value in fields.items() if value is not None}
        )
    except ValidationError as error:
        raise ModelError(f"The model {file} is not usable: {first_problem(error)}.") from error


def default_overlap(task: str, tile: int) -> int:
    """Return what neighbouring tiles share where nothing is said: an eighth of a segmentation's, or none."""
    return tile // 16 * 2 if task == "segmentation" else 0


def licence_of(folder: Path) -> str:
    """Return the licence that a folder states: the first line of its file, or its README's front matter."""
    for name in _LICENCES:
        if is_file(folder / name):
            lines = (line.strip() for line in _text(folder / name).splitlines())
            return next((f"{line} ({name})" for line in lines if line), "unknown")
    stated = re.match(r"---\n(?:.*\n)*?license: *(\S+)", _text(folder / "README.md"))
    return stated.group(1) if stated else "unknown"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
