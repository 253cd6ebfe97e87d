"""Where slides that have moved lie now: the user is asked once, and every run of the slide finds it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from platformdirs import user_data_path

from napari_lumen.holding import write_text
from napari_lumen.slides.location import located


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


def moved_from(recorded: str, place: Path) -> bool:
    """Whether a slide lies at a place of this machine, and no longer where a run recorded it."""
    was = located(recorded) if recorded else None
    try:
        return isinstance(was, Path) and was != place and not was.exists() and place.exists()
    except OSError:  # such as a folder that may not be looked into
        return False


def _file(fingerprint: str) -> Path:
    return user_data_path("napari-lumen", appauthor=False) / "moved slides" / f"{fingerprint}.json"
