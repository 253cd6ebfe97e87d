"""The pixel size that the user gives on the command line, kept so that it is asked for once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_lumen.slides import Slide


def keep_pixel_size(slide: Slide) -> None:
    """Keep what the user gave for the next time; it holds for this command in any case."""
    from napari_lumen.cli.console import notes
    from napari_lumen.errors import SlideError
    from napari_lumen.slides.pixel_size import remember_mpp

    try:
        remember_mpp(slide.fingerprint, slide.require_mpp())
    except SlideError as error:
        notes().print(str(error), markup=False)
