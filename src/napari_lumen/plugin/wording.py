"""How amounts, times and areas are said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.counting import counted

if TYPE_CHECKING:
    from pathlib import Path

    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.corrections import CorrectedWindow
    from napari_lumen.inference.progress import Progress
    from napari_lumen.slides import Slide

IN_VIEW = "In view"  # the row of the magnification under the current zoom, which changes all the time
_VENDORS = {
    "dicom": "DICOM",
    "ome-tiff": "OME-TIFF",
    "ome-zarr": "OME-Zarr",
    "generic-tiff": "TIFF of no vendor",
    "png": "PNG",
    "jpeg": "JPEG",
    "bmp": "BMP",
    "unknown": "unknown",
}
_ID = 6  # letters
_MM2_DIGITS = ((10.0, 1), (0.1, 2), (0.001, 4))


def amount_done(progress: Progress) -> str:
    """Return e.g. ``Running the model: 124 of 560 tiles``."""
    stage = progress.stage[:1].upper() + progress.stage[1:]
    if progress.stage == "running the model":
        return f"{stage}: {progress.done:,} of {counted(progress.total, 'tile')}"
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


def corrected(window: CorrectedWindow, classes: ClassTable) -> str:
    """Return e.g. ``Window 0003: 120 µm² background is now nucleus.``: what a window has changed."""
    if window.changed is None:
        return f"Window {window.name} is kept: all was right."
    names = {0: "background", 255: "no label", **{item.value: item.name for item in classes}}
    pixel = window.mpp[0] * window.mpp[1] / 1e6
    said = [
        f"{area(kind.pixels * pixel)} {names.get(kind.before, kind.before)} is now "
        f"{names.get(kind.after, kind.after)}"
        for kind in window.changed.kinds
    ]
    return f"Window {window.name}: {', '.join(said)}."


def overlapping(name: str, covered: tuple[str, ...]) -> str:
    """Return what becomes of pixels that two windows have changed."""
    others = " and ".join([", ".join(covered[:-1]), covered[-1]] if len(covered) > 1 else covered)
    which = "window" if len(covered) == 1 else "windows"
    return f"Window {name} overlaps {which} {others}: where both changed something, the later one counts."


def slide_facts_in_words(slide: Slide) -> tuple[tuple[str, str], ...]:
    """Return what matters of a slide: name and value, in the order to show; what is in view stays empty."""
    height, width = slide.shape
    size = f"{width:,} × {height:,} px"
    if slide.mpp is not None:
        size += f"\n{_mm(width * slide.mpp[1])} × {_mm(height * slide.mpp[0])} mm"
    steps = ", ".join(f"{level.downsample[0]:.4g}" for level in slide.levels)
    facts = [
        ("Name", slide.path.name),
        ("Vendor", _VENDORS.get(slide.vendor, slide.vendor[:1].upper() + slide.vendor[1:])),
        ("Width × height", size),
        ("Pixel size", pixel_size(slide)),
        ("Objective", "unknown" if slide.magnification is None else f"{slide.magnification:g}×"),
        (IN_VIEW, ""),
        ("Levels", "1" if len(slide.levels) == 1 else f"{len(slide.levels)} (÷ {steps})"),
    ]
    if slide.channels:
        facts.append(("Channels", ", ".join(channel.name for channel in slide.channels)))
        facts.append(("Values", str(slide.dtype)))
    else:
        facts.append(("Colour profile", "in the file" if slide.icc_profile else "none"))
    return tuple(facts)


def pixel_size(slide: Slide) -> str:
    """Return e.g. ``0.499 µm``, ``0.25 × 0.26 µm (given by you)`` or ``unknown``."""
    if slide.mpp is None:
        return "unknown"
    y, x = (f"{value:.4g}" for value in slide.mpp)
    text = f"{x} µm" if x == y else f"{x} × {y} µm"
    return f"{text} (given by you)" if slide.mpp_given else text


def magnification(value: float | None) -> str:
    """Return e.g. ``20×``, ``2.3×`` or ``0.15×``, of what is in view."""
    if value is None:
        return "unknown"
    return f"{value:.3g}×" if value < 100 else f"{value:,.0f}×"


def _mm(um: float) -> str:
    return f"{um / 1000:.3g}" if um < 100_000 else f"{um / 1000:,.0f}"


def run_title(model: str, folder: Path) -> str:
    """Return what lists call a run: its model, and what tells its folder from others of slide and model."""
    _, found, own = folder.name.rpartition(f"{model}-")
    return f"{model} ({own[:_ID] if found else folder.name})"
