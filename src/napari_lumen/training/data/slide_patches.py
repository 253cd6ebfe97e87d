"""Patches of annotated slides at one pixel size, each class drawn equally often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Window
from napari_lumen.slides import Slide
from napari_lumen.training.data.annotated import AnnotatedSlide
from napari_lumen.training.data.area_sampling import AreaSampler
from napari_lumen.training.data.fingerprints import checksum
from napari_lumen.training.data.image_set import RGB, Labels


@dataclass(frozen=True, slots=True)
class Place:
    """Where a patch was drawn.

    Attributes
    ----------
    slide : int
        Which of the slides.
    value : int
        Class value at its centre, 0 for background.
    y, x : float
        Its centre, level-0 px.
    """

    slide: int
    value: int
    y: float
    x: float


class SlidePatches:
    """Slides from which patches are drawn, of the classes in turn.

    Patch `i` is always the same, however many are drawn: it depends on `seed` and `i`.

    Parameters
    ----------
    slides : sequence of AnnotatedSlide
        With the same class table and names of their own.
    mpp : float
        µm per pixel of the patches.
    size : int
        Their side, px.
    count : int
        Patches in all.
    background : bool
        Whether patches of the background are drawn, as of one class more.
    seed : int

    Raises
    ------
    RunError
        When there is no slide, one is not RGB, or nothing that can be drawn from is annotated on one.
    SlideError
        When a slide does not state its pixel size.
    """

    def __init__(
        self,
        slides: Sequence[AnnotatedSlide],
        *,
        mpp: float,
        size: int,
        count: int,
        background: bool = True,
        seed: int = 42,
    ) -> None:
        if not slides:
            raise RunError("There is no slide to draw patches from.")
        names = [one.item.name for one in slides]
        if len(set(names)) < len(names):
            raise RunError(f"Two slides have the same name; those given are {', '.join(names)}. Rename one.")
        if any(one.rules.classes != slides[0].rules.classes for one in slides):
            raise RunError("The slides have different tables of classes; give all of them the same one.")
        for one in slides:
            if not one.slide.is_rgb:
                raise RunError(f"{one.item.name} is not a colour slide; training takes RGB.")
        self.classes = slides[0].rules.classes
        self.items = tuple(replace(one.item, slide=one.item.slide or one.item.name) for one in slides)
        self.count, self.size = count, size
        self._slides, self._mpp, self._background, self._seed = tuple(slides), mpp, background, seed
        self._samplers = self._by_class()
        if not self._samplers:
            raise RunError(
                "Nothing that patches could be drawn from is annotated on "
                f"{', '.join(item.name for item in self.items)}; outline areas of the classes first."
            )

        owners = {owner for _, owners in self._samplers.values() for owner in owners}
        bare = [item.name for index, item in enumerate(self.items) if index not in owners]
        if bare:
            raise RunError(
                f"Nothing of the classes is annotated on {bare[0]}: outline something there, or leave the "
                "slide out."
            )

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes of which no area is annotated, and so no patch is drawn."""
        return tuple(known.name for known in self.classes if known.value not in self._samplers)

    def overviews(self) -> SlideOverviews:
        """Return a small picture of each slide, for `check_leaks`."""
        return SlideOverviews(self)

    def patches(self) -> DrawnPatches:
        """Return the patches: an `ImageSet`."""
        return DrawnPatches(self)

    def slide(self, index: int) -> AnnotatedSlide:
        """Return a slide by its number."""
        return self._slides[index]

    def mpp(self, index: int) -> float:
        """Return µm per pixel of the patches."""
        return self._mpp

    def place(self, index: int) -> Place:
        """Return where a patch is."""
        values = list(self._samplers)
        value = values[index % len(values)]
        sampler, owners = self._samplers[value]
        rng = np.random.default_rng((self._seed, index))
        polygon, (x, y) = sampler.draw(rng)
        return Place(owners[polygon], value, y, x)

    def _by_class(self) -> dict[int, tuple[AreaSampler, list[int]]]:
        """Return a sampler over all slides for each class, and the slide of each of its polygons."""
        found = {}
        for value in (*(known.value for known in self.classes), *([0] if self._background else [])):
            parts = [
                (part, index) for index, one in enumerate(self._slides) for part in one.areas.get(value, ())
            ]
            if parts:
                um2 = [float(np.prod(self._slides[index].slide.require_mpp())) for _, index in parts]
                found[value] = AreaSampler([part for part, _ in parts], um2), [index for _, index in parts]
        return found


class DrawnPatches:
    """Patches of slides: an `ImageSet`. Items are named after their slide and number."""

    def __init__(self, patches: SlidePatches) -> None:
        self._patches = patches
        self.classes = patches.classes
        self.places = tuple(map(patches.place, range(patches.count)))
        self.items = tuple(
            replace(
                patches.items[place.slide],
                name=f"{patches.items[place.slide].name}, patch {index}",
            )
            for index, place in enumerate(self.places)
        )

    def image(self, index: int) -> RGB:
        """Return a patch: uint8 (size, size, 3), white outside the slide.

        Raises
        ------
        SlideError
            When the slide cannot be decoded there.
        """
        annotated, grid, window = self._field(index)
        return annotated.slide.read_grid(grid, window)

    def labels(self, index: int) -> Labels:
        """Return its class values: uint8 (size, size)."""
        annotated, grid, window = self._field(index)
        return annotated.labels(grid, window)

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel."""
        return self._patches.mpp(index)

    def slide(self, index: int) -> Slide:
        """Return the slide that a patch is of."""
        return self._patches.slide(self.places[index].slide).slide

    def overviews(self) -> SlideOverviews:
        """Return a small picture of each slide: where patches of two of them are is chance."""
        return self._patches.overviews()

    def fingerprint(self, index: int) -> str:
        """Return a checksum of the slide, its annotations, and where the patch is."""
        place = self.places[index]
        return checksum(self._patches.slide(place.slide).fingerprint, place.y, place.x, self._patches.size)

    def _field(self, index: int) -> tuple[AnnotatedSlide, Grid, Window]:
        place, side = self.places[index], self._patches.size
        annotated = self._patches.slide(place.slide)
        own, target = annotated.slide.require_mpp(), self._patches.mpp(index)
        step = target / own[0], target / own[1]
        grid = Grid((side, side), step, (place.y - side / 2 * step[0], place.x - side / 2 * step[1]))
        return annotated, grid, Window(0, 0, side, side)


class SlideOverviews:
    """A small picture of each slide: `Pictures`."""

    def __init__(self, patches: SlidePatches) -> None:
        self._patches = patches
        self.items = patches.items

    def image(self, index: int) -> RGB:
        """Return a slide reduced to at most 256 px: uint8 (h, w, 3)."""
        return self._patches.slide(index).overview()
