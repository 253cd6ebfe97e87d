"""How amounts, times and areas are said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_lumen.inference.progress import Progress

_MM2_DIGITS = ((10.0, 1), (0.1, 2), (0.001, 4))


def amount_done(progress: Progress) -> str:
    """Return e.g. ``Running the model: 124 of 560 tiles``."""
    stage = progress.stage[:1].upper() + progress.stage[1:]
    if progress.stage == "running the model":
        return f"{stage}: {progress.done:,} of {progress.total:,} tiles"
    return f"{stage} …"


def time_left(seconds: float | None) -> str:
    """Return e.g. ``, 2 min left``; nothing while it is not known."""
    if seconds is None:
        return ""
    return f", {duration(max(1.0, seconds))} left"


def duration(seconds: float) -> str:
    """Return e.g. ``42 s``, ``1 min 34 s``, ``12 min`` or ``1.5 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    return f"{whole / 3600:.1f} h"


def area(mm2: float) -> str:
    """Return an area with three figures or so, in µm² where mm² would be all zeros."""
    for least, digits in _MM2_DIGITS:
        if mm2 >= least:
            return f"{mm2:,.{digits}f} mm²"
    return f"{mm2 * 1e6:,.0f} µm²"


def attention_title(name: str) -> str:
    """Return e.g. ``attention, decoder stage 2`` for ``d2.0.att0``; the name itself where it says no stage.

    Networks name their stages e1, e2, … on the way down and d1, d2, … on the way up.
    """
    stage = re.match(r"(e|d)(\d+)\.", name)
    if stage is None:
        return f"attention {name}"
    side = "encoder" if stage.group(1) == "e" else "decoder"
    return f"attention, {side} stage {stage.group(2)}"
