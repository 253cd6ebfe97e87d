"""What a configuration says, and how it is told what is wrong with one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from napari_lumen.errors import RunError
from napari_lumen.training import SplitRule, TrainingConfig, train
from training_pictures import GradedArrays, LabelledArrays, write_config, write_discs


def test_what_is_written_is_read(tmp_path: Path) -> None:
    config = TrainingConfig.read(write_config(tmp_path, title='Discs "dark"'))
    assert config.title == 'Discs "dark"'
    assert config.recipe["rates"] == [[0, 0.01]]
    assert config.data.folder == tmp_path / "data"  # type: ignore[union-attr]
    assert config.split.proportions == {"train": 8, "validation": 4}


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("recipe.epochs=5", 5),
        ("recipe.rates=[[0, 0.5], [3, 0.1]]", [[0, 0.5], [3, 0.1]]),
        ("recipe.framing=crop", "crop"),
        ('recipe.framing="crop"', "crop"),
        ("recipe.epochs=", None),
    ],
)
def test_a_change_is_toml_or_plain_text(tmp_path: Path, change: str, value: object) -> None:
    config = TrainingConfig.read(write_config(tmp_path), [change])
    assert config.recipe.get(change.partition("=")[0].removeprefix("recipe.")) == value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": {"epoch": 3}}, "training.toml: Recipe focusnetpp: field 'epoch'"),
        ({"recipe": {"epochs": "many"}}, "field 'epochs'"),
        ({"recipe": {"name": "focus"}}, "field 'recipe.name': there is no recipe 'focus'"),
        ({"data": {"folders": "x"}}, "field 'data.folders'"),
        ({"data": {"mpp": -1}}, "field 'data.mpp'"),
        ({"data": {"kind": "cells"}}, "field 'data.kind'"),
        ({"split": {"by": "colour"}}, "field 'split.by'"),
        ({"settings": {"device": 3}}, "field 'settings.device'"),
        ({"epochs": 3}, "field 'epochs'"),
        ({"recipe": {"epoch": 3}}, "there is no such field; 'epochs' may be meant"),
        ({"recipe": {"arguments": {"presett": "light"}}}, "field 'arguments': .*presett='light': it takes"),
        ({"recipe": {"arguments": {"width": 0}}}, "field 'arguments': .*width must be 1 or more, not 0"),
        (
            {"recipe": {"name": "gated_attention", "arguments": {"treshold": 1}, "rates": ""}},
            "field 'arguments': .*treshold=1.*it takes",
        ),
        ({"data": {"folders": "x"}}, "'data.folders': there is no such field; 'folder' may be meant"),
        ({"data": {"kind": "cells"}}, "'data.kind': there is no 'cells'; there is images, graded"),
        ({"data": {"folder": 3}}, "'data.folder': it must be a path, not 3"),
        ({"data": {"classes": []}}, "'data.classes': it must be a list of the names of classes"),
        ({"data": {"classes": "disc"}}, "'data.classes': it must be a list of the names of classes"),
        ({"data": {"classes": ["disc", 3]}}, "'data.classes': number 2 of the classes must be a name, as"),
        ({"data": {"classes": [1]}}, "'data.classes': number 1 of the classes must be a name or a table"),
        ({"recipe": {"epochs": "many"}}, "field 'epochs': it must be a whole number, not 'many'"),
        ({"recipe": {"epochs": 1.5}}, "field 'epochs': it must be a whole number, not 1.5"),
        ({"recipe": {"rates": [0.1]}}, "field 'rates.0': it must be a list, not 0.1"),
        ({"data": "images"}, "field 'data': it must be a table, not 'images'"),
        (
            {"split": {"together": [["a", "b", "c"]]}},
            "'split.together.0': it has 3 values",
        ),
        ({"data": {"classes": ["disc", ""]}}, "'data.classes': the name of number 2 of the classes is empty"),
        ({"split": {"proportions": {"train": -1, "validation": 1}}}, "'split.proportions.train'"),
        ({"recipe": {"epochs": True}}, "field 'epochs': it must not be true or false"),
        ({"recipe": {"rates": [[False, 1e-3]]}}, "field 'rates': it must not be true or false"),
        ({"settings": {"devices": True}}, "field 'settings.devices': it must not be true or false"),
        ({"split": {"proportions": {"train": True}}}, "field 'split.proportions': it must not be true"),
        ({"data": {"mpp": True}}, "field 'data.mpp': it must not be true or false"),
        ({"data": {"classes": ["Background"]}}, "'data.classes': background is what none of the classes"),
        ({"data": {"objects": False, "object_classes": "a.csv"}}, "say objects = true"),
        ({"name": "My Model"}, "'name': it must be of small letters, digits, '.', '_' and '-'"),
        ({"split": {"sead": 3}}, "'split.sead': there is no such field; 'seed' may be meant"),
    ],
)
def test_an_error_names_the_field_as_it_stands_in_the_file(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(RunError, match=said) as caught:
        TrainingConfig.read(write_config(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_a_file_without_a_recipe_is_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"field 'recipe.name': it is needed, and missing; there is darefinenet"
    ):
        TrainingConfig.read(write_config(tmp_path), ["recipe.name="])


def test_a_share_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"field 'split\.proportions\.train': it must be a finite number, not inf"
    ):
        TrainingConfig.read(write_config(tmp_path), ["split.proportions.train=inf"])


def test_a_change_of_no_field_is_refused(tmp_path: Path) -> None:
    for change in (".epochs=3", "recipe.=3", "recipe..epochs=3"):
        with pytest.raises(RunError, match="sets nothing"):
            TrainingConfig.read(write_config(tmp_path), [change])


def test_a_group_of_an_unknown_class_names_its_field(tmp_path: Path) -> None:
    write_discs(tmp_path / "data")
    config = TrainingConfig.read(write_config(tmp_path, data={"groups": {"cell": ["nucleus"]}}))
    with pytest.raises(RunError, match=r"Field 'data\.groups': There is no class 'nucleus'; there is disc"):
        config.data.open()


def test_a_change_that_is_wrong_is_not_blamed_on_the_file_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"training.toml with recipe.epochs=many: .*field 'epochs'"):
        TrainingConfig.read(write_config(tmp_path), ["recipe.epochs=many"])


def test_classes_are_spread_over_the_parts_where_that_is_asked_for() -> None:
    grey = np.zeros((4, 4, 3), np.uint8)
    images = GradedArrays([grey] * 20, [int(number < 4) for number in range(20)])
    shares = {"train": 0.5, "validation": 0.5}
    for seed in range(8):
        split = SplitRule(stratified=True, proportions=shares, seed=seed).divide(images)
        rare = [sum(images.grade(number) for number in split.indices(images.items, part)) for part in shares]
        assert rare == [2, 2]
    with pytest.raises(RunError, match="one class each"):
        SplitRule(stratified=True).divide(LabelledArrays([grey], [grey[..., 0]]))


def test_a_file_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "training.toml"
    file.write_text('name = "discs"\nrecipe: focusnetpp\n')
    with pytest.raises(RunError, match=r"training.toml is no TOML: .*line 2"):
        TrainingConfig.read(file)


def test_images_of_one_slide_are_parted_only_when_that_is_said(tmp_path: Path) -> None:
    folder = write_discs(tmp_path / "data")
    names = "".join(f"{number:02},case\n" for number in range(12))
    (folder / "items.csv").write_text("name,slide\n" + names)
    file = write_config(tmp_path, data={"table": "data/items.csv"}, recipe={"epochs": 1})
    with pytest.raises(RunError, match="are both of the slide 'case'"):
        train(file, tmp_path / "out")
    training = train(TrainingConfig.read(file, ["split.within=true"]), tmp_path / "out")
    assert training.state.state == "finished"


def test_files_are_looked_for_beside_the_file_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("found.json", "model", "weights.pth"):
        (folder / name).touch()
    (folder / "nuclei-focusnetpp-light").mkdir()  # a name of a model is one wherever the file lies
    file = write_config(
        folder,
        recipe={"genotype": "found.json", "arguments": {"pretrained": "weights.pth", "depth": 18}},
        start="model",
    )
    content = tomllib.loads(file.read_text())
    config = TrainingConfig.model_validate(content, context={"folder": folder})
    assert config.start == str(folder / "model")
    assert config.recipe["genotype"] == str(folder / "found.json")
    assert config.recipe["arguments"] == {"pretrained": str(folder / "weights.pth"), "depth": 18}
    other = content | {"start": "nuclei-focusnetpp-light"}
    assert TrainingConfig.model_validate(other, context={"folder": folder}).start == other["start"]


def test_a_file_of_the_data_that_is_not_there_names_its_field(tmp_path: Path) -> None:
    write_discs(tmp_path / "data")
    config = TrainingConfig.read(write_config(tmp_path, data={"table": "none.csv"}))
    with pytest.raises(RunError, match=r"Field 'data\.table': there is no .*none\.csv\. Check"):
        config.data.open()


def test_a_model_to_begin_with_that_is_not_there_names_its_field(tmp_path: Path) -> None:
    config = TrainingConfig.read(write_config(tmp_path, start="nosuch"))
    with pytest.raises(RunError, match="Field 'start': There is no model 'nosuch'"):
        config.start_weights()
