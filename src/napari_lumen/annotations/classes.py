"""The one table of classes: labels, names and colours for layers, legend, training and exports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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


class TissueClass(BaseModel):
    """One class of objects or tissue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int = Field(ge=0, description="Label value in arrays; 0 is background and is never drawn.")
    name: str = Field(min_length=1, description="Name shown in legends and written to files.")
    color: Color = Field(description="Red, green and blue, 0 to 255.")

    @field_validator("color")
    @classmethod
    def _in_range(cls, color: Color) -> Color:
        if not all(0 <= channel <= 255 for channel in color):
            raise ValueError(f"color channels run from 0 to 255, not {color}")
        return color


class ClassTable(BaseModel):
    """An ordered table of classes with unique values and names.

    Iterating yields the classes in order; ``table["nucleus"]`` and ``table[1]`` find one.
    """

    model_config = ConfigDict(frozen=True)

    classes: tuple[TissueClass, ...]

    @model_validator(mode="after")
    def _unique(self) -> ClassTable:
        for what in ("value", "name"):
            seen = [getattr(item, what) for item in self.classes]
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
