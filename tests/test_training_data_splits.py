"""Splits keep together what belongs together, and leaks are found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_lumen.errors import RunError
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.leaks import check_leaks
from napari_lumen.training.data.near_duplicates import near_duplicates
from napari_lumen.training.data.splits import Split, split_items

THREE = {"train": 0.7, "validation": 0.1, "test": 0.2}


class Shown:
    """Items with the images of a list."""

    def __init__(self, items: list[Item], images: list[npt.NDArray[Any]]) -> None:
        self.items, self._images = tuple(items), images

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        return self._images[index]


def field(seed: int, side: int = 96, cells: int = 8) -> npt.NDArray[np.uint8]:
    """Blobs on white, unlike those of any other seed."""
    small = np.random.default_rng(seed).integers(60, 255, (cells, cells, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


@given(
    patients=st.lists(st.integers(0, 12), min_size=15, max_size=60),
    seed=st.integers(0, 5),
)
def test_a_split_holds_every_item_once_and_no_patient_twice(patients: list[int], seed: int) -> None:
    items = [Item(f"i{index}", patient=str(patient)) for index, patient in enumerate(patients)]
    if len(set(patients)) < 3:
        with pytest.raises(RunError, match="into 3 parts"):
            split_items(items, THREE, by="patient", seed=seed)
        return
    split = split_items(items, THREE, by="patient", seed=seed)
    assert Counter(name for names in split.parts.values() for name in names) == Counter(
        item.name for item in items
    )
    part_of = split.part_of()
    parts = [{part_of[item.name] for item in items if item.patient == str(one)} for one in set(patients)]
    assert all(len(part) == 1 for part in parts)
    assert all(split.parts[part] for part in THREE)
    assert split == split_items(items, THREE, by="patient", seed=seed)


def test_another_seed_gives_another_split_of_the_same_sizes() -> None:
    items = [Item(f"i{index}", tile=f"t{index // 16}") for index in range(27 * 16)]
    splits = [split_items(items, THREE, by="tile", seed=seed) for seed in range(5)]
    assert len({split.parts["test"] for split in splits}) == 5
    for split in splits:
        assert [len(split.parts[part]) // 16 for part in THREE] == [19, 3, 5]


def test_images_are_split_in_the_proportions_of_the_paper() -> None:
    split = split_items([Item(f"i{index}") for index in range(670)], {"train": 540, "test": 130})
    assert (len(split.parts["train"]), len(split.parts["test"])) == (540, 130)


def test_no_part_stays_empty_however_small_its_proportion() -> None:
    items = [Item(f"i{index}", patient=str(index % 3)) for index in range(150)]
    split = split_items(items, {"train": 98, "validation": 1, "test": 1}, by="patient")
    assert [len(split.parts[part]) for part in THREE] == [50, 50, 50]


def test_a_group_can_be_held_out_by_name() -> None:
    items = [Item(f"i{index}", group="white" if index < 4 else f"g{index % 3}") for index in range(20)]
    split = split_items(items, {"train": 2, "validation": 1}, by="group", fixed={"test": ["white"]})
    assert split.parts["test"] == ("i0", "i1", "i2", "i3")
    assert split.indices(items, "test") == [0, 1, 2, 3]
    with pytest.raises(RunError, match="no group 'withe' to be put into 'test'; there is white, g1, g2, g0"):
        split_items(items, {"train": 1}, by="group", fixed={"test": ["withe"]})


def test_slides_are_held_out_by_the_names_of_their_files() -> None:
    slides = ["/data/a/s1.tif", "/data/b/s1.tif", "/data/b/s2.tif"]
    items = [Item(f"i{index}", slide=slide) for index, slide in enumerate(slides)]
    split = split_items(items, {"train": 1}, by="slide", fixed={"test": ["s2.tif"]})
    assert split.parts["test"] == ("i2",)
    with pytest.raises(
        RunError, match=r"several slides 's1\.tif', name one .* there is /data/a/s1\.tif, /data/b"
    ):
        split_items(items, {"train": 1}, by="slide", fixed={"test": ["s1.tif"]})
    with pytest.raises(RunError, match=r"1 slide cannot be divided into 2 parts: .* within = true"):
        split_items(items[:1], {"train": 1, "validation": 1}, by="slide")


def test_a_split_may_be_named_as_a_whole() -> None:
    items = [Item(name) for name in "abc"]
    split = split_items(items, {}, fixed={"train": ["a"], "validation": ["b"]})
    assert split.parts == {"train": ("a",), "validation": ("b",)}


def test_what_belongs_together_stays_on_one_side() -> None:
    items = [Item(f"i{index}") for index in range(40)]
    chain = [(f"i{index}", f"i{index + 1}") for index in range(12)]
    for seed in range(8):
        part_of = split_items(items, THREE, seed=seed, together=chain).part_of()
        assert len({part_of[f"i{index}"] for index in range(13)}) == 1


def test_grades_are_spread_over_the_parts() -> None:
    items = [Item(f"i{index}", patient=str(index // 2)) for index in range(80)]
    grades = {item.name: "malignant" if index < 20 else "benign" for index, item in enumerate(items)}
    for seed in range(5):
        split = split_items(items, {"train": 3, "test": 1}, by="patient", seed=seed, strata=grades)
        assert Counter(grades[name] for name in split.parts["test"])["malignant"] in (4, 6)


def test_an_item_that_does_not_say_its_patient_is_an_error_that_names_it() -> None:
    with pytest.raises(RunError, match="same name"):
        split_items([Item("a"), Item("a")], {"train": 1})
    with pytest.raises(RunError, match="'b' does not say its patient"):
        split_items([Item("a", patient="1"), Item("b")], {"train": 1}, by="patient")


def test_a_split_is_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    split = split_items([Item(f"i{index}") for index in range(9)], THREE, seed=3)
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json") == split
    (tmp_path / "split.json").write_text('{"by": "image", "seed": 1, "parts": {"a": ["x"], "b": ["x"]}}')
    with pytest.raises(RunError, match="is no split"):
        Split.read(tmp_path / "split.json")
    with pytest.raises(RunError, match="Cannot read the split"):
        Split.read(tmp_path / "other.json")


def test_a_split_of_other_data_is_an_error_that_names_an_item() -> None:
    split = Split(by="image", seed=0, parts={"train": ("a", "b")})
    with pytest.raises(RunError, match="names 'b', which is not in the data"):
        split.indices([Item("a")], "train")
    with pytest.raises(RunError, match="no part 'test'; there is train"):
        split.indices([Item("a"), Item("b")], "test")


@pytest.mark.parametrize("origin", ["patient", "slide", "tile"])
def test_one_origin_on_both_sides_is_a_leak_that_names_the_pair(origin: str) -> None:
    items = [Item("a", **{origin: "7"}), Item("b", **{origin: "8"}), Item("c", **{origin: "7"})]
    split = Split(by="image", seed=0, parts={"train": ("a", "b"), "test": ("c",)})
    shown = Shown(items, [field(seed) for seed in range(3)])
    with pytest.raises(RunError, match=rf"'a' of 'train' and 'c' of 'test'.*{origin} '7'"):
        check_leaks(shown, split)
    check_leaks(shown, Split(by="image", seed=0, parts={"train": ("a", "c"), "test": ("b",)}))


def test_a_patient_that_is_written_in_two_ways_is_one() -> None:
    items = [Item("a", patient="P 1"), Item("b", patient="P2"), Item("c", patient="p1")]
    shown = Shown(items, [field(seed) for seed in range(3)])
    with pytest.raises(RunError, match=r"patient 'p1'; it is written 'P 1' too, write it alike"):
        check_leaks(shown, Split(by="patient", seed=0, parts={"train": ("a", "b"), "test": ("c",)}))


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_recoloured_and_compressed_image_on_both_sides_is_a_leak(
    quarters: int, mirrored: bool, tmp_path: Path
) -> None:
    image = field(0)
    other = np.rot90(image[:, ::-1] if mirrored else image, quarters)
    other = np.clip(other * [0.8, 0.95, 0.9] + 10, 0, 255).astype(np.uint8)
    Image.fromarray(other).save(tmp_path / "again.jpg", quality=60)
    again = np.asarray(Image.open(tmp_path / "again.jpg"))
    shown = Shown([Item("a"), Item("b"), Item("c")], [image, field(1), again])
    split = Split(by="image", seed=0, parts={"train": ("a", "b"), "test": ("c",)})
    with pytest.raises(RunError, match="'a' of 'train' and 'c' of 'test' show the same field"):
        check_leaks(shown, split)
    check_leaks(shown, split, least=None)
    check_leaks(shown, Split(by="image", seed=0, parts={"train": ("a", "c"), "test": ("b",)}))


def test_items_that_a_split_leaves_out_leak_nothing() -> None:
    shown = Shown([Item("a", patient="1"), Item("b", patient="1")], [field(0), field(0)])
    check_leaks(shown, Split(by="image", seed=0, parts={"train": ("a",)}))


def test_round_tissue_on_white_is_not_known_by_its_shape() -> None:
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    inside = (y**2 + x**2 < 0.8)[..., None]
    slides = [np.where(inside, field(seed, cells=20), 255).astype(np.uint8) for seed in range(6)]
    items = [Item(str(seed)) for seed in range(6)]
    assert near_duplicates(Shown(items, slides)) == []
    assert len(near_duplicates(Shown(items[:2], [slides[0], slides[0][::-1]]))) == 1


def test_blank_images_are_no_duplicates_of_each_other() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    assert near_duplicates(Shown([Item("a"), Item("b")], [white, white.copy()])) == []


def test_the_closest_pair_comes_first_and_the_search_can_be_ended() -> None:
    image = field(3)
    near = np.clip(image + np.random.default_rng(0).normal(0, 40, image.shape), 0, 255).astype(np.uint8)
    shown = Shown([Item("a"), Item("b"), Item("c")], [image, near, image.copy()])
    pairs = near_duplicates(shown)
    assert (pairs[0].first, pairs[0].second) == ("a", "c")
    assert pairs[0].correlation == pytest.approx(1, abs=1e-4)
    assert {(pair.first, pair.second) for pair in pairs} == {("a", "b"), ("a", "c"), ("b", "c")}

    def ended() -> None:
        raise RunError("ended")

    with pytest.raises(RunError, match="ended"):
        near_duplicates(shown, check=ended)


def test_pairs_are_found_across_the_blocks_in_which_they_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_lumen.training.data.near_duplicates._AT_ONCE", 3)
    images = [field(seed % 7, side=32) for seed in range(10)]
    pairs = near_duplicates(Shown([Item(str(index)) for index in range(10)], images))
    assert {(pair.first, pair.second) for pair in pairs} == {("0", "7"), ("1", "8"), ("2", "9")}
