"""Checks that the arguments of all networks share, and how arguments are written into sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONGEST = 60  # characters of a value in a sentence: a genotype has thousands


def check_counts(*, most: int | None = None, **values: int | None) -> None:
    """Refuse what is no whole number of 1 or more, in a sentence that names the argument; None passes.

    Parameters
    ----------
    most : int, optional
        The largest value that is taken.
    **values
        By the names of the arguments.

    Raises
    ------
    ValueError
    """
    for name, value in values.items():
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name} must be a whole number, not {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value}")
        if most is not None and value > most:
            raise ValueError(f"{name} must be {most} or less, not {value}")


def brief(arguments: Mapping[str, Any]) -> str:
    """Return arguments as they are written in a call, long values cut short."""
    return ", ".join(f"{name}={_cut(repr(value))}" for name, value in arguments.items())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
