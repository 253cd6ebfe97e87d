"""Editing objects in labels: deleting, splitting, merging, reclassifying and adding one.

Labels hold classes, not numbers, so an object is what `Numbering` makes of the pixels of a class. Nothing
here changes its arguments: each edit returns a `Patch`, or None where it would change nothing.

Places are (row, column) in pixels of the labels, the middle of the first at (0, 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import convex_hull_image

from napari_lumen.corrections.drawn import Drawn, Mask, outlined, traced, within
from napari_lumen.corrections.images import Pixels
from napari_lumen.geometry import Pair, Window

Numbers = npt.NDArray[np.int32]
Numbering = Callable[[Mask], Numbers]

_NEIGHBOURS = np.ones((3, 3), bool)  # diagonal pixels touch
_AROUND = 64  # px about a place that are looked at first
_WIDER = 1.5  # by which a bridge grows while objects are told apart


@dataclass(frozen=True, eq=False)
class Patch:
    """Labels that take the place of others.

    Attributes
    ----------
    window : Window
        Where.
    labels : ndarray
        uint8 (h, w) of the window.
    objects : int
        How many objects were deleted, split, merged, reclassified or added.
    """

    window: Window
    labels: Pixels
    objects: int


@dataclass(frozen=True, eq=False)
class LabelObject:
    """An object of one class.

    Attributes
    ----------
    window : Window
        The smallest that holds it.
    mask : ndarray
        bool (h, w) of the window: its pixels.
    value : int
        Its class.
    """

    window: Window
    mask: Mask
    value: int


def connected(mask: Mask) -> Numbers:
    """Number the connected areas (8 neighbours) of a mask (h, w) from 1."""
    numbers: Numbers = ndimage.label(mask, _NEIGHBOURS)[0]
    return numbers


def object_at(labels: Pixels, place: Pair, number: Numbering = connected) -> LabelObject | None:
    """Return the object at a place; None on background and beyond the labels.

    Parameters
    ----------
    labels : ndarray
        uint8 (h, w), class values.
    place : (float, float)
    number : callable
        Numbers the objects of a class from 1: takes bool (h, w), returns int32 (h, w).
    """
    pixel = _pixel(place)
    if not _inside(pixel, labels.shape) or not labels[pixel]:
        return None
    area = _area_at(labels, pixel)
    numbers = number(area.mask)
    chosen = numbers == numbers[pixel[0] - area.window.y, pixel[1] - area.window.x]
    return _fitted(area.window, chosen, area.value)


def deleted(labels: Pixels, place: Pair, number: Numbering = connected) -> Patch | None:
    """Delete the object at a place."""
    found = object_at(labels, place, number)
    return None if found is None else _painted(labels, [found], 0)


def split(labels: Pixels, path: Sequence[Pair], gap: int = 1, number: Numbering = connected) -> Patch | None:
    """Divide every object that a line crosses, by a gap of background; where it ends inside, nothing happens.

    Parameters
    ----------
    labels : ndarray
        uint8 (h, w).
    path : sequence of (float, float)
        The line's corners.
    gap : int
        Its width, px.
    number : callable
        See `object_at`.
    """
    line = traced(path, labels.shape, gap)
    divided = []
    for found in _objects_on(labels, line, number):
        cut = line.on(found.window) & found.mask
        if connected(found.mask & ~cut).max() > 1:
            divided.append(LabelObject(found.window, cut, found.value))
    return _painted(labels, divided, 0) if divided else None


def merged(labels: Pixels, path: Sequence[Pair], number: Numbering = connected) -> Patch | None:
    """Join the objects that a stroke touches into one, of the class of that in which it begins.

    The bridge is at least as wide as the narrowest of them, and wider where a neck is left at which objects
    are told apart still. It covers background only.

    Parameters
    ----------
    labels : ndarray
        uint8 (h, w).
    path : sequence of (float, float)
    number : callable
        See `object_at`.
    """
    line = traced(path, labels.shape)
    found = list(_objects_on(labels, line, number, path))
    if len(found) < 2:
        return None
    window = _around([item.window for item in found])
    pieces = np.zeros((window.height, window.width), bool)
    for item in found:
        pieces[within(item.window, window)] |= item.mask
    away = ndimage.distance_transform_edt(~line.on(window))
    reach = 2 * min(float(ndimage.distance_transform_edt(np.pad(item.mask, 1)).max()) for item in found)
    before = labels[window.slices]
    while True:
        near = away <= reach
        after = before.copy()
        after[convex_hull_image(pieces & near) & (before == 0)] = found[0].value
        after[pieces] = found[0].value
        if near.all() or _is_one(labels, Patch(window, after, len(found)), found, number):
            return Patch(window, after, len(found))
        reach *= _WIDER


def _is_one(labels: Pixels, patch: Patch, found: Sequence[LabelObject], number: Numbering) -> bool:
    """Whether most of each object lies in the same one once a patch is laid on labels."""
    joined = labels.copy()
    joined[patch.window.slices] = patch.labels
    area = _area_at(joined, _pixel_of(found[0]))
    numbers = number(area.mask)
    most = set()
    for item in found:
        common = item.window.intersect(area.window)
        pixels = item.mask[within(common, item.window)]
        if not pixels.any():
            return False
        most.add(int(np.bincount(numbers[within(common, area.window)][pixels]).argmax()))
    return len(most) == 1 and 0 not in most


def reclassified(
    labels: Pixels, path: Sequence[Pair], value: int, number: Numbering = connected
) -> Patch | None:
    """Give another class to the object at a place, or to those of which most lies in a closed outline.

    Parameters
    ----------
    labels : ndarray
        uint8 (h, w).
    path : sequence of (float, float)
        One place, or the corners of an outline.
    value : int
        The class.
    number : callable
        See `object_at`.
    """
    if len(path) < 3:
        single = object_at(labels, path[0], number)
        found = [] if single is None else [single]
    else:
        inside = outlined(path, labels.shape)
        found = [
            item
            for item in _objects_on(labels, inside, number)
            if inside.on(item.window)[item.mask].mean() > 0.5
        ]
    found = [item for item in found if item.value != value]
    return _painted(labels, found, value) if found else None


def added(labels: Pixels, window: Window, mask: Mask, value: int) -> Patch | None:
    """Add an object on background, one pixel apart from others of its class.

    Parameters
    ----------
    labels : ndarray
        uint8 (h, w).
    window : Window
    mask : ndarray
        bool (h, w) of the window: its pixels; the largest piece that has room is taken.
    value : int
        Its class.
    """
    before = labels[window.slices]
    around = Window(window.y - 1, window.x - 1, window.height + 2, window.width + 2)
    around = around.intersect(Window(0, 0, *labels.shape))
    touching = ndimage.binary_dilation(labels[around.slices] == value, _NEIGHBOURS)
    free = mask & (before == 0) & ~touching[within(window, around)]
    numbers = connected(free)
    if not numbers.any():
        return None
    largest = 1 + int(np.argmax(np.bincount(numbers.ravel())[1:]))
    after = before.copy()
    after[numbers == largest] = value
    return Patch(window, after, 1)


def _pixel(place: Pair) -> tuple[int, int]:
    return round(place[0]), round(place[1])


def _pixel_of(item: LabelObject) -> tuple[int, int]:
    """Return one pixel of an object."""
    row, column = np.argwhere(item.mask)[0].tolist()
    return item.window.y + row, item.window.x + column


def _inside(pixel: tuple[int, int], shape: tuple[int, ...]) -> bool:
    return 0 <= pixel[0] < shape[0] and 0 <= pixel[1] < shape[1]


def _area_at(labels: Pixels, pixel: tuple[int, int]) -> LabelObject:
    """Return the connected area at a pixel, looking no further about it than it goes."""
    value, reach = int(labels[pixel]), _AROUND
    whole = Window(0, 0, *labels.shape)
    while True:
        window = Window(pixel[0] - reach, pixel[1] - reach, 2 * reach + 1, 2 * reach + 1).intersect(whole)
        numbers = connected(labels[window.slices] == value)
        area = numbers == numbers[pixel[0] - window.y, pixel[1] - window.x]
        found = _fitted(window, area, value)
        if window == whole or not _cut_off(found.window, window, whole):
            return found
        reach *= 2


def _cut_off(area: Window, seen: Window, whole: Window) -> bool:
    """Whether an area reaches an edge of what was seen behind which there is more."""
    return (
        (area.y == seen.y > whole.y)
        or (area.x == seen.x > whole.x)
        or (area.y + area.height == seen.y + seen.height < whole.height)
        or (area.x + area.width == seen.x + seen.width < whole.width)
    )


def _fitted(window: Window, mask: Mask, value: int) -> LabelObject:
    """Return an object in the smallest window."""
    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    top, left = rows.start, columns.start
    place = Window(window.y + top, window.x + left, rows.stop - top, columns.stop - left)
    return LabelObject(place, mask[rows, columns], value)


def _objects_on(
    labels: Pixels, drawn: Drawn, number: Numbering, first: Sequence[Pair] = ()
) -> Iterator[LabelObject]:
    """Yield the objects with pixels in what is drawn, once each; those at `first` before others."""
    window = drawn.window
    left = drawn.mask & (labels[window.slices] > 0)
    places = [(round(y) - window.y, round(x) - window.x) for y, x in first]
    places += list(zip(*(axis.tolist() for axis in np.nonzero(left)), strict=True))
    for place in places:
        if _inside(place, left.shape) and left[place]:
            found = object_at(labels, (place[0] + window.y, place[1] + window.x), number)
            if found is not None:
                common = found.window.intersect(window)
                left[within(common, window)] &= ~found.mask[within(common, found.window)]
                yield found


def _painted(labels: Pixels, objects: Sequence[LabelObject], value: int) -> Patch:
    window = _around([item.window for item in objects])
    after = labels[window.slices].copy()
    for item in objects:
        after[within(item.window, window)][item.mask] = value
    return Patch(window, after, len(objects))


def _around(windows: Sequence[Window]) -> Window:
    y, x = min(item.y for item in windows), min(item.x for item in windows)
    bottom = max(item.y + item.height for item in windows)
    right = max(item.x + item.width for item in windows)
    return Window(y, x, bottom - y, right - x)
