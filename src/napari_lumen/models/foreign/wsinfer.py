"""WSInfer models (Kaczmarzyk et al., npj Precision Oncology 2024): `config.json` and `torchscript_model.pt`.

The config follows the zoo's published schema, version 1.0: a network answers for a whole patch.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from napari_lumen.models.card import Activation
from napari_lumen.models.foreign.adapter import Adapter, ForeignModel, is_file, make_card, read_json
from napari_lumen.models.foreign.network import Channels
from napari_lumen.models.foreign.sidecar import different

_CONFIG, _PROGRAM = "config.json", "torchscript_model.pt"
_STRICT = ConfigDict(frozen=True, extra="forbid")
_Triple = tuple[float, float, float]


class _Arguments(BaseModel):
    model_config = _STRICT

    size: int | None = Field(default=None, ge=1, le=8192)
    mean: _Triple | None = None
    std: _Triple | None = None

    @field_validator("size", mode="before")
    @classmethod
    def _of_a_square(cls, size: object) -> object:
        return size[0] if isinstance(size, list) and len(size) == 2 and size[0] == size[1] else size


class _Step(BaseModel):
    model_config = _STRICT

    name: Literal["Resize", "ToTensor", "Normalize"]
    arguments: _Arguments | None = None

    @model_validator(mode="after")
    def _has_its_arguments(self) -> _Step:
        for needed in {"Resize": ("size",), "ToTensor": (), "Normalize": ("mean", "std")}[self.name]:
            if getattr(self.arguments, needed, None) is None:
                raise ValueError(f"{self.name} needs argument {needed!r}")
        return self


class WSInferConfig(BaseModel):
    """The zoo's schema ``model-config``, version 1.0; a config may say more, which is passed over."""

    model_config = ConfigDict(frozen=True)

    spec_version: Literal["1.0"]
    architecture: str
    num_classes: int = Field(ge=1)
    class_names: tuple[str, ...]
    patch_size_pixels: int = Field(ge=1, le=8192)
    spacing_um_px: float = Field(gt=0)
    transform: tuple[_Step, ...]

    @model_validator(mode="after")
    def _one_name_a_class(self) -> WSInferConfig:
        if len(self.class_names) != self.num_classes:
            raise ValueError(f"num_classes is {self.num_classes} and class_names has {len(self.class_names)}")
        return self

    @field_validator("class_names")
    @classmethod
    def _names_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return different(names)

    @field_validator("transform")
    @classmethod
    def _no_step_twice(cls, steps: tuple[_Step, ...]) -> tuple[_Step, ...]:
        names = [step.name for step in steps]
        for name in ("Resize", "Normalize"):
            if names.count(name) > 1:
                raise ValueError(f"{name} stands there {names.count(name)} times, where one is understood")
        return steps

    @property
    def side(self) -> int:
        """Side of what the network eats, px."""
        return next((given.size for given in self._arguments("Resize") if given.size), self.patch_size_pixels)

    @property
    def normalisation(self) -> tuple[_Triple, _Triple]:
        """Mean and deviation, of RGB in [0, 1]."""
        for given in self._arguments("Normalize"):
            if given.mean is not None and given.std is not None:
                return given.mean, given.std
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def _arguments(self, name: str) -> list[_Arguments]:
        return [step.arguments for step in self.transform if step.name == name and step.arguments]


class WSInfer(Adapter):
    """Brings in the models of the WSInfer zoo."""

    kind: ClassVar[str] = "WSInfer"
    danger: ClassVar[str] = "its TorchScript"

    def knows(self, path: Path) -> bool:
        """Whether it is a folder with the two files."""
        return is_file(path / _CONFIG) and is_file(path / _PROGRAM)

    def read(self, path: Path) -> ForeignModel:
        """Read the config."""
        file = path / _CONFIG
        config = read_json(file, WSInferConfig, "WSInfer config")
        # as its own runner does: the sigmoid of one channel, the softmax of several
        activation: Activation = "sigmoid" if config.num_classes == 1 else "softmax"
        channels = Channels.arrange(config.class_names, "classification", activation)
        mean, std = config.normalisation
        size, mpp = config.patch_size_pixels, config.spacing_um_px
        card = make_card(
            path,
            path / _PROGRAM,
            channels.classes,
            file,
            {
                "title": path.name,
                "summary": f"Tells {', '.join(config.class_names)} in patches of {size} px at {mpp:g} µm/px.",
                "task": "classification",
                "architecture": f"WSInfer {config.architecture}",
                "activation": activation,
                "input": {"views": [{"size": size, "mpp": mpp}], "mean": mean, "std": std, "overlap": 0},
                "training": {"data": "foreign: a WSInfer model; its README says more", "split": "unknown"},
            },
        )
        return ForeignModel(card, path / _PROGRAM, channels, config.side)
