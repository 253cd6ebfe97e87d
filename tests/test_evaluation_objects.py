"""Scores of objects: panoptic quality, DSB precision. Oracles: MONAI, loops over all pairs, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.panoptic_quality import compute_panoptic_quality
from skimage.draw import disk

from napari_lumen.evaluation import (
    dsb_precision,
    object_overlaps,
    panoptic,
    panoptic_as_published,
    panoptic_quality,
)
from napari_lumen.evaluation.dsb import THRESHOLDS, precision_by_threshold


def nuclei(side: int, count: int, seed: int, jitter: int = 0) -> np.ndarray:
    """Return numbered discs; the same seed gives the same ones, each moved by up to `jitter` px."""
    places, moves = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    image = np.zeros((side, side), np.int32)
    for number in range(1, count + 1):
        y, x, radius = (*places.integers(8, side - 8, 2), places.integers(4, 8))
        shift = moves.integers(-jitter, jitter + 1, 2) if jitter else (0, 0)
        image[disk((y + shift[0], x + shift[1]), radius, shape=image.shape)] = number
    return image


def scrambled(image: np.ndarray, seed: int) -> np.ndarray:
    """Return the same objects under other numbers."""
    numbers = np.random.default_rng(seed).permutation(np.arange(1, 5000))[: image.max()]
    return np.concatenate([[0], numbers])[image]


def by_loops(predicted: np.ndarray, truth: np.ndarray, threshold: float) -> tuple[list[float], int, int, int]:
    """Return IoUs above a threshold and TP, FP, FN, object by object."""
    said, there = np.setdiff1d(np.unique(predicted), 0), np.setdiff1d(np.unique(truth), 0)
    ious = [
        np.sum((predicted == p) & (truth == t)) / np.sum((predicted == p) | (truth == t))
        for p in said
        for t in there
    ]
    found = [iou for iou in ious if iou > threshold]
    return found, len(found), len(said) - len(found), len(there) - len(found)


@pytest.mark.parametrize("seed", range(4))
def test_panoptic_quality_is_that_of_monai_and_of_loops(seed: int) -> None:
    truth, predicted = nuclei(120, 40, seed), scrambled(nuclei(120, 40, seed, jitter=3), seed)
    found = panoptic(object_overlaps(predicted, truth))
    ious, tp, fp, fn = by_loops(predicted, truth, 0.5)
    assert (found.tp, found.fp, found.fn) == (tp, fp, fn)
    assert found.iou == pytest.approx(sum(ious))
    expected = compute_panoptic_quality(torch.from_numpy(predicted), torch.from_numpy(truth.astype(np.int64)))
    assert found.quality == pytest.approx(float(expected), abs=1e-5)
    assert found.quality == pytest.approx(found.segmentation * found.recognition)


@pytest.mark.parametrize("seed", range(3))
def test_dsb_precision_is_that_of_loops(seed: int) -> None:
    truth, predicted = nuclei(100, 25, seed), scrambled(nuclei(100, 25, seed, jitter=2), seed)
    each = []
    for threshold in THRESHOLDS:
        _, tp, fp, fn = by_loops(predicted, truth, threshold)
        each.append(tp / (tp + fp + fn))
    overlaps = object_overlaps(predicted, truth)
    np.testing.assert_allclose(precision_by_threshold(overlaps), each)
    assert dsb_precision(overlaps) == pytest.approx(np.mean(each))


def test_a_match_needs_more_than_the_threshold() -> None:
    truth, half, shifted = (np.zeros((1, 40), int) for _ in range(3))
    truth[0, :20], half[0, :10], shifted[0, 9:20] = 1, 1, 1
    assert panoptic_quality(half, truth) == 0.0  # IoU of exactly 0.5
    # IoU 11 / 20 is exactly 0.55: found at 0.50 alone
    np.testing.assert_array_equal(precision_by_threshold(object_overlaps(shifted, truth)), [1] + 9 * [0])


def test_numbers_do_not_matter_but_in_the_score_as_published() -> None:
    truth = nuclei(200, 30, seed=1)
    shifted = np.where(truth > 0, truth + 1000, 0)
    assert panoptic_quality(shifted, truth) == 1.0
    assert panoptic_as_published(object_overlaps(shifted, truth)).quality == pytest.approx(2 / 3)
    assert panoptic_as_published(object_overlaps(truth, truth)).quality == 1.0


def test_numbers_may_be_as_large_as_they_come() -> None:
    truth = np.array([[0, 7, 7, 2**40]])
    np.testing.assert_array_equal(object_overlaps(truth, truth).true, [7, 2**40])
    assert panoptic_quality(truth, truth) == 1.0
    assert panoptic_quality(np.full((1, 4), 2**40), np.full((1, 4), 1)) == 1.0  # no background


def test_ignored_areas_hold_no_object_on_either_side() -> None:
    truth, predicted = np.zeros((20, 20), int), np.zeros((20, 20), int)
    truth[2:8, 2:8], predicted[2:8, 2:8] = 1, 5
    predicted[12:18, 12:18] = 6
    ignored = np.zeros((20, 20), bool)
    ignored[10:, 10:] = True
    assert panoptic_quality(predicted, truth) == pytest.approx(1 / 1.5)
    assert panoptic_quality(predicted, truth, ignored) == 1.0
    assert np.isnan(panoptic_quality(predicted, truth, np.ones((20, 20), bool)))


def test_objects_on_one_side_alone_score_0_and_on_neither_are_not_defined() -> None:
    empty, one = np.zeros((8, 8), int), np.eye(8, dtype=int)
    for predicted, truth in ((one, empty), (empty, one)):
        overlaps = object_overlaps(predicted, truth)
        assert panoptic(overlaps).quality == 0.0
        assert panoptic_as_published(overlaps).quality == 0.0
        assert dsb_precision(overlaps) == 0.0
    nothing = object_overlaps(empty, empty)
    assert np.isnan([panoptic(nothing).quality, dsb_precision(nothing)]).all()
    assert np.isnan(panoptic_quality(np.zeros((0, 5), int), np.zeros((0, 5), int)))


def test_objects_below_0_and_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="numbered from 1"):
        object_overlaps(np.array([[-1]]), np.array([[1]]))
    with pytest.raises(ValueError, match="differ in shape"):
        object_overlaps(np.zeros((2, 2), int), np.zeros((2, 3), int))
