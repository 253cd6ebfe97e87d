"""Which items are trained on and which are held out, stored with the model."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_lumen.errors import RunError, some_of
from napari_lumen.holding import write_text
from napari_lumen.training.data.item import Item
from napari_lumen.validation import first_problem

By = Literal["patient", "slide", "tile", "group", "image"]
_ORDERS = 16  # random orders that are tried; the one closest to the proportions is kept


class Split(BaseModel):
    """The parts of a set by the names of their items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: By = Field(description="What is never divided: a patient, slide, tile, stain group or image.")
    seed: int = Field(description="Of the random assignment.")
    parts: dict[str, tuple[str, ...]] = Field(description='Names of the items by part, such as "train".')

    @model_validator(mode="after")
    def _once(self) -> Split:
        part_of: dict[str, str] = {}
        for part, names in self.parts.items():
            for name in names:
                if name in part_of:
                    raise ValueError(f"{name!r} is in {part_of[name]!r} and in {part!r}")
                part_of[name] = part
        return self

    def indices(self, items: Sequence[Item], part: str) -> list[int]:
        """Return where the items of a part are, in the order of the set.

        Raises
        ------
        RunError
            When there is no such part, or one of its items is not in the set.
        """
        if part not in self.parts:
            raise RunError(f"The split has no part {part!r}; there is {', '.join(self.parts)}.")
        place = {item.name: index for index, item in enumerate(items)}
        for name in self.parts[part]:
            if name not in place:
                raise RunError(f"The split names {name!r}, which is not in the data; split them anew.")
        return sorted(place[name] for name in self.parts[part])

    def part_of(self) -> dict[str, str]:
        """Return the part of each item by its name."""
        return {name: part for part, names in self.parts.items() for name in names}

    @property
    def text(self) -> str:
        """It as JSON."""
        return self.model_dump_json(indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_text(path, self.text)

    @classmethod
    def read(cls, path: Path) -> Split:
        """Read it from JSON.

        Raises
        ------
        RunError
            When it cannot be read, or is no split.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise RunError(f"Cannot read the split {path}: {error.strerror or error}.") from error
        except ValidationError as error:
            raise RunError(f"{path} is no split: {first_problem(error)}; split the data anew.") from error


def split_items(
    items: Sequence[Item],
    proportions: Mapping[str, float],
    *,
    by: By = "image",
    seed: int = 42,
    fixed: Mapping[str, Sequence[str]] | None = None,
    together: Iterable[tuple[str, str]] = (),
    strata: Mapping[str, str] | None = None,
) -> Split:
    """Divide items into parts so that none of a patient, slide, tile or stain group is on two sides.

    Parameters
    ----------
    items : sequence of Item
    proportions : mapping of str to float
        Of each part, in items; any positive numbers, such as 540 and 130. Without any, what is not `fixed`
        is in no part.
    by : {"patient", "slide", "tile", "group", "image"}
    seed : int
        The same items, proportions and seed give the same split.
    fixed : mapping of str to sequence of str, optional
        Patients (slides, tiles, groups, names) by the part that they must be in, for instance
        ``{"test": ["white"]}``. A part that has no proportion holds these alone.
    together : iterable of (str, str)
        Names of items that stay on one side whatever they are of, such as the near-duplicates of a set.
    strata : mapping of str to str, optional
        Something of each item by its name, such as its grade, that is spread over the parts as well.

    Raises
    ------
    RunError
        When an item does not say its patient (slide, ...), two have the same name, a name is of none, or
        there are fewer patients than parts.
    """
    if not (proportions or fixed) or not all(0 < share < math.inf for share in proportions.values()):
        raise RunError(f"The proportions of a split must be positive, not {dict(proportions)}.")
    if len({item.name for item in items}) < len(items):
        raise RunError("Two items have the same name; give each its own.")
    keys = [_key(item, by) for item in items]
    held = _held(keys, fixed or {}, by)
    lumps = _lumps(items, keys, tuple(together))
    parts: dict[str, list[int]] = {part: [] for part in [*proportions, *(fixed or {})]}
    free = []
    for lump in lumps:
        wanted = {held[keys[index]] for index in lump if keys[index] in held}
        if len(wanted) > 1:
            raise RunError(
                f"{items[lump[0]].name!r} must stay with items of other parts ({', '.join(sorted(wanted))}); "
                "put all of them into one."
            )
        if wanted:
            parts[wanted.pop()].extend(lump)
        else:
            free.append(lump)
    empty = sum(not parts[part] for part in proportions)
    if len(free) < empty:
        what, known = "image" if by == "image" else by, len(set(keys))
        if len(lumps) < known:
            raise RunError(
                f"{known} {what}s cannot be divided into {len(parts)} parts: those that overlap or belong "
                f"together stay on one side, which leaves {len(lumps)}. Add some that lie apart."
            )
        raise RunError(
            f"{known} {what}{'s' if known > 1 else ''} cannot be divided into {len(parts)} parts: add some"
            + (", or let both sides share it by within = true." if known == 1 and by != "image" else ".")
        )
    if proportions:
        for part, lump in _assigned(free, items, parts, proportions, strata or {}, seed):
            parts[part].extend(lump)
    named = {part: tuple(items[index].name for index in sorted(inside)) for part, inside in parts.items()}
    return Split(by=by, seed=seed, parts=named)


def _key(item: Item, by: By) -> str:
    key = item.name if by == "image" else getattr(item, by)
    if key is None:
        raise RunError(
            f"{item.name!r} does not say its {by}, by which the data are to be split: give it in the column "
            f"{by!r} of a table of images, or in the field of a slide, or split by something else."
        )
    return str(key)


def _held(keys: Sequence[str], fixed: Mapping[str, Sequence[str]], by: By) -> dict[str, str]:
    held: dict[str, str] = {}
    known = dict.fromkeys(keys)
    for part, wanted in fixed.items():
        for key in wanted:
            if key not in known:
                key = _by_file(key, part, known, by)
            if held.setdefault(key, part) != part:
                raise RunError(f"The {by} {key!r} cannot be in {held[key]!r} and in {part!r}.")
    return held


def _by_file(name: str, part: str, known: Collection[str], by: By) -> str:
    """Return the slide, which is known by its path, whose file is named so."""
    ends = [one for one in known if Path(one).name == name] if by == "slide" else []
    if len(ends) == 1:
        return ends[0]
    shown = ends or [Path(one).name if by == "slide" else one for one in known]
    what = f"there are several slides {name!r}, name one" if ends else f"there is no {by} {name!r}"
    raise RunError(f"Field 'split.fixed': {what} to be put into {part!r}; there is {some_of(shown, 5)}.")


def _lumps(
    items: Sequence[Item], keys: Sequence[str], together: Sequence[tuple[str, str]]
) -> list[list[int]]:
    """Return the items that must stay on one side, as lists of their numbers in the order of the first."""
    place = {item.name: index for index, item in enumerate(items)}
    lump_of = list(range(len(items)))

    def root(index: int) -> int:
        while lump_of[index] != index:
            index = lump_of[index]
        return index

    for name in (name for pair in together for name in pair):
        if name not in place:
            raise RunError(f"Field 'split.together': there is no item {name!r}; check the name.")
    first: dict[str, int] = {}
    links = [(first.setdefault(key, index), index) for index, key in enumerate(keys)]
    links += [(place[one], place[other]) for one, other in together]
    for one, other in links:
        low, high = sorted((root(one), root(other)))
        lump_of[high] = low
    found: dict[int, list[int]] = {}
    for index in range(len(items)):
        found.setdefault(root(index), []).append(index)
    return list(found.values())


def _assigned(
    lumps: Sequence[list[int]],
    items: Sequence[Item],
    parts: Mapping[str, Sequence[int]],
    proportions: Mapping[str, float],
    strata: Mapping[str, str],
    seed: int,
) -> list[tuple[str, list[int]]]:
    """Return the part of each lump: of several random orders the one whose parts come closest."""
    kinds = sorted({strata.get(item.name, "") for item in items})
    kind_of = np.array([kinds.index(strata.get(item.name, "")) for item in items])
    names = list(proportions)
    share = np.array([proportions[name] for name in names], float)

    def counts(inside: Sequence[int]) -> npt.NDArray[np.float64]:
        return np.bincount(kind_of[list(inside)], minlength=len(kinds)).astype(float)

    start = np.stack([counts(parts[name]) for name in names])
    sizes = [counts(lump) for lump in lumps]
    total = start.sum(axis=0) + sum(sizes, np.zeros(len(kinds)))
    wanted = share[:, None] / share.sum() * total
    rng = np.random.default_rng(seed)
    best: tuple[float, list[tuple[str, list[int]]]] = (np.inf, [])
    for _ in range(_ORDERS):
        have, given = start.copy(), []
        order = rng.permutation(len(lumps)).tolist()
        for left, lump in zip(range(len(order), 0, -1), order, strict=True):
            # what every part would still be off by if this lump went there, against what it is off by now
            cost = ((have + sizes[lump] - wanted) ** 2 - (have - wanted) ** 2) / np.maximum(wanted, 1)
            chosen = cost.sum(axis=1)
            bare = have.sum(axis=1) == 0
            if bare.sum() >= left:
                chosen[~bare] = np.inf
            part = int(np.argmin(chosen))
            have[part] += sizes[lump]
            given.append((names[part], lumps[lump]))
        off = float(((have - wanted) ** 2 / np.maximum(wanted, 1)).sum())
        if off < best[0]:
            best = off, given
        if np.abs(have - wanted).max() <= 1:  # no order can do better by more than an item
            break
    return best[1]
