"""The figure of the shown map, copied and saved as it looks on the screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attention_bench import Bench
from explain_fakes import dark_at, marker_model
from napari_lumen.annotations.decision import STATES
from napari_lumen.explain.drawing import Bitmap
from napari_lumen.geometry import Region
from napari_lumen.plugin.attention_figure_work import as_shown, draw
from napari_lumen.plugin.controllers.attention_figure import FigureController
from napari_lumen.plugin.explainers import Asker
from test_plugin_correct import AtOnce

SPOT = Region(96, 96, 16, 16)
VIEW = Region(80, 80, 50, 50)


@pytest.fixture
def bench() -> Bench:
    bench = Bench(dark_at(SPOT, (300, 320)), marker_model(4, size=64))
    bench.controller.explain(Asker(model=Path("marker")), (104.0, 104.0), "Field")
    bench.controller.choose_map("map4")
    bench.look_at(VIEW)
    return bench


def test_the_figure_has_the_limits_colours_and_opacity_of_the_layer(bench: Bench) -> None:
    current = bench.controller.current
    assert current is not None
    layer: Any = bench.map
    layer.colormap, layer.gamma, layer.opacity = "viridis", 2.0, 0.5
    layer.contrast_limits = (-1.0, 2.0)
    style = as_shown(current, bench.controller.state.legend)
    drawing = draw(bench.slide, VIEW, current, style)
    picture = next(mark for mark in drawing.marks if isinstance(mark, Bitmap)).pixels
    scale = picture.shape[0] / VIEW.height
    y, x = (round((SPOT.y + 8 - VIEW.y) * scale), round((SPOT.x + 8 - VIEW.x) * scale))
    value = (1.0 + 1.0) / 3.0  # the spot is 1
    expected = layer.colormap.map(np.array([value**2.0]))[0, :3] * 255 * 0.5  # over black
    np.testing.assert_allclose(picture[y, x], expected, atol=3)
    texts = " ".join(mark.text for mark in drawing.marks if hasattr(mark, "text"))
    assert "-1 to 2, set by hand" in texts
    assert "Marker, one field." in texts
    assert "µm" in texts


def test_the_limits_are_said_as_the_legend_says_them(bench: Bench) -> None:
    current, legend = bench.controller.current, bench.controller.state.legend
    assert current is not None
    assert legend is not None
    drawing = draw(bench.slide, VIEW, current, as_shown(current, legend))
    assert legend.said in " ".join(mark.text for mark in drawing.marks if hasattr(mark, "text"))


def test_tumour_normal_and_no_label_keep_their_colours_and_names_in_a_figure(bench: Bench) -> None:
    current = bench.controller.current
    assert current is not None
    decided = replace(current, name=current.name + STATES)
    drawing = draw(bench.slide, VIEW, decided, as_shown(decided, bench.controller.state.legend))
    texts = [mark.text for mark in drawing.marks if hasattr(mark, "text")]
    assert {"Tumour: from 0.5 on.", "Normal: below 0.5."} <= set(texts)
    assert not any("colours from" in text for text in texts)


def test_the_buttons_copy_to_the_clipboard_and_save_png_and_svg(
    qtbot: Any, bench: Bench, tmp_path: Path
) -> None:
    from qtpy.QtWidgets import QApplication

    from napari_lumen.plugin.widgets.attention_figure import FigureBar

    controller = FigureController(bench.controller, AtOnce())
    bar = FigureBar(bench.controller, controller)
    qtbot.addWidget(bar)
    bar.copy.click()
    clipboard = QApplication.clipboard()
    image, mime = clipboard.image(), clipboard.mimeData()
    assert f"{image.width():,} × {image.height():,} px" in bar.status.text()
    assert bytes(mime.data("image/svg+xml")).startswith(b"<svg")
    controller.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.size == (image.width(), image.height())
        assert saved.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    controller.save(tmp_path / "a.svg")
    assert "Marker, one field." in (tmp_path / "a.svg").read_text(encoding="utf-8")
    controller.save(tmp_path / "nowhere" / "a.svg")
    assert "cannot be written" in bar.status.text()
    bench.look_at(Region(200, 200, 50, 50))
    bar.copy.click()
    assert "shows nothing of the map" in bar.status.text()
    bench.viewer.layers.remove(bench.map)
    assert not bar.copy.isEnabled()
    assert "Choose a map" in bar.copy.toolTip()
