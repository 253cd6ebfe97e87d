"""What the Annotations panel reads and writes: annotations and class tables, beside the GUI thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lumen.annotations.class_files import read_classes, write_classes
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import write_annotations
from napari_lumen.counting import counted
from napari_lumen.errors import LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.annotation_frame import Frame, frame_in
from napari_lumen.plugin.annotation_reader import read_layers, tell_repairs
from napari_lumen.plugin.annotation_writer import annotations_in, table_of, write_zarr
from napari_lumen.plugin.jobs import Callbacks, JobRunner
from napari_lumen.plugin.keeping import changes_of, note_kept
from napari_lumen.plugin.together import set_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class AnnotationFiles:
    """Reads and writes for one viewer.

    Parameters
    ----------
    viewer : ViewerModel
    jobs : JobRunner
    busy : callable
        Is told what is being read or written, "" when that has ended.
    """

    def __init__(self, viewer: ViewerModel, jobs: JobRunner, busy: Callable[[str], None]) -> None:
        self._viewer, self._jobs, self._busy = viewer, jobs, busy

    def read(self, path: Path) -> None:
        """Show the annotations of a file on the slide in use."""
        frame = frame_in(self._viewer)

        def done(found: tuple[list[Any], tuple[str, ...]]) -> None:
            self.add(found[0])
            tell_repairs(path, found[1])

        self._start(f"Reading {path.name} …", lambda: read_layers(path, frame), done)

    def add(self, layers: list[Any]) -> None:
        """Add layers given as napari's readers do."""
        from napari.layers import Layer

        for data in layers:
            self._viewer.add_layer(Layer.create(*data))

    def write(self, layer: Layer, path: Path, format_name: str | None) -> None:
        """Write a layer as it is now, and those of its set; by the suffix where no format is given.

        Parameters
        ----------
        layer : Layer
        path : Path
            ``.zarr`` for OME-Zarr labels.
        format_name : str or None
        """
        members = set_of(layer, self._viewer.layers)
        layers, changes = [item.as_layer_data_tuple() for item in members], list(map(changes_of, members))
        frame = frame_in(self._viewer)

        def done(count: int) -> None:
            for item, known in zip(members, changes, strict=True):
                note_kept(item, known)
            notices.tell(f"{counted(count, 'annotation')} saved: {path}")

        self._start(f"Writing {path.name} …", lambda: _write(path, layers, frame, format_name), done)

    def write_now(self, layer: Layer, path: Path, format_name: str | None) -> bool:
        """Write a layer and those of its set before this call ends; return whether it worked."""
        members = set_of(layer, self._viewer.layers)
        layers = [item.as_layer_data_tuple() for item in members]
        try:
            _write(path, layers, frame_in(self._viewer), format_name)
        except LumenError as error:
            notices.show(error)
            return False
        for item in members:
            note_kept(item, changes_of(item))
        return True

    def read_classes(self, path: Path, take: Callable[[ClassTable], None]) -> None:
        """Read the classes of a card or another file."""
        self._start(f"Reading {path.name} …", lambda: read_classes(path), take)

    def write_classes(self, path: Path, table: ClassTable) -> None:
        """Write a class table as JSON or CSV."""
        self._start(f"Writing {path.name} …", lambda: write_classes(path, table), lambda done: None)

    def _start(self, what: str, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        def on_done(value: Any) -> None:
            self._busy("")
            done(value)

        def on_failed(error: BaseException) -> None:
            self._busy("")
            notices.show(error)

        self._busy(what)
        self._jobs.start(
            lambda emit, cancel: work(),
            Callbacks(lambda event: None, on_done, on_failed, lambda: self._busy("")),
        )


def _write(path: Path, layers: list[Any], frame: Frame, format_name: str | None) -> int:
    found = annotations_in(layers, frame)
    if path.suffix.lower() == ".zarr":
        write_zarr(path, found, frame, table_of(layers))
    else:
        write_annotations(path, found, format_name)
    return len(found)
