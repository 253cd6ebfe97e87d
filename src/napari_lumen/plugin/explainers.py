"""Models made ready to explain fields: the last one is kept, and one field at a time goes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from napari_lumen.errors import Cancelled
from napari_lumen.inference.run import Run

if TYPE_CHECKING:
    from napari_lumen.explain import ExplainedField, Explainer
    from napari_lumen.geometry import Pair, Region
    from napari_lumen.models import ModelCard
    from napari_lumen.slides import Slide
    from napari_lumen.stain.colour_table import ColourTable


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose model explains: that of a run, or one in a folder.

    Attributes
    ----------
    model : Path or None
        Folder of the model, where no run is meant.
    run : Path or None
        Folder of the run whose model, and whose stain, are meant.
    """

    model: Path | None = None
    run: Path | None = None


class Explainers:
    """Loads models when they are first asked for; safe to be called from several jobs."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: tuple[Asker, Explainer] | None = None
        self._stains: dict[tuple[str, str], ColourTable | None] = {}

    @contextmanager
    def use(self, asker: Asker) -> Iterator[Explainer]:
        """Lend the explainer of a model; others wait meanwhile. Not for the GUI thread.

        Raises
        ------
        ModelError
            When there is no such model, or it is no longer the one of the run.
        """
        with self._lock:
            if self._kept is None or self._kept[0] != asker:
                self._kept = None  # its memory goes before that of the next comes
                self._kept = (asker, _made(asker))
            yield self._kept[1]

    def explain(
        self,
        slide: Slide,
        asker: Asker,
        place: Region | Pair,
        cancel: Event,
        channels: Sequence[str] | None = None,
    ) -> tuple[ExplainedField, ModelCard]:
        """Explain a field, see `Explainer.explain`; not for the GUI thread.

        A tile of a run that classifies in two stages is taken from the run, see `run_tile`: alone it has
        another answer.

        Raises
        ------
        Cancelled
            When it was cancelled before its forward pass began or after that ended.
        """

        def check() -> None:
            if cancel.is_set():
                raise Cancelled("The field was not explained.")

        run = None if asker.run is None else Run.open(asker.run)
        if run is not None and run.record.card.task == "slide":
            return _kept(run, place), run.record.card
        with self.use(asker) as explainer:
            check()
            card = explainer.model.card
            stain = self._stain(slide, card, asker, check)
            check()
            found = explainer.explain(slide, place, stain=stain, channels=channels, check=check)
            check()
            return found, card

    def stain(self, slide: Slide, card: ModelCard, asker: Asker) -> ColourTable | None:
        """Return what brings a slide to the stain of a model, found once; None where nothing does."""
        return self._stain(slide, card, asker, lambda: None)

    def _stain(
        self, slide: Slide, card: ModelCard, asker: Asker, check: Callable[[], None]
    ) -> ColourTable | None:
        from napari_lumen.explain.field import stain_table
        from napari_lumen.inference.slide_stain import kept_stain

        if asker.run is not None:
            return kept_stain(card, asker.run).table
        key = (slide.fingerprint, card.weights_sha256)
        if key not in self._stains:
            self._stains[key] = stain_table(slide, card, check)
        return self._stains[key]


def _kept(run: Run, place: Region | Pair) -> ExplainedField:
    from napari_lumen.explain.run_maps import RunMaps
    from napari_lumen.explain.run_tile import run_tile

    if not isinstance(place, tuple):
        place = (place.y + place.height / 2, place.x + place.width / 2)
    return run_tile(RunMaps(run), *place)


def _made(asker: Asker) -> Explainer:
    from napari_lumen.explain import Explainer
    from napari_lumen.explain.run_model import model_of_run
    from napari_lumen.models import load_model

    if asker.run is not None:
        return Explainer(model_of_run(Run.open(asker.run)))
    return Explainer(load_model(str(asker.model)))
