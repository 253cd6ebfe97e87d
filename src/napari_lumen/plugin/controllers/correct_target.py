"""What is corrected on a slide: a run with its labels, or nothing yet; and where that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.corrections import (
    Changes,
    CorrectedLabels,
    CorrectionStore,
    Subject,
    folder_beside,
)
from napari_lumen.corrections.drawn import Mask
from napari_lumen.corrections.index import INDEX
from napari_lumen.corrections.object_growing import grown_on_color, grown_on_probability
from napari_lumen.corrections.objects import Numbering, connected
from napari_lumen.errors import RunError, SlideError
from napari_lumen.geometry import Grid, Region, Window

if TYPE_CHECKING:
    from napari_lumen.corrections import CorrectedWindow
    from napari_lumen.corrections.images import Pixels
    from napari_lumen.inference.model_objects import ModelObjects
    from napari_lumen.inference.run import ClassCount, Run
    from napari_lumen.slides import Slide


_COARSEST = 2048  # px a side, which napari reads whole


@dataclass(frozen=True, eq=False)
class Target:
    """A slide, what was found on it, and its corrections.

    Attributes
    ----------
    slide : Slide
    run : Run or None
    store : CorrectionStore
    labels : CorrectedLabels
        Of the run, or over nothing.
    """

    slide: Slide
    run: Run | None
    store: CorrectionStore
    labels: CorrectedLabels

    @property
    def grid(self) -> Grid:
        """The pixels that are corrected: the run's, or the slide's own."""
        return self.labels.grid

    def require_run(self) -> None:
        """Make sure that the labels of the run are still there: zarr shows background where none are.

        Raises
        ------
        RunError
            When its folder was deleted or moved.
        """
        if self.run is None:
            return
        from napari_lumen.inference.run import RUN_FILE

        finest = Path(self.run.labels.path, "0", "zarr.json")
        if not all((self.run.path / file).is_file() for file in (RUN_FILE, finest)):
            raise RunError(
                f"No window can be opened: the run {self.run.path} is gone. Put its folder back, or choose "
                "another run in the Correct panel."
            )

    def answer(self, grid: Grid) -> Pixels:
        """Return what is known of a window: labels with the corrections over them, uint8 (h, w)."""
        return self.labels.on(grid)

    def update(self) -> Standing:
        """Lay what is in the store over the labels, and return how things stand; not for the GUI thread."""
        windows = self.store.windows
        self.labels.replace(self.store.changes())
        if self.run is None:
            return Standing(windows, ())
        from napari_lumen.inference.corrected import corrected_counts

        return Standing(windows, corrected_counts(self.run, self.labels))

    def counts_with(
        self, counts: tuple[ClassCount, ...], grid: Grid, before: Pixels, after: Pixels
    ) -> tuple[ClassCount, ...]:
        """Return these counts with what is painted in a window as well; not for the GUI thread."""
        found = Changes.between(grid, before, after)
        if self.run is None or found is None:
            return counts
        from napari_lumen.inference.corrected import corrected_counts

        return corrected_counts(self.run, self.labels.under([found[0]]), counts)

    def number(self) -> Numbering:
        """Return what tells objects of one class apart, as the run has counted them."""
        if self.run is None or self.run.record.card.objects != "watershed":
            return connected
        from napari_lumen.inference.instances import components, split_touching

        return lambda mask: split_touching(components(mask))

    def grown(self, value: int, grid: Grid, seed: tuple[int, int]) -> Mask:
        """Return the object about a place, bool (h, w) of a grid; not for the GUI thread.

        It is grown on what the run said of the class, and where that was nothing, on the colours.

        Parameters
        ----------
        value : int
            The class.
        grid : Grid
            A small field of the slide.
        seed : (int, int)
            Row and column.
        """
        name = self.class_name(value)
        probability = None if self.objects is None else self.objects.kept(name, grid)
        mask = None if probability is None else grown_on_probability(probability, seed)
        if mask is None:
            mask = grown_on_color(self.slide.read_grid(grid, Window(0, 0, *grid.shape)), seed)
        return mask

    def seen(self, value: int, grid: Grid, seed: tuple[int, int]) -> Mask:
        """Return the object that the model sees about a place, as `grown`; not for the GUI thread.

        Raises
        ------
        RunError
            When there is no run, or the model sees nothing there.
        ModelError
            When the model is gone.
        """
        if self.objects is None:
            raise RunError("There is no run, so no model to ask: choose a run, or add it by its colours (I).")
        name = self.class_name(value)
        mask = self.objects.at(name, grid, seed)
        if mask is None:
            raise RunError(f"The model sees no {name} there: paint it (P), or add it by its colours (I).")
        return mask

    def class_name(self, value: int) -> str:
        """Return the name of a class."""
        return self.store.classes[value].name

    @cached_property
    def objects(self) -> ModelObjects | None:
        """What its model sees; None without a run."""
        from napari_lumen.inference.model_objects import ModelObjects

        return None if self.run is None else ModelObjects(self.run, self.slide)

    def finds_something(self, field: Region) -> bool:
        """Whether anything was found in a field of the slide, level-0 px; True without a run."""
        if self.run is None:
            return True
        level = len(self.labels.base) - 1
        window = self.labels.grid.coarsened(2**level).window_of(field)
        return bool(window.height and window.width and self.labels.read(level, window).any())


@dataclass(frozen=True)
class Standing:
    """How the corrections of a target stand.

    Attributes
    ----------
    windows : tuple of CorrectedWindow
    counts : tuple of ClassCount
        With the corrections; empty without a run.
    """

    windows: tuple[CorrectedWindow, ...]
    counts: tuple[ClassCount, ...]


def target_of(slide: Slide, run: str, folder: Path | None, names: str, *, more: bool = False) -> Target:
    """Return what is to be corrected; reads, so not for the GUI thread.

    Parameters
    ----------
    slide : Slide
    run : str
        Its folder; "" for none.
    folder : Path, optional
        Where corrections without a run are kept; beside the slide when left out.
    names : str
        Of the classes, between commas, for corrections without a run; not asked where there are some.
    more : bool, optional
        Whether those that are new are to be added to the classes of corrections that there are.

    Raises
    ------
    RunError
        When the run or its corrections are damaged or of another slide.
    SlideError
        When the pixel size of the slide is not known.
    """
    if run:
        from napari_lumen.inference.corrected import corrected_labels
        from napari_lumen.inference.run import Run

        opened = Run.open(run)
        if opened.record.fingerprint != slide.fingerprint:
            raise RunError(
                f"{run} is a run over another slide than {slide.path.name}, though it may be named the same. "
                "Open the slide of the run."
            )
        store = CorrectionStore(opened.path)
        return Target(slide, opened, store, corrected_labels(opened, store))
    place = folder or default_folder(slide)
    if place is None:
        raise RunError(f"Choose a folder for the corrections: beside {slide.path.name} none can be made.")
    classes = _classes(place, names, more)
    subject = Subject(_place(slide), slide.fingerprint, slide.require_mpp(), classes)
    store = CorrectionStore(place, subject)
    return Target(slide, None, store, CorrectedLabels(*_nothing(slide.shape), store.changes()))


def _nothing(shape: tuple[int, int]) -> tuple[list[Any], Grid]:
    """Return a pyramid of background over a slide's own pixels, which takes no memory."""
    import dask.array as da

    grid = Grid(shape, (1.0, 1.0))
    shapes = [shape]
    while max(shapes[-1]) > _COARSEST:
        shapes.append(grid.coarsened(2 ** len(shapes)).shape)
    return [da.zeros(level, dtype=np.uint8, chunks=_COARSEST) for level in shapes], grid


def default_folder(slide: Slide) -> Path | None:
    """Return where corrections of a slide without a run are kept; None where it lies on a server."""
    return folder_beside(slide.location.resolve()) if isinstance(slide.location, Path) else None


def class_table(names: str) -> ClassTable:
    """Return the classes of names between commas.

    Raises
    ------
    RunError
        When there are none, or one twice.
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise RunError("Name the classes to paint, with commas between them: nucleus, stroma.")
    if len(set(found)) < len(found):
        raise RunError("Two classes have the same name: give each another.")
    return ClassTable.named(found)


def _classes(folder: Path, names: str, more: bool) -> ClassTable:
    """Return the classes of the corrections that there are, else those named."""
    if not (folder / INDEX).is_file():
        return class_table(names)
    store = CorrectionStore(folder)
    if not more:
        return store.classes
    named = class_table(names)
    if not store.windows:
        return named
    found = store.classes
    for item in named:
        found = found if item.name in found else found.added(item.name)
    return found


def _place(slide: Slide) -> str:
    return str(slide.location.resolve()) if isinstance(slide.location, Path) else str(slide.location)


def now_of(slide: Slide) -> str | None:
    """Return the fingerprint of what lies now where a slide was opened; None where it cannot be read."""
    try:
        return slide.fingerprint_now()
    except (SlideError, OSError):
        return None
