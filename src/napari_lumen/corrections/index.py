"""The index of a folder of corrections: which windows of a slide people have corrected, and how.

The folder holds `corrections.json`, a `CorrectionIndex`, and the PNG files that it names. The label images
hold class values, 0 for background and 255 where nothing was looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.format_version import newer_version
from napari_lumen.geometry import Grid, Region
from napari_lumen.holding import write_text

INDEX = "corrections.json"
VERSION = 1
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Change(BaseModel):
    """Pixels of a label image that went from one class to another."""

    model_config = _FROZEN

    before: int = Field(description="Class value, 0 for background.")
    after: int = Field(description="Class value, 0 for background.")
    pixels: int = Field(gt=0, description="Of the label image.")


class Changed(BaseModel):
    """What a person has changed in a window: the smallest rectangle of its label image that holds all."""

    model_config = _FROZEN

    file: str = Field(
        description="PNG, RGB: red is the class before, green the class after, blue 255 where they differ; "
        "relative to the folder."
    )
    y: int = Field(ge=0, description="First row, px of the label image.")
    x: int = Field(ge=0, description="First column, px of the label image.")
    height: int = Field(gt=0, description="Rows.")
    width: int = Field(gt=0, description="Columns.")
    kinds: tuple[Change, ...] = Field(description="How many pixels went from which class to which.")


class CorrectedWindow(BaseModel):
    """One window of a slide whose labels a person has corrected."""

    model_config = _FROZEN

    name: str = Field(min_length=1, description="Unique in the folder.")
    labels: str = Field(
        description="PNG of class values, 0 background, 255 no label; relative to the folder."
    )
    image: str | None = Field(
        default=None, description="PNG of the window's pixels; without it they are read from the slide."
    )
    slide: str = Field(description="Path of the slide, absolute or relative to the folder.")
    fingerprint: str = Field(description="Of the slide, which knows it again after a move.")
    y: float = Field(description="Upper edge of the window, level-0 px.")
    x: float = Field(description="Left edge of the window, level-0 px.")
    height: float = Field(gt=0, description="Of the window, level-0 px.")
    width: float = Field(gt=0, description="Of the window, level-0 px.")
    mpp: tuple[float, float] = Field(description="µm per pixel of the label image, (y, x).")
    patient: str | None = Field(default=None, description="Whose slide it is, where that is known.")
    author: str | None = Field(default=None, description="Who has corrected it.")
    time: str | None = Field(default=None, description="When it was committed, ISO 8601.")
    shape: tuple[int, int] | None = Field(default=None, description="Rows and columns of the label image.")
    changed: Changed | None = Field(
        default=None, description="What was changed; None where all was found right, or it is not known."
    )

    @property
    def region(self) -> Region:
        """The rectangle on the slide, level-0 px."""
        return Region(self.y, self.x, self.height, self.width)

    def grid(self, shape: tuple[int, int]) -> Grid:
        """Return the label image, of a shape (h, w), laid on the slide."""
        return Grid(shape, (self.height / shape[0], self.width / shape[1]), (self.y, self.x))


class Reverted(BaseModel):
    """A window that no longer counts; its files stay."""

    model_config = _FROZEN

    window: CorrectedWindow = Field(description="As it was committed.")
    author: str | None = Field(default=None, description="Who has reverted it.")
    time: str | None = Field(default=None, description="When, ISO 8601.")


class CorrectionIndex(BaseModel):
    """What `corrections.json` holds."""

    model_config = _FROZEN

    version: Literal[1] = Field(default=1, description="Of this format.")
    classes: ClassTable = Field(description="Values in the label images.")
    windows: tuple[CorrectedWindow, ...] = Field(
        description="The corrected windows in the order of their commits: a later one lies on top."
    )
    reverted: tuple[Reverted, ...] = Field(default=(), description="Windows that were taken back.")

    @model_validator(mode="after")
    def _named_once(self) -> CorrectionIndex:
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two windows are named {name!r}")
        return self

    @property
    def names(self) -> list[str]:
        """Names of all windows, the reverted ones included."""
        return [window.name for window in (*self.windows, *(item.window for item in self.reverted))]

    def write(self, folder: Path) -> None:
        """Write it into a folder; it is there whole or not at all."""
        write_text(folder / INDEX, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> CorrectionIndex:
        """Read it from a folder.

        Raises
        ------
        RunError
            When there is none, it is not of this format, or a newer version has written it.
        """
        try:
            text = (folder / INDEX).read_bytes()
            _require_known_version(folder, text)
            return cls.model_validate_json(text)
        except OSError as error:
            raise RunError(f"{folder} holds no {INDEX} that can be read: {error.strerror}.") from error
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"])) or "its JSON"
            raise RunError(f"{folder / INDEX} cannot be used: {place}: {problem['msg']}.") from error


def _require_known_version(folder: Path, text: bytes) -> None:
    version = newer_version(text, VERSION)
    if version is not None:
        raise RunError(
            f"{folder / INDEX} was written by a newer version of napari-lumen (format {version}, this one "
            f"reads {VERSION}). Update napari-lumen to use these corrections; nothing was changed."
        )
