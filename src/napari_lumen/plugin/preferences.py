"""What the user set in Preferences > Lumen; the fields are declared in napari.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from psygnal import Signal, SignalInstance

PLUGIN = "napari-lumen"
_FIELDS = ("color", "cache_mb", "prefetch")


@dataclass(frozen=True, slots=True)
class Preferences:
    """How slides are shown.

    Attributes
    ----------
    color : {"raw", "sRGB"}
        Colours as the scanner wrote them, or converted by the slide's profile. Models always get raw ones.
    cache_mb : int
        Memory for what was decoded, MB: half for tiles and half for napari's own cache of dask arrays.
    prefetch : bool
        Whether the surroundings of the view are decoded ahead.
    """

    color: Literal["raw", "sRGB"] = "raw"
    cache_mb: int = 1024
    prefetch: bool = True


class PreferencesSource(Protocol):
    """Where preferences come from; tests give one of their own."""

    changed: SignalInstance
    current: Preferences

    def close(self) -> None:
        """Let go of what is watched."""
        ...


class NapariPreferences:
    """The preferences that napari keeps for this plugin, and every change of them."""

    changed = Signal(Preferences)

    def __init__(self) -> None:
        from napari.settings import get_plugin_settings

        try:
            self._settings: Any = get_plugin_settings(PLUGIN).slides
        except KeyError:  # the plugin is switched off, and a program uses it all the same
            self._settings = None
        self.current = self._read()
        if self._settings is not None:
            self._settings.events.connect(self._on_event)

    def close(self) -> None:
        """Let go of the settings."""
        if self._settings is not None:
            self._settings.events.disconnect(self._on_event)

    def _read(self) -> Preferences:
        if self._settings is None:
            return Preferences()
        return Preferences(**{name: getattr(self._settings, name) for name in _FIELDS})

    def _on_event(self, event: Any = None) -> None:
        found = self._read()
        if found != self.current:
            self.current = found
            self.changed.emit(found)
