"""Data that several experiments share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[3] / "shared" / "data"
LOOP_MARK = "<!-- the loop: python -m bench loop -->\n"  # in docs/papers.md, before what bench.loop writes
CONSEP_TILES: dict[str, Any] = {
    "by": "tile",
    "proportions": {"train": 17, "validation": 4, "test": 6},
    "seed": 7,
}
MADE: dict[str, Any] = {
    "kind": "images",
    "folder": "unused",
    "classes": ["unused"],
}  # images are given instead
