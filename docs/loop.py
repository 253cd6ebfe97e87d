"""Make `docs/loop-*.png`: from a slide to a better model and back, in the real window.

``NAPARI_CONFIG=$(mktemp -d)/settings.yaml xvfb-run -a -s "-screen 0 1680x1050x24" python docs/loop.py``

`tests/test_plugin_loop.py` takes the same steps and looks at what came of each.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from PIL import Image

from napari_lumen.plugin.demo_window import wait

if TYPE_CHECKING:
    import napari
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QComboBox, QPushButton

    from napari_lumen.plugin.panel import Panel

SLIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"
MODEL = "Nuclei (FocusNet++ light)"
NAME = "nuclei-corrected"
_PANELS = ("Run model", "Correct", "Train", "Evaluate")
WINDOW = 1400, 950  # px
_LOOKED_AT = (1980.0, 1190.0), 580.0  # middle (y, x) and height of the part that is run, level-0 px
_LONGEST = 1800.0  # seconds that anything is waited for
_MOVE = 0.015  # seconds between two moves of the mouse: the canvas takes them one by one
_SHOWN = 1200  # px, width of a picture


@dataclass(frozen=True)
class Stroke:
    """A stroke of the brush: class (0 is background), width and path (y, x) in level-0 px."""

    value: int
    width: float
    path: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Field:
    """A window to correct: its middle (y, x) and height in level-0 px, and the strokes."""

    middle: tuple[float, float]
    height: float
    strokes: tuple[Stroke, ...]


# what each shows overlaps no other, also in a wider window
FIELDS = (
    # the two ends of a keratin pearl, whose dark rings were taken for nuclei
    Field(
        (2007.0, 1305.0),
        150.0,
        (
            Stroke(
                0, 26.0, ((1970, 1318), (1978, 1322), (1990, 1310), (1994, 1285), (2010, 1270), (2030, 1258))
            ),
            Stroke(0, 26.0, ((2030, 1258), (2050, 1256), (2070, 1256), (2078, 1258))),
            Stroke(0, 26.0, ((1994, 1300), (2004, 1320), (2020, 1320), (2050, 1326), (2075, 1322))),
            Stroke(0, 18.0, ((1988, 1334), (1998, 1342), (2012, 1344), (2040, 1340))),
            Stroke(0, 16.0, ((2010, 1282), (2028, 1302), (2034, 1308))),
        ),
    ),
    Field(
        (2162.0, 1245.0),
        150.0,
        (
            Stroke(0, 26.0, ((2094, 1208), (2110, 1205), (2140, 1206), (2160, 1214), (2170, 1222))),
            Stroke(
                0, 26.0, ((2152, 1225), (2156, 1250), (2146, 1274), (2134, 1284), (2115, 1295), (2098, 1296))
            ),
            Stroke(0, 22.0, ((2094, 1228), (2120, 1226), (2140, 1240), (2132, 1262), (2128, 1275))),
            Stroke(0, 20.0, ((2164, 1204), (2176, 1212), (2172, 1230), (2162, 1255))),
        ),
    ),
    # epithelium: two pale nuclei that were found in part
    Field(
        (1840.0, 1128.0),
        250.0,
        (
            Stroke(1, 13.0, ((1917, 1158), (1920, 1160))),
            Stroke(1, 12.0, ((1954, 1142), (1956, 1144))),
        ),
    ),
)


class Loop:
    """The steps of the loop, done with the mouse and the keys in a window.

    Parameters
    ----------
    viewer : napari.Viewer
        Shown.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.panels: dict[str, Any] = {}

    def open(self, slide: Path = SLIDE) -> None:
        """Open a slide and the panels, and look at the part that the loop is about."""
        self.viewer.open(slide, plugin="napari-lumen")
        for name in _PANELS:
            _, panel = self.viewer.window.add_plugin_dock_widget("napari-lumen", name, tabify=True)
            self.panels[name] = panel
        wait(0.5)  # the canvas has its size once all docks have theirs
        panel = self.raise_panel("Run model")
        _wait(lambda: MODEL in _texts(panel.form.model))
        self.look_at(*_LOOKED_AT)

    def run(self, model: str = MODEL) -> None:
        """Run a model on what is in view."""
        panel = self.raise_panel("Run model")
        self.look_at(*_LOOKED_AT)
        form, controller = panel.form, panel.controller
        _wait(lambda: model in _texts(form.model))
        _choose(form.model, model)
        _choose(form.where, "Current view")
        _click(form.run, lambda: controller.state.blocked is None)
        _wait(lambda: not controller.state.running)

    def paint(self, field: Field) -> None:
        """Open an edit window over a field and paint in it."""
        panel = self.raise_panel("Correct")
        controller = panel.controller
        self.look_at(field.middle, field.height)
        _wait(lambda: controller.state.blocked is None and not controller.state.busy)
        self.press("W")
        _wait(lambda: controller.state.open)
        for stroke in field.strokes:
            self.press(str(stroke.value))
            self._size_brush(stroke.width)
            self._draw(stroke.path)
        controller.tick()  # what its clock does every few seconds: the counts follow

    def accept(self) -> None:
        """Commit what is painted."""
        controller = self.panels["Correct"].controller
        self.press("A")
        _wait(lambda: not controller.state.open and not controller.state.busy)

    def choose_training(self, epochs: int) -> None:
        """Say what is learned: from the corrections, from the model on."""
        panel = self.raise_panel("Train")
        form, controller = panel.form, panel.controller
        _wait(lambda: MODEL in _texts(form.model))
        _choose(form.data.data, "Corrections")
        _choose(form.model, MODEL)
        form.numbers.control("epochs").setValue(epochs)
        form.numbers.control("batch").setValue(2)
        rates = form.numbers.control("rates")
        rates.setText("[[0, 0.0003]]")
        rates.editingFinished.emit()
        form.data.held_out.setValue(34)  # one of three windows
        form.name.clear()
        _type(form.name, NAME)
        _wait(lambda: controller.state.blocked is None)

    def train(self) -> None:
        """Train, until the model is there."""
        panel = self.raise_panel("Train")
        _click(panel.form.train)
        _wait(lambda: not panel.controller.state.busy)

    def evaluate(self) -> None:
        """Score the run in view against the corrected windows."""
        panel = self.raise_panel("Evaluate")
        form, controller = panel.form, panel.controller
        _choose(form.truth, next(text for text in _texts(form.truth) if text.startswith("Corrected windows")))
        _click(form.evaluate, lambda: controller.state.blocked is None)
        _wait(lambda: not controller.state.busy)

    def export(self, path: Path) -> None:
        """Save the objects of the newest run for QuPath."""
        from qtpy.QtWidgets import QFileDialog

        panel = self.raise_panel("Run model")
        with patch.object(QFileDialog, "getSaveFileName", return_value=(str(path), "")):
            _click(panel.save)
        _wait(lambda: not panel.controller.state.saving)

    def look_at(self, middle: tuple[float, float], height: float) -> None:
        """Move the view to a part of the slide, level-0 px (y, x)."""
        slide = self._slide()
        camera = self.viewer.scene.camera
        camera.center = (0.0, *slide.data_to_world(middle))
        camera.zoom = self.viewer.canvas.size[0] / (height * float(slide.scale[0]))
        wait(0.2)

    def press(self, key: str) -> None:
        """Press a key over the canvas."""
        from qtpy.QtGui import QKeySequence
        from qtpy.QtTest import QTest

        QTest.keyClick(self._canvas(), QKeySequence(key)[0].key())
        wait(_MOVE)

    def raise_panel(self, name: str) -> Any:
        """Bring a panel to the front, as a click on its tab does, and return it."""
        panel: Panel = self.panels[name]
        dock = panel.parent()
        dock.raise_()
        wait(0.1)
        return panel

    def _size_brush(self, width: float) -> None:
        layer = self.viewer.layers.selection.active
        size = max(1, round(width * float(self._slide().scale[0] / layer.scale[0])))
        while layer.brush_size != size:
            self.press("]" if layer.brush_size < size else "[")

    def _draw(self, path: Iterable[tuple[float, float]]) -> None:
        """Drag with the left button from place to place of the slide."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        canvas, kinds, left, none = self._canvas(), QEvent.Type, Qt.MouseButton.LeftButton, _no_button()
        places = [self._on_canvas(place) for place in path]
        steps = [(kinds.MouseMove, places[0], none, none), (kinds.MouseButtonPress, places[0], left, left)]
        steps += [(kinds.MouseMove, place, none, left) for place in places[1:]]
        steps.append((kinds.MouseButtonRelease, places[-1], left, none))
        for kind, place, button, buttons in steps:
            point = QPointF(*place)
            where = canvas.mapToGlobal(point)
            event = QMouseEvent(kind, point, where, button, buttons, Qt.KeyboardModifier.NoModifier)
            QApplication.sendEvent(canvas, event)
            wait(_MOVE)

    def _on_canvas(self, place: tuple[float, float]) -> tuple[float, float]:
        """Return where on the canvas a place of the slide lies, (x, y) in its pixels."""
        y, x = self._slide().data_to_world(place)
        camera, (height, width) = self.viewer.scene.camera, self.viewer.canvas.size
        _, middle_y, middle_x = camera.center
        return width / 2 + (x - middle_x) * camera.zoom, height / 2 + (y - middle_y) * camera.zoom

    def _slide(self) -> Any:
        return next(layer for layer in self.viewer.layers if layer.name.startswith(SLIDE.stem))

    def _canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native


def main() -> None:
    """Go through the loop, and take a picture of the window at each step."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder  # no model or run of this is kept
        _go(Path(folder))


def _go(folder: Path) -> None:
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    loop, take = Loop(viewer), partial(_take, viewer)
    loop.open()
    take("1-opened")
    loop.run()
    take("2-run")
    for number, field in enumerate(FIELDS):
        loop.paint(field)
        if number == 0:
            take("3-painted")
        loop.accept()
    take("4-corrected")
    loop.choose_training(epochs=8)
    take("5-to-train")
    loop.train()
    take("6-trained")
    loop.run(NAME)
    take("7-run-again")
    loop.evaluate()
    take("8-evaluated")
    loop.export(folder / "nuclei.geojson")
    take("9-exported")
    viewer.close()


def _take(viewer: napari.Viewer, name: str) -> None:
    wait(1.0)  # for the last repaint
    shot = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)[..., :3])
    small = shot.resize((_SHOWN, round(_SHOWN * shot.height / shot.width)), Image.Resampling.LANCZOS)
    small.quantize(256).save(Path(__file__).with_name(f"loop-{name}.png"), optimize=True)


def _wait(until: Callable[[], bool]) -> None:
    wait(_LONGEST, until)
    if not until():
        raise TimeoutError("The window did not come to what was waited for.")


def _texts(box: QComboBox) -> list[str]:
    return [box.itemText(index) for index in range(box.count())]


def _choose(box: QComboBox, text: str) -> None:
    """Choose an item as a click on it does."""
    index = _texts(box).index(text)
    box.setCurrentIndex(index)
    box.activated.emit(index)


def _click(button: QPushButton, ready: Callable[[], bool] = lambda: True) -> None:
    _wait(lambda: button.isEnabled() and ready())
    button.click()


def _type(line: Any, text: str) -> None:
    from qtpy.QtTest import QTest

    QTest.keyClicks(line, text)


def _no_button() -> Qt.MouseButton:
    from qtpy.QtCore import Qt

    return Qt.MouseButton.NoButton


if __name__ == "__main__":
    main()
