"""Tools for whole objects in an edit window: delete, split, merge, reclassify, add."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

from napari_lumen.corrections import objects
from napari_lumen.corrections.changes import part_of
from napari_lumen.geometry import Window
from napari_lumen.plugin.controllers.correct_stroke import Stroke
from napari_lumen.plugin.jobs import Emit

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_lumen.corrections.drawn import Mask
    from napari_lumen.corrections.objects import Patch
    from napari_lumen.geometry import Pair
    from napari_lumen.plugin.controllers.correct_board import CorrectBoard
    from napari_lumen.plugin.controllers.correct_choice import CorrectChoice
    from napari_lumen.plugin.controllers.correct_desk import CorrectDesk
    from napari_lumen.plugin.controllers.correct_window import EditWindow

_CLICK = 4.0  # px on the screen within which a drag is a click
_REACH_UM = 10.0  # about a click in which an object is grown: twice as far as most nuclei
_REACH_PX = (12, 64)  # at the least and at the most
_ASKED_UM, _ASKED_PX = 50.0, (32, 256)  # the same where the model is asked: it knows glands, too


@dataclass(frozen=True)
class Tool:
    """What the mouse does to objects.

    Attributes
    ----------
    name, key, title : str
    hint : str
        What to do with it.
    draws : bool
        Whether a line is drawn.
    """

    name: str
    key: str
    title: str
    hint: str
    draws: bool


# Their keys are bound for the whole window: napari binds them for Labels to nothing.
TOOLS = (
    Tool("delete", "D", "Delete", "Click on an object to delete it.", False),
    Tool("split", "C", "Split", "Draw a line across an object: it is cut in two.", True),
    Tool(
        "merge",
        "J",
        "Merge",
        "Draw from one object into others: they become one, of the class of the first.",
        True,
    ),
    Tool(
        "reclassify",
        "R",
        "Reclassify",
        "Click on an object, or draw around several, to give it the chosen class; or point at one and press "
        "1 to 9.",
        True,
    ),
    Tool(
        "add", "I", "Add", "Click into an object that was missed: it is outlined in the chosen class.", False
    ),
    Tool(
        "ask",
        "U",
        "Ask",
        "Click into an object that was missed: the model outlines it in the chosen class, as far as it sees "
        "any of it.",
        False,
    ),
)


class ObjectTools:
    """Puts tools into the user's hand while a window is open.

    Parameters
    ----------
    viewer : ViewerModel
    board : CorrectBoard
    choice : CorrectChoice
    desk : CorrectDesk
    open_window : callable
        Opens a window over what is in view.
    edited : callable
        Called after each edit.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        board: CorrectBoard,
        choice: CorrectChoice,
        desk: CorrectDesk,
        open_window: Callable[[], None],
        edited: Callable[[], None],
    ) -> None:
        self._viewer = viewer
        self._board = board
        self._choice = choice
        self._desk = desk
        self._open = open_window
        self._edited = edited
        self._tool: Tool | None = None
        self._stroke: Stroke | None = None
        self._wanted: Tool | None = None  # in the window that is being opened
        desk.opened.connect(self._on_opened)
        desk.closing.connect(self._on_closing)

    def toggle(self, name: str) -> None:
        """Take a tool, or put it away if it is in hand; without a window, open one for it."""
        tool = next(item for item in TOOLS if item.name == name)
        window = self._desk.window
        if window is None:
            self._wanted = tool
            self._open()
            if self._desk.window is None and not self._board.state.busy:
                self._wanted = None
        elif tool == self._tool:
            self._put_away(window)
        else:
            self._take(window, tool)

    def _take(self, window: EditWindow, tool: Tool) -> None:
        self._put_away(window)
        layer = window.layer
        # napari's modes are fixed: ours are what the mouse does where it would move the view
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.cursor = "cross"
        layer.help = tool.hint
        layer.mouse_drag_callbacks.append(self._on_drag)
        layer.bind_key("Z", self._on_move, overwrite=True)
        layer.bind_key("Space", self._on_held, overwrite=True)
        layer.events.mode.connect(self._on_mode)
        window.tool_in_hand = True
        window.bind_digits(self._on_digit)
        self._tool = tool
        if tool.draws:
            self._stroke = Stroke(self._viewer, layer)
        self._board.update(tool=tool.name, message=tool.hint)

    def _put_away(self, window: EditWindow) -> None:
        tool, self._tool = self._tool, None
        if tool is None:
            return
        layer = window.layer
        layer.events.mode.disconnect(self._on_mode)
        layer.mouse_drag_callbacks.remove(self._on_drag)
        layer.bind_key("Z", None, overwrite=True)
        layer.bind_key("Space", None, overwrite=True)
        if str(layer.mode) == "pan_zoom":
            layer.mouse_pan, layer.cursor = True, "standard"
        window.tool_in_hand = False
        window.bind_digits(window.choose)
        if self._stroke is not None:
            self._stroke.close()
            self._stroke = None
        message = self._board.state.message
        self._board.update(tool="", message="" if message == tool.hint else message)

    def _on_opened(self, window: EditWindow) -> None:
        if self._wanted is not None:
            self._take(window, self._wanted)
        self._wanted = None

    def _on_closing(self, window: EditWindow) -> None:
        self._put_away(window)

    def _on_mode(self, event: Any = None) -> None:
        """Put the tool away when another of napari's is taken."""
        if self._desk.window is not None:
            self._put_away(self._desk.window)

    def _on_move(self, layer: Any) -> None:
        self._on_mode()

    def _on_held(self, layer: Any) -> Generator[None]:
        """Move the view while the key is held."""
        layer.mouse_pan = True
        yield
        layer.mouse_pan = self._tool is None

    def _on_digit(self, value: int) -> None:
        """Choose a class, and give it to the object under the mouse if that is what the tool is for."""
        window = self._desk.window
        if window is None or self._tool is None:
            return
        window.choose(value)
        if self._tool.name == "reclassify":
            self._apply(window, [_place(window, self._viewer.cursor.position)])

    def _on_drag(self, layer: Any, event: Any) -> Generator[None]:
        window, tool = self._desk.window, self._tool
        if window is None or tool is None or event.button != 1 or layer.mouse_pan:
            return
        places = [_place(window, event.position)]
        yield
        while event.type == "mouse_move":
            places.append(_place(window, event.position))
            if self._stroke is not None:
                self._stroke.show(places)
            yield
        if self._stroke is not None:
            self._stroke.clear()
        if self._desk.window is window and self._tool == tool:
            self._apply(window, places)

    def _apply(self, window: EditWindow, places: Sequence[Pair]) -> None:
        tool, target = self._tool, self._choice.target
        if tool is None or target is None:
            return
        labels, number = window.layer.data, target.number()
        value = int(window.layer.selected_label)
        if tool.name == "delete":
            self._change(window, objects.deleted(labels, places[0], number), "Deleted", "There is no object.")
        elif tool.name == "split":
            gap = max(1, round(target.grid.step[0] / window.grid.step[0]))  # one pixel of the run's labels
            patch = objects.split(labels, places, gap, number)
            self._change(window, patch, "Split", "The line must cross an object from edge to edge.")
        elif tool.name == "merge":
            patch = objects.merged(labels, places, number)
            self._change(window, patch, "Merged", "Draw from one object into another.")
        elif tool.name == "reclassify":
            path = places[:1] if self._is_click(window, places) else places
            patch = objects.reclassified(labels, path, value, number)
            self._change(window, patch, "Reclassified", "There is no object of another class.")
        else:
            self._add(window, places[0], value, asks=tool.name == "ask")

    def _add(self, window: EditWindow, place: Pair, value: int, *, asks: bool) -> None:
        target = self._choice.target
        whole = Window(0, 0, *window.grid.shape)
        row, column = round(place[0]), round(place[1])
        if target is None or self._board.state.busy:
            return
        if not (0 <= row < whole.height and 0 <= column < whole.width):
            self._board.update(message="Click inside the window.")
            return
        if value == 0:
            self._board.update(message="Choose the class of the object first: 1 to 9.")
            return
        if window.layer.data[row, column]:
            self._board.update(message="There is an object already: R gives it another class.")
            return
        pixel = target.slide.require_mpp()[0] * window.grid.step[0]
        reach_um, (least, most) = (_ASKED_UM, _ASKED_PX) if asks else (_REACH_UM, _REACH_PX)
        reach = min(most, max(least, round(reach_um / pixel)))
        field = Window(row - reach, column - reach, 2 * reach + 1, 2 * reach + 1).intersect(whole)
        grid, seed = part_of(window.grid, field), (row - field.y, column - field.x)

        def work(emit: Emit, cancel: Event) -> Mask:
            return (target.seen if asks else target.grown)(value, grid, seed)

        def done(mask: Mask) -> None:
            if self._desk.window is window:
                patch = objects.added(window.layer.data, field, mask, value)
                self._change(window, patch, "Added", "Nothing stands out there: paint it with the brush (P).")

        self._board.run("Asking the model …" if asks else "Adding …", work, done)

    def _change(self, window: EditWindow, patch: Patch | None, done: str, otherwise: str) -> None:
        if patch is None:
            self._board.update(message=otherwise)
            return
        window.change(patch)
        self._board.update(
            message=f"{done} {patch.objects} object{'s' if patch.objects > 1 else ''}. Ctrl+Z undoes it."
        )
        self._edited()

    def _is_click(self, window: EditWindow, places: Sequence[Pair]) -> bool:
        per_pixel = float(self._viewer.scene.camera.zoom * min(window.layer.scale))
        rows, columns = zip(*places, strict=True)
        spread = max(max(rows) - min(rows), max(columns) - min(columns))
        return len(places) < 3 or spread * per_pixel <= _CLICK


def _place(window: EditWindow, position: Sequence[float]) -> Pair:
    """Return where in a window's pixels a place of the world lies, (row, column)."""
    row, column = window.layer.world_to_data(position)[-2:]
    return float(row), float(column)
