"""Training of NAS-SCAM's rebuilt network, and of those that its paper compares it with (Table 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator

from napari_lumen.models import build
from napari_lumen.models.genotype import Genotype
from napari_lumen.training.data.image_set import ImageSet
from napari_lumen.training.phase import TRAIN
from napari_lumen.training.recipe import Plan, TrainingData, fitting_arguments
from napari_lumen.training.recipes.nas_scam_crops import BalancedCrops, CropRecipe


class NASSCAMRecipe(CropRecipe):
    """Training from scratch; the epoch of the highest Dice, pooled and averaged over the classes, is kept."""

    kind: ClassVar[str] = "nas_scam"

    architecture: Literal["nas_scam", "host_unet", "cbam_unet", "scse_unet", "deeplabv3plus"] = Field(
        default="nas_scam", description="Network; host_unet is that of NAS-SCAM without attention."
    )
    genotype: Genotype | None = Field(
        default=None, description="Operations of nas_scam, or the JSON file of them that a search leaves."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="Other arguments of the network, such as the depth of deeplabv3plus.",
    )
    epochs: int = Field(default=300, gt=0)

    @field_validator("genotype", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return read_genotype(Path(value)) if isinstance(value, str | Path) else value

    @field_validator("arguments")
    @classmethod
    def _fit_the_network(cls, arguments: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        name = info.data.get("architecture")
        return fitting_arguments("nas_scam" if name == "host_unet" else name, arguments)

    @model_validator(mode="after")
    def _genotype_fits(self) -> NASSCAMRecipe:
        if (self.architecture == "nas_scam") != (self.genotype is not None):
            raise ValueError(
                "a genotype is what nas_scam needs, from a search, and what no other network takes"
            )
        return self

    def plan(self, data: TrainingData[ImageSet]) -> Plan:
        """Build the network and its one phase."""
        architecture, arguments = self._network(len(data.images.classes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = build(architecture, **arguments)
        phase = BalancedCrops(
            name="training",
            epochs=self.epochs,
            choice=self.best(),
            **self.common(data, {TRAIN: self.listed(data)}),
        )
        return Plan(network, (phase,), self.card(data, network, architecture, arguments))

    def _network(self, classes: int) -> tuple[str, dict[str, Any]]:
        shared: dict[str, Any] = {"classes": classes, **self.arguments}
        if self.architecture == "deeplabv3plus":
            return self.architecture, shared
        shared["width"] = self.width
        if self.architecture == "host_unet":
            return "nas_scam", {"attention": "none", "search": False, **shared}
        if self.genotype is not None:
            return "nas_scam", {
                "mode": self.mode,
                "genotype": self.genotype.model_dump(mode="json"),
                **shared,
            }
        return self.architecture, shared


def read_genotype(path: Path) -> Genotype:
    """Read the JSON of a genotype.

    Raises
    ------
    ValueError
        One sentence: the file, and what is wrong.
    """
    try:
        return Genotype.read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the genotype {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the genotype {path} cannot be read: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
