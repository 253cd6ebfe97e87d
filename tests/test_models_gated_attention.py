"""Gated attention: the maps, the gates, the instances and what is fused, against the paper's equations."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen import ModelError
from napari_lumen.models import attention_modules, build, record_attention
from napari_lumen.models import gated_attention as gated_module
from napari_lumen.models.gated_attention import (
    ChannelGate,
    GatedAttention,
    SemanticMap,
    SpatialSoftmax,
    gated_channels,
)
from napari_lumen.models.instances import InstanceSelection, crop_instances, resize
from napari_lumen.models.resnet import ResNet
from napari_lumen.models.rival_attentions import RIVALS, SqueezeExcitationAttention

MODULES = ("gated", *RIVALS)
TRUNK_18, TRUNK_50 = 11_176_512, 23_508_032


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def small(module: str = "gated", **changes: object) -> GatedAttention:
    torch.manual_seed(0)
    arguments = {"local_depth": 18, "global_size": 96, "local_size": 64, "dilated_width": 16} | changes
    network = build("gated_attention", module=module, **arguments)
    assert isinstance(network, GatedAttention)
    return network


@pytest.fixture(scope="module")
def network() -> GatedAttention:
    return small().eval()


@pytest.fixture(scope="module", params=MODULES)
def each(request: pytest.FixtureRequest) -> GatedAttention:
    return small(request.param).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 3, 70, 130)


# -- counts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "total"), [(4, 39_442_056), (5, 39_451_274)])
def test_it_has_the_parameters_of_its_specification(classes: int, total: int) -> None:
    with torch.device("meta"):
        network = build("gated_attention", classes=classes)
    assert parameters(network) == total
    if classes == 4:
        counts = {name: parameters(child) for name, child in network.named_children() if parameters(child)}
        assert counts == {
            "global_network": TRUNK_18,
            "semantic": 4_720_640,
            "local_network": TRUNK_50,
            "global_head": 2_052,
            "fused_head": 34_820,
        }


def test_narrow_dilated_blocks_have_a_quarter_of_the_weights() -> None:
    with torch.device("meta"):
        assert parameters(SemanticMap(512, 128)) == 1_180_160


@pytest.mark.parametrize(
    ("module", "count"),
    [
        ("spatial", 3 * (512 * 256 + 256) + 256 * 512 + 2 * 512),
        ("channel", 0),
        ("dual", 3 * (512 * 512 + 512) + 2),
        ("se", 2 * 512 * 32),
        ("global_context", 513 + (512 * 32 + 32) + 2 * 32 + (32 * 512 + 512)),
        ("none", 0),
    ],
)
def test_a_rival_changes_the_module_alone(module: str, count: int) -> None:
    with torch.device("meta"):
        network = build("gated_attention", module=module)
    assert parameters(network) == TRUNK_18 + TRUNK_50 + 2_052 + 34_820 + count


# -- equations 1 and 2 ---------------------------------------------------------------------------------


def test_the_semantic_map_is_a_softmax_over_the_positions() -> None:
    torch.manual_seed(0)
    m = torch.randn(3, 1, 7, 7) * 20
    s = SpatialSoftmax()(m)
    torch.testing.assert_close(s.sum(dim=(1, 2, 3)), torch.ones(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(SpatialSoftmax()(m + 100), s, atol=1e-5, rtol=0)
    huge = torch.zeros(1, 1, 7, 7)
    huge[..., 3, 3] = 1e4
    torch.testing.assert_close(SpatialSoftmax()(huge), huge / 1e4)


def test_at_the_start_the_semantic_map_is_neither_one_hot_nor_uniform() -> None:
    torch.manual_seed(0)
    semantic = SemanticMap(512, 512)
    for name, weight in semantic.named_parameters():
        if name.endswith("1.weight"):
            assert torch.equal(weight, torch.full((512,), 1 / 32))
    x = torch.randn(4, 512, 7, 7).relu()
    with torch.no_grad():
        m = semantic.train()(x)
    assert m.min() >= 0
    peak = SpatialSoftmax()(m).amax(dim=(1, 2, 3))
    assert (peak > 1.5 / 49).all()
    assert (peak < 0.5).all()


def test_m_is_the_sum_over_all_channels_of_both_blocks() -> None:
    torch.manual_seed(0)
    semantic = SemanticMap(8, 4).eval()
    x = torch.rand(2, 8, 7, 7)
    joined = torch.cat([block(x) for block in semantic.blocks], dim=1)
    torch.testing.assert_close(semantic(x), joined.sum(dim=1, keepdim=True))
    assert [block[0].dilation for block in semantic.blocks] == [(2, 2), (4, 4)]


def test_a_gate_is_the_overlap_of_its_channel_with_the_semantic_map() -> None:
    torch.manual_seed(0)
    gate = ChannelGate()
    x = torch.rand(2, 6, 7, 7)
    s = SpatialSoftmax()(torch.randn(2, 1, 7, 7))
    s[..., 3:, :] = 0
    x[:, 2, :3] = 0  # zero wherever S is not
    g = gate(x, s)
    torch.testing.assert_close(g, torch.tanh((x * s).sum(dim=(2, 3))))
    assert (g[:, 2] == 0).all()
    assert g.min() >= 0
    assert g.max() < 1
    assert (gate(x + s, s) >= g).all()


def test_channels_that_oppose_the_semantic_map_are_shut() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 64, 7, 7)
    s = SpatialSoftmax()(torch.randn(1, 1, 7, 7))
    g = ChannelGate()(x, s)
    opposed = (x * s).sum(dim=(2, 3)) < 0
    assert 0 < opposed.sum() < 64
    assert torch.equal(g == 0, opposed)


def test_under_a_uniform_map_a_gate_measures_the_channel_mean() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 6, 7, 7)
    g = ChannelGate()(x, SpatialSoftmax()(torch.full((2, 1, 7, 7), 3.0)))
    torch.testing.assert_close(torch.atanh(g), x.mean(dim=(2, 3)))


def test_the_order_of_channels_does_not_matter(network: GatedAttention) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 512, 3, 3)
    order = torch.randperm(512)
    permuted = SemanticMap(512, 16).eval()
    permuted.load_state_dict(network.semantic.state_dict())
    with torch.no_grad():
        for block in permuted.blocks:
            block[0].weight.copy_(block[0].weight[:, order])

        def omega(x: Tensor, semantic: nn.Module) -> Tensor:
            gate = network.channel_gate(x, network.semantic_S(semantic(x)))
            return torch.einsum("nchw,nc->nhw", x, gate) / 512

        torch.testing.assert_close(omega(x, network.semantic), omega(x[:, order], permuted))


# -- what is recorded ----------------------------------------------------------------------------------


def test_every_map_is_recorded_in_its_range(network: GatedAttention, images: Tensor) -> None:
    with torch.inference_mode(), record_attention(network, features=True) as maps:
        network(images)
    infos = {info.name: info for info, _ in attention_modules(network)}
    assert list(infos) == ["semantic", "semantic_S", "channel_gate", "omega", "instance_mask", "instances"]
    assert set(infos) == {name for name in maps if not name.endswith(".features")}
    shapes = {name: tuple(maps[name].shape) for name in infos}
    assert shapes == {
        "semantic": (2, 1, 3, 3),
        "semantic_S": (2, 1, 3, 3),
        "channel_gate": (2, 512),
        "omega": (2, 1, 3, 3),
        "instance_mask": (2, 1, network.global_size, network.global_size),
        "instances": (2, 4, 5),
    }
    for name, info in infos.items():
        low, high = info.value_range
        values = maps[name][~maps[name].isnan()]
        assert low <= values.min() <= values.max() <= high, name
    assert infos["semantic_S"].per_tile
    assert infos["semantic_S"].raw == "semantic"
    assert not infos["semantic"].per_tile
    displays = ["min-max", "min-max", "strip", "min-max", "fixed", "boxes"]
    assert [info.display for info in infos.values()] == displays
    assert [info.stage for info in infos.values()] == ["global branch"] * 4 + ["instance branch"] * 2
    mask = network.instances.normalise(maps["omega"]) > network.instances.threshold
    assert torch.equal(maps["instance_mask"], mask[:, None].float())
    assert 0 < maps["instance_mask"].mean() < 1
    # equation 2, from the features behind the gates
    x = maps["channel_gate.features"]
    expected = (x * maps["channel_gate"][:, :, None, None]).mean(dim=1, keepdim=True)
    torch.testing.assert_close(maps["omega"], expected)


def test_the_attention_map_and_the_global_features_have_one_mean(
    network: GatedAttention, images: Tensor
) -> None:
    seen: list[Tensor] = []
    handle = network.global_head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad(), record_attention(network, "omega") as maps:
        network.global_and_fused(images, fused=False)
    handle.remove()
    torch.testing.assert_close(maps["omega"].mean(dim=(1, 2, 3)), seen[0].mean(dim=1))


def test_the_attention_map_is_the_channel_mean_of_any_module(each: GatedAttention, images: Tensor) -> None:
    with torch.inference_mode(), record_attention(each) as maps:
        assert each(images).shape == (2, 4)
        x = each.global_network.levels(resize(images, 96))[-1]
        attended = x * maps["channel_gate"][..., None, None] if each.rival is None else each.rival(x)
    torch.testing.assert_close(maps["omega"], attended.mean(dim=1, keepdim=True))
    assert ("rival.se" in maps) == isinstance(each.rival, SqueezeExcitationAttention)


# -- instances -----------------------------------------------------------------------------------------


def peaks(*places: tuple[int, int, float], n: int = 1) -> Tensor:
    """Return maps (n, 1, 14, 14) of 0 with values at rows and columns."""
    omega = torch.zeros(n, 1, 14, 14)
    for row, column, value in places:
        omega[:, :, row, column] = value
    return omega


def used(boxes: Tensor) -> Tensor:
    return boxes[~boxes[..., 0].isnan()]


def test_each_peak_is_an_instance_and_the_largest_comes_first() -> None:
    omega = peaks((2, 2, 1.0), (2, 3, 1.0), (10, 5, 0.9), (6, 11, 0.4))
    boxes = InstanceSelection(margin=0.0, size=14)(omega)
    assert boxes.shape == (1, 4, 5)
    found = used(boxes)
    assert len(found) == 2  # the third peak is below half
    expected = torch.tensor([[2 - 0.5, 2, 4 - 0.5, 4], [9.5, 4.5, 11.5, 6.5]]) / 14  # sides of 1/7
    torch.testing.assert_close(found[:, :4], expected)
    torch.testing.assert_close(found[:, 4], torch.tensor([2.0, 0.9]))


def test_diagonal_neighbours_are_one_instance_and_images_are_apart() -> None:
    omega = peaks((4, 4, 1.0), (5, 5, 1.0), n=3)
    omega[1] = peaks((4, 4, 1.0), (9, 9, 1.0))[0]
    boxes = InstanceSelection(size=14)(omega)
    assert (~boxes[..., 0].isnan()).sum(dim=1).tolist() == [1, 2, 1]
    assert boxes[0, 0, 4] == 2


def test_no_more_than_the_instances_asked_for_are_kept() -> None:
    omega = peaks(*((row, column, 1 - 0.01 * row) for row in (1, 5, 9) for column in (1, 5, 9)))
    for count in (1, 4):
        boxes = InstanceSelection(count, size=14)(omega)
        assert boxes.shape == (1, count, 5)
        torch.testing.assert_close(boxes[0, :, 4], torch.tensor([0.99, 0.99, 0.99, 0.95])[:count] / 0.99)


def test_a_margin_widens_a_box_on_each_side() -> None:
    omega = torch.zeros(1, 1, 10, 10)
    omega[..., 2:7, 5:] = 1
    (box,) = used(InstanceSelection(margin=0.1, size=10)(omega))
    torch.testing.assert_close(box[:4], torch.tensor([0.15, 0.45, 0.75, 1.0]))


def test_a_small_box_at_a_corner_is_moved_inside() -> None:
    boxes = used(InstanceSelection(size=28)(peaks((0, 0, 1.0), (13, 13, 1.0))))
    corners = torch.tensor([[0.0, 0.0, 1 / 7, 1 / 7], [6 / 7, 6 / 7, 1.0, 1.0]])
    torch.testing.assert_close(boxes[:, :4], corners)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e6])
def test_a_flat_map_selects_the_whole_image(value: float) -> None:
    omega = torch.full((1, 1, 7, 7), value)
    omega[..., 3, 3] *= 1 + 1e-6  # rounding of the network is no relief
    boxes = InstanceSelection()(omega)
    assert used(boxes).tolist() == [[0, 0, 1, 1, 0]]


def test_boxes_lie_inside_the_image_and_are_not_small() -> None:
    torch.manual_seed(0)
    boxes = used(InstanceSelection()(torch.randn(16, 1, 7, 7)))
    assert len(boxes) > 16
    sides = boxes[:, 2:4] - boxes[:, :2]
    assert boxes[:, :4].min() >= 0
    assert boxes[:, :4].max() <= 1
    assert sides.min() >= 1 / 7 - 1e-6


def test_the_mask_is_what_lies_above_the_threshold() -> None:
    torch.manual_seed(0)
    selection = InstanceSelection(count=49)
    omega = torch.rand(2, 1, 7, 7) * 5 + 3
    values = selection.normalise(omega)
    assert values.shape == (2, 224, 224)
    assert (values.amin(dim=(1, 2)) == 0).all()
    assert (values.amax(dim=(1, 2)) == 1).all()
    scores = selection(omega)[..., 4].nansum(dim=1)
    torch.testing.assert_close(scores, (values * (values > 0.5)).sum(dim=(1, 2)), rtol=1e-4, atol=0)


def test_an_image_twice_as_large_has_the_same_boxes(network: GatedAttention) -> None:
    torch.manual_seed(3)
    coarse = torch.randn(2, 3, 5, 7) * 2
    with torch.inference_mode(), record_attention(network, "instances") as maps:
        network(F.interpolate(coarse, size=(240, 336), mode="bicubic"))
        boxes = maps["instances"][..., :4]
        network(F.interpolate(coarse, size=(480, 672), mode="bicubic"))
    torch.testing.assert_close(maps["instances"][..., :4], boxes, atol=1.5 / 96, rtol=0, equal_nan=True)


def test_crops_come_from_the_full_resolution() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 140, 280)
    boxes = torch.full((2, 3, 5), torch.nan)
    boxes[0, 0] = torch.tensor([0.25, 0.5, 0.5, 0.625, 1.0])  # 35 x 35 px
    boxes[1, 0] = torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0])
    boxes[1, 1] = torch.tensor([0.75, 0.875, 1.0, 1.0, 1.0])
    crops, counts = crop_instances(image, boxes, 35)
    assert counts == [1, 2]
    assert torch.equal(crops[0], image[0, :, 35:70, 140:175])
    torch.testing.assert_close(crops[1].mean(), image[1].mean(), atol=1e-2, rtol=0)  # antialiased
    assert crops[1].std() < 0.5 * image[1].std()
    assert torch.equal(crops[2], image[1, :, 105:, 245:])


# -- the fusion ----------------------------------------------------------------------------------------


def test_unused_slots_are_zero_in_what_is_fused(network: GatedAttention, images: Tensor) -> None:
    seen: list[Tensor] = []
    handle = network.fused_head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad(), record_attention(network, "instances") as maps:
        network(images)
    handle.remove()
    boxes = maps["instances"]
    unused = boxes[..., 0].isnan()
    assert 0 < unused.sum() < unused.numel()
    slots = seen[0][:, 512:].unflatten(1, (4, 512))
    assert torch.equal((slots == 0).all(dim=2), unused)
    crops, counts = crop_instances(images, boxes, 64)
    with torch.no_grad():
        torch.testing.assert_close(slots[1, 0], network.local_network(crops)[counts[0]])


def test_it_predicts_by_the_fusion_and_always_the_same(network: GatedAttention, images: Tensor) -> None:
    with torch.inference_mode():
        logits = network(images)
        y_g, y_f = network.global_and_fused(images)
        assert torch.equal(network(images), logits)
    assert torch.equal(y_f, logits)
    assert y_g.shape == y_f.shape == (2, 4)
    assert not torch.allclose(y_g, y_f)


def test_without_the_fusion_its_weights_and_statistics_rest(
    network: GatedAttention, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = deepcopy(network).train()
    before = {key: value.clone() for key, value in network.local_network.state_dict().items()}

    def unwanted(*_: object) -> Tensor:
        raise AssertionError("computed for nothing")

    monkeypatch.setattr(gated_module, "channel_mean", unwanted)
    monkeypatch.setattr(InstanceSelection, "forward", unwanted)
    y_g, y_f = network.global_and_fused(images, fused=False)
    assert y_f is None
    y_g.square().sum().backward()
    rests = [*network.local_network.parameters(), *network.fused_head.parameters()]
    assert all(p.grad is None for p in rests)
    assert all(p.grad is not None for p in network.global_network.parameters())
    assert all(p.grad.abs().max() > 0 for p in network.semantic.parameters())
    for key, value in network.local_network.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_the_module_learns_only_through_what_is_pooled(network: GatedAttention, images: Tensor) -> None:
    network = deepcopy(network).train()
    with torch.no_grad():
        network.fused_head.weight[:, :512] = 0  # f_g has no part
    network(images).square().sum().backward()
    assert all(p.grad.abs().max() == 0 for p in network.semantic.parameters())
    assert all(p.grad.abs().max() == 0 for p in network.global_network.parameters())
    assert network.local_network.conv1.weight.grad.abs().max() > 0


def test_a_gradient_reaches_every_weight(each: GatedAttention, images: Tensor) -> None:
    network = deepcopy(each).train()
    with torch.no_grad():  # rivals that begin as the identity
        for name, weight in network.named_parameters():
            if name in ("rival.alpha", "rival.beta", "rival.output.1.weight"):
                weight.fill_(1)
    y_g, y_f = network.global_and_fused(images)
    (y_g.square().sum() + y_f.square().sum()).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        # a constant added to all scores of a softmax changes nothing
        if name not in ("rival.phi.bias", "rival.key.bias"):
            assert weight.grad.abs().max() > 0, name


# -- any input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 96), (300, 41), (5, 3), (1, 1)])
def test_images_of_any_size_are_classified(network: GatedAttention, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        logits = network(torch.rand(1, 3, *size))
    assert logits.shape == (1, 4)
    assert torch.isfinite(logits).all()


def test_half_precision_and_channels_last_agree(each: GatedAttention, images: Tensor) -> None:
    network = deepcopy(each)
    with torch.inference_mode():
        expected, _ = network.global_and_fused(images, fused=False)
        last = images.contiguous(memory_format=torch.channels_last)
        found, _ = network.to(memory_format=torch.channels_last).global_and_fused(last, fused=False)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            assert network(last).dtype == torch.bfloat16
        half = network.to(torch.bfloat16)
        y_g, y_f = half.global_and_fused(images.bfloat16())
    assert y_g.dtype == y_f.dtype == torch.bfloat16
    torch.testing.assert_close(y_g.float(), expected, atol=0.1, rtol=0.1)


def test_without_values_every_slot_is_used() -> None:
    with torch.device("meta"):
        network = build("gated_attention", classes=5)
        images = torch.rand(2, 3, 256, 256)
    crops: list[Tensor] = []
    network.local_network.register_forward_pre_hook(lambda _, args: crops.append(args[0]))
    assert network(images).shape == (2, 5)
    assert crops[0].shape == (8, 3, 336, 336)


def test_export_is_refused_in_a_sentence(network: GatedAttention, images: Tensor) -> None:
    with pytest.raises(ModelError, match="cannot be exported: how many instances"):
        torch.export.export(network, (images,))


# -- the rivals' own equations -------------------------------------------------------------------------


def test_non_local_is_the_identity_at_first_and_then_a_weighted_mean() -> None:
    torch.manual_seed(0)
    block = RIVALS["spatial"](8).eval()
    x = torch.rand(2, 8, 3, 5)
    torch.testing.assert_close(block(x), x)
    nn.init.ones_(block.output[1].weight)
    theta, phi, g = (embed(x).flatten(2) for embed in (block.theta, block.phi, block.g))
    mean = g @ (theta.transpose(1, 2) @ phi).softmax(dim=2).transpose(1, 2)
    torch.testing.assert_close(block(x), x + block.output(mean.unflatten(2, (3, 5))))


def test_trilinear_attention_is_its_equation() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 8, 3, 5) * 3
    maps = x.flatten(2)
    expected = (maps.softmax(dim=2) @ maps.transpose(1, 2)).softmax(dim=2) @ maps
    torch.testing.assert_close(RIVALS["channel"](8)(x).flatten(2), expected)


def test_dual_attention_sums_positions_and_channels() -> None:
    torch.manual_seed(0)
    block = RIVALS["dual"](8)
    x = torch.rand(2, 8, 3, 5)
    torch.testing.assert_close(block(x), 2 * x)
    nn.init.constant_(block.alpha, 2)
    nn.init.constant_(block.beta, 3)
    b, c, d = (embed(x).flatten(2) for embed in (block.query, block.key, block.value))
    a = x.flatten(2)
    by_position = d @ (b.transpose(1, 2) @ c).softmax(dim=2).transpose(1, 2)
    by_channel = (a @ a.transpose(1, 2)).softmax(dim=2) @ a
    torch.testing.assert_close(block(x).flatten(2), 2 * by_position + 3 * by_channel + 2 * a)


def test_squeeze_excitation_scales_and_global_context_adds_per_channel() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 32, 3, 5) + 0.5
    scale = RIVALS["se"](32)(x) / x
    added = RIVALS["global_context"](32)(x) - x
    for value in (scale, added):
        torch.testing.assert_close(value, value[..., :1, :1].expand_as(x))
    assert scale.min() > 0
    assert scale.max() < 1


def test_global_context_pools_by_one_map() -> None:
    torch.manual_seed(0)
    block = RIVALS["global_context"](32)
    block.transform = nn.Identity()
    x = torch.rand(1, 32, 3, 5)
    context = (x * block.key(x).flatten(1).softmax(dim=1).view(1, 1, 3, 5)).sum(dim=(2, 3))
    torch.testing.assert_close(block(x), x + context[:, :, None, None])


# -- building ------------------------------------------------------------------------------------------


def test_each_trunk_takes_published_weights(tmp_path: Path) -> None:
    torch.manual_seed(5)
    published = ResNet(18, classes=1000)
    torch.save(published.state_dict(), tmp_path / "resnet18.pth")
    network = small(pretrained=tmp_path / "resnet18.pth", local_pretrained=tmp_path / "resnet18.pth")
    for trunk in (network.global_network, network.local_network):
        assert torch.equal(trunk.conv1.weight, published.conv1.weight)
        assert trunk.pretrained.missing == ()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"module": "self"}, "module must be one of gated, spatial, channel, dual, se, global_context, none"),
        ({"classes": 0}, "classes must be 1 or more"),
        ({"local_size": 0}, "local_size must be 1 or more"),
        ({"instances": 0}, "instances must be 1 or more"),
        ({"threshold": 1.0}, "threshold must be at least 0 and below 1"),
        ({"margin": -0.1}, "margin must be a number of 0 or more"),
        ({"margin": float("nan")}, "margin must be a number of 0 or more"),
        ({"instances": 1.5}, "instances must be a whole number"),
        ({"global_depth": 19}, "depth must be one of"),
    ],
)
def test_a_wrong_argument_is_named(argument: dict[str, object], message: str) -> None:
    with torch.device("meta"), pytest.raises(ModelError, match=message):
        build("gated_attention", **argument)


def test_no_images_have_no_logits(each: GatedAttention) -> None:
    with torch.inference_mode():
        assert each(torch.rand(0, 3, 64, 64)).shape == (0, each.fused_head.out_features)


def test_the_best_and_worst_gated_channels_are_those_of_the_gates(
    network: GatedAttention, images: Tensor
) -> None:
    with torch.no_grad(), record_attention(network, "channel_gate", features=True) as maps:
        network(images)
    best, worst = gated_channels(maps, 2)
    for image, gates in enumerate(maps["channel_gate"]):
        order = gates.sort(descending=True, stable=True).indices
        assert torch.equal(best[image], maps["channel_gate.features"][image, order[:2]])
        assert torch.equal(worst[image], maps["channel_gate.features"][image, order[[-1, -2]]])
    with pytest.raises(ValueError, match="count must be"):
        gated_channels(maps, 10**6)


def test_a_network_in_double_precision_computes_and_records_in_it() -> None:
    torch.manual_seed(0)
    network = build("gated_attention", local_depth=18).double().eval()
    with record_attention(network, "semantic", "semantic_S", "omega") as maps, torch.no_grad():
        network(torch.rand(1, 3, 96, 96, dtype=torch.float64))
    assert {values.dtype for values in maps.values()} == {torch.float64}
    assert maps["semantic_S"].sum().item() == pytest.approx(1, abs=1e-12)
