"""A finished run: the folder that holds what a model said of a slide, and its record `run.json`."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Pair
from napari_lumen.inference.folder import NewerRunError, refuse_newer
from napari_lumen.models.card import ModelCard
from napari_lumen.stain.normalisation import ColourStatistics, Dyes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da
    import pandas as pd

RUN_FILE = "run.json"
Kind = Literal["labels", "probability", "attention"]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class RasterRecord(BaseModel):
    """One raster of a run: where it lies in the folder and on the slide."""

    model_config = _FROZEN

    name: str = Field(description="Class or attention map that it shows; 'classes' for the labels.")
    kind: Kind = Field(description="How to show it.")
    path: str = Field(description="Group inside the run folder; levels are its arrays 0, 1, ...")
    channel: int | None = Field(default=None, description="Index on the first axis; None without one.")
    shapes: tuple[tuple[int, int], ...] = Field(description="Height and width of each level.")
    step: Pair = Field(description="Level-0 pixels of the slide per pixel of level 0, (y, x).")
    origin: Pair = Field(default=(0.0, 0.0), description="Upper left edge on the slide, level-0 px (y, x).")
    description: str = Field(description="One sentence for the tooltip.")


class FileRecord(BaseModel):
    """One file of a run beside its rasters."""

    model_config = _FROZEN

    name: str = Field(description="What it holds, e.g. the attention that its boxes are of.")
    kind: Literal["boxes", "table", "objects"] = Field(
        description="boxes: outlines with a score, QuPath GeoJSON in level-0 px; table: CSV, a row a tile; "
        "objects: Parquet, a row an object."
    )
    path: str = Field(description="File inside the run folder.")
    description: str = Field(description="One sentence for the tooltip.")


class ClassCount(BaseModel):
    """What was found of one class."""

    model_config = _FROZEN

    name: str = Field(description="Class.")
    objects: int | None = Field(
        description="Objects of at least `min_object_um2`; None where the model finds areas, not objects."
    )
    area_mm2: float = Field(description="Area of the class in mm².")


class Session(BaseModel):
    """One stretch of work on a run: from a call to its end, or to when it last wrote before it was killed."""

    model_config = _FROZEN

    started: str = Field(description="ISO 8601.")
    device: str = Field(description="Device that the network ran on.")
    batch: int = Field(description="Tiles that went through the network together.")
    tiles: int = Field(description="Tiles that went through the network.")
    seconds: dict[str, float] = Field(description="Wall time by stage.")
    busy: float = Field(description="Share of the time of `running the model` in which it computed.")
    versions: dict[str, str] = Field(description="Versions of the software.")


class FailedTile(BaseModel):
    """A tile that could not be read, or for which the network answered no number."""

    model_config = _FROZEN

    y: float = Field(description="Upper edge, level-0 px.")
    x: float = Field(description="Left edge, level-0 px.")
    height: float = Field(description="Level-0 px.")
    width: float = Field(description="Level-0 px.")
    why: str = Field(description="What the slide's reader said, or what is wrong with the answer.")


class RunRecord(BaseModel):
    """The whole of `run.json`."""

    model_config = _FROZEN

    format: Literal[1] = Field(default=1, description="Version of this record.")
    slide: str = Field(description="Path of the slide when the run was made.")
    fingerprint: str = Field(description="Fingerprint of the slide.")
    slide_shape: tuple[int, int] = Field(description="Height and width of the slide's level 0, px.")
    mpp: Pair = Field(description="µm per level-0 pixel (y, x) that the run used.")
    mpp_source: Literal["slide", "user"] = Field(description="Where the pixel size came from.")
    model: str = Field(description="Name of the model.")
    model_title: str = Field(description="Name shown in lists.")
    weights_sha256: str = Field(description="Checksum of the model's weights.")
    model_mpp: float = Field(description="µm per pixel at which the model ran.")
    classes: ClassTable = Field(description="Classes of the labels.")
    region: tuple[float, float, float, float] | None = Field(
        default=None, description="y, x, height, width of the part asked for, level-0 px; None: all tissue."
    )
    rasters: tuple[RasterRecord, ...] = Field(description="What the folder holds.")
    files: tuple[FileRecord, ...] = Field(default=(), description="What it holds beside rasters.")
    counts: tuple[ClassCount, ...] = Field(description="What was found, by class.")
    min_object_um2: float = Field(description="Smaller connected areas are not counted.")
    analysed_mm2: float = Field(description="Area of the slide that the model saw and answered for, mm².")
    tiles: int = Field(description="Tiles of the plan.")
    tile: int = Field(description="Side of a tile of the first view, px at `model_mpp`.")
    overlap: int = Field(description="What neighbouring tiles share, px at `model_mpp`.")
    failed_tiles: tuple[FailedTile, ...] = Field(
        default=(), description="Tiles that could not be read twice; what they cover alone is left open."
    )
    card: ModelCard = Field(description="The model's card.")
    stain: Dyes | ColourStatistics | None = Field(
        default=None,
        description="Stain of the slide, found by the card's method, from which tiles were brought to the "
        "card's; None where they were read as they are.",
    )
    warnings: tuple[str, ...] = Field(default=(), description="What the reader of the results should know.")
    sessions: tuple[Session, ...] = Field(description="One, or more where the run was resumed.")
    seed: int | None = Field(default=None, description="None: nothing in the run is random.")

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage, all sessions together."""
        total: dict[str, float] = {}
        for session in self.sessions:
            for stage, seconds in session.seconds.items():
                total[stage] = total.get(stage, 0.0) + seconds
        return total

    @property
    def device(self) -> str:
        """Devices that the network ran on."""
        return ", ".join(dict.fromkeys(session.device for session in self.sessions))

    @property
    def started(self) -> str:
        """Time of the first start, ISO 8601."""
        return self.sessions[0].started


@dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes
    ----------
    path : Path
        The folder: an OME-Zarr 0.5 image with `labels/classes`, `probability`, `attention/<name>` and
        `run.json`; of a segmentation also `analysed`, 255 where the model answered and 0 elsewhere.
    record : RunRecord
    """

    path: Path
    record: RunRecord

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open a run folder.

        Raises
        ------
        RunError
            When the folder holds no finished run, or its record is damaged or of a newer version.
        """
        folder = Path(path)
        file = folder / RUN_FILE
        try:
            text = file.read_bytes()
            refuse_newer(text, folder)
            return cls(folder, RunRecord.model_validate_json(text))
        except OSError as error:
            raise RunError(
                f"{folder} holds no finished run: {RUN_FILE} cannot be read ({error.strerror}). "
                "Run it again with that folder; it goes on from what is finished."
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or RUN_FILE
            raise RunError(f"{file} is damaged: field {field!r}: {first['msg']}. Run it again.") from error

    @classmethod
    def ended_in(cls, folder: Path) -> Run | None:
        """Return the run of a folder that has ended; None where none has, or its record is damaged.

        Such a record is written anew by the same run.

        Raises
        ------
        NewerRunError
            When it was written by a newer version.
        """
        try:
            return cls.open(folder)
        except NewerRunError:
            raise
        except RunError:
            return None

    @property
    def slide_name(self) -> str:
        """Name of the slide's file, without what follows its first dot."""
        return re.split(r"[/\\]", self.record.slide.rstrip("/\\"))[-1].partition(".")[0]

    @property
    def labels(self) -> RasterRecord:
        """The class labels."""
        return next(raster for raster in self.record.rasters if raster.kind == "labels")

    @property
    def tiles(self) -> Grid:
        """The grid of which every pixel is the part of a tile that is its own, level-0 px."""
        record, labels = self.record, self.grid(self.labels)
        own = record.tile - record.overlap
        step = (own * record.model_mpp / record.mpp[0], own * record.model_mpp / record.mpp[1])
        rows, columns = (
            max(1, math.ceil(side / size - 1e-6))
            for side, size in zip((labels.region.height, labels.region.width), step, strict=True)
        )
        return Grid((rows, columns), step, labels.origin)

    def levels(self, raster: RasterRecord) -> list[da.Array]:
        """Return the pyramid of a raster, finest first, as lazy arrays (h, w).

        Labels are uint8. Probabilities are stored as uint8 steps of 1/255, attention as float16; both
        come out as float32, and attention is NaN where the model did not run.
        """
        import numpy as np

        from napari_lumen.inference.stored_array import stored_array

        arrays = []
        for index in range(len(raster.shapes)):
            array = stored_array(self.path / raster.path / str(index))
            if raster.channel is not None:
                array = array[raster.channel]
            if raster.kind == "probability":
                array = array.astype(np.float32) / np.float32(255)
            elif raster.kind == "attention":
                array = array.astype(np.float32)
            arrays.append(array)
        return arrays

    def objects(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the objects that were found, one a row.

        Parameters
        ----------
        columns : sequence of str, optional
            Those to read; all when left out.

        Returns
        -------
        DataFrame
            `id`, `class`, `centroid_y_um`, `centroid_x_um`, `area_um2`, `perimeter_um` (holes included),
            `eccentricity` and `solidity` (0 to 1), `mean_probability` (of the class, 0 to 1); in level-0 px
            `centroid_y_px`, `centroid_x_px`, the edges `top_px`, `left_px`, `bottom_px`, `right_px` of the
            bounding box, and the `outline` as WKB in (x, y); where an object is all edge, as noise is, the
            boxes of its parts. µm are level-0 px times `record.mpp`.

        Raises
        ------
        RunError
            When the run has no table of objects, or it is damaged.
        """
        from napari_lumen.inference.object_table import read_objects

        return read_objects(self.path, columns)

    @staticmethod
    def grid(raster: RasterRecord) -> Grid:
        """The finest level of a raster laid on the slide; level k is coarser by exactly 2**k."""
        return Grid(raster.shapes[0], raster.step, raster.origin)
