"""Which class a pixel or a tile is of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.explain_fakes import marker_model

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.inference.decision import class_labels
from napari_lumen.models import ModelCard

VALUES = (7, 2, 5)


def _card(task: str, activation: str, classes: int) -> ModelCard:
    table = ClassTable.of([(value, f"class {value}", (value, 0, 0)) for value in VALUES[:classes]])
    facts = {"task": task, "activation": activation, "classes": table}
    return ModelCard.model_validate({**marker_model(None).card.model_dump(), **facts})


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 3))
def test_a_softmax_with_a_background_is_labelled_by_the_largest_of_all_its_channels(
    seed: int, classes: int
) -> None:
    logits = np.random.default_rng(seed).normal(size=(classes + 1, 9, 11)).astype(np.float32)
    probability = np.exp(logits) / np.exp(logits).sum(axis=0)
    expected = np.array((0, *VALUES), np.uint8)[logits.argmax(axis=0)]
    np.testing.assert_array_equal(
        class_labels(_card("segmentation", "softmax", classes), probability[1:]), expected
    )


def test_a_class_below_one_half_is_told_where_it_is_more_probable_than_the_background() -> None:
    probability = np.array([0.45, 0.35, 0.10], np.float32).reshape(3, 1, 1)  # and a background of 0.10
    assert class_labels(_card("segmentation", "softmax", 3), probability).tolist() == [[7]]


@pytest.mark.parametrize(("likely", "value"), [(0.49, 0), (0.5, 2), (0.9, 2)])
def test_of_sigmoids_a_class_is_told_from_one_half_on(likely: float, value: int) -> None:
    probability = np.array([0.3, likely], np.float32).reshape(2, 1, 1)
    assert class_labels(_card("segmentation", "sigmoid", 2), probability).tolist() == [[value]]


def test_a_softmax_without_a_background_always_has_a_class_but_where_nothing_was_answered() -> None:
    probability = np.array([[0.3, np.nan], [0.36, np.nan], [0.34, np.nan]], np.float32)
    assert class_labels(_card("classification", "softmax", 3), probability).tolist() == [2, 0]
