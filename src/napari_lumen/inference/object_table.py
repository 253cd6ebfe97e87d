"""The table of the objects of a run: `objects.parquet`, and what it is exported to."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as parquet
import shapely

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import RunError, first_line
from napari_lumen.geometry import Grid, Pair
from napari_lumen.inference.measures import Objects

if TYPE_CHECKING:
    import pandas as pd

    from napari_lumen.inference.run import Run

OBJECTS_FILE = "objects.parquet"

_OUTLINE = "outline"
# what a row holds; µm are level-0 px times the pixel size, from the upper left edge of the slide
_COLUMNS = {
    "id": pa.int64(),
    "class": pa.string(),
    "centroid_y_um": pa.float64(),
    "centroid_x_um": pa.float64(),
    "area_um2": pa.float64(),
    "perimeter_um": pa.float64(),
    "eccentricity": pa.float64(),
    "solidity": pa.float64(),
    "mean_probability": pa.float64(),
    "centroid_y_px": pa.float64(),
    "centroid_x_px": pa.float64(),
    "top_px": pa.float64(),
    "left_px": pa.float64(),
    "bottom_px": pa.float64(),
    "right_px": pa.float64(),
    _OUTLINE: pa.binary(),
}
# so that GeoPandas and QGIS open it: https://geoparquet.org/releases/v1.1.0/
_GEO = {
    "version": "1.1.0",
    "primary_column": _OUTLINE,
    "columns": {
        _OUTLINE: {
            "encoding": "WKB",
            "geometry_types": ["Polygon", "MultiPolygon"],
            "crs": None,
            "edges": "planar",
        }
    },
}
_SCHEMA = pa.schema(list(_COLUMNS.items()), metadata={"geo": json.dumps(_GEO)})

_MEASUREMENTS = {  # named as QuPath names its own
    "area_um2": "Area µm^2",
    "perimeter_um": "Perimeter µm",
    "eccentricity": "Eccentricity",
    "solidity": "Solidity",
    "mean_probability": "Mean probability",
}
_FORMATS = (".csv", ".parquet", ".geojson", ".geojson.gz")


class ObjectTable:
    """Writes the table of a run, some rows at a time; the file is there when all of them are.

    Parameters
    ----------
    folder : Path
        Of the run.
    grid : Grid
        That objects are measured on; its pixels are squares on the slide.
    mpp : (float, float)
        µm per level-0 pixel (y, x).
    classes : ClassTable
    """

    def __init__(self, folder: Path, grid: Grid, mpp: Pair, classes: ClassTable) -> None:
        self._file = folder / OBJECTS_FILE
        self._partial = folder / f".{OBJECTS_FILE}.partial"
        self._grid = grid
        self._mpp = np.array(mpp)
        self._names = {item.value: item.name for item in classes}
        self._rows = 0

    def __enter__(self) -> ObjectTable:
        self._writer = parquet.ParquetWriter(self._partial, _SCHEMA, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if kind is None:
                with self._partial.open("rb") as written:
                    os.fsync(written.fileno())
                self._partial.replace(self._file)
        finally:
            self._partial.unlink(missing_ok=True)

    def add(self, objects: Objects) -> None:
        """Append objects; they are numbered from 1 in the order in which they come."""
        if not len(objects):
            return
        step, origin = np.array(self._grid.step), np.array(self._grid.origin)
        side = float(np.sqrt(np.prod(step * self._mpp)))  # of a pixel, µm
        centroid = origin + objects.centroid * step
        centroid_um = centroid * self._mpp
        box = np.tile(origin, 2) + objects.box * np.tile(step, 2)
        outlines = shapely.transform(objects.outline, lambda xy: origin[::-1] + xy * step[::-1])
        values: dict[str, Any] = {
            "id": np.arange(self._rows, self._rows + len(objects)) + 1,
            "class": [self._names[value] for value in objects.value.tolist()],
            "centroid_y_um": centroid_um[:, 0],
            "centroid_x_um": centroid_um[:, 1],
            "area_um2": objects.area * side**2,
            "perimeter_um": objects.perimeter * side,
            "eccentricity": objects.eccentricity,
            "solidity": objects.solidity,
            "mean_probability": objects.probability / (255 * objects.area),
            "centroid_y_px": centroid[:, 0],
            "centroid_x_px": centroid[:, 1],
            **{f"{edge}_px": box[:, index] for index, edge in enumerate(("top", "left", "bottom", "right"))},
            _OUTLINE: shapely.to_wkb(outlines),
        }
        self._writer.write_table(pa.table(values, schema=_SCHEMA))
        self._rows += len(objects)


def read_objects(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the table of a run; see `Run.objects`."""
    with _opened(folder) as file:
        unknown = [name for name in columns or () if name not in file.schema_arrow.names]
        if unknown:
            raise RunError(
                f"The objects of {folder} have no column {unknown[0]!r}. Choose from "
                f"{', '.join(file.schema_arrow.names)}."
            )
        return file.read(None if columns is None else list(columns)).to_pandas()


def export_objects(run: Run, path: str | os.PathLike[str]) -> int:
    """Write the objects of a run to a file of its own; it appears when it is whole.

    Parameters
    ----------
    run : Run
    path : path
        Its ending says what it becomes: ``.csv``, all columns but the outline; ``.parquet``, the table as it
        is, which GeoPandas opens too; ``.geojson`` or ``.geojson.gz``, detections for QuPath with their
        measurements and class colours.

    Returns
    -------
    int
        How many objects there are.

    Raises
    ------
    RunError
        When the run has no table of objects, the ending is another one, or the file cannot be written.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(_FORMATS):
        raise RunError(
            f"{path} does not say what to write: it should end in {', '.join(_FORMATS[:-1])} "
            f"or {_FORMATS[-1]}."
        )
    with _opened(run.path) as file:
        if name.endswith(".csv"):
            with _replacing(path) as partial:
                _write_csv(file, partial)
        elif name.endswith(".parquet"):
            with _replacing(path) as partial, parquet.ParquetWriter(partial, _SCHEMA) as writer:
                for batch in file.iter_batches():
                    writer.write_batch(batch)
        else:
            write_geojson(path, _annotations(file, run.record.classes))
        return int(file.metadata.num_rows)


def _write_csv(file: parquet.ParquetFile, path: Path) -> None:
    names = [name for name in _COLUMNS if name != _OUTLINE]
    schema = pa.schema([(name, _COLUMNS[name]) for name in names])
    with pyarrow.csv.CSVWriter(path, schema) as writer:
        for batch in file.iter_batches(columns=names):
            writer.write_batch(batch.cast(schema))


def _annotations(file: parquet.ParquetFile, classes: ClassTable) -> Iterator[Annotation]:
    for batch in file.iter_batches(columns=["id", "class", *_MEASUREMENTS, _OUTLINE]):
        outlines: npt.NDArray[np.object_] = shapely.from_wkb(batch.column(_OUTLINE).to_numpy(False))
        for outline, row in zip(outlines, batch.drop_columns([_OUTLINE]).to_pylist(), strict=True):
            yield Annotation(
                outline,
                row["class"],
                classes[row["class"]].color,
                str(row["id"]),
                "detection",
                {name: row[column] for column, name in _MEASUREMENTS.items()},
            )


@contextmanager
def _opened(folder: Path) -> Iterator[parquet.ParquetFile]:
    path = folder / OBJECTS_FILE
    try:
        file = parquet.ParquetFile(path)
    except FileNotFoundError as error:
        if _was_written(folder):
            raise RunError(
                f"{path} is gone. Run the model again with that folder: what is lost is made anew."
            ) from error
        raise RunError(
            f"The run in {folder} has no table of objects: its model finds areas, not objects. "
            "Use its labels instead."
        ) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(
            f"{path} cannot be read: {first_line(error)}. Delete that file, and run the model again with "
            "that folder: it is made anew."
        ) from error
    with file:
        yield file


def _was_written(folder: Path) -> bool:
    """Whether a run had a table of objects when it ended, by its record."""
    from napari_lumen.inference.run import Run  # it reads tables by this module

    run = Run.ended_in(folder)
    return run is not None and any(file.kind == "objects" for file in run.record.files)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a file beside another that takes its place when the block ends well."""
    partial: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as raw:
            partial = Path(raw.name)
        yield partial
        partial.chmod(0o644)
        partial.replace(path)
        partial = None
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
