"""Whole-slide images: opening, reading and their geometry."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.errors import SlideError
from napari_lumen.slides.level import Channel, Level
from napari_lumen.slides.location import located
from napari_lumen.slides.pixel_size import given_mpp, remembered_mpp
from napari_lumen.slides.slide import Slide

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lumen.slides.dicom_series import Series

__all__ = ["PICTURE_SUFFIXES", "SUFFIXES", "Channel", "Level", "Slide", "open_slide"]

SUFFIXES = (
    ".svs",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".bif",
    ".vms",
    ".vmu",
    ".svslide",
    ".czi",
    ".tif",
    ".tiff",
    ".ome.tif",
    ".ome.tiff",
    ".btf",
    ".qptiff",
    ".dcm",
    ".dicom",
)
# opened when asked for; the window leaves them to napari
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_DIRECT = (".svs", ".tif", ".tiff", ".btf", ".qptiff")
_RUN_FILE = "run.json"
_ZARR_FILES = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


def open_slide(path: str | os.PathLike[str], mpp: float | tuple[float, float] | None = None) -> Slide:
    """Open a whole-slide image.

    Parameters
    ----------
    path : str or path
        A slide file or a plain picture, a folder that holds one DICOM slide or an OME-Zarr image, or the URL
        of an OME-Zarr image.
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
    place = located(path)
    slide = _open_url(place) if isinstance(place, str) else _open(place)
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
            return _open_zarr(path) if _is_zarr(path) else _open_folder(path)
        if path.stat().st_size == 0:
            raise SlideError(f"{path.name} is empty (0 bytes). Copy or download it again.")
        return _open_file(path)
    except OSError as error:
        raise SlideError(
            f"{path.name} cannot be read: {error.strerror or error}. Check the disk and your permissions."
        ) from error


def _is_zarr(folder: Path) -> bool:
    names = (*_ZARR_FILES, _RUN_FILE)
    return folder.suffix.lower() == ".zarr" or any((folder / name).is_file() for name in names)


def _open_zarr(folder: Path) -> Slide:
    from napari_lumen.slides.omezarr import OmeZarrSlide

    if (folder / _RUN_FILE).is_file():
        raise SlideError(
            f"{folder.name} is a finished run, not a slide; drop it on napari to see what was found."
        )
    return OmeZarrSlide(folder)


def _open_url(url: str) -> Slide:
    suffix = Path(url).suffix.lower()
    if suffix in SUFFIXES or suffix in PICTURE_SUFFIXES:
        raise SlideError(
            f"{Path(url).name} cannot be read from where it is: only OME-Zarr is read from a URL. "
            "Download the file and open that."
        )
    from napari_lumen.slides.omezarr import OmeZarrSlide

    return OmeZarrSlide(url)


def _open_file(path: Path) -> Slide:
    if path.suffix.lower() in PICTURE_SUFFIXES:
        from napari_lumen.slides.picture import PictureSlide

        return PictureSlide(path)
    if path.suffix.lower() not in _DIRECT:
        from napari_lumen.slides.dicom_instance import is_dicom

        if path.suffix.lower() in (".dcm", ".dicom") or is_dicom(path):
            from napari_lumen.slides.dicom_series import series_of

            return _open_dicom(path, series_of)
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
        from napari_lumen.slides.picture import PictureSlide

        with suppress(SlideError):
            return PictureSlide(path)
        raise SlideError(
            f"{path.name} cannot be opened as a slide: {reason}. Check that it was copied whole, "
            "or re-export it from the scanner."
        ) from error


def _open_folder(path: Path) -> Slide:
    """Open the one DICOM slide in a folder."""
    from napari_lumen.slides.dicom_series import series_in

    return _open_dicom(path, series_in)


def _open_dicom(path: Path, gather: Callable[[Path], Series]) -> Slide:
    """Open a DICOM slide directly, or by OpenSlide where it is of a kind that is not read so."""
    from napari_lumen.slides.dicom import DicomSlide
    from napari_lumen.slides.dicom_errors import UnsupportedDicomError

    file = path
    try:
        series = gather(path)
        file = series.volumes[0].path
        return DicomSlide(path, series)
    except UnsupportedDicomError as error:
        from napari_lumen.slides.vendor import OpenSlideSlide

        try:
            return OpenSlideSlide(path, file)
        except SlideError:
            raise SlideError(
                f"{path.name} cannot be opened as a slide: {error}. Re-export it as 8-bit RGB."
            ) from error
