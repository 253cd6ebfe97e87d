"""The one table of classes: labels, names and colours for layers, legend, training and exports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from napari_lumen.errors import AnnotationError

Color = tuple[int, int, int]

# told apart by the colour-blind too (Okabe and Ito 2008)
_PALETTE: tuple[Color, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (213, 94, 0),
    (0, 114, 178),
    (204, 121, 167),
    (240, 228, 66),
)
KEYS = range(1, 10)  # of the keyboard


class TissueClass(BaseModel):
    """One class of objects or tissue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int = Field(ge=0, description="Label value in arrays; 0 is background and is never drawn.")
    name: str = Field(min_length=1, description="Name shown in legends and written to files.")
    color: Color = Field(description="Red, green and blue, 0 to 255.")
    key: int | None = Field(default=None, ge=1, le=9, description="Number key that chooses it while drawing.")
    ignore: bool = Field(
        default=False, description="Whether training and scores pass over what is of this class."
    )

    @model_serializer(mode="wrap")
    def _short(self, write: Callable[[TissueClass], dict[str, Any]]) -> dict[str, Any]:
        # a class that uses neither reads as before, also in earlier versions
        said = write(self)
        unused = {name for name, value in (("key", None), ("ignore", False)) if said.get(name) == value}
        return {name: value for name, value in said.items() if name not in unused}

    @field_validator("color")
    @classmethod
    def _in_range(cls, color: Color) -> Color:
        if not all(0 <= channel <= 255 for channel in color):
            raise ValueError(f"color channels run from 0 to 255, not {color}")
        return color


class ClassTable(BaseModel):
    """An ordered table of classes with unique values, names and keys.

    Iterating yields the classes in order; ``table["nucleus"]`` and ``table[1]`` find one. A table never
    changes: `added`, `renamed` and the others return another one, and `History` keeps those before.
    """

    model_config = ConfigDict(frozen=True)

    classes: tuple[TissueClass, ...]

    @model_validator(mode="after")
    def _unique(self) -> ClassTable:
        for what in ("value", "name", "key"):
            seen = [entry for item in self.classes if (entry := getattr(item, what)) is not None]
            twice = {entry for entry in seen if seen.count(entry) > 1}
            if twice:
                raise ValueError(f"class {what} used twice: {', '.join(map(str, sorted(twice)))}")
        return self

    @classmethod
    def of(cls, classes: Sequence[tuple[int, str, Color]]) -> ClassTable:
        """Build a table from (value, name, colour) triples."""
        return cls(
            classes=tuple(TissueClass(value=value, name=name, color=color) for value, name, color in classes)
        )

    @classmethod
    def named(cls, names: Iterable[str] | Mapping[int, str]) -> ClassTable:
        """Build a table of names alone, with values from 1 where none are given; the colours are ours."""
        given = names.items() if isinstance(names, Mapping) else enumerate(names, start=1)
        return cls.of(
            [(value, name, _PALETTE[place % len(_PALETTE)]) for place, (value, name) in enumerate(given)]
        )

    def __iter__(self) -> Iterator[TissueClass]:  # type: ignore[override]  # pydantic iterates over fields
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, key: int | str) -> TissueClass:
        for item in self.classes:
            if key in (item.value, item.name):
                return item
        raise KeyError(f"no class {key!r}; there is {', '.join(item.name for item in self.classes)}")

    def __contains__(self, name: object) -> bool:
        return any(item.name == name for item in self.classes)

    def added(self, name: str, color: Color | None = None, *, ignore: bool = False) -> ClassTable:
        """Return the table with one more class: the next value, a free key, a colour that is not taken.

        Raises
        ------
        AnnotationError
            When the name is empty or taken.
        """
        used = {item.color for item in self.classes}
        free = next((known for known in _PALETTE if known not in used), _PALETTE[len(self) % len(_PALETTE)])
        value = 1 + max((item.value for item in self.classes), default=0)
        key = next((key for key in KEYS if key not in {item.key for item in self.classes}), None)
        said = {"value": value, "name": self._free(name), "color": color or free, "key": key}
        return self._of([*self._rows(), {**said, "ignore": ignore}])

    def renamed(self, name: str, new: str) -> ClassTable:
        """Return the table with a class under another name.

        Raises
        ------
        AnnotationError
            When there is no such class, or the new name is empty or taken.
        """
        return self if name == new else self._changed(name, {"name": self._free(new)})

    def recoloured(self, name: str, color: Color) -> ClassTable:
        """Return the table with a class in another colour (red, green, blue; 0 to 255).

        Raises
        ------
        AnnotationError
            When there is no such class or colour.
        """
        return self._changed(name, {"color": color})

    def keyed(self, name: str, key: int | None) -> ClassTable:
        """Return the table with a class under a number key, 1 to 9, which another then loses.

        Raises
        ------
        AnnotationError
            When there is no such class or key.
        """
        if key is not None and key not in KEYS:
            raise AnnotationError(f"There is no class key {key}: choose one from 1 to 9.")
        others = [
            {**row, "key": None} if key is not None and row.get("key") == key else row for row in self._rows()
        ]
        return self._of(others)._changed(name, {"key": key})

    def ignoring(self, name: str, ignore: bool = True) -> ClassTable:
        """Return the table with a class that training and scores pass over, or do not.

        Raises
        ------
        AnnotationError
            When there is no such class.
        """
        return self._changed(name, {"ignore": ignore})

    def removed(self, name: str) -> ClassTable:
        """Return the table without a class.

        Raises
        ------
        AnnotationError
            When there is no such class.
        """
        self._named(name)
        return self._of([row for row in self._rows() if row["name"] != name])

    def taking(self, given: ClassTable) -> ClassTable:
        """Return the table with the classes of another: new ones added, known ones as that one has them."""
        table = self
        for item in given:
            known = item.name in table
            table = table.recoloured(item.name, item.color) if known else table.added(item.name, item.color)
            table = table.ignoring(item.name, item.ignore)
        return table

    def with_keys(self) -> ClassTable:
        """Return the table with free keys given to the classes that have none, in their order."""
        free = iter([key for key in KEYS if key not in {item.key for item in self.classes}])
        return self._of([row if "key" in row else {**row, "key": next(free, None)} for row in self._rows()])

    def _changed(self, name: str, changes: dict[str, Any]) -> ClassTable:
        self._named(name)
        return self._of([{**row, **changes} if row["name"] == name else row for row in self._rows()])

    def _rows(self) -> list[dict[str, Any]]:
        return [item.model_dump() for item in self.classes]

    def _named(self, name: str) -> None:
        if name not in self:
            known = ", ".join(item.name for item in self.classes) or "none"
            raise AnnotationError(f'There is no class "{name}"; there is {known}.')

    def _free(self, name: str) -> str:
        name = name.strip()
        if not name:
            raise AnnotationError("A class needs a name.")
        if name in self:
            raise AnnotationError(
                f'There is a class "{name}" already: choose another name, or merge the two.'
            )
        return name

    @staticmethod
    def _of(rows: list[dict[str, Any]]) -> ClassTable:
        """Return a table that is checked, which a copy of a model is not."""
        try:
            return ClassTable.model_validate({"classes": rows})
        except ValidationError as error:
            raise AnnotationError(f"That is no table of classes: {error.errors()[0]['msg']}.") from error
