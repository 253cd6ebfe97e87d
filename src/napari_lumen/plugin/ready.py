"""What the layers of a slide need of it, read before they are made: nothing of it on the GUI thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from napari_lumen.plugin.contrast import Contrast, channel_contrasts
from napari_lumen.plugin.small_levels import Step, read_small_levels

if TYPE_CHECKING:
    from napari_lumen.slides import Slide
    from napari_lumen.slides.slide import Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """What was read of a slide.

    Attributes
    ----------
    small : sequence of ndarray
        Its levels that are shown from memory, finest first, as of `read_small_levels`.
    contrasts : sequence of Contrast
        How each of its channels is shown; empty for a colour picture.
    """

    small: Sequence[Pixels]
    contrasts: Sequence[Contrast]


def make_ready(
    slide: Slide, emit: Callable[[Step], None] = lambda step: None, cancel: Event | None = None
) -> Ready:
    """Read what the layers of a slide need.

    Parameters
    ----------
    slide : Slide
    emit, cancel : optional
        As of `read_small_levels`.

    Raises
    ------
    Cancelled
    SlideError
    """
    small = read_small_levels(slide, emit, cancel)
    _ = slide.fingerprint  # kept; over a network it takes its time
    slide.dask_levels()  # imports dask, which takes a second
    return Ready(small, [] if slide.is_rgb else channel_contrasts(slide, small[-1]))
