"""The Annotations panel: joins form, controller, jobs and the dialogs for names and files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QInputDialog

from napari_lumen.plugin.closing import AtStake
from napari_lumen.plugin.controllers.annotations import AnnotationsController
from napari_lumen.plugin.jobs import Jobs
from napari_lumen.plugin.panel import Panel, unproxied
from napari_lumen.plugin.widgets.annotations import AnnotationsForm

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

_REST = 250  # ms without a move of the camera
_READ = "Annotations (*.geojson *.json *.xml *.gz *.zip)"
_WRITE = {
    "QuPath GeoJSON (*.geojson *.geojson.gz)": ("geojson", ".geojson"),
    "ASAP XML (*.xml)": ("asap", ".xml"),
    "Aperio ImageScope XML (*.xml)": ("imagescope", ".xml"),
    "Table (*.csv)": ("csv", ".csv"),
    "OME-Zarr labels (*.zarr)": ("omezarr", ".zarr"),
}
_CLASSES = "Classes (card.json *.json *.csv *.geojson *.xml *.gz)"
_TABLES = "JSON (*.json);;CSV (*.csv)"


class AnnotationsPanel(Panel):
    """Dock widget "Annotations".

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari by this name.
    controller : AnnotationsController, optional
        For tests; made here otherwise.
    """

    def __init__(self, napari_viewer: Viewer, controller: AnnotationsController | None = None) -> None:
        viewer = unproxied(napari_viewer)
        self.controller = controller or AnnotationsController(viewer, Jobs())
        self.form = AnnotationsForm()
        super().__init__((self.controller,), self.form)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST)
        self._rest.timeout.connect(self.controller.look)
        camera = viewer.scene.camera
        self._views = [camera.events.center, camera.events.zoom]
        for event in self._views:
            event.connect(self._on_view)
        self.controller.changed.connect(self._on_view)
        self._connect()
        self.form.show_state(self.controller.state)

    def at_stake(self) -> tuple[AtStake, ...]:
        """Return what is drawn and neither in a file nor in a project."""
        return tuple(
            AtStake(
                f"What you have drawn on {layer.name} is neither in a file nor in a project.",
                "Save and close …",
                partial(self._save_before_closing, layer),
                partial(self._let_go, layer),
            )
            for layer in self.controller.unkept()
        )

    def _save_before_closing(self, layer: Layer) -> bool:
        found = self._where_to_write(layer.name)
        return found is not None and self.controller.keep_now(layer, *found)

    def _let_go(self, layer: Layer) -> None:
        """Do nothing: the layer goes with the window."""

    def _connect(self) -> None:
        form, controller, buttons = self.form, self.controller, self.form.buttons
        form.layer_chosen.connect(controller.choose_layer)
        form.classes.chosen.connect(controller.choose_class)
        form.classes.renamed.connect(controller.rename)
        form.classes.recoloured.connect(controller.recolour)
        form.classes.keyed.connect(controller.give_key)
        form.classes.shown.connect(controller.show_class)
        form.classes.ignored.connect(controller.ignore)
        controller.changed.connect(form.show_state)
        for name, act in (
            ("new", controller.new_layer),
            ("undo", controller.undo),
            ("redo", controller.redo),
            ("import_", self._import),
            ("export", self._export),
            ("add", self._add),
            ("merge", self._merge),
            ("remove", self._remove),
            ("load", self._load),
            ("save", self._save),
        ):
            buttons[name].clicked.connect(act)

    def _on_view(self, event: Any = None) -> None:
        self._rest.start()

    def _close(self) -> None:
        self._rest.stop()
        for event in self._views:
            event.disconnect(self._on_view)
        self._views.clear()
        super()._close()

    def _import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Import annotations", "", _READ)
        if path:
            self.controller.open_file(Path(path))

    def _export(self) -> None:
        found = self._where_to_write("Export annotations")
        if found is not None:
            self.controller.save_file(*found)

    def _where_to_write(self, title: str) -> tuple[Path, str] | None:
        """Ask for a file; return its path and the name of its format."""
        path, chosen = QFileDialog.getSaveFileName(self, title, "", ";;".join(_WRITE))
        if not path:
            return None
        name, suffix = _WRITE[chosen]
        return Path(path if Path(path).suffix else path + suffix), name

    def _add(self) -> None:
        name, sure = QInputDialog.getText(self, "Add a class", "Name of the class")
        if sure:
            self.controller.add_class(name)

    def _merge(self) -> None:
        names = [row.name for row in self.controller.state.rows if row.name]
        merged = self.form.classes.selected() or names[0]
        others = [name for name in names if name != merged]
        into, sure = QInputDialog.getItem(
            self, f"Merge {merged}", f'Make all of "{merged}" part of', others, 0, False
        )
        if sure:
            self.controller.merge(merged, into)

    def _remove(self) -> None:
        name = self.form.classes.selected()
        if name is not None:
            self.controller.remove_class(name)

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Classes from a file", "", _CLASSES)
        if path:
            self.controller.open_classes(Path(path))

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save classes", "classes.json", _TABLES)
        if path:
            self.controller.save_classes(Path(path))
