"""A dry run: what it says is what a training does, and it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_lumen.cli import app
from napari_lumen.errors import Cancelled, ModelError, RunError
from napari_lumen.models import build
from napari_lumen.training import TrainingConfig, TrainingProgress, dry_run, dry_run_search, train
from napari_lumen.training.contents import count_contents
from napari_lumen.training.data.splits import Split
from training_pictures import GradedArrays, divided, write_config, write_discs

SEARCH = {"size": 16, "stride": 16, "test_stride": 16, "width": 4, "steps": 2, "epochs": 3, "warm_up": 1}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_discs(tmp_path / "data")
    return write_config(tmp_path, recipe={"epochs": 5, "batch": 3})


def test_the_steps_it_says_are_those_of_the_training(file: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    said = dry_run(file)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    told: list[TrainingProgress] = []
    training = train(file, tmp_path / "out", on_progress=told.append)
    curves = training.curves()
    steps = curves[curves["kind"] == "loss"].groupby("epoch")["step"].nunique()
    assert said.steps == steps.sum() == 10
    (phase,) = said.phases
    assert (phase.name, phase.epochs, phase.validations) == ("training", 5, 5)
    assert phase.seconds > 0
    assert said.weights == sum(value.numel() for value in build("unet", width=4).state_dict().values())
    assert said.memory > 50_000_000  # Python and torch alone
    assert (said.name, said.recipe, said.device, said.gpu_memory) == ("discs", "focusnetpp", "cpu", None)


def test_the_weights_of_a_training_are_the_same_after_it(file: Path, tmp_path: Path) -> None:
    one = train(file, tmp_path / "one").curves()
    dry_run(file)
    assert train(file, tmp_path / "two").curves().equals(one)


def test_pixels_of_each_class_are_counted_in_each_part(file: Path, tmp_path: Path) -> None:
    said = dry_run(file).contents
    labels = [np.asarray(Image.open(path)) for path in (tmp_path / "data" / "labels").iterdir()]
    assert said.unit == "pixels"
    assert {part.name: part.images for part in said.parts} == {"train": 8, "validation": 4}
    for name, value in (("background", 0), ("disc", 1)):
        amounts = [item.amount for part in said.parts for item in part.classes if item.name == name]
        assert sum(amounts) == sum(int((image == value).sum()) for image in labels)


def test_objects_are_counted_where_they_are_told_apart(tmp_path: Path) -> None:
    folder = write_discs(tmp_path / "data", 3)
    for number in range(3):
        labels = np.zeros((48, 48), np.uint16)
        for place in range(number + 1):
            labels[4 * place : 4 * place + 2] = 7 * place + 1
        Image.fromarray(labels).save(folder / "labels" / f"{number:02}.png")
    split = Split(by="image", seed=0, parts={"train": ("00", "02"), "validation": ("01",)})
    images = TrainingConfig.read(write_config(tmp_path), ["data.objects=true"]).data.open()
    found = count_contents(images, split)
    assert found.unit == "objects"
    assert [[(item.name, item.amount) for item in part.classes] for part in found.parts] == [
        [("disc", 4)],
        [("disc", 2)],
    ]


def test_images_of_one_class_each_are_counted_as_images() -> None:
    data = divided(GradedArrays([np.zeros((4, 4, 3), np.uint8)] * 5, [0, 1, 1, 0, 1]), 3)
    found = count_contents(data.images, data.split)
    assert found.unit == "images"
    assert [[item.amount for item in part.classes] for part in found.parts] == [[1, 2], [1, 1]]


def test_a_trial_that_goes_astray_promises_no_checkpoint(tmp_path: Path) -> None:
    write_discs(tmp_path / "data", 4)
    split = {"proportions": {"train": 3, "validation": 1}}
    file = write_config(tmp_path, split=split, recipe={"rates": [[0, 1e30]], "batch": 1})
    with pytest.raises(RunError, match=r"the loss is nan on .*lower the learning rate\.$") as told:
        dry_run(file)
    assert "kept" not in str(told.value)


def test_patches_are_counted_where_slides_are_cut(tmp_path: Path) -> None:
    write_discs(tmp_path / "data", 4)
    numbers = {
        "name": "multistage", "method": "classifier", "patch": 16, "crop": 16, "patch_epochs": 2,
        "patch_batch": 9, "encoder": "resnet18", "reduction": 8,
    }  # fmt: skip
    file = write_config(tmp_path, split={"proportions": {"train": 3, "validation": 1}})
    config = TrainingConfig.read(file).model_copy(update={"recipe": numbers})
    said = dry_run(config)
    assert said.contents.unit == "patches"
    (phase,) = said.phases
    patches = sum(item.amount for item in said.contents.parts[0].classes)
    assert phase.steps == 2 * (patches // 9)


def test_a_search_is_said_with_the_training_that_follows(tmp_path: Path) -> None:
    write_discs(tmp_path / "data", 4)
    file = write_config(tmp_path, rebuilt={"epochs": 2})
    content = {"name": "nas_scam_search", **SEARCH}
    config = TrainingConfig.read(file).model_copy(update={"recipe": content})
    search, rebuilt = dry_run_search(config)
    assert (search.name, search.steps, rebuilt.name, rebuilt.steps) == ("discs-search", 6, "discs", 4)
    with pytest.raises(RunError, match="focusnetpp searches nothing"):
        dry_run_search(file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"folder": "elsewhere"}}, "elsewhere"),
        ({"data": {"classes": ["disc", "other"]}}, "FocusNet\\+\\+ finds one class"),
        ({"settings": {"device": "cuda:77"}}, "no device 'cuda:77'"),
        ({"start": "no-such-model"}, "no-such-model"),
        ({"split": {"by": "patient"}}, "does not say its patient"),
    ],
)
def test_it_fails_as_the_training_would(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    write_discs(tmp_path / "data", 4)
    file = write_config(tmp_path, **{"split": {"proportions": {"train": 3, "validation": 1}}, **changes})
    errors = []
    for work in (lambda: dry_run(file), lambda: train(file, tmp_path / "out")):
        with pytest.raises((RunError, ModelError), match=said) as caught:
            work()
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_a_leak_is_named_as_by_the_training(file: Path, tmp_path: Path) -> None:
    for sub in ("images", "labels"):
        (tmp_path / "data" / sub / "99.png").write_bytes((tmp_path / "data" / sub / "03.png").read_bytes())
    fixed = {"proportions": {"train": 12}, "fixed": {"validation": ["99"]}}
    file = write_config(tmp_path, split=fixed)
    with pytest.raises(RunError, match="'03' of 'train' and '99' of 'validation'"):
        dry_run(file)


def test_it_stops_when_it_is_asked_to(file: Path) -> None:
    cancel = Event()
    with pytest.raises(Cancelled):
        dry_run(file, cancel=cancel, on_stage=lambda stage: cancel.set())


def test_the_command_says_what_would_happen_and_needs_no_folder(file: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(app, ["train", str(file), "--dry-run", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split() for line in result.output.splitlines() if line.strip()}
    assert lines["steps"] == ["steps", "10"]
    assert lines["train"][:2] == ["train", "8"]
    assert lines["training"][:4] == ["training", "5", "10", "5"]
    assert "Nothing was written." in result.output
    assert sorted(tmp_path.rglob("*")) == before
    missing = CliRunner().invoke(app, ["train", str(file)])
    assert missing.exit_code == 2
    assert "--out" in missing.output
