"""What is compared on one set of data: the variants, and a result for each of them and each seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_lumen.holding import write_text
from napari_lumen.training.data.image_set import ImageSet

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Attributes
    ----------
    name : str
    recipe : mapping
        Of a `TrainingConfig`: the recipe's name and the numbers that differ from the paper's.
    search : mapping, optional
        Of the search that finds the genotype of `recipe`.
    encoders : tuple of str
        Arguments of the network that take the weights its encoders begin with, where an experiment has some.
    """

    name: str
    recipe: Mapping[str, Any]
    search: Mapping[str, Any] | None = None
    encoders: tuple[str, ...] = ("pretrained",)

    @property
    def numbers(self) -> dict[str, Any]:
        """All that decides the result."""
        return {**self.recipe, **({} if self.search is None else {"search": self.search})}


@dataclass(frozen=True)
class Experiment:
    """One table: variants on the same data, split, epochs and steps.

    Attributes
    ----------
    name : str
        Of its results.
    title : str
    claim : str
        What the paper prints.
    setting : str
        What is done here, for the reader of the table.
    data, split : mapping
        Of a `TrainingConfig`.
    encoder : callable, optional
        Makes the weights that all encoders begin with.
    resplit : bool
        Whether each seed divides the data anew, where a single test part is too small to tell.
    images : callable, optional
        Makes the images in place of `data`.
    scores : mapping of str to str
        Columns, by the names of the test's scores.
    variants : tuple of Variant
        The baseline first.
    ratio : str
        The score whose ratio to the baseline is printed.
    """

    name: str
    title: str
    claim: str
    setting: str
    data: Mapping[str, Any]
    split: Mapping[str, Any]
    scores: Mapping[str, str]
    variants: tuple[Variant, ...]
    ratio: str
    encoder: Callable[[], Path] | None = None
    resplit: bool = False
    images: Callable[[], ImageSet] | None = None


@dataclass(frozen=True)
class Result:
    """What one variant came to with one seed."""

    experiment: str
    variant: str
    seed: int
    scores: dict[str, float]
    weights: int
    seconds: float
    recipe: dict[str, Any]
    machine: str
    date: str
    versions: dict[str, str] = field(default_factory=dict)
    core_seconds: float | None = None

    def write(self, folder: Path) -> None:
        """Write it as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{_slug(self.variant)}-{self.seed}.json"
        write_text(file, json.dumps(asdict(self), indent=1) + "\n")


def read_results(folder: Path, experiment: Experiment) -> dict[tuple[str, int], Result]:
    """Read what is finished of an experiment, by variant and seed.

    A result of other numbers than the variant has now is left out: it will be measured again.
    """
    found = {}
    for variant in experiment.variants:
        for seed in SEEDS:
            file = folder / f"{_slug(variant.name)}-{seed}.json"
            if file.exists():
                result = Result(**json.loads(file.read_text()))
                if result.recipe == json.loads(json.dumps({**variant.numbers, "seed": seed})):
                    found[variant.name, seed] = result
    return found


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
