"""GoogLeNet: the layout of the published weights, and the port's own choices."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_lumen import ModelError
from napari_lumen.models import attention_modules, build

# torchvision's table: inputs, 1x1, (reduce, 3x3), (reduce, third branch), pooling branch
_INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def published(classes: int = 1000) -> dict[str, Tensor]:
    """Build a state dict as torchvision publishes it, auxiliary heads included."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def conv(name: str, inputs: int, outputs: int, size: int) -> None:
        weight = torch.randn(outputs, inputs, size, size, generator=generator)
        state[f"{name}.conv.weight"] = weight * (2 / (inputs * size * size)) ** 0.5
        state[f"{name}.bn.weight"] = torch.rand(outputs, generator=generator) + 0.5
        state[f"{name}.bn.bias"] = torch.zeros(outputs)
        state[f"{name}.bn.running_mean"] = torch.zeros(outputs)
        state[f"{name}.bn.running_var"] = torch.ones(outputs)
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(0)

    def linear(name: str, inputs: int, outputs: int) -> None:
        state[f"{name}.weight"] = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        state[f"{name}.bias"] = torch.zeros(outputs)

    conv("conv1", 3, 64, 7)
    conv("conv2", 64, 64, 1)
    conv("conv3", 64, 192, 3)
    for name, (inputs, one, reduce2, three, reduce3, third, pool) in _INCEPTIONS.items():
        conv(f"inception{name}.branch1", inputs, one, 1)
        conv(f"inception{name}.branch2.0", inputs, reduce2, 1)
        conv(f"inception{name}.branch2.1", reduce2, three, 3)
        conv(f"inception{name}.branch3.0", inputs, reduce3, 1)
        conv(f"inception{name}.branch3.1", reduce3, third, 3)
        conv(f"inception{name}.branch4.1", inputs, pool, 1)
    for name, inputs in (("aux1", 512), ("aux2", 528)):
        conv(f"{name}.conv", inputs, 128, 1)
        linear(f"{name}.fc1", 2048, 1024)
        linear(f"{name}.fc2", 1024, classes)
    linear("fc", 1024, classes)
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "googlenet.safetensors"
    save_file(published(), path)
    return path


@pytest.fixture(scope="module")
def encoder() -> nn.Module:
    torch.manual_seed(0)
    return build("googlenet").eval()


@pytest.mark.parametrize(
    ("arguments", "count", "entries"),
    [
        ({"classes": 1000}, 6_624_904, 344),
        ({"classes": 1000, "aux": True}, 13_004_888, 364),
        ({}, 5_599_904, 342),
    ],
)
def test_it_has_the_parameters_and_entries_of_the_specification(
    arguments: dict[str, int], count: int, entries: int
) -> None:
    with torch.device("meta"):
        network = build("googlenet", **arguments)
    assert sum(p.numel() for p in network.parameters()) == count
    assert len(network.state_dict()) == entries


def test_the_published_layout_is_its_own() -> None:
    with torch.device("meta"):
        own = build("googlenet", classes=1000, aux=True).state_dict()
    layout = published()
    assert len(layout) == 364
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in layout.items()}


def test_of_published_weights_exactly_the_heads_are_left_out(weights: Path) -> None:
    network = build("googlenet", pretrained=weights)
    report = network.pretrained
    heads = {key for key in published() if key.startswith(("aux", "fc."))}
    assert len(heads) == 22
    assert set(report.left_out) == heads
    assert (report.loaded, report.missing, report.unexpected) == (342, (), ())
    torch.testing.assert_close(
        network.get_parameter("inception5b.branch3.1.conv.weight"),
        published()["inception5b.branch3.1.conv.weight"],
    )


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        ({"classes": 1000, "aux": True}, set()),
        ({"classes": 2}, {"fc.weight", "fc.bias"}),
        (
            {"classes": 2, "aux": True},
            {f"{head}.{kind}" for head in ("fc", "aux1.fc2", "aux2.fc2") for kind in ("weight", "bias")},
        ),
    ],
)
def test_layers_of_other_classes_stay_random(
    weights: Path, arguments: dict[str, int], left_out: set[str]
) -> None:
    report = build("googlenet", pretrained=weights, **arguments).pretrained
    if not arguments.get("aux"):
        left_out = left_out | {key for key in published() if key.startswith("aux")}
    assert set(report.left_out) == left_out
    assert report.loaded == 364 - len(left_out)
    assert not report.missing


def test_poolings_round_up(encoder: nn.Module) -> None:
    sides = {}
    hooks = [
        encoder.get_submodule(name).register_forward_hook(
            lambda _module, _args, output, name=name: sides.update({name: output.shape[-1]})
        )
        for name in ("maxpool1", "maxpool2", "maxpool3", "maxpool4")
    ]
    with torch.inference_mode():
        encoder(torch.rand(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    assert sides == {"maxpool1": 56, "maxpool2": 28, "maxpool3": 14, "maxpool4": 7}


def test_an_image_normalised_for_imagenet_is_brought_to_minus_1_to_1(encoder: nn.Module) -> None:
    transforming = build("googlenet", transform_input=True).eval()
    transforming.load_state_dict(encoder.state_dict())
    transforming.double()
    plain = copy.deepcopy(encoder).double()
    image = torch.rand(1, 3, 40, 40, dtype=torch.float64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (image - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.inference_mode():
        wanted = plain(image * 2 - 1)
        # the constants are rounded to float32 when the network is built
        assert (transforming(normalised) - wanted).norm() < 1e-6 * wanted.norm()
        assert (plain(normalised) - wanted).norm() > 0.1 * wanted.norm()


def test_without_classes_it_is_an_encoder(encoder: nn.Module) -> None:
    with torch.inference_mode():
        vector = encoder(torch.rand(2, 3, 64, 64))
    assert vector.shape == (2, 1024)
    assert vector.min() >= 0


@pytest.mark.parametrize("size", [(1, 1), (14, 40), (15, 15), (16, 31), (57, 33)])
def test_any_size_is_classified(size: tuple[int, int]) -> None:
    network = build("googlenet", classes=3).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 3, *size)).shape == (2, 3)


def test_auxiliary_heads_learn_with_the_network() -> None:
    torch.manual_seed(0)
    network = build("googlenet", classes=3, aux=True)
    x = torch.rand(2, 3, 48, 48)
    with torch.inference_mode():
        logits, first, second = network.eval().auxiliary_logits(x)
        torch.testing.assert_close(logits, network(x))
    assert first.shape == second.shape == (2, 3)
    sum(head.square().mean() for head in network.train().auxiliary_logits(x)).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    with pytest.raises(ModelError, match="build it with aux=True"):
        build("googlenet", classes=3).auxiliary_logits(x)


def test_a_gradient_reaches_every_weight_without_them() -> None:
    network = build("googlenet", classes=2).train()
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    missing = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert missing == []


def test_the_last_layer_drops_out_in_training_alone() -> None:
    torch.manual_seed(0)
    network = build("googlenet", classes=2)
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        network.eval()
        torch.testing.assert_close(network(x), network(x))
        network.get_submodule("dropout").train()
        assert len({network(x)[0, 0].item() for _ in range(4)}) > 1


def test_half_precision_and_channels_last_give_the_same(encoder: nn.Module) -> None:
    x = torch.rand(2, 3, 48, 48)
    with torch.inference_mode():
        wanted = encoder(x)
        last = encoder(x.contiguous(memory_format=torch.channels_last))
        got = copy.deepcopy(encoder).to(torch.bfloat16)(x.bfloat16())
    assert (last - wanted).norm() < 1e-5 * wanted.norm()
    assert got.dtype == torch.bfloat16
    assert (got.float() - wanted).norm() < 0.1 * wanted.norm()


def test_it_is_exported_for_a_fixed_size(encoder: nn.Module) -> None:
    x = torch.rand(1, 3, 32, 32)
    exported = torch.export.export(encoder, (x,)).module()
    torch.testing.assert_close(exported(x), encoder(x))


def test_it_has_no_attention_and_one_view(encoder: nn.Module) -> None:
    assert list(attention_modules(encoder)) == []
    assert (encoder.task, encoder.view_count) == ("classification", 1)


def test_a_wrong_argument_gives_one_sentence() -> None:
    with pytest.raises(ModelError, match="aux needs classes"):
        build("googlenet", aux=True)
    with pytest.raises(ModelError, match="classes must be 1 or more, not 0"):
        build("googlenet", classes=0)
