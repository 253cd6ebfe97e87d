"""Counting a set of images, one at a time: all that any score of the set needs, and no pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classes import ClassTable, TissueClass
from napari_lumen.evaluation.confusion import confusion_matrix
from napari_lumen.evaluation.dsb import dsb_precision
from napari_lumen.evaluation.matching import object_overlaps
from napari_lumen.evaluation.panoptic import Panoptic, panoptic, panoptic_as_published
from napari_lumen.evaluation.pixel_curves import Counted, count_values
from napari_lumen.geometry import Region

Labels = npt.NDArray[Any]
BACKGROUND = TissueClass(value=0, name="background", color=(235, 235, 235))
_OTHER = "no class"  # what 0 is called beside a class that is called background


@dataclass(frozen=True, slots=True)
class ObjectPair:
    """The objects of a prediction and of its truth, with the classes of their pixels.

    Attributes
    ----------
    predicted, truth : ndarray (h, w)
        Label values, as of `ImagePair`.
    predicted_objects, true_objects : ndarray (h, w)
        Integers: 0 is background, every object has its own number. Its class is that of its pixels;
        where they are background there is no object.
    """

    predicted: Labels
    truth: Labels
    predicted_objects: Labels
    true_objects: Labels


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A prediction and its truth.

    Attributes
    ----------
    name : str
    predicted, truth : ndarray (h, w)
        Integers, label values of the class table; 0 is background.
    objects : ObjectPair, optional
        Of a larger size where objects reach beyond the image.
    probability : mapping of str to ndarray (h, w)
        In [0, 1], by the names of the classes that have one.
    pixels : callable, optional
        Returns the image itself, uint8 (h, w, 3) of any size, or None where it cannot be read; called only if
        the image is one of the worst.
    group : str, optional
        Patient or slide, whose images are resampled together; the name where it is None.
    region : Region, optional
        Where on a slide the pixels lie, level-0 px.
    """

    name: str
    predicted: Labels
    truth: Labels
    objects: ObjectPair | None = None
    probability: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    pixels: Callable[[], npt.NDArray[np.uint8] | None] | None = None
    group: str | None = None
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class ImageTally:
    """The counts of one image.

    Attributes
    ----------
    name, group : str
    confusion : ndarray (classes, classes)
        Background first; rows are the truth.
    objects, published : Panoptic or None
        Arrays (foreground classes,): matches as they are, and as MoNuSAC's notebook counts them.
    dsb : float
        DSB precision over the objects of all classes; NaN without objects.
    maps : mapping of str to Counted
        Pixels by truth and probability, by class.
    """

    name: str
    group: str
    confusion: npt.NDArray[np.int64]
    objects: Panoptic | None
    published: Panoptic | None
    dsb: float
    maps: Mapping[str, Counted]


def with_background(classes: ClassTable) -> ClassTable:
    """Return the classes with background first, which is named so where the table does not name it."""
    taken = BACKGROUND.name in {item.name for item in classes}
    other = BACKGROUND.model_copy(update={"name": _OTHER}) if taken else BACKGROUND
    background = next((item for item in classes if item.value == 0), other)
    return ClassTable(classes=(background, *(item for item in classes if item.value != 0)))


def tally(pair: ImagePair, classes: ClassTable, ignore: int | None = None) -> ImageTally:
    """Count one image.

    Parameters
    ----------
    pair : ImagePair
    classes : ClassTable
        As `with_background` returns it.
    ignore : int, optional
        Pixels of this value in the truth do not count: no pixel, no probability, and no object there.

    Raises
    ------
    ValueError
        When shapes differ or a value is of no class; the message names the image.
    """
    ignored = None if ignore is None else pair.truth == ignore
    try:
        confusion = confusion_matrix(pair.predicted, pair.truth, [item.value for item in classes], ignore)
        objects, published, dsb = _objects(pair.objects, classes, ignore)
        maps = {
            name: count_values(map_, pair.truth == classes[name].value, ignored)
            for name, map_ in pair.probability.items()
        }
    except ValueError as error:
        raise ValueError(f"{pair.name}: {error}") from error
    group = pair.name if pair.group is None else pair.group
    return ImageTally(pair.name, group, confusion, objects, published, dsb, maps)


def stack(counts: Sequence[Panoptic]) -> Panoptic:
    """Return the counts of several images or classes as arrays with one more axis, the first."""
    return Panoptic(
        *(np.stack([getattr(item, name) for item in counts]) for name in ("iou", "tp", "fp", "fn"))
    )


def _objects(
    pair: ObjectPair | None, classes: ClassTable, ignore: int | None
) -> tuple[Panoptic | None, Panoptic | None, float]:
    if pair is None:
        return None, None, float("nan")
    predicted, true = pair.predicted_objects, pair.true_objects
    ignored = None if ignore is None else pair.truth == ignore
    foreground = [item.value for item in classes if item.value != 0]
    each = [
        object_overlaps(
            np.where(pair.predicted == value, predicted, 0), np.where(pair.truth == value, true, 0), ignored
        )
        for value in foreground
    ]
    together = each[0]
    if len(each) > 1:
        together = object_overlaps(
            np.where(pair.predicted > 0, predicted, 0), np.where(pair.truth > 0, true, 0), ignored
        )
    return (
        stack([panoptic(overlaps) for overlaps in each]),
        stack([panoptic_as_published(overlaps) for overlaps in each]),
        dsb_precision(together),
    )
