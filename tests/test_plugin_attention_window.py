"""The Attention panel in a real window: a click explains the view, a click in the tree shows a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer

from attention_bench import MARKER, OneModel, Soon
from explain_fakes import dark_at, marker_model
from napari_lumen.geometry import Region
from napari_lumen.plugin.catalogue import Catalogue
from napari_lumen.plugin.explainers import Asker
from napari_lumen.plugin.slide_layers import slide_layer


def test_the_panel_explains_the_view_in_a_job_and_shows_map_legend_reading_and_tools(
    make_napari_viewer: Any, qtbot: Any
) -> None:
    from napari_lumen.plugin.attention_panel import TOOLS, AttentionPanel
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.jobs import Jobs

    viewer = make_napari_viewer(show=True)
    slide = dark_at(Region(204, 192, 16, 16), (400, 420))
    viewer.add_layer(Layer.create(*slide_layer(slide)))
    controller = AttentionController(viewer, Jobs(), lambda: Catalogue((MARKER,), ()))
    controller.explainers = OneModel(marker_model(2, 4, size=64))
    panel = AttentionPanel(viewer, controller)
    viewer.window.add_dock_widget(panel)
    form = panel.form
    qtbot.waitUntil(form.explain.isEnabled, timeout=30_000)
    form.explain.click()
    assert form.cancel.isEnabled()
    qtbot.waitUntil(lambda: controller.current is not None, timeout=60_000)
    assert form.tree.topLevelItem(0).text(0) == "Answer"
    assert form.tree.currentItem().text(0) == "Map2"
    form.tree.setCurrentItem(form.tree.topLevelItem(0).child(1))
    current = controller.current
    assert current is not None
    assert current.name == "probability.dark"
    assert "lowest to highest of the tile" in form.legend.said.text()  # of few dark pixels no percentile
    viewer.cursor.position = (103.0, 97.0)
    viewer.mouse_over_canvas = True
    qtbot.waitUntil(lambda: "dark 1.00" in form.card.text(), timeout=10_000)
    colours, channels, tile = panel.tools.tools[:3]
    colours.opacity.setValue(30)
    assert current.layer.opacity == 0.3
    panel.tools.buttons.button(1).click()
    assert (channels.isVisible(), colours.isVisible()) == (True, False)
    channels.ordered.setChecked(True)
    assert channels.strip.channel_at(1) == int(np.argmax(channels.controller.gates.values))
    qtbot.waitUntil(lambda: tile.maps.count() == len(controller.source.maps), timeout=30_000)  # type: ignore[union-attr]
    assert len(panel.tools.tools) == len(TOOLS)
    panel.resize(380, 900)
    assert panel.minimumSizeHint().width() <= 380
    for closable in (*channels.closables(), *tile.closables(), controller):
        closable.close()


def test_on_the_canvas_a_map_of_cells_that_do_not_fit_its_field_ends_with_the_field_at_every_zoom(
    make_napari_viewer: Any, qtbot: Any
) -> None:
    from napari_lumen.plugin.attention_panel import AttentionPanel
    from napari_lumen.plugin.controllers.attention import AttentionController

    viewer = make_napari_viewer(show=True)
    slide = dark_at(Region(204, 192, 16, 16), (400, 420))
    layer: Any = viewer.add_layer(Layer.create(*slide_layer(slide)))
    controller = AttentionController(viewer, Soon(), lambda: Catalogue((MARKER,), ()))
    controller.explainers = OneModel(marker_model(16, None, size=77, multiple=16))
    panel = AttentionPanel(viewer, controller)
    controller.explain(Asker(model=Path("marker")), Region(150, 140, 77, 90), "Field")
    controller.choose_map("mapNone")
    controller.choose_map("map16")
    controller.choose_look(colormap="grey", interpolation="linear", opacity=1.0)
    shown: Any = controller.current.layer  # type: ignore[union-attr]
    layer.visible = False
    shown.contrast_limits = (-2, -1)  # all of it is white
    field = controller.field.explained_region  # type: ignore[union-attr]
    assert shown.data[0].shape == (5, 6)  # of 16 px: 80 x 96
    mpp = np.array(layer.scale[-2:])
    for zoom, corner in ((6.0, (150, 140)), (6.0, (227, 230)), (40.0, (227, 230)), (40.0, (150, 230))):
        centre = (np.array(corner) - 0.5) * mpp
        viewer.scene.camera.zoom, viewer.scene.camera.center = zoom, tuple(centre)
        pixels = viewer.screenshot(canvas_only=True, flash=False)
        white = (pixels[..., :3] > 200).all(axis=-1)
        assert white.any()
        for axis, (low, high) in enumerate(((field.y, field.bottom), (field.x, field.right))):
            seen = np.flatnonzero(white.any(axis=1 - axis))
            for edge, end in ((seen[0], low), (seen[-1] + 1, high)):
                at = (end - corner[axis]) * mpp[axis] * zoom + white.shape[axis] / 2
                if 0 < at < white.shape[axis]:
                    assert edge == pytest.approx(at, abs=1), (zoom, corner, axis)
    panel.close()
