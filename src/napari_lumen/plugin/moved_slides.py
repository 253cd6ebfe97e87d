"""Where slides that have moved lie now: the user is asked once, and every run of the slide finds it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from platformdirs import user_data_path

from napari_lumen.holding import write_text


def remember_place(fingerprint: str, place: Path) -> None:
    """Keep where a slide lies; where the user's data folder cannot be written to, it is asked for again."""
    file = _file(fingerprint)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"place": str(place.resolve())}))


def remembered_place(fingerprint: str) -> Path | None:
    """Return where a slide was opened last after it had moved, or None."""
    try:
        return Path(json.loads(_file(fingerprint).read_text(encoding="utf-8"))["place"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(fingerprint: str) -> Path:
    return user_data_path("napari-lumen", appauthor=False) / "moved slides" / f"{fingerprint}.json"
