"""The Attention panel: joins its form, its tools, the controller and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_lumen.plugin.controllers.attention import AttentionController
from napari_lumen.plugin.controllers.attention_state import AttentionState
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.panel import Panel, unproxied
from napari_lumen.plugin.widgets.attention import AttentionForm
from napari_lumen.plugin.widgets.attention_channels import ChannelsTool
from napari_lumen.plugin.widgets.attention_colours import ColoursTool
from napari_lumen.plugin.widgets.attention_compare import CompareTool
from napari_lumen.plugin.widgets.attention_edges import MapEdges
from napari_lumen.plugin.widgets.attention_figure import FigureBar
from napari_lumen.plugin.widgets.attention_gallery import GalleryTool
from napari_lumen.plugin.widgets.attention_matters import MattersTool
from napari_lumen.plugin.widgets.attention_search import SearchTool
from napari_lumen.plugin.widgets.attention_threshold import ThresholdTool
from napari_lumen.plugin.widgets.attention_tile import TileTool
from napari_lumen.plugin.widgets.attention_tools import Tool, Tools

if TYPE_CHECKING:
    from napari import Viewer

TOOLS: tuple[type[Tool], ...] = (
    ColoursTool,
    ChannelsTool,
    TileTool,
    GalleryTool,
    ThresholdTool,
    MattersTool,
    CompareTool,
    SearchTool,
)
_LOOK_AGAIN = 60  # ms between two looks at where the cursor is


class AttentionPanel(Panel):
    """Dock widget "Attention".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : AttentionController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: AttentionController | None = None) -> None:
        viewer = unproxied(napari_viewer)
        self.controller = controller or AttentionController(viewer, Jobs())
        self.form = AttentionForm()
        self.tools = Tools([tool(self.controller) for tool in TOOLS])
        self.figure = FigureBar(self.controller)
        own = [closable for tool in self.tools.tools for closable in tool.closables()]
        self.edges = MapEdges(viewer)
        closables = (*own, self.figure.controller, self.edges, self.controller)
        super().__init__(closables, self.form, self.figure, self.tools)
        self._connect()
        self._show(self.controller.state)
        self._clock = QTimer(self)
        self._clock.timeout.connect(self.controller.read_cursor)
        self._clock.start(_LOOK_AGAIN)

    def _connect(self) -> None:
        form, controller = self.form, self.controller
        form.slide_chosen.connect(controller.choose_slide)
        form.source_chosen.connect(controller.choose_source)
        form.model_chosen.connect(controller.choose_model)
        form.map_chosen.connect(controller.choose_map)
        form.explain_clicked.connect(controller.explain_view)
        form.slide_found.connect(controller.open_missing)
        form.cancel_clicked.connect(controller.cancel)
        controller.changed.connect(self._show)
        controller.read.connect(form.show_reading)
        controller.gates_chosen.connect(self._on_gates)
        controller.explained.connect(self._on_explained)

    def _show(self, state: AttentionState) -> None:
        self.form.show_state(state)

    def _on_gates(self, gates: object) -> None:
        self.tools.choose(ChannelsTool)

    def _on_explained(self, field: object) -> None:
        if self.controller.source is not field:
            self.tools.choose(TileTool)
