"""What must not be on two sides of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

from napari_lumen.errors import RunError
from napari_lumen.training.data.image_set import RGB, Pictures
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.near_duplicates import SAME_FIELD, near_duplicates
from napari_lumen.training.data.splits import Split

Origin = Literal["patient", "slide", "tile", "group"]


@runtime_checkable
class OfPatches(Protocol):
    """Patches from random places of slides."""

    def overviews(self) -> Pictures:
        """Return a picture of each slide, whose items say the `slide` that its patches say."""


def check_leaks(
    pictures: Pictures,
    split: Split,
    *,
    least: float | None = SAME_FIELD,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Raise where two parts of a split share a patient, a slide, a tile or nearly the same image.

    Stain groups are compared where the split is by group. Of patches that were drawn from slides, the slides
    are compared.

    Parameters
    ----------
    pictures : Pictures
        Its images are read once.
    split : Split
    least : float or None
        Correlation from which two images are taken for the same, as of `near_duplicates`; None compares
        no images.
    check : callable, optional
        Called for each image; what it raises ends the search.

    Raises
    ------
    RunError
        Naming the two items, the parts that they are in, and what to do.
    """
    part_of = split.part_of()
    chosen = [pictures.items[index] for part in split.parts for index in split.indices(pictures.items, part)]
    origins: tuple[Origin, ...] = ("patient", "slide", "tile")
    for origin in (*origins, "group") if split.by == "group" else origins:
        _check_origin(chosen, part_of, origin)
    if least is None:
        return
    shown: Pictures = _Chosen(pictures, part_of)
    if isinstance(pictures, OfPatches):
        shown = pictures.overviews()
        part_of = _parts_of_slides(chosen, shown, part_of)
    for pair in near_duplicates(shown, least=least, check=check):
        one, other = part_of.get(pair.first), part_of.get(pair.second)
        if one != other and one is not None and other is not None:
            raise RunError(
                f"{pair.first!r} of {one!r} and {pair.second!r} of {other!r} show the same field, with a "
                f"correlation of {pair.correlation:.3f}; put both on one side, or leave one out."
            )


def _parts_of_slides(patches: Sequence[Item], slides: Pictures, part_of: dict[str, str]) -> dict[str, str]:
    """Return the part of each slide that has patches, by its name; no slide is in two."""
    by_slide = {patch.slide: part_of[patch.name] for patch in patches}
    return {item.name: by_slide[item.slide] for item in slides.items if item.slide in by_slide}


def _check_origin(items: Sequence[Item], part_of: dict[str, str], origin: Origin) -> None:
    first: dict[str, Item] = {}
    for item in items:
        key = getattr(item, origin)
        if key is None:
            continue
        other = first.setdefault(_spelled(key) if origin == "patient" else key, item)
        one, two = part_of[other.name], part_of[item.name]
        if one != two:
            also = getattr(other, origin)
            advice = f"split the data by {origin}"
            if also != key:
                advice = f"it is written {also!r} too, write it alike"
            raise RunError(
                f"{other.name!r} of {one!r} and {item.name!r} of {two!r} are both of the {origin} {key!r}; "
                f"{advice}."
            )


def _spelled(name: str) -> str:
    """Return a name without what people write in two ways: capitals and spaces."""
    return "".join(name.casefold().split())


class _Chosen:
    """The items of a set that a split names."""

    def __init__(self, pictures: Pictures, part_of: dict[str, str]) -> None:
        self._pictures = pictures
        self._places = [index for index, item in enumerate(pictures.items) if item.name in part_of]
        self.items = tuple(pictures.items[index] for index in self._places)

    def image(self, index: int) -> RGB:
        return self._pictures.image(self._places[index])
