"""The reader: slides, DICOM folders and finished runs; what is none of these is read as napari does."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lumen.errors import Cancelled, LumenError, SlideError
from napari_lumen.plugin.layers import LayerData

if TYPE_CHECKING:
    from napari_lumen.inference.run import Run
    from napari_lumen.plugin.ready import Ready
    from napari_lumen.slides import Level, Slide

Reader = Callable[[Any], list[Any]]

_TIFF = (".tif", ".tiff", ".btf")
_RUN_FILE = "run.json"
_PROBES = 16  # tiles a side that are tried before a slide is called unreadable


def napari_get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader for a path, or None to leave it to another.

    A program names the reader that it wants, so it gets ours for all that `open_slide` opens. In the window
    ours is the first of those offered, and what is no slide by its looks is read as napari does.

    Parameters
    ----------
    path : str or list of str
        A slide file, a folder with one DICOM slide, or the folder of a run, which brings its slide along. A
        stack of several files is never ours.

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
    if (place / _RUN_FILE).is_file():
        return _read_run
    return _read_as_napari if from_a_gesture() and _is_naparis(place) else _read_slide


def _is_naparis(place: Path) -> bool:
    """Whether a file or folder is no slide by its looks, but a picture or an array that napari can show."""
    if place.is_dir():
        return _is_zarr(place) and not _is_ome_zarr(place)
    if place.suffix.lower() not in _TIFF:
        return False
    from napari_lumen.slides.tiff_look import TiffKind, look

    return look(place) is TiffKind.PICTURE


def _read_as_napari(path: str | Sequence[str]) -> list[Any]:
    """Return what napari's own reader makes of a picture or an array, or ours where that cannot.

    napari's dialog offers readers by the file's name alone and takes a None for an error: whoever
    confirms ours for a picture gets what napari's would have read.
    """
    from napari_builtins.io import napari_get_reader as builtin

    try:
        return list(builtin(str(_one(path)))(path))
    except Exception:  # of any library that reads pictures
        return _read_slide(path)


def _read_slide(path: str | Sequence[str]) -> list[Any]:
    return or_sentence(slide_layers, _one(path))


def _read_run(path: str | Sequence[str]) -> list[Any]:
    return or_sentence(run_and_slide_layers, _one(path))


def slide_layers(path: Path) -> list[LayerData]:
    """Open a slide and return its layers, in the colours that the user prefers.

    Raises
    ------
    SlideError
        Also when the file opens but nothing of it can be decoded. Where some of it can, the damaged parts
        are hatched.
    """
    from napari_lumen.plugin.opening import open_ready, open_waiting

    return layers_of_slide(*(open_waiting(path) if from_a_gesture() else open_ready(path)))


def readable_slide(place: str | Path) -> Slide:
    """Open a slide of which at least something can be decoded, by its path or URL.

    Raises
    ------
    SlideError
    """
    from napari_lumen.slides import open_slide

    slide = open_slide(place)
    try:
        _check_readable(slide)
    except BaseException:
        slide.close()
        raise
    return slide


def layers_of_slide(slide: Slide, ready: Ready | None = None) -> list[LayerData]:
    """Return the layers of an open slide, in the colours that the user prefers; on the GUI thread.

    The slide is closed when that fails.
    """
    from napari_lumen.plugin.slide_layers import slide_layers as layers_of
    from napari_lumen.plugin.window import browsing

    try:
        window = browsing()
        if window is None:
            return layers_of(slide, None, ready)
        from napari_lumen.plugin.own_warnings import tell_each_time

        tell_each_time()
        return layers_of(slide, window.color_of(slide), ready)
    except BaseException:
        slide.close()
        raise


def _check_readable(slide: Slide) -> None:
    """Raise the error of the middle of the slide when not one of many tiles can be decoded."""
    first: SlideError | None = None
    for level in reversed(range(len(slide.levels))):
        for y, x in _probes(slide.levels[level]):
            try:
                slide.read(y, x, 1, 1, level=level)
                return
            except SlideError as error:
                first = first or error
    if first is not None:
        raise first


def _probes(level: Level) -> list[tuple[int, int]]:
    """Return the middles of up to 256 tiles of a level, from the middle of the level outwards."""
    (height, width), (tall, wide) = level.shape, level.tile
    rows, columns = range(-(-height // tall)), range(-(-width // wide))
    rows, columns = (places[:: -(-len(places) // _PROBES)] for places in (rows, columns))
    middles = [
        (min(row * tall + tall // 2, height - 1), min(column * wide + wide // 2, width - 1))
        for row, column in product(rows, columns)
    ]
    middle = (height // 2, width // 2)
    return [middle, *sorted(middles, key=lambda place: math.dist(place, middle))]


def run_and_slide_layers(path: Path) -> list[LayerData]:
    """Return the layers of a run, above those of its slide unless the window shows that already.

    A program without a window always gets the slide: nothing tells a reader which viewer asks. Where the
    slide is not found, the results come alone and the user is asked for it.

    Raises
    ------
    RunError
    """
    from napari_lumen.inference.run import Run
    from napari_lumen.plugin.layers import run_layers
    from napari_lumen.plugin.opening import slide_name

    run = Run.open(path)
    opened = None if _shows_slide_of(run) else _found_slide(run)
    if opened is None:
        return list(run_layers(run, slide_name(run)).layers)
    slide, ready = opened
    below = layers_of_slide(slide, ready)
    try:
        placed = replace(run, record=run.record.model_copy(update={"mpp": slide.require_mpp()}))
        return [*below, *run_layers(placed, slide_name(run)).layers]
    except BaseException:
        slide.close()
        raise


def _shows_slide_of(run: Run) -> bool:
    """Whether the window in use shows a run's slide; what lays results on it is there then, too."""
    from napari_lumen.plugin.placing import is_open
    from napari_lumen.plugin.window import browsing

    if "qtpy.QtWidgets" not in sys.modules:
        return False
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None or not is_open(run.record.fingerprint, viewer.layers):
        return False
    return browsing() is not None


def _found_slide(run: Run) -> tuple[Slide, Ready] | None:
    """Open the slide of a run, with the pixel size that the user gave for the run if none was given since."""
    from napari_lumen.plugin import notices
    from napari_lumen.plugin.opening import open_slide_of, open_slide_of_waiting

    try:
        slide, ready = open_slide_of_waiting(run) if from_a_gesture() else open_slide_of(run)
    except Cancelled:  # of the slide: the results were asked for, too
        return None
    except SlideError as error:
        notices.warn(str(error))
        return None
    record = run.record
    if slide.mpp is None or (record.mpp_source == "user" and not slide.mpp_given):
        slide.mpp, slide.mpp_given = record.mpp, True
    return slide, ready


def or_sentence(read: Callable[[Path], list[LayerData]], path: Path) -> list[Any]:
    """Read, and see that the user is told once, in one sentence, when that fails.

    Called from a gesture (a drop, a menu), napari would wrap the error in a paragraph of its own about
    plugins and stack traces; there the sentence is shown and napari is told that nothing is to be added.
    Called from a program, the error is raised as well.
    """
    try:
        return read(path)
    except Cancelled:
        return [(None,)]
    except LumenError as error:
        from napari_lumen.plugin import notices

        notices.show(error)
        if from_a_gesture():
            return [(None,)]  # npe2's word for "read, and there is nothing to show"
        raise


def from_a_gesture() -> bool:
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


def _is_ome_zarr(folder: Path) -> bool:
    """Whether an array store says that it is an image with levels."""
    try:
        if (folder / "zarr.json").is_file():
            attributes = json.loads((folder / "zarr.json").read_text()).get("attributes", {}).get("ome", {})
        else:
            attributes = json.loads((folder / ".zattrs").read_text())
    except (OSError, ValueError, AttributeError):
        return False
    return not {"multiscales", "bioformats2raw.layout"}.isdisjoint(attributes)
