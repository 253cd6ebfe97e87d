"""Numbers with their nouns, for people."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return how many there are of something: ``1 tile``, ``1,024 tiles``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
