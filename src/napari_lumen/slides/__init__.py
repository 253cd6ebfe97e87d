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
_TIFF = (".svs", ".tif", ".tiff", ".btf", ".qptiff")
_DICOM = (".dcm", ".dicom")
_VENDORS_TIFF = (".ndpi", ".scn", ".bif")  # of their own kind, beyond 4 GB or with tiles that overlap
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
    if not os.fspath(path):
        raise SlideError("No slide is named. Give the path of a file or a folder, or the URL of an OME-Zarr.")
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
        if not path.is_file():
            raise SlideError(f"{path.name} is not a file. Give the slide file itself.")
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
    from napari_lumen.slides.omezarr_url import OmeZarrUrlSlide

    return OmeZarrUrlSlide(url)


def _open_file(path: Path) -> Slide:
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        from napari_lumen.slides.picture import PictureSlide

        return PictureSlide(path)
    if suffix not in _TIFF:
        from napari_lumen.slides.dicom_instance import is_dicom

        if suffix in _DICOM or is_dicom(path):
            from napari_lumen.slides.dicom_series import series_of

            return _open_dicom(path, series_of)
    from napari_lumen.slides.tiff_directory import HEADS

    with path.open("rb") as file:
        is_tiff = file.read(4) in HEADS
    if suffix in _TIFF or (is_tiff and suffix not in _VENDORS_TIFF):
        return _open_tiff(path)
    from napari_lumen.slides.vendor import OpenSlideSlide

    return OpenSlideSlide(path)


def _open_tiff(path: Path) -> Slide:
    """Open a TIFF directly, or else by a reader that shows it as it is."""
    from napari_lumen.slides.tiff import TiffSlide, UnsupportedLayoutError, stated_pixel_size

    try:
        return TiffSlide(path)
    except UnsupportedLayoutError as error:
        for reader in _other_readers(path):
            with suppress(SlideError):
                slide = reader(path)
                slide.mpp = stated_pixel_size(path) or slide.mpp
                return slide
        raise SlideError(
            f"{path.name} cannot be opened as a slide: {error}. Check that it was copied whole, "
            "or re-export it from the scanner."
        ) from error


def _other_readers(path: Path) -> tuple[Callable[[Path], Slide], ...]:
    """Return who else may read a TIFF; OpenSlide makes 8-bit colours even of signed and of deep values."""
    from openslide import OpenSlide

    from napari_lumen.slides.picture import PictureSlide
    from napari_lumen.slides.picture_tiff import samples_of_8_bits
    from napari_lumen.slides.vendor import OpenSlideSlide

    is_vendors = OpenSlide.detect_format(path) != "generic-tiff"
    samples = samples_of_8_bits(path)
    if is_vendors or samples >= 3:
        return OpenSlideSlide, PictureSlide
    return (PictureSlide, OpenSlideSlide) if samples else (PictureSlide,)


def _open_folder(path: Path) -> Slide:
    """Open the one DICOM slide in a folder."""
    from napari_lumen.slides.dicom_series import series_in

    return _open_dicom(path, series_in)


def _open_dicom(path: Path, gather: Callable[[Path], Series]) -> Slide:
    """Open a DICOM slide directly, or by OpenSlide where it is of a kind that is not read so."""
    from napari_lumen.slides.dicom import DicomSlide
    from napari_lumen.slides.dicom_errors import UnsupportedDicomError

    files: tuple[Path, ...] = (path,)
    try:
        series = gather(path)
        files = tuple(instance.path for instance in series.volumes)
        return DicomSlide(path, series)
    except UnsupportedDicomError as error:
        from napari_lumen.slides.vendor import OpenSlideSlide

        try:
            slide = OpenSlideSlide(path, files[0])
            slide.files = files
            return slide
        except SlideError:
            raise SlideError(
                f"{path.name} cannot be opened as a slide: {error}. Re-export it, or convert it to OME-TIFF."
            ) from error
