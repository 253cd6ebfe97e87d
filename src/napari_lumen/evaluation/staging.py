"""Size of metastases and the pathological lymph node stage of CAMELYON17."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from napari_lumen.evaluation.confusion import confusion_matrix, kappa

Metastasis = Literal["negative", "itc", "micro", "macro"]
Stage = Literal["pN0", "pN0(i+)", "pN1mi", "pN1", "pN2"]

STAGES: tuple[Stage, ...] = get_args(Stage)
_MACRO_MM, _MICRO_MM, _MICRO_CELLS = 2.0, 0.2, 200
_MOST_NODES = 9  # ten or more are pN3, which CAMELYON17 does not have


def metastasis_class(diameter_mm: float, cells: int | None = None) -> Metastasis:
    """Return what a slide's largest metastasis is.

    Parameters
    ----------
    diameter_mm : float
        Its longest diameter; 0 for none.
    cells : int, optional
        Tumour cells, where they were counted: more than 200 are a micro-metastasis however small.

    Returns
    -------
    {"negative", "itc", "micro", "macro"}
        macro above 2 mm; micro above 0.2 mm or of more than 200 cells; else isolated tumour cells.
    """
    if diameter_mm < 0:
        raise ValueError(f"a diameter is at least 0, not {diameter_mm}")
    if diameter_mm > _MACRO_MM:
        return "macro"
    if diameter_mm > _MICRO_MM or (cells or 0) > _MICRO_CELLS:
        return "micro"
    return "itc" if diameter_mm > 0 or cells else "negative"


def pn_stage(nodes: Sequence[Metastasis]) -> Stage:
    """Return the stage of a patient by the rules of CAMELYON17.

    Parameters
    ----------
    nodes : sequence of {"negative", "itc", "micro", "macro"}
        One a slide, each of another node; CAMELYON17 has five.

    Returns
    -------
    str
        One of `STAGES`. Nodes with isolated tumour cells only do not count as metastatic.

    Raises
    ------
    ValueError
        Without nodes, with a name that is no class, or with ten metastatic nodes, which no stage covers.
    """
    unknown = set(nodes) - set(get_args(Metastasis))
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]!r} is none of {', '.join(get_args(Metastasis))}")
    if not nodes:
        raise ValueError("a stage needs at least one node")
    positive = sum(node in ("micro", "macro") for node in nodes)
    if positive > _MOST_NODES:
        raise ValueError(f"{positive} metastatic nodes are beyond the stages of CAMELYON17, at most 9")
    if "macro" in nodes:
        return "pN1" if positive <= 3 else "pN2"
    if positive:
        return "pN1mi"
    return "pN0(i+)" if "itc" in nodes else "pN0"


def stage_kappa(predicted: Sequence[Stage], truth: Sequence[Stage]) -> float:
    """Return CAMELYON17's score: quadratic weighted kappa over the five stages, one stage a patient.

    NaN when all patients have one and the same stage on both sides.
    """
    said, there = (np.array([STAGES.index(stage) for stage in side], np.int64) for side in (predicted, truth))
    return float(kappa(confusion_matrix(said, there, range(len(STAGES))), quadratic=True))
