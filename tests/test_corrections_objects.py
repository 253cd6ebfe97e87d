"""Editing objects in labels: small labels with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from napari_lumen.corrections import objects
from napari_lumen.corrections.object_growing import grown_on_color, grown_on_probability
from napari_lumen.corrections.objects import Patch
from napari_lumen.geometry import Window
from napari_lumen.inference.instances import components, split_touching

NUCLEUS, GLAND = 1, 2


def drawn(*rows: str) -> np.ndarray:
    """Labels from a drawing: a dot is background."""
    return np.array([[0 if sign == "." else int(sign) for sign in row] for row in rows], np.uint8)


def applied(labels: np.ndarray, patch: Patch | None) -> np.ndarray:
    after = labels.copy()
    if patch is not None:
        after[patch.window.slices] = patch.labels
    return after


def disc(shape: tuple[int, int], middle: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 <= radius**2


def told_apart(mask: np.ndarray) -> np.ndarray:
    return split_touching(components(mask))


def test_a_click_deletes_the_object_under_it_and_nothing_else() -> None:
    labels = drawn(
        "11..1",
        ".1..1",
        "..1..",
        "22...",
    )
    patch = objects.deleted(labels, (0.4, 0.6))
    assert patch is not None
    assert patch.objects == 1
    expected = drawn(
        "....1",
        "....1",
        ".....",
        "22...",
    )
    expected[0:2, 4] = 1
    # the diagonal pixel belongs to the first, and touches the third by its corner nowhere
    assert np.array_equal(applied(labels, patch), expected)
    assert objects.deleted(labels, (3, 3)) is None
    assert objects.deleted(labels, (9, 1)) is None
    assert labels[0, 0] == 1  # the argument stays


def test_of_two_touching_nuclei_the_one_that_is_clicked_goes() -> None:
    shape = (40, 60)
    left, right = disc(shape, (20, 20), 9), disc(shape, (20, 36), 9)
    labels = (left | right).astype(np.uint8)
    assert components(labels > 0).max() == 1
    after = applied(labels, objects.deleted(labels, (20, 20), told_apart))
    assert not after[left & ~right].any()
    assert after[right & ~left & (np.indices(shape)[1] > 29)].all()
    assert not applied(labels, objects.deleted(labels, (20, 20))).any()


def test_a_line_divides_what_it_crosses_and_leaves_what_it_ends_in() -> None:
    labels = drawn(
        "..........",
        ".1111.222.",
        ".1111.222.",
        ".1111.222.",
        "..........",
    )
    patch = objects.split(labels, [(0, 2), (4, 2)])
    assert patch is not None
    assert patch.objects == 1
    assert np.array_equal(
        applied(labels, patch),
        drawn(
            "..........",
            ".1.11.222.",
            ".1.11.222.",
            ".1.11.222.",
            "..........",
        ),
    )
    assert objects.split(labels, [(0, 2), (2, 2)]) is None
    both = objects.split(labels, [(2, 0), (2, 9)])
    assert both is not None
    assert both.objects == 2
    assert not applied(labels, both)[2].any()
    wide = objects.split(labels, [(0, 7), (4, 7)], gap=3)
    assert wide is None  # nothing would be left of it to tell apart


@settings(max_examples=60, deadline=None)
@given(
    angle=st.floats(0, np.pi),
    middle=st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
)
def test_a_line_at_any_angle_lets_no_corner_hold_the_halves_together(
    angle: float, middle: tuple[float, float]
) -> None:
    labels = disc((41, 41), (20, 20), 14).astype(np.uint8)
    along = np.array([np.sin(angle), np.cos(angle)]) * 40
    centre = np.array([20, 20]) + middle
    after = applied(labels, objects.split(labels, [tuple(centre - along), tuple(centre + along)]))
    assert label(after, connectivity=2).max() == 2
    assert (labels > 0).sum() - (after > 0).sum() <= 2 * 29


def test_a_stroke_joins_objects_without_leaving_a_neck() -> None:
    shape = (50, 80)
    labels = np.zeros(shape, np.uint8)
    labels[disc(shape, (25, 20), 9)] = NUCLEUS
    labels[disc(shape, (25, 44), 8)] = GLAND
    labels[disc(shape, (25, 70), 6)] = GLAND
    labels[10:14, 30:33] = GLAND  # beside the stroke, not touched
    patch = objects.merged(labels, [(25, 20), (26, 30), (25, 44)])
    assert patch is not None
    assert patch.objects == 2
    after = applied(labels, patch)
    assert told_apart(after == NUCLEUS).max() == 1
    assert (after[25, 12:52] == NUCLEUS).all()
    assert (after[disc(shape, (25, 44), 8)] == NUCLEUS).all()
    assert (after[10:14, 30:33] == GLAND).all()
    assert (after[disc(shape, (25, 70), 6)] == GLAND).all()
    assert objects.merged(labels, [(25, 20), (25, 28)]) is None
    assert objects.merged(labels, [(-20, 200), (-9, 300)]) is None


def test_two_halves_of_a_nucleus_that_the_run_told_apart_become_one() -> None:
    shape = (40, 60)
    labels = (disc(shape, (20, 20), 9) | disc(shape, (20, 36), 9)).astype(np.uint8)
    assert told_apart(labels > 0).max() == 2
    after = applied(labels, objects.merged(labels, [(20, 18), (20, 38)], told_apart))
    assert told_apart(after > 0).max() == 1


def test_a_bridge_is_made_wider_until_objects_are_one() -> None:
    shape = (70, 50)
    labels = np.zeros(shape, np.uint8)
    for middle, radius in (((14, 25), 9), ((35, 22), 4), ((56, 25), 10)):  # a waist between two large ones
        labels[disc(shape, middle, radius)] = NUCLEUS
    assert told_apart(labels > 0).max() == 3
    patch = objects.merged(labels, [(14, 25), (35, 22), (56, 25)], told_apart)
    assert patch is not None
    assert patch.objects == 3
    assert told_apart(applied(labels, patch) > 0).max() == 1


def test_a_class_is_given_by_a_click_or_to_most_of_what_an_outline_holds() -> None:
    labels = drawn(
        "11...11",
        "11...11",
        ".......",
        "1111111",
    )
    by_click = applied(labels, objects.reclassified(labels, [(1, 6)], GLAND))
    assert np.array_equal(by_click[:, 5:], drawn("22", "22", "..", "11"))
    assert np.array_equal(by_click[:, :5], labels[:, :5])
    lasso = [(-0.6, -0.6), (-0.6, 6.6), (3.4, 6.6), (3.4, 4.6), (1.6, 2.6), (1.6, -0.6)]
    patch = objects.reclassified(labels, lasso, GLAND)
    assert patch is not None
    assert patch.objects == 2
    assert np.array_equal(applied(labels, patch)[:2], labels[:2] * 2)
    assert (applied(labels, patch)[3] == NUCLEUS).all()  # less than half of it lies inside
    assert objects.reclassified(labels, lasso, NUCLEUS) is None


def test_an_added_object_keeps_off_the_others_and_stays_one_of_its_own() -> None:
    labels = drawn(
        "11.....",
        "11.....",
        "11.....",
        "....22.",
    )
    patch = objects.added(labels, Window(0, 1, 4, 5), np.ones((4, 5), bool), NUCLEUS)
    after = applied(labels, patch)
    assert np.array_equal(
        after,
        drawn(
            "11.111.",
            "11.111.",
            "11.111.",
            "...122.",
        ),
    )
    assert components(after == NUCLEUS).max() == 2
    assert objects.added(labels, Window(0, 0, 2, 2), np.ones((2, 2), bool), NUCLEUS) is None


@pytest.mark.parametrize("side", [100, 700])
def test_an_object_is_found_whole_however_large_it_is(side: int) -> None:
    labels = np.zeros((900, 900), np.uint8)
    labels[50 : 50 + side, 60 : 60 + side] = GLAND
    found = objects.object_at(labels, (55, 65))
    assert found is not None
    assert (found.window, found.value) == (Window(50, 60, side, side), GLAND)
    assert found.mask.all()


def test_an_object_grows_to_where_its_colour_ends() -> None:
    shape = (49, 49)
    nucleus = disc(shape, (25, 22), 8)
    image = np.where(nucleus[..., None], (95, 60, 130), (215, 150, 190)).astype(float)
    image += np.random.default_rng(0).normal(0, 8, (*shape, 3))
    image[disc(shape, (25, 42), 5)] = (95, 60, 130)  # another, which does not touch
    grown = grown_on_color(np.clip(image, 0, 255).astype(np.uint8), (24, 24))
    assert (grown & nucleus).sum() / (grown | nucleus).sum() > 0.9
    assert not grown_on_color(np.full((*shape, 3), 200, np.uint8), (24, 24)).any()


def test_an_object_grows_to_where_it_is_half_as_probable_and_never_beyond_the_field() -> None:
    distance = np.hypot(*(np.indices((41, 41)) - 20))
    faint = np.clip(0.4 - distance / 50, 0, 1).astype(np.float32)  # half of the peak at 10 px
    grown = grown_on_probability(faint, (20, 20))
    assert grown is not None
    assert grown.sum() == pytest.approx((distance <= 10).sum(), abs=20)
    assert grown_on_probability(faint / 8, (20, 20)) is None
    assert grown_on_probability(np.full((41, 41), 0.4, np.float32), (20, 20)) is None
