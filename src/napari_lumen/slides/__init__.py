"""Whole-slide images: opening, reading and their geometry."""

from __future__ import annotations

import os
from pathlib import Path

from napari_lumen.errors import SlideError
from napari_lumen.slides.level import Channel, Level
from napari_lumen.slides.pixel_size import given_mpp, remembered_mpp
from napari_lumen.slides.slide import Slide

__all__ = ["SUFFIXES", "Channel", "Level", "Slide", "open_slide"]

SUFFIXES = (
    ".svs",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".bif",
    ".vms",
    ".vmu",
    ".svslide",
    ".tif",
    ".tiff",
    ".ome.tif",
    ".ome.tiff",
    ".btf",
    ".qptiff",
    ".dcm",
    ".dicom",
)
_DIRECT = (".svs", ".tif", ".tiff", ".btf", ".qptiff")


def open_slide(path: str | os.PathLike[str], mpp: float | tuple[float, float] | None = None) -> Slide:
    """Open a whole-slide image.

    Parameters
    ----------
    path : str or path
        A slide file, or a folder that holds one DICOM slide.
    mpp : float or (float, float), optional
        µm per level-0 pixel, (y, x), where the file states none or a wrong one. Without it, a slide that
        states none has the size that the user once gave for it in the window or on the command line.

    Returns
    -------
    Slide
        By the fastest backend that can read it; a context manager.

    Raises
    ------
    SlideError
        One sentence: the file, the reason and what to do.
    """
    place = Path(path).expanduser()
    slide = _open(place)
    if mpp is not None:
        slide.mpp, slide.mpp_given = given_mpp(mpp), True
    elif slide.mpp is None and (known := remembered_mpp(slide.fingerprint)) is not None:
        slide.mpp, slide.mpp_given = known, True
    return slide


def _open(path: Path) -> Slide:
    try:
        if not path.exists():
            raise SlideError(f"There is no file {path}. Check the path.")
        if path.is_dir():
            return _open_folder(path)
        if path.stat().st_size == 0:
            raise SlideError(f"{path.name} is empty (0 bytes). Copy or download it again.")
        return _open_file(path)
    except OSError as error:
        raise SlideError(
            f"{path.name} cannot be read: {error.strerror or error}. Check the disk and your permissions."
        ) from error


def _open_file(path: Path) -> Slide:
    reason = None
    if path.suffix.lower() in _DIRECT:
        from napari_lumen.slides.tiff import TiffSlide, UnsupportedLayoutError

        try:
            return TiffSlide(path)
        except UnsupportedLayoutError as error:
            reason = str(error)
    from napari_lumen.slides.vendor import OpenSlideSlide

    try:
        slide = OpenSlideSlide(path)
        if slide.mpp is None and reason is not None:
            from napari_lumen.slides.tiff import stated_pixel_size

            slide.mpp = stated_pixel_size(path)
        return slide
    except SlideError as error:
        if reason is None:
            raise
        raise SlideError(
            f"{path.name} cannot be opened as a slide: {reason}. Check that it was copied whole, "
            "or re-export it from the scanner."
        ) from error


def _open_folder(path: Path) -> Slide:
    """Open the DICOM slide in a folder by the first of its files that OpenSlide recognises."""
    import openslide

    from napari_lumen.slides.vendor import OpenSlideSlide

    for file in sorted(path.iterdir()):
        if file.is_file() and openslide.OpenSlide.detect_format(str(file)) == "dicom":
            return OpenSlideSlide(path, file)
    raise SlideError(f"The folder {path.name} holds no DICOM slide. Choose the slide file itself.")
