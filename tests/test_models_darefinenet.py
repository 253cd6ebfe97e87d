"""DA-RefineNet: the sizes of its tables, and what each fusion lets the context do."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from napari_lumen import ModelError
from napari_lumen.models import attention_modules, build, record_attention
from napari_lumen.models.darefinenet import DARefineNet
from napari_lumen.models.refine_blocks import (
    ChainedResidualPooling,
    ChannelGate,
    ConcatFusion,
    ResidualConvUnit,
    SimpleResidualBlock,
    to_grid_of,
)

LEVELS = (4, 3, 2, 1)


@cache
def small(**arguments: Any) -> DARefineNet:
    """A shallow network; shared by the tests, which leave it as it is."""
    torch.manual_seed(0)
    network = build("darefinenet", depth=18, context_depth=18, **arguments)
    assert isinstance(network, DARefineNet)
    return network.eval()


def views(height: int = 32, width: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    fine, context = torch.randn(2, 1, 3, height, width, generator=generator)
    return fine, context


def example(network: DARefineNet, height: int = 32, width: int = 32) -> Any:
    both = views(height, width)
    return both if network.view_count == 2 else both[0]


@pytest.fixture
def dual() -> DARefineNet:
    return small()


# -- sizes ---------------------------------------------------------------------------------------------


def size_of(**arguments: Any) -> tuple[int, float]:
    """Parameters, and megabytes with the running statistics of batch normalisation."""
    with torch.device("meta"):
        network = build("darefinenet", **arguments)
    parameters = sum(p.numel() for p in network.parameters())
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    return parameters, round((parameters + statistics) * 4 / 1e6, 1)


@pytest.mark.parametrize(
    ("arguments", "parameters", "megabytes"),
    [
        ({"depth": 50, "fusion": "add"}, 110_145_412, 441.0),
        ({"depth": 101, "fusion": "add"}, 129_137_540, 517.2),
        ({"depth": 152, "fusion": "add"}, 144_781_188, 579.9),
        ({"depth": 50, "fusion": "attention"}, 111_259_524, 445.5),
        ({"depth": 50, "fusion": "concat"}, 111_259_524, 445.5),
        ({"depth": 50, "fusion": "add", "variant": "multi_size"}, 110_145_412, 441.0),
        ({"depth": 152, "light": True}, 87_428_228, 350.5),
        ({"depth": 152, "light": True, "variant": "single"}, 61_790_276, 247.8),
        ({"depth": 50, "variant": "single"}, 84_341_060, 337.6),
        ({"depth": 101, "variant": "single"}, 103_333_188, 413.8),
        ({"depth": 152, "variant": "single"}, 118_976_836, 476.5),
    ],
)
def test_every_row_of_the_tables_has_its_size(
    arguments: dict[str, Any], parameters: int, megabytes: float
) -> None:
    assert size_of(**arguments) == (parameters, megabytes)


@pytest.mark.parametrize(
    ("arguments", "decoder"),
    [({"fusion": "add"}, 63_129_348), ({"fusion": "attention"}, 64_243_460)],
)
def test_the_weights_are_those_of_two_encoders_and_a_decoder(arguments: dict[str, Any], decoder: int) -> None:
    with torch.device("meta"):
        network = build("darefinenet", **arguments)
    groups = [list(network.encoder_parameters()), list(network.decoder_parameters())]
    assert [sum(p.numel() for p in group) for group in groups] == [2 * 23_508_032, decoder]
    assert {id(p) for group in groups for p in group} == {id(p) for p in network.parameters()}
    assert sum(len(group) for group in groups) == len(list(network.parameters()))


def test_the_hidden_layer_of_the_release_is_one_more_matrix_a_gate() -> None:
    hidden, _ = size_of(gate_hidden=True)
    assert hidden - 111_259_524 == 512**2 + 3 * 256**2


def test_the_encoders_share_no_tensor(dual: DARefineNet) -> None:
    assert dual.context_encoder is not None
    first, second = (
        {p.data_ptr() for p in (*encoder.parameters(), *encoder.buffers())}
        for encoder in (dual.encoder, dual.context_encoder)
    )
    assert not first & second


# -- blocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [ResidualConvUnit(8), ChainedResidualPooling(8)])
def test_rcu_and_crp_without_weights_change_nothing(block: nn.Module) -> None:
    x = torch.randn(2, 8, 7, 9)
    assert not torch.equal(block(x), x)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(block(x), x, atol=0, rtol=0)


def test_a_chain_of_four_poolings_reaches_eight_pixels() -> None:
    block = ChainedResidualPooling(1)
    for parameter in block.parameters():
        nn.init.ones_(parameter)
    x = torch.zeros(1, 1, 1, 21)
    x[..., 10] = 1
    stages = [(torch.arange(21) - 10).abs() <= 2 * stage for stage in range(5)]
    torch.testing.assert_close(block(x)[0, 0, 0], torch.stack(stages).sum(dim=0).float())


def test_the_simple_residual_block_is_not_linear() -> None:
    torch.manual_seed(0)
    block = SimpleResidualBlock(8, 4, 8)
    x = torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(block(2 * x), 2 * block(x))  # no bias anywhere
    assert not torch.allclose(block(-x), -block(x), atol=1e-3)


def test_the_gate_averages_before_it_convolves_and_that_is_the_same() -> None:
    torch.manual_seed(0)
    gate = ChannelGate(3, 8)
    maps = [torch.randn(2, 8, 9, 11) for _ in range(3)]
    (weight,) = gate.parameters()
    convolved = F.conv2d(torch.cat(maps, dim=1), weight[:, :, None, None])
    expected = torch.sigmoid(F.adaptive_avg_pool2d(convolved, 1).flatten(1))
    torch.testing.assert_close(gate(*maps), expected, atol=1e-6, rtol=0)


def test_concat_projects_before_it_enlarges_and_that_is_the_same() -> None:
    torch.manual_seed(0)
    fusion = ConcatFusion(3, 8)
    fine, context, decoded = torch.randn(2, 8, 9, 11), torch.randn(2, 8, 7, 7), torch.randn(2, 8, 5, 6)
    joined = torch.cat([fine, to_grid_of(fine, context), to_grid_of(fine, decoded)], dim=1)
    expected = F.relu(fusion.project(joined))
    torch.testing.assert_close(fusion(fine, context, decoded), expected, atol=1e-6, rtol=0)


# -- fusion --------------------------------------------------------------------------------------------


@contextmanager
def seen_in(network: DARefineNet) -> Iterator[dict[str, Tensor]]:
    """Fill a dictionary with A', B', X (on the grid of A') and Y of every level: ``a4``, ``b4``, ``y4``..."""
    seen: dict[str, Tensor] = {}
    handles = []

    def watch(name: str, module: str) -> None:
        handles.append(
            network.get_submodule(module).register_forward_hook(
                lambda _, __, output: seen.update({name: output.clone()})
            )
        )

    def watch_fused(level: int) -> None:
        refine = network.get_submodule(f"refine_{level}")
        handles.append(
            refine.register_forward_pre_hook(lambda _, args: seen.update({f"y{level}": args[0].clone()}))
        )

    for level in LEVELS:
        watch(f"a{level}", f"adapt_{level}")
        if network.context_encoder is not None:
            watch(f"b{level}", f"adapt_context_{level}")
        watch(f"x{level - 1}", f"refine_{level}")
        watch_fused(level)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
    for level in (3, 2, 1):
        size = seen[f"a{level}"].shape[-2:]
        seen[f"x{level}"] = F.interpolate(seen[f"x{level}"], size=size, mode="bilinear", align_corners=True)


def test_attention_scales_the_fine_features_and_adds_the_decoded(dual: DARefineNet) -> None:
    with torch.inference_mode(), record_attention(dual) as attention, seen_in(dual) as seen:
        dual(views())
    seen["x4"] = seen["a4"]  # nothing was decoded before
    for level in LEVELS:
        scaled = seen[f"a{level}"] * attention[f"gate_{level}"][:, :, None, None]
        torch.testing.assert_close(seen[f"y{level}"], scaled + seen[f"x{level}"])
        proxy = scaled.abs().mean(dim=1, keepdim=True)
        torch.testing.assert_close(attention[f"refined_{level}"], proxy)


def test_a_gate_without_weights_lets_half_through(dual: DARefineNet) -> None:
    network = copy.deepcopy(dual)
    for level in LEVELS:
        for parameter in network.get_submodule(f"gate_{level}").parameters():
            nn.init.zeros_(parameter)
    with torch.inference_mode(), record_attention(network) as attention, seen_in(network) as seen:
        network(views())
    seen["x4"] = seen["a4"]
    for level in LEVELS:
        assert torch.all(attention[f"gate_{level}"] == 0.5)
        expected = 0.5 * seen[f"a{level}"] + seen[f"x{level}"]
        torch.testing.assert_close(seen[f"y{level}"], expected)


def test_add_is_the_plain_sum() -> None:
    network = small(fusion="add")
    with torch.inference_mode(), seen_in(network) as seen:
        network(views())
    torch.testing.assert_close(seen["y4"], seen["a4"] + seen["b4"])
    for level in (3, 2, 1):
        expected = seen[f"a{level}"] + seen[f"b{level}"] + seen[f"x{level}"]
        torch.testing.assert_close(seen[f"y{level}"], expected)
        assert expected.min() < 0  # a ReLU would show


def test_the_single_input_network_is_refinenet_with_a_relu_after_the_sum() -> None:
    network = small(variant="single")
    with torch.inference_mode(), seen_in(network) as seen:
        network(views()[0])
    torch.testing.assert_close(seen["y4"], seen["a4"])
    for level in (3, 2, 1):
        torch.testing.assert_close(seen[f"y{level}"], F.relu(seen[f"a{level}"] + seen[f"x{level}"]))


def test_the_coarsest_level_of_a_single_input_has_nothing_to_fuse() -> None:
    network = small(variant="single", light=True)
    with torch.inference_mode(), seen_in(network) as seen:
        network(views()[0])
    torch.testing.assert_close(seen["y4"], seen["a4"])
    assert not torch.allclose(seen["y3"], seen["a3"])


@pytest.mark.parametrize(("fusion", "sees"), [("attention", False), ("concat", True), ("add", True)])
def test_only_attention_is_blind_to_where_the_context_is(fusion: str, sees: bool) -> None:
    network = small(fusion=fusion)
    images = views(64, 64)
    with torch.inference_mode():
        before = network(images)
        handles = [
            network.get_submodule(f"adapt_context_{level}").register_forward_hook(
                lambda _, __, b: b.flatten(2).roll(1, dims=2).flip(2).view_as(b)
            )
            for level in LEVELS
        ]
        after = network(images)
    for handle in handles:
        handle.remove()
    assert torch.allclose(before, after, atol=1e-4) is not sees


@pytest.mark.parametrize("fusion", ["attention", "concat", "add"])
def test_the_context_matters(fusion: str) -> None:
    network = small(fusion=fusion)
    fine, context = views()
    with torch.inference_mode():
        assert not torch.allclose(network((fine, context)), network((fine, context + 1)), atol=1e-3)


def test_multi_size_is_the_dual_network_that_sees_one_content_twice(dual: DARefineNet) -> None:
    control = copy.deepcopy(small(variant="multi_size"))
    control.load_state_dict(dual.state_dict())
    fine, context = views()
    with torch.inference_mode():
        torch.testing.assert_close(control(fine), dual((fine, fine)))
        torch.testing.assert_close(control((fine, context)), dual((fine, context)))


# -- what is recorded ----------------------------------------------------------------------------------


def test_every_level_shows_its_gate_and_where_the_gated_features_are(dual: DARefineNet) -> None:
    with torch.inference_mode(), record_attention(dual) as attention:
        dual(views(64, 64))
    infos = {info.name: info for info, _ in attention_modules(dual)}
    assert set(attention) == set(infos)
    assert set(infos) == {f"{name}_{level}" for name in ("gate", "refined") for level in LEVELS}
    for level in LEVELS:
        gate, refined = attention[f"gate_{level}"], attention[f"refined_{level}"]
        assert 0 < gate.min() < gate.max() < 1
        assert 0 <= refined.min() < refined.max()
        info = infos[f"gate_{level}"]
        assert (info.kind, info.display, info.value_range) == ("channel", "strip", (0.0, 1.0))
        info = infos[f"refined_{level}"]
        assert (info.kind, info.display, info.value_range) == ("spatial", "min-max", (0.0, math.inf))


def test_the_papers_tile_is_not_padded_and_its_levels_have_the_papers_sizes() -> None:
    with torch.device("meta"):
        network = build("darefinenet").eval()
        images = (torch.empty(2, 3, 500, 500), torch.empty(2, 3, 500, 500))
    with torch.no_grad(), record_attention(network) as attention:
        assert network(images).shape == (2, 4, 500, 500)
    for level, side, width in ((4, 16, 512), (3, 32, 256), (2, 63, 256), (1, 125, 256)):
        assert attention[f"refined_{level}"].shape == (2, 1, side, side)
        assert attention[f"gate_{level}"].shape == (2, width)


def test_a_gate_is_recorded_with_the_features_that_it_scales(dual: DARefineNet) -> None:
    with (
        torch.inference_mode(),
        record_attention(dual, "gate_2", features=True) as attention,
        seen_in(dual) as seen,
    ):
        dual(views())
    torch.testing.assert_close(attention["gate_2.features"], seen["a2"])


@pytest.mark.parametrize(
    ("arguments", "levels"),
    [
        ({"variant": "single", "light": True}, (3, 2, 1)),
        ({"light": True}, LEVELS),
        ({"gate_hidden": True}, LEVELS),
        ({"variant": "single"}, ()),
        ({"fusion": "concat"}, ()),
    ],
)
def test_only_networks_with_gates_record(arguments: dict[str, Any], levels: tuple[int, ...]) -> None:
    network = small(**arguments)
    with torch.inference_mode(), record_attention(network) as attention:
        network(example(network))
    assert set(attention) == {f"{name}_{level}" for name in ("gate", "refined") for level in levels}


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count what torch is asked to compute."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_nothing_is_computed_for_display_unless_recorded(dual: DARefineNet) -> None:
    def operations() -> int:
        with torch.no_grad(), Operations() as seen:
            dual(views())
        return seen.count

    plain = operations()
    with record_attention(dual, "refined_2"):
        assert operations() > plain
    bare = copy.deepcopy(dual)
    for level in LEVELS:
        setattr(bare, f"refined_{level}", nn.Identity())
    with torch.no_grad(), Operations() as unmarked:
        bare(views())
    assert operations() == plain == unmarked.count


# -- inputs --------------------------------------------------------------------------------------------

EVERY_KIND = [
    {},
    {"fusion": "concat"},
    {"fusion": "add"},
    {"light": True},
    {"gate_hidden": True},
    {"variant": "single"},
    {"variant": "single", "light": True},
    {"variant": "multi_size"},
]


@pytest.mark.parametrize("arguments", EVERY_KIND)
def test_every_weight_learns(arguments: dict[str, Any]) -> None:
    network = copy.deepcopy(small(**arguments))
    network(example(network, 40, 36)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (50, 33)])
@pytest.mark.parametrize("fusion", ["attention", "concat", "add"])
def test_any_size_comes_back_and_the_context_may_have_another(fusion: str, size: tuple[int, int]) -> None:
    network = small(fusion=fusion)
    with torch.inference_mode():
        logits = network((torch.randn(2, 3, *size), torch.randn(2, 3, 35, 20)))
    assert logits.shape == (2, 4, *size)
    assert torch.isfinite(logits).all()


def test_bfloat16_and_channels_last_say_the_same(dual: DARefineNet) -> None:
    images = views()
    other = copy.deepcopy(dual).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.inference_mode():
        expected = dual(images)
        last = other(tuple(x.contiguous(memory_format=torch.channels_last) for x in images))
        half = other.to(torch.bfloat16)(tuple(x.bfloat16() for x in images))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = dual(images)
    torch.testing.assert_close(last, expected, atol=1e-3, rtol=1e-3)
    for rough in (half, mixed):
        assert rough.dtype == torch.bfloat16
        assert F.cosine_similarity(rough.float().flatten(), expected.flatten(), dim=0) > 0.99


def test_an_exported_network_answers_as_before(dual: DARefineNet) -> None:
    images = views(30, 32)
    exported = torch.export.export(dual, (images,)).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(images), dual(images), atol=1e-5, rtol=1e-5)


def test_dropout_is_where_the_paper_has_it(dual: DARefineNet) -> None:
    dropped = []
    handle = dual.dropout.register_forward_hook(lambda _, __, output: dropped.append(output.shape[1]))
    with torch.inference_mode():
        dual(views())
    handle.remove()
    assert dual.dropout.p == 0.5
    assert dropped == [256, 512, 256, 512, 64]  # levels 3 and 4 of both encoders, before the last conv


# -- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "triple"}, "variant must be one of dual, single, multi_size, not 'triple'"),
        ({"fusion": "mean"}, "fusion must be one of attention, concat, add, not 'mean'"),
        ({"depth": 20}, "depth must be one of 18, 34, 50, 101, 152, not 20"),
        ({"context_depth": 101}, "context_depth must be 50 or 18, not 101"),
        ({"variant": "single", "context_pretrained": "a.pt"}, "context_pretrained has no encoder"),
        ({"fusion": "add", "gate_hidden": True}, "gate_hidden needs fusion 'attention'; 'add' has no gate"),
        ({"variant": "single", "gate_hidden": True}, "gate_hidden needs fusion 'attention'"),
    ],
)
def test_arguments_that_do_not_go_together_are_named(arguments: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ModelError, match=message):
        build("darefinenet", **arguments)


def test_the_wrong_number_of_views_is_said(dual: DARefineNet) -> None:
    with pytest.raises(ValueError, match=r"takes two views, \(fine, context\), not one image"):
        dual(torch.rand(2, 3, 32, 32))  # two images must not pass for two views
    with pytest.raises(ValueError, match="takes one image, not 2 views"):
        small(variant="single")(views())


def test_views_that_do_not_belong_together_are_named() -> None:
    network = build("darefinenet", depth=18, context_depth=18).eval()
    image = torch.rand(2, 3, 64, 64)
    with pytest.raises(ValueError, match="each fine view needs its context, not 1 of them for 2"):
        network((image, image[:1]))
    with pytest.raises(ValueError, match="two views"):
        network((image, image, image))
