"""Corrected windows of runs: a folder with an index, a label image a window, and images where they were kept.

The folder holds `corrections.json`, a `CorrectionIndex`, and the PNG files that it names. The label images
hold class values, 0 for background and 255 where nothing was looked at.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Window
from napari_lumen.slides import Slide, open_slide
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.files import Decoded, read_rgb
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.labelled_files import require_label_values, require_same_size
from napari_lumen.training.data.labelled_folder import read_class_values

INDEX = "corrections.json"


class CorrectedWindow(BaseModel):
    """One window of a slide whose labels a person has corrected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class CorrectionIndex(BaseModel):
    """What `corrections.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = Field(default=1, description="Of this format.")
    classes: ClassTable = Field(description="Values in the label images.")
    windows: tuple[CorrectedWindow, ...] = Field(description="The corrected windows.")

    @model_validator(mode="after")
    def _named_once(self) -> CorrectionIndex:
        names = [window.name for window in self.windows]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two windows are named {name!r}")
        return self

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        (folder / INDEX).write_text(self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> CorrectionIndex:
        """Read it from a folder.

        Raises
        ------
        RunError
            When there is none, or it is not of this format.
        """
        try:
            return cls.model_validate_json((folder / INDEX).read_text())
        except OSError as error:
            raise RunError(f"{folder} holds no {INDEX} that can be read: {error.strerror}.") from error
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"])) or "its JSON"
            raise RunError(f"{folder / INDEX} cannot be used: {place}: {problem['msg']}.") from error


class Corrections:
    """The corrected windows of a folder: an `ImageSet`.

    Parameters
    ----------
    folder : Path
    cache : TileCache, optional
        Of decoded files.

    Raises
    ------
    RunError
        When the folder cannot be used.
    """

    def __init__(self, folder: Path, *, cache: TileCache | None = None) -> None:
        index = CorrectionIndex.read(folder)
        require_label_values(index.classes)
        self.classes = index.classes
        self.items = tuple(
            Item(window.name, slide=window.fingerprint, patient=window.patient) for window in index.windows
        )
        self._folder, self._windows = folder, index.windows
        self._decoded = Decoded(cache)
        self._open: dict[str, Slide] = {}
        self._opening = Lock()

    def image(self, index: int) -> RGB:
        """Return the pixels of a window: uint8 (h, w, 3).

        Raises
        ------
        SlideError
            When the slide cannot be read.
        RunError
            When another slide lies there now.
        """
        window = self._windows[index]
        if window.image is not None:
            image = self._decoded.get(self._folder / window.image, read_rgb)
            require_same_size(window.name, image, self.labels(index))
            return image
        height, width = self.labels(index).shape
        grid = Grid((height, width), (window.height / height, window.width / width), (window.y, window.x))
        return self._slide(window).read_grid(grid, Window(0, 0, height, width))

    def labels(self, index: int) -> Labels:
        """Return the corrected class values of a window: uint8 (h, w)."""
        return self._decoded.get(self._folder / self._windows[index].labels, self._read_labels)

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, the mean of both axes."""
        return sum(self._windows[index].mpp) / 2

    def close(self) -> None:
        """Close the slides that were read."""
        with self._opening:
            for slide in self._open.values():
                slide.close()
            self._open.clear()

    def __enter__(self) -> Corrections:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_labels(self, path: Path) -> Labels:
        return read_class_values(path, self.classes)

    def _slide(self, window: CorrectedWindow) -> Slide:
        with self._opening:
            if window.slide not in self._open:
                url = "://" in window.slide
                slide = open_slide(window.slide if url else self._folder / window.slide)
                if slide.fingerprint != window.fingerprint:
                    slide.close()
                    raise RunError(
                        f"{window.slide} is not the slide on which {window.name!r} was corrected; put that "
                        "one back, or take the window out of the corrections."
                    )
                self._open[window.slide] = slide
            return self._open[window.slide]
