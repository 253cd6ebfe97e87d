"""MONAI bundles: folders with `configs/metadata.json`, an inference config, and `models/model.ts` or `.pt`.

A bundle does not state the size of a pixel, so the user puts `lumen.json` into its folder: at least
``{"mpp": 0.5}``, and any other field of `Sidecar` that the bundle leaves open.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from napari_lumen.errors import ModelError, first_line
from napari_lumen.models.card import Task
from napari_lumen.models.foreign.adapter import (
    Adapter,
    ForeignModel,
    default_overlap,
    is_file,
    load_torchscript,
    make_card,
    read_json,
)
from napari_lumen.models.foreign.monai_config import InferenceConfig
from napari_lumen.models.foreign.network import Channels
from napari_lumen.models.foreign.sidecar import Sidecar
from napari_lumen.models.pretrained import load_pretrained

_METADATA, _SIDECAR = "configs/metadata.json", "lumen.json"
_PROGRAM, _WEIGHTS = "models/model.ts", "models/model.pt"
_ANY_SIZE = 256  # the tile of a network whose input may have any size


class _Tensor(BaseModel):
    num_channels: int = Field(ge=1)
    spatial_shape: tuple[int | str, ...] = ()
    format: str = ""
    channel_def: dict[str, str] = Field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Height and width where they are fixed numbers, some of which are written as strings."""
        if all(re.fullmatch(r"\d+", str(side)) for side in self.spatial_shape):
            return tuple(int(side) for side in self.spatial_shape)
        return None


class _Format(BaseModel):
    inputs: dict[str, _Tensor] = Field(min_length=1, max_length=1)
    outputs: dict[str, _Tensor] = Field(min_length=1, max_length=1)


class Metadata(BaseModel):
    """What is read of ``metadata.json``, by the MONAI bundle specification; the rest is passed over."""

    model_config = ConfigDict(frozen=True)

    version: str
    task: str
    description: str
    network_data_format: _Format
    name: str = ""
    data_source: str = "unknown"
    intended_use: str = ""
    eval_metrics: dict[str, Any] = Field(default_factory=dict)


class MonaiBundle(Adapter):
    """Brings in MONAI bundles of one RGB input and one output, in two dimensions."""

    kind: ClassVar[str] = "MONAI bundle"
    danger: ClassVar[str] = "its config and its TorchScript"

    def knows(self, path: Path) -> bool:
        """Whether it is a folder with the metadata of a bundle."""
        return is_file(path / _METADATA)

    def read(self, path: Path) -> ForeignModel:
        """Read metadata, inference config and what the user wrote beside them."""
        file = path / _METADATA
        metadata = read_json(file, Metadata, "MONAI metadata")
        ((key, given),) = metadata.network_data_format.inputs.items()
        ((predicted, answer),) = metadata.network_data_format.outputs.items()
        if given.num_channels != 3 or len(given.spatial_shape) != 2:
            raise ModelError(
                f"The bundle {path} cannot be run on slides: field 'network_data_format.inputs.{key}' asks "
                f"for {given.num_channels} channels of shape {list(given.spatial_shape)}, not for flat RGB."
            )
        if not is_file(path / _SIDECAR):
            raise ModelError(
                f"The bundle {path} does not say which pixel size it works at: write {_SIDECAR} into its "
                'folder with the field mpp, as in {"mpp": 0.5}.'
            )
        told = read_json(path / _SIDECAR, Sidecar, "description")
        config = InferenceConfig.of(path)
        resized = config.resized_to(key)
        side = resized or _square(given.shape, key, file)
        tile = told.tile or side or _ANY_SIZE
        task = told.task or _task(given, answer, file)
        names = told.classes or _names(answer, file)
        stated = told.activation or config.activation(predicted)
        channels = Channels.arrange(names, task, None if stated == "none" else stated)
        if told.mean or told.std:  # one of them states the whole: the other leaves values as they are
            mean, std = told.mean or (0.0, 0.0, 0.0), told.std or (1.0, 1.0, 1.0)
        else:
            mean, std = config.normalisation(key)
        weights = path / (_PROGRAM if is_file(path / _PROGRAM) else _WEIGHTS)
        card = make_card(
            path,
            weights,
            channels.classes,
            file,
            {
                "title": told.title or metadata.name or None,
                "summary": told.summary or metadata.description,
                "task": task,
                "architecture": f"MONAI bundle {path.name} {metadata.version}",
                "activation": channels.activation,
                "input": {
                    "views": [{"size": tile, "mpp": told.mpp}],
                    "mean": mean,
                    "std": std,
                    "overlap": default_overlap(task, tile) if told.overlap is None else told.overlap,
                },
                "training": {"data": f"foreign: {told.data or metadata.data_source}", "split": "unknown"},
                "scores": {
                    f"{name}, as the bundle states it": value
                    for name, value in metadata.eval_metrics.items()
                    if isinstance(value, int | float)
                },
                "licence": told.licence,
                "limits": told.limits or metadata.intended_use or None,
            },
        )
        return ForeignModel(card, weights, channels, side or tile)

    def load(self, path: Path, model: ForeignModel) -> nn.Module:
        """Return the bundle's TorchScript, or else its ``network_def`` with the weights of ``model.pt``."""
        if model.weights.suffix == ".ts":
            return load_torchscript(model.weights)
        with warnings.catch_warnings():
            # MONAI's are about older bundles; those about missing weights end in the error below
            warnings.simplefilter("ignore")
            network = _build(path)
            report = load_pretrained(network, model.weights)
        if report.missing or report.unexpected:
            raise ModelError(
                f"The weights {model.weights} are not those of the bundle's network_def: "
                f"{len(report.missing)} tensors are missing (first {next(iter(report.missing), '-')}) and "
                f"{len(report.unexpected)} unexpected (first {next(iter(report.unexpected), '-')})."
            )
        return network


def _build(path: Path) -> nn.Module:
    """Build what ``network_def`` says, with random weights."""
    from monai.bundle.config_parser import ConfigParser  # takes seconds

    file = InferenceConfig.find(path)
    parser = ConfigParser()
    if file is not None:
        parser.read_config(str(file))
    if "network_def" not in parser:
        raise ModelError(
            f"The bundle {path} holds neither {_PROGRAM} nor field 'network_def' in configs/inference.json."
        )
    parser.read_meta(str(path / _METADATA))
    parser.set(str(path.resolve()), "bundle_root")
    if isinstance(parser["network_def"], Mapping) and parser["network_def"].get("pretrained") is True:
        parser.set(False, "network_def::pretrained")  # it would be fetched, and overwritten by model.pt
    try:
        with _importable(path.resolve()):
            network = parser.get_parsed_content("network_def")
    except Exception as error:  # code of others
        cause: BaseException = error
        while cause.__cause__ is not None:  # MONAI wraps what a constructor says
            cause = cause.__cause__
        raise ModelError(
            f"The bundle {path} builds no network: field 'network_def': {first_line(cause)}."
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"The bundle {path} builds no network: field 'network_def' gives {type(network).__name__}."
        )
    return network


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a bundle import the scripts that it brings along, and the next bundle its own of the same names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _square(shape: tuple[int, ...] | None, key: str, file: Path) -> int | None:
    if shape is None:
        return None
    if shape[0] != shape[1]:
        raise ModelError(
            f"The metadata {file} is of a network that cannot be run on square tiles: field "
            f"'network_data_format.inputs.{key}.spatial_shape' is {list(shape)}."
        )
    return shape[0]


def _task(given: _Tensor, answer: _Tensor, file: Path) -> Task:
    if answer.shape is not None and all(side == 1 for side in answer.shape):
        return "classification"
    if answer.spatial_shape == given.spatial_shape:
        return "segmentation"
    if answer.format in ("classes", "classification"):
        return "classification"
    raise ModelError(
        f"The metadata {file} does not say whether the network answers for each pixel or for the tile: its "
        f"output is {list(answer.spatial_shape)}; write the field task into {_SIDECAR}."
    )


def _names(answer: _Tensor, file: Path) -> tuple[str, ...]:
    names = tuple(answer.channel_def.get(str(index), "") for index in range(answer.num_channels))
    if not all(names):
        raise ModelError(
            f"The metadata {file} does not name every channel of its output (field 'channel_def'): write the "
            f"field classes into {_SIDECAR}."
        )
    return names
