"""An array of a run as it lies on disk, lazily; what is damaged is told in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import zarr

from napari_lumen.errors import RunError, first_line


def stored_array(place: Path) -> da.Array:
    """Return one level of a raster.

    Raises
    ------
    RunError
        When it is gone or damaged; for a single file of it, when that is read.
    """
    try:
        array = zarr.open_array(str(place), mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{place} of the run is gone or damaged. Run it again with that folder: what is lost is answered "
            "anew."
        ) from error
    # no name made of the path: another run may lie there later, and what is computed is kept by name
    lazy: da.Array = da.from_array(_Stored(array, place), chunks=array.chunks, name=False)
    return lazy


@dataclass(frozen=True, eq=False)
class _Stored:
    array: zarr.Array[Any]
    place: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        try:
            return np.asarray(self.array[key])
        except (MemoryError, IndexError):
            raise
        except Exception as error:  # zarr and its codecs raise types of their own
            raise RunError(
                f"A file in {self.place} of the run cannot be read: {first_line(error)}. Delete that folder, "
                "and run the model again with the folder of the run: what is lost is answered anew."
            ) from error
