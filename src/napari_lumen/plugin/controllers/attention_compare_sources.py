"""Whose maps can be compared: runs that are shown, and the fields that were explained last."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.plugin.controllers.attention_state import FIELD

if TYPE_CHECKING:
    from napari_lumen.plugin.attention_source import FieldSource, MapSource
    from napari_lumen.plugin.controllers.attention_state import AttentionState

_FIELDS = 3  # that are kept: all maps of a large network take 100 MB


class ComparedSources:
    """Runs that have been opened, and the last fields."""

    def __init__(self) -> None:
        self._runs: dict[str, MapSource] = {}
        self._fields: list[FieldSource] = []

    def add(self, source: MapSource) -> None:
        """Keep a run that was opened."""
        self._runs[source.key] = source

    def keep(self, field: FieldSource) -> None:
        """Keep a field that was explained; the oldest one goes."""
        if field not in self._fields:
            self._fields = [*self._fields, field][-_FIELDS:]

    def get(self, key: str | None) -> MapSource | None:
        """Return a run or field by its key; None where the run is not open yet."""
        field = next((item for item in self._fields if key_of(item) == key), None)
        return field if field is not None else self._runs.get(key or "")

    def choices(self, state: AttentionState, fingerprint: str | None) -> tuple[tuple[str, str], ...]:
        """Return key and title of what can be compared on the slide of a fingerprint, each title once."""
        runs = [(item.key, item.title) for item in state.sources if item.key != FIELD]
        titles = [title for _, title in runs]
        fields = (item for item in self._fields if item.fingerprint == fingerprint)
        return (
            *(
                (key, title if titles.count(title) == 1 else f"{'/'.join(Path(key).parts[-2:])}: {title}")
                for key, title in runs
            ),
            *((key_of(item), _field_title(item)) for item in fields),
        )


def key_of(source: MapSource) -> str:
    """Return what tells a source from others: of fields their model and place, for they share a key."""
    field = source.explained
    return source.key if field is None else f"{FIELD} {field.model} {field.region}"


def open_run(key: str, title: str) -> MapSource:
    """Open a run by its folder; reads, and imports torch: not for the GUI thread."""
    from napari_lumen.explain.run_maps import RunMaps
    from napari_lumen.inference.run import Run
    from napari_lumen.plugin.attention_source import RunSource

    return RunSource(RunMaps(Run.open(key)), title)


def _field_title(field: FieldSource) -> str:
    explained = field.explained
    if explained is None:
        return field.title
    region = explained.region  # first, since a narrow list cuts the end
    return f"Field y {region.y:.0f}, x {region.x:.0f}: {explained.title}"
