"""Where training data come from, as a configuration file says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from napari_lumen.training.data import known
from napari_lumen.training.data.corrections import Corrections
from napari_lumen.training.data.graded import GradedImages, graded_by_folder, graded_by_table
from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.instance_folder import InstanceFolder, read_object_classes
from napari_lumen.training.data.labelled_files import labelled_files
from napari_lumen.training.data.labelled_folder import LabelledFolder
from napari_lumen.training.data.project_images import ProjectImages, ProjectRules, Use
from napari_lumen.training.data_source import Classes, DataSource, Labelled, Located
from napari_lumen.training.slide_sources import AnnotatedSlides, WholeSlideSource


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
