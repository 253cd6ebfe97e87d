"""What every source of training data has, as a configuration file says it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from napari_lumen.annotations.classes import ClassTable, TissueClass
from napari_lumen.errors import RunError
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.image_set import ImageSet, Pictures
from napari_lumen.training.data.regrouped import Regrouped
from napari_lumen.validation import WrittenFields, of_field

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
        with of_field("data.groups"):
            return Regrouped(cast("ImageSet", images), self.groups)

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
