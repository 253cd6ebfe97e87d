"""Data from which nothing can be learnt or told, and models that know their classes in another order."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_lumen.errors import ModelError, RunError
from napari_lumen.models import read_card
from napari_lumen.training import train
from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.recipes.nas_scam_search import NASSCAMSearchRecipe
from training_pictures import LabelledArrays, divided, write_config, write_discs

GATED: dict[str, Any] = {
    "name": "gated_attention",
    "arguments": {"local_depth": 18, "dilated_width": 16, "instances": 2},
    "global_size": 64,
    "local_size": 32,
    "field_size": 64,
    "epochs": 2,
    "share_every": 1,
    "share_step": 0.5,
    "batch": 2,
}


def unlabel(data: Path, *numbers: int) -> None:
    for number in numbers:
        Image.fromarray(np.full((48, 48), IGNORE, np.uint8)).save(data / "labels" / f"{number:02}.png")


def fixed(**parts: range) -> dict[str, object]:
    named = {part: [f"{number:02}" for number in numbers] for part, numbers in parts.items()}
    return {"fixed": named, "proportions": {}}


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_part_without_a_label_is_told_before_anything_is_trained(tmp_path: Path, part: str) -> None:
    data = write_discs(tmp_path / "data")
    parts = {"train": range(4), "validation": range(4, 8), "test": range(8, 12)}
    unlabel(data, *parts[part])
    file = write_config(tmp_path, recipe={"epochs": 1}, split=fixed(**parts))
    with pytest.raises(RunError, match=f"No image of the part '{part}' has a label"):
        train(file, tmp_path / "out")
    assert not list(tmp_path.glob("out/checkpoint.pt"))


def test_an_image_without_a_label_does_not_count_in_scores(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "data")
    scores = []
    for numbers in (range(8, 10), range(8, 12)):
        unlabel(data, 10, 11)
        split = fixed(train=range(8), validation=numbers)
        file = write_config(tmp_path, recipe={"epochs": 1}, split=split)
        scores.append(train(file, tmp_path / f"out{len(numbers)}").scores)
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_a_search_needs_a_class_to_learn_its_alphas_from() -> None:
    images = [np.full((64, 64, 3), 200, np.uint8)] * 4
    labels = [np.zeros((64, 64), np.uint8) for _ in images]
    labels[0][:32], labels[1][:, :32] = 2, 5
    data = divided(LabelledArrays(images, labels), 2)
    with pytest.raises(RunError, match="No image of the part 'validation' shows a class"):
        NASSCAMSearchRecipe(size=32, stride=32, test_stride=32, width=4).plan(data)


def graded(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for image in range(4):
            pixels = np.random.default_rng(10 * number + image).integers(0, 255, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{image}.png")
    return folder


def grading(tmp_path: Path, classes: list[str], name: str = "graded", **changes: object) -> Path:
    train_names = [f"{known}/{known}{number}" for known in classes for number in (0, 1)]
    split = {"fixed": {"train": train_names}, "proportions": {"validation": 1}}
    data = {"kind": "graded", "folder": "graded", "classes": classes}
    return write_config(tmp_path, **{"name": name, "recipe": GATED, "data": data, "split": split, **changes})


def test_a_class_that_no_training_image_has_is_told(tmp_path: Path) -> None:
    graded(tmp_path / "graded", "benign", "malignant")
    split = {"fixed": {"train": ["benign/benign0", "benign/benign1"]}, "proportions": {"validation": 1}}
    with pytest.raises(RunError, match="No image of the part 'train' is of the class 'malignant'"):
        train(grading(tmp_path, ["benign", "malignant"], split=split), tmp_path / "out")


def test_a_model_of_the_same_classes_in_another_order_is_no_beginning(tmp_path: Path) -> None:
    folder = graded(tmp_path / "graded", "benign", "malignant")
    first = train(grading(tmp_path, ["benign", "malignant"]), tmp_path / "first").model
    start = str(first)
    turned = grading(tmp_path, ["malignant", "benign"], "turned", start=start)
    with pytest.raises(ModelError, match=r"are benign, malignant, those of the data malignant, benign"):
        train(turned, tmp_path / "second")
    shutil.move(folder / "benign", folder / "a")
    shutil.move(folder / "malignant", folder / "b")
    for name, was in (("a", "benign"), ("b", "malignant")):
        for image in (folder / name).iterdir():
            image.rename(image.with_name(image.name.replace(was, name)))
    with pytest.warns(UserWarning, match="'a' as 'benign', 'b' as 'malignant'"):
        other = train(grading(tmp_path, ["a", "b"], "other", start=start), tmp_path / "third")
    assert [known.name for known in read_card(other.model).classes] == ["a", "b"]
