"""The Search tool without its widgets: what an architecture search has tried so far, and what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from psygnal import Signal, SignalInstance

from napari_lumen.errors import LumenError, RunError
from napari_lumen.plugin import notices
from napari_lumen.plugin.jobs import Callbacks, Emit, JobRunner

if TYPE_CHECKING:
    from napari_lumen.explain.search_history import CellKind, SearchHistory
    from napari_lumen.models import ModelCard
    from napari_lumen.models.genotype import Genotype
    from napari_lumen.plugin.controllers.attention_state import ChosenMap

MODEL = "model"  # key of the model that is looked at
_FILES = ("alphas.parquet", "genotypes.parquet", "genotype.json", "card.json")
_NOTHING = (
    "Choose the folder of an architecture search, finished or going on, or look at a map of a NAS-SCAM model."
)
_NO_WEIGHTS = "This model keeps what was found alone: open the folder of its search for weights over epochs."
_Stamp = tuple[tuple[str, int, int], ...]


class _Chooses(Protocol):
    """What of an `AttentionController` is heard here."""

    @property
    def chosen(self) -> SignalInstance: ...


@dataclass(frozen=True, slots=True)
class SearchState:
    """All that the tool shows.

    Attributes
    ----------
    choices : tuple of (str, str)
        Key and title: of a folder its path, of the model that is looked at `MODEL`.
    choice : str or None
    history : SearchHistory or None
        Weights over epochs; None of a model.
    genotype : Genotype or None
        What was found, or what the last epoch would give.
    position : str
        D1 to U4.
    cell : {"sam", "cam"}
    said : str
        How far the search is.
    message : str
        Why nothing, or nothing newer, is shown.
    """

    choices: tuple[tuple[str, str], ...] = ()
    choice: str | None = None
    history: SearchHistory | None = None
    genotype: Genotype | None = None
    position: str = "U4"
    cell: CellKind = "sam"
    said: str = ""
    message: str = _NOTHING

    @property
    def watched(self) -> bool:
        """Whether the search may go on, so that it is worth to look again."""
        return self.choice not in (None, MODEL) and (self.history is None or not self.history.finished)


@dataclass(frozen=True)
class _Found:
    history: SearchHistory | None
    genotype: Genotype | None
    stamp: _Stamp


class SearchController:
    """State and rules of the Search tool.

    Parameters
    ----------
    attention : AttentionController
        Whose chosen map tells of its model.
    jobs : JobRunner
    """

    changed = Signal(SearchState)

    def __init__(self, attention: _Chooses, jobs: JobRunner) -> None:
        self._attention, self._jobs = attention, jobs
        self._model: tuple[str, Genotype] | None = None
        self._folders: list[Path] = []
        self._asked = 0
        self._reading = False
        self._stamp: _Stamp = ()
        self.state = SearchState()
        attention.chosen.connect(self._on_chosen)

    def open_folder(self, folder: Path) -> None:
        """Look at the folder of a search, or of a NAS-SCAM model."""
        if folder not in self._folders:
            self._folders.append(folder)
        self.choose(str(folder))

    def choose(self, key: str) -> None:
        """Look at a search, or at the model, by its key."""
        self._asked += 1  # what is being read is of no interest any more
        self._reading = False
        self._stamp = ()
        self._update(choices=self._choices(), choice=key, history=None, genotype=None, said="", message="")
        if key == MODEL and self._model is not None:
            title, genotype = self._model
            self._update(genotype=genotype, said=title, message=_NO_WEIGHTS)
            return
        self._update(said="Reading …")
        self.look()

    def choose_position(self, position: str) -> None:
        """Show the cells of a position, D1 to U4."""
        self._update(position=position)

    def choose_cell(self, cell: CellKind) -> None:
        """Show the spatial or the channel cell."""
        self._update(cell=cell)

    def look(self) -> None:
        """Read what the search has noted since the last look, on a thread; called again and again."""
        choice = self.state.choice
        if choice in (None, MODEL) or self._reading:
            return
        folder, before = Path(str(choice)), self._stamp
        self._asked += 1
        asked, self._reading = self._asked, True

        def work(emit: Emit, cancel: Event) -> _Found | None:
            return _read(folder, before)

        def ended(then: Callable[[Any], None], outcome: Any) -> None:
            if asked == self._asked:  # nothing else was chosen meanwhile
                self._reading = False
                then(outcome)

        callbacks = Callbacks(
            lambda event: None, partial(ended, self._on_read), partial(ended, self._on_failed), lambda: None
        )
        self._jobs.start(work, callbacks)

    def close(self) -> None:
        """Stop everything and wait for it; may be called twice."""
        self._attention.chosen.disconnect(self._on_chosen, missing_ok=True)
        self._jobs.close()

    def _on_read(self, found: _Found | None) -> None:
        if found is None:  # nothing new
            return
        self._stamp = found.stamp
        message = "" if found.history is not None else _NO_WEIGHTS
        self._update(history=found.history, genotype=found.genotype, said=_said(found), message=message)

    def _on_failed(self, error: BaseException) -> None:
        """Say why nothing can be read; what was read before stays, since the next epoch may mend it."""
        self._stamp = ()
        said = "" if self.state.history is None else self.state.said
        if isinstance(error, LumenError):
            self._update(message=str(error), said=said)
        else:
            self._update(message="The folder could not be read.", said=said, choice=None)
            notices.show(error)

    def _on_chosen(self, chosen: ChosenMap | None) -> None:
        """Offer the genotype of the model whose map is looked at; show it where nothing else is shown."""
        if chosen is None:
            return
        genotype = genotype_of(chosen.source.card)
        if genotype is None:
            return
        known = self._model
        self._model = (chosen.source.card.title, genotype)
        if self._model == known:
            return
        if self.state.choice in (None, MODEL):
            self.choose(MODEL)
        else:
            self._update(choices=self._choices())

    def _choices(self) -> tuple[tuple[str, str], ...]:
        model = () if self._model is None else ((MODEL, self._model[0]),)
        return (*model, *((str(folder), _name(folder)) for folder in self._folders))

    def _update(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        if state != self.state:
            self.state = state
            self.changed.emit(state)


def genotype_of(card: ModelCard) -> Genotype | None:
    """Return the genotype that a card keeps; None where its network was not searched for."""
    from napari_lumen.models.genotype import Genotype

    kept = card.network_arguments.get("genotype")
    try:
        return None if kept is None else Genotype.read(kept)
    except ValueError:  # of another version
        return None


def _read(folder: Path, before: _Stamp) -> _Found | None:
    """Return what a folder holds now; None where its files are those of `before`."""
    from napari_lumen.explain.cell_graph import cell_graphs
    from napari_lumen.explain.search_history import read_search
    from napari_lumen.models import read_card

    stamp = _stamp(folder)
    if stamp and stamp == before:
        return None
    files = {name for name, _, _ in stamp}
    if "card.json" in files and "alphas.parquet" not in files:
        genotype = genotype_of(read_card(folder))
        if genotype is None:
            raise RunError(f"The model in {folder.name} was not searched for: choose one of NAS-SCAM.")
        return _Found(None, genotype, stamp)
    history = read_search(folder)
    if history.genotype is not None:
        cell_graphs(history.genotype, history)  # raises where a position is missing
    return _Found(history, history.genotype, stamp)


def _stamp(folder: Path) -> _Stamp:
    """Return what tells whether a search has written since."""
    found = []
    for place in (folder, folder / "search"):
        for name in _FILES:
            try:
                facts = (place / name).stat()
            except OSError:
                continue
            found.append((name, facts.st_mtime_ns, facts.st_size))
    return tuple(found)


def _said(found: _Found) -> str:
    if found.history is None:
        return ""
    epochs = len(found.history.weights[0].epochs) if found.history.weights else 0
    count = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return f"Finished after {count}." if found.history.finished else f"Going on: {count} so far."


def _name(folder: Path) -> str:
    """Return what tells a folder from others: its own name says little where it is ``search``."""
    return folder.name if folder.name != "search" else f"{folder.parent.name}/{folder.name}"
