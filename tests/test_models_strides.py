"""Where the cells of recorded maps lie: in the networks, in the frontier, and on the slide."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import predict
from napari_lumen.inference.frontier import Frontier
from napari_lumen.inference.plan import CELL, Plan, make_plan
from napari_lumen.models import (
    InputSpec,
    Model,
    ModelCard,
    TrainingRecord,
    View,
    attention_modules,
    build,
    example_input,
    record_attention,
)
from napari_lumen.models.genotype import Genotype

GENOTYPE = Genotype.uniform("conv1", "conv1").model_dump(mode="json")
POSITIONS = {"D1": 2, "D2": 4, "D3": 8, "D4": 16, "U1": 8, "U2": 4, "U3": 2, "U4": 1}
HOSTS: dict[str, int | None] = {f"{position}.sam": stride for position, stride in POSITIONS.items()}
STRIDES: list[tuple[str, dict[str, Any], dict[str, int | None]]] = [
    ("cbam_unet", {"width": 4}, HOSTS),
    ("scse_unet", {"width": 4}, HOSTS),
    ("nas_scam", {"width": 4, "genotype": GENOTYPE}, HOSTS),
    ("attention_unet", {"preset": "slim"}, {"gate4.psi": 16, "gate3.psi": 8, "gate2.psi": 4}),
    (
        "darefinenet",
        {"depth": 18, "context_depth": 18},
        {f"refined_{level}": 2 ** (level + 1) for level in (4, 3, 2, 1)},
    ),
    (
        "focusnetpp",
        {"preset": "light"},
        {"e1.0.att0": 1, "e4.2.att2": 8, "bottleneck.1.att0": 16, "d2.0.att0": 2, "scale4": 8, "scale1": 1},
    ),
    ("multistage", {"encoder": "resnet18", "width": 4, "patch": 32, "crop": 32}, {"tumour_prob": 32}),
    ("multistage", {"variant": "segmentation", "width": 4}, {"tumour_prob": 1}),
    ("gated_attention", {"local_depth": 18}, {"semantic": None, "omega": None, "instance_mask": None}),
]


@pytest.mark.parametrize(("name", "arguments", "known"), STRIDES)
def test_the_cells_of_every_map_cover_the_input(
    name: str, arguments: dict[str, Any], known: dict[str, int | None]
) -> None:
    network = build(name, **arguments).eval()
    infos = {info.name: info for info, _ in attention_modules(network) if info.kind == "spatial"}
    assert {key: infos[key].stride for key in known} == known
    height, width = 50, 81
    with torch.inference_mode(), record_attention(network, *infos) as maps:
        network(example_input(network, (height, width)))
    for key, info in infos.items():
        if info.stride is None:
            continue
        for side, cells in zip((height, width), maps[key].shape[-2:], strict=True):
            padded = -(-side // 16) * 16
            assert side <= cells * info.stride < max(padded, side + info.stride) + 1, key


def plan_of(tile: int, overlap: int, side: int) -> Plan:
    slide = ArraySlide(np.zeros((side, side, 3), np.uint8))
    spec = InputSpec(views=(View(size=tile, mpp=0.5),), overlap=overlap)
    return make_plan(slide, spec, Region(0, 0, side, side))


def on_slide(plan: Plan, maps: dict[Window, npt.NDArray[np.float32]], stride: int | None) -> Any:
    """Return what the frontier makes of the maps of all tiles, one value a pixel of the grid."""
    frontier = Frontier(plan, plan.tiles_per_cell(), strides={"map": stride})
    step = frontier.stride("map", next(iter(maps.values())).shape[-1])
    whole = np.full(plan.grid.shape, np.nan, np.float32)
    for tile, values in maps.items():
        frontier.add(tile, np.zeros((1, plan.tile, plan.tile), np.float32), {"map": values})
        for cell in frontier.arrived(tile):
            window = plan.cell_window(cell.cell)
            pixels = np.kron(cell.attention["map"], np.ones((step, step), np.float32))
            whole[window.slices] = pixels[: window.height, : window.width]
    return whole


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 32, 256])
@pytest.mark.parametrize("tile", [200, 250, 500])
def test_a_cell_lies_where_its_stride_says_for_any_size_of_tile(tile: int, stride: int) -> None:
    plan = plan_of(tile, 0, 2 * tile)
    cells = math.ceil(tile / stride)
    padded = cells + 1  # what the network added reaches beyond the tile
    row, column = cells - 1, cells // 2
    peak = np.zeros((padded, padded), np.float32)
    peak[row, column] = 1
    peak[-1] = peak[:, -1] = 9
    found = on_slide(plan, dict.fromkeys(plan.tiles, peak), stride)
    expected = np.zeros(plan.grid.shape, np.float32)
    for place in plan.tiles:
        bottom, right = min((row + 1) * stride, tile), min((column + 1) * stride, tile)
        expected[place.y + row * stride : place.y + bottom, place.x + column * stride : place.x + right] = 1
    side = 2 * tile
    np.testing.assert_array_equal(found[:side, :side], expected[:side, :side])


@pytest.mark.parametrize("overlap", [32, 50])
@pytest.mark.parametrize(("tile", "stride"), [(200, 16), (250, 8), (500, 32), (250, 2)])
def test_the_cells_of_overlapping_tiles_meet_at_the_pixel_that_they_show(
    tile: int, stride: int, overlap: int
) -> None:
    plan = plan_of(tile, overlap, CELL * 3)
    y, x = 333, 271
    maps = {}
    for place in plan.tiles:
        maps[place] = np.zeros((math.ceil(tile / stride),) * 2, np.float32)
        if place.y <= y < place.y + tile and place.x <= x < place.x + tile:
            maps[place][(y - place.y) // stride, (x - place.x) // stride] = 1
    found = on_slide(plan, maps, stride)
    assert found[y, x] == pytest.approx(1)
    rows, columns = np.nonzero(found > 0)
    assert max(abs(rows - y).max(), abs(columns - x).max()) < stride


def test_a_map_without_a_stride_covers_its_tile_edge_to_edge() -> None:
    plan = plan_of(200, 0, 400)
    values = np.arange(49, dtype=np.float32).reshape(7, 7)
    found = on_slide(plan, dict.fromkeys(plan.tiles, values), None)[:200, :200]
    for row, column in ((0, 0), (3, 3), (6, 6), (1, 5)):
        middle = int((row + 0.5) * 200 / 7), int((column + 0.5) * 200 / 7)
        assert found[middle] == values[row, column]


@pytest.mark.parametrize(
    ("name", "arguments", "attention", "tile"),
    [
        ("cbam_unet", {"width": 4, "classes": 1}, ("U4.sam", "D2.sam", "D4.sam"), 200),
        ("focusnetpp", {"preset": "light"}, ("bottleneck.0.att0", "d1.0.att2", "scale3"), 90),
        (
            "darefinenet",
            {"depth": 18, "context_depth": 18, "variant": "multi_size", "classes": 1},
            ("refined_4", "refined_1"),
            100,
        ),
    ],
)
def test_a_run_stores_the_maps_of_its_network_where_they_are(
    name: str, arguments: dict[str, Any], attention: tuple[str, ...], tile: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = build(name, **arguments).eval()
    pixels = np.random.default_rng(0).integers(0, 255, (tile, 2 * tile, 3), np.uint8)
    card = ModelCard(
        name="known",
        title="Known",
        summary="Random.",
        task="segmentation",
        architecture=name,
        arguments=arguments,
        activation="sigmoid",
        classes=ClassTable.of([(1, "a", (0, 0, 0))]),
        input=InputSpec(views=(View(size=tile, mpp=0.5),), overlap=0),
        attention=attention,
        training=TrainingRecord(data="none", split="none"),
        scores={},
        licence="none",
        limits="none",
        weights_sha256="0" * 64,
    )
    run = predict(
        ArraySlide(pixels), Model(network, card, Path("known")), Region(0, 0, tile, 2 * tile), tmp_path / "r"
    )
    strides = {info.name: info.stride for info, _ in attention_modules(network)}
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    for raster in run.record.rasters:
        if raster.kind != "attention":
            continue
        stored = np.asarray(run.levels(raster)[0], np.float32)
        step, stride = int(raster.step[0]), strides[raster.name]
        assert stride is not None
        for start in (0, tile):
            with torch.inference_mode(), record_attention(network, raster.name) as maps:
                network(image[..., start : start + tile])
            truth = np.kron(maps[raster.name][0, 0].numpy(), np.ones((stride, stride)))[:tile, :tile]
            part = stored[: tile // step, start // step : (start + tile) // step]
            np.testing.assert_allclose(part, truth[::step, ::step], rtol=2e-2, atol=1e-3)
