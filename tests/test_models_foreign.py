"""Models of others: read without being run, refused without trust, and right behind our interface."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import config_parser  # whole, before a test takes it away
from monai.networks.nets import BasicUNet
from monai.transforms import NormalizeIntensity, ScaleIntensityRange
from PIL import Image
from torch import Tensor, nn

import napari_lumen
from fakes import ArraySlide
from napari_lumen import ModelError
from napari_lumen.geometry import Region
from napari_lumen.models import (
    Model,
    available,
    find_model,
    install_model,
    load_model,
    read_card,
    remove_model,
)
from napari_lumen.models.foreign.network import Channels, ForeignNetwork
from napari_lumen.models.library import kind_of, user_models


class Tile(nn.Module):
    """Answers for a tile: a linear function of its mean colour and of its upper left pixel."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(classes)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([x.mean(dim=(2, 3)), x[:, :, 0, 0]], dim=1))


class Maps(nn.Module):
    """Answers for each pixel; channel k is the input's channel k plus k."""

    def __init__(self, classes: int, stride: int = 1) -> None:
        super().__init__()
        self.classes = classes
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        answers = [x[:, k % 3] + k for k in range(self.classes)]
        return torch.stack(answers, dim=1)[..., :: self.stride, :: self.stride]


class Dark(nn.Module):
    """Says how dark a pixel is, as a probability."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid((0.5 - x.mean(dim=1, keepdim=True)) * 200)


def write_program(file: Path, network: nn.Module, side: int = 16) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network.eval(), torch.rand(1, 3, side, side)), str(file))
    return file


def write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def changed(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change fields; None takes a field out."""
    return {key: value for key, value in (content | changes).items() if value is not None}


def refusal(path: Path, *, trust: bool = True) -> str:
    """Return the one sentence with which a model is refused."""
    with pytest.raises(ModelError) as error:
        load_model(path, trust=trust)
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test when a foreign program is loaded or a pickle opened."""

    def run(*_: object, **__: object) -> None:
        raise AssertionError("something of the model was run")

    monkeypatch.setattr(torch.jit, "load", run)
    monkeypatch.setattr(torch, "load", run)
    monkeypatch.setitem(sys.modules, config_parser.__name__, None)


# -- WSInfer -------------------------------------------------------------------------------------------

WSINFER: dict[str, Any] = {
    "spec_version": "1.0",
    "architecture": "resnet34",
    "num_classes": 2,
    "class_names": ["notumor", "tumor"],
    "patch_size_pixels": 35,
    "spacing_um_px": 0.25,
    "transform": [
        {"name": "Resize", "arguments": {"size": 22}},
        {"name": "ToTensor"},
        {"name": "Normalize", "arguments": {"mean": [0.72, 0.57, 0.67], "std": [0.11, 0.14, 0.10]}},
    ],
}


@pytest.fixture
def wsinfer(tmp_path: Path) -> Path:
    folder = tmp_path / "Breast tumor-resnet34.tcga"
    write_program(folder / "torchscript_model.pt", Tile(2), 22)
    write_json(folder / "config.json", WSINFER)
    return folder


@pytest.mark.usefixtures("nothing_runs")
def test_a_wsinfer_model_says_what_it_is_and_is_refused_without_trust(wsinfer: Path) -> None:
    (wsinfer / "README.md").write_text("---\ntags:\n- x\nlicense: cc-by-4.0\n---\n# Model\n")
    card = read_card(wsinfer)
    assert card.name == "breast-tumor-resnet34.tcga"
    assert (card.task, card.activation, card.channels) == ("classification", "softmax", 2)
    assert [item.name for item in card.classes] == ["notumor", "tumor"]
    assert [(view.size, view.mpp) for view in card.input.views] == [(35, 0.25)]
    assert (card.input.mean, card.input.std) == ((0.72, 0.57, 0.67), (0.11, 0.14, 0.10))
    assert card.input.overlap == 0
    assert card.training.data.startswith("foreign: ")
    assert card.licence == "cc-by-4.0"
    assert "not for diagnosis" in card.limits
    message = refusal(wsinfer, trust=False)
    for part in ("WSInfer", "can run any code", "--trust", "trust=True"):
        assert part in message


def test_a_wsinfer_model_answers_as_in_its_own_runner(wsinfer: Path) -> None:
    rng = np.random.default_rng(1)
    patch = rng.integers(0, 256, (35, 35, 3), dtype=np.uint8)
    model = load_model(wsinfer, trust=True)
    assert (model.network.task, model.network.view_count) == ("classification", 1)
    spec = model.card.input
    rgb = torch.from_numpy(patch).permute(2, 0, 1)[None] / 255
    ours = model.network(
        (rgb - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[:, None, None]
    )
    small = np.asarray(Image.fromarray(patch).resize((22, 22), Image.Resampling.BILINEAR))
    theirs = torch.from_numpy(small.copy()).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(WSINFER["transform"][2]["arguments"][key]) for key in ("mean", "std"))
    expected = Tile(2)((theirs - mean[:, None, None]) / std[:, None, None])
    # Pillow rounds the resized picture to whole steps of 1/255
    torch.testing.assert_close(ours, expected, atol=0.03, rtol=0)
    assert (ours - expected).abs().max() > 0


def test_gradients_and_half_precision_pass_through_the_resizing(wsinfer: Path) -> None:
    network = load_model(wsinfer, trust=True).network
    x = torch.rand(2, 3, 50, 41, requires_grad=True)
    network(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    half = network.to(torch.bfloat16)(torch.rand(2, 3, 35, 35, dtype=torch.bfloat16))
    assert (half.shape, half.dtype) == ((2, 2), torch.bfloat16)


def test_one_class_of_wsinfer_is_a_sigmoid(wsinfer: Path) -> None:
    class Flat(Tile):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, 0]

    write_program(wsinfer / "torchscript_model.pt", Flat(1), 22)
    write_json(wsinfer / "config.json", WSINFER | {"num_classes": 1, "class_names": ["tumor"]})
    model = load_model(wsinfer, trust=True)
    assert (model.card.activation, model.card.channels) == ("sigmoid", 1)
    assert model.network(torch.rand(3, 3, 35, 35)).shape == (3, 1)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("field", list(WSINFER))
def test_a_missing_field_of_a_wsinfer_config_is_named(wsinfer: Path, field: str) -> None:
    write_json(wsinfer / "config.json", changed(WSINFER, **{field: None}))
    assert f"config.json is not usable: field '{field}': it is needed, and missing" in refusal(wsinfer)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"spec_version": "2.0"}, ["field 'spec_version'", "'1.0'"]),
        ({"num_classes": 3}, ["num_classes is 3 and class_names has 2"]),
        ({"class_names": ["tumor", "tumor"]}, ["field 'class_names'", "class name used twice: tumor"]),
        ({"transform": [WSINFER["transform"][0]] * 2}, ["field 'transform'", "Resize stands there 2 times"]),
        ({"transform": [WSINFER["transform"][2]] * 3}, ["field 'transform'", "Normalize stands there 3"]),
        ({"patch_size_pixels": 0}, ["field 'patch_size_pixels'"]),
        ({"spacing_um_px": 0}, ["field 'spacing_um_px'"]),
        ({"transform": [{"name": "Resize"}]}, ["field 'transform.0'", "Resize needs argument 'size'"]),
        ({"transform": [{"name": "Blur"}]}, ["field 'transform.0.name'"]),
        (
            {"transform": [{"name": "Normalize", "arguments": {"mean": [0, 0, 0]}}]},
            ["field 'transform.0'", "Normalize needs argument 'std'"],
        ),
        (
            {"transform": [{"name": "Normalize", "arguments": {"mean": [0] * 3, "std": [0] * 3}}]},
            ["std must be positive"],
        ),
        (
            {"transform": [{"name": "Resize", "arguments": {"size": [22, 30]}}]},
            ["field 'transform.0.arguments.size'"],
        ),
    ],
)
def test_a_wrong_field_of_a_wsinfer_config_is_named(
    wsinfer: Path, change: dict[str, Any], parts: list[str]
) -> None:
    write_json(wsinfer / "config.json", WSINFER | change)
    message = refusal(wsinfer)
    for part in parts:
        assert part in message


def test_a_wsinfer_network_that_is_not_what_its_config_says_is_refused(wsinfer: Path) -> None:
    program = wsinfer / "torchscript_model.pt"
    write_program(program, Tile(3), 22)
    assert "answers with shape (1, 3) where its config" in refusal(wsinfer)
    program.write_bytes(program.read_bytes()[:500])
    assert "torchscript_model.pt is damaged or is not TorchScript" in refusal(wsinfer)


def test_a_pickle_named_torchscript_is_not_opened(wsinfer: Path, tmp_path: Path) -> None:
    program, mark = wsinfer / "torchscript_model.pt", tmp_path / "exploded"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (mark,)

    for write in (lambda: program.write_bytes(pickle.dumps(Bomb())), lambda: torch.save(Bomb(), program)):
        write()
        assert "is not TorchScript" in refusal(wsinfer)
    assert not mark.exists()


def test_a_run_of_a_wsinfer_model_is_a_heat_map_of_its_patches(wsinfer: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (70, 105, 3), np.uint8)
    slide, model = ArraySlide(pixels, mpp=(0.25, 0.25)), load_model(wsinfer, trust=True)
    run = napari_lumen.predict(slide, model, Region(0, 0, 70, 105), tmp_path / "run", device="cpu")
    tumor = next(raster for raster in run.record.rasters if raster.name == "tumor")
    assert (run.grid(tumor).step, run.grid(tumor).origin) == ((35, 35), (0, 0))
    spec = model.card.input
    patches = torch.from_numpy(pixels.reshape(2, 35, 3, 35, 3).transpose(0, 2, 4, 1, 3).reshape(6, 3, 35, 35))
    normalised = (patches / 255 - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[
        :, None, None
    ]
    with torch.inference_mode():
        wanted = model.network(normalised).softmax(dim=1)[:, 1].reshape(2, 3)
    np.testing.assert_allclose(np.asarray(run.levels(tumor)[0])[:2, :3], wanted, atol=0.6 / 255)


# -- plain TorchScript ---------------------------------------------------------------------------------

SIDECAR: dict[str, Any] = {
    "mpp": 0.5,
    "tile": 32,
    "task": "segmentation",
    "activation": "softmax",
    "classes": ["background", "gland", "stroma"],
}


def script(folder: Path, network: nn.Module, side: int = 32, **changes: Any) -> Path:
    write_json(folder / "net.json", changed(SIDECAR, **changes))
    return write_program(folder / "net.pt", network, side)


def probabilities(model: Model, x: Tensor) -> Tensor:
    """Return what the engine makes of logits: (N, classes, H, W)."""
    logits = model.network(x)
    assert logits.shape[1] == model.card.channels
    return logits.sigmoid() if model.card.activation == "sigmoid" else logits.softmax(dim=1)[:, 1:]


@pytest.mark.parametrize(
    ("classes", "shown"),
    [
        (["background", "gland", "stroma"], [1, 2]),
        (["gland", "stroma", "Background"], [0, 1]),
        (["gland", "stroma", "lumen"], [0, 1, 2]),
    ],
)
def test_the_background_of_a_softmax_is_found_wherever_it_stands(
    tmp_path: Path, classes: list[str], shown: list[int]
) -> None:
    model = load_model(script(tmp_path, Maps(3), classes=classes), trust=True)
    assert [item.name for item in model.card.classes] == [classes[index] for index in shown]
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(probabilities(model, x), Maps(3)(x).softmax(dim=1)[:, shown])


def test_channels_of_a_sigmoid_are_classes_but_for_the_background(tmp_path: Path) -> None:
    model = load_model(script(tmp_path, Maps(3), activation="sigmoid"), trust=True)
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(probabilities(model, x), Maps(3)(x).sigmoid()[:, 1:])


def test_probabilities_stay_what_they_are(tmp_path: Path) -> None:
    network = nn.Sequential(Maps(3), nn.Softmax(dim=1))
    model = load_model(script(tmp_path, network, activation="none"), trust=True)
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(probabilities(model, x), network(x)[:, 1:])


def test_tiles_of_another_size_are_resized_to_the_network_and_maps_back(tmp_path: Path) -> None:
    model = load_model(script(tmp_path, Maps(3), side=16, input=16), trust=True)
    flat = torch.full((1, 3, 32, 32), 0.25)
    torch.testing.assert_close(probabilities(model, flat), Maps(3)(flat).softmax(dim=1)[:, 1:])


def test_a_torchscript_program_runs_over_a_slide(tmp_path: Path) -> None:
    pixels = np.full((128, 128, 3), 255, np.uint8)
    pixels[32:64, 40:100] = 0
    path = script(tmp_path, Dark(), activation="none", classes=["dark"], overlap=8, licence="CC0-1.0")
    model = load_model(path, trust=True)
    assert model.card.licence == "CC0-1.0"
    run = napari_lumen.predict(
        ArraySlide(pixels), model, region=Region(0, 0, 128, 128), out=tmp_path / "run", device="cpu"
    )
    labels = np.asarray(run.levels(run.labels)[0])[:128, :128]
    np.testing.assert_array_equal(labels, pixels[..., 0] == 0)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("field", list(SIDECAR))
def test_a_missing_field_beside_a_program_is_named(tmp_path: Path, field: str) -> None:
    write_json(tmp_path / "net.json", changed(SIDECAR, **{field: None}))
    (tmp_path / "net.ts").write_bytes(b"a program")
    assert f"net.json is not usable: field '{field}': it is needed, and missing" in refusal(
        tmp_path / "net.ts"
    )
    (tmp_path / "net.json").unlink()
    assert "write net.json beside it, with mpp, tile" in refusal(tmp_path / "net.ts")


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"task": "detection"}, "field 'task'"),
        ({"activation": "tanh"}, "field 'activation'"),
        ({"classes": []}, "field 'classes'"),
        ({"classes": ["gland"]}, "softmax of the one channel 'gland' is 1 everywhere: field 'activation'"),
        ({"classes": ["background"], "activation": "none"}, "field 'classes' has background"),
        ({"classes": ["background", "a", "Background"]}, "one background at most"),
        ({"classes": ["background", "gland", "gland"]}, "field 'classes': class name used twice: gland"),
        ({"std": [1, 1, 0]}, "std must be positive"),
        ({"overlap": 32}, "overlap 32 must be below the tile size 32"),
        ({"colour": "red"}, "field 'colour'"),
    ],
)
def test_a_wrong_field_beside_a_program_is_named(tmp_path: Path, change: dict[str, Any], part: str) -> None:
    write_json(tmp_path / "net.json", SIDECAR | change)
    (tmp_path / "net.pt").write_bytes(b"a program")
    assert part in refusal(tmp_path / "net.pt")


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Maps(2), r"shape \(1, 2, 32, 32\) where its config .* says \(1, 3, 32, 32\)"),
        (Maps(3, stride=2), r"shape \(1, 3, 16, 16\) where its config"),
        (Two(), r"answers with tuple instead of one tensor"),
        (nn.Conv2d(4, 3, 1), r"cannot be run: .*channels"),
    ],
)
def test_a_program_that_is_not_what_is_said_of_it_is_refused(
    tmp_path: Path, network: nn.Module, message: str
) -> None:
    write_json(tmp_path / "net.json", SIDECAR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), str(tmp_path / "net.pt"))
    with pytest.raises(ModelError, match=message) as error:
        load_model(tmp_path / "net.pt", trust=True)
    assert "\n" not in str(error.value)


def test_foreign_models_of_the_users_folder_have_names(wsinfer: Path, tmp_path: Path) -> None:
    program = script(tmp_path / "there", Maps(3))
    assert [kind_of(path) for path in (wsinfer, program)] == ["WSInfer", "TorchScript"]
    assert install_model(program).name == "net"
    assert install_model(program.parent, "folder").name == "folder"
    assert install_model(wsinfer).name == "breast-tumor-resnet34.tcga"
    (user_models() / "loose.pt").write_bytes(program.read_bytes())
    write_json(user_models() / "loose.json", SIDECAR)
    names = {"net", "folder", "breast-tumor-resnet34.tcga", "loose"}
    assert set(available(foreign=True)) - set(available()) == names
    for name in names:
        assert load_model(name, trust=True).path == find_model(name)
        assert "--trust" in refusal(find_model(name), trust=False)
        remove_model(name)
    assert list(user_models().iterdir()) == []


def test_a_card_of_ours_is_read_before_anything_foreign(wsinfer: Path) -> None:
    (wsinfer / "card.json").write_text("{}")
    assert "card.json is not usable" in refusal(wsinfer)


def test_the_wrapper_leaves_alone_what_needs_nothing() -> None:
    x = torch.rand(1, 3, 8, 8)
    channels = Channels.arrange(["a", "b", "c"], "segmentation", "sigmoid")
    assert ForeignNetwork(nn.Identity(), "segmentation", 8, channels)(x) is x


# -- MONAI bundles -------------------------------------------------------------------------------------

METADATA: dict[str, Any] = {
    "version": "0.6.1",
    "monai_version": "1.4.0",
    "pytorch_version": "2.4.0",
    "numpy_version": "1.24.4",
    "optional_packages_version": {},
    "name": "Gland bundle",
    "task": "Gland segmentation",
    "description": "Outlines glands.",
    "authors": "nobody",
    "copyright": "none",
    "data_source": "Painted glands",
    "intended_use": "An example.",
    "eval_metrics": {"mean_dice": 0.8, "note": "words"},
    "network_data_format": {
        "inputs": {"image": {"type": "image", "num_channels": 3, "spatial_shape": [32, 32]}},
        "outputs": {
            "pred": {
                "type": "image",
                "format": "segmentation",
                "num_channels": 2,
                "spatial_shape": [32, 32],
                "channel_def": {"0": "background", "1": "gland"},
            }
        },
    },
}
INFERENCE: dict[str, Any] = {
    "imports": ["$import glob"],
    "bundle_root": ".",
    "high": 255.0,
    "device": "$torch.device('cpu')",
    "network_def": {
        "_target_": "BasicUNet",
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": "$1 + 1",
        "features": [4, 4, 4, 4, 4, 4],
    },
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": ["image"]},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": 0.0,
                "a_max": "@high",
                "b_min": -1.0,
                "b_max": 1.0,
                "clip": True,
            },
            {
                "_target_": "monai.transforms.NormalizeIntensityD",
                "keys": ["image"],
                "subtrahend": [0.1, 0.2, 0.3],
                "divisor": [0.5, 0.6, 0.7],
            },
            {"_target_": "ScaleIntensityd", "keys": "label"},
            {"_target_": "ToTensord", "keys": "image"},
        ],
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
    },
}


def unet() -> nn.Module:
    torch.manual_seed(0)
    return BasicUNet(spatial_dims=2, in_channels=3, out_channels=2, features=(4, 4, 4, 4, 4, 4)).eval()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "glands"
    write_json(folder / "configs" / "metadata.json", METADATA)
    write_json(folder / "configs" / "inference.json", INFERENCE)
    write_json(folder / "lumen.json", {"mpp": 0.5})
    (folder / "models").mkdir()
    torch.save({"model": unet().state_dict()}, folder / "models" / "model.pt")
    return folder


def reformat(folder: Path, side: str, **changes: Any) -> None:
    """Change the one input or output of a bundle's metadata."""
    metadata = json.loads(json.dumps(METADATA))
    ((_, tensor),) = metadata["network_data_format"][side].items()
    tensor.update(changes)
    write_json(folder / "configs" / "metadata.json", metadata)


def reconfigure(folder: Path, **changes: Any) -> None:
    write_json(folder / "configs" / "inference.json", changed(INFERENCE, **changes))


def steps(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(transforms)}


@pytest.mark.usefixtures("nothing_runs")
def test_a_bundle_says_what_it_is_and_is_refused_without_trust(bundle: Path) -> None:
    (bundle / "LICENSE").write_text("\n  Apache License\n  Version 2.0\n")
    card = read_card(bundle)
    assert (card.name, card.title, card.summary) == ("glands", "Gland bundle", "Outlines glands.")
    assert (card.task, card.activation, card.channels) == ("segmentation", "softmax", 2)
    assert [item.name for item in card.classes] == ["gland"]
    assert [(view.size, view.mpp) for view in card.input.views] == [(32, 0.5)]
    assert card.input.overlap == 4
    assert card.training.data == "foreign: Painted glands"
    assert card.scores == {"mean_dice, as the bundle states it": 0.8}
    assert (card.limits, card.licence) == ("An example.", "Apache License (LICENSE)")
    message = refusal(bundle, trust=False)
    for part in ("MONAI bundle", "its config", "can run any code", "--trust"):
        assert part in message


def test_a_bundle_answers_as_its_own_transforms_and_network_do(bundle: Path) -> None:
    model = load_model(bundle, trust=True)
    pixels = torch.randint(0, 256, (3, 32, 32)).float()
    scaled = ScaleIntensityRange(a_min=0, a_max=255, b_min=-1, b_max=1, clip=True)(pixels)
    theirs = NormalizeIntensity([0.1, 0.2, 0.3], [0.5, 0.6, 0.7], channel_wise=True)(scaled)
    spec = model.card.input
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    ours = (pixels / 255 - mean) / std
    torch.testing.assert_close(ours, torch.as_tensor(theirs))
    torch.testing.assert_close(model.network(ours[None]), unet()(ours[None]))


def test_the_program_of_a_bundle_needs_no_config(bundle: Path) -> None:
    write_program(bundle / "models" / "model.ts", Maps(2), 32)
    reconfigure(bundle, network_def={"_target_": "NoSuchNetwork"})
    model = load_model(bundle, trust=True)
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(model.network(x), Maps(2)(x))


def test_a_config_runs_code_only_when_trusted(bundle: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    touch = f"$__import__('pathlib').Path({str(mark)!r}).touch() or 2"
    reconfigure(bundle, network_def=INFERENCE["network_def"] | {"out_channels": touch})
    assert read_card(bundle).task == "segmentation"
    refusal(bundle, trust=False)
    assert not mark.exists()
    load_model(bundle, trust=True)
    assert mark.exists()


def test_a_bundle_brings_its_own_scripts_and_fetches_no_published_weights(
    bundle: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(bundle, tmp_path / "other")
    for folder, stride in ((bundle, 1), (other, 2)):
        (folder / "scripts").mkdir()
        (folder / "scripts" / "__init__.py").touch()
        (folder / "scripts" / "net.py").write_text(
            "import torch\n"
            "class Net(torch.nn.Conv2d):\n"
            "    def __init__(self, pretrained):\n"
            "        assert pretrained is False\n"
            f"        super().__init__(3, 2, 1, stride={stride})\n"
        )
        reconfigure(folder, network_def={"_target_": "scripts.net.Net", "pretrained": True})
        torch.save(nn.Conv2d(3, 2, 1).state_dict(), folder / "models" / "model.pt")
        before = list(sys.path)
        if folder == bundle:
            load_model(folder, trust=True)
        else:
            assert "shape (1, 2, 16, 16)" in refusal(folder)
        assert sys.path == before
    assert not [name for name in sys.modules if name.partition(".")[0] == "scripts"]


def test_a_config_may_be_yaml(bundle: Path) -> None:
    (bundle / "configs" / "inference.json").unlink()
    (bundle / "configs" / "inference.yaml").write_text(
        "network_def: {_target_: BasicUNet, spatial_dims: 2, in_channels: 3, out_channels: 2,\n"
        "              features: [4, 4, 4, 4, 4, 4]}\n"
        "preprocessing: {_target_: Compose, transforms: []}\n"
        "postprocessing: {_target_: Compose, transforms: [{_target_: Activations, softmax: true}]}\n"
    )
    model = load_model(bundle, trust=True)
    assert model.card.input.std == (1 / 255, 1 / 255, 1 / 255)  # it eats 0 to 255
    (bundle / "configs" / "inference.yaml").write_text("a: [")
    assert "inference.yaml cannot be read" in refusal(bundle)


def test_a_classifier_of_tiles_is_known_by_its_output(bundle: Path) -> None:
    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1].mean(dim=(2, 3), keepdim=True)

    reformat(bundle, "outputs", num_channels=1, spatial_shape=[1, 1], channel_def={"0": "metastasis"})
    sigmoid = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
    reconfigure(
        bundle,
        postprocessing=steps(sigmoid),
        preprocessing=steps({"_target_": "Resized", "keys": "image", "spatial_size": [24, 24]}),
    )
    write_program(bundle / "models" / "model.ts", Pooled(), 24)
    write_json(bundle / "lumen.json", {"mpp": 0.25, "tile": 48, "mean": [0, 0, 0], "std": [1, 1, 1]})
    model = load_model(bundle, trust=True)
    card = model.card
    assert (card.task, card.activation, card.channels) == ("classification", "sigmoid", 1)
    assert [(view.size, view.mpp) for view in card.input.views] == [(48, 0.25)]
    torch.testing.assert_close(model.network(torch.full((1, 3, 48, 48), 0.5)), torch.full((1, 1), 0.5))


def test_what_the_user_writes_goes_before_what_the_bundle_says(bundle: Path) -> None:
    write_json(
        bundle / "lumen.json",
        {"mpp": 1, "overlap": 6, "activation": "none", "classes": ["a", "b"], "title": "Mine", "limits": "x"}
        | {"licence": "CC0-1.0", "summary": "y", "data": "z", "mean": [0, 0, 0], "std": [1, 1, 1]},
    )
    card = read_card(bundle)
    assert (card.mpp, card.input.overlap, card.activation) == (1, 6, "sigmoid")
    assert [item.name for item in card.classes] == ["a", "b"]
    assert (card.title, card.limits, card.licence) == ("Mine", "x", "CC0-1.0")
    assert (card.summary, card.training.data, card.input.mean) == ("y", "foreign: z", (0, 0, 0))


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("field", ["version", "task", "description", "network_data_format"])
def test_a_missing_field_of_a_bundle_is_named(bundle: Path, field: str) -> None:
    write_json(bundle / "configs" / "metadata.json", changed(METADATA, **{field: None}))
    assert f"metadata.json is not usable: field '{field}': it is needed, and missing" in refusal(bundle)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("side", "change", "parts"),
    [
        ("inputs", {"num_channels": 5}, ["network_data_format.inputs.image", "5 channels"]),
        ("inputs", {"spatial_shape": [8, 8, 8]}, ["network_data_format.inputs.image", "[8, 8, 8]"]),
        ("inputs", {"spatial_shape": [32, 48]}, ["inputs.image.spatial_shape' is [32, 48]"]),
        (
            "outputs",
            {"spatial_shape": [16, 16]},
            ["each pixel or for the tile", "task into lumen.json"],
        ),
        ("outputs", {"channel_def": {"0": "a"}}, ["'channel_def'", "field classes into lumen.json"]),
        ("outputs", {"num_channels": None}, ["'network_data_format.outputs.pred.num_channels'"]),
    ],
)
def test_a_bundle_that_cannot_be_shown_here_is_refused(
    bundle: Path, side: str, change: dict[str, Any], parts: list[str]
) -> None:
    reformat(bundle, side, **change)
    message = refusal(bundle)
    for part in parts:
        assert part in message


@pytest.mark.usefixtures("nothing_runs")
def test_a_bundle_of_several_outputs_is_refused(bundle: Path) -> None:
    metadata = json.loads(json.dumps(METADATA))
    outputs = metadata["network_data_format"]["outputs"]
    outputs["types"] = outputs["pred"]
    write_json(bundle / "configs" / "metadata.json", metadata)
    assert "field 'network_data_format.outputs'" in refusal(bundle)


@pytest.mark.usefixtures("nothing_runs")
def test_the_pixel_size_of_a_bundle_is_asked_for(bundle: Path) -> None:
    write_json(bundle / "lumen.json", {"tile": 32})
    assert "lumen.json is not usable: field 'mpp': it is needed, and missing" in refusal(bundle)
    (bundle / "lumen.json").unlink()
    assert "write lumen.json into its folder with the field mpp" in refusal(bundle)


RANGE: dict[str, Any] = {
    "_target_": "ScaleIntensityRanged",
    "keys": "image",
    "a_min": 0,
    "a_max": 255,
    "b_min": 0,
    "b_max": 1,
}


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    "preprocessing",
    [
        None,
        "$some + transforms",
        {"_target_": "Compose", "transforms": "$some + transforms"},
        steps("$a transform"),  # type: ignore[arg-type]
        steps({"_target_": "ScaleIntensityd", "keys": "image"}),
        steps({"_target_": "NormalizeIntensityd", "keys": "image"}),
        steps(RANGE | {"a_max": "$128"}),
        steps(RANGE | {"a_max": 0}),
        steps(RANGE | {"a_max": 200, "clip": True}),
        steps(RANGE | {"b_max": -1}),
        steps({"_target_": "Lambdad", "keys": ["image"], "func": "$lambda x: x"}),
        steps({"_target_": "Resized", "keys": "image", "spatial_size": [16, 32]}),
        steps({"_target_": "Resized", "keys": "image", "spatial_size": "@nowhere"}),
    ],
)
def test_a_preparation_that_a_card_cannot_state_is_refused(bundle: Path, preprocessing: object) -> None:
    reconfigure(bundle, preprocessing=preprocessing)
    assert "preprocessing" in refusal(bundle)


@pytest.mark.usefixtures("nothing_runs")
def test_an_unstated_activation_is_asked_for(bundle: Path) -> None:
    reconfigure(bundle, postprocessing=None)
    assert "write the field activation" in refusal(bundle)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000])
def test_a_damaged_inference_config_is_refused(bundle: Path, content: str) -> None:
    (bundle / "configs" / "inference.json").write_text(content)
    assert "inference.json" in refusal(bundle)


def test_references_in_a_circle_end(bundle: Path) -> None:
    reconfigure(bundle, preprocessing="@a", a="@b", b="@a")
    assert "preprocessing" in refusal(bundle)


def test_a_network_that_does_not_fit_its_weights_is_refused(bundle: Path) -> None:
    weights = bundle / "models" / "model.pt"
    state = dict(unet().state_dict())
    lost = state.popitem()[0]
    torch.save(state | {"extra": torch.zeros(1)}, weights)
    assert f"1 tensors are missing (first {lost}) and 1 unexpected (first extra)" in refusal(bundle)
    reconfigure(bundle, network_def=INFERENCE["network_def"] | {"features": [8, 8, 8, 8, 8, 8]})
    torch.save(unet().state_dict(), weights)
    assert "do not fit" in refusal(bundle)
    torch.save(unet(), weights)
    assert "hold more than tensors, which could run code" in refusal(bundle)
    weights.write_bytes(b"damaged")
    assert "model.pt" in refusal(bundle)
    weights.unlink()
    assert "model.pt cannot be read" in refusal(bundle)


@pytest.mark.parametrize(
    ("network_def", "message"),
    [
        (None, "neither models/model.ts nor field 'network_def'"),
        ({"_target_": "NoSuchNetwork"}, "NoSuchNetwork"),
        ({"_target_": "BasicUNet", "planes": 3}, "planes"),
        ({"_target_": "builtins.dict"}, "field 'network_def' gives dict"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(bundle: Path, network_def: object, message: str) -> None:
    reconfigure(bundle, network_def=network_def)
    assert message in refusal(bundle)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"mean": [0.1, 0.2, 0.3]}, ((0.1, 0.2, 0.3), (1, 1, 1))),
        ({"std": [0.4, 0.5, 0.6]}, ((0, 0, 0), (0.4, 0.5, 0.6))),
    ],
)
def test_a_mean_or_a_deviation_alone_is_taken(bundle: Path, told: dict[str, Any], expected: object) -> None:
    write_json(bundle / "lumen.json", {"mpp": 0.5} | told)
    spec = read_card(bundle).input
    assert (spec.mean, spec.std) == expected


SIGMOID: dict[str, Any] = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
SOFTMAX: dict[str, Any] = {"_target_": "Activationsd", "keys": "pred", "softmax": True}


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("transforms", "activation"),
    [
        ([SIGMOID | {"keys": "aux"}, SOFTMAX], "softmax"),
        ([SOFTMAX | {"keys": ["aux", "label"]}, SIGMOID], "sigmoid"),
        ([SIGMOID | {"_disabled_": True}, SOFTMAX], "softmax"),
        (
            [{**SIGMOID, "keys": ["aux", "pred"], "sigmoid": [True, False], "softmax": [False, True]}],
            "softmax",
        ),
        ([{"_target_": "Activations", "sigmoid": True}], "sigmoid"),
    ],
)
def test_the_activation_is_that_of_the_prediction(
    bundle: Path, transforms: list[dict[str, Any]], activation: str
) -> None:
    reconfigure(bundle, postprocessing=steps(*transforms))
    assert read_card(bundle).activation == activation
