"""The reader: slides, DICOM folders and finished runs; anything else is left to napari's own readers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any

from napari_lumen.errors import LumenError
from napari_lumen.plugin.layers import LayerData

Reader = Callable[[Any], list[Any]]

_TIFF = (".tif", ".tiff", ".btf")
_SMALL_SIDE = 4096  # a picture with shorter sides, in one level and without a pixel size, is no slide
_LARGEST_MPP = 20.0  # µm: pictures carry print resolutions, 300 dpi is 85 µm
_RUN_FILE = "run.json"


class _Tiff(Enum):
    """What a look at a TIFF's head says."""

    SLIDE = auto()
    PICTURE = auto()
    BROKEN = auto()


def napari_get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader for a path, or None to leave it to another.

    Parameters
    ----------
    path : str or list of str
        A slide file, a folder with one DICOM slide, or the folder of a run. A stack of several files is
        never ours.

    Returns
    -------
    callable or None
        Takes the path, returns layer data; raises `SlideError` or `RunError`, one sentence.
    """
    if not isinstance(path, str):
        if len(path) != 1:
            return None
        path = path[0]
    place = Path(path)
    if place.is_dir():
        if (place / _RUN_FILE).is_file():
            return _read_run
        return None if _is_zarr(place) else _read_slide
    if place.suffix.lower() in _TIFF and _look(place) is _Tiff.PICTURE:
        return _napari_reader(path) if _from_a_gesture() else None
    return _read_slide


def _napari_reader(path: str) -> Reader | None:
    """Return napari's own reader for a picture.

    napari's dialog offers readers by the file's name alone and takes a None for an error: whoever
    confirms ours for a picture gets what napari's would have read.
    """
    from napari_builtins.io import napari_get_reader as builtin

    reader: Reader | None = builtin(path)
    return reader


def _read_slide(path: str | Sequence[str]) -> list[Any]:
    return _or_sentence(slide_layers, _one(path))


def _read_run(path: str | Sequence[str]) -> list[Any]:
    return _or_sentence(_saved_run_layers, _one(path))


def slide_layers(path: Path) -> list[LayerData]:
    """Open a slide and return its layer.

    Raises
    ------
    SlideError
        Also when the file opens but its middle cannot be decoded: nothing of it could be shown.
    """
    from napari_lumen.plugin.layers import slide_layer
    from napari_lumen.slides import open_slide

    slide = open_slide(path)
    try:
        height, width = slide.levels[-1].shape
        slide.read(height // 2, width // 2, 1, 1, level=len(slide.levels) - 1)
        return [slide_layer(slide)]
    except BaseException:
        slide.close()
        raise


def _saved_run_layers(path: Path) -> list[LayerData]:
    from napari_lumen.inference.run import Run
    from napari_lumen.plugin.layers import run_layers

    run = Run.open(path)
    return list(run_layers(run, Path(run.record.slide).name).layers)


def _or_sentence(read: Callable[[Path], list[LayerData]], path: Path) -> list[Any]:
    """Read, and see that the user is told once, in one sentence, when that fails.

    Called from a gesture (a drop, a menu), napari would wrap the error in a paragraph of its own about
    plugins and stack traces; there the sentence is shown and napari is told that nothing is to be added.
    Called from a program, the error is raised as well.
    """
    try:
        return read(path)
    except LumenError as error:
        from napari_lumen.plugin import notices

        notices.show(error)
        if _from_a_gesture():
            return [(None,)]  # npe2's word for "read, and there is nothing to show"
        raise


def _from_a_gesture() -> bool:
    """Whether Qt's event loop is running above us."""
    core = sys.modules.get("qtpy.QtCore")
    if core is None or core.QCoreApplication.instance() is None:
        return False
    return core.QThread.currentThread().loopLevel() > 0


def _one(path: str | Sequence[str]) -> Path:
    return Path(path if isinstance(path, str) else path[0])


def _is_zarr(folder: Path) -> bool:
    """Whether a folder is an array store, which other readers know better."""
    return folder.suffix.lower() == ".zarr" or any(
        (folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")
    )


def _look(path: Path) -> _Tiff:
    """Look at the head of a TIFF: a slide is tiled 8-bit RGB with levels, a pixel size or a great size."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            page = series.levels[0].keyframe
            is_rgb = str(page.dtype) == "uint8" and page.samplesperpixel in (3, 4)
            if not is_rgb or not page.is_tiled:
                return _Tiff.PICTURE
            if page.compression not in tifffile.TIFF.DECOMPRESSORS:
                return _Tiff.BROKEN
            if len(series.levels) > 1 or tiff.is_svs:
                return _Tiff.SLIDE
            if max(page.imagelength, page.imagewidth) >= _SMALL_SIDE:
                return _Tiff.SLIDE
            end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)
            if end > path.stat().st_size:
                return _Tiff.BROKEN
            return _Tiff.SLIDE if _states_pixel_size(tiff) else _Tiff.PICTURE
    except Exception:  # a damaged file fails in any way; opening it says how
        return _Tiff.BROKEN


def _states_pixel_size(tiff: Any) -> bool:
    """Whether a TIFF says how large its pixels are, in a range that a microscope has."""
    if tiff.is_ome:
        return "PhysicalSizeX=" in (tiff.ome_metadata or "")
    page = tiff.pages.first
    unit = {2: 25400.0, 3: 10000.0}.get(int(page.tags.valueof("ResolutionUnit", default=1)))
    value = page.tags.valueof("XResolution", default=None)
    if unit is None or not value or not value[0]:
        return False
    return bool(unit * value[1] / value[0] <= _LARGEST_MPP)
