"""U-Net: the weights of the specification, any size, and what it sees beyond an edge."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_lumen import ModelError
from napari_lumen.models import attention_modules, build


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"inputs": 16, "classes": 2}, 31_045_186),
        ({"inputs": 16, "classes": 2, "norm": False}, 31_039_298),
        ({"inputs": 16, "classes": 2, "width": 32}, 7_766_818),
        ({"inputs": 16, "classes": 2, "width": 16}, 1_944_466),
        ({"inputs": 3, "classes": 2}, 31_037_698),
        ({"inputs": 1024, "classes": 2}, 31_625_794),
    ],
)
def test_it_has_the_parameters_of_the_specification(arguments: dict[str, int], count: int) -> None:
    with torch.device("meta"):
        assert parameters(build("unet", **arguments)) == count


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(0)
    return build("unet", width=4).eval()


@pytest.mark.parametrize("size", [(32, 48), (50, 81), (16, 16), (7, 9), (1, 1)])
def test_any_size_comes_back_at_that_size(small: nn.Module, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert small(torch.rand(2, 3, *size)).shape == (2, 1, *size)


def test_the_number_of_levels_sets_what_sizes_need_no_padding() -> None:
    shallow = build("unet", width=4, levels=2).eval()
    assert parameters(shallow) < parameters(build("unet", width=4, levels=3))
    sizes = []
    shallow.get_submodule("bottleneck").register_forward_hook(
        lambda _module, _args, output: sizes.append(output.shape)
    )
    shallow(torch.rand(1, 3, 12, 20))
    assert sizes == [(1, 16, 3, 5)]


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_an_image_is_continued_by_its_reflection_and_a_map_by_zeros(padding: str) -> None:
    torch.manual_seed(0)
    network = build("unet", width=4, padding=padding).eval()
    x = torch.rand(1, 3, 20, 28)
    by_hand = F.pad(x, (0, 4, 0, 12), mode="reflect" if padding == "reflect" else "constant")
    torch.testing.assert_close(network(x), network(by_hand)[..., :20, :28])
    other = F.pad(x, (0, 4, 0, 12), mode="constant" if padding == "reflect" else "reflect")
    assert not torch.allclose(network(x), network(other)[..., :20, :28])


@pytest.mark.parametrize("norm", [True, False])
def test_a_gradient_reaches_every_weight(norm: bool) -> None:
    network = build("unet", width=4, classes=2, norm=norm).train()
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


def test_half_precision_and_channels_last_give_the_same(small: nn.Module) -> None:
    x = torch.rand(1, 3, 40, 40)
    with torch.inference_mode():
        wanted = small(x)
        torch.testing.assert_close(
            small(x.contiguous(memory_format=torch.channels_last)), wanted, atol=1e-5, rtol=1e-4
        )
        with torch.autocast("cpu", torch.bfloat16):
            cast = small(x)
        whole = copy.deepcopy(small).to(torch.bfloat16)(x.bfloat16())
    assert cast.dtype == whole.dtype == torch.bfloat16
    spread = wanted.std()
    assert (cast.float() - wanted).abs().mean() < 0.1 * spread
    assert (whole.float() - wanted).abs().mean() < 0.1 * spread


def test_it_is_exported_for_a_fixed_size(small: nn.Module) -> None:
    x = torch.rand(1, 3, 20, 36)
    exported = torch.export.export(small, (x,)).module()
    torch.testing.assert_close(exported(x), small(x))


def test_it_has_no_attention_and_one_view(small: nn.Module) -> None:
    assert list(attention_modules(small)) == []
    assert (small.task, small.view_count) == ("segmentation", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": "mirror"}, "padding must be reflect or zero, not 'mirror'"),
        ({"width": 0}, "width must be 1 or more, not 0"),
        ({"classes": 0}, "classes must be 1 or more"),
        ({"levels": 0}, "levels must be 1 or more"),
        ({"inputs": -1}, "inputs must be 1 or more"),
    ],
)
def test_a_wrong_argument_gives_one_sentence(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build("unet", **arguments)


def test_one_input_of_the_smallest_size_cannot_be_trained_on() -> None:
    network = build("unet", width=4).train()
    with pytest.raises(ValueError, match="one with a side above 16, not one of 9 x 16"):
        network(torch.rand(1, 3, 9, 16))
    assert network(torch.rand(1, 3, 17, 16)).shape == (1, 1, 17, 16)
    assert build("unet", width=4, norm=False).train()(torch.rand(1, 3, 16, 16)).shape == (1, 1, 16, 16)
