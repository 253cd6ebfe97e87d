"""Writing an OME-Zarr 0.5 image: chunks at their place, without loss."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from napari_lumen.slides.convert.plan import TILE, Block, Pixels, Plan
from napari_lumen.slides.convert.target import Facts, Target, Tell
from napari_lumen.slides.convert.work import WorkFolder
from napari_lumen.slides.level import Channel
from napari_lumen.slides.omezarr_metadata import OWN_KEY

COMPRESSIONS = ("zstd",)

_VERSION = "0.5"
_CREATED = "created"  # a line of the ledger: before it, arrays may be missing
_WHITE = 255
_ZSTD_LEVEL = 3
_RGB = (Channel("red", (255, 0, 0)), Channel("green", (0, 255, 0)), Channel("blue", (0, 0, 255)))


class ZarrTarget(Target):
    """An OME-Zarr image (c, y, x) in chunks of 512 px, three channels of RGB together.

    Parameters
    ----------
    work : WorkFolder
    plan : Plan
    facts : Facts
    """

    def __init__(self, work: WorkFolder, plan: Plan, facts: Facts) -> None:
        self.plan = plan
        self._work, self._facts = work, facts
        self._path = work.path / "image.zarr"
        if _CREATED in work.done and self._path.is_dir():
            for left in self._path.rglob("*.partial"):  # zarr's own, of the chunk at which it was killed
                left.unlink()
            root = zarr.open_group(str(self._path), mode="r+")
        else:
            work.forget()
            shutil.rmtree(self._path, ignore_errors=True)
            root = zarr.create_group(str(self._path), zarr_format=3)
            for level, shape in enumerate(plan.shapes):
                self._create(root, level, shape)
            work.commit(_CREATED)
        self._root = root
        self._arrays = [root[str(level)] for level in range(len(plan.shapes))]

    def _create(self, root: zarr.Group, level: int, shape: tuple[int, int]) -> None:
        together = 1 if self._facts.channels else 3
        root.create_array(
            str(level),
            shape=(self.plan.samples, *shape),
            chunks=(together, min(TILE, shape[0]), min(TILE, shape[1])),
            dtype=self.plan.dtype,
            compressors=ZstdCodec(level=_ZSTD_LEVEL),
            fill_value=0 if self._facts.channels else _WHITE,  # what was never scanned is glass
            dimension_names=["c", "y", "x"],
        )

    def write(self, level: int, row: int, column: int, pixels: Pixels, *, keep: bool) -> None:
        """Write a chunk."""
        rows, columns = self.plan.window(level, row, column).slices
        self._array(level)[:, rows, columns] = np.stack(
            [pixels[..., channel] for channel in range(pixels.shape[2])]
        )

    def kept(self, level: int, row: int, column: int) -> Pixels:
        """Read a chunk."""
        rows, columns = self.plan.window(level, row, column).slices
        return np.asarray(self._array(level)[:, rows, columns]).transpose(1, 2, 0)

    def commit(self, block: Block) -> None:
        """Record a block."""
        self._work.commit(block.key)

    def is_done(self, block: Block) -> bool:
        """Whether a block was recorded."""
        return block.key in self._work.done

    def finish(self, tell: Tell) -> Path:
        """Describe the image."""
        self._root.attrs["ome"] = {
            "version": _VERSION,
            "multiscales": [self._multiscale()],
            "omero": {"channels": self._channels(), "rdefs": {"model": "color"}},
        }
        own: dict[str, Any] = {}
        if self._facts.magnification is not None:
            own["magnification"] = self._facts.magnification
        if self._facts.icc_profile is not None:
            own["icc_profile"] = base64.b64encode(self._facts.icc_profile).decode()
        if own:
            self._root.attrs[OWN_KEY] = own
        return self._path

    def _array(self, level: int) -> zarr.Array[Any]:
        array = self._arrays[level]
        assert isinstance(array, zarr.Array)
        return array

    def _multiscale(self) -> dict[str, Any]:
        mpp = self.plan.mpp or (1.0, 1.0)
        datasets = []
        for level in range(len(self.plan.shapes)):
            step = 2**level
            # the format places pixel centres, and that of the first pixel of level 0 is its origin
            shift = [(step - 1) / 2 * size for size in mpp]
            datasets.append(
                {
                    "path": str(level),
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1.0, *(step * size for size in mpp)]},
                        {"type": "translation", "translation": [0.0, *shift]},
                    ],
                }
            )
        axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}]
        unit = {"unit": "micrometer"} if self.plan.mpp else {}
        axes += [{"name": axis, "type": "space", **unit} for axis in "yx"]
        return {"name": self._facts.name, "axes": axes, "datasets": datasets, "type": "mean"}

    def _channels(self) -> list[dict[str, Any]]:
        """Return names, colours and what to show black and white, by the range of the coarsest level."""
        coarsest = np.asarray(self._array(-1)[:]) if self._facts.channels else None
        listed = []
        for index, channel in enumerate(self._facts.channels or _RGB):
            low, high = 0.0, float(_WHITE)
            least, most = low, high
            if coarsest is not None:
                known = coarsest[index][np.isfinite(coarsest[index])]
                low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
                least, most = low, high
                if self.plan.dtype.kind in "ui":
                    limits = np.iinfo(self.plan.dtype)
                    least, most = float(limits.min), float(limits.max)
            listed.append(
                {
                    "label": channel.name,
                    "color": "{:02X}{:02X}{:02X}".format(*channel.color),
                    "active": True,
                    "window": {"min": least, "max": most, "start": low, "end": high},
                }
            )
        return listed
