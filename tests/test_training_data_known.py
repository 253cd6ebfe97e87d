"""The public sets of the development data are read as they are meant."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from napari_lumen.errors import RunError
from napari_lumen.training.data.known import ConsepTiles, consep_patches, dsb2018, glas
from napari_lumen.training.data.leaks import check_leaks
from napari_lumen.training.data.near_duplicates import near_duplicates
from napari_lumen.training.data.splits import Split, split_items


def test_dsb_2018_has_its_stain_groups_and_as_many_nuclei_as_its_table_says(shared_data: Path) -> None:
    found = dsb2018(shared_data / "nuclei_dsb2018", kinds=("stained", "brightfield"))
    assert Counter(item.group for item in found.items) == {
        "lavender": 67, "white": 36, "brightfield": 16, "pink": 4,
    }  # fmt: skip
    index = next(number for number, item in enumerate(found.items) if item.name.startswith("0121d6759c"))
    assert found.instances(index).shape == found.image(index).shape[:2] == (256, 320)
    assert len(np.unique(found.instances(index))) - 1 == 86
    assert np.array_equal(found.labels(index), (found.instances(index) > 0).astype(np.uint8))
    assert len(dsb2018(shared_data / "nuclei_dsb2018").items) == 664


def test_a_consep_tile_is_its_sixteen_patches_with_red_first(shared_data: Path) -> None:
    patches = consep_patches(shared_data / "nuclei_consep")
    tiles = ConsepTiles(patches)
    assert len(patches.items) == 27 * 16
    assert len(tiles.items) == 27
    names = [item.name for item in patches.items]
    at = [item.name for item in tiles.items].index("train_5")
    image, labels = tiles.image(at), tiles.labels(at)
    assert image.shape == (1000, 1000, 3)
    for row in range(4):  # overlapping patches agree, so all are found again
        for column in range(4):
            index = names.index(f"train_5_r{row}{column}")
            part = tuple(slice(start, start + 256) for start in (min(256 * row, 744), min(256 * column, 744)))
            assert np.array_equal(image[part], patches.image(index))
            assert np.array_equal(labels[part], patches.labels(index))
            assert patches.items[index].tile == "train_5"
    nuclei = image[labels > 0].mean(axis=0)
    assert nuclei[2] > nuclei[0] + 20  # haematoxylin is blue
    assert set(np.unique(labels)) <= set(range(8))
    assert tiles.mpp(at) == patches.mpp(0) == 0.25


def test_glas_has_the_patients_and_grades_of_its_table(shared_data: Path) -> None:
    found = glas(shared_data / "glands_glas_grades")
    assert Counter(found.grade(index) for index in range(85)) == {0: 37, 1: 48}
    assert len({item.patient for item in found.items}) == 15
    split = split_items(found.items, {"train": 3, "test": 1}, by="patient", seed=1)
    check_leaks(found, split)
    apart = Split(by="image", seed=0, parts={"train": ("train_1",), "test": ("train_10",)})
    with pytest.raises(RunError, match="patient '2'"):
        check_leaks(found, apart)


def test_different_consep_tiles_show_different_fields(shared_data: Path) -> None:
    patches = consep_patches(shared_data / "nuclei_consep")

    class EveryThird:
        items = patches.items[::3]

        def image(self, index: int) -> np.ndarray:
            return patches.image(3 * index)

    assert near_duplicates(EveryThird()) == []
    closest = near_duplicates(EveryThird(), least=0.2)
    assert closest
    assert closest[0].correlation < 0.5  # far from what is taken for the same


def test_one_embryo_of_dsb_2018_at_two_depths_is_a_leak(shared_data: Path) -> None:
    found = dsb2018(shared_data / "nuclei_dsb2018")
    embryos = [
        item.name for index, item in enumerate(found.items) if item.name[:6] in ("20b20a", "cb4df2", "a10253")
    ]
    two = {name[:6]: name for name in embryos}
    split = Split(
        by="image", seed=0, parts={"train": (two["20b20a"], two["a10253"]), "test": (two["cb4df2"],)}
    )
    with pytest.raises(
        RunError, match=r"'20b20a.*'cb4df2.* show the same field, with a correlation of 0\.(89|90)"
    ):
        check_leaks(found, split)
