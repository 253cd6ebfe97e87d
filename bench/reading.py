"""Reading slides: tiles and viewports, beside bare decoding, OpenSlide and napari-wsi."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dask.array as da
import imagecodecs
import numpy as np
import numpy.typing as npt
import openslide
import tifffile

from bench.files import TILE, tissue, write_svs
from bench.report import Figure, Report
from bench.timing import interleaved
from napari_lumen import open_slide
from napari_lumen.slides.cache import process_cache

try:
    from wsidicom import WsiDicom
except ImportError:  # it takes part where it is installed
    WsiDicom = None

_SVS = (40_000, 30_000)
_VIEW = (1_000, 1_500)
_TILES = 400  # a round
_VIEWS = 12
_ROUNDS = 7
_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "slides"
_VENDOR = (
    "CMU-1-Small-Region.svs",
    "test3-DAPI-2.ndpi",
    "CMU-1-Small-Region.dicom",
    "jpeg.dicom",
    "jpeg2000.dicom",
)
_REGIONS = 60
_CACHE = 64 << 20

Place = tuple[int, int]


def run(report: Report) -> None:
    """Measure and fill the report."""
    with tempfile.TemporaryDirectory(prefix="lumen-bench-") as folder:
        path = write_svs(Path(folder) / "slide.svs", tissue(), *_SVS)
        with _cache_of(0):
            _tiles(path, report)
            _viewport(path, report)
    for name in _VENDOR:
        if (_SHARED / name).exists():
            _against_openslide(_SHARED / name, report)
        else:
            report.remarks.append(f"{name} is not there (../shared/data/slides).")


@contextmanager
def _cache_of(size: int) -> Iterator[None]:
    """Keep so many bytes of decoded tiles; 0 makes each read decode, as the floor does."""
    cache = process_cache()
    limit = cache.limit
    cache.set_limit(size)
    try:
        yield
    finally:
        cache.set_limit(limit)


class _Floor:
    """Nothing but `os.pread` and the JPEG decoder on tables laid out beforehand."""

    def __init__(self, path: Path) -> None:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.series[0].levels[0].keyframe
            self.columns = -(-page.imagewidth // TILE)
            self.offsets, self.counts = list(page.dataoffsets), list(page.databytecounts)
        self.file = os.open(path, os.O_RDONLY)

    def tile(self, row: int, column: int) -> npt.NDArray[np.uint8]:
        index = row * self.columns + column
        data = os.pread(self.file, self.counts[index], self.offsets[index])
        return imagecodecs.jpeg8_decode(data, colorspace="ycbcr", outcolorspace="rgb")

    def view(self, y: int, x: int, pool: ThreadPoolExecutor) -> npt.NDArray[np.uint8]:
        height, width = _VIEW
        out = np.empty((height, width, 3), np.uint8)

        def place(cell: Place) -> None:
            top, left = cell[0] * TILE - y, cell[1] * TILE - x
            tile = self.tile(*cell)
            rows = slice(max(0, top), min(height, top + TILE))
            columns = slice(max(0, left), min(width, left + TILE))
            out[rows, columns] = tile[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]

        cells = [
            (row, column)
            for row in range(y // TILE, -(-(y + height) // TILE))
            for column in range(x // TILE, -(-(x + width) // TILE))
        ]
        list(pool.map(place, cells))
        return out


def _tiles(path: Path, report: Report) -> None:
    floor = _Floor(path)
    places = _places(_SVS, (TILE, TILE), _TILES, aligned=True)
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as peer:
        y, x = places[0]
        if np.abs(slide.read(y, x, TILE, TILE).astype(int) - floor.tile(y // TILE, x // TILE)).max() > 1:
            raise AssertionError("the slide and the bare decoder disagree")
        times = interleaved(
            {
                "ours": _each(lambda y, x: slide.read(y, x, TILE, TILE), places),
                "floor": _each(lambda y, x: floor.tile(y // TILE, x // TILE), places),
                "openslide": _each(lambda y, x: peer.read_region((x, y), 0, (TILE, TILE)), places),
            },
            _ROUNDS,
        )
    rates = {name: _TILES / seconds for name, seconds in times.items()}
    what, unit = "JPEG SVS, aligned 256 px tiles, one thread", "tiles/s"
    report.figures += [
        Figure(what, rates["ours"], rates["floor"], "pread + decode", unit, 0.8, at_most=False),
        Figure(what, rates["ours"], rates["openslide"], "OpenSlide", unit, 0.95, at_most=False),
    ]


def _viewport(path: Path, report: Report) -> None:
    floor = _Floor(path)
    places = _places(_SVS, _VIEW, _VIEWS)
    height, width = _VIEW
    with (
        open_slide(path) as slide,
        openslide.OpenSlide(str(path)) as peer,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        level = slide.dask_levels()[0]
        contestants: dict[str, Callable[[], object]] = {
            "floor": _each(lambda y, x: floor.view(y, x, pool), places),
            "read": _each(lambda y, x: slide.read(y, x, height, width), places),
            "dask": _each(lambda y, x: _computed(level, y, x), places),
            "openslide": _each(lambda y, x: np.asarray(peer.read_region((x, y), 0, (width, height))), places),
        }
        rival = _napari_wsi(path)
        if rival is None:
            report.remarks.append("napari-wsi is not installed (pip install 'napari-wsi[openslide]').")
        else:
            contestants["napari-wsi"] = _each(lambda y, x: _computed(rival, y, x), places)
        times = {name: seconds / _VIEWS * 1000 for name, seconds in interleaved(contestants, _ROUNDS).items()}
    what = "JPEG SVS, 1,500 x 1,000 viewport, level 0"
    bare = "threaded pread + decode"
    report.figures += [
        Figure(f"{what}, Slide.read", times["read"], times["floor"], bare, "ms", 1.5),
        Figure(f"{what}, dask level", times["dask"], times["floor"], bare, "ms", 2.5),
        Figure(f"{what}, Slide.read", times["read"], times["openslide"], "OpenSlide", "ms", 1.0),
    ]
    if rival is not None:
        peer_name = "napari-wsi through dask"
        report.figures.append(
            Figure(f"{what}, dask level", times["dask"], times["napari-wsi"], peer_name, "ms", 1.0)
        )


def _against_openslide(path: Path, report: Report) -> None:
    """Read regions of a newly opened slide, by us and by OpenSlide with as large a cache of decoded tiles."""
    file = next(iter(sorted(path.iterdir()))) if path.is_dir() else path
    with open_slide(path) as slide:
        places = _places(slide.shape, (TILE, TILE), _REGIONS)

    def ours() -> None:
        with open_slide(path) as slide:
            for y, x in places:
                slide.read(y, x, TILE, TILE)

    def theirs() -> None:
        with openslide.OpenSlide(str(file)) as peer:
            peer.set_cache(openslide.OpenSlideCache(_CACHE))
            for y, x in places:
                peer.read_region((x, y), 0, (TILE, TILE))

    def wsidicom() -> None:
        with WsiDicom.open(path) as peer:
            for y, x in places:
                peer.read_region((x, y), 0, (TILE, TILE))

    contestants: dict[str, Callable[[], None]] = {"ours": ours, "openslide": theirs}
    if WsiDicom is not None and path.suffix == ".dicom":
        contestants["wsidicom"] = wsidicom
    with _cache_of(_CACHE):
        times = interleaved(contestants, _ROUNDS)
    rates = {name: len(places) / seconds for name, seconds in times.items()}
    what, unit = f"{path.name}, opening and {_REGIONS} regions of 256 px, one thread", "regions/s"
    report.figures.append(
        Figure(what, rates["ours"], rates["openslide"], "OpenSlide", unit, 0.95, at_most=False)
    )
    if "wsidicom" in rates:
        report.figures.append(Figure(what, rates["ours"], rates["wsidicom"], "wsidicom", unit, at_most=False))


def _places(shape: Place, size: Place, count: int, *, aligned: bool = False) -> list[Place]:
    """Return random places (y, x) of windows that lie wholly inside."""
    rng = np.random.default_rng(1)
    grid = TILE if aligned else 1
    return [
        (
            int(rng.integers((shape[0] - size[0]) // grid + 1)) * grid,
            int(rng.integers((shape[1] - size[1]) // grid + 1)) * grid,
        )
        for _ in range(count)
    ]


def _each(read: Callable[[int, int], object], places: list[Place]) -> Callable[[], object]:
    def run() -> None:
        for y, x in places:
            read(y, x)

    return run


def _computed(level: da.Array, y: int, x: int) -> npt.NDArray[np.uint8]:
    return np.asarray(level[y : y + _VIEW[0], x : x + _VIEW[1]])


def _napari_wsi(path: Path) -> da.Array | None:
    try:
        from napari_wsi.backends.openslide import OpenSlideStore
    except ImportError:
        return None
    level: da.Array = OpenSlideStore(path).to_layer_data_tuples()[0][0][0]
    return level
