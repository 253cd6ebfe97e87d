"""Two Dask workers on this machine beside one, each with one thread."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.files import tissue, write_svs
from bench.inference.subject import unet
from bench.report import Figure, Report
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.models import Model
from napari_lumen.slides import open_slide

SIDE = 10_000  # as of the other figures
_WARM = Region(0, 0, 512, 512)
_ROUNDS = 2  # of one worker and of two in turn, the faster of each: so that drift meets both
_SECONDS = 10.0
_BARE = """
import sys, time
import torch
from napari_lumen.models.allocator import memory_kept
from napari_lumen.models import load_model
from napari_lumen.models.folding import folded

torch.set_num_threads(1)
network = folded(load_model(sys.argv[1]).network).to(memory_format=torch.channels_last)
tiles = torch.rand(2, 3, 256, 256).contiguous(memory_format=torch.channels_last)
with torch.inference_mode(), memory_kept():
    network(tiles)
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < float(sys.argv[2]):
        network(tiles)
        done += len(tiles)
print(done / spent)
"""


def run(folder: Path, report: Report) -> None:
    """Measure and fill the report."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        report.remarks.append("dask.distributed is not installed (pip install 'napari-lumen[cluster]').")
        return
    model, label = unet(folder)
    path = write_svs(folder / "slide.svs", tissue(), SIDE, SIDE)
    rates = {1: 0.0, 2: 0.0}
    for again in range(_ROUNDS):
        for count in rates:
            out = folder / f"{count}-workers-{again}"
            rates[count] = max(rates[count], _megapixels_per_second(count, path, model, out))
    what = f"2 Dask workers of one thread, {SIDE:,} x {SIDE:,} px, {label}"
    report.figures.append(Figure(what, rates[2], rates[1], "1 worker", "MP/s", 1.8, at_most=False))
    bare = [_bare_tiles_per_second(count, model) for count in (1, 2)]
    report.figures.append(
        Figure("the same machine: 2 processes of bare forward", bare[1], bare[0], "1 process", "tiles/s")
    )


def _megapixels_per_second(count: int, path: Path, model: Model, out: Path) -> float:
    from distributed import Client

    from napari_lumen.inference.cluster import connected, local_cluster

    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (
        local_cluster([one_thread] * count) as local,
        Client(local, set_as_default=False) as client,
        connected(local.scheduler_address) as crew,
        open_slide(path) as slide,
    ):
        client.wait_for_workers(count)
        client.run(_import_everything)
        warm = out.with_name(f"{out.name}-warm")
        predict(slide, model, _WARM, warm, crew=crew)  # the client has imports, too
        start = time.perf_counter()
        predict(slide, model, Region(0, 0, *slide.shape), out, crew=crew)
        return SIDE * SIDE / 1e6 / (time.perf_counter() - start)


def _import_everything() -> None:
    """Import in a worker what a run needs; that takes seconds, once, whatever the slide."""
    import napari_lumen.inference.worker  # noqa: F401


def _bare_tiles_per_second(count: int, model: Model) -> float:
    """Return how many tiles so many processes of one thread bring through the network and do nothing else.

    Two processors that share a core, as those of virtual machines do, bring less than twice as many.
    """
    command = [sys.executable, "-c", _BARE, str(model.path), str(_SECONDS)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return sum(float(process.communicate()[0]) for process in processes)
