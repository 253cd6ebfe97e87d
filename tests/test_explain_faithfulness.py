"""Whether cells in which a map is high decide what a model says; and how many boxes a map covers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from explain_fakes import marker_model
from fakes import ArraySlide
from napari_lumen.errors import Cancelled, RunError
from napari_lumen.explain import Explainer
from napari_lumen.explain.faithfulness import Faithfulness, faithfulness
from napari_lumen.explain.parts import Item
from napari_lumen.geometry import Region

SIDE, CELL = 64, 16
DARKNESS = np.random.default_rng(4).permutation(16).reshape(4, 4) * 16
PLACE = Region(0, 0, SIDE, SIDE)


def slide() -> ArraySlide:
    grey = np.kron(255 - DARKNESS[..., None], np.ones((CELL, CELL, 3)))
    return ArraySlide(grey.astype(np.uint8))


EXPLAINER = Explainer(marker_model(CELL, 8, whole=True, size=SIDE), "cpu")


def found(item: Item, **options: object) -> Faithfulness:
    how = {"class_name": "dark", "steps": 16, "baseline": "mean"} | options
    return faithfulness(EXPLAINER, slide(), PLACE, item, **how)  # type: ignore[arg-type]


def darkness_map(name: str = "map16") -> Item:
    return EXPLAINER.explain(slide(), PLACE)[name]


def test_the_curves_are_what_the_model_says_of_each_picture_on_the_way() -> None:
    result = found(darkness_map())
    pixels = np.rint(DARKNESS.mean()) / 255
    order = np.argsort(-DARKNESS.ravel())
    for curve, kept in ((result.deletion, False), (result.insertion, True)):
        for count, score in enumerate(curve.scores):
            chosen = np.zeros(16, bool)
            chosen[order[:count]] = True
            dark = np.where(chosen == kept, DARKNESS.ravel() / 255, pixels).mean()
            assert score == pytest.approx(1 / (1 + math.exp(-(dark - 0.5) * 10)), abs=2e-3)
    # the trapezia by hand
    assert result.deletion.area == pytest.approx(
        (result.deletion.scores[1:] + result.deletion.scores[:-1]).mean() / 2
    )


def test_a_map_of_what_decides_is_better_than_random_order_and_its_opposite_worse() -> None:
    item = darkness_map()
    right, wrong = found(item), found(replace(item, values=-item.values))
    assert right.deletion_gain > 0.02
    assert right.insertion_gain > 0.02
    assert wrong.deletion_gain < -0.02
    assert wrong.insertion_gain < -0.02
    assert "Area under the curve of dark: deletion" in right.summary()


def test_the_same_seed_gives_the_same_orders_and_another_one_others() -> None:
    item = darkness_map()
    once, again, other = (found(item, seed=seed, repeats=2) for seed in (1, 1, 2))
    assert len(once.random_deletion) == 2
    np.testing.assert_array_equal(once.random_deletion[1].scores, again.random_deletion[1].scores)
    assert (once.random_deletion[1].scores != other.random_deletion[1].scores).any()


@pytest.mark.parametrize("baseline", ["blur", "mean"])
def test_a_segmentation_is_scored_where_it_found_the_class(baseline: str) -> None:
    explainer = Explainer(marker_model(CELL, size=SIDE), "cpu")
    item = explainer.explain(slide(), PLACE)["map16"]
    result = faithfulness(explainer, slide(), PLACE, item, class_name="dark", baseline=baseline, steps=4)  # type: ignore[arg-type]
    assert result.deletion.scores[0] > 0.5
    assert result.deletion.scores[0] == result.insertion.scores[-1]
    assert result.deletion.scores[-1] == result.insertion.scores[0]
    assert result.deletion_gain > 0


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.full((4, 4), 0.5), "is 0.5 all over this field"),
        (np.full((4, 4), math.nan), "has no values in this field"),
        (np.array([[0.277]]), "has one cell in this field"),
    ],
)
def test_a_map_that_orders_no_cells_is_refused_before_the_first_pass(values: Any, why: str) -> None:
    passes: list[int] = []
    with pytest.raises(RunError) as refused:
        found(replace(darkness_map(), values=values), on_progress=lambda done, total: passes.append(done))
    assert why in str(refused.value)
    assert str(refused.value).endswith("so there is no order to check: choose another map or a larger field.")
    assert not passes


def test_the_check_can_be_stopped_and_says_what_it_cannot_do() -> None:
    seen = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        found(darkness_map(), on_progress=stop)
    assert seen == [(number, 2 + 2 * 4 * 15) for number in range(4)]
    field = EXPLAINER.explain(slide(), PLACE)
    with pytest.raises(RunError, match="is no map"):
        found(field["gate"])
    with pytest.raises(RunError, match="has no class 'green'; it has pale, dark"):
        found(field["map16"], class_name="green")
