"""Tumour, normal or no label: what a two-stage model decides of a place, in the colours of its paper."""

from __future__ import annotations

from dataclasses import dataclass

from napari_lumen.annotations.classes import Color

STATES = ":states"  # ends the name of a map that is shown in the colours of the decision
TUMOUR_FROM = 0.5  # tumour probability
_DECIDED = "tumour_prob"  # the map that decides, as a network records it


@dataclass(frozen=True, slots=True)
class State:
    """One outcome: its name, its colour, and when it is so."""

    name: str
    color: Color
    said: str


TUMOUR = State("tumour", (214, 38, 41), f"from {TUMOUR_FROM:g} on")
NORMAL = State("normal", (153, 153, 153), f"below {TUMOUR_FROM:g}")
NO_LABEL = State("no label", (115, 64, 153), "no value, as where there is no tissue")
DECISION = (TUMOUR, NORMAL, NO_LABEL)


def has_states(name: str) -> bool:
    """Whether a map, by its recorded name, can be shown in the colours of the decision."""
    return name.rpartition(".")[2] == _DECIDED
