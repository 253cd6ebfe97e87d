"""A training as a TOML file says it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from napari_lumen.errors import RunError, first_line
from napari_lumen.models import available, load_model
from napari_lumen.training.data.image_set import RGB, Pictures
from napari_lumen.training.data.splits import By, Split, split_items
from napari_lumen.training.data_source import Located
from napari_lumen.training.recipe import Recipe
from napari_lumen.training.recipes import RECIPES, make_recipe
from napari_lumen.training.settings import Settings
from napari_lumen.training.sources import Source
from napari_lumen.validation import NAME_PATTERN, WrittenFields, first_problem, of_field


class SplitRule(WrittenFields):
    """How data are divided: by a rule, or as a file has it."""

    by: By = Field(default="image", description="What is never divided.")
    proportions: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=lambda: {"train": 0.8, "validation": 0.2}
    )
    fixed: dict[str, list[str]] = Field(
        default_factory=dict, description="Patients, slides, tiles, groups or names by the part they are in."
    )
    together: list[tuple[str, str]] = Field(
        default_factory=list, description="Names that stay on one side whatever they are of: near-duplicates."
    )
    within: bool = Field(
        default=False,
        description="Whether parts may share a patient and a slide, where there is only one: the scores then "
        "say nothing about other slides.",
    )
    stratified: bool = Field(
        default=False, description="Whether images of each class are spread over the parts, of graded data."
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
        """Return the parts of some images.

        Raises
        ------
        RunError
            When they cannot be divided so.
        """
        if self.file is not None:
            with of_field("split.file"):
                return Split.read(self.file)
        return split_items(
            images.items,
            self.proportions,
            by=self.by,
            seed=self.seed,
            fixed=self.fixed,
            together=self.together,
            strata=self._strata(images) if self.stratified else None,
        )

    def _strata(self, images: Any) -> dict[str, str]:
        if not hasattr(images, "grade"):
            raise RunError(
                "Field 'split.stratified': only images of one class each can be spread by it; leave it out."
            )
        names = [known.name for known in images.classes]
        return {item.name: names[images.grade(index)] for index, item in enumerate(images.items)}

    def compared(self, images: Pictures) -> Pictures:
        """Return the images as they are compared for leaks."""
        return _Anywhere(images) if self.within else images


class _Anywhere:
    """Images of which it does not matter from which patient and slide they are."""

    def __init__(self, images: Pictures) -> None:
        self._images = images
        self.items = tuple(replace(item, patient=None, slide=None) for item in images.items)

    def image(self, index: int) -> RGB:
        """Return the image of an item."""
        return self._images.image(index)


class TrainingConfig(WrittenFields):
    """Everything that a training needs; `napari-lumen train FILE` reads it."""

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

    @field_validator("start")
    @classmethod
    def _start_beside(cls, start: str | None, info: ValidationInfo) -> str | None:
        return start if start in available(foreign=True) else _beside(start, info)

    @field_validator("recipe")
    @classmethod
    def _files_beside(cls, recipe: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        arguments = recipe.get("arguments")
        placed: dict[str, Any] = {
            key: _beside(recipe[key], info) for key in ("genotype", "pretrained") if key in recipe
        }
        if isinstance(arguments, dict):
            placed["arguments"] = {
                key: _beside(value, info) if key.endswith("pretrained") else value
                for key, value in arguments.items()
            }
        return recipe | placed

    @model_validator(mode="before")
    @classmethod
    def _projects_by_slide(cls, content: Any) -> Any:
        """Divide a project by its slides where the file does not say how."""
        if isinstance(content, dict) and isinstance(data := content.get("data"), dict):
            split = content.get("split") or {}
            if data.get("kind") == "project" and isinstance(split, dict) and not {"by", "file"} & set(split):
                return {**content, "split": {**split, "by": "slide"}}
        return content

    def start_weights(self) -> str | None:
        """Return the SHA-256 of the weights that the training begins with; None where they are random.

        Raises
        ------
        RunError
            When there is no such model, or it cannot be loaded.
        """
        if self.start is None:
            return None
        with of_field("start"):
            return load_model(self.start).card.weights_sha256

    def make_recipe(self) -> Recipe:
        """Return the recipe with its numbers.

        Raises
        ------
        RunError
            When there is no such recipe or number.
        """
        numbers = dict(self.recipe)
        if "name" not in numbers:
            raise RunError(f"field 'recipe.name': it is needed, and missing; there is {', '.join(RECIPES)}.")
        name = str(numbers.pop("name"))
        if name not in RECIPES:
            raise RunError(
                f"field 'recipe.name': there is no recipe {name!r}; there is {', '.join(RECIPES)}."
            )
        return make_recipe(name, **numbers)

    @classmethod
    def read(cls, path: Path, changes: Sequence[str] = ()) -> TrainingConfig:
        """Read a TOML file; the numbers of its recipe are checked as well.

        Parameters
        ----------
        path : Path
        changes : sequence of str
            Fields to set, such as ``recipe.epochs=5``; values are TOML or plain text, an empty one stands
            for the default.

        Raises
        ------
        RunError
            When it cannot be read, or a field is wrong, naming it.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise RunError(f"Cannot read {path}: {error.strerror or error}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{path} is no TOML: {first_line(error)}. Correct it there.") from error
        for change in changes:
            _set(content, change)
        try:
            content = _with_nothing(content)
            config = cls.model_validate(content, context={"folder": path.resolve().parent})
            config.make_recipe()
        except ValidationError as error:
            raise RunError(f"{_read_from(path, changes)}: {first_problem(error, cls)}.") from error
        except RunError as error:
            raise RunError(f"{_read_from(path, changes)}: {error}") from error
        return config


def _beside(value: Any, info: ValidationInfo) -> Any:
    """Place a file that lies beside the file that names it; what is none, a URL say, stays as it is."""
    if info.context is None or not isinstance(value, str) or not value:
        return value
    place = info.context["folder"] / os.path.expanduser(value)  # noqa: PTH111 - no error of an unknown user
    return str(place) if os.path.exists(place) else value  # noqa: PTH110 - nor of a long name


def _with_nothing(value: Any) -> Any:
    """Return what was read with None for ``"null"``: TOML has no value for nothing."""
    if isinstance(value, dict):
        return {key: _with_nothing(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nothing(item) for item in value]
    return None if value == "null" else value


def _read_from(path: Path, changes: Sequence[str]) -> str:
    return f"{path} with {', '.join(changes)}" if changes else str(path)


def _set(content: dict[str, Any], change: str) -> None:
    """Set a field, such as ``recipe.epochs=5``."""
    field, equals, value = change.partition("=")
    *parents, last = field.split(".")
    if not equals or not all((*parents, last)):
        raise RunError(f"{change!r} sets nothing. Write FIELD=VALUE, such as recipe.epochs=5.")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise RunError(f"{change!r}: {parent} has no fields.")
    if value.strip():
        content[last] = _value(value)
    else:
        content.pop(last, None)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:  # a name or a path, which nobody puts into quotes on a command line
        return text.strip()
