"""The numbers of a recipe as a form shows them, from the fields that the recipe declares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from napari_lumen.training.recipe import Recipe

Kind = Literal["choice", "bool", "int", "text"]
# what is asked for first; all else is folded away
_BASIC = (
    "method", "architecture", "tumour", "framing", "size", "patch", "mpp", "epochs", "patch_epochs",
    "map_epochs", "end_to_end_epochs", "batch", "patch_batch", "rate", "rates",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecipeField:
    """One number of a recipe.

    Attributes
    ----------
    name : str
    kind : {"choice", "bool", "int", "text"}
        text: JSON, of numbers, lists and tables; nothing stands for none.
    default : object
        As JSON has it.
    tip : str
        What the recipe says of it.
    choices : tuple of str
    least : int
        Of a whole number.
    basic : bool
        Whether it is asked for first.
    """

    name: str
    kind: Kind
    default: Any
    tip: str
    choices: tuple[str, ...] = ()
    least: int = 0
    basic: bool = False


@dataclass(frozen=True, slots=True)
class RecipeChoice:
    """A recipe as the panel shows it.

    Attributes
    ----------
    name : str
    title : str
    fields : tuple of RecipeField
        The basic ones first.
    """

    name: str
    title: str
    fields: tuple[RecipeField, ...]


def recipe_choice(recipe: type[Recipe]) -> RecipeChoice:
    """Return what the panel shows of a recipe."""
    title = (recipe.__doc__ or recipe.kind).partition("\n")[0].rstrip(".")
    fields = [_field(name, info) for name, info in recipe.model_fields.items()]
    fields.sort(key=lambda field: _BASIC.index(field.name) if field.basic else len(_BASIC))
    return RecipeChoice(recipe.kind, title, tuple(fields))


def written(value: Any) -> str:
    """Return a value as the form shows it; nothing for None."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def read(text: str) -> Any:
    """Return the value of what was typed: JSON, a plain word, or None for nothing."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def changed(fields: tuple[RecipeField, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are other than the recipe's own."""
    own = {field.name: field.default for field in fields}
    return {name: value for name, value in values.items() if name in own and value != own[name]}


def _field(name: str, info: FieldInfo) -> RecipeField:
    default = to_jsonable_python(info.get_default(call_default_factory=True))
    common: dict[str, Any] = {
        "name": name,
        "default": default,
        "tip": info.description or "",
        "basic": name in _BASIC,
    }
    kind = info.annotation
    if get_origin(kind) is Literal:
        return RecipeField(kind="choice", choices=tuple(map(str, get_args(kind))), **common)
    if kind is bool:
        return RecipeField(kind="bool", **common)
    if kind is int:
        above = max((getattr(rule, "gt", -1) for rule in info.metadata), default=-1)
        return RecipeField(kind="int", least=above + 1, **common)
    return RecipeField(kind="text", **common)
