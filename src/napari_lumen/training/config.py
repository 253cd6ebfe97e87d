"""A training as a YAML file says it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_lumen.errors import RunError
from napari_lumen.models.card import NAME_PATTERN, first_problem
from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.splits import By, Split, split_items
from napari_lumen.training.recipe import Recipe
from napari_lumen.training.recipes import make_recipe
from napari_lumen.training.settings import Settings
from napari_lumen.training.sources import Located, Source


class SplitRule(BaseModel):
    """How data are divided: by a rule, or as a file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: By = Field(default="image", description="What is never divided.")
    proportions: dict[str, float] = Field(default_factory=lambda: {"train": 0.8, "validation": 0.2})
    fixed: dict[str, list[str]] = Field(
        default_factory=dict, description="Patients, slides, tiles, groups or names by the part they are in."
    )
    together: list[tuple[str, str]] = Field(
        default_factory=list, description="Names that stay on one side whatever they are of: near-duplicates."
    )
    seed: int = 42
    file: Located | None = Field(default=None, description="JSON of an earlier split, instead of all others.")

    @model_validator(mode="after")
    def _has_parts(self) -> SplitRule:
        parts = {*self.proportions, *self.fixed}
        if self.file is None and not {"train", "validation"} <= parts:
            raise ValueError("proportions and fixed must name the parts train and validation")
        return self

    def divide(self, images: Pictures) -> Split:
        """Return the parts of some images."""
        if self.file is not None:
            return Split.read(self.file)
        return split_items(
            images.items,
            self.proportions,
            by=self.by,
            seed=self.seed,
            fixed=self.fixed,
            together=self.together,
        )


class TrainingConfig(BaseModel):
    """Everything that a training needs; `napari-lumen train FILE` reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME_PATTERN, description="Of the model that comes out.")
    title: str = Field(default="", description="Shown in lists; the name without it.")
    summary: str = Field(default="", description="One sentence: what it finds, on what.")
    recipe: dict[str, Any] = Field(description="`name` of the recipe, and numbers to change.")
    rebuilt: dict[str, Any] = Field(
        default_factory=dict, description="Of a search: numbers of the training from scratch that follows."
    )
    data: Source
    data_text: str = Field(default="", description="Data sets with their sources, for the card.")
    licence: str = Field(default="unknown", description="Licence of the weights, which the data decide.")
    limits: str = Field(default="Not validated for diagnosis.", description="What the model is not for.")
    split: SplitRule = Field(default_factory=SplitRule)
    start: str | None = Field(default=None, description="Model whose weights the training begins with.")
    settings: Settings = Field(default_factory=Settings)

    def make_recipe(self) -> Recipe:
        """Return the recipe with its numbers.

        Raises
        ------
        RunError
            When there is no such recipe or number.
        """
        numbers = dict(self.recipe)
        return make_recipe(str(numbers.pop("name", "")), **numbers)

    @classmethod
    def read(cls, path: Path, changes: Sequence[str] = ()) -> TrainingConfig:
        """Read a YAML file.

        Parameters
        ----------
        path : Path
        changes : sequence of str
            Fields to set, such as ``recipe.epochs=5``; values are YAML.

        Raises
        ------
        RunError
            When it cannot be read, or a field is wrong, naming it.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise RunError(f"{path} is not a table of fields; it needs name, recipe and data.")
            for change in changes:
                _set(content, change)
            return cls.model_validate(content, context={"folder": path.resolve().parent})
        except OSError as error:
            raise RunError(f"Cannot read {path}: {error.strerror or error}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            where = "" if mark is None else f" at line {mark.line + 1}"
            raise RunError(f"{path} is no YAML{where}. Correct it there.") from error
        except ValidationError as error:
            raise RunError(f"{path}: {first_problem(error)}.") from error


def _set(content: dict[str, Any], change: str) -> None:
    """Set a field, such as ``recipe.epochs=5``."""
    field, equals, value = change.partition("=")
    *parents, last = field.split(".")
    if not equals or not last:
        raise RunError(f"{change!r} sets nothing. Write FIELD=VALUE, such as recipe.epochs=5.")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise RunError(f"{change!r}: {parent} has no fields.")
    content[last] = yaml.safe_load(value)
