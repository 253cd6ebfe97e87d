"""The architecture search of NAS-SCAM: first-order bilevel steps for alphas and weights (section 2.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from pydantic import Field, model_validator
from torch import nn
from torch.optim import Adam, Optimizer

from napari_lumen.errors import RunError
from napari_lumen.holding import write_text
from napari_lumen.models import build
from napari_lumen.models.genotype import Genotype
from napari_lumen.models.nas_scam import NASSCAM
from napari_lumen.training.data.image_set import ImageSet
from napari_lumen.training.example import Batch
from napari_lumen.training.phase import TRAIN, Draw
from napari_lumen.training.recipe import Plan, TrainingData
from napari_lumen.training.recipes.nas_scam import NASSCAMRecipe
from napari_lumen.training.recipes.nas_scam_crops import SEARCH, BalancedCrops, CropRecipe
from napari_lumen.training.turn import Turn

GENOTYPE = "genotype.json"
_TABLES = (("sam", "alpha_sam"), ("cam", "alpha_cam"))


@dataclass(kw_only=True)
class SearchPhase(BalancedCrops):
    """Epochs of weights alone, then of alphas and weights by turns.

    Attributes
    ----------
    warm_up : int
        Epochs in which the alphas rest.
    weight_rate, alpha_rate : float
        Learning rates.
    """

    warm_up: int
    weight_rate: float
    alpha_rate: float

    def order(self, epoch: int, rng: np.random.Generator) -> Sequence[Draw]:
        """Return steps of training crops and, after the warm-up, of search crops beside them."""
        train = self.balanced(TRAIN, rng)
        if epoch < self.warm_up:
            return [{TRAIN: step} for step in train]
        return [
            {TRAIN: step, SEARCH: search}
            for step, search in zip(train, self.balanced(SEARCH, rng), strict=True)
        ]

    def optimisers(self, network: nn.Module) -> dict[str, Optimizer]:
        """Return one for the weights and one for the alphas."""
        assert isinstance(network, NASSCAM)
        return {
            "weights": Adam(network.weights(), self.weight_rate),
            "alphas": Adam(network.alphas(), self.alpha_rate),
        }

    def step(self, turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Change the alphas by a search batch, then the weights by a training batch."""
        losses: dict[str, float] = {}
        if SEARCH in batches:
            with _kept_statistics(turn.network):
                losses["search loss"] = turn.descend("alphas", batches[SEARCH], self.loss)["loss"]
        return {**turn.descend("weights", batches[TRAIN], self.loss), **losses}

    def tables(self, network: nn.Module) -> Mapping[str, pd.DataFrame]:
        """Return the weight of each operation, ``alphas``, and the genotype that follows, ``genotypes``."""
        assert isinstance(network, NASSCAM)
        genotype = pd.DataFrame({"genotype": [network.genotype().model_dump_json()]})
        return {"alphas": alphas(network), "genotypes": genotype}

    def finish(self, network: nn.Module, folder: Path) -> None:
        """Write the genotype of the chosen epoch."""
        assert isinstance(network, NASSCAM)
        write_text(folder / GENOTYPE, network.genotype().model_dump_json(indent=1) + "\n")


class NASSCAMSearchRecipe(CropRecipe):
    """Search for the operations of NAS-SCAM's cells.

    Alphas are learnt from the part ``search`` of the split or, where there is none, from crops of the
    validation images. The epoch of the highest Dice after the warm-up is kept.
    """

    kind: ClassVar[str] = "nas_scam_search"

    synchronous: bool = Field(
        default=True, description="Search each of the eight positions on its own, or one cell for all."
    )
    epochs: int = Field(default=120, gt=0)
    warm_up: int = Field(default=40, ge=0, description="First epochs, in which the alphas rest.")
    alpha_rate: float = Field(default=1e-3, gt=0, description="Adam's learning rate of the alphas.")
    alpha_deviation: float = Field(
        default=1e-3, gt=0, description="Of the normal first values of the alphas."
    )

    @model_validator(mode="after")
    def _searches(self) -> NASSCAMSearchRecipe:
        if self.warm_up >= self.epochs:
            raise ValueError(f"warm_up {self.warm_up} leaves no epoch of {self.epochs} for the search")
        return self

    def plan(self, data: TrainingData[ImageSet]) -> Plan:
        """Build the search network and its one phase."""
        arguments: dict[str, Any] = {
            "mode": self.mode,
            "search": True,
            "synchronous": self.synchronous,
            "classes": len(data.images.classes),
            "width": self.width,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = build("nas_scam", **arguments)
            assert isinstance(network, NASSCAM)
            for alpha in network.alphas():
                nn.init.normal_(alpha, std=self.alpha_deviation)
        part = SEARCH if SEARCH in data.split.parts else "validation"
        lists = {
            TRAIN: self.listed(data),
            SEARCH: self.crops().listed(data.images, data.part(part)),
        }
        if not any(lists[SEARCH].by_class):
            raise RunError(
                f"No image of the part {part!r} shows a class, so the weights of operations cannot be "
                "learnt. Divide the data anew."
            )
        phase = SearchPhase(
            name="search",
            epochs=self.epochs,
            warm_up=self.warm_up,
            weight_rate=self.rate,
            alpha_rate=self.alpha_rate,
            choice=self.best(self.warm_up),
            **self.common(data, lists),
        )
        return Plan(network, (phase,), self.card(data, network, "nas_scam", arguments))

    def rebuilt(self, genotype: Genotype, **changes: Any) -> NASSCAMRecipe:
        """Return the recipe that trains what was found, from scratch, on the same crops.

        Parameters
        ----------
        genotype : Genotype
            See `read_genotype`; a finished search leaves it as ``genotype.json``.
        **changes
            Numbers of `NASSCAMRecipe` that are to be others than its defaults and those of the search.
        """
        return NASSCAMRecipe.model_validate({**self.numbers_shared(), "genotype": genotype, **changes})


def alphas(network: NASSCAM) -> pd.DataFrame:
    """Return the softmax of a search network's alphas: position, cell, edge, operation, weight.

    The weights of an edge sum to 1. Of a shared search, the position is that of all of them, "D1 to U4".
    """
    parts = []
    for cell, name in _TABLES:
        weights = network.get_submodule(name)().detach().cpu().float()
        index = pd.MultiIndex.from_product(
            network.table_axes()[name], names=("position", "edge", "operation")
        )
        part = pd.DataFrame({"weight": weights.flatten().numpy()}, index=index).reset_index()
        part.insert(1, "cell", cell)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


@contextmanager
def _kept_statistics(network: nn.Module) -> Iterator[None]:
    """Leave buffers as they were: running means are of training crops, not of what alphas are learnt from."""
    buffers = list(network.buffers())
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
