"""What can be asked of a conversion, and the sentences for what cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Region
from napari_lumen.slides.slide import Slide

TIFF_SUFFIXES = (".ome.tif", ".ome.tiff")
ZARR_SUFFIXES = (".ome.zarr", ".zarr")
SUFFIXES = (*TIFF_SUFFIXES, *ZARR_SUFFIXES)

_OME_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


def region_of(values: tuple[float, float, float, float]) -> Region:
    """Return a region from its four numbers."""
    try:
        return Region(*values)
    except (TypeError, ValueError) as error:
        raise SlideError(
            f"A region is (y, x, height, width) in pixels of level 0, not {values!r}."
        ) from error


def is_tiff(target: Path) -> bool:
    """Whether an OME-TIFF is asked for; else it is an OME-Zarr."""
    return target.name.lower().endswith(TIFF_SUFFIXES)


def compression_for(target: Path, slide: Slide, wanted: str | None, quality: int) -> str:
    """Return the compression of a target, or say in a SlideError why it cannot be."""
    name = target.name.lower()
    if not name.endswith(SUFFIXES) or name in SUFFIXES:
        raise SlideError(
            f"{target.name} is no name for a converted slide; it must end in .ome.tif (an OME-TIFF) or "
            ".ome.zarr (an OME-Zarr folder)."
        )
    if not 1 <= quality <= 100:
        raise SlideError(f"A JPEG quality lies between 1 and 100; {quality} does not.")
    if is_tiff(target):
        if slide.dtype.name not in _OME_TYPES:
            raise SlideError(
                f"{slide.path.name} holds {slide.dtype.name}, for which an OME-TIFF has no type. "
                "Write an OME-Zarr (.ome.zarr)."
            )
        is_photo = slide.is_rgb and slide.dtype == np.uint8
        allowed: tuple[str, ...] = ("jpeg", "deflate", "zstd") if is_photo else ("deflate", "zstd")
    else:
        allowed = ("zstd",)
    if wanted is not None and wanted not in allowed:
        raise SlideError(
            f"{target.name} cannot be compressed by {wanted!r}; what fits {slide.path.name} there is "
            f"{' or '.join(allowed)}."
        )
    return wanted or allowed[0]


def check_target(target: Path, slide: Slide, overwrite: bool) -> None:
    """Say in a SlideError why nothing can be written to a target."""
    try:
        _check_place(target, slide, overwrite)
    except OSError as error:
        raise SlideError(
            f"{target} cannot be written: {error.strerror or error}. Check your permissions, or choose "
            "another folder."
        ) from error


def _check_place(target: Path, slide: Slide, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise SlideError(f"There is no folder {target.parent} to write {target.name} into. Make it first.")
    if not (target.exists() or target.is_symlink()):
        return
    if target.resolve() == slide.path.resolve():
        raise SlideError(f"{target.name} is the slide itself; give the converted one another name.")
    if not overwrite:
        raise SlideError(f"{target} exists; choose another name, or allow that it is replaced (--overwrite).")
    ours = (
        target.is_file()
        if is_tiff(target)
        else (target / "zarr.json").is_file() or (target / ".zgroup").is_file()
    )
    if not ours:
        raise SlideError(f"{target} is no {'file' if is_tiff(target) else 'Zarr image'}; it is not replaced.")
