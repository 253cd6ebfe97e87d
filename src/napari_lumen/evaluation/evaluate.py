"""Evaluating a set of images: scores, confusion, curves and the worst of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.evaluation import pixel_curves
from napari_lumen.evaluation.curves import Curve
from napari_lumen.evaluation.defined import mean
from napari_lumen.evaluation.overlap import Overlap
from napari_lumen.evaluation.scores import Score, image_scores, score_all
from napari_lumen.evaluation.tally import ImagePair, ImageTally, tally, with_background
from napari_lumen.evaluation.thumbnails import Thumbnails, thumbnails


@dataclass(frozen=True, slots=True)
class WorstImage:
    """One of the images with the lowest scores.

    Attributes
    ----------
    name : str
    score : float
        Mean over the classes in it of panoptic quality where objects were counted, else of Dice.
    pictures : mapping of str to ndarray (h, w, 3)
        uint8, small: tissue where it is known, truth, prediction, errors.
    """

    name: str
    score: float
    pictures: Thumbnails


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out.

    Attributes
    ----------
    classes : ClassTable
        Background first.
    scores : list of Score
    names : list of str
        Of the images, in the order in which they came.
    by_image : mapping of (str, str) to ndarray (images,)
        Scores of single images by score and class.
    confusion : ndarray (classes, classes)
        All images pooled; rows are the truth, columns the prediction.
    precision_recall, roc : mapping of str to Curve
        Pooled, by the classes that have probabilities.
    worst : list of WorstImage
        Lowest score first. Images with nothing on either side are none of them.
    groups : int
        Independent units that the intervals are resampled from.
    """

    classes: ClassTable
    scores: list[Score]
    names: list[str]
    by_image: Mapping[tuple[str, str], npt.NDArray[np.float64]]
    confusion: npt.NDArray[np.int64]
    precision_recall: Mapping[str, Curve]
    roc: Mapping[str, Curve]
    worst: list[WorstImage]
    groups: int


def evaluate(
    pairs: Iterable[ImagePair],
    classes: ClassTable,
    *,
    ignore: int | None = None,
    bach: bool = False,
    worst: int = 12,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score predictions against their truth.

    Images are taken one at a time and let go; their counts and the worst of them are kept.

    Parameters
    ----------
    pairs : iterable of ImagePair
        All with objects or none, all with probabilities of the same classes or none.
    classes : ClassTable
        Label value 0 is background, whether the table names it or not.
    ignore : int, optional
        Pixels of this value in the truth do not count.
    bach : bool
        Give BACH's score too; the classes are then of values 1 benign, 2 in situ and 3 invasive.
    worst : int
        How many of the worst images to keep.
    resamples, seed : int
        Of the bootstrapped 95 % intervals.

    Raises
    ------
    ValueError
        Without images, or when one does not fit its truth or the classes; the message names it.
    """
    classes = with_background(classes)
    if bach and [item.value for item in classes] != [0, 1, 2, 3]:
        raise ValueError(
            "BACH's score needs the classes 1 benign, 2 in situ and 3 invasive, in this order; name one that "
            "no image has by --class 3=invasive"
        )
    images: list[ImageTally] = []
    heap: list[tuple[float, int, WorstImage]] = []
    for pair in pairs:
        image = tally(pair, classes, ignore)
        if images and (image.maps.keys(), image.objects is None) != (
            images[0].maps.keys(),
            images[0].objects is None,
        ):
            raise ValueError(f"{image.name} has other probabilities or objects than {images[0].name}")
        images.append(image)
        score = _image_score(image)
        if worst and not np.isnan(score) and (len(heap) < worst or score < -heap[0][0]):
            entry = (-score, -len(images), WorstImage(image.name, score, thumbnails(pair, classes, ignore)))
            heapq.heappush(heap, entry)
            if len(heap) > worst:
                heapq.heappop(heap)
    if not images:
        raise ValueError("there is no image to evaluate, or nothing of one in the region")
    found = {name: pixel_curves.curves([image.maps[name] for image in images]) for name in images[0].maps}
    return Evaluation(
        classes=classes,
        scores=score_all(images, classes, bach=bach, resamples=resamples, seed=seed),
        names=[image.name for image in images],
        by_image=image_scores(images, classes),
        confusion=np.sum([image.confusion for image in images], axis=0),
        precision_recall={name: curves[0] for name, curves in found.items()},
        roc={name: curves[1] for name, curves in found.items()},
        worst=[entry[2] for entry in sorted(heap, key=lambda entry: entry[:2], reverse=True)],
        groups=len({image.group for image in images}),
    )


def _image_score(image: ImageTally) -> float:
    """Return the score by which images are called worse than others; NaN with nothing on either side."""
    overlap = Overlap.of_confusion(image.confusion)
    return float(mean(overlap.dice()[1:] if image.objects is None else image.objects.quality))
