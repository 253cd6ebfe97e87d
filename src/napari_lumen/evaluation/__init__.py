"""Scores, on arrays: no slides, no networks.

A score that is not defined (0 / 0) is NaN, and means leave NaN out; what else a score does in such a case,
because a challenge says so, its docstring tells.
"""

from __future__ import annotations

from napari_lumen.evaluation.bach import bach_score
from napari_lumen.evaluation.bootstrap import bootstrap
from napari_lumen.evaluation.boxes import box_coverage, covered_share
from napari_lumen.evaluation.confusion import accuracy, confusion_matrix, kappa, mean_dice, mean_iou
from napari_lumen.evaluation.curves import Curve, precision_recall, roc
from napari_lumen.evaluation.dsb import dsb_precision
from napari_lumen.evaluation.evaluate import Evaluation, evaluate
from napari_lumen.evaluation.froc import Froc, froc
from napari_lumen.evaluation.lesions import find_lesions, hit_lesions
from napari_lumen.evaluation.matching import object_overlaps
from napari_lumen.evaluation.overlap import Overlap, dice
from napari_lumen.evaluation.panoptic import Panoptic, panoptic, panoptic_as_published, panoptic_quality
from napari_lumen.evaluation.report import write_report
from napari_lumen.evaluation.scores import Score
from napari_lumen.evaluation.staging import metastasis_class, pn_stage, stage_kappa
from napari_lumen.evaluation.tally import ImagePair, ObjectPair

__all__ = [
    "Curve",
    "Evaluation",
    "Froc",
    "ImagePair",
    "ObjectPair",
    "Overlap",
    "Panoptic",
    "Score",
    "accuracy",
    "bach_score",
    "bootstrap",
    "box_coverage",
    "confusion_matrix",
    "covered_share",
    "dice",
    "dsb_precision",
    "evaluate",
    "find_lesions",
    "froc",
    "hit_lesions",
    "kappa",
    "mean_dice",
    "mean_iou",
    "metastasis_class",
    "object_overlaps",
    "panoptic",
    "panoptic_as_published",
    "panoptic_quality",
    "pn_stage",
    "precision_recall",
    "roc",
    "stage_kappa",
    "write_report",
]
