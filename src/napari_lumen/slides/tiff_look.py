"""A look at the head of a TIFF: a slide, a picture that other programs show as well, or broken."""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair
from napari_lumen.slides.pixel_size import COARSEST
from napari_lumen.slides.tiff_directory import SlideFile, StackError, UnsupportedLayoutError, directories
from napari_lumen.slides.tiff_layout import Layout, layout_of
from napari_lumen.slides.tiff_plane import Plane

# px of the longer side from which a colour picture in one level and without a pixel size is a slide
_LARGE_TILED = 4096
_LARGE_STRIPS = 10_000  # cameras write strips, of up to 9,504 px at 60 megapixels


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
        A slide is a vendor's file, or one with a microscope's pixel size, a long side, or levels of tiles.
        A picture is left to other programs: stacks, photographs, small images. A broken file is one whose
        opening says what is wrong with it.
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
    has_levels = plane.is_tiled and len(layout.levels) > 1  # after strips comes a photograph's thumbnail
    least = _LARGE_TILED if plane.is_tiled else _LARGE_STRIPS
    is_large = max(plane.shape) >= least and plane.coding.samples >= 3
    is_slide = has_levels or is_large or _is_microscopes(layout.facts.size.mpp)
    return TiffKind.SLIDE if is_slide else TiffKind.PICTURE


def _is_microscopes(mpp: Pair | None) -> bool:
    return mpp is not None and all(0 < value <= COARSEST for value in mpp)
