"""Cards, weights and the zoo: what is published is what is loaded, and one sentence says what is wrong."""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from napari_lumen import ModelError
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models import (
    InputSpec,
    ModelCard,
    TrainingRecord,
    View,
    available,
    build,
    find_model,
    install_model,
    load_model,
    read_card,
    remove_model,
    save_model,
)
from napari_lumen.models.library import kind_of, user_models
from napari_lumen.training.data.splits import Split

SHIPPED = (
    "nuclei-focusnetpp-light",
    "nuclei-nas-scam",
    "synthetic-carcinoma-multistage",
    "synthetic-fields-gated-attention",
    "synthetic-regions-darefinenet",
)
SMALL = {"width": 4, "levels": 2}
TWO = {"classes": [{"value": value, "name": str(value), "color": [0, 0, 0]} for value in (1, 2)]}
VIEWS: dict[str, Any] = {"views": [{"size": 64, "mpp": 1}], "overlap": 0}


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(0)
    return build("unet", **SMALL).eval()


def card(**changes: object) -> ModelCard:
    fields: dict[str, object] = {
        "name": "tiny",
        "title": "Tiny",
        "summary": "Finds nothing yet.",
        "task": "segmentation",
        "architecture": "unet",
        "arguments": SMALL,
        "activation": "sigmoid",
        "classes": ClassTable.of([(1, "nucleus", (0, 0, 255))]),
        "input": InputSpec(views=(View(size=64, mpp=0.5),), overlap=16),
        "training": TrainingRecord(data="none", split="none"),
        "scores": {},
        "licence": "BSD-3-Clause",
        "limits": "Nothing.",
        "weights_sha256": "0" * 64,
    }
    return ModelCard.model_validate(fields | changes)


@pytest.fixture
def folder(tmp_path: Path, small: nn.Module) -> Path:
    return save_model(tmp_path, small, card())


def rewrite(folder: Path, **changes: object) -> None:
    """Change fields of a card on disk; None takes a field out."""
    file = folder / "card.json"
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def rewrite_weights(folder: Path, data: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(data)
    rewrite(folder, weights_sha256=hashlib.sha256(data).hexdigest())


def refusal(model: str | Path, **arguments: Any) -> str:
    """Return the one sentence with which a model is refused."""
    with pytest.raises(ModelError) as error:
        load_model(model, **arguments)
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# -- cards ---------------------------------------------------------------------------------------------


def test_a_model_comes_back_as_it_was_saved(folder: Path, small: nn.Module) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "weights.safetensors"]
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    model = load_model(folder)
    assert model.path == folder
    assert not model.network.training
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(model.network(x), small(x))


def test_saving_replaces_no_model_and_leaves_nothing_of_a_failure(folder: Path, small: nn.Module) -> None:
    before = (folder / "card.json").read_bytes()
    with pytest.raises(ModelError, match="remove it or choose another name"):
        save_model(folder.parent, small, card(title="Another"))
    assert (folder / "card.json").read_bytes() == before
    blocked = folder.parent / "file"
    blocked.write_text("no folder")
    with pytest.raises(ModelError, match=r"cannot be written to .*file"):
        save_model(blocked, small, card())
    assert sorted(p.name for p in folder.parent.iterdir()) == ["file", "tiny"]


FIELDS = [name for name, field in ModelCard.model_fields.items() if field.is_required()]


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    rewrite(folder, **{field: None})
    assert f"field '{field}': it is needed, and missing" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"colour": "red"}, ["field 'colour'"]),
        ({"name": "../up"}, ["field 'name'"]),
        ({"task": "detection"}, ["field 'task'", "'segmentation', 'classification' or 'slide'"]),
        ({"task": "classification"}, ["field 'task'", "made for segmentation"]),
        ({"activation": "tanh"}, ["field 'activation'"]),
        ({"architecture": "resnet9000"}, ["field 'architecture'", "'resnet9000'; there is darefinenet, "]),
        ({"arguments": {"width": 0}}, ["field 'arguments'", "width must be 1 or more"]),
        ({"arguments": {"depth": 3}}, ["field 'arguments'", "depth"]),
        ({"arguments": SMALL | {"width": 8}}, ["do not fit", "'arguments'", "size mismatch"]),
        ({"arguments": SMALL | {"levels": 30}}, ["field 'arguments'", "levels must be 12 or less"]),
        ({"arguments": SMALL | {"width": 10**5}}, ["do not fit", "size mismatch"]),
        ({"arguments": SMALL | {"width": 10**15}}, ["field 'arguments'", "cannot be built"]),
        ({"arguments": SMALL | {"inputs": 4}}, ["field 'arguments'", "eats 4 channels, and a tile has 3"]),
        ({"classes": {"classes": []}}, ["field 'classes' names none"]),
        ({"classes": TWO}, ["field 'classes': it names 2", "answers with 1"]),
        ({"activation": "softmax"}, ["field 'classes': it names 1, a background before them", "with 1"]),
        ({"scores": {"Dice": float("nan")}}, ["field 'scores.Dice'", "finite"]),
        ({"input": {"views": [{"size": 10**9, "mpp": 1}], "overlap": 0}}, ["input.views.0.size", "16384"]),
        ({"input": VIEWS | {"mean": [float("inf"), 0, 0]}}, ["field 'input.mean.0'", "finite"]),
        ({"attention": ["d9.0.att0"]}, ["field 'attention'", "no spatial map 'd9.0.att0'"]),
        ({"weights_sha256": "1" * 64}, ["field 'weights_sha256' differs"]),
        ({"weights_sha256": "abc"}, ["field 'weights_sha256'", "SHA-256: 64 digits"]),
        ({"input": {"views": [], "overlap": 0}}, ["field 'input.views'"]),
        ({"input": {"views": [{"size": 64}], "overlap": 0}}, ["field 'input.views.0.mpp'", "it is needed"]),
        ({"input": {"views": [{"size": 64, "mpp": 0}], "overlap": 0}}, ["field 'input.views.0.mpp'"]),
        ({"input": {"views": [{"size": 64, "mpp": 1}], "overlap": 64}}, ["field 'input'", "overlap 64"]),
        ({"input": {"views": [{"size": 64, "mpp": 1}] * 2, "overlap": 8}}, ["field 'input.views'", "1 of"]),
        ({"classes": {"classes": [{"value": 1, "name": "n"}]}}, ["field 'classes.classes.0.color'"]),
    ],
)
def test_a_wrong_field_is_named(folder: Path, change: dict[str, object], parts: list[str]) -> None:
    rewrite(folder, **change)
    message = refusal(folder)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"{" * 5000, b"null"])
def test_a_card_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / "card.json").write_bytes(content)
    assert "card.json is not usable" in refusal(folder)


def test_a_card_that_cannot_be_read_is_refused(folder: Path) -> None:
    (folder / "card.json").unlink()
    assert "holds no model: card.json cannot be read (No such file" in refusal(folder)
    (folder / "card.json").mkdir()
    assert "card.json cannot be read (Is a directory)" in refusal(folder)


def test_published_weights_named_in_a_card_are_not_fetched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def note(name: str, **arguments: Any) -> nn.Module:
        built.append(arguments)
        return build(name, **arguments)

    monkeypatch.setattr("napari_lumen.models.store.build", note)
    rewrite(folder, arguments=SMALL | {"pretrained": "http://127.0.0.1:9/x", "fine_pretrained": "a.pth"})
    load_model(folder)
    assert built == [SMALL, SMALL]
    assert read_card(folder).network_arguments == SMALL


def test_a_card_says_how_many_channels_its_network_gives() -> None:
    one = ClassTable.of([(1, "a", (0, 0, 0))])
    two = ClassTable.of([(1, "a", (0, 0, 0)), (2, "b", (0, 0, 0))])
    for task, activation, classes, channels in (
        ("segmentation", "sigmoid", one, 1),
        ("segmentation", "softmax", two, 3),
        ("classification", "softmax", two, 2),
        ("classification", "sigmoid", two, 2),
    ):
        assert card(task=task, activation=activation, classes=classes).channels == channels


def test_a_softmax_of_one_channel_and_a_label_that_is_the_background_are_refused() -> None:
    with pytest.raises(ValueError, match="softmax of one channel is 1 everywhere"):
        card(task="classification", activation="softmax")
    for value in (0, 256):
        with pytest.raises(ValueError, match=f"must be 1 to 255, not {value}"):
            card(classes=ClassTable.of([(value, "nucleus", (0, 0, 255))]))


# -- weights -------------------------------------------------------------------------------------------


def test_damaged_weights_are_told_by_their_checksum(folder: Path) -> None:
    file = folder / "weights.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    assert "damaged or was replaced" in refusal(folder)


def test_a_pickle_is_never_loaded(folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (folder / "exploded",)

    bomb = pickle.dumps(Bomb())
    rewrite_weights(folder, bomb)
    assert "no safetensors file" in refusal(folder)
    (folder / "weights.safetensors").rename(folder / "weights.pt")
    assert "Pickled weights (.pt, .pth) are not loaded" in refusal(folder)
    assert not (folder / "exploded").exists()


def test_a_pickle_beside_the_weights_is_passed_over(folder: Path) -> None:
    (folder / "weights.pt").write_bytes(b"\x80\x04pickle")
    (folder / "torchscript_model.pt").write_bytes(b"\x80\x04pickle")
    assert load_model(folder).card.name == "tiny"


def test_weights_that_are_no_numbers_are_refused(folder: Path, small: nn.Module) -> None:
    state = {key: value.clone() for key, value in small.state_dict().items()}
    state["head.bias"].fill_(float("nan"))
    rewrite_weights(folder, save(state))
    assert "head.bias holds values that are no numbers" in refusal(folder)


def test_weights_with_other_tensors_are_named(folder: Path, small: nn.Module) -> None:
    state = dict(small.state_dict())
    lost = next(iter(state))
    del state[lost]
    state["extra"] = torch.zeros(1)
    rewrite_weights(folder, save(state))
    message = refusal(folder)
    assert f"1 tensors are missing (first {lost}) and 1 unexpected (first extra)" in message
    assert "'architecture' and 'arguments'" in message


# -- the zoo -------------------------------------------------------------------------------------------


def test_an_unknown_model_lists_those_there_are(tmp_path: Path) -> None:
    assert f"no model 'nonsense'; there is {', '.join(SHIPPED)}" in refusal("nonsense")
    assert "holds no model" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("no model")
    assert "There is no model" in refusal(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_says_which_images_were_held_out(name: str) -> None:
    split = Split.read(available()[name] / "split.json")
    assert split.parts["train"]
    assert split.parts["test"]


def test_the_shipped_models_are_small_together() -> None:
    files = [file for name in SHIPPED for file in available()[name].iterdir()]
    assert sum(file.stat().st_size for file in files) < 60_000_000


def test_the_shipped_and_the_users_models_are_listed(small: nn.Module) -> None:
    assert set(available()) == set(SHIPPED)
    assert next(iter(available())) == "nuclei-focusnetpp-light"  # what a window offers first
    path = save_model(user_models(), small, card())
    assert [name for name in available() if name not in SHIPPED] == ["tiny"]
    assert find_model("tiny") == path
    assert [kind_of(p) for p in available().values()] == ["shipped"] * len(SHIPPED) + ["yours"]
    assert kind_of(path.parent.parent) == "folder"


def test_what_ships_is_whole_small_and_says_what_it_was_trained_on() -> None:
    paths = [available()[name] for name in SHIPPED]
    assert sum(file.stat().st_size for path in paths for file in path.iterdir()) < 60e6
    for path in paths:
        shown = load_model(path).card
        assert shown.name == path.name
        assert shown.training is not None
        assert shown.training.data
        assert shown.scores
        drawn = path.name.startswith("synthetic")
        assert shown.summary.startswith("Trained on drawn sections only") == drawn


def test_broken_models_break_no_list(small: nn.Module) -> None:
    place = user_models()
    path = save_model(place, small, card())
    for name, content in (("broken", b"{"), (".unfinished", b"{"), ("nuclei-focusnetpp-light", b"{")):
        (place / name).mkdir()
        (place / name / "card.json").write_bytes(content)
    (place / "dangling").symlink_to(place / "nowhere")
    (place / "looped").mkdir()
    (place / "looped" / "card.json").symlink_to(place / "looped" / "card.json")
    (place / "empty").mkdir()
    (place / "file.txt").write_text("no model")
    (place / "file.pt").write_bytes(b"no model")
    assert [name for name in available() if name not in SHIPPED] == ["broken", "looped", "tiny"]
    assert set(available(foreign=True)) - set(available()) == {"file"}
    assert available()["nuclei-focusnetpp-light"].parent != place  # the shipped one is not shadowed
    for name in ("broken", "looped", "file"):
        with pytest.raises(ModelError, match=name):
            read_card(available(foreign=True)[name])
    assert read_card(path).name == "tiny"


def test_a_model_is_installed_under_a_name_and_removed(folder: Path, small: nn.Module) -> None:
    assert install_model(folder) == user_models() / "tiny"
    again = install_model(folder, "other")
    assert sorted(p.name for p in again.iterdir()) == ["card.json", "weights.safetensors"]
    assert load_model("other").card.name == "other"
    assert (again / "weights.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()
    with pytest.raises(ModelError, match="model named 'tiny' already"):
        install_model(folder)
    with pytest.raises(ModelError, match="named 'nuclei-focusnetpp-light' already"):
        install_model(folder, "nuclei-focusnetpp-light")
    assert remove_model("other") == again
    assert [p.name for p in user_models().iterdir()] == ["tiny"]


@pytest.mark.parametrize("name", ["../up", "", "Upper", "a/b", ".hidden"])
def test_a_name_that_is_no_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be the name of a model: field 'name'"):
        install_model(folder, name)
    assert not user_models().exists()


def test_a_model_that_cannot_be_loaded_is_not_installed(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        install_model(folder)
    assert not user_models().exists()


def test_only_a_model_of_the_users_folder_is_removed(folder: Path) -> None:
    for name in ("nuclei-focusnetpp-light", str(folder), "..", ""):
        with pytest.raises(ModelError, match="in your folder"):
            remove_model(name)
    assert "nuclei-focusnetpp-light" in available()
    user_models().mkdir(parents=True)
    (user_models() / "linked").symlink_to(folder)
    remove_model("linked")
    assert load_model(folder).card.name == "tiny"


def test_nothing_but_a_hub_needs_the_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    install_model(folder)
    assert load_model("tiny").card.name == "tiny"
    assert refusal("nonsense")


@pytest.mark.parametrize("name", ["~nouserx/m", "m" * 300, "a\0b", "m\0"])
def test_a_name_that_no_file_can_have_is_one_sentence(name: str) -> None:
    for call in (find_model, load_model, install_model, read_card):
        with pytest.raises(ModelError) as error:
            call(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_of_another_kind_of_number_are_refused(
    tmp_path: Path, small: nn.Module, dtype: torch.dtype
) -> None:
    key = next(iter(small.state_dict()))
    folder = with_weights(tmp_path, small, **{key: small.state_dict()[key].to(dtype)})
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(ModelError, match=rf"{key} holds {kind} and not float32") as error:
        load_model(folder)
    assert "\n" not in str(error.value)
    assert load_model(with_weights(tmp_path / "half", small, **{key: small.state_dict()[key].half()}))


def test_a_negative_variance_is_refused(tmp_path: Path, small: nn.Module) -> None:
    state = small.state_dict()
    key = next(key for key in state if key.endswith("running_var"))
    folder = with_weights(tmp_path, small, **{key: -torch.ones_like(state[key])})
    with pytest.raises(ModelError, match=rf"{key} holds a variance below 0"):
        load_model(folder)


def with_weights(folder: Path, network: nn.Module, **tensors: torch.Tensor) -> Path:
    """Write the model folder of a network with some of its tensors replaced."""
    path = save_model(folder, network, card())
    state = {name: tensor.contiguous() for name, tensor in (network.state_dict() | tensors).items()}
    (path / "weights.safetensors").write_bytes(save(state))
    fields = json.loads((path / "card.json").read_text())
    fields["weights_sha256"] = hashlib.sha256(save(state)).hexdigest()
    (path / "card.json").write_text(json.dumps(fields))
    return path
