"""The demo: opens the sample slide, clicks Run, and shows what came of it.

``python -m napari_lumen.plugin.demo_window OUT [--screenshot FILE] [--model FOLDER]``
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.errors import LumenError, RunError

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_lumen.plugin.run_model_panel import RunModelPanel

_SIZE = (1680, 1050)
_RUN_TIMEOUT = 1800.0  # seconds; the sample takes about one minute on two cores
_LOOK_TIMEOUT = 60.0
_SETTLE = 1.0  # for the last repaint before the picture is taken
_VIEW_UM = 420.0  # height of the part that is shown at the end: nuclei can be told apart


def run_demo(screenshot: Path | None, out: Path, model: Path | None = None) -> None:
    """Open napari with the sample slide, run the shipped model through the panel and show the result.

    Parameters
    ----------
    screenshot : Path or None
        Where to save a picture of the whole window, after which it closes; None leaves the window open.
    out : Path
        The run is written to its subfolder ``run``, in place of an earlier one.
    model : Path, optional
        Folder of the model to run; the first one that the panel offers when left out.

    Raises
    ------
    LumenError
        When the sample or the model is missing or the run fails.
    """
    import napari

    from napari_lumen.plugin.sample_data import sample_slide

    folder = _fresh_run_folder(out)
    viewer = napari.Viewer(title="napari-lumen", show=True)
    try:
        viewer.window.resize(*_SIZE)
        viewer.open(sample_slide(), plugin="napari-lumen")
        _, panel = viewer.window.add_plugin_dock_widget("napari-lumen", "Run model")
        _run(panel, folder, model)
        _arrange(viewer)
        if screenshot is None:
            napari.run()
        else:
            wait(_SETTLE)
            screenshot.parent.mkdir(parents=True, exist_ok=True)
            viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
    finally:
        if screenshot is not None:
            viewer.close()


def _fresh_run_folder(out: Path) -> Path:
    """Return the folder of the run, an earlier run of the demo removed: the demo can be repeated."""
    folder = out / "run"
    if (folder / "run.json").is_file():
        shutil.rmtree(folder)
    return folder.resolve()


def _run(panel: RunModelPanel, folder: Path, model: Path | None) -> None:
    """Choose, click Run and wait for the end."""
    controller = panel.controller
    controller.out = folder
    wait(_LOOK_TIMEOUT, lambda: controller.state.blocked is None)
    if controller.state.blocked:
        raise RunError(f"The demo cannot run: {controller.state.blocked}")
    if model is not None:
        controller.choose_model(model)
    panel.form.run.click()
    wait(_RUN_TIMEOUT, lambda: not controller.state.running)
    controller.out = None
    if not (folder / "run.json").is_file():
        raise RunError(f"The demo's run did not finish: {controller.state.message or 'it took too long'}")


def _arrange(viewer: napari.Viewer) -> None:
    """Show a part where single nuclei can be seen, under outlines and attention."""
    from napari_lumen.plugin.layers import KEY

    slide = next(item for item in viewer.layers if item.metadata.get(KEY, {}).get("kind") == "slide")
    viewer.scene.camera.center = (0.0, *_busiest(viewer, slide))
    viewer.scene.camera.zoom = viewer.canvas.size[0] / _VIEW_UM


def _busiest(viewer: napari.Viewer, slide: Layer) -> tuple[float, float]:
    """Return the world position (y, x) around which the most was found."""
    import numpy as np
    from napari.layers import Labels
    from scipy.ndimage import uniform_filter

    labels = next((item for item in reversed(viewer.layers) if isinstance(item, Labels)), None)
    if labels is None:
        extent = slide.extent.world
        return float(extent[:, 0].mean()), float(extent[:, 1].mean())
    level = len(labels.data) - 1
    found = np.asarray(labels.data[level]) > 0
    factor = labels.downsample_factors[level]
    side = max(1, round(_VIEW_UM / (labels.scale[0] * factor[0])))
    density = uniform_filter(found.astype(np.float32), side, mode="constant")
    row, column = np.unravel_index(int(density.argmax()), density.shape)
    y, x = labels.data_to_world((row * factor[0], column * factor[1]))
    return float(y), float(x)


def wait(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window live until something is true, or for a time."""
    from qtpy.QtCore import QEventLoop, QTimer

    if until():
        return
    loop, poll, limit = QEventLoop(), QTimer(), QTimer()
    poll.timeout.connect(lambda: loop.quit() if until() else None)
    limit.setSingleShot(True)
    limit.timeout.connect(loop.quit)
    poll.start(50)
    limit.start(int(seconds * 1000))
    loop.exec()
    poll.stop()
    limit.stop()


def main() -> int:
    """Run the demo from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="The napari-lumen demo window.")
    parser.add_argument("out", type=Path, help="folder of the run")
    parser.add_argument("--screenshot", type=Path, help="save a picture here and close")
    parser.add_argument("--model", type=Path, help="folder of the model")
    arguments = parser.parse_args()
    try:
        run_demo(arguments.screenshot, arguments.out, arguments.model)
    except LumenError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
