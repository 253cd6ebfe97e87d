"""FROC of CAMELYON16: detections of many slides against their annotated lesions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from napari_lumen.comparison.detections import read_detections
from napari_lumen.comparison.lesion_truth import MPP, lesions_of, truths_in
from napari_lumen.errors import AnnotationError
from napari_lumen.evaluation.bootstrap import interval, resample_weights
from napari_lumen.evaluation.froc import LOOKUPS, LookUp, froc
from napari_lumen.evaluation.froc_report import FrocEvaluation, SlideRow, write_froc_report
from napari_lumen.evaluation.lesions import SlideHits, hit_lesions


def evaluate_froc(
    predicted: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    mpp: float = MPP,
    mask_mpp: float | None = None,
    tumour_free: bool = False,
    class_name: str | None = None,
    threshold: float = 0.5,
    distance_um: float = 187.0,
    resamples: int = 1000,
    seed: int = 0,
) -> FrocEvaluation:
    """Score detections as CAMELYON16 does; the same as ``napari-lumen evaluate froc``.

    Parameters
    ----------
    predicted : path
        A folder with a CSV a slide as the challenge takes them (confidence, x, y in level-0 px; no detection
        is an empty file), or with runs; one such file, or one run.
    truth : path
        Of each slide its outlines (ASAP XML with CAMELYON's groups, GeoJSON with the class tumour) or a mask
        (TIFF, PNG; not 0 is tumour), named as the slide, ``_mask`` at the end or not; one such file.
    out : path, optional
        Folder for the tables (CSV) and one page.
    mpp : float
        µm per level-0 pixel; of runs that of their slide.
    mask_mpp : float, optional
        µm per pixel of the masks' finest level, where it is not that of the slides.
    tumour_free : bool
        Slides without truth have no tumour, as in the challenge; otherwise that is an error.
    class_name : str, optional
        Class of a run whose probability is looked at, where it has several.
    threshold : float
        Probability that a detection of a run must exceed.
    distance_um : float
        Between two detections of a run at least: of those that are closer the most probable counts.
    resamples, seed : int
        Of the bootstrapped 95 % intervals, over slides.

    Raises
    ------
    AnnotationError, RunError
        When a slide has no detections or no truth, or a file cannot be used.
    """
    predicted, truth = Path(predicted), Path(truth)
    found = read_detections(predicted, class_name, threshold, distance_um)
    known = truths_in(truth)
    if truth.is_file() and len(found) == 1:
        known = dict.fromkeys(found, truth)
    missing = sorted(known.keys() - found.keys())
    if missing:
        raise AnnotationError(
            f"{predicted} holds no detections of {missing[0]}, of which {truth} has the truth. A slide that "
            "is left out would flatter the score: where nothing was detected, give an empty CSV."
        )
    without = sorted(found.keys() - known.keys())
    if without and not tumour_free:
        raise AnnotationError(
            f"{truth} holds no truth of {without[0]}. If slides without truth have no tumour, say so by "
            "--tumour-free."
        )
    rows: list[SlideRow] = []
    hits: list[SlideHits] = []
    for name, detections in sorted(found.items()):
        own = detections.mpp or mpp
        lesions, step = lesions_of(known.get(name), detections, own, mask_mpp)
        try:
            hit = hit_lesions(lesions, detections.points / step, detections.probability)
        except ValueError as error:
            raise AnnotationError(f"The detections of {name} cannot be scored: {error}.") from error
        hits.append(hit)
        isolated = int(np.count_nonzero(lesions.isolated))
        rows.append(
            SlideRow(
                name,
                lesions.count,
                isolated,
                len(detections.points),
                int(np.count_nonzero(hit.lesions)),
                len(hit.false),
            )
        )
    evaluation = FrocEvaluation(tuple(rows), froc(hits), _intervals(hits, resamples, seed))
    if out is not None:
        facts = [("detections", str(predicted)), ("truth", str(truth)), ("µm per pixel", f"{mpp:g}")]
        write_froc_report(Path(out), evaluation, f"{predicted.name} against {truth.name}", facts)
    return evaluation


def _intervals(hits: list[SlideHits], resamples: int, seed: int) -> dict[LookUp, tuple[float, float]]:
    curves = [froc(hits, weights) for weights in resample_weights(range(len(hits)), resamples, seed)]
    found: dict[LookUp, tuple[float, float]] = {}
    for lookup in LOOKUPS:
        low, high = interval(np.array([curve.score(lookup) for curve in curves]))
        found[lookup] = float(low), float(high)
    return found
