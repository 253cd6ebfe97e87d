"""File > Open Sample: the synthetic slide that ships with napari-lumen, and CMU-1 by download."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from napari_lumen.errors import SlideError
from napari_lumen.plugin.download import Download, fetch
from napari_lumen.plugin.layers import LayerData
from napari_lumen.plugin.reader import slide_layers

SAMPLE = "lumen-sample.ome.tif"
CMU_1 = Download(
    name="CMU-1.svs",
    url="https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/CMU-1.svs",
    sha256="00a3d54482cd707abf254fe69dccc8d06b8ff757a1663f1290c23418c480eb30",
    size=177_552_579,
)


def sample_slide() -> Path:
    """Return the path of the synthetic sample slide: in the package, or in the repository beside it.

    Raises
    ------
    SlideError
        When the package was installed without it.
    """
    package = Path(str(files("napari_lumen")))
    places = (package / "sample_data" / SAMPLE, package.parents[1] / "sample_data" / SAMPLE)
    for place in places:
        if place.is_file():
            return place
    raise SlideError(
        f"The sample slide {SAMPLE} is missing from {places[0].parent}. Install napari-lumen again."
    )


def lumen_sample() -> list[LayerData]:
    """Return the layer of the synthetic sample slide."""
    return slide_layers(sample_slide())


def cmu_1() -> list[LayerData]:
    """Return the layer of CMU-1, downloaded on first use.

    napari wants the layers at once, so inside a window the download runs on a worker thread behind a
    dialog with a progress bar and Cancel; the window keeps drawing.
    """
    return slide_layers(_fetch_with_dialog(CMU_1))


def _fetch_with_dialog(download: Download) -> Path:
    from napari import current_viewer

    if current_viewer() is None:
        return fetch(download)
    from qtpy.QtWidgets import QApplication

    from napari_lumen.plugin.jobs import Jobs
    from napari_lumen.plugin.widgets.waiting import wait_for

    return wait_for(
        Jobs(),
        lambda emit, cancel: fetch(download, emit, cancel),
        f"Downloading {download.name} ({download.size / 1e6:.0f} MB) …",
        parent=QApplication.activeWindow(),
    )
