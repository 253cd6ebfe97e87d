"""Make `docs/attention/*.png`: where models look, in the real window, on a slide of the shared data.

``NAPARI_CONFIG=$(mktemp -d)/settings.yaml xvfb-run -a -s "-screen 0 1680x1050x24" python docs/attention.py
--model FOLDER --model FOLDER --search FOLDER``

Models that are shipped are there by themselves. Others, e.g. of DA-RefineNet, are given by their folders; a
network without a model is named and left out, as is the search without its folder.
`tests/test_plugin_attention_docs.py` takes the same steps and looks at what came of each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from napari_lumen.plugin.demo_window import wait

if TYPE_CHECKING:
    import napari

    from napari_lumen.geometry import Region
    from napari_lumen.plugin.attention_panel import AttentionPanel

SLIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"
WINDOW = (1680, 1050)
PANEL = 400  # px wide
NUCLEI = "nuclei-focusnetpp-light"
_OUT = Path(__file__).with_name("attention")
_LONGEST = 600.0  # seconds that anything is waited for
_SHOWN = 1120  # px wide of a picture
_TISSUE, _WIDGETS = 44, 180  # colours of the canvas, and of what lies around it
_CLOSE = (1960.0, 1265.0), 700.0  # middle (y, x) and height of a field, level-0 px: nuclei are told apart
_WHOLE = (1483.0, 1110.0), 3100.0


@dataclass(frozen=True)
class Shown:
    """What is shown of a network: the map, where (middle (y, x) and height, level-0 px), boxes above it."""

    name: str
    place: tuple[tuple[float, float], float]
    boxes: str | None = None


NETWORKS = {
    "focusnetpp": Shown("d1.0.att0", _CLOSE),
    "gated_attention": Shown("omega", _WHOLE, "instances"),
    "darefinenet": Shown("refined_1", _WHOLE),
    "nas_scam": Shown("U4.sam", _CLOSE),
    "multistage": Shown("tumour_prob:states", _WHOLE),
}


class Attention:
    """The window with the slide and the panel, and what a reader does there.

    Parameters
    ----------
    viewer : napari.Viewer
    slide : Path
    """

    def __init__(self, viewer: napari.Viewer, slide: Path = SLIDE) -> None:
        from qtpy.QtCore import Qt

        self.viewer = viewer
        self.stem = slide.stem
        viewer.open(str(slide), plugin="napari-lumen")
        dock, panel = viewer.window.add_plugin_dock_widget("napari-lumen", "Attention")
        self.panel: AttentionPanel = panel
        self.controller = panel.controller
        viewer.window._qt_window.resizeDocks([dock], [PANEL], Qt.Orientation.Horizontal)
        _wait(lambda: bool(self.controller.state.models) and self.controller.state.slide is not None)

    def explain(self, model: Path, place: tuple[tuple[float, float], float]) -> None:
        """Look at a place and explain the view by a model, by its folder."""
        self.controller.choose_model(model)
        self.look_at(*place)
        wait(0.5)
        field = self.controller.field
        self.panel.form.explain.click()
        _wait(lambda: not self.controller.state.busy)
        if self.controller.field is field:
            raise RuntimeError(self.controller.state.message)

    def choose(self, name: str) -> None:
        """Choose a map, or boxes, in the tree."""
        self.controller.choose_map(name)
        _wait(lambda: self.controller.spread is not None)

    def tool(self, title: str) -> Any:
        """Open a tool by its title, and bring it into sight."""
        found = next(item for item in self.panel.tools.tools if item.title == title)
        self.panel.tools.choose(type(found))
        self._scroll()
        return found

    def run(self, model: str, folder: Path, region: Region | None = None) -> None:
        """Run a model on a region, or all tissue, and show what came of it, as the panel Run model does."""
        from napari_lumen import load_model, open_slide
        from napari_lumen.inference import predict
        from napari_lumen.plugin.layers import run_layers
        from napari_lumen.plugin.results import add_result

        with open_slide(SLIDE) as slide:
            run = predict(slide, load_model(model), region, folder)
        add_result(self.viewer, self.slide, run_layers(run, SLIDE.name))
        self.viewer.layers.selection.active = self.slide
        self.controller.choose_source(str(run.path))
        _wait(lambda: self.controller.source is not None and self.controller.source.run is not None)
        _wait(lambda: self.controller.spread is not None)

    def point_at(self, place: tuple[float, float]) -> None:
        """Put the cursor on a place of the slide, level-0 px."""
        self.viewer.cursor.position = (*self.slide.data_to_world(place),)
        self.viewer.mouse_over_canvas = True
        self.controller.read_cursor()

    def look_at(self, middle: tuple[float, float], height: float) -> None:
        """Move the view to a place of the slide and show so much of it, level-0 px."""
        slide = self.slide
        self.viewer.scene.camera.center = (0.0, *slide.data_to_world(middle))
        self.viewer.scene.camera.zoom = self.viewer.canvas.size[0] / (height * slide.scale[-1])
        wait(0.5)

    def _scroll(self) -> None:
        """Bring the tool that is open into sight."""
        from qtpy.QtWidgets import QScrollArea

        wait(0.3)
        bar = self.panel.findChild(QScrollArea).verticalScrollBar()
        bar.setValue(bar.maximum())

    @property
    def slide(self) -> Any:
        """The layer of the slide."""
        return next(layer for layer in self.viewer.layers if layer.name.startswith(self.stem))

    def take(self, name: str) -> Path:
        """Write a picture of the window."""
        self._scroll()
        wait(0.7)
        _OUT.mkdir(exist_ok=True)
        shot = Image.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)[..., :3])
        canvas = self.viewer.window._qt_viewer.canvas.native
        corner = canvas.mapTo(self.viewer.window._qt_window, canvas.rect().topLeft())
        ratio = _SHOWN / shot.width
        left, top = round(corner.x() * ratio), round(corner.y() * ratio)
        box = (left, top, left + round(canvas.width() * ratio), top + round(canvas.height() * ratio))
        small = shot.resize((_SHOWN, round(shot.height * ratio)), Image.Resampling.LANCZOS)
        tissue = small.crop(box).quantize(_TISSUE, dither=Image.Dither.NONE).convert("RGB")
        small.paste((0, 0, 0), box)  # the colours of the widgets are not spent on tissue
        small = small.quantize(
            _WIDGETS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE
        ).convert("RGB")
        small.paste(tissue, box)
        path = _OUT / f"{name}.png"
        small.quantize(_TISSUE + _WIDGETS, dither=Image.Dither.NONE).save(path, optimize=True)
        return path


def networks(window: Attention, folder: Path, pick: Callable[[str], Path | None]) -> None:
    """Show the maps of each network for which there is a model."""
    for architecture, shown in NETWORKS.items():
        model = pick(architecture)
        if model is None:
            sys.stdout.write(f"{architecture}: left out, no model is given.\n")
            continue
        if architecture == "multistage":  # of a run, since only a run leaves out glass
            window.look_at(*shown.place)
            window.controller.choose_model(model)
            window.run(str(model), folder / architecture)
        else:
            window.explain(model, shown.place)
        if shown.boxes is not None:
            window.controller.choose_map(shown.boxes)
        window.choose(shown.name)
        window.tool("Colours")
        window.point_at(shown.place[0])
        window.take(architecture)


def tools(window: Attention, folder: Path) -> None:
    """Show the tools on a run of the shipped model, and two of its maps against each other."""
    window.run(NUCLEI, folder / "run")
    window.choose("probability.nucleus")
    window.look_at((1950.0, 1200.0), 1300.0)
    window.point_at((1950.0, 1200.0))
    threshold = window.tool("Threshold")
    _wait(lambda: threshold.controller.state.areas is not None and not threshold.controller.state.busy)
    window.take("threshold")

    gallery = window.tool("Gallery")
    _wait(lambda: gallery.controller.state.complete)
    gallery.controller.go_to(0)
    window.take("gallery")

    window.choose("d1.0.att0")
    window.look_at(*_CLOSE)
    window.point_at(_CLOSE[0])
    matters = window.tool("Matters")
    _wait(lambda: not matters.controller.state.busy)
    matters.controller.check()
    _wait(lambda: matters.controller.state.checked is not None and not matters.controller.state.busy)
    window.take("matters")

    window.controller.explain_at(*_CLOSE[0])
    _wait(lambda: not window.controller.state.busy)
    wait(3.0)  # its pictures, and the tiles that are like it
    window.take("tile")

    compare = window.tool("Compare")
    controller = compare.controller
    controller.choose_map("first", "probability.nucleus")
    controller.choose_map("second", "entropy")
    controller.compare()
    _wait(lambda: controller.state.found is not None and not controller.state.busy)
    for how in ("beside", "swipe"):
        controller.show(how)
        window.look_at(_CLOSE[0], 500.0)
        window.take(f"compare-{how}")
    controller.show("none")


def search(window: Attention, folder: Path) -> None:
    """Show an architecture search."""
    tool = window.tool("Search")
    tool.controller.open_folder(folder)
    _wait(lambda: tool.controller.state.genotype is not None)
    window.take("search")


def main() -> None:
    """Take all pictures."""
    import napari

    parser = argparse.ArgumentParser(description="Pictures of the Attention panel.")
    parser.add_argument("--model", type=Path, action="append", default=[], help="folder of a further model")
    parser.add_argument("--search", type=Path, help="folder of an architecture search")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["XDG_DATA_HOME"] = name  # the models that are given are offered like a user's own
        kept = home / "napari-lumen" / "models"
        kept.mkdir(parents=True)
        for model in given.model:
            (kept / model.name).symlink_to(model.resolve(), target_is_directory=True)
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*WINDOW)
        window = Attention(viewer)
        networks(window, home, lambda architecture: _model(window, architecture))
        viewer.close()
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*WINDOW)
        window = Attention(viewer)
        tools(window, home)
        if given.search is not None:
            search(window, given.search)
        else:
            sys.stdout.write("search: left out, no folder is given.\n")
        viewer.close()


def _model(window: Attention, architecture: str) -> Path | None:
    """Return the folder of the last model of an architecture that the panel offers."""
    from napari_lumen.models import read_card

    offered = [item.path for item in window.controller.state.models]
    return next((path for path in reversed(offered) if read_card(path).architecture == architecture), None)


def _wait(until: Callable[[], bool]) -> None:
    wait(_LONGEST, until)
    if not until():
        raise TimeoutError("the window was not ready in time")


if __name__ == "__main__":
    main()
