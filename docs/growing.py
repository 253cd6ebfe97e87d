"""Make `docs/growing.png`: a run that answers where the user looks, then outwards.

``xvfb-run -a -s "-screen 0 1680x1050x24" python docs/growing.py``
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from PIL import Image

from napari_lumen.plugin.sample_data import sample_slide

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.run_state import RunState
    from napari_lumen.plugin.run_model_panel import RunModelPanel

_SHARES = (0.03, 0.2, 0.5, 1.0)
_OUT = Path(__file__).with_name("growing.png")
_ZOOM = 0.42  # all of the sample slide
_LOOKED_AT = (0.66, 0.36)  # part of the slide's height and width that the view is on when Run is clicked


def main() -> None:
    """Run the shipped model on the sample slide and join four views of it."""
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1500, 1000)
    (slide,) = viewer.open(sample_slide(), plugin="napari-lumen")
    _, panel = viewer.window.add_plugin_dock_widget("napari-lumen", "Run model")
    extent = slide.extent.world
    looked_at = extent[0] + (extent[1] - extent[0]) * _LOOKED_AT
    pictures: list[Image.Image] = []

    def take(state: RunState) -> None:
        progress = state.progress
        if progress is None or progress.stage != "running the model" or len(pictures) >= len(_SHARES) - 1:
            return
        if progress.done >= _SHARES[len(pictures)] * progress.total:
            pictures.append(_picture(viewer))

    with tempfile.TemporaryDirectory() as folder:
        _run(panel, Path(folder) / "run", looked_at, viewer, take)
        pictures.append(_picture(viewer))
        viewer.close()
    QApplication.processEvents()
    width, height = pictures[0].size
    joined = Image.new("RGB", (2 * width + 6, 2 * height + 6), "white")
    for index, picture in enumerate(pictures):
        joined.paste(picture, (index % 2 * (width + 6), index // 2 * (height + 6)))
    joined.quantize(200).save(_OUT, optimize=True)


def _run(panel: RunModelPanel, out: Path, looked_at: np.ndarray, viewer: napari.Viewer, take: object) -> None:
    from napari_lumen.plugin.demo_window import wait

    controller = panel.controller
    controller.out = out
    wait(60, lambda: controller.state.blocked is None)
    viewer.scene.camera.center = (0.0, *looked_at)
    viewer.scene.camera.zoom = 6 * _ZOOM
    controller.changed.connect(take)
    panel.form.run.click()
    wait(60, lambda: controller.state.progress is not None and controller.state.progress.done > 0)
    viewer.reset_view()
    wait(1800, lambda: not controller.state.running)
    wait(1.0)


def _picture(viewer: napari.Viewer) -> Image.Image:
    shot = viewer.screenshot(canvas_only=True, flash=False)
    return Image.fromarray(shot[..., :3]).resize((560, round(560 * shot.shape[0] / shot.shape[1])))


if __name__ == "__main__":
    main()
