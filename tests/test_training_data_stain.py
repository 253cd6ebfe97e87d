"""Stain normalisation: dyes that are known are found again, and blank tiles stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from monai.apps.pathology.transforms.stain.array import ExtractHEStains
from skimage.color import rgb2lab

from napari_lumen.errors import RunError
from napari_lumen.stain.normalisation import (
    USUAL_COLOURS,
    USUAL_DYES,
    ColourStatistics,
    Dyes,
    Macenko,
    Reinhard,
)

Image = npt.NDArray[np.uint8]
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29]) / np.linalg.norm([0.65, 0.70, 0.29])
EOSIN = np.array([0.20, 0.80, 0.56]) / np.linalg.norm([0.20, 0.80, 0.56])


def stained(
    haematoxylin: npt.NDArray[Any] = HAEMATOXYLIN, eosin: npt.NDArray[Any] = EOSIN, strength: float = 1
) -> Image:
    """Tissue with places of each dye alone and of both, by Beer and Lambert's law."""
    rng = np.random.default_rng(0)
    amounts = rng.uniform(0.4, 1.4, (96 * 96, 2)) * strength
    amounts[::4, 0], amounts[1::4, 1] = 0, 0
    light = 256 * np.exp(-amounts @ np.array([haematoxylin, eosin])) - 1
    return np.clip(np.rint(light), 0, 255).astype(np.uint8).reshape(96, 96, 3)


def blanks() -> dict[str, Image]:
    rng = np.random.default_rng(0)
    speck = np.full((64, 64, 3), 250, np.uint8)
    speck[3, 3:6] = (90, 40, 120)
    return {
        "white": np.full((64, 64, 3), 255, np.uint8),
        "noisy glass": rng.integers(238, 246, (64, 64, 3), np.uint8),
        "a speck": speck,
    }


def test_the_two_dyes_are_found_haematoxylin_first() -> None:
    found = Macenko().fit(stained())
    assert found.haematoxylin == pytest.approx(HAEMATOXYLIN, abs=0.02)
    assert found.eosin == pytest.approx(EOSIN, abs=0.02)
    assert found.strongest == pytest.approx((1.4, 1.4), abs=0.05)


def test_the_dyes_are_those_of_monai_but_in_the_right_order() -> None:
    image = stained(np.array([0.57, 0.62, 0.54]), np.array([0.40, 0.75, 0.53]), 1.5)  # no pixel is too faint
    found = Macenko().fit(image)
    eosin, haematoxylin = ExtractHEStains(tli=256, alpha=1, beta=0.15)(image).T
    assert found.haematoxylin == pytest.approx(haematoxylin, abs=2e-3)
    assert found.eosin == pytest.approx(eosin, abs=2e-3)


def test_an_image_in_another_stain_becomes_as_the_reference_is() -> None:
    other = stained(np.array([0.55, 0.75, 0.37]), np.array([0.09, 0.95, 0.30]), 0.7)
    wanted = stained()
    assert np.abs(other.astype(int) - wanted).mean() > 20
    changed = Macenko(Macenko().fit(wanted)).apply(other)
    assert np.abs(changed.astype(int) - wanted).mean() < 3


def test_an_image_in_the_stain_of_the_reference_stays_as_it_is() -> None:
    image = stained()
    assert np.abs(Macenko(Macenko().fit(image)).apply(image).astype(int) - image).mean() < 1.5
    changed = Reinhard(Reinhard().fit(image)).apply(image)
    assert np.abs(changed.astype(int) - image).max() <= 1


def test_a_tile_can_be_changed_by_the_stain_of_its_slide() -> None:
    slide = stained()
    nuclei = slide[(slide[..., 0] < 120)][: 30 * 30].reshape(30, 30, 3)
    of_slide = Macenko().apply(slide, Macenko().fit(slide))
    of_tile = Macenko().apply(nuclei, Macenko().fit(slide))
    assert np.array_equal(of_tile, of_slide[(slide[..., 0] < 120)][: 30 * 30].reshape(30, 30, 3))


def test_the_tissue_gets_the_mean_and_the_deviation_of_the_reference_and_glass_stays_white() -> None:
    image = np.full((96, 120, 3), 255, np.uint8)
    image[:, :96] = stained()
    reference = ColourStatistics((60.0, 25.0, -15.0), (8.0, 6.0, 4.0))
    changed = Reinhard(reference).apply(image)
    assert (changed[:, 96:] == 255).all()
    lab = rgb2lab(changed[:, :96]).reshape(-1, 3)
    assert lab.mean(axis=0) == pytest.approx(reference.mean, abs=0.5)
    assert lab.std(axis=0) == pytest.approx(reference.deviation, abs=0.5)


def test_glass_does_not_count_in_what_is_known_of_a_stain() -> None:
    image = np.full((96, 400, 3), 255, np.uint8)
    image[:, :96] = stained()
    for one, other in (
        (Reinhard().fit(image).mean, Reinhard().fit(stained()).mean),
        (Macenko().fit(image).haematoxylin, Macenko().fit(stained()).haematoxylin),
        (Macenko().fit(image).strongest, Macenko().fit(stained()).strongest),
    ):
        assert one == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize("method", [Macenko(), Reinhard()])
@pytest.mark.parametrize("name", blanks())
def test_a_blank_tile_stays_as_it_is_and_is_no_reference(method: Macenko | Reinhard, name: str) -> None:
    image = blanks()[name]
    assert np.array_equal(method.apply(image), image)
    with pytest.raises(RunError, match="nearly blank"):
        method.fit(image)


def test_grey_black_and_plain_images_come_to_no_harm() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (64, 64, 1), np.uint8), 3, axis=2)
    for image in (grey, np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), (150, 60, 140), np.uint8)):
        assert np.array_equal(Macenko().apply(image), image)
        changed = Reinhard().apply(image)
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8


def test_the_usual_references_are_stains() -> None:
    dyes = USUAL_DYES
    assert np.linalg.norm([dyes.haematoxylin, dyes.eosin], axis=1) == pytest.approx(1, abs=2e-3)
    assert dyes.haematoxylin[0] > dyes.eosin[0]
    assert 30 < USUAL_COLOURS.mean[0] < 80
    assert Dyes(**{name: getattr(dyes, name) for name in dyes.__slots__}) == dyes


def test_an_image_that_is_none_is_refused() -> None:
    for method in (Macenko(), Reinhard()):
        with pytest.raises(ValueError, match="uint8"):
            method.apply(np.zeros((4, 4, 3), np.float32))  # type: ignore[arg-type]
