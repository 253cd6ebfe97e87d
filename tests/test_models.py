"""FocusNet++ and its loss: what the specification promises holds."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from torch import nn

from napari_lumen.models import attention_modules, build, record_attention
from napari_lumen.models.focusnetpp import ResidualGroupAttention, ScaleHead
from napari_lumen.training.losses import adaptive_logarithmic_hybrid


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def running_statistics(module: nn.Module) -> int:
    return sum(b.numel() for name, b in module.named_buffers() if "running" in name)


@pytest.mark.parametrize(
    ("preset", "trainable", "with_statistics"),
    [("table", 7_779_377, 7_808_289), ("text", 3_288_485, 3_308_037), ("light", 1_833_357, 1_847_485)],
)
def test_focusnetpp_has_the_parameters_of_its_specification(
    preset: str, trainable: int, with_statistics: int
) -> None:
    network = build("focusnetpp", preset=preset)
    assert parameters(network) == trainable
    assert parameters(network) + running_statistics(network) == with_statistics


def test_focusnetpp_keeps_running_statistics_as_keras_does_unless_told() -> None:
    for arguments, share in (({}, 0.01), ({"norm_momentum": 0.1}, 0.1)):
        network = build("focusnetpp", preset="light", **arguments).train()
        network(torch.rand(2, 3, 32, 32))
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:  # they begin at a variance of 1
            assert norm.running_var is not None
            assert bool((norm.running_var >= 1 - share - 1e-6).all())
        assert min(float(norm.running_var.min()) for norm in norms) < 1 - share / 2


@pytest.mark.parametrize(("width", "count"), [(64, 29_536), (256, 462_208)])
def test_a_block_has_the_parameters_of_its_specification(width: int, count: int) -> None:
    assert parameters(ResidualGroupAttention(width, width)) == count


@pytest.fixture(scope="module")
def light() -> nn.Module:
    torch.manual_seed(0)
    return build("focusnetpp", preset="light").eval()


@pytest.mark.parametrize("size", [(64, 64), (50, 81), (16, 16), (7, 9)])
def test_any_size_comes_back_at_that_size(light: nn.Module, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert light(torch.rand(2, 3, *size)).shape == (2, 1, *size)


def test_attention_and_gates_lie_between_0_and_1_and_all_are_recorded(light: nn.Module) -> None:
    with torch.inference_mode(), record_attention(light) as maps:
        light(torch.rand(1, 3, 64, 64))
    infos = {info.name: info for info, _ in attention_modules(light)}
    assert set(maps) == set(infos)
    kinds = [info.kind for info in infos.values()]
    assert kinds.count("channel") == 16
    assert kinds.count("spatial") == 2 * 16 + 4
    for name, value in maps.items():
        assert 0 < value.min() <= value.max() < 1, name
        assert value.ndim == (4 if infos[name].kind == "spatial" else 2), name
    assert maps["d1.0.att0"].shape == (1, 1, 64, 64)
    assert maps["bottleneck.1.att2"].shape == (1, 1, 4, 4)
    assert maps["e4.0.se"].shape == (1, 128)


def test_recording_leaves_no_hook_behind(light: nn.Module) -> None:
    with record_attention(light, "d2.0.att0") as maps:
        light(torch.rand(1, 3, 32, 32))
    assert list(maps) == ["d2.0.att0"]
    assert not any(module._forward_hooks for module in light.modules())


def test_an_unknown_map_is_named_with_those_there_are(light: nn.Module) -> None:
    with (
        pytest.raises(KeyError, match=r"no attention map named d9.*d1\.0\.att0"),
        record_attention(light, "d9"),
    ):
        pass


def test_without_attention_the_block_does_not_see_the_attended_groups() -> None:
    torch.manual_seed(1)
    block = ResidualGroupAttention(16, 16).eval()
    block.embed = nn.Identity()
    for branch in (block.att0, block.att2):
        branch[-1] = _Zero()
    x = torch.rand(1, 16, 8, 8)
    changed = x.clone()
    changed[:, 4:8] += 1  # g1
    changed[:, 12:] -= 1  # g3
    block.shortcut = _Zero()
    torch.testing.assert_close(block(x), block(changed))


def test_the_first_group_drives_the_first_attention_alone() -> None:
    torch.manual_seed(1)
    block = ResidualGroupAttention(16, 16).eval()
    block.embed = nn.Identity()
    x = torch.rand(1, 16, 8, 8)
    changed = x.clone()
    changed[:, :4] += 1
    with record_attention(block) as maps:
        block(x)
        before = dict(maps)
        block(changed)
    assert not torch.allclose(before["att0"], maps["att0"])
    torch.testing.assert_close(before["att2"], maps["att2"])


def test_head_then_nearest_equals_nearest_then_head_also_in_training() -> None:
    torch.manual_seed(2)
    head = ScaleHead(8, 4).train()
    x = torch.rand(2, 8, 6, 6)
    enlarge = nn.Upsample(scale_factor=4)
    torch.testing.assert_close(enlarge(head(x)), head(enlarge(x)), atol=1e-6, rtol=0)


def test_focusnetpp_learns_from_a_gradient_in_every_weight(light: nn.Module) -> None:
    network = build("focusnetpp", preset="light").train()
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


class _Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0


def test_the_loss_has_the_values_of_its_specification() -> None:
    ones = torch.ones(1, 1, 8, 8)
    perfect = adaptive_logarithmic_hybrid(ones * 50, ones)
    assert perfect.item() == pytest.approx(0, abs=1e-4)
    for hybrid, expected in ((0.0, 0.0), (0.1, 1.82322), (1.0, 2.72322)):
        assert _of_hybrid(hybrid) == pytest.approx(expected, abs=1e-4)
    assert _of_hybrid(0.1 - 1e-9) == pytest.approx(_of_hybrid(0.1), abs=1e-4)


def _of_hybrid(hybrid: float) -> float:
    """Value of the loss where HL is known: Tversky alone, of half the pixels, made to be 1 - HL."""
    # with no cross entropy and beta = 0.7: TL = 0.7 FN / (TP + 0.7 FN + 1), over n pixels of target 1
    n = 1_000_000.0
    missed = hybrid * (n + 1) / (0.7 + 0.3 * hybrid)  # soft false negatives that give TL = hybrid
    probability = torch.tensor(1 - missed / n, dtype=torch.float64).clamp(1e-7, 1 - 1e-7)
    logits = torch.full((1, 1, 1000, 1000), torch.logit(probability).item())
    return adaptive_logarithmic_hybrid(logits, torch.ones(1, 1, 1000, 1000), cross_entropy_share=0.0).item()


def test_a_missed_pixel_costs_more_than_a_false_one() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4, :] = 1
    sure = (target * 2 - 1) * 8
    missed, false = sure.clone(), sure.clone()
    missed[..., 0, :4] *= -1
    false[..., 7, :4] *= -1
    assert adaptive_logarithmic_hybrid(missed, target) > adaptive_logarithmic_hybrid(false, target)


def test_a_compiled_network_is_recorded_all_the_same() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    network = build("cbam_unet", width=4).eval()
    with torch.no_grad():
        with record_attention(network) as attention:
            network(image)
            wanted = dict(attention)
        compiled = torch.compile(network, backend="eager")
        compiled(image)
        inside = build("cbam_unet", width=4).eval()
        inside.load_state_dict(network.state_dict())
        inside.compile(backend="eager")
        inside(image)
        for recorded, called in ((network, compiled), (compiled, compiled), (inside, inside)):
            with record_attention(recorded) as attention:
                called(image)
            assert attention.keys() == wanted.keys()
            for name, value in wanted.items():
                torch.testing.assert_close(attention[name], value)
    torch.compiler.reset()


def test_compiled_networks_run_compiled_again_when_the_last_recording_ends() -> None:
    traced = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        traced.append(graph)
        return graph.forward

    network = build("focusnetpp", preset="light").eval()
    double = torch.compile(lambda x: 2 * x, backend=backend)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(record_attention(network))
        second.enter_context(record_attention(network))
        first.close()  # not the last that was opened, as with two threads
        double(torch.ones(2))
        assert traced == []
    double(torch.ones(2))
    assert len(traced) == 1
    torch.compiler.reset()
