"""NAS-SCAM: the search network, the network rebuilt from it, its genotype, its host and its rivals."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_lumen import ModelError
from napari_lumen.models import attention_modules, build, record_attention
from napari_lumen.models.genotype import CAM_OPS, EDGES, POSITIONS, SAM_OPS, Genotype
from napari_lumen.models.host_unet import HostUNet
from napari_lumen.models.nas_cells import Cell, ChannelCell, Operation, SpatialCell
from napari_lumen.models.nas_scam import NASSCAM, SCAM
from napari_lumen.models.nas_scam_rivals import CBAM, SCSE
from napari_lumen.models.single_channel import convolve_to_one

ALL_SAM, ALL_CAM = (SAM_OPS,) * 6, (CAM_OPS,) * 6
WIDTH = 4  # narrow hosts: the cells are as wide as ever
MIXED = Genotype.of_rows(  # every operation, and edges that lead nowhere
    [
        ["conv3", "zero", "dilated3", "conv1", "conv5", "dilated5"],
        ["conv1", "conv3", "zero", "zero", "zero", "conv3"],
        ["zero", "conv5", "conv1", "conv3", "dilated3", "zero"],
        ["zero", "zero", "zero", "zero", "zero", "zero"],
        ["zero", "zero", "conv3", "conv1", "zero", "conv1"],
        ["dilated5", "conv1", "conv3", "conv3", "conv1", "zero"],
        ["conv1", "conv1", "conv1", "conv1", "conv1", "conv1"],
        ["conv5", "dilated3", "zero", "dilated5", "zero", "conv5"],
    ],
    [
        ["conv9", "zero", "dilated3", "conv1", "conv5", "conv15"],
        ["dilated5", "conv3", "conv9", "conv15", "conv1", "zero"],
        ["zero", "conv15", "conv3", "zero", "zero", "conv5"],
        ["zero", "zero", "zero", "zero", "zero", "zero"],
        ["conv1", "zero", "zero", "dilated5", "conv3", "conv9"],
        ["conv3", "conv5", "zero", "zero", "dilated3", "zero"],
        ["conv15", "conv15", "conv15", "conv15", "conv15", "conv15"],
        ["conv1", "dilated5", "conv5", "conv9", "zero", "dilated3"],
    ],
)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "search P": ("nas_scam", {"mode": "P"}),
    "search S": ("nas_scam", {"mode": "S", "synchronous": False}),
    "rebuilt P": ("nas_scam", {"mode": "P", "genotype": MIXED}),
    "rebuilt S": ("nas_scam", {"mode": "S", "genotype": MIXED}),
    "host": ("nas_scam", {"attention": "none"}),
    "CBAM": ("cbam_unet", {}),
    "scSE": ("scse_unet", {}),
}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def narrow(variant: str, **changes: Any) -> nn.Module:
    """Build a variant with narrow blocks and with normalisations that have seen other data."""
    name, arguments = VARIANTS[variant]
    torch.manual_seed(0)
    return unsettled(build(name, width=WIDTH, **(arguments | changes)))


def unsettled(module: nn.Module) -> nn.Module:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.2, 1.0)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.5)
    return module


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> nn.Module:
    return narrow(request.param).eval()


# -- parameter counts of the specification -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "weights", "alphas"),
    [
        ("nas_scam", {"attention": "none"}, 3_647_524, 0),
        ("cbam_unet", {}, 3_662_689, 0),
        ("scse_unet", {}, 3_758_132, 0),
        ("nas_scam", {"mode": "P"}, 7_883_996, 672),
        ("nas_scam", {"mode": "S"}, 7_883_996, 672),
        ("nas_scam", {"synchronous": False}, 7_883_996, 84),
        ("nas_scam", {"genotype": Genotype.uniform("conv1", "conv1")}, 3_717_004, 0),
        ("nas_scam", {"genotype": Genotype.uniform("conv5", "conv15")}, 5_178_236, 0),
    ],
)
def test_a_network_has_the_parameters_of_its_specification(
    name: str, arguments: dict[str, Any], weights: int, alphas: int
) -> None:
    with torch.device("meta"):
        network = build(name, **arguments)
    assert parameters(network) == weights + alphas
    if isinstance(network, NASSCAM):
        assert sum(p.numel() for p in network.weights()) == weights
        assert sum(p.numel() for p in network.alphas()) == alphas


def test_the_cells_have_the_parameters_of_the_specification() -> None:
    with torch.device("meta"):
        spatial = {c: parameters(SpatialCell(c, ALL_SAM)) for c in (16, 32, 64, 128, 256)}
        network = build("nas_scam")
        assert parameters(ChannelCell(ALL_CAM)) == 49_352
    assert spatial == {16: 148_317, 32: 220_077, 64: 363_597, 128: 650_637, 256: 1_224_717}
    modules = [network.get_submodule(position) for position in POSITIONS]
    assert sum(parameters(module.get_submodule("sam")) for module in modules) == 3_841_656
    assert sum(parameters(module.get_submodule("cam")) for module in modules) == 394_816


# -- one interface -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(21, 50), (7, 9)])
def test_any_size_comes_back_at_that_size(variant: nn.Module, size: tuple[int, int]) -> None:
    assert isinstance(variant, HostUNet)
    assert (variant.task, variant.view_count) == ("segmentation", 1)
    with torch.inference_mode():
        assert variant(torch.rand(2, 3, *size)).shape == (2, 4, *size)


def test_bfloat16_and_channels_last_give_about_the_same(variant: nn.Module) -> None:
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        expected = variant(x)
        variant.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.testing.assert_close(
            variant(x.to(memory_format=torch.channels_last)), expected, atol=1e-4, rtol=1e-4
        )
        with torch.autocast("cpu", torch.bfloat16):
            mixed = variant(x)
        low = variant.bfloat16()(x.bfloat16())
        variant.float()
    spread = expected.std().item()
    for result in (mixed, low):
        assert result.dtype == torch.bfloat16
        assert (result.float() - expected).abs().mean() < 0.1 * spread


@pytest.mark.parametrize("name", VARIANTS)
def test_a_gradient_reaches_every_weight(name: str) -> None:
    network = narrow(name).train()
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        if name.startswith("search") and not key.endswith(".conv.bias"):  # the norm takes it away
            assert parameter.grad.any(), key


def test_an_exported_network_computes_the_same() -> None:
    network = narrow("rebuilt S").eval()
    x = torch.rand(1, 3, 16, 16)
    exported = torch.export.export(network, (x,)).module()
    torch.testing.assert_close(exported(x), network(x))


def test_attention_is_recorded_under_the_names_of_the_specification(variant: nn.Module) -> None:
    with torch.inference_mode(), record_attention(variant) as maps:
        variant(torch.rand(2, 3, 48, 30))  # padded to 48 x 32
    infos = {info.name: info for info, _ in attention_modules(variant)}
    positions = POSITIONS if hasattr(variant, "D1") else ()
    expected = {f"{position}.{cell}" for position in positions for cell in ("sam", "cam")}
    if isinstance(variant, NASSCAM) and variant.alphas():
        expected |= {"alpha_sam", "alpha_cam"}
    assert set(maps) == set(infos) == expected
    for position, scale in zip(positions, (2, 4, 8, 16, 8, 4, 2, 1), strict=False):
        assert maps[f"{position}.sam"].shape == (2, 1, 48 // scale, 32 // scale)
        assert maps[f"{position}.cam"].shape == (2, WIDTH * scale)
        assert infos[f"{position}.sam"].display == "fixed"
        assert infos[f"{position}.cam"].display == "strip"
        assert infos[f"{position}.sam"].stage == position
    for name, value in maps.items():
        assert infos[name].value_range == (0, 1)
        assert 0 < value.min() <= value.max() < 1, name


def test_the_features_behind_a_gate_are_those_it_scales() -> None:
    network = narrow("rebuilt S").eval()
    with torch.inference_mode(), record_attention(network, "U4.sam", "U4.cam", features=True) as maps:
        network(torch.rand(1, 3, 32, 32))
    assert maps["U4.cam.features"].shape == (1, WIDTH, 32, 32)
    assert maps["U4.sam.features"].shape == (1, 1, 32, 32)


@pytest.mark.parametrize(("synchronous", "sets"), [(True, 8), (False, 1)])
def test_each_row_of_the_recorded_tables_sums_to_1_and_its_axes_are_named(
    synchronous: bool, sets: int
) -> None:
    network = narrow("search P", synchronous=synchronous).eval()
    assert isinstance(network, NASSCAM)
    with torch.inference_mode(), record_attention(network, "alpha_sam", "alpha_cam") as maps:
        network(torch.rand(1, 3, 16, 16))
    for name, operations in (("alpha_sam", SAM_OPS), ("alpha_cam", CAM_OPS)):
        assert maps[name].shape == (sets, 6, len(operations))
        torch.testing.assert_close(maps[name].sum(-1), torch.ones(sets, 6))
        positions = POSITIONS if synchronous else ("D1 to U4",)
        assert network.table_axes()[name] == (positions, EDGES, operations)
    assert narrow("rebuilt P").table_axes() == {}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "X"}, r"mode must be P \(parallel\) or S \(serial\), not 'X'"),
        ({"attention": "cbam"}, "attention must be nas_scam or none, not 'cbam'"),
        ({"attention": "none", "genotype": MIXED}, "attention is none, so there is nothing to search"),
        ({"search": True, "genotype": MIXED}, "leave out search or genotype"),
        ({"search": False}, "needs a genotype"),
        ({"genotype": {"D1": {}}}, "genotype.D1.sam: Field required"),
        ({"width": 6}, "width must be a positive multiple of 4, not 6"),
        ({"classes": 0}, "classes must be 1 or more, not 0"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        build("nas_scam", **arguments)
    assert "\n" not in str(error.value)


# -- genotypes -----------------------------------------------------------------------------------------


def test_a_genotype_survives_json_and_builds_the_same_network_from_a_card() -> None:
    assert Genotype.read(MIXED.model_dump_json()) == MIXED
    arguments = json.loads(json.dumps({"genotype": MIXED.model_dump(mode="json"), "width": WIDTH}))
    network = build("nas_scam", **arguments)
    assert isinstance(network, NASSCAM)
    assert network.genotype() == MIXED
    assert network.state_dict().keys() == narrow("rebuilt P").state_dict().keys()
    assert MIXED.edges()["D1"]["sam"] == {
        "1-2": "conv3", "1-3": "zero", "2-3": "dilated3", "1-4": "conv1", "2-4": "conv5", "3-4": "dilated5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sam": ["conv1"] * 5}, "genotype.U3.sam: needs 6 operations, .* 1-2, 1-3, .* not 5"),
        (
            {"sam": ["conv1"] * 5 + ["conv9"]},
            "genotype.U3.sam: edge 3-4 has no operation 'conv9'; there is zero",
        ),
        ({"cam": ["conv7"] * 6}, "genotype.U3.cam: edge 1-2 has no operation 'conv7'; .* conv15"),
        ({"sem": ["conv1"] * 6}, "genotype.U3.sem: Extra inputs"),
    ],
)
def test_a_wrong_genotype_is_named_by_position_cell_and_edge(
    change: dict[str, list[str]], message: str
) -> None:
    content = MIXED.model_dump(mode="json")
    content["U3"] |= change
    with pytest.raises(ValueError, match=message):
        Genotype.read(content)


def test_a_genotype_has_eight_positions() -> None:
    with pytest.raises(ValueError, match="sam needs 1 row or 8, not 3"):
        Genotype.of_rows([["conv1"] * 6] * 3, [["conv1"] * 6])
    with pytest.raises(KeyError, match="no position 'D5'; there is D1, "):
        MIXED["D5"]
    with pytest.raises(ValueError, match="a network without attention has no genotype"):
        narrow("host").genotype()  # type: ignore[operator]


def saturate(network: NASSCAM, genotype: Genotype) -> None:
    """Let one operation on each edge have a coefficient of exactly 1."""
    assert network.alpha_sam is not None
    assert network.alpha_cam is not None
    with torch.no_grad():
        for row, position in enumerate(POSITIONS):
            for table, chosen, operations in (
                (network.alpha_sam, genotype[position].sam, SAM_OPS),
                (network.alpha_cam, genotype[position].cam, CAM_OPS),
            ):
                for edge, operation in enumerate(chosen):
                    table.alpha[row, edge, operations.index(operation)] = 1e4


@pytest.mark.parametrize("mode", ["P", "S"])
def test_with_saturated_alphas_the_search_network_is_the_rebuilt_one(mode: str) -> None:
    search = narrow("search P", mode=mode).eval()
    assert isinstance(search, NASSCAM)
    saturate(search, MIXED)
    rebuilt = search.rebuilt(copy_weights=True).eval()
    assert rebuilt.genotype() == search.genotype() == MIXED
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode(), record_attention(search) as mixed, record_attention(rebuilt) as discrete:
        torch.testing.assert_close(rebuilt(x), search(x), atol=1e-5, rtol=0)
    for name, value in discrete.items():
        torch.testing.assert_close(value, mixed[name], atol=1e-5, rtol=0)
    other = search.rebuilt().eval()
    assert not torch.allclose(other(x), rebuilt(x), atol=1e-3)


def test_a_shared_search_gives_all_positions_the_same_cells() -> None:
    network = narrow("search S")
    assert isinstance(network, NASSCAM)
    genotype = network.genotype()
    assert {genotype[position] for position in POSITIONS} == {genotype["D1"]}
    assert network.rebuilt().genotype() == genotype


# -- the cells -----------------------------------------------------------------------------------------


def cells(operations_sam: Any, operations_cam: Any) -> tuple[SpatialCell, ChannelCell]:
    torch.manual_seed(3)
    pair = SpatialCell(8, operations_sam), ChannelCell(operations_cam)
    for cell in pair:
        unsettled(cell).eval()
    return pair


def test_a_cell_of_zeros_rests_at_one_half_and_has_no_weights() -> None:
    spatial, channel = cells([["zero"]] * 6, [["zero"]] * 6)
    x = torch.randn(2, 8, 5, 7)
    assert torch.equal(spatial(x), torch.full((2, 1, 5, 7), 0.5))
    assert torch.equal(channel(x), torch.full((2, 8), 0.5))
    assert parameters(spatial) == parameters(channel) == 0


def test_a_zero_operation_into_the_gate_counts_one_half() -> None:
    only = [["zero"], ["zero"], ["zero"], ["conv1"], ["zero"], ["zero"]]
    spatial, _ = cells(only, only)
    operation = spatial.get_submodule("edge14").get_submodule("conv1")
    x = torch.randn(2, 8, 5, 7)
    torch.testing.assert_close(spatial(x), (operation(x) + 0.5 + 0.5) / 3)


def test_the_mixed_cell_is_the_sum_of_equations_4_and_6() -> None:
    torch.manual_seed(4)
    spatial, channel = cells(ALL_SAM, ALL_CAM)
    x = torch.randn(2, 8, 9, 9)
    u_sam, u_cam = torch.randn(6, 6).softmax(-1), torch.randn(6, 8).softmax(-1)
    torch.testing.assert_close(spatial(x, u_sam), literal_cell(spatial, x, u_sam, SAM_OPS))
    means = x.mean((2, 3))[:, None]
    torch.testing.assert_close(channel(x, u_cam), literal_cell(channel, means, u_cam, CAM_OPS)[:, 0])
    spatial.train()
    before = int(sum(b.sum() for n, b in spatial.named_buffers() if n.endswith("num_batches_tracked")))
    trained = spatial(x, u_sam)
    after = int(sum(b.sum() for n, b in spatial.named_buffers() if n.endswith("num_batches_tracked")))
    assert after - before == 30  # every normalisation has counted its batch once
    torch.testing.assert_close(trained, literal_cell(spatial, x, u_sam, SAM_OPS))


def literal_cell(cell: Cell, x: Tensor, u: Tensor, operations: tuple[str, ...]) -> Tensor:
    """Return the gate as the equations are written, zero operations computed as any other."""
    nodes = {1: x, 2: torch.zeros(()), 3: torch.zeros(()), 4: torch.zeros(())}
    for edge, (source, target) in enumerate((int(name[0]), int(name[2])) for name in EDGES):
        activation = torch.sigmoid if target == 4 else torch.relu
        for index, name in enumerate(operations):
            value = torch.zeros(())
            if name != "zero":
                layer = cell.get_submodule(f"edge{source}{target}").get_submodule(name)
                value = layer.get_submodule("norm")(layer.get_submodule("conv")(nodes[source]))
            nodes[target] = nodes[target] + u[edge, index] * activation(value)
    return nodes[4] / 3


def test_the_channel_gate_does_not_see_where_things_are_nor_does_a_1x1_spatial_cell() -> None:
    spatial, channel = cells([["conv1"]] * 6, [["conv3"]] * 6)
    x = torch.randn(2, 8, 6, 6)
    order = torch.randperm(36)

    def shuffled(value: Tensor) -> Tensor:
        return value.flatten(2)[:, :, order].unflatten(2, (6, 6))

    torch.testing.assert_close(channel(shuffled(x)), channel(x))
    torch.testing.assert_close(spatial(shuffled(x)), shuffled(spatial(x)))
    wider, _ = cells([["conv3"]] * 6, [["conv3"]] * 6)
    assert not torch.allclose(wider(shuffled(x)), shuffled(wider(x)), atol=1e-3)


def test_sixteen_channels_are_enough_for_a_kernel_of_15() -> None:
    _, channel = cells([["conv1"]] * 6, [["conv15"]] * 6)
    gate = channel(torch.randn(3, 16, 4, 4))
    assert gate.shape == (3, 16)
    assert 0 < gate.min() < gate.max() < 1


def test_dilated_operations_reach_twice_as_far() -> None:
    for name, reach in (("conv3", 1), ("conv5", 2), ("dilated3", 2), ("dilated5", 4)):
        spatial, _ = cells([["zero"]] * 3 + [[name]] + [["zero"]] * 2, [["zero"]] * 6)
        x = torch.zeros(1, 8, 13, 13, requires_grad=True)
        spatial(x)[0, 0, 6, 6].backward()
        assert x.grad is not None
        rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
        assert (rows.min().item(), rows.max().item()) == (6 - reach, 6 + reach), name
        assert len(rows) == int(name[-1])


# -- the modules ---------------------------------------------------------------------------------------


def scam(mode: Any) -> SCAM:
    torch.manual_seed(5)
    module = SCAM(8, mode, (("conv3",),) * 6, (("conv3",),) * 6)
    unsettled(module).eval()
    return module


def test_parallel_attention_is_the_greater_of_both_branches() -> None:
    module, x = scam("P"), torch.randn(2, 8, 6, 6)
    n, z = module.sam(x), module.cam(x)[:, :, None, None]
    assert torch.equal(module(x), torch.maximum(n * x, z * x))
    torch.testing.assert_close(module(x.abs()), x.abs() * module_gate(module, x.abs()))


def module_gate(module: SCAM | SCSE, x: Tensor) -> Tensor:
    gate: Tensor = module.cam(x)
    return torch.maximum(module.sam(x), gate[:, :, None, None])


def test_serial_attention_gates_the_channels_of_what_the_map_leaves() -> None:
    module, x = scam("S"), torch.randn(2, 8, 6, 6)
    t = module.sam(x) * x
    torch.testing.assert_close(module(x), t * module.cam(t)[:, :, None, None])
    assert not torch.allclose(module.cam(t), module.cam(x), atol=1e-4)


def test_cbam_gates_channels_then_places_and_scse_takes_the_greater() -> None:
    torch.manual_seed(6)
    x = torch.rand(2, 32, 6, 6)
    cbam, scse = CBAM(32).eval(), SCSE(32).eval()
    gated = x * cbam.cam(x)[:, :, None, None]
    torch.testing.assert_close(cbam(x), gated * cbam.sam(gated))
    torch.testing.assert_close(scse(x), x * module_gate(scse, x))


# -- bilevel optimisation ------------------------------------------------------------------------------


def step(network: NASSCAM, group: list[nn.Parameter]) -> None:
    network(torch.rand(2, 3, 32, 32)).sigmoid().mean().backward()
    torch.optim.Adam(group, lr=1e-3).step()


@pytest.mark.parametrize("stepped", ["alphas", "weights"])
def test_a_step_of_one_group_leaves_the_other_bit_identical(stepped: str) -> None:
    network = narrow("search P").train()
    assert isinstance(network, NASSCAM)
    groups = {"alphas": network.alphas(), "weights": network.weights()}
    assert {*map(id, network.parameters())} == {id(p) for group in groups.values() for p in group}
    before = {name: [p.detach().clone() for p in group] for name, group in groups.items()}
    step(network, groups[stepped])
    for name, group in groups.items():
        same = [torch.equal(old, new) for old, new in zip(before[name], group, strict=True)]
        if name == stepped:
            assert not any(s for s, p in zip(same, group, strict=True) if p.ndim > 1), name
        else:
            assert all(same), name


def test_synchronous_alphas_diverge_from_equal_starts_and_shared_ones_are_one_tensor() -> None:
    network = narrow("search P").train()
    assert isinstance(network, NASSCAM)
    for alpha in network.alphas():
        nn.init.zeros_(alpha)
    step(network, network.alphas())
    for alpha in network.alphas():
        assert len(alpha.detach().flatten(1).unique(dim=0)) == 8
    shared = narrow("search S")
    assert isinstance(shared, NASSCAM)
    assert [tuple(alpha.shape) for alpha in shared.alphas()] == [(1, 6, 6), (1, 6, 8)]


def test_alphas_start_almost_equal() -> None:
    torch.manual_seed(7)
    network = build("nas_scam", width=WIDTH)
    assert isinstance(network, NASSCAM)
    values = torch.cat([alpha.detach().flatten() for alpha in network.alphas()])
    assert values.std().item() == pytest.approx(1e-3, rel=0.15)


def test_the_features_that_attention_sees_are_those_of_the_skips() -> None:
    """The first three attended features, not the raw ones, go to the decoder."""
    network = narrow("host").eval()
    assert isinstance(network, HostUNet)
    seen: list[Tensor] = []
    handles = [
        network.get_submodule(up).register_forward_pre_hook(lambda _, args: seen.append(args[1]))
        for up in ("up1", "up2", "up3", "up4")
    ]
    attended: dict[str, Tensor] = {}

    def attend(position: str, features: Tensor) -> Tensor:
        assert features.min() >= 0
        attended[position] = features * 0.5
        return attended[position]

    with torch.inference_mode():
        network._segment(torch.rand(1, 3, 32, 32), attend)
    for handle in handles:
        handle.remove()
    assert list(attended) == list(POSITIONS)
    for skip, position in zip(seen, ("D3", "D2", "D1"), strict=False):
        assert skip is attended[position]
    assert seen[3].shape == (1, WIDTH, 32, 32)


def test_a_bad_genotype_is_not_told_whole() -> None:
    genotype = Genotype.uniform("conv1", "conv1").model_dump(mode="json")
    genotype["U4"]["sam"][2] = "conv99"
    with pytest.raises(ModelError, match=r"genotype\.U4\.sam: edge 2-3 has no operation 'conv99'") as error:
        build("nas_scam", genotype=genotype)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("name", ["conv1", "conv3", "conv5", "dilated3", "dilated5"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_to_one_channel_is_that_convolution(
    name: str, memory_format: torch.memory_format
) -> None:
    convolution = Operation(name, 5, 1, 2, "sigmoid").conv
    x = torch.rand(2, 5, 9, 12).contiguous(memory_format=memory_format).requires_grad_()
    found, expected = convolve_to_one(x, convolution), convolution(x)
    torch.testing.assert_close(found, expected)
    leaves = (x, *convolution.parameters())
    pull = torch.rand_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, pull), torch.autograd.grad(expected, leaves, pull)
    )


def test_a_convolution_to_one_channel_keeps_its_precision() -> None:
    convolution = Operation("conv5", 32, 1, 2, "sigmoid").conv
    x = torch.rand(1, 32, 16, 16)
    expected = convolution(x)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.bfloat16, 2e-2)):
        found = convolve_to_one(x.to(dtype), convolution.to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=0)
        convolution.float()
