"""The OME-Zarr 0.5 folder of a run: https://ngff.openmicroscopy.org/0.5/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import ZstdCodec
from zarr.core.array_spec import ArrayConfigParams

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.geometry import Grid, Pair

_VERSION = "0.5"
_METADATA = "zarr.json"
# to look which chunks are empty takes zarr as long as to compress and write them; see `LiveRaster`
_AS_GIVEN: ArrayConfigParams = {"write_empty_chunks": True}


@dataclass(frozen=True)
class Pyramid:
    """The arrays of one raster, finest first: (h, w), or (channels, h, w).

    Attributes
    ----------
    folder : Path
        Of the run.
    path : str
        Group inside the folder.
    grid : Grid
        Of the finest level.
    arrays : tuple of zarr.Array
    block : int
        Pixels a side of what is one file, at each level.
    """

    folder: Path
    path: str
    grid: Grid
    arrays: tuple[zarr.Array[Any], ...]
    block: int

    @property
    def finest(self) -> Pyramid:
        """The finest level alone."""
        return replace(self, arrays=self.arrays[:1])


class RunStore:
    """Creates the rasters of a run in a folder, or opens them where an earlier session has created them.

    Metadata that a crash left damaged is written anew: it follows from the run, and the pixels stay.

    Parameters
    ----------
    folder : Path
    mpp : (float, float)
        µm per level-0 pixel of the slide.
    """

    def __init__(self, folder: Path, mpp: Pair) -> None:
        _drop_damaged(folder)
        self._folder = folder
        self._root = zarr.open_group(str(folder), mode="a", zarr_format=3)
        self._mpp = mpp

    def create(
        self,
        path: str,
        grid: Grid,
        levels: int,
        dtype: npt.DTypeLike,
        *,
        block: int,
        channels: int | None = None,
        together: bool = False,
        fill: float = 0,
        extra: dict[str, Any] | None = None,
    ) -> Pyramid:
        """Create the empty arrays of a pyramid whose every level is exactly twice as coarse, or open them.

        Parameters
        ----------
        path : str
            Group inside the folder.
        grid : Grid
            Of the finest level.
        levels : int
        dtype : numpy dtype
        block : int
            Pixels a side of what becomes one file; inside it, chunks can be read one by one.
        channels : int, optional
            Size of a first axis.
        together : bool
            Whether channels are read together; else one by one.
        fill : float
            Value of what is never written.
        extra : dict, optional
            Further OME metadata of the group.
        """
        for place in (*reversed(PurePosixPath(path).parents), PurePosixPath(path)):
            _drop_damaged(self._folder / place)
        group = self._root.require_group(path)
        lead = () if channels is None else (channels,)
        lead_chunk = lead if together else tuple(1 for _ in lead)
        arrays: list[zarr.Array[Any]] = []
        for level in range(levels):
            shape = grid.coarsened(2**level).shape
            name = f"{path}/{level}"
            _drop_damaged(self._folder / name)
            earlier = self._root.get(name)
            if isinstance(earlier, zarr.Array):
                arrays.append(earlier.with_config(_AS_GIVEN))
                continue
            # a shard has whole chunks, and never reaches a chunk beyond the array
            chunk = _chunk(block, max(shape))
            reach = -(-max(shape) // chunk) * chunk
            arrays.append(
                group.create_array(
                    str(level),
                    shape=(*lead, *shape),
                    chunks=(*lead_chunk, chunk, chunk),
                    shards=(*lead, min(block, reach), min(block, reach)),
                    dtype=np.dtype(dtype),
                    compressors=ZstdCodec(level=1),  # as small as of level 3, in half the time
                    fill_value=fill,
                    dimension_names=[*("c" for _ in lead), "y", "x"],
                    config=_AS_GIVEN,
                )
            )
        multiscales = self._multiscales(path, grid, levels, channels is not None, "")
        group.attrs["ome"] = {"version": _VERSION, "multiscales": multiscales, **(extra or {})}
        return Pyramid(self._folder, path, grid, tuple(arrays), block)

    def describe(self, probability: Pyramid, labels: Sequence[str]) -> None:
        """Make the folder itself an image, the probability, with a list of label images."""
        multiscales = self._multiscales(
            "run", probability.grid, len(probability.arrays), True, probability.path + "/"
        )
        self._root.attrs["ome"] = {"version": _VERSION, "multiscales": multiscales}
        self._root.require_group("labels").attrs["ome"] = {"version": _VERSION, "labels": list(labels)}

    def _multiscales(
        self, name: str, grid: Grid, levels: int, channels: bool, prefix: str
    ) -> list[dict[str, Any]]:
        lead_scale, lead_offset = ([1.0], [0.0]) if channels else ([], [])
        datasets = []
        for level in range(levels):
            coarse = grid.coarsened(2**level)
            datasets.append(
                {
                    "path": f"{prefix}{level}",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [*lead_scale, *coarse.scale(self._mpp)]},
                        {"type": "translation", "translation": [*lead_offset, *coarse.translate(self._mpp)]},
                    ],
                }
            )
        axes = [{"name": "c", "type": "channel"}] if channels else []
        axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
        return [{"name": name, "axes": axes, "datasets": datasets}]


def _drop_damaged(place: Path) -> None:
    """Remove the metadata of a group or an array that is no JSON."""
    file = place / _METADATA
    try:
        json.loads(file.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        file.unlink()


def _chunk(block: int, side: int) -> int:
    """Return the side of the chunks of a block: 512 px or the largest power of two that it is made of."""
    chunk = 512
    while chunk > 1 and (block % chunk or chunk >= 2 * side):
        chunk //= 2
    return chunk


def image_label(classes: ClassTable) -> dict[str, Any]:
    """Return the OME metadata that names and colours label values."""
    return {
        "image-label": {
            "colors": [{"label-value": item.value, "rgba": [*item.color, 255]} for item in classes],
            "properties": [{"label-value": item.value, "name": item.name} for item in classes],
            "source": {"image": "../../"},
        }
    }


def halve_mean(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reduce (..., 2h, 2w) of uint8 or floats to (..., h, w) by the mean of each block, NaN left out."""
    if values.dtype == np.uint8:
        rows = np.add(values[..., ::2, :], values[..., 1::2, :], dtype=np.uint16)
        total = rows[..., ::2] + rows[..., 1::2]
        total += ((total >> 2) & 1) + np.uint16(1)  # halves are rounded to the even number, as by `np.rint`
        return np.asarray(total >> 2, np.uint8)
    blocks = np.stack([values[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]).astype(np.float32)
    known = ~np.isnan(blocks)
    count = known.sum(axis=0)
    total = np.where(known, blocks, 0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), values.dtype)
