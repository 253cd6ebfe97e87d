"""Where training data come from, as a configuration file says it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.classes import ClassTable, TissueClass
from napari_lumen.annotations.formats import read_annotations
from napari_lumen.errors import RunError
from napari_lumen.slides import Slide, open_slide
from napari_lumen.slides.cache import TileCache
from napari_lumen.tissue import find_tissue, mask_geometry
from napari_lumen.training.data import known
from napari_lumen.training.data.annotated import AnnotatedSlide, AnnotationRules
from napari_lumen.training.data.corrections import Corrections
from napari_lumen.training.data.graded import GradedImages, graded_by_folder, graded_by_table
from napari_lumen.training.data.image_set import ImageSet, Pictures
from napari_lumen.training.data.instance_folder import InstanceFolder, read_object_classes
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.labelled_files import labelled_files
from napari_lumen.training.data.labelled_folder import LabelledFolder
from napari_lumen.training.data.project_images import ProjectImages, ProjectRules, Use
from napari_lumen.training.data.regrouped import Regrouped
from napari_lumen.training.data.slide_patches import SlidePatches
from napari_lumen.training.recipes.multistage_slides import WholeSlides
from napari_lumen.validation import WrittenFields

_NO_NAME = "a name or a table with value, name and color"


def _table(classes: Any) -> Any:
    """Take a list of names for a table: values from 1, colours of ours."""
    if isinstance(classes, ClassTable | dict):
        return classes
    if not isinstance(classes, list | tuple) or not classes:
        raise ValueError("it must be a list of the names of classes, or of tables with value, name and color")
    names = isinstance(classes[0], str)
    for number, item in enumerate(classes, start=1):
        if not isinstance(item, str if names else dict | TissueClass):
            raise ValueError(
                f"number {number} of the classes must be {'a name, as the first is' if names else _NO_NAME}, "
                f"not {item!r}"
            )
    if not names:
        return {"classes": classes}
    if not all(classes):
        raise ValueError(f"the name of number {classes.index('') + 1} of the classes is empty")
    return ClassTable.named(list(classes))


def _located(path: Path, info: ValidationInfo) -> Path:
    """Place a path that a file names beside that file, whose folder is the context of the validation."""
    return path.expanduser() if info.context is None else info.context["folder"] / path.expanduser()


def _without_background(classes: ClassTable) -> ClassTable:
    if any(known.name.lower() == "background" for known in classes):
        raise ValueError("background is what none of the classes covers: leave it out")
    return classes


Located = Annotated[Path, AfterValidator(_located)]
Classes = Annotated[ClassTable, BeforeValidator(_table)]
Labelled = Annotated[Classes, AfterValidator(_without_background)]  # of parts of images


class DataSource(WrittenFields, ABC):
    """One source of data; in a file, paths are relative to that file."""

    kind: str
    cache_mb: int = Field(default=1024, ge=0, description="Decoded images that are kept in memory, MB.")
    groups: dict[str, tuple[str, ...]] | None = Field(
        default=None, description="New classes with the names of those that make them; others are background."
    )

    def open(self) -> Pictures:
        """Return the images, which are read when they are asked for.

        Raises
        ------
        RunError
            When files are missing or do not belong together, or classes are not there.
        """
        self._require_files()
        images = self._open()
        if self.groups is None:
            return images
        if not hasattr(images, "labels"):
            raise RunError(
                f"Data of kind {self.kind!r} have no label images, so their classes stay as they are."
            )
        try:
            return Regrouped(cast("ImageSet", images), self.groups)
        except RunError as error:
            raise RunError(f"Field 'data.groups': {error}") from error

    def _require_files(self) -> None:
        for name in type(self).model_fields:
            path = getattr(self, name)
            if isinstance(path, Path) and not path.exists():
                raise RunError(f"Field 'data.{name}': there is no {path}. Check the path.")

    @abstractmethod
    def _open(self) -> Pictures:
        """Return the images with their own classes."""

    def _cache(self) -> TileCache:
        return TileCache(self.cache_mb * 1_000_000)


class LabelledImages(DataSource):
    """A folder of images with label images of the same names."""

    kind: Literal["images"] = "images"
    folder: Located
    images: str = Field(default="images", description="Sub-folder of the images.")
    labels: str = Field(default="labels", description="Sub-folder of the label images.")
    classes: Labelled = Field(description="Names of the classes, with values from 1, or a table of classes.")
    table: Located | None = Field(
        default=None, description="CSV with the columns name, patient, slide, tile, group, mpp."
    )
    mpp: float | None = Field(default=None, gt=0, description="µm per pixel, where the table says none.")
    objects: bool = Field(default=False, description="Whether the label images number objects.")
    object_classes: Located | None = Field(
        default=None, description="CSV with the columns name, instance, class, of numbered objects."
    )

    @model_validator(mode="after")
    def _numbered(self) -> LabelledImages:
        if self.object_classes is not None and not self.objects:
            raise ValueError("object_classes are of label images that number objects: say objects = true")
        return self

    def _open(self) -> Pictures:
        """Return a `LabelledFolder` or an `InstanceFolder`."""
        files = labelled_files(
            self.folder,
            images=self.images,
            labels=self.labels,
            table=self.table,
            mpp=self.mpp,
        )
        if not self.objects:
            return LabelledFolder(files, self.classes, cache=self._cache())
        classes = self.object_classes and read_object_classes(self.object_classes, self.classes)
        return InstanceFolder(files, self.classes, class_of=classes or None, cache=self._cache())


class GradedFolder(DataSource):
    """Images of one class each: in a sub-folder of its name, or named by a table."""

    kind: Literal["graded"] = "graded"
    folder: Located
    table: Located | None = Field(default=None, description="CSV; without it, sub-folders are the classes.")
    grade: str = Field(default="grade", description="Column of the class in the table.")
    classes: Classes | None = None
    mpp: float | None = Field(default=None, gt=0, description="µm per pixel, where the table says none.")

    def _open(self) -> Pictures:
        """Return `GradedImages`."""
        if self.table is None:
            files = graded_by_folder(self.folder, mpp=self.mpp)
        else:
            files = graded_by_table(self.folder, self.table, grade=self.grade, mpp=self.mpp)
        return GradedImages(files, self.classes, cache=self._cache())


class AnnotatedSlideSource(WrittenFields):
    """A slide with the file of its annotations."""

    slide: Located
    annotations: Located = Field(description="QuPath GeoJSON, ASAP or ImageScope XML, ...")
    patient: str | None = None
    mpp: float | None = Field(
        default=None, gt=0, description="µm per pixel of the slide, in the place of what its file says."
    )


class _Annotated(DataSource):
    """Slides with annotations."""

    slides: tuple[AnnotatedSlideSource, ...] = Field(min_length=1)
    classes: Labelled
    unlabelled: Literal["ignore", "background"] = Field(
        default="ignore", description="What no annotation covers, outside of annotated regions."
    )
    ignored: tuple[str, ...] = Field(
        default=AnnotationRules.ignored,
        description="Classes of annotations within which nothing has a label, whatever else lies there.",
    )

    def _slides(self, *, with_tissue: bool = False) -> list[AnnotatedSlide]:
        rules = AnnotationRules(self.classes, unlabelled=self.unlabelled, ignored=self.ignored)
        found = []
        for source in self.slides:
            slide = open_slide(source.slide, mpp=source.mpp)
            if slide.mpp is None:
                raise RunError(
                    f"Field 'data.slides': {source.slide.name} does not state its pixel size; give it as "
                    "mpp, in µm, beside slide and annotations."
                )
            found.append(
                AnnotatedSlide(
                    Item(source.slide.name, slide=str(source.slide), patient=source.patient),
                    slide,
                    read_annotations(source.annotations),
                    rules,
                    tissue=_bare_tissue(slide) if with_tissue else None,
                )
            )
        return found


class WholeSlideSource(_Annotated):
    """Slides that are patched as a whole, wherever there is tissue, as multi-stage does."""

    kind: Literal["whole_slides"] = "whole_slides"

    def _open(self) -> Pictures:
        """Return the slides, each an item."""
        return WholeSlides(self._slides(with_tissue=True))


class AnnotatedSlides(_Annotated):
    """Slides of which patches are drawn, as many of each class."""

    kind: Literal["slides"] = "slides"
    mpp: float = Field(gt=0, description="µm per pixel of the patches.")
    size: int = Field(default=256, gt=0, description="Side of a patch, px.")
    count: int = Field(default=1000, gt=0, description="Patches in all.")
    background: bool = Field(default=True, description="Whether patches of the background are drawn too.")
    seed: int = 42

    def _open(self) -> Pictures:
        """Return the patches, each an item of its slide."""
        slides = SlidePatches(
            self._slides(),
            mpp=self.mpp,
            size=self.size,
            count=self.count,
            background=self.background,
            seed=self.seed,
        )
        if slides.absent:
            raise RunError(
                f"Field 'data.classes': no area of {' and '.join(map(repr, slides.absent))} is annotated on "
                f"{', '.join(item.name for item in slides.items)}. Outline one, or leave the class out."
            )
        return slides.patches()


class CorrectedWindows(DataSource):
    """Windows of runs that a person has corrected."""

    kind: Literal["corrections"] = "corrections"
    folder: Located

    def _open(self) -> Pictures:
        """Return `Corrections`."""
        return Corrections(self.folder, cache=self._cache())


class ProjectSource(DataSource):
    """What people have drawn and corrected on the slides of a project."""

    kind: Literal["project"] = "project"
    folder: Located
    use: tuple[Use, ...] = Field(
        default=ProjectRules.use, min_length=1, description="annotations, corrections, or both."
    )
    author: str | None = Field(
        default=None, description="Whose annotations; without it what was saved last on each slide."
    )
    unlabelled: Literal["ignore", "background"] = Field(
        default="ignore", description="What no annotation covers, in windows that hold any."
    )
    ignored: tuple[str, ...] = Field(
        default=ProjectRules.ignored, description="Classes within which nothing has a label."
    )
    mpp: float = Field(default=ProjectRules.mpp, gt=0, description="µm per pixel of windows of annotations.")
    size: int = Field(default=ProjectRules.size, gt=0, description="Side of these windows, px.")
    most: int = Field(default=ProjectRules.most, gt=0, description="Windows of annotations a slide at most.")

    def _open(self) -> Pictures:
        """Return `ProjectImages`."""
        rules = ProjectRules(
            self.use, self.author, self.unlabelled, self.ignored, self.mpp, self.size, self.most
        )
        return ProjectImages(self.folder, rules, cache=self._cache())


class KnownSet(DataSource):
    """A public set, as it is published."""

    kind: Literal["dsb2018", "consep", "consep_tiles", "glas"]
    folder: Located
    kinds: tuple[str, ...] | None = Field(
        default=None, description="Of dsb2018 only these: stained, brightfield, fluorescence."
    )

    def _open(self) -> Pictures:
        """Return the set."""
        cache = self._cache()
        if self.kind == "dsb2018":
            return known.dsb2018(self.folder, kinds=self.kinds, cache=cache)
        if self.kind == "glas":
            return known.glas(self.folder, cache=cache)
        patches = known.consep_patches(self.folder, cache=cache)
        return patches if self.kind == "consep" else known.ConsepTiles(patches)


def _bare_tissue(slide: Slide) -> BaseGeometry:
    """Return where tissue is, without the rim around it that runs look at: shares of it are measured."""
    found = find_tissue(slide)
    return mask_geometry(found.bare, found.grid)


Source = Annotated[
    LabelledImages
    | GradedFolder
    | AnnotatedSlides
    | WholeSlideSource
    | CorrectedWindows
    | ProjectSource
    | KnownSet,
    Field(discriminator="kind"),
]
