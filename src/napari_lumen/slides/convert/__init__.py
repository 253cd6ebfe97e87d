"""Converting slides to OME-TIFF and OME-Zarr, in bounded memory, resumable wherever it is stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair, Region
from napari_lumen.slides import open_slide
from napari_lumen.slides.convert.plan import TILE, Block, Pixels, Plan, halved, plan_for
from napari_lumen.slides.convert.progress import Progress, Teller
from napari_lumen.slides.convert.request import SUFFIXES, check_target, compression_for, is_tiff, region_of
from napari_lumen.slides.convert.target import Facts, Target
from napari_lumen.slides.convert.work import WorkFolder, tidied, work_path
from napari_lumen.slides.level import Channel
from napari_lumen.slides.location import at_home, printable
from napari_lumen.slides.slide import Slide

__all__ = ["SUFFIXES", "Progress", "convert"]

_VERSION = 2  # of what is written: another one starts anew
_MOST_WORKERS = 8


def convert(
    slide: Slide | str | os.PathLike[str],
    out: str | os.PathLike[str],
    region: Region | tuple[float, float, float, float] | None = None,
    mpp: float | Pair | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    compression: str | None = None,
    quality: int = 90,
    overwrite: bool = False,
    mark_damage: bool = False,
) -> Path:
    """Write a slide, or a part of it, as a pyramid whose levels are halved down to at most 1,024 px.

    Memory holds a block of 8 x 8 tiles of 512 px, whatever the slide's size. Killed at any moment, the same
    call goes on where it stopped; the result appears under its name when it is whole. The unfinished work
    lies beside it, in ``.<name>.part``. Coarser levels are averaged from the finer one without its losses.

    Parameters
    ----------
    slide : Slide or path
    out : path
        Ends in ``.ome.tif`` or ``.ome.tiff`` (an OME-TIFF) or ``.ome.zarr`` or ``.zarr`` (OME-Zarr 0.5,
        without loss).
    region : Region or (y, x, height, width), optional
        Only this rectangle, in level-0 pixels; whole pixels that cover it, clipped to the slide.
    mpp : float or (float, float), optional
        µm per pixel of the result, (y, x); the slide's own without it.
    on_progress : callable, optional
        Called from the calling thread after every tile.
    cancel : threading.Event, optional
        Set from anywhere to stop within a tile.
    compression : str, optional
        Of an OME-TIFF: ``jpeg`` (8-bit RGB only, and its default), ``deflate`` (the default of channels) or
        ``zstd``. Of an OME-Zarr: ``zstd``.
    quality : int
        Of JPEG, 1 to 100; from 90 on, colour is kept at full resolution.
    overwrite : bool
        Replace what is there, once the new one is whole.
    mark_damage : bool
        Hatch tiles that cannot be decoded, `len(slide.damage)` of them, instead of stopping at the first.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    SlideError
        When the arguments make no file, the slide cannot be decoded somewhere, or the disk is full.
    Cancelled
        When `cancel` was set; the same call goes on.
    """
    if not isinstance(slide, Slide):
        with open_slide(slide) as opened:
            return convert(
                opened, out, region, mpp, on_progress, cancel, compression, quality, overwrite, mark_damage
            )
    target = at_home(out)
    if isinstance(region, tuple):
        region = region_of(region)
    compression = compression_for(target, slide, compression, quality)
    planned = plan_for(slide, region, mpp)
    job = _job(slide, planned, target, compression, quality, mark_damage)
    if tidied(target, job):
        return target
    check_target(target, slide, overwrite)
    teller = Teller(on_progress or (lambda progress: None), cancel or Event(), target)
    try:
        work = WorkFolder(target, job)
        try:
            made = _made(slide, planned, work, target, compression, quality, teller, mark_damage)
            _put(made, target, work)
        except BaseException:
            work.close()
            raise
        work.remove()
    except OSError as error:
        raise SlideError(
            f"{target.name} cannot be written: {error.strerror or error}. What is done stays in "
            f"{work_path(target)}; mend that and convert again to go on."
        ) from error
    return target


def _made(
    slide: Slide,
    planned: Plan,
    work: WorkFolder,
    out: Path,
    compression: str,
    quality: int,
    teller: Teller,
    mark_damage: bool,
) -> Path:
    """Write all tiles that are not written yet, and return the whole in the working folder."""
    channels = tuple(Channel(_plain(channel.name), channel.color) for channel in slide.channels)
    facts = Facts(_plain(slide.path.name), channels, slide.magnification, slide.icc_profile)
    target: Target
    if is_tiff(out):
        from napari_lumen.slides.convert.tiff import TiffTarget

        target = TiffTarget(work, planned, facts, compression, quality)
    else:
        from napari_lumen.slides.convert.zarr_image import ZarrTarget

        target = ZarrTarget(work, planned, facts)
    slide.damage.forget_passing()
    blocks = list(planned.blocks())
    finished = sum(_size(planned, block) for block in blocks if target.is_done(block))
    teller.start("writing tiles", finished, planned.total)
    with ThreadPoolExecutor(min(_MOST_WORKERS, os.cpu_count() or 1), "lumen-convert") as pool:
        for block in blocks:
            if not target.is_done(block):
                _make(slide, target, block, pool, teller, mark_damage)
                if mark_damage and slide.damage.passing is not None:
                    raise slide.damage.passing  # the disk's or the network's: to be read again, not marked
                target.commit(block)
    teller.start("putting together", 0, planned.total)
    made = target.finish(teller.at)
    teller.finish()
    return made


def _make(
    slide: Slide, target: Target, block: Block, pool: ThreadPoolExecutor, teller: Teller, mark_damage: bool
) -> None:
    """Write the tiles of a block and of the levels below it, each halved from the one before."""
    planned = target.plan
    half = _first_plane(planned, block) if block.depth else None

    def first(place: tuple[int, int]) -> None:
        teller.check()
        if block.level == 0:
            pixels = slide.read_grid(planned.grid, planned.window(0, *place), marked=mark_damage)
            target.write(0, *place, pixels, keep=False)
        else:
            pixels = target.kept(block.level, *place)
        if half is not None:
            small = halved(pixels)
            side = TILE // 2
            y = place[0] * side - (block.row << (block.depth - 1)) * TILE
            x = place[1] * side - (block.column << (block.depth - 1)) * TILE
            half[y : y + small.shape[0], x : x + small.shape[1]] = small

    for _ in pool.map(first, planned.tiles_of(block, 0)):
        teller.advance(block.level == 0)
    for below in range(1, block.depth + 1):
        assert half is not None
        _further(target, block, below, half, pool, teller)
        half = halved(half) if below < block.depth else None


def _further(
    target: Target, block: Block, below: int, plane: Pixels, pool: ThreadPoolExecutor, teller: Teller
) -> None:
    """Write the tiles of a block that lie `below` levels under where it starts, cut from their plane."""
    planned, level = target.plan, block.level + below
    top, left = (number << (block.depth - below) for number in (block.row, block.column))
    keep = below == block.depth and level < len(planned.shapes) - 1  # the next block starts from it

    def write(place: tuple[int, int]) -> None:
        teller.check()
        window = planned.window(level, *place)
        y, x = window.y - top * TILE, window.x - left * TILE
        target.write(level, *place, plane[y : y + window.height, x : x + window.width], keep=keep)

    for _ in pool.map(write, planned.tiles_of(block, below)):
        teller.advance(True)


def _first_plane(planned: Plan, block: Block) -> Pixels:
    """Return room for the first level below the start of a block, as far as the block reaches."""
    side = TILE << (block.depth - 1)
    height, width = planned.shapes[block.level + 1]
    rows = min(side, height - block.row * side)
    columns = min(side, width - block.column * side)
    return np.empty((rows, columns, planned.samples), planned.dtype)


def _size(planned: Plan, block: Block) -> int:
    """Return how many tiles a block writes."""
    first = 0 if block.level == 0 else 1
    return sum(len(planned.tiles_of(block, below)) for below in range(first, block.depth + 1))


def _put(made: Path, target: Path, work: WorkFolder) -> None:
    """Give the whole its name, at once; what was there under it goes with the working folder."""
    work.announce(made)
    if target.is_dir():
        target.replace(work.path / "replaced.zarr")
    made.replace(target)


def _plain(name: str) -> str:
    """Return a name that XML can hold: file names may have any bytes in them."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _job(
    slide: Slide, planned: Plan, target: Path, compression: str, quality: int, mark_damage: bool
) -> dict[str, Any]:
    """Return what an unfinished conversion must agree with to be gone on with, in JSON's types."""
    place = slide.location
    states = [file.stat() for file in slide.files if file.exists()]
    return {
        "version": _VERSION,
        "slide": printable(place if isinstance(place, str) else place.resolve()),
        "files": sorted([state.st_size, state.st_mtime_ns] for state in states),
        "fingerprint": slide.fingerprint,
        "shapes": [list(shape) for shape in planned.shapes],
        "origin": list(planned.grid.origin),
        "step": list(planned.grid.step),
        "mpp": None if planned.mpp is None else list(planned.mpp),
        "dtype": planned.dtype.name,
        "channels": [[channel.name, *channel.color] for channel in slide.channels],
        "form": "tiff" if is_tiff(target) else "zarr",
        "compression": compression,
        "quality": quality if compression == "jpeg" else None,
        "mark_damage": mark_damage,
    }
