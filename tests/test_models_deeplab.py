"""DeepLabV3+: its size by hand, its pyramid, and inputs of any size."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen import ModelError
from napari_lumen.models import attention_modules, build
from napari_lumen.models.deeplabv3plus import AtrousSpatialPyramidPooling, DeepLabV3Plus


@cache
def small(**arguments: Any) -> DeepLabV3Plus:
    """A shallow network; shared by the tests, which leave it as it is."""
    torch.manual_seed(0)
    network = build("deeplabv3plus", depth=18, **arguments)
    assert isinstance(network, DeepLabV3Plus)
    return network.eval()


def normalised(inputs: int, outputs: int, taps: int = 1) -> int:
    """Weights of a bias-free convolution and its batch normalisation."""
    return inputs * outputs * taps + 2 * outputs


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize(
    ("depth", "encoder", "low", "deep"),
    [(18, 11_176_512, 64, 512), (50, 23_508_032, 256, 2048), (101, 42_500_160, 256, 2048)],
)
def test_the_weights_are_those_counted_by_hand(
    depth: int, encoder: int, low: int, deep: int, separable: bool
) -> None:
    def conv3(inputs: int) -> int:
        if separable:
            return normalised(1, inputs, 9) + normalised(inputs, 256)
        return normalised(inputs, 256, 9)

    pyramid = 2 * normalised(deep, 256) + 3 * conv3(deep) + normalised(5 * 256, 256)
    decoder = normalised(low, 48) + conv3(256 + 48) + conv3(256) + 256 * 4 + 4
    with torch.device("meta"):
        network = build("deeplabv3plus", depth=depth, separable=separable)
    assert sum(p.numel() for p in network.parameters()) == encoder + pyramid + decoder


def rates(network: DeepLabV3Plus) -> list[int]:
    return [
        m.dilation[0]
        for m in network.pyramid.modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    ]


@pytest.mark.parametrize(("stride", "expected"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_the_rates_keep_their_reach_in_the_image(stride: int, expected: list[int]) -> None:
    network = small(output_stride=stride)
    assert rates(network) == expected
    seen: list[Tensor] = []
    handle = network.pyramid.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 64, 96)).shape == (1, 4, 64, 96)
    handle.remove()
    assert seen[0].shape[-2:] == (64 // stride, 96 // stride)


def test_the_mean_of_the_image_is_joined_as_if_it_were_enlarged() -> None:
    torch.manual_seed(0)
    pyramid = AtrousSpatialPyramidPooling(16, (1, 2, 3), separable=False).eval()
    x = torch.randn(2, 16, 6, 7)
    with torch.inference_mode():
        joined = [branch(x) for branch in pyramid.branches] + [pyramid.image(x).expand(-1, -1, 6, 7)]
        expected = F.relu(pyramid.norm(pyramid.project(torch.cat(joined, dim=1))))
        torch.testing.assert_close(pyramid(x), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("separable", [True, False])
def test_every_weight_learns(separable: bool) -> None:
    network = copy.deepcopy(small(separable=separable)).train()
    logits = network(torch.randn(2, 3, 40, 52))
    F.cross_entropy(logits, torch.randint(4, (2, 40, 52))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (50, 33)])
def test_any_size_comes_back_at_that_size(size: tuple[int, int]) -> None:
    network = small()
    with torch.inference_mode():
        logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 4, *size)
    assert torch.isfinite(logits).all()


def test_bfloat16_and_channels_last_say_the_same_and_so_does_the_export() -> None:
    network, x = small(), torch.randn(1, 3, 30, 32)
    with torch.inference_mode():
        expected = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = network(x)
        other = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        last = other(x.contiguous(memory_format=torch.channels_last))
        half = other.to(torch.bfloat16)(x.bfloat16())
    exported = torch.export.export(network, (x,)).module()
    torch.testing.assert_close(last, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(exported(x), network(x), atol=1e-5, rtol=1e-5)
    for rough in (half, mixed):
        assert rough.dtype == torch.bfloat16
        assert F.cosine_similarity(rough.float().flatten(), expected.flatten(), dim=0) > 0.99


def test_it_has_one_view_and_no_attention() -> None:
    network = small()
    assert (network.task, network.view_count) == ("segmentation", 1)
    assert not list(attention_modules(network))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 20}, "depth must be one of 18, 34, 50, 101, 152, not 20"),
        ({"output_stride": 12}, "output_stride must be 8, 16 or 32, not 12"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, int], message: str) -> None:
    with torch.device("meta"), pytest.raises(ModelError, match=message):
        build("deeplabv3plus", **arguments)
