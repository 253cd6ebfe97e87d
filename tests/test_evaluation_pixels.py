"""Scores of pixels: overlap, confusion, BACH, kappa, curves, boxes. Oracles: scikit-learn, MONAI, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou
from scipy.special import expit
from sklearn import metrics

from napari_lumen.evaluation import (
    Overlap,
    accuracy,
    bach_score,
    box_coverage,
    confusion_matrix,
    covered_share,
    dice,
    kappa,
    mean_dice,
    mean_iou,
    precision_recall,
    roc,
)
from napari_lumen.evaluation.pixel_curves import (
    average_precision,
    count_values,
    curves,
    pooled,
    resampled,
    roc_area,
)

RNG = np.random.default_rng(7)
TRUTH = RNG.integers(0, 4, (5, 40, 30)).astype(np.uint8)
PREDICTED = np.where(RNG.random(TRUTH.shape) < 0.6, TRUTH, RNG.integers(0, 4, TRUTH.shape)).astype(np.uint8)


def confusions() -> np.ndarray:
    return np.stack([confusion_matrix(p, t, range(4)) for p, t in zip(PREDICTED, TRUTH, strict=True)])


def test_a_confusion_matrix_is_that_of_scikit_learn() -> None:
    expected = metrics.confusion_matrix(TRUTH.ravel(), PREDICTED.ravel())
    np.testing.assert_array_equal(confusions().sum(0), expected)


def test_label_values_may_be_large_and_in_any_order() -> None:
    truth, predicted = np.array([70_000, 5, 5, 2_000_000]), np.array([5, 5, 70_000, 2_000_000])
    np.testing.assert_array_equal(
        confusion_matrix(predicted, truth, [2_000_000, 5, 70_000]), [[1, 0, 0], [0, 1, 1], [0, 1, 0]]
    )


@pytest.mark.parametrize("value", [9, 70_000, -1])
def test_a_value_of_no_class_is_named(value: int) -> None:
    with pytest.raises(ValueError, match=rf"prediction holds the value {value}"):
        confusion_matrix(np.array([0, value]), np.array([0, 0]), [0, 1])


def test_ignored_pixels_do_not_count_whatever_is_predicted_there() -> None:
    truth, predicted = np.array([0, 1, 255, 255]), np.array([0, 0, 1, 77])
    np.testing.assert_array_equal(confusion_matrix(predicted, truth, [0, 1], ignore=255), [[1, 0], [1, 0]])


def test_scores_of_images_are_those_of_scikit_learn_and_monai() -> None:
    overlap = Overlap.of_confusion(confusions())
    for index in range(len(TRUTH)):
        p, t = PREDICTED[index].ravel(), TRUTH[index].ravel()
        np.testing.assert_allclose(overlap.dice()[index], metrics.f1_score(t, p, average=None))
        np.testing.assert_allclose(overlap.jaccard()[index], metrics.jaccard_score(t, p, average=None))
        np.testing.assert_allclose(overlap.precision()[index], metrics.precision_score(t, p, average=None))
        np.testing.assert_allclose(overlap.recall()[index], metrics.recall_score(t, p, average=None))
    one_hot = [torch.from_numpy(np.stack([a == k for k in range(4)], 1)) for a in (PREDICTED, TRUTH)]
    np.testing.assert_allclose(overlap.dice(), compute_dice(*one_hot).numpy(), rtol=1e-6)
    np.testing.assert_allclose(overlap.jaccard(), compute_iou(*one_hot).numpy(), rtol=1e-6)


def test_scores_over_all_classes_are_those_of_scikit_learn() -> None:
    pooled, p, t = confusions().sum(0), PREDICTED.ravel(), TRUTH.ravel()
    assert accuracy(pooled) == pytest.approx(metrics.accuracy_score(t, p))
    assert mean_iou(pooled) == pytest.approx(metrics.jaccard_score(t, p, average="macro"))
    assert mean_dice(pooled) == pytest.approx(metrics.f1_score(t, p, average="macro"))
    assert kappa(pooled) == pytest.approx(metrics.cohen_kappa_score(t, p))
    assert kappa(pooled, quadratic=True) == pytest.approx(
        metrics.cohen_kappa_score(t, p, weights="quadratic")
    )


def test_pooled_scores_are_those_of_one_large_image_not_the_mean_of_images() -> None:
    small, large = np.ones((1, 2), bool), np.ones((10, 10), bool)
    overlaps = [Overlap.of_masks(small, small), Overlap.of_masks(~large, large)]
    both = Overlap(*(np.stack([getattr(o, n) for o in overlaps]) for n in ("tp", "fp", "fn", "tn")))
    assert both.dice().mean() == 0.5
    assert both.pooled().dice() == pytest.approx(4 / 104)


def test_focusnetpp_adds_one_above_and_below_so_that_two_empty_images_agree() -> None:
    empty = np.zeros((4, 4), bool)
    one = empty.copy()
    one[0, 0] = True
    nothing, missed = Overlap.of_masks(empty, empty), Overlap.of_masks(empty, one)
    for score in ("dice", "jaccard", "precision", "recall"):
        assert getattr(nothing, score)(smooth=1.0) == 1.0
        assert np.isnan(getattr(nothing, score)())
    assert missed.jaccard(smooth=1.0) == 0.5
    assert nothing.accuracy() == 1.0
    assert dice(empty, empty) == 1.0
    assert dice(empty, one) == 0.0


def test_a_class_on_neither_side_is_left_out_of_the_mean() -> None:
    confusion = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert mean_iou(confusion) == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_scores_of_nothing_are_not_defined() -> None:
    nothing = confusion_matrix(np.zeros((0, 4), int), np.zeros((0, 4), int), [0, 1])
    assert np.isnan([accuracy(nothing), mean_iou(nothing), kappa(nothing)]).all()
    everything_ignored = confusion_matrix(np.ones(5, int), np.full(5, 255), [0, 1], ignore=255)
    assert np.isnan(accuracy(everything_ignored))


def test_kappa_of_one_class_alone_is_not_defined() -> None:
    assert np.isnan(kappa(np.array([[9, 0], [0, 0]])))


def test_the_bach_score_is_that_of_its_formula() -> None:
    p, t = PREDICTED.ravel().astype(float), TRUTH.ravel().astype(float)
    counted = 1 - (1 - (p > 0)) * (1 - (t > 0))
    expected = 1 - np.abs(p - t).sum() / (np.maximum(t, np.abs(t - 3)) * counted).sum()
    assert bach_score(confusions().sum(0)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("truth", "predicted", "score"),
    [
        ([0, 0, 3], [0, 0, 3], 1.0),
        ([0, 0], [0, 0], 1.0),  # nothing counts
        ([3, 3], [0, 0], 0.0),
        ([0, 3], [3, 0], 0.0),
        ([1, 2], [2, 1], 0.5),  # each off by 1 of 2
        ([0, 0, 0, 0, 2], [0, 0, 0, 0, 1], 0.5),  # normal in both does not help
    ],
)
def test_the_bach_score_of_cases_by_hand(truth: list[int], predicted: list[int], score: float) -> None:
    found = bach_score(confusion_matrix(np.array(predicted), np.array(truth), range(4)))
    assert found == pytest.approx(score)


def test_the_bach_score_needs_its_four_classes() -> None:
    with pytest.raises(ValueError, match="4 classes"):
        bach_score(np.zeros((3, 3)))


def assert_curves_of_all_pixels(
    probability: np.ndarray, positive: np.ndarray, ap_within: float, auc_within: float
) -> None:
    maps = [count_values(p, t) for p, t in zip(probability, positive, strict=True)]
    counts = pooled(maps).counts
    expected_ap = metrics.average_precision_score(positive.ravel(), probability.ravel())
    expected_auc = metrics.roc_auc_score(positive.ravel(), probability.ravel())
    pr_curve, roc_curve = curves(maps)
    for area in (average_precision(counts), pr_curve.area):
        assert area == pytest.approx(expected_ap, abs=ap_within)
    for area in (roc_area(counts), roc_curve.area):
        assert area == pytest.approx(expected_auc, abs=auc_within)


def test_curves_over_what_runs_store_are_those_of_all_pixels_sorted() -> None:
    positive = RNG.random((3, 50, 50)) < 0.2
    steps = np.rint(np.clip(positive * 0.3 + RNG.random(positive.shape) * 0.7, 0, 1) * 255)
    assert_curves_of_all_pixels((steps / 255).astype(np.float32), positive, 1e-12, 1e-12)
    expected = metrics.average_precision_score(positive.ravel(), steps.ravel())
    assert precision_recall(steps.ravel(), positive.ravel()).area == pytest.approx(expected)
    expected = metrics.roc_auc_score(positive.ravel(), steps.ravel())
    assert roc(steps.ravel(), positive.ravel()).area == pytest.approx(expected)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("inside", "outside"), [(-2, -11), (-9, -13), (13, 9), (3, -3)])
def test_curves_of_a_rare_class_and_of_a_sure_model_are_those_of_all_pixels_sorted(
    kind: type[np.floating[Any]], inside: float, outside: float
) -> None:
    positive = RNG.random((4, 128, 128)) < 0.01
    middle = np.where(positive, inside, outside)
    probability = expit(RNG.normal(middle, 1.5)).astype(kind)
    assert_curves_of_all_pixels(probability, positive, 2e-4, 1e-5)


@pytest.mark.parametrize("width", [1, 0.1, 0.001])
@pytest.mark.parametrize("most", [0.01, 0.3])
def test_curves_do_not_depend_on_how_close_the_probabilities_lie(width: float, most: float) -> None:
    positive = RNG.random((3, 200, 200)) < most
    spread = np.clip(0.35 * positive + RNG.normal(0.3, 0.12, positive.shape), 0, 1)
    spread[RNG.random(positive.shape) < 0.2] = 0  # a fifth is of one value
    assert_curves_of_all_pixels((0.5 + width * (spread - 0.5)).astype(np.float64), positive, 2e-4, 1e-5)


def test_resampled_areas_are_those_of_the_maps_that_were_drawn() -> None:
    positive = RNG.random((4, 120, 120)) < 0.1
    probability = np.clip(0.2 * positive + RNG.normal(0.4, 0.1, positive.shape), 0, 1)
    maps = [count_values(p, t) for p, t in zip(probability, positive, strict=True)]
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 0, 0, 4]])
    oracles = metrics.average_precision_score, metrics.roc_auc_score
    for found, oracle in zip(resampled(maps, weights), oracles, strict=True):
        expected = [
            oracle(np.repeat(positive, row, 0).ravel(), np.repeat(probability, row, 0).ravel())
            for row in weights
        ]
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_weight_counts_a_slide_as_often() -> None:
    probability, positive, weight = (
        np.array([0.9, 0.8, 0.3, 0.1]),
        np.array([1, 0, 1, 0]),
        np.array([2, 1, 0, 3]),
    )
    repeated = np.repeat(probability, weight), np.repeat(positive, weight)
    assert roc(probability, positive, weight).area == roc(*repeated).area
    assert precision_recall(probability, positive, weight).area == precision_recall(*repeated).area


def test_curves_without_positives_or_negatives_are_not_defined() -> None:
    probability = np.array([0.1, 0.9])
    for positive in ([False, False], [True, True]):
        assert np.isnan(roc(probability, np.array(positive)).area)
        assert np.isnan(roc_area(count_values(probability, np.array(positive)).counts))
    assert np.isnan(precision_recall(probability, np.array([False, False])).area)
    assert np.isnan(average_precision(np.zeros((2, 9))))
    assert precision_recall(probability, np.array([True, True])).area == 1.0


def test_a_probability_that_is_none_is_refused_unless_ignored() -> None:
    probability, truth = np.array([np.nan, 0.5]), np.array([True, True])
    with pytest.raises(ValueError, match="NaN"):
        roc(probability, truth)
    with pytest.raises(ValueError, match="outside 0 to 1"):
        count_values(probability, truth)
    assert count_values(probability, truth, ignored=np.array([True, False])).counts.sum() == 1


def test_a_box_is_covered_when_half_of_it_is() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:, :5] = True
    boxes = np.array([[0, 0, 4, 4], [0, 3, 4, 7], [0, 4, 4, 8], [2, 6, 9, 9]])
    np.testing.assert_allclose(covered_share(mask, boxes), [1, 0.5, 0.25, 0])
    assert box_coverage(mask, boxes) == 0.5


def test_parts_of_pixels_and_of_boxes_outside_count_exactly() -> None:
    mask = np.ones((4, 4), bool)
    mask[0, 0] = False
    shares = covered_share(mask, np.array([[0.25, 0.5, 1.5, 2.0], [-2, 1, 2, 3], [5, 5, 6, 6]]))
    inside = 1.25 * 1.5 - 0.75 * 0.5
    np.testing.assert_allclose(shares, [inside / (1.25 * 1.5), 0.5, 0.0])


def test_boxes_without_area_are_refused_and_none_at_all_is_not_defined() -> None:
    with pytest.raises(ValueError, match="lower edge"):
        covered_share(np.ones((4, 4), bool), np.array([[1, 1, 1, 3]]))
    assert np.isnan(box_coverage(np.ones((4, 4), bool), np.zeros((0, 4))))


@pytest.mark.parametrize("score", [Overlap.of_masks, dice])
def test_masks_of_two_shapes_are_refused(score: object) -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        score(np.ones((2, 2), bool), np.ones((2, 3), bool))  # type: ignore[operator]
