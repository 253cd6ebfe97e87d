"""The fields of a run that are most worth correcting next."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.corrections.proposals import METHODS, By, Proposal, k_centre, standardised
from napari_lumen.errors import RunError
from napari_lumen.inference.proposal_fields import CandidateFields
from napari_lumen.inference.proposal_passes import FieldPasses
from napari_lumen.inference.run import Run

if TYPE_CHECKING:
    from napari_lumen.slides import Slide

FIELD_UM = 128.0  # 256 px of 0.5 µm: a window that a person corrects in a minute or two
_PASSED = 2  # times as many fields as asked for are sent through the network again, the most unsure first


def propose(
    run: Run,
    by: By = "entropy",
    count: int = 20,
    *,
    field_um: float = FIELD_UM,
    other: Run | None = None,
    slide: Slide | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancel: Event | None = None,
) -> tuple[Proposal, ...]:
    """Return the fields that are most worth correcting next, the best first.

    Fields lie side by side. Those that the run has not analysed, or of which the middle lies in a corrected
    window, are left out.

    Parameters
    ----------
    run : Run
    by : str
        What makes a field worth it. entropy: the model is unsure; disagreement: another run says otherwise;
        flips: the model says otherwise of the field flipped and turned; attention: that of the model
        varies; diversity: it is unlike all before, by probabilities and, with the slide, colour; random: for
        comparison.
    count : int
    field_um : float
        Side of a field, µm.
    other : Run, optional
        For disagreement: another run over the same slide.
    slide : Slide, optional
        Needed for flips; for diversity it gives the colours.
    seed : int
        For random.
    on_progress : callable, optional
        For flips, which take seconds: called with how many fields are done, and of how many.
    cancel : Event, optional

    Raises
    ------
    RunError
        When the run does not hold what a measure needs.
    Cancelled
        When cancelled.
    """
    if by not in METHODS:
        raise RunError(f"Fields cannot be proposed by {by!r}: choose {', '.join(METHODS)}.")
    if count < 1 or field_um <= 0:
        raise RunError(f"Ask for at least one field of some size, not {count} of {field_um:g} µm.")
    candidates = CandidateFields(run, field_um, cancel or Event())
    left = [index for index, field in enumerate(candidates.fields) if not field.corrected]
    if by == "random":
        order = np.random.default_rng(seed).permutation(left)[:count].tolist()
        return tuple(candidates.proposal(index, 0.0, by, "Drawn at random.") for index in order)
    if by == "diversity":
        return _by_diversity(candidates, left, count, slide)
    scores, say = _scores(candidates, left, count, by, other, slide, on_progress)
    best = sorted(scores, key=lambda index: (-scores[index], index))[:count]
    return tuple(candidates.proposal(index, scores[index], by, say(scores[index])) for index in best)


def _scores(
    candidates: CandidateFields,
    left: list[int],
    count: int,
    by: By,
    other: Run | None,
    slide: Slide | None,
    on_progress: Callable[[int, int], None],
) -> tuple[dict[int, float], Callable[[float], str]]:
    """Return a score of each candidate, and how to say it."""
    if by == "entropy":
        return candidates.unsure(left), lambda score: f"The model is unsure: entropy {score:.2f}."
    if by == "attention":
        return candidates.attention(left), lambda score: f"Attention varies by {score:.0%} of its mean."
    if by == "disagreement":
        if other is None:
            raise RunError("Name another run over the same slide to compare with.")
        return candidates.disagreement(left, other), lambda score: f"The runs disagree on {score:.1%} of it."
    if slide is None:
        raise RunError("The slide is needed to send its fields through the model again: open it first.")
    unsure = candidates.unsure(left)
    chosen = sorted(unsure, key=lambda index: -unsure[index])[: count * _PASSED]
    passes = FieldPasses(candidates.run, slide)
    scores = {}
    for done, index in enumerate(chosen):
        candidates.check()
        on_progress(done, len(chosen))
        scores[index] = passes.disagreement(candidates.fields[index].region)
    return scores, lambda score: f"Flipped and turned, the model says otherwise: {score:.2f}."


def _by_diversity(
    candidates: CandidateFields, left: list[int], count: int, slide: Slide | None
) -> tuple[Proposal, ...]:
    features = standardised(candidates.features(slide))
    done = [index for index, field in enumerate(candidates.fields) if field.corrected]
    chosen = k_centre(features[left], count, features[done])
    return tuple(
        candidates.proposal(
            left[index],
            distance,
            "diversity",
            "It is like most of the slide."
            if rank == 0 and not done
            else f"It is unlike those before: distance {distance:.1f}.",
        )
        for rank, (index, distance) in enumerate(chosen)
    )
