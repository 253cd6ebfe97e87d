"""The gallery of the Attention panel without its widgets: what is ranked, its pictures, and going there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_lumen.errors import Cancelled, LumenError
from napari_lumen.plugin import notices
from napari_lumen.plugin.attention_gallery_entries import (
    TILES,
    Wanted,
    entries_of,
    kinds_of,
    nothing_found,
    shown_side,
    view_of,
)
from napari_lumen.plugin.attention_gallery_marker import GalleryMarker
from napari_lumen.plugin.jobs import Callbacks, Emit, Job

if TYPE_CHECKING:
    from napari_lumen.explain.gallery import Picture
    from napari_lumen.explain.ranking import Entry
    from napari_lumen.plugin.controllers.attention import AttentionController

COUNTS = (25, 50, 100, 200)
_SIDE = 128  # px of a picture: twice what is shown, for screens of double density
_Shown = tuple[tuple["Entry", ...], tuple["Picture | None", ...]]


@dataclass(frozen=True, slots=True)
class GalleryState:
    """All that the gallery shows.

    Attributes
    ----------
    kinds : tuple of (str, str)
        What can be ranked: key and title.
    kind : str or None
    lowest : bool
    count : int
    classes : tuple of str
    class_name : str or None
        Only of this class; None for all.
    heading : str
        What is shown.
    entries : tuple of Entry
    pictures : tuple of ndarray or None
        Of the first entries, as far as they are read; None where the slide cannot be read.
    at : int or None
        The entry that was gone to.
    note : str
        What must be known to read the order; "" where there is nothing.
    busy : bool
    message : str
        Why there is nothing, or how saving ended.
    """

    kinds: tuple[tuple[str, str], ...] = ()
    kind: str | None = None
    lowest: bool = False
    count: int = 100
    classes: tuple[str, ...] = ()
    class_name: str | None = None
    heading: str = ""
    entries: tuple[Entry, ...] = ()
    pictures: tuple[Picture | None, ...] = ()
    at: int | None = None
    note: str = ""
    busy: bool = False
    message: str = ""

    @property
    def complete(self) -> bool:
        """Whether there is a gallery, and all its pictures are read."""
        return bool(self.entries) and len(self.pictures) == len(self.entries) and not self.busy


class GalleryController:
    """State and rules of the gallery: it follows the map that is chosen, while it is looked at.

    Parameters
    ----------
    attention : AttentionController
    """

    changed = Signal(GalleryState)

    def __init__(self, attention: AttentionController) -> None:
        self._attention = attention
        self._marker = GalleryMarker(attention.viewer)
        self._watched = False
        self._wanted: Wanted | None = None
        self._job: Job | None = None
        self._generation = 0
        self._closed = False
        self.state = GalleryState()
        attention.sourced.connect(self._on_sourced)
        attention.chosen.connect(self._on_chosen)
        self._on_sourced()

    # what the user does

    def watch(self, on: bool) -> None:
        """Note whether the gallery is looked at: nothing is read for one that is not."""
        self._watched = on
        if on:
            self._refresh()
        else:
            self._marker.remove()

    def choose_kind(self, kind: str) -> None:
        """Choose what is ranked: tiles, or instances."""
        self._update(kind=kind)
        self._refresh()

    def choose_order(self, lowest: bool) -> None:
        """Choose whether the lowest come first."""
        self._update(lowest=lowest)
        self._refresh()

    def choose_count(self, count: int) -> None:
        """Choose how many are shown."""
        self._update(count=count)
        self._refresh()

    def choose_class(self, name: str | None) -> None:
        """Show only what is of a class; None for all."""
        self._update(class_name=name)
        self._refresh()

    def go_to(self, index: int) -> None:
        """Move the view to an entry, mark it and zoom in."""
        wanted, layer = self._wanted, self._attention.slide_layer
        if wanted is None or layer is None or not 0 <= index < len(self.state.entries):
            return
        entry = self.state.entries[index]
        self._attention.go_to(view_of(entry.region, wanted.source.mpp))
        self._marker.show(layer, entry)
        self._update(at=index)

    def save_picture(self, path: Path) -> None:
        """Write the pictures as one PNG."""
        shown = list(zip(self.state.entries, self.state.pictures, strict=False))
        heading = self.state.heading

        def work() -> None:
            from napari_lumen.explain.gallery import sheet, write_sheet

            write_sheet(sheet(shown, title=heading), path)

        self._save(path, work)

    def save_table(self, path: Path) -> None:
        """Write values and places as CSV."""
        if self._wanted is None:
            return
        entries, mpp = self.state.entries, self._wanted.source.mpp

        def work() -> None:
            from napari_lumen.explain.gallery import write_table

            write_table(entries, mpp, path)

        self._save(path, work)

    def close(self) -> None:
        """Let go; may be called twice. What is on the slide stays, as the map does."""
        if self._closed:
            return
        self._closed = True
        self._stop()
        self._attention.sourced.disconnect(self._on_sourced)
        self._attention.chosen.disconnect(self._on_chosen)

    # what happens

    def _on_sourced(self, source: Any = None) -> None:
        found = self._attention.source
        kinds = () if found is None else kinds_of(found)
        keys = [key for key, _ in kinds]
        kind = self.state.kind if self.state.kind in keys else next(iter(keys), None)
        run = None if found is None else found.run
        classes = () if run is None else tuple(item.name for item in run.record.classes)
        class_name = self.state.class_name if self.state.class_name in classes else None
        self._update(kinds=kinds, kind=kind, classes=classes, class_name=class_name)
        self._refresh()

    def _on_chosen(self, chosen: Any = None) -> None:
        self._refresh()

    def _ask(self) -> Wanted | str:
        """Return what is to be shown, or why that is nothing, and what to do."""
        state, source, chosen = self.state, self._attention.source, self._attention.current
        if source is None:
            return "Run a model on the slide, or explain a view, to see its strongest places."
        if state.kind is None:
            return "A field is one tile: run the model over more of the slide to rank tiles."
        name, title = "", ""
        if state.kind == TILES:
            if chosen is None or chosen.source is not source:
                return "Choose a map in the tree: tiles are ranked by it."
            name, title = chosen.item.name, chosen.title
        return Wanted(source, state.kind, name, title, state.lowest, state.count, state.class_name)

    def _refresh(self) -> None:
        if not self._watched or self._closed:
            return
        wanted, layer = self._ask(), self._attention.slide_layer
        if isinstance(wanted, Wanted) and wanted == self._wanted:
            return
        self._stop()
        self._marker.remove()
        self._update(entries=(), pictures=(), at=None, heading="", note="", busy=False, message="")
        if isinstance(wanted, str) or layer is None:
            self._wanted = None
            self._update(message=wanted if isinstance(wanted, str) else "Open the slide of the run.")
            return
        self._wanted = wanted
        self._update(note=self._note(wanted), busy=True)
        slide, mine = self._attention.slides.slide(layer), self._generation

        def work(emit: Emit, cancel: Event) -> _Shown:
            from napari_lumen.explain.gallery import thumbnails

            def check() -> None:
                if cancel.is_set():
                    raise Cancelled("The gallery was not read to its end.")

            entries = entries_of(wanted, check)
            emit((entries, ()))
            pictures: list[Picture | None] = []
            for _, picture in thumbnails(slide, entries, _SIDE, shown_side(wanted), check):
                pictures.append(picture)
                emit((entries, tuple(pictures)))
            return entries, tuple(pictures)

        def show(found: _Shown) -> None:
            if mine == self._generation:
                heading = wanted.heading(len(found[0])) if found[0] else ""
                self._update(entries=found[0], pictures=found[1], heading=heading)

        def done(found: _Shown) -> None:
            show(found)
            if mine == self._generation:
                self._update(busy=False, message="" if found[0] else nothing_found(wanted))

        def failed(error: BaseException) -> None:
            if mine == self._generation:
                self._wanted = None
                ours = isinstance(error, LumenError)
                self._update(
                    busy=False, message=str(error) if ours else "That stopped on an unexpected error."
                )
                if not ours:
                    notices.show(error)

        self._job = self._attention.jobs.start(work, Callbacks(show, done, failed, lambda: None))

    def _note(self, wanted: Wanted) -> str:
        if wanted.kind != TILES or wanted.source.find(wanted.name).comparable:
            return ""
        return "This map is normalised in each tile: the order of tiles says little."

    def _stop(self) -> None:
        """Stop reading; what still comes of it is not shown."""
        self._generation += 1
        if self._job is not None:
            self._job.cancel.set()
            self._job = None

    def _save(self, path: Path, work: Callable[[], None]) -> None:
        if not self.state.complete:
            return

        def done(nothing: None) -> None:
            self._update(message=f"Saved: {path}")

        def failed(error: BaseException) -> None:
            notices.show(error)

        self._attention.jobs.start(
            lambda emit, cancel: work(), Callbacks(lambda event: None, done, failed, lambda: None)
        )

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        if any(getattr(state, name) is not getattr(self.state, name) for name in changes):
            self.state = state
            self.changed.emit(state)
