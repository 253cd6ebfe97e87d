"""The scores of a set of images by name, pooled and as means over images, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.evaluation import pixel_curves
from napari_lumen.evaluation.bach import bach_score
from napari_lumen.evaluation.bootstrap import interval, resample_weights
from napari_lumen.evaluation.confusion import accuracy, kappa, mean_iou
from napari_lumen.evaluation.defined import Floats, mean, weighted_means
from napari_lumen.evaluation.overlap import Overlap
from napari_lumen.evaluation.panoptic import Panoptic
from napari_lumen.evaluation.tally import ImageTally, stack

Over = Literal["pooled", "mean of images"]
ALL, FOREGROUND = "all classes", "all but background"
_Key = tuple[str, str]  # score, class
_OVERLAPS = ("dice", "iou", "precision", "recall")


@dataclass(frozen=True, slots=True)
class Score:
    """One number.

    Attributes
    ----------
    name : str
        E.g. ``dice``; ``_smoothed`` has 1 added to numerator and denominator (FocusNet++, section 4).
    class_name : str
        A class, ``all classes`` or ``all but background``.
    over : {"pooled", "mean of images"}
        Whether counts of all images were added up first, or each image has its score.
    value, low, high : float
        The score and its bootstrapped interval; NaN where it is not defined.
    images : int
        Images that it is of: those that define it, for a mean.
    """

    name: str
    class_name: str
    over: Over
    value: float
    low: float
    high: float
    images: int


def image_scores(images: Sequence[ImageTally], classes: ClassTable) -> dict[_Key, Floats]:
    """Return the scores of single images, (images,), by score and class.

    Parameters
    ----------
    images : sequence of ImageTally
    classes : ClassTable
        As `with_background` returns it.
    """
    confusions = np.stack([image.confusion for image in images])
    found = _class_scores(confusions, classes)
    found |= _class_scores(confusions, classes, smooth=1.0)
    found["accuracy", ALL] = accuracy(confusions)
    if _have_objects(images):
        for name, objects in (
            ("panoptic_quality", stack([_sure(image.objects) for image in images])),
            ("panoptic_quality_as_published", stack([_sure(image.published) for image in images])),
        ):
            found |= _by_class(name, objects.quality, classes)
        found["dsb_precision", FOREGROUND] = np.array([image.dsb for image in images])
    return found


def score_all(
    images: Sequence[ImageTally],
    classes: ClassTable,
    *,
    bach: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Score]:
    """Return all scores of a set of images.

    Parameters
    ----------
    images : sequence of ImageTally
        At least one.
    classes : ClassTable
        As `with_background` returns it.
    bach : bool
        Give BACH's score too; the classes are then background, benign, in situ and invasive.
    resamples, level, seed
        Of the bootstrap, which draws whole groups; see `resample_weights` and `interval`.
    """
    groups = [image.group for image in images]
    weights = np.concatenate([np.ones((1, len(images)), np.int64), resample_weights(groups, resamples, seed)])
    single = image_scores(images, classes)
    table = np.stack(list(single.values()), axis=1)
    defined = dict(zip(single, (~np.isnan(table)).sum(0), strict=True))
    pooled = _pooled(images, weights, classes, bach)
    means = dict(zip(single, weighted_means(table, weights).T, strict=True))
    scores = [_score(key, "pooled", values, len(images), level) for key, values in pooled.items()]
    return scores + [
        _score(key, "mean of images", values, int(defined[key]), level) for key, values in means.items()
    ]


def _pooled(
    images: Sequence[ImageTally], weights: npt.NDArray[np.int64], classes: ClassTable, bach: bool
) -> dict[_Key, Floats]:
    """Return pooled scores (resamples,): counts are added up first, each image as often as it was drawn."""
    confusion = _added(weights, np.stack([image.confusion for image in images]))
    found = _class_scores(confusion, classes)
    found["accuracy", ALL] = accuracy(confusion)
    found["mean_iou", ALL] = mean_iou(confusion)
    found["kappa", ALL] = kappa(confusion)
    if bach:
        found["bach_score", ALL] = bach_score(confusion)
    if _have_objects(images):
        counts = stack([_sure(image.objects) for image in images])
        objects = Panoptic(*(_added(weights, part) for part in (counts.iou, counts.tp, counts.fp, counts.fn)))
        found |= _by_class("panoptic_quality", objects.quality, classes)
        found |= _by_class("recognition_quality", objects.recognition, classes)
        found |= _by_class("segmentation_quality", objects.segmentation, classes)
    for name in images[0].maps:
        maps = [image.maps[name] for image in images]
        found["average_precision", name], found["roc_auc", name] = pixel_curves.resampled(maps, weights)
    return found


def _class_scores(
    confusions: npt.NDArray[Any], classes: ClassTable, smooth: float = 0.0
) -> dict[_Key, Floats]:
    """Return overlap scores (n,) of confusion matrices, of each class and their mean."""
    overlap = Overlap.of_confusion(confusions)
    values = (
        overlap.dice(smooth),
        overlap.jaccard(smooth),
        overlap.precision(smooth),
        overlap.recall(smooth),
    )
    found: dict[_Key, Floats] = {}
    for name, of_classes in zip(_OVERLAPS, values, strict=True):
        found |= _by_class(f"{name}_smoothed" if smooth else name, of_classes[:, 1:], classes)
    return found


def _by_class(name: str, values: Floats, classes: ClassTable) -> dict[_Key, Floats]:
    """Return a score (n, foreground classes) by class, and its mean where there are several."""
    foreground = [item.name for item in classes][1:]
    found = {(name, of): values[:, index] for index, of in enumerate(foreground)}
    if len(foreground) > 1:
        found[name, FOREGROUND] = mean(values)
    return found


def _added(weights: npt.NDArray[np.int64], counts: npt.NDArray[Any]) -> Floats:
    """Return sums (resamples, ...) of counts (images, ...)."""
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    return (weights.astype(np.float64) @ flat).reshape(len(weights), *counts.shape[1:])


def _score(key: _Key, over: Over, values: Floats, images: int, level: float) -> Score:
    low, high = interval(values[1:], level)
    return Score(*key, over, float(values[0]), float(low), float(high), images)


def _have_objects(images: Sequence[ImageTally]) -> bool:
    return images[0].objects is not None


def _sure(objects: Panoptic | None) -> Panoptic:
    if objects is None:
        raise ValueError("either all images have objects, or none")
    return objects
