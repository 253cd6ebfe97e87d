"""The tools of the Attention panel: one is shown at a time, and all their names are in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_lumen.plugin.controllers.attention import AttentionController
    from napari_lumen.plugin.panel import Closable

_COLUMNS = 4  # of buttons: tabs in one row would hide behind arrows


class Tool(QWidget):
    """A page of the Attention panel.

    Parameters
    ----------
    controller : AttentionController

    Attributes
    ----------
    title : str
        On its button.
    tip : str
    """

    title: ClassVar[str]
    tip: ClassVar[str] = ""

    def __init__(self, controller: AttentionController) -> None:
        super().__init__()
        self.attention = controller

    def closables(self) -> tuple[Closable, ...]:
        """Return what must be closed with the panel: controllers of its own."""
        return ()


class FollowingTool(Tool):
    """A tool that follows the chosen map while it is seen."""

    def watch(self, on: bool) -> None:
        """Follow the map from now on, or let it go."""
        raise NotImplementedError

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802  # Qt's name
        """Follow the chosen map from now on."""
        super().showEvent(event)
        self.watch(True)

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802  # Qt's name
        """Read and draw nothing for a tool that nobody sees."""
        super().hideEvent(event)
        window = self.window()
        if window is not None and window.isVisible():  # a window that closes takes its layers with it
            self.watch(False)


class Tools(QWidget):
    """Buttons with the names of tools, and the tool that is chosen.

    Parameters
    ----------
    tools : sequence of Tool
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        super().__init__()
        self.tools = tuple(tools)
        self.buttons = QButtonGroup(self)
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(grid)
        for index, tool in enumerate(self.tools):
            button = QPushButton(tool.title)
            button.setToolTip(tool.tip)
            button.setCheckable(True)
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self.buttons.addButton(button, index)
            grid.addWidget(button, *divmod(index, _COLUMNS))
            layout.addWidget(tool)
        self.buttons.idToggled.connect(self._on_toggled)
        self.choose(type(self.tools[0]))

    def choose(self, kind: type[Tool]) -> None:
        """Show the tool of a class."""
        index = next(index for index, tool in enumerate(self.tools) if isinstance(tool, kind))
        button = self.buttons.button(index)
        if button is not None:
            button.setChecked(True)
        for number, tool in enumerate(self.tools):
            tool.setVisible(number == index)

    def _on_toggled(self, index: int, on: bool) -> None:
        self.tools[index].setVisible(on)
