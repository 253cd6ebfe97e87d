"""Writing a synthetic slide as a tiled, pyramidal OME-TIFF without ever holding it."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_lumen.errors import Cancelled, SlideError
from napari_lumen.slides.synthetic.slide import SyntheticSlide

Pixels = NDArray[np.uint8]
_SMALLEST = 512  # pixels: no level is made once both sides are at most this
_CLASSIC = 3_500_000_000  # bytes of pixels: below, a JPEG file certainly fits a classic TIFF's 4 GiB


def write_slide(
    slide: SyntheticSlide,
    path: str | os.PathLike[str],
    *,
    tile: int = 512,
    quality: int = 85,
    factor: int = 4,
    on_progress: Callable[[float], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    workers: int | None = None,
) -> None:
    """Write a slide as a tiled, pyramidal JPEG OME-TIFF.

    Memory holds one band of the slide, as wide as the slide and one block (256 µm) or tile high, whatever the
    slide's height. Level 1 is averaged into a temporary file beside `path` while level 0 is written, and the
    further levels from that file, so each pixel is drawn once. The file appears when it is whole.

    Parameters
    ----------
    slide : SyntheticSlide
        What to write.
    path : path
        Should end in ``.ome.tif`` or ``.ome.tiff``, by which readers know the format.
    tile : int
        Side of the tiles in pixels, a multiple of 16.
    quality : int
        JPEG quality, 1 to 100.
    factor : int
        Downsampling from one level to the next, 2 or 4.
    on_progress : callable, optional
        Called with the share of the work done, 0 to 1, after every band, from the calling thread.
    cancel : callable, optional
        Asked before every band and, while drawing, before every block; True stops the writing.
    workers : int, optional
        Threads that draw; as many as processors, at most 8, when left out.

    Raises
    ------
    SlideError
        When the arguments make no file or the file cannot be written.
    Cancelled
        When `cancel` answered True; nothing is left at `path`.
    """
    path = Path(path)
    if tile < 16 or tile % 16:
        raise SlideError(f"Cannot write {path}: a tile's side must be a multiple of 16, not {tile}.")
    if factor not in (2, 4):
        raise SlideError(f"Cannot write {path}: the pyramid's factor must be 2 or 4, not {factor}.")
    workers = workers or min(8, os.cpu_count() or 1)
    job = _Job(slide, tile, factor, on_progress, cancel)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            with ThreadPoolExecutor(workers) as pool:
                job.write(Path(folder), quality, pool)
            (Path(folder) / "slide.tif").replace(path)
    except OSError as error:
        raise SlideError(f"Cannot write {path}: {error.strerror or error}.") from error


class _Job:
    def __init__(
        self,
        slide: SyntheticSlide,
        tile: int,
        factor: int,
        on_progress: Callable[[float], None] | None,
        cancel: Callable[[], bool] | None,
    ) -> None:
        self.slide, self.tile, self.factor = slide, tile, factor
        self.on_progress, self.cancel = on_progress, cancel
        self.shapes = [slide.shape]
        while max(self.shapes[-1]) > _SMALLEST:
            height, width = self.shapes[-1]
            self.shapes.append((max(1, -(-height // factor)), max(1, -(-width // factor))))
        # A band is a whole number of tiles high, so that each is written once, and of blocks where it can be.
        self.band = -(-slide.block // tile) * tile
        self.total = sum(height * width for height, width in self.shapes)
        self.done = 0

    def write(self, folder: Path, quality: int, pool: ThreadPoolExecutor) -> None:
        """Write ``slide.tif`` into a folder, level by level, the coarser ones kept in files beside it."""
        slide = self.slide
        big = self.total * 3 > _CLASSIC
        per_centimetre = 1e4 / slide.mpp
        stored = [
            np.memmap(folder / f"level{number}", np.uint8, "w+", shape=(*shape, 3))
            for number, shape in enumerate(self.shapes[1:], 1)
        ]
        with tifffile.TiffWriter(folder / "slide.tif", bigtiff=big, ome=True) as tiff:
            for number, shape in enumerate(self.shapes):
                bands = self._drawn(pool) if number == 0 else self._read(stored[number - 1])
                coarser = stored[number] if number + 1 < len(self.shapes) else None
                scale = self.factor**number
                tiff.write(
                    self._tiles(bands, shape, coarser),
                    shape=(*shape, 3),
                    resolution=(per_centimetre / scale, per_centimetre / scale),
                    resolutionunit="CENTIMETER",
                    metadata=self._metadata() if number == 0 else None,
                    subifds=len(self.shapes) - 1 if number == 0 else None,
                    subfiletype=0 if number == 0 else 1,
                    dtype=np.uint8,
                    tile=(self.tile, self.tile),
                    photometric="rgb",  # tifffile has the JPEG encoder turn it into YCbCr
                    compression="jpeg",
                    compressionargs={"level": quality},
                    maxworkers=1,  # more workers take more tiles ahead than a band
                )
        for memory in stored:
            memory._mmap.close()  # type: ignore[attr-defined]  # Windows keeps an open file from being removed

    def _metadata(self) -> dict[str, object]:
        mpp = self.slide.mpp
        return {
            "axes": "YXS",
            "Name": f"synthetic H&E, seed {self.slide.seed}",
            # Named by what is drawn, so that the same slide is the same file.
            "UUID": uuid.uuid5(uuid.NAMESPACE_OID, f"{self.slide.shape} {mpp} {self.slide.seed}").urn,
            "PhysicalSizeX": mpp,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": mpp,
            "PhysicalSizeYUnit": "µm",
        }

    def _check(self) -> None:
        if self.cancel is not None and self.cancel():
            raise Cancelled("Writing the synthetic slide was cancelled.")

    def _drawn(self, pool: ThreadPoolExecutor) -> Iterator[Pixels]:
        height, width = self.slide.shape
        for y in range(0, height, self.band):
            self._check()
            rows = min(self.band, height - y)
            band = np.empty((rows, width, 3), np.uint8)

            def draw(x: int, y: int = y, rows: int = rows, band: Pixels = band) -> None:
                self._check()
                columns = min(self.slide.block, width - x)
                band[:, x : x + columns] = self.slide.read(y, x, rows, columns)

            for _ in pool.map(draw, range(0, width, self.slide.block)):
                pass
            yield band

    def _read(self, level: Pixels) -> Iterator[Pixels]:
        for y in range(0, level.shape[0], self.band):
            self._check()
            yield np.asarray(level[y : y + self.band])

    def _tiles(
        self, bands: Iterator[Pixels], shape: tuple[int, int], coarser: Pixels | None
    ) -> Iterator[Pixels]:
        tile, factor, y = self.tile, self.factor, 0
        for band in bands:
            rows = band.shape[0]
            if coarser is not None:
                reduced = _mean(band, factor)
                coarser[y // factor : y // factor + len(reduced)] = reduced
            # tifffile stops asking after the last tile: report the work before handing out the tiles.
            self.done += rows * shape[1]
            if self.on_progress is not None:
                self.on_progress(self.done / self.total)
            for top in range(0, rows, tile):
                for left in range(0, shape[1], tile):
                    piece = band[top : top + tile, left : left + tile]
                    missing = tile - piece.shape[0], tile - piece.shape[1]
                    if any(missing):
                        # The edge repeats, so that JPEG draws no ringing from a border into the slide.
                        piece = np.pad(piece, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
                    yield np.ascontiguousarray(piece)
            y += rows


def _mean(pixels: Pixels, factor: int) -> Pixels:
    """Average squares of factor x factor pixels; at the far edges what there is."""
    height, width = pixels.shape[:2]
    missing = -height % factor, -width % factor
    if any(missing):
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    total = np.zeros((pixels.shape[0] // factor, pixels.shape[1] // factor, 3), np.uint16)
    for i in range(factor):
        for j in range(factor):
            total += pixels[i::factor, j::factor]
    return ((total + factor * factor // 2) // (factor * factor)).astype(np.uint8)
