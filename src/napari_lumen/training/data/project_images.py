"""All that people have drawn and corrected on the slides of a project, as an `ImageSet`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import read_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.corrections.index import INDEX, CorrectionIndex
from napari_lumen.corrections.subject import corrections_folder
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.slides import Slide
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.annotated import AnnotatedSlide, AnnotationRules
from napari_lumen.training.data.annotation_windows import annotated_windows
from napari_lumen.training.data.corrections import Corrections
from napari_lumen.training.data.fingerprints import checksum
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.data.item import IGNORE, Item
from napari_lumen.training.data.project import Study, StudySlide, open_study_slide, placed, read_study

Use = Literal["annotations", "corrections"]


@dataclass(frozen=True)
class ProjectRules:
    """What of a project is learned from, and how.

    Attributes
    ----------
    use : tuple of {"annotations", "corrections"}
    author : str or None
        Whose annotations; None for what was saved last on each slide.
    unlabelled : {"ignore", "background"}
        What no annotation covers, in windows that hold any.
    ignored : sequence of str
        Classes that have no label.
    mpp : float
        µm per pixel of the windows into which annotations are cut; corrections keep theirs.
    size : int
        Their side, px.
    most : int
        Windows of annotations a slide at most.
    """

    use: tuple[Use, ...] = ("annotations", "corrections")
    author: str | None = None
    unlabelled: Literal["ignore", "background"] = "ignore"
    ignored: tuple[str, ...] = AnnotationRules.ignored
    mpp: float = 0.5
    size: int = 256
    most: int = 2000


@dataclass(frozen=True, eq=False)
class _Cut:
    """A window of what is drawn on a slide."""

    annotated: AnnotatedSlide
    grid: Grid
    window: Window

    def image(self) -> RGB:
        return self.annotated.slide.read_grid(self.grid, self.window)

    def labels(self) -> Labels:
        return self.annotated.labels(self.grid, self.window)

    def mpp(self) -> float | None:
        return sum(self.grid.scale(self.annotated.slide.require_mpp())) / 2

    def fingerprint(self) -> str:
        region = self.grid.region_of(self.window)
        return checksum(self.annotated.fingerprint, region.y, region.x, region.height)


@dataclass(frozen=True, eq=False)
class _Corrected:
    """A corrected window, its values those of the project."""

    windows: Corrections
    index: int
    values: Labels  # by value of the windows, (256,)

    def image(self) -> RGB:
        return self.windows.image(self.index)

    def labels(self) -> Labels:
        found: Labels = self.values[self.windows.labels(self.index)]
        return found

    def mpp(self) -> float | None:
        return self.windows.mpp(self.index)

    def fingerprint(self) -> str:
        return checksum(self.windows.fingerprint(self.index), self.values.tobytes())


class ProjectImages:
    """Windows of what is drawn and of what is corrected on the slides of a project: an `ImageSet`.

    The class table of the project rules; of a project without one, all classes that are drawn or corrected.

    Parameters
    ----------
    folder : Path
        Holds `project.json`.
    rules : ProjectRules
    cache : TileCache, optional
        Of decoded files.

    Attributes
    ----------
    authors : tuple of str
        Who has drawn in the project.
    places : tuple of (str, Region)
        Fingerprint of the slide, and where on it each item lies, level-0 px.

    Raises
    ------
    LumenError
        When the project, a slide or a file of it cannot be read, nothing is drawn or corrected, or a class
        is not in the table.
    """

    def __init__(
        self,
        folder: Path,
        rules: ProjectRules | None = None,
        *,
        cache: TileCache | None = None,
    ) -> None:
        self._folder, self._rules, self._cache = folder, rules or ProjectRules(), cache
        study = read_study(folder)
        self.authors = study.authors
        drawn = self._drawn(study)
        self.classes = study.classes if len(study.classes) else self._named(study, drawn)
        self._slides: list[Slide] = []
        items: list[Item] = []
        self._fields: list[_Cut | _Corrected] = []
        places: list[tuple[str, Region]] = []
        try:
            for slide in study.slides:
                for name, field, region in self._of_slide(slide, drawn.get(slide.name, [])):
                    items.append(Item(name, slide=slide.fingerprint, patient=slide.patient))
                    self._fields.append(field)
                    places.append((slide.fingerprint, region))
        except BaseException:
            self.close()
            raise
        self.items, self.places = tuple(items), tuple(places)
        if not items:
            raise RunError(
                f"Nothing is drawn or corrected in the project {folder}: keep what is drawn, or add runs "
                "with corrections, in the Project panel."
            )

    def image(self, index: int) -> RGB:
        """Return the pixels of a window: uint8 (h, w, 3)."""
        return self._fields[index].image()

    def labels(self, index: int) -> Labels:
        """Return class values: uint8 (h, w)."""
        return self._fields[index].labels()

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel."""
        return self._fields[index].mpp()

    def fingerprint(self, index: int) -> str:
        """Return a checksum of a window's labels, and of its pixels by their slide."""
        return self._fields[index].fingerprint()

    def close(self) -> None:
        """Close the slides."""
        for slide in self._slides:
            slide.close()

    def __enter__(self) -> ProjectImages:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _drawn(self, study: Study) -> dict[str, list[Annotation]]:
        """Return what is drawn on each slide, by its name."""
        if "annotations" not in self._rules.use:
            return {}
        author = self._rules.author
        if author is not None and author not in study.authors:
            known = ", ".join(study.authors) or "nobody"
            raise RunError(f"{author} has drawn nothing in the project {self._folder}; {known} has.")
        found = {}
        for slide in study.slides:
            entry = slide.drawn(author)
            if entry is not None:
                read = read_annotations(placed(entry.path, self._folder))
                found[slide.name] = [item for item in read if item.geometry.area > 0]
        return found

    def _named(self, study: Study, drawn: dict[str, list[Annotation]]) -> ClassTable:
        """Return all classes that are drawn or corrected, in their order."""
        rules = (*AnnotationRules.background, *AnnotationRules.regions, *self._rules.ignored)
        names = {item.class_name: None for items in drawn.values() for item in items if item.class_name}
        for slide in study.slides:
            for folder in self._corrected(slide):
                names |= {item.name: None for item in CorrectionIndex.read(folder).classes}
        return ClassTable.named([name for name in names if name not in rules])

    def _corrected(self, slide: StudySlide) -> list[Path]:
        """Return the folders of corrections of a slide that hold any."""
        if "corrections" not in self._rules.use:
            return []
        folders = [corrections_folder(Path(placed(text, self._folder))) for text in slide.runs]
        folders += [Path(placed(text, self._folder)) for text in slide.corrections]
        return [folder for folder in folders if (folder / INDEX).is_file()]

    def _of_slide(
        self, slide: StudySlide, drawn: list[Annotation]
    ) -> Iterator[tuple[str, _Cut | _Corrected, Region]]:
        """Yield name, window and place of all that is known of a slide."""
        folders = self._corrected(slide)
        if not drawn and not folders:
            return
        opened = open_study_slide(slide, self._folder)
        self._slides.append(opened)
        if drawn:
            yield from self._cut(slide, opened, drawn)
        for number, folder in enumerate(folders):
            known = {slide.fingerprint: opened}
            windows = Corrections(folder, cache=self._cache, slides=known)
            values = self._values(folder, windows.classes)
            marker = f" ({number + 1})" if number else ""
            for index, region in enumerate(windows.regions):
                name = f"{slide.name}, corrected {windows.items[index].name}{marker}"
                yield name, _Corrected(windows, index, values), region

    def _cut(
        self, slide: StudySlide, opened: Slide, drawn: list[Annotation]
    ) -> Iterator[tuple[str, _Cut, Region]]:
        rules = AnnotationRules(self.classes, unlabelled=self._rules.unlabelled, ignored=self._rules.ignored)
        annotated = AnnotatedSlide(Item(slide.name, slide=slide.fingerprint), opened, drawn, rules)
        grid, windows = annotated_windows(
            annotated,
            mpp=self._rules.mpp,
            size=self._rules.size,
            most=self._rules.most,
        )
        for window in windows:
            row, column = window.y // window.height, window.x // window.width
            name = f"{slide.name}, row {row}, column {column}"
            yield name, _Cut(annotated, grid, window), grid.region_of(window)

    def _values(self, folder: Path, classes: ClassTable) -> Labels:
        """Return the values of the project for those of corrections, (256,)."""
        values = np.full(256, IGNORE, np.uint8)
        values[0] = 0
        for item in classes:
            if item.name in self.classes:
                values[item.value] = self.classes[item.name].value
            elif item.name not in self._rules.ignored:
                known = ", ".join(entry.name for entry in self.classes)
                raise RunError(
                    f"The corrections in {folder} are of the class {item.name!r}, which is not in the "
                    f"project's table; there is {known}. Add it to the project, or name it in the field "
                    "ignored of the data."
                )
        return values
