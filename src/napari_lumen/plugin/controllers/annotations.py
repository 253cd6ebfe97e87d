"""The Annotations panel without its widgets: layers of annotations, their classes, undo of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_lumen.annotations.classes import KEYS, ClassTable, Color
from napari_lumen.annotations.classified import in_use
from napari_lumen.annotations.history import History
from napari_lumen.corrections.author import now, this_user
from napari_lumen.errors import AnnotationError
from napari_lumen.plugin import notices
from napari_lumen.plugin.annotation_frame import frame_in
from napari_lumen.plugin.annotation_shapes import BY_HAND, shape_layers
from napari_lumen.plugin.annotation_targets import Hidden, ShapesTarget, Target, target_of
from napari_lumen.plugin.controllers.annotation_files import AnnotationFiles
from napari_lumen.plugin.controllers.annotations_in_view import AnnotationsInView
from napari_lumen.plugin.controllers.annotations_state import AnnotationsState, rows_of
from napari_lumen.plugin.jobs import JobRunner
from napari_lumen.plugin.keeping import is_kept, note_change

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_DONE = {"added": "Draw", "removed": "Delete", "changed": "Edit"}  # napari's words for what was done


class AnnotationsController:
    """State and rules of the Annotations panel.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
        Reads and writes files.
    author : str, optional
        Who draws; the user of this machine when left out.
    """

    changed = Signal(AnnotationsState)

    def __init__(self, viewer: ViewerModel, jobs: JobRunner, author: str | None = None) -> None:
        self._viewer, self._jobs = viewer, jobs
        self._files = AnnotationFiles(viewer, jobs, self._on_busy)
        self._author = author or this_user()
        self._target: Target | None = None
        self._hidden: WeakKeyDictionary[Layer, Hidden] = WeakKeyDictionary()
        self._histories: WeakKeyDictionary[Layer, History[Any]] = WeakKeyDictionary()
        self._chosen: str | None = None
        self._busy = ""
        self._restoring = False
        self.state = AnnotationsState()
        self._in_view = AnnotationsInView(viewer)
        self._events = (
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
            viewer.layers.selection.events.active,
        )
        for event in self._events:
            event.connect(self._on_layers)
        self._on_layers()

    # what the user does

    def choose_layer(self, name: str) -> None:
        """Choose the layer whose classes are shown, by its name."""
        layer = next((item for item in self._layers() if item.name == name), None)
        if layer is not None:
            self._viewer.layers.selection.active = layer

    def new_layer(self) -> None:
        """Add an empty layer to draw on, over the slide in use, with the classes of the present one."""
        table = ClassTable(classes=()) if self._target is None else self._target.table
        frame = frame_in(self._viewer)
        name = f"{frame.name.partition('.')[0] or 'New'} · annotations"
        self._files.add(shape_layers([], frame, name, table))

    def choose_class(self, name: str) -> None:
        """Draw in a class from now on; what is selected becomes one of it, unless one is drawing.

        What was drawn last stays selected in napari, and keeps its class.
        """
        target = self._target
        if target is None or name not in target.table:
            return
        self._chosen = name
        editable = target if isinstance(target, ShapesTarget) and not target.drawing else None
        if editable is not None and editable.reclassify(name, self._hidden_in(editable)):
            self._did(f"Make it {name}")
        self._draw_on()
        self._update()

    def add_class(self, name: str) -> None:
        """Add a class, to a new layer where there is none."""
        if self._target is None:
            self.new_layer()
        self._edit(f"Add {name}", lambda table: (table.added(name), {}))
        if self._target is not None and name.strip() in self._target.table:
            self.choose_class(name.strip())

    def rename(self, name: str, new: str) -> None:
        """Rename a class, and all that is of it."""
        self._edit(f"Rename {name}", lambda table: (table.renamed(name, new), {name: new.strip()}))

    def merge(self, name: str, into: str) -> None:
        """Make all of one class part of another."""
        if name != into:
            self._edit(f"Merge {name}", lambda table: (table.removed(name), {name: into}))

    def recolour(self, name: str, color: Color) -> None:
        """Give a class another colour."""
        self._edit(f"Recolour {name}", lambda table: (table.recoloured(name, color), {}))

    def give_key(self, name: str, key: int | None) -> None:
        """Let a number key choose a class."""
        self._edit(f"Key of {name}", lambda table: (table.keyed(name, key), {}))

    def ignore(self, name: str, ignored: bool) -> None:
        """Let training and scores pass over a class, or not."""
        self._edit(f"Ignore {name}", lambda table: (table.ignoring(name, ignored), {}))

    def remove_class(self, name: str) -> None:
        """Remove a class that nothing is of; else the user is told what to do."""
        target = self._target
        if target is None:
            return
        if count := target.counts().get(name, 0):
            notices.warn(in_use(name, count))
            return
        self._edit(f"Remove {name}", lambda table: (table.removed(name), {}))

    def show_class(self, name: str, shown: bool) -> None:
        """Show or hide what is of a class; "" for what has none."""
        if self._target is not None:
            before = self._hidden_in(self._target)
            self._hidden[self._target.layer] = before - {name} if shown else before | {name}
            self._target.show(self._hidden_in(self._target))
            self._update()

    def undo(self) -> None:
        """Take back what was done last to the layer or its classes."""
        self._go(lambda history: history.undo())

    def redo(self) -> None:
        """Do again what was undone last."""
        self._go(lambda history: history.redo())

    def open_file(self, path: Path) -> None:
        """Show the annotations of a file on the slide in use."""
        self._files.read(path)

    def save_file(self, path: Path, format_name: str | None = None) -> None:
        """Write the layer; by the suffix where no format is given, ``.zarr`` for OME-Zarr labels."""
        if self._target is not None:
            self._files.write(self._target.layer, path, format_name)

    def unkept(self) -> tuple[Layer, ...]:
        """Return the layers with something drawn that is in no file and in no project."""
        return tuple(layer for layer in self._layers() if not is_kept(layer))

    def keep_now(self, layer: Layer, path: Path, format_name: str | None = None) -> bool:
        """Write a layer before this call ends, as napari is closing; return whether it worked."""
        return self._files.write_now(layer, path, format_name)

    def open_classes(self, path: Path) -> None:
        """Take classes of a card or another file: new ones are added, known ones get their colours."""
        if self._target is None:
            self.new_layer()
        what = f"Classes of {path.name}"
        self._files.read_classes(
            path, lambda given: self._edit(what, lambda table: (table.taking(given), {}))
        )

    def save_classes(self, path: Path) -> None:
        """Write the class table as JSON or CSV."""
        if self._target is not None:
            self._files.write_classes(path, self._target.table)

    def look(self) -> None:
        """Outline what is in view of a pyramid; to be called when the camera has come to rest."""
        target = self._target
        if target is None or isinstance(target, ShapesTarget):
            self._in_view.show(None)
        else:
            self._in_view.show(target.layer, self._hidden_in(target))

    def close(self) -> None:
        """Let go of the viewer; may be called twice."""
        for event in self._events:
            event.disconnect(self._on_layers)
        self._watch(None)
        self._jobs.close()

    # what happens

    def _layers(self) -> list[Layer]:
        return [layer for layer in self._viewer.layers if target_of(layer) is not None]

    def _on_layers(self, event: Any = None) -> None:
        layers = self._layers()
        active = self._viewer.layers.selection.active
        before = None if self._target is None else self._target.layer
        chosen = active if active in layers else before if before in layers else next(reversed(layers), None)
        if chosen is not before:
            self._watch(None if chosen is None else target_of(chosen))
        self._update()

    def _watch(self, target: Target | None) -> None:
        """Listen to the shapes of another layer than before."""
        if isinstance(self._target, ShapesTarget):
            self._target.layer.events.data.disconnect(self._on_data)
        self._target = target
        if target is None:
            return
        self._histories.setdefault(target.layer, History(target.state()))
        if isinstance(target, ShapesTarget):
            target.layer.events.data.connect(self._on_data)
            for key in KEYS:
                target.layer.bind_key(str(key), self._choosing(key), overwrite=True)
        self._draw_on()

    def _choosing(self, key: int) -> Callable[[Layer], None]:
        """Return what a number key does; a function, since napari asks for its name."""

        def choose_class_of_key(layer: Layer) -> None:
            if self._target is not None:
                name = next((item.name for item in self._target.table if item.key == key), None)
                if name is not None:
                    self.choose_class(name)

        return choose_class_of_key

    def _on_data(self, event: Any) -> None:
        """Say who drew what is new, and keep the state for undo."""
        action = str(getattr(event.action, "value", event.action))
        target = self._target
        if self._restoring or target is None or action not in _DONE:
            return
        if action == "changed" and getattr(target.layer, "_is_creating", False):  # more of it follows
            return
        if action == "added" and isinstance(target, ShapesTarget):
            target.forget_given_up()
            if len(target.layer.data) <= len(self._histories[target.layer].state.data):
                self._draw_on()  # napari says so of a drawing that was given up, too
                return
            target.sign(self._chosen, self._author, now())
            self._draw_on()
        self._did(_DONE[action])
        self._update()

    # rules

    def _edit(self, what: str, change: Callable[[ClassTable], tuple[ClassTable, dict[str, str]]]) -> None:
        target = self._target
        if target is None:
            return
        try:
            table, names = change(target.table)
        except AnnotationError as error:
            notices.warn(str(error))
            self._update()
            return
        if table != target.table:
            target.apply(table, names, self._hidden_in(target))
            self._did(what)
            self._chosen = names.get(self._chosen or "", self._chosen)
            self._draw_on()
        self._update()

    def _draw_on(self) -> None:
        """Let what is drawn next be of the chosen class; of none where the table has it no more."""
        target = self._target
        if target is not None and self._chosen not in target.table:
            self._chosen = None
        if isinstance(target, ShapesTarget):
            target.choose(self._chosen, self._author, "", BY_HAND)

    def _did(self, what: str) -> None:
        if self._target is not None:
            self._histories[self._target.layer].do(what, self._target.state())
            note_change(self._target.layer)

    def _go(self, step: Callable[[History[Any]], Any]) -> None:
        if self._target is None:
            return
        history = self._histories[self._target.layer]
        before = history.state
        if step(history) is not before:
            self._restoring = True
            try:
                self._target.restore(history.state, self._hidden_in(self._target))
            finally:
                self._restoring = False
            self._draw_on()
            note_change(self._target.layer)
        self._update()

    def _hidden_in(self, target: Target) -> Hidden:
        return self._hidden.get(target.layer, frozenset())

    def _on_busy(self, busy: str) -> None:
        self._busy = busy
        self._update()

    def _update(self) -> None:
        layers = tuple(layer.name for layer in reversed(self._layers()))
        target = self._target
        if target is None:
            state = AnnotationsState(layers, busy=self._busy)
        else:
            history, table = self._histories[target.layer], target.table
            state = AnnotationsState(
                layers,
                target.layer.name,
                rows_of(table, target.counts(), self._hidden_in(target)),
                self._chosen if self._chosen in table else None,
                history.undoable,
                history.redoable,
                isinstance(target, ShapesTarget),
                self._busy,
            )
        if state != self.state:
            self.state = state
            self.changed.emit(state)
