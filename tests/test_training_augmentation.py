"""Augmentation: images and labels move together, and what is drawn is within the papers' ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.ndimage import center_of_mass
from skimage.color import hed2rgb, rgb2hed

from napari_lumen.training.augmentation import (
    crop_scaled,
    enhance,
    flip,
    gaussian_blur,
    hed_shift,
    median_blur,
    quarter_turn,
    random_crop,
    random_elastic,
    random_enhance,
    random_flip,
    random_hed_shift,
    random_rotation,
    rotate,
)
from napari_lumen.training.augmentation.resampling import sample
from napari_lumen.training.data.item import IGNORE

Array = npt.NDArray[Any]
Change = Callable[[Array, Array, np.random.Generator], tuple[Array, Array]]

MOVES: dict[str, Change] = {
    "flip": random_flip,
    "rotation": random_rotation,
    "elastic": random_elastic,
    "crop": lambda image, labels, rng: random_crop(image, labels, rng, size=90),
}


def spots() -> tuple[Array, Array]:
    """Discs of a brightness and a label of their own, on grey, in a picture that is no square."""
    labels = np.zeros((120, 100), np.uint8)
    y, x = np.mgrid[:120, :100]
    for value, (row, column) in enumerate([(30, 30), (36, 68), (62, 48), (88, 30), (84, 72)], start=1):
        labels[(y - row) ** 2 + (x - column) ** 2 <= 81] = value
    image = np.repeat((60 + 30 * labels)[..., None], 3, axis=2).astype(np.uint8)
    return image, labels


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("name", MOVES)
def test_labels_stay_within_half_a_pixel_of_their_image(name: str, kind: type) -> None:
    image, labels = spots()
    if kind is np.float32:
        image = image.astype(np.float32) / 255
    apart = []
    for seed in range(6):
        seen, moved = MOVES[name](image, labels, np.random.default_rng(seed))
        assert seen.dtype == kind
        assert moved.dtype == np.uint8
        grey = seen[..., 0].astype(float) * (1 if kind is np.uint8 else 255)
        for value in range(1, 6):
            disc = moved == value
            rows, columns = np.nonzero(disc)
            # whole discs alone: one at the border is cut
            if not len(rows) or min(rows.min(), columns.min()) < 2:
                continue
            if rows.max() > disc.shape[0] - 3 or columns.max() > disc.shape[1] - 3:
                continue
            part = slice(rows.min() - 2, rows.max() + 3), slice(columns.min() - 2, columns.max() + 3)
            if set(np.unique(moved[part])) - {0, value}:
                continue
            # how much of each pixel the disc covers, by its brightness over the ground
            cover = (grey[part] - 60) / (30 * value)
            apart.append(np.subtract(center_of_mass(cover), center_of_mass(disc[part])))
    assert len(apart) >= 6
    assert np.abs(apart).max() < 0.5
    assert np.abs(np.mean(apart, axis=0)).max() < 0.1  # none leads one way


@pytest.mark.parametrize("name", MOVES)
def test_the_same_generator_gives_the_same_change_and_leaves_what_it_was_given(name: str) -> None:
    image, labels = spots()
    before = image.copy(), labels.copy()
    one = MOVES[name](image, labels, np.random.default_rng(3))
    two = MOVES[name](image, labels, np.random.default_rng(3))
    assert all(np.array_equal(*pair) for pair in zip(one, two, strict=True))
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])


@pytest.mark.parametrize("name", MOVES)
def test_a_change_takes_arrays_of_the_cache_and_gives_ones_that_may_be_written(name: str) -> None:
    image, labels = spots()
    image.flags.writeable = labels.flags.writeable = False
    for out in MOVES[name](image, labels, np.random.default_rng(1)):
        assert out.flags.writeable
        assert out.flags.c_contiguous


def test_a_rotation_by_a_right_angle_is_a_quarter_turn() -> None:
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (41, 41, 3), np.uint8), rng.integers(0, 4, (41, 41), np.uint8)
    seen, moved = rotate(image, labels, 90)
    assert np.array_equal(seen, quarter_turn(image, 1))
    assert np.array_equal(moved, quarter_turn(labels, 1))


def test_where_a_rotated_picture_is_empty_it_is_white_and_has_no_label() -> None:
    image, labels = np.full((60, 60, 3), 90, np.uint8), np.ones((60, 60), np.uint8)
    seen, moved = rotate(image, labels, 45)
    empty = moved == IGNORE
    # what a square and itself turned by 45 degrees have in common is an octagon
    assert empty.mean() == pytest.approx(1 - 2 * (np.sqrt(2) - 1), abs=0.02)
    assert set(np.unique(seen[empty])) == {255}
    assert set(np.unique(seen[~empty])) == {90}
    assert set(np.unique(rotate(image, labels, 45, fill=0)[0][empty])) == {0}


def test_flips_and_quarter_turns_reach_all_eight_orientations() -> None:
    image = np.arange(4, dtype=np.uint8).reshape(2, 2)[..., None].repeat(3, axis=2)
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(80):
        quarters = int(rng.integers(4))
        seen, moved = (quarter_turn(one, quarters) for one in random_flip(image, image[..., 0], rng))
        assert np.array_equal(seen[..., 0], moved)
        found.add(moved.tobytes())
    assert len(found) == 8


def test_flipping_twice_and_turning_four_times_is_the_picture_again() -> None:
    image, _ = spots()
    assert np.array_equal(flip(flip(image, vertical=True), vertical=True), image)
    assert np.array_equal(flip(flip(image, horizontal=True), horizontal=True), image)
    assert np.array_equal(quarter_turn(quarter_turn(image, 1), 3), image)


def test_an_elastic_change_without_strength_changes_nothing() -> None:
    image, labels = spots()
    seen, moved = random_elastic(image, labels, np.random.default_rng(0), alpha=0, affine=0)
    assert np.array_equal(seen, image)
    assert np.array_equal(moved, labels)


def test_an_elastic_change_mirrors_beyond_the_border_so_every_pixel_has_a_label() -> None:
    image, labels = np.full((64, 64, 3), 10, np.uint8), np.full((64, 64), 2, np.uint8)
    for seed in range(4):
        seen, moved = random_elastic(image, labels, np.random.default_rng(seed), alpha=9)
        assert (seen == 10).all()
        assert (moved == 2).all()


def test_image_and_labels_are_mirrored_along_the_same_edge() -> None:
    labels = np.random.default_rng(0).integers(0, 200, (12, 9), np.uint8)
    image = labels[..., None].repeat(3, axis=2)
    y, x = np.mgrid[-15:30, -11:20].astype(float)
    seen, moved = sample(image, labels, y, x, "mirror")
    assert np.array_equal(seen[..., 0], moved)
    assert np.array_equal(moved[15 + 12 : 15 + 24, 11 : 11 + 9], labels[::-1])


def test_a_crop_of_a_smaller_picture_stands_in_white_without_labels() -> None:
    image, labels = np.full((10, 20, 3), 7, np.uint8), np.full((10, 20), 3, np.uint8)
    seen, moved = random_crop(image, labels, np.random.default_rng(0), size=16)
    assert seen.shape == (16, 16, 3)
    assert (moved == 3).sum() == 160
    assert ((seen == 7).all(axis=-1) == (moved == 3)).all()
    assert set(np.unique(moved)) == {3, IGNORE}
    assert set(np.unique(seen)) == {7, 255}


def test_random_crops_begin_everywhere_with_the_last_start_included() -> None:
    labels = np.arange(5, dtype=np.uint8)[None].repeat(3, axis=0)
    image = labels[..., None].repeat(3, axis=2)
    rng = np.random.default_rng(0)
    starts = {int(random_crop(image, labels, rng, size=3)[1][0, 0]) for _ in range(60)}
    assert starts == {0, 1, 2}


def test_scaling_by_one_half_averages_and_covers_the_whole_picture() -> None:
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (64, 64, 3), np.uint8), rng.integers(0, 9, (64, 64), np.uint8)
    whole, moved = crop_scaled(image, labels, 0, 0, 64, 32)
    inner = np.array(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(whole, inner)
    assert set(np.unique(moved)) <= set(range(9))


def test_a_gaussian_blur_is_the_product_of_two_kernels_of_five_pixels() -> None:
    image = np.zeros((9, 9, 3), np.float32)
    image[4, 4] = 1
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / 1.3) ** 2)
    kernel /= kernel.sum()
    seen = gaussian_blur(image, 1.3)
    assert seen[2:7, 2:7, 0] == pytest.approx(np.outer(kernel, kernel), abs=1e-6)
    assert seen[..., 0].sum() == pytest.approx(1, abs=1e-5)
    assert np.array_equal(gaussian_blur(image, 0), image)


def test_a_median_blur_removes_a_lone_pixel_and_mixes_no_channels() -> None:
    image = np.full((7, 7, 3), (10, 20, 30), np.uint8)
    image[3, 3] = 255
    assert (median_blur(image) == (10, 20, 30)).all()


def test_each_colour_factor_blends_with_what_it_should() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    grey = np.asarray(Image.fromarray(image).convert("L")).astype(float)
    assert enhance(image, saturation=0)[..., 0] == pytest.approx(grey, abs=1)
    assert np.ptp(enhance(image, saturation=0), axis=-1).max() == 0
    assert enhance(image, contrast=0) == pytest.approx(np.full_like(image, round(grey.mean())), abs=1)
    assert enhance(image, brightness=0.5) == pytest.approx(image * 0.5, abs=1)
    smooth, sharp = (enhance(image, sharpness=factor).std() for factor in (0, 1.25))
    assert smooth < image.std() < sharp
    assert np.array_equal(enhance(image), image)


def test_random_colour_stays_within_a_quarter_and_differs() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    means = [random_enhance(image, np.random.default_rng(seed)).mean() for seed in range(60)]
    assert 75 <= min(means) < 80  # of a plain grey only brightness is seen
    assert 120 < max(means) <= 125


def test_a_shift_of_the_dyes_of_nothing_keeps_every_colour() -> None:
    values = np.array([0, 1, 30, 128, 254, 255], np.uint8)
    image = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(1, -1, 3)
    seen = hed_shift(image, np.ones(3), np.zeros(3))
    assert np.abs(seen.astype(int) - image).max() <= 1


def test_more_haematoxylin_is_what_skimage_calls_more_haematoxylin() -> None:
    dyes = np.full((8, 8, 3), (0.05, 0.04, 0.0))
    image = hed2rgb(dyes).astype(np.float32)
    seen = rgb2hed(hed_shift(image, np.array([1.5, 1, 1]), np.zeros(3)))
    before = rgb2hed(image)
    assert seen[..., 0] / before[..., 0] == pytest.approx(1.5, rel=1e-3)
    assert seen[..., 1] == pytest.approx(before[..., 1], rel=1e-3)


def test_random_shifts_of_the_dyes_are_small_and_differ() -> None:
    image = np.full((4, 4, 3), (180, 120, 170), np.uint8)
    seen = [random_hed_shift(image, np.random.default_rng(seed))[0, 0].astype(int) for seed in range(20)]
    apart = np.abs(np.array(seen) - image[0, 0])
    assert len({tuple(one) for one in seen}) > 10
    assert apart.max() < 60
