"""Crops of images by the classes they show, and steps in which each class has its turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from crop_fakes import CLASSES, Discs, disc_data
from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.stain.normalisation import (
    USUAL_COLOURS,
    USUAL_DYES,
    ColourStatistics,
    Dyes,
    Macenko,
    Reinhard,
    colour_table,
)
from napari_lumen.stain.of_slide import stain_of_slide
from napari_lumen.training.class_balance import class_balanced_steps
from napari_lumen.training.crops import OverlappingCrops
from napari_lumen.training.data.annotated import AnnotatedSlide, AnnotationRules
from napari_lumen.training.data.item import IGNORE, Item
from napari_lumen.training.data.slide_patches import SlidePatches
from napari_lumen.training.recipes.nas_scam import NASSCAMRecipe
from napari_lumen.training.stained_images import StainedImages
from training_pictures import card_of

BY_CLASS = ((0, 1, 2), (3, 4, 5, 6, 7), (8,), (2, 9))


def test_every_step_has_one_example_of_each_class() -> None:
    for step in class_balanced_steps(BY_CLASS, 20, 4, np.random.default_rng(1)):
        assert len(step) == 4
        assert all(example in examples for example, examples in zip(step, BY_CLASS, strict=True))


def test_the_examples_of_a_class_come_over_and_over_each_as_often() -> None:
    steps = class_balanced_steps(BY_CLASS, 15, 4, np.random.default_rng(2))
    for place, examples in enumerate(BY_CLASS):
        drawn = [step[place] for step in steps]
        counts = Counter(drawn)
        assert set(counts) == set(examples)
        assert max(counts.values()) - min(counts.values()) <= 1
        rounds = [drawn[start : start + len(examples)] for start in range(0, 15, len(examples))]
        assert all(sorted(one) == sorted(examples) for one in rounds if len(one) == len(examples))
    assert steps != class_balanced_steps(BY_CLASS, 15, 4, np.random.default_rng(3))


@given(st.integers(1, 6), st.integers(1, 9))
def test_all_classes_come_equally_often_whatever_the_size_of_a_step(classes: int, batch: int) -> None:
    by_class = [[value] for value in range(classes)]
    steps = class_balanced_steps([*by_class, []], 3 * classes, batch, np.random.default_rng(0))
    assert Counter(value for step in steps for value in step) == dict.fromkeys(range(classes), 3 * batch)


def test_without_any_example_there_is_no_step() -> None:
    with pytest.raises(ValueError, match="no class"):
        class_balanced_steps([[], []], 1, 1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("shape", "count"), [((1000, 1000), 49), ((256, 256), 1), ((90, 300), 2), ((257, 256), 2)]
)
def test_crops_of_256_px_at_half_their_side_cover_an_image(shape: tuple[int, int], count: int) -> None:
    corners = OverlappingCrops(256, 128, 128).corners(shape, None)
    assert len(corners) == count
    covered = np.zeros(shape, bool)
    for y, x in corners:
        covered[int(y) : int(y) + 256, int(x) : int(x) + 256] = True
    assert covered.all()


def test_beyond_the_image_a_crop_is_black_and_has_no_label() -> None:
    image, labels = np.full((20, 30, 3), 200, np.uint8), np.ones((20, 30), np.uint8)
    seen, truth = OverlappingCrops(32, 16, 16).cut(image, labels, -8, 16, None)
    inside = np.zeros((32, 32), bool)
    inside[8:28, :14] = True
    assert (seen[inside] == 200).all()
    assert (seen[~inside] == 0).all()
    assert (truth[inside] == 1).all()
    assert (truth[~inside] == IGNORE).all()


@pytest.mark.parametrize("test_stride", [16, 32])
def test_the_middles_of_tested_crops_hold_every_pixel_once(test_stride: int) -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 250, (50, 37)).astype(np.uint8)
    image = np.repeat(labels[..., None], 3, axis=2)
    pieces = list(OverlappingCrops(32, 16, test_stride).all(image, labels, None))
    known = np.concatenate([truth[truth != IGNORE] for _, truth in pieces])
    assert Counter(known.tolist()) == Counter(labels.ravel().tolist())
    for seen, truth in pieces:
        assert seen.shape == (32, 32, 3)
        assert (seen[..., 0] == truth)[truth != IGNORE].all()


def test_a_crop_at_another_pixel_size_shows_as_much_tissue() -> None:
    crops = OverlappingCrops(32, 16, 16, mpp=1.0)
    image, labels = np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128), np.uint8)
    image[32:96, 32:96], labels[32:96, 32:96] = 255, 1
    assert len(crops.corners(labels.shape, 0.5)) == 9
    seen, truth = crops.cut(image, labels, 32, 32, 0.5)
    assert seen.shape == (32, 32, 3)
    assert (seen == 255).all()
    assert (truth == 1).all()
    pieces = crops.all(image, labels, 0.5)
    assert sum(int((truth == 1).sum()) for _, truth in pieces) == 32 * 32


def test_crops_are_listed_under_each_class_that_they_show() -> None:
    images, crops = Discs(), OverlappingCrops(16, 8, 8)
    found = crops.listed(images, [2, 3])
    assert {crop.image for crop in found.crops} == {2, 3}
    for place, crop in enumerate(found.crops):
        part = images.labels(crop.image)[int(crop.y) : int(crop.y) + 16, int(crop.x) : int(crop.x) + 16]
        for known, examples in zip(CLASSES, found.by_class, strict=True):
            assert (place in examples) == bool((part == known.value).any())
    assert found.pixels == tuple(
        sum(int((images.labels(number) == known.value).sum()) for number in (2, 3)) for known in CLASSES
    )


def test_images_of_one_stain_have_the_colours_of_the_reference() -> None:
    plain, method = Discs(), Reinhard(USUAL_COLOURS)
    images = StainedImages(plain, method, 0.5)
    assert images.classes is plain.classes
    assert images.items == plain.items
    before, after = method.fit(plain.image(0)), method.fit(images.image(0))
    wanted = np.array(USUAL_COLOURS.mean)
    assert np.abs(np.array(after.mean) - wanted).max() < 0.3 * np.abs(np.array(before.mean) - wanted).max()
    np.testing.assert_array_equal(images.image(0), method.apply(plain.image(0)))
    assert images.image(0) is images.image(0)  # made once
    assert images.labels(0) is plain.labels(0)


def test_images_of_a_slide_come_from_one_stain_and_others_each_from_its_own() -> None:
    plain, method = Discs(), Reinhard(USUAL_COLOURS)
    plain.items = tuple(
        replace(item, slide="s" if number < 3 else None) for number, item in enumerate(plain.items)
    )
    images = StainedImages(plain, method, 0.5)
    of_slide = method.fit(np.concatenate([plain.image(number)[::4, ::4] for number in range(3)]))
    for number in range(3):
        np.testing.assert_array_equal(images.image(number), method.apply(plain.image(number), of_slide))
    np.testing.assert_array_equal(images.image(3), method.apply(plain.image(3)))


def test_patches_of_an_open_slide_look_as_in_a_run() -> None:
    pixels = np.array((110, 60, 150)) + np.random.default_rng(0).integers(-9, 9, (300, 300, 3))
    pixels[:, ::3] += (110, 50, 20)
    pixels = np.pad(pixels.astype(np.uint8), ((90, 90), (90, 90), (0, 0)), constant_values=250)
    slide, method = ArraySlide(pixels), Macenko()
    rules = AnnotationRules(ClassTable.named(["tumour"]))
    outline = Annotation(shapely.box(100, 100, 380, 380), "tumour")
    annotated = AnnotatedSlide(Item("a"), slide, [outline], rules)
    patches = SlidePatches([annotated], mpp=0.5, size=64, count=3, background=False).patches()
    source = stain_of_slide(slide, method, 0.5)
    assert source is not None
    images, table = StainedImages(patches, method, 0.5), colour_table(method, source)
    for index in range(3):
        np.testing.assert_array_equal(images.image(index), table.apply(patches.image(index)))


@pytest.mark.parametrize("colours", [USUAL_COLOURS, USUAL_DYES, None])
def test_the_card_says_which_stain_a_recipe_trained_on(colours: ColourStatistics | Dyes | None) -> None:
    recipe = NASSCAMRecipe(
        architecture="host_unet", width=4, size=16, stride=8, test_stride=8, colours=colours
    )
    assert NASSCAMRecipe.model_validate(recipe.model_dump(mode="json")) == recipe
    card = card_of(recipe.plan(disc_data()))
    stain = card.input.stain
    assert (None if stain is None else stain.reference) == colours
    assert type(recipe.shown(disc_data())) is (Discs if colours is None else StainedImages)
