"""A look at the head of a TIFF: a slide, a picture that other programs show as well, or broken."""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair
from napari_lumen.slides.tiff_directory import SlideFile, StackError, UnsupportedLayoutError, directories
from napari_lumen.slides.tiff_layout import Layout, layout_of
from napari_lumen.slides.tiff_plane import Plane

_SMALL_SIDE = (
    4096  # px: an image with shorter sides, or a grey one, in one level and without a pixel size, is no slide
)
_LARGEST_MPP = 20.0  # µm: pictures carry print resolutions, 300 dpi is 85 µm


class TiffKind(Enum):
    """What a look at a TIFF's head says."""

    SLIDE = auto()
    PICTURE = auto()
    BROKEN = auto()


def look(path: Path) -> TiffKind:
    """Tell whether a TIFF is a slide, without reading pixels or the tables of its tiles.

    Parameters
    ----------
    path : Path

    Returns
    -------
    TiffKind
        A slide is a vendor's file or a tiled one with levels, a microscope's pixel size or a long side. A
        picture is left to other programs: strips, stacks, small images. A broken file is one whose opening
        says what is wrong with it.
    """
    try:
        file = SlideFile(path)
    except OSError:
        return TiffKind.BROKEN
    try:
        pages = directories(file)
        try:
            layout = layout_of(pages)
        except UnsupportedLayoutError:
            return TiffKind.SLIDE  # a vendor's own, for OpenSlide
        except StackError:
            return TiffKind.PICTURE
        return _kind(layout)
    except (SlideError, UnsupportedLayoutError, ArithmeticError, LookupError, TypeError, ValueError):
        return TiffKind.BROKEN
    finally:
        file.close()


def _kind(layout: Layout) -> TiffKind:
    plane = Plane(layout.levels[0][0])
    if layout.facts.vendor not in ("generic-tiff", "imagej", "ome-tiff"):
        return TiffKind.SLIDE
    if not plane.is_tiled:
        return TiffKind.PICTURE
    is_large = max(plane.shape) >= _SMALL_SIDE and plane.coding.samples >= 3
    if len(layout.levels) > 1 or is_large or _is_microscopes(layout.facts.mpp):
        return TiffKind.SLIDE
    return TiffKind.PICTURE


def _is_microscopes(mpp: Pair | None) -> bool:
    return mpp is not None and all(0 < value <= _LARGEST_MPP for value in mpp)
