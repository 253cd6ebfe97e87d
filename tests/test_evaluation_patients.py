"""Scores of slides and patients: lesions, FROC, stages, and intervals. Oracles: MONAI, scipy, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from monai.apps.pathology.utils import compute_isolated_tumor_cells, compute_multi_instance_mask
from monai.metrics import compute_fp_tp_probs_nd, compute_froc_curve_data, compute_froc_score
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from napari_lumen.evaluation import (
    bootstrap,
    find_lesions,
    froc,
    hit_lesions,
    metastasis_class,
    pn_stage,
    stage_kappa,
)
from napari_lumen.evaluation.bootstrap import interval, resample_weights
from napari_lumen.evaluation.froc import Froc
from napari_lumen.evaluation.lesions import SlideHits
from napari_lumen.evaluation.staging import STAGES, Metastasis, Stage

LEVEL_5 = 0.243 * 32  # µm


def tumour() -> np.ndarray:
    """Two pieces 68 µm apart, a ring with a hole, and isolated tumour cells, twice: of 31 and of 156 µm."""
    mask = np.zeros((300, 300), bool)
    mask[20:80, 20:80] = True
    mask[20:80, 88:130] = True  # 8 px of 7.8 µm between
    mask[150:220, 150:220] = True
    mask[175:190, 175:190] = False
    mask[260:264, 30:34] = True
    mask[260:280, 100:104] = True
    return mask


def test_lesions_are_those_of_monai() -> None:
    lesions = find_lesions(tumour(), LEVEL_5)
    expected = compute_multi_instance_mask(tumour().astype(np.uint8), 75 / (LEVEL_5 * 2))
    np.testing.assert_array_equal(lesions.numbers, expected)
    isolated = compute_isolated_tumor_cells(expected, 275 / LEVEL_5)
    np.testing.assert_array_equal(np.flatnonzero(lesions.isolated), isolated)


def test_near_pieces_are_one_lesion_holes_belong_to_it_and_cells_are_isolated() -> None:
    lesions = find_lesions(tumour(), LEVEL_5)
    assert lesions.numbers.max() == 4
    assert lesions.numbers[50, 50] == lesions.numbers[50, 100] > 0
    assert lesions.numbers[182, 182] == lesions.numbers[160, 160]
    assert lesions.isolated[lesions.numbers[[262, 262], [32, 102]]].all()
    assert lesions.count == 2


def test_a_slide_without_tumour_has_no_lesion_and_all_detections_are_false() -> None:
    lesions = find_lesions(np.zeros((10, 10), bool), LEVEL_5)
    hits = hit_lesions(lesions, np.array([[1.0, 2.0]]), np.array([0.7]))
    assert lesions.count == len(hits.lesions) == 0
    np.testing.assert_array_equal(hits.false, [0.7])


def test_hits_are_those_of_monai_and_isolated_cells_count_neither_way() -> None:
    rng = np.random.default_rng(0)
    lesions = find_lesions(tumour(), LEVEL_5)
    points, probability = rng.integers(0, 300, (400, 2)), rng.uniform(0.01, 1, 400)
    points[0] = 262, 32
    hits = hit_lesions(lesions, points + 0.5, probability)
    false, found, targets = compute_fp_tp_probs_nd(
        probability, points, lesions.numbers, labels_to_exclude=[3, 4]
    )
    np.testing.assert_array_equal(hits.false, false)
    np.testing.assert_allclose(hits.lesions, found[:2])
    assert targets == len(hits.lesions) == 2


@pytest.mark.parametrize(
    ("points", "probability", "said"),
    [([[10, 10]], [0.5], "outside"), ([[1, 1]], [0.0], "above 0"), ([[1, 1]], [0.5, 0.5], "1 points")],
)
def test_detections_that_are_none_are_refused(points: list, probability: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hit_lesions(find_lesions(np.zeros((10, 10), bool), 1.0), np.array(points), np.array(probability))


def slides(seed: int) -> list[SlideHits]:
    rng = np.random.default_rng(seed)
    found = [np.where(rng.random(3) < 0.7, rng.random(3), 0) for _ in range(6)]
    found[0][0] = 0  # one is missed
    return [SlideHits(lesions, rng.random(9) * 0.8) for lesions in found]


@pytest.mark.parametrize("seed", range(4))
def test_the_interpolated_froc_score_is_that_of_monai(seed: int) -> None:
    some = slides(seed)
    false, found = (np.concatenate(part) for part in zip(*((s.false, s.lesions) for s in some), strict=True))
    per_slide, sensitivity = compute_froc_curve_data(false, found, len(found), len(some))
    curve = froc(some)
    np.testing.assert_allclose(curve.false_positives, per_slide[::-1])
    np.testing.assert_allclose(curve.sensitivity, sensitivity[::-1])
    assert curve.score("interpolated") == pytest.approx(compute_froc_score(per_slide, sensitivity))


def test_the_lowest_probability_counts_where_no_lesion_is_missed() -> None:
    """MONAI drops it, as it would the 0 of a missed lesion; with such a 0 it reads the curve as we do."""
    some = [SlideHits(np.array([0.9, 0.3]), np.array([0.8]))]
    false, found = some[0].false, some[0].lesions
    # 0.9 finds one of two; 0.8 is the false positive; 0.3 finds the other
    assert froc(some).at("interpolated").tolist() == [0.5, 0.5, 1, 1, 1, 1]
    assert compute_froc_score(*compute_froc_curve_data(false, found, 2, 1)) == pytest.approx(0.5)
    with_zero = compute_froc_curve_data(np.append(false, 0.0), found, 2, 1)
    assert compute_froc_score(*with_zero) == pytest.approx(froc(some).score("interpolated"))


def test_the_two_published_look_ups_read_the_same_curve_differently() -> None:
    curve = Froc(np.array([0.0, 0.2, 0.6, 3.0, 3.0]), np.array([0.0, 0.3, 0.5, 0.7, 0.8]))
    #                                            0.25 0.5  1    2    4    8
    np.testing.assert_array_equal(curve.at("bisect"), [0.5, 0.5, 0.7, 0.7, 0.8, 0.8])
    np.testing.assert_array_equal(curve.at("nearest"), [0.3, 0.5, 0.5, 0.8, 0.8, 0.8])
    assert curve.score("bisect") == pytest.approx(4.0 / 6)


def test_a_slide_drawn_twice_counts_as_two() -> None:
    some = slides(9)
    weights = np.array([2, 0, 1, 1, 0, 3])
    twice = [slide for slide, times in zip(some, weights, strict=True) for _ in range(times)]
    for lookup in ("bisect", "nearest", "interpolated"):
        assert froc(some, weights).score(lookup) == pytest.approx(froc(twice).score(lookup))


def test_a_froc_without_lesions_is_not_defined_and_without_detections_is_0() -> None:
    assert np.isnan(froc([SlideHits(np.zeros(0), np.array([0.5]))]).score("bisect"))
    assert froc([SlideHits(np.zeros(2), np.zeros(0))]).score("bisect") == 0.0
    with pytest.raises(ValueError, match="at least one slide"):
        froc([])


@pytest.mark.parametrize(
    ("diameter", "cells", "expected"),
    [
        (0, None, "negative"),
        (0, 3, "itc"),
        (0.2, None, "itc"),
        (0.2, 200, "itc"),
        (0.2, 201, "micro"),
        (0.21, None, "micro"),
        (2.0, 500, "micro"),
        (2.01, None, "macro"),
    ],
)
def test_a_metastasis_is_named_by_its_size(diameter: float, cells: int | None, expected: str) -> None:
    assert metastasis_class(diameter, cells) == expected


@pytest.mark.parametrize(
    ("nodes", "stage"),
    [
        (["negative"] * 5, "pN0"),
        (["itc", "negative", "itc", "itc", "itc"], "pN0(i+)"),
        (["micro", "itc", "negative", "negative", "negative"], "pN1mi"),
        (["micro"] * 5, "pN1mi"),
        (["macro", "itc", "itc", "itc", "itc"], "pN1"),
        (["macro", "micro", "micro", "itc", "itc"], "pN1"),
        (["macro", "micro", "micro", "micro", "itc"], "pN2"),
        (["macro"] * 9, "pN2"),
    ],
)
def test_the_stage_of_a_patient(nodes: list[Metastasis], stage: str) -> None:
    assert pn_stage(nodes) == stage


@pytest.mark.parametrize("nodes", [[], ["macro"] * 10, ["big"]])
def test_nodes_that_no_stage_covers_are_refused(nodes: list) -> None:
    with pytest.raises(ValueError):
        pn_stage(nodes)


def test_the_kappa_of_stages_is_that_of_scikit_learn_over_all_five() -> None:
    truth: list[Stage] = ["pN0", "pN1", "pN1", "pN2", "pN0", "pN1mi"]
    said: list[Stage] = ["pN0", "pN1mi", "pN1", "pN0", "pN0(i+)", "pN1mi"]
    expected = cohen_kappa_score(truth, said, labels=STAGES, weights="quadratic")
    assert stage_kappa(said, truth) == pytest.approx(expected)
    assert stage_kappa(truth, truth) == 1.0
    assert np.isnan(stage_kappa(["pN0"], ["pN0"]))


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).gamma(2, size=40)
    low, high = bootstrap(lambda weights: weights @ values / weights.sum(), range(40), resamples=4000)
    expected = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert low == pytest.approx(expected.confidence_interval.low, rel=0.02)
    assert high == pytest.approx(expected.confidence_interval.high, rel=0.02)


def test_images_of_a_patient_are_drawn_together() -> None:
    weights = resample_weights(["a", "b", "a", "c"], resamples=200, seed=3)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(1), 3)
    assert len(np.unique(weights, axis=0)) > 5
    np.testing.assert_array_equal(weights, resample_weights(["a", "b", "a", "c"], resamples=200, seed=3))


def test_an_interval_leaves_out_resamples_without_a_score_and_is_none_of_equal_ones() -> None:
    values = np.array([[0.0, 1.0, np.nan], [np.nan, 1.0, np.nan], [1.0, 1.0, np.nan]])
    low, high = interval(values, level=0.5)
    np.testing.assert_array_equal(low, [0.25, np.nan, np.nan])
    np.testing.assert_array_equal(high, [0.75, np.nan, np.nan])
    with pytest.raises(ValueError, match="level"):
        interval(values, level=95)
