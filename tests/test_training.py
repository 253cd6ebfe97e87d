"""What the augmentation of the nuclei model makes: fields whose truth is still the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import binary_dilation, binary_erosion, label

from napari_lumen.training.augment import random_crop
from napari_lumen.training.paint import crowd, lay_keratin, paint_section

Mask = npt.NDArray[np.bool_]
_SIDE = 160


def discs(seed: int, count: int = 25, radius: float = 8.0) -> Mask:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    centres = rng.uniform(radius, _SIDE - radius, (count, 2))
    return np.logical_or.reduce([np.hypot(rows - y, columns - x) < radius for y, x in centres])


@pytest.mark.parametrize("seed", range(8))
def test_painted_nuclei_stand_where_they_are_said_to(seed: int) -> None:
    nuclei = discs(seed)
    grey = np.random.default_rng(seed).random((_SIDE, _SIDE)).astype(np.float32)
    rgb = paint_section(grey, nuclei, np.random.default_rng(seed))
    assert rgb.shape == (_SIDE, _SIDE, 3)
    assert rgb.dtype == np.float32
    assert 0 <= rgb.min() <= rgb.max() <= 1
    # haematoxylin absorbs red: a nucleus, or at least its rim, is darker there than what is around it
    rim = nuclei & ~binary_erosion(nuclei, iterations=3)
    around = binary_dilation(nuclei, iterations=6) & ~binary_dilation(nuclei, iterations=2)
    assert rgb[rim, 0].mean() < rgb[around, 0].mean()


def test_a_field_without_nuclei_can_be_painted() -> None:
    empty = np.zeros((_SIDE, _SIDE), bool)
    rgb = paint_section(np.zeros((_SIDE, _SIDE), np.float32), empty, np.random.default_rng(0))
    assert np.isfinite(rgb).all()


def test_added_nuclei_touch_none_that_were_there() -> None:
    first, second = discs(1, 10), discs(2, 40)
    together = crowd(first, second)
    added = together & ~first
    assert added.any()
    assert not (binary_dilation(first) & added).any()
    objects, count = label(second)
    whole = [
        ((objects == number) & added).sum() in (0, (objects == number).sum()) for number in range(1, count)
    ]
    assert all(whole)


def test_keratin_takes_its_nuclei_with_it_and_leaves_the_rest() -> None:
    nuclei = discs(3, 60)
    field = np.tile(np.float32([0.2, 0.8, 0.2]), (_SIDE, _SIDE, 1))  # a green that no keratin has
    lost = 0
    for seed in range(10):
        rgb, left = lay_keratin(field, nuclei, np.random.default_rng(seed))
        assert not (left & ~nuclei).any()
        changed = np.abs(rgb - field).max(axis=2) > 0.05
        covered = nuclei & ~left
        lost += covered.any()
        # the border is soft over two pixels at the most
        far = nuclei & ~binary_dilation(changed, iterations=3)
        assert left[far].all()
    assert lost >= 5


def test_a_stretched_crop_elongates_and_stays_in_place() -> None:
    field = torch.zeros(4, 200, 200)
    rows, columns = np.mgrid[:200, :200]
    field[3] = torch.from_numpy((np.hypot(rows - 100, columns - 100) < 12).astype(np.float32))
    ratios = []
    for seed in range(20):
        crop = random_crop([(1.0, field)], 1.0, 200, np.random.default_rng(seed), 2.0)[3].numpy() > 0.5
        objects, count = label(crop)
        for number in range(1, count + 1):
            inside = np.argwhere(objects == number)
            if (inside.min(axis=0) > 0).all() and (inside.max(axis=0) < 199).all():
                spread = np.sqrt(np.linalg.eigvalsh(np.cov(inside.T)))
                ratios.append(spread[1] / spread[0])
    assert len(ratios) >= 5
    assert np.median(ratios) == pytest.approx(2.0, abs=0.15)
