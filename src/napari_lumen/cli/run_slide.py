"""The slide of a run, for commands that read both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_lumen.explain.run_maps import RunMaps
    from napari_lumen.slides import Slide

SlideOption = Annotated[
    str | None, typer.Option("--slide", help="Where the slide of the run lies now, if it has moved.")
]


@contextmanager
def slide_of(maps: RunMaps, slide: str | None) -> Iterator[Slide]:
    """Open the slide of a run.

    Parameters
    ----------
    maps : RunMaps
    slide : str or None
        Where it lies now; None for where it was, or where the user has found it since.

    Raises
    ------
    RunError
        When it is no longer there, or another slide is.
    SlideError
        When it cannot be opened.
    """
    from napari_lumen.errors import RunError
    from napari_lumen.explain.run_figure import require_slide_of
    from napari_lumen.slides import open_slide
    from napari_lumen.slides.location import located
    from napari_lumen.slides.moved import remembered_place

    record = maps.run.record
    where: str | Path = slide or record.slide
    if slide is None and isinstance(was := located(where), Path) and not was.exists():
        found = remembered_place(record.fingerprint)
        if found is None or not found.exists():
            raise RunError(f"The slide of this run is no longer at {where}. Say where it is by --slide.")
        where = found
    with open_slide(where, mpp=record.mpp if record.mpp_source == "user" else None) as opened:
        require_slide_of(maps, opened)
        yield opened
