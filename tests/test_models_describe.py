"""What `describe` says of a network, against hand calculation and against gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_lumen import ModelError
from napari_lumen.models import VARIANTS, describe
from napari_lumen.models.catalogue import variant_of
from napari_lumen.models.genotype import Genotype
from napari_lumen.models.receptive_field import ReceptiveField


def receptive_field(network: nn.Module, size: int = 64) -> int:
    image = torch.rand(1, 1, size, size)
    with torch.no_grad(), ReceptiveField() as fields:
        fields.begin(image)
        field = fields.of(network(image))
    assert field is not None
    return field.size


def reached(network: nn.Module, size: int = 64) -> int:
    """Columns of the input whose gradient from one output pixel is not zero, over all output pixels."""
    image = torch.rand(1, 1, size, size, requires_grad=True)
    out = network(image)
    widest = 0
    for column in range(out.shape[-1] // 3, 2 * out.shape[-1] // 3):
        (gradient,) = torch.autograd.grad(out[0, 0, out.shape[-2] // 2, column], image, retain_graph=True)
        columns = gradient[0, 0].abs().sum(dim=0).nonzero().flatten()
        widest = max(widest, int(columns.max() - columns.min()) + 1)
    return widest


class _TwoScales(nn.Module):
    """A fine and a coarse path, joined: the shape of every network here."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(1, 2, 3, padding=1)
        self.down = nn.AvgPool2d(2)
        self.coarse = nn.Conv2d(2, 2, 3, padding=2, dilation=2)
        self.up = nn.Upsample(scale_factor=2)
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        joined: Tensor = self.out(torch.cat([fine, self.up(self.coarse(self.down(fine)))], dim=1))
        return joined


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Conv2d(1, 1, 3), 3),
        (nn.Conv2d(1, 1, 3, dilation=4), 9),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.AvgPool2d(2), nn.Conv2d(1, 1, 3)), 8),
        (nn.Sequential(nn.Conv2d(1, 2, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)), 11),
        # bounds for what follows: outputs differ in which side of theirs they reach to
        (nn.Sequential(nn.AvgPool2d(4), nn.ConvTranspose2d(1, 1, 4, 2, 1)), 10),
        (nn.Sequential(nn.AvgPool2d(4), nn.Upsample(scale_factor=4)), 7),
    ],
)
def test_the_receptive_field_is_that_of_the_operations(network: nn.Module, expected: int) -> None:
    assert receptive_field(network) == expected


@pytest.mark.parametrize(
    "network",
    [
        _TwoScales(),
        nn.Sequential(nn.Conv2d(1, 4, 5, 2, 2), nn.Conv2d(4, 1, 3, padding=1)),
        nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 1, 3, padding=1), nn.ConvTranspose2d(1, 1, 2, 2)),
    ],
)
def test_no_gradient_reaches_beyond_the_receptive_field_and_one_reaches_its_edge(network: nn.Module) -> None:
    torch.manual_seed(0)
    found = receptive_field(network)
    assert found - 1 <= reached(network) <= found  # nearest neighbours: a bound may be one pixel wide


def test_a_gate_over_the_whole_image_is_told_apart_from_the_receptive_field() -> None:
    focusnet = describe("focusnetpp", preset="light", size=64)
    assert focusnet.whole_image
    assert focusnet.receptive_field > 64
    assert not describe("unet", width=4, size=64).whole_image


def test_work_is_counted_as_by_hand() -> None:
    found = describe("resnet", depth=18, classes=1000, size=224)
    assert found.parameters == 11_689_512
    assert found.macs == pytest.approx(1.814e9, rel=0.001)  # the figure of the paper, 1.8 billion
    # 21.84e9 if the decoder's 1x1 convolutions, 2.385e9 of it, came after the enlargement, on four times as
    # many positions
    assert describe("focusnetpp", preset="table").macs == pytest.approx(
        (21.84 - 0.75 * 2.385) * 1e9, rel=0.001
    )
    doubled = describe("resnet", depth=18, size=(448, 224)).macs
    assert doubled == pytest.approx(2 * describe("resnet", depth=18, size=224).macs, rel=0.01)


def test_a_row_of_a_table_is_recognised_by_its_arguments() -> None:
    found = describe("focusnetpp", preset="light", size=32).variant
    assert found is not None
    assert found.row == "FocusNet++, nuclei"
    assert describe("focusnetpp", preset="light", dropout=0.1, norm_momentum=0.1, size=32).variant == found


_UNIFORM = Genotype.uniform("conv1", "conv1")


@pytest.mark.parametrize(
    ("network", "arguments", "row"),
    [
        ("focusnetpp", {}, "FocusNet++, Table 2"),
        ("darefinenet", {}, "R50_50 attention"),
        ("darefinenet", {"fusion": "attention", "classes": 2, "pretrained": "x.pth"}, "R50_50 attention"),
        ("darefinenet", {"variant": "single", "context_depth": 18}, "R50"),
        ("darefinenet", {"gate_hidden": True}, None),
        ("nas_scam", {}, "P, synchronous search"),
        ("nas_scam", {"attention": "none"}, "U-Net"),
        ("nas_scam", {"genotype": _UNIFORM}, "P rebuilt, smallest without zeros"),
        ("nas_scam", {"genotype": _UNIFORM.model_dump_json()}, "P rebuilt, smallest without zeros"),
        ("nas_scam", {"genotype": {"D1": 3}}, None),
        ("gated_attention", {"classes": 5}, "Gated (ours), Table 2"),
        ("gated_attention", {}, "Gated (ours), Table 3, BACH"),  # of four classes
        ("gated_attention", {"classes": 3}, None),
        ("unet", {"width": 64, "classes": 4}, "U-Net"),
        ("unet", {}, None),
        ("unetpp", {"widths": [32, 64, 128, 256, 512]}, "UNet++, Table 2"),
        ("multistage", {"mini_batch": 1}, "Separate and End-to-End"),
        ("no_such_network", {}, None),
    ],
)
def test_defaults_and_what_changes_no_structure_do_not_hide_a_row(
    network: str, arguments: dict[str, Any], row: str | None
) -> None:
    found = variant_of(network, arguments)
    assert (found and found.row) == row


def test_every_row_is_found_by_its_own_arguments() -> None:
    for row in VARIANTS:
        assert variant_of(row.network, row.arguments) is row


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(ModelError, match=r"cannot be built with.*nonsense"):
        describe("resnet", nonsense=1)


def test_every_baseline_stands_in_the_table_of_its_paper() -> None:
    rows = {(variant.paper, variant.row) for variant in VARIANTS}
    baselines = {(variant.paper, variant.baseline) for variant in VARIANTS if variant.baseline is not None}
    assert baselines
    assert baselines <= rows


def test_the_documented_tables_are_those_of_the_code() -> None:
    from napari_lumen.models.table import markdown_tables

    document = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    marker = "<!-- the tables below are made by `napari-lumen models table` -->\n\n"
    assert document.partition(marker)[2] == markdown_tables(), "run: napari-lumen models table"


def test_arguments_named_as_ours_are_the_networks() -> None:
    with pytest.raises(ModelError, match="cannot be built with name='x': it takes"):
        describe("unet", name="x")


@pytest.mark.parametrize("size", [0, -5, (0, 5), "a", 1.5, None, (1, 2, 3), 10**9])
def test_an_impossible_size_is_refused(size: Any) -> None:
    with pytest.raises(ModelError, match="The size of an input is"):
        describe("unet", size=size)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("darefinenet", {"classes": 2.5}),
        ("darefinenet", {"depth": 50.0}),
        ("resnet", {"depth": 18, "classes": -1}),
        ("deeplabv3plus", {"depth": 18, "classes": 0}),
        ("unet", {"levels": 10**9}),
        ("unet", {"width": 10**15}),
        ("r2unet", {"steps": 10**9}),
        ("bcdunet", {"blocks": 10**9}),
        ("cbam_unet", {"width": "16"}),
        ("gated_attention", {"instances": 10**9}),
        ("gated_attention", {"instances": 300_000}),
        ("gated_attention", {"local_size": 10**6}),
        ("gated_attention", {"global_size": 10**6}),
    ],
)
def test_impossible_arguments_are_one_sentence(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(arguments.keys() - {"depth"} or arguments))) as error:
        describe(name, **arguments)
    assert "\n" not in str(error.value)
