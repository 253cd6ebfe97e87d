"""Attention U-Net, UNet++, R2U-Net and BCDU-Net: the networks that the papers compare theirs with."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_lumen import ModelError
from napari_lumen.models import attention_modules, build, record_attention
from napari_lumen.models.bcdunet import BCDUNet, ConvLSTM, SkipLSTM
from napari_lumen.models.monai_networks import AttentionGate
from napari_lumen.models.r2unet import RecurrentConvolution, RecurrentResidualUnit

SMALL: dict[str, Mapping[str, Any]] = {
    "attention_unet": {"preset": "slim"},
    "unetpp": {"widths": (4, 8, 16)},
    "r2unet": {"widths": (4, 8, 16)},
    "bcdunet": {"preset": "slim"},
}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def running_statistics(module: nn.Module) -> int:
    return sum(b.numel() for name, b in module.named_buffers() if "running" in name)


@pytest.fixture(scope="module", params=SMALL)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return build(request.param, **SMALL[request.param]).eval()


@pytest.mark.parametrize(
    ("name", "arguments", "weights", "statistics"),
    [
        ("attention_unet", {}, 8_915_240, 6_040),  # 8.91 million in FocusNet++'s Table 2
        ("attention_unet", {"preset": "slim"}, 2_320_817, 3_068),  # 2.32 in its Table 3
        ("unetpp", {}, 9_042_177, 0),  # 9.04
        ("unetpp", {"in_channels": 1}, 9_041_601, 0),  # as the authors' release counts
        ("r2unet", {}, 16_768_289, 17_664),
        ("bcdunet", {}, 20_659_973, 896),  # 20.66, and the 20,660,869 of the authors' release in Keras
        ("bcdunet", {"preset": "text"}, 23_370_597, 896),
        ("bcdunet", {"preset": "slim"}, 5_218_849, 440),  # 5.22
    ],
)
def test_sizes_are_those_of_the_tables(
    name: str, arguments: dict[str, Any], weights: int, statistics: int
) -> None:
    with torch.device("meta"):
        network = build(name, **arguments)
    assert parameters(network) == weights
    assert running_statistics(network) == statistics


@pytest.mark.parametrize("size", [(32, 48), (37, 50), (7, 9)])
def test_any_size_comes_back_at_that_size(network: nn.Module, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert network(torch.rand(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("name", SMALL)
def test_channels_of_input_and_output_are_those_asked_for(name: str) -> None:
    network = build(name, **SMALL[name], in_channels=1, classes=4).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 1, 32, 32)).shape == (1, 4, 32, 32)


@pytest.mark.parametrize(
    ("name", "arguments"), [*SMALL.items(), ("bcdunet", {"preset": "text", "blocks": 1})]
)
def test_a_gradient_reaches_every_weight(name: str, arguments: Mapping[str, Any]) -> None:
    torch.manual_seed(0)
    network = build(name, **arguments).train()
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None, key
        assert torch.isfinite(weight.grad).all(), key
        assert weight.grad.any(), key


def test_half_precision_and_channels_last_give_the_same_picture(network: nn.Module) -> None:
    x = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        expected = network(x)
        scale = expected.std()
        last = copy.deepcopy(network).to(memory_format=torch.channels_last)(
            x.to(memory_format=torch.channels_last)
        )
        with torch.autocast("cpu", torch.bfloat16):
            cast = network(x)
        half = copy.deepcopy(network).to(torch.bfloat16)(x.to(torch.bfloat16))
    torch.testing.assert_close(last / scale, expected / scale, atol=1e-3, rtol=1e-3)
    assert cast.dtype == half.dtype == torch.bfloat16
    for value in (cast, half):
        assert ((value - expected).abs().mean() / scale) < 0.05


def test_the_network_can_be_exported(network: nn.Module) -> None:
    x = torch.rand(1, 3, 32, 32)
    exported = torch.export.export(network, (x,)).module()
    torch.testing.assert_close(exported(x), network(x))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("attention_unet", {"preset": "huge"}, "preset must be one of table, slim, not 'huge'"),
        ("focusnetpp", {"norm_momentum": 0.0}, "norm_momentum must be above 0 and at most 1, not 0.0"),
        ("attention_unet", {"classes": 0}, "classes must be 1 or more, not 0"),
        ("unetpp", {"in_channels": 0}, "in_channels must be 1 or more, not 0"),
        ("unetpp", {"widths": (4,)}, r"widths must be two or more numbers of 1 or more, not \(4,\)"),
        ("r2unet", {"steps": 0}, "steps must be 1 or more, not 0"),
        ("r2unet", {"widths": (8, -1)}, r"widths must be two or more numbers of 1 or more, not \(8, -1\)"),
        ("bcdunet", {"preset": "huge"}, "preset must be one of table, text, slim, not 'huge'"),
        ("bcdunet", {"blocks": 0}, "blocks must be 1 or more, not 0"),
    ],
)
def test_a_wrong_argument_is_named(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(name, **arguments)


# -- Attention U-Net -----------------------------------------------------------------------------------


def test_three_gates_are_recorded_and_the_finest_skip_has_none() -> None:
    torch.manual_seed(0)
    network = build("attention_unet", preset="slim").eval()
    with torch.inference_mode(), record_attention(network) as maps:
        network(torch.rand(1, 3, 64, 50))
    assert {name: tuple(value.shape) for name, value in maps.items()} == {
        "gate4.psi": (1, 1, 4, 4),
        "gate3.psi": (1, 1, 8, 8),
        "gate2.psi": (1, 1, 16, 16),
    }
    assert all(0 < value.min() <= value.max() < 1 for value in maps.values())
    assert [(info.stage, info.kind) for info, _ in attention_modules(network)] == [
        (stage, "spatial") for stage in ("gate4", "gate3", "gate2")
    ]


def test_the_gates_are_open_when_training_begins() -> None:
    torch.manual_seed(0)
    network = build("attention_unet", preset="slim").train()
    with record_attention(network) as maps:
        network(torch.rand(2, 3, 64, 64))
    assert all(value.mean() > 0.75 for value in maps.values())


def test_a_gate_is_the_additive_attention_of_the_paper() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(4, 6).eval()
    x, g = torch.randn(1, 4, 4, 4), torch.randn(1, 6, 2, 2)
    q = torch.zeros(1, 1, 2, 2)
    projection = gate.psi[0]
    for row in range(2):
        for column in range(2):
            patch = x[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            w_x = (gate.w_x.weight * patch).sum(dim=(1, 2, 3))
            w_g = gate.w_g.weight[:, :, 0, 0] @ g[0, :, row, column] + gate.w_g.bias
            hidden = (w_x + w_g).clamp(min=0)
            q[0, 0, row, column] = projection.weight[0, :, 0, 0] @ hidden + projection.bias[0]
    alpha = F.interpolate(torch.sigmoid(q), size=(4, 4), mode="bilinear", align_corners=False)
    torch.testing.assert_close(gate(x, g), x * alpha)


def test_a_closed_gate_keeps_its_skip_from_the_decoder() -> None:
    gate = AttentionGate(4, 6)
    nn.init.constant_(gate.psi[0].bias, -1e3)
    assert not gate(torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)).any()


# -- UNet++ --------------------------------------------------------------------------------------------


def test_unetpp_is_that_of_monai_where_the_two_finest_rows_are_equally_wide() -> None:
    """Elsewhere MONAI does not halve the channels that it upsamples into the finest row."""
    from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus

    torch.manual_seed(0)
    ours = build("unetpp", widths=(4, 4, 8, 16, 32))
    theirs = BasicUNetPlusPlus(2, 3, 1, (4, 4, 8, 16, 32, 4), act="relu", norm=None)  # type: ignore[arg-type]
    state = {
        _our_name(key): value
        for key, value in theirs.state_dict().items()
        if not key.startswith(("final_conv_0_1", "final_conv_0_2", "final_conv_0_3"))  # deep supervision
    }
    ours.load_state_dict(state)
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(ours(x), theirs(x)[0])


def _our_name(key: str) -> str:
    for theirs, ours in (
        (r"^conv_(\d)_0\.", r"encoder.\1."),
        (r"^upcat_(\d_\d)\.upsample\.", r"up.\1."),
        (r"^upcat_(\d_\d)\.convs\.", r"node.\1."),
        (r"^final_conv_0_4\.", "head."),
    ):
        key = re.sub(theirs, ours, key)
    return key


def test_monai_is_not_imported_before_a_network_of_it_is_built() -> None:
    code = "import sys, napari_lumen.models.monai_networks; sys.exit('monai' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# -- R2U-Net -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_recurrent_layer_feeds_its_state_back_with_the_same_weights(steps: int) -> None:
    torch.manual_seed(0)
    layer = RecurrentConvolution(4, steps).eval()
    for norm in layer.norms:
        nn.init.normal_(norm.bias)
    x = torch.randn(1, 4, 6, 6)
    state = F.relu(layer.norms[0](layer.feed_forward(x)))
    for step in range(1, steps + 1):
        state = F.relu(layer.norms[step](layer.feed_forward(x) + layer.recurrent(state)))
    torch.testing.assert_close(layer(x), state)
    assert sum(p.numel() for p in layer.parameters() if p.ndim == 4) == 2 * 9 * 4 * 4


def test_a_unit_without_residual_passes_its_embedded_input_on() -> None:
    unit = RecurrentResidualUnit(3, 4, steps=2).eval()
    last = unit.residual[1].norms[2]
    nn.init.zeros_(last.weight)
    x = torch.randn(1, 3, 6, 6)
    torch.testing.assert_close(unit(x), unit.embed(x))


# -- BCDU-Net ------------------------------------------------------------------------------------------


def test_the_convolutional_lstm_follows_its_equations_from_a_zero_state() -> None:
    torch.manual_seed(0)
    lstm = ConvLSTM(4, 2)
    nn.init.normal_(lstm.gates.bias)
    steps = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    hidden = cell = torch.zeros(1, 2, 6, 6)
    for x in steps:
        f, i, o, g = lstm.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
    torch.testing.assert_close(lstm(*steps), hidden)


def test_one_direction_ends_with_the_encoder() -> None:
    torch.manual_seed(0)
    join = SkipLSTM(4, bidirectional=False)
    skip, up = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(join(skip, up), join.backward_lstm(up, skip))
    assert join(skip, up).shape == (1, 2, 6, 6)


def test_two_directions_are_combined_as_the_paper_says() -> None:
    torch.manual_seed(0)
    join = SkipLSTM(4, bidirectional=True)
    assert join.forward_lstm is not None
    assert join.combine is not None
    skip, up = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    ahead, back = join.forward_lstm(skip, up), join.backward_lstm(up, skip)
    w_ahead, w_back = join.combine.weight.chunk(2, dim=1)
    expected = F.conv2d(ahead, w_ahead, padding=1) + F.conv2d(back, w_back, join.combine.bias, padding=1)
    torch.testing.assert_close(join(skip, up), expected.tanh())


def test_each_dense_block_reads_all_before_it() -> None:
    with torch.device("meta"):
        network = BCDUNet(preset="slim", blocks=4)
    assert [block[0].in_channels for block in network.dense] == [124, 260, 520, 780]


def test_the_lstms_begin_by_remembering() -> None:
    network = BCDUNet(preset="slim")
    for join in network.skip:
        forget, *others = join.backward_lstm.gates.bias.chunk(4)
        assert (forget == 1).all()
        assert not torch.cat(others).any()
