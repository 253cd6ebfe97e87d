"""Where a model looked in one field: every map, gate and box in its exact place."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explain_fakes import dark_at, marker_model
from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import ModelError, RunError
from napari_lumen.explain import Explainer, channel_map, explain_field
from napari_lumen.explain.area_above import AreaAbove
from napari_lumen.explain.contour import contour
from napari_lumen.explain.entropy import entropy_bits
from napari_lumen.explain.field import read_views
from napari_lumen.explain.field_maps import FieldMaps
from napari_lumen.explain.overlay import on_picture
from napari_lumen.explain.parts import ExplainedField, Item, Part
from napari_lumen.explain.place import field_of
from napari_lumen.explain.titles import full_title
from napari_lumen.geometry import Grid, Region
from napari_lumen.models import InputSpec, Model, ModelCard, TrainingRecord, View, build, record_attention
from napari_lumen.models.genotype import Genotype
from napari_lumen.plugin.attention_tree import field_tree

STRIDES = (1, 2, 4, 8, 16, 32, None)
GENOTYPE = Genotype.uniform("conv1", "conv1").model_dump(mode="json")


def peak(item: Item) -> Region:
    assert item.grid is not None
    row, column = np.unravel_index(np.nanargmax(item.values), item.values.shape)
    y, x = item.grid.origin[0] + row * item.grid.step[0], item.grid.origin[1] + column * item.grid.step[1]
    return Region(float(y), float(x), *item.grid.step)


def off_by(item: Item, spot: Region) -> tuple[float, float]:
    """How far the middle of the peak lies from a spot's, in cells."""
    found = peak(item)
    assert item.grid is not None
    y = abs(found.y + found.height / 2 - spot.y - spot.height / 2) / item.grid.step[0]
    x = abs(found.x + found.width / 2 - spot.x - spot.width / 2) / item.grid.step[1]
    return y, x


@pytest.mark.parametrize(("size", "multiple"), [(64, 1), (77, 16), (90, 32), (127, 4)])
@pytest.mark.parametrize(
    ("shape", "levels", "own", "mpp"),
    [
        ((400, 420), (), 0.5, 0.5),
        ((801, 803), ((200, 201),), 0.25, 1.0),  # a pyramid of 4.005, which is 4
        ((600, 602), (), 0.25, 0.601),  # no level has the model's pixel size
        ((640, 640), ((160, 160),), 0.2501, 0.75),
    ],
)
def test_every_map_has_its_peak_in_the_cell_that_saw_it_and_its_edges_at_the_fields(
    size: int, multiple: int, shape: tuple[int, int], levels: Any, own: float, mpp: float
) -> None:
    spot = Region(204, 192, 4, 4)
    slide = dark_at(spot, shape, *levels, mpp=own)
    model = marker_model(*STRIDES, multiple=multiple, size=size, mpp=mpp)
    for place in ((206.0, 194.0), (190.0, 207.0), (221.0, 180.0)):
        field = explain_field(slide, model, place)
        for stride in STRIDES:
            item = field[f"map{stride}"]
            assert item.grid is not None
            allowed = 0.5 + (spot.height + 2 * mpp / own) / item.grid.step[0] / 2  # a spot between cells
            assert max(off_by(item, spot)) <= allowed, stride
            shown = FieldMaps(field)[f"map{stride}"]
            assert shown.grid == item.grid  # the network's own cells
            for edge in ("y", "x", "bottom", "right"):
                assert getattr(shown.region, edge) == pytest.approx(getattr(field.region, edge), abs=1e-6)


def test_a_field_over_a_rectangle_covers_it_to_half_a_pixel_and_around_a_point_lies_on_the_grid_of_runs() -> (
    None
):
    slide = ArraySlide(np.zeros((500, 500, 3), np.uint8), mpp=(0.25, 0.26))
    spec = InputSpec(views=(View(size=64, mpp=0.5), View(size=32, mpp=2.0)), overlap=0)
    asked = Region(31.5, 40.25, 201.0, 161.0)
    fine, context = field_of(slide, spec, asked).views
    for edge in ("y", "x", "bottom", "right"):
        assert getattr(fine.region, edge) == pytest.approx(getattr(asked, edge), abs=1.0)
    assert fine.step == (2.0, 0.5 / 0.26)
    assert context.shape == (round(fine.shape[0] / 2), round(fine.shape[1] / 2))
    for axis in ("y", "x"):
        side = "height" if axis == "y" else "width"
        middles = [getattr(v.region, axis) + getattr(v.region, side) / 2 for v in (fine, context)]
        assert middles[0] == pytest.approx(middles[1])
    around = field_of(slide, spec, (250.3, 251.9)).grid
    assert around.shape == (64, 64)
    assert [origin / step % 1 for origin, step in zip(around.origin, around.step, strict=True)] == [0, 0]


def test_boxes_lie_on_the_slide_the_best_first() -> None:
    slide = dark_at(Region(0, 0, 8, 8), (300, 300))
    field = explain_field(slide, marker_model(2, size=64), (100.0, 100.0))
    (first, score), (second, lower) = field["boxes"].boxes
    assert (score, lower) == (7.5, 2.25)
    assert first == Region(field.region.y + 32, field.region.x + 48, 32, 16)
    assert second == Region(field.region.y, field.region.x, 16, 32)


def test_a_field_says_probabilities_entropy_and_gates() -> None:
    slide = ArraySlide(np.full((100, 100, 3), 51, np.uint8))
    field = explain_field(slide, marker_model(4, size=64), (50.0, 50.0))
    dark = 1 / (1 + math.exp(-0.3 * 20))
    assert field.probabilities == pytest.approx({"pale": 1 - dark, "dark": dark}, abs=1e-5)
    bits = -dark * math.log2(dark) - (1 - dark) * math.log2(1 - dark)
    assert field.entropy == pytest.approx(bits, abs=1e-4)
    assert field["probability.dark"].values.shape == (64, 64)
    np.testing.assert_allclose(field["gate"].values, 0.8, atol=1e-6)
    whole = explain_field(slide, marker_model(4, size=64, whole=True), (50.0, 50.0))
    assert whole["classes"].labels == ("pale", "dark")
    assert sum(whole.probabilities.values()) == pytest.approx(1)


def test_the_entropy_of_a_field_that_is_classified_as_a_whole_is_a_map_with_one_value_for_all_of_it() -> None:
    slide, model = ArraySlide(np.full((100, 100, 3), 51, np.uint8)), marker_model(4, size=64, whole=True)
    field = explain_field(slide, model, (50.0, 50.0))
    item = field["entropy"]
    assert item.values == pytest.approx(field.entropy)
    assert 0 < field.entropy < 1
    assert item.grid is not None
    assert (item.grid.shape, item.grid.region) == ((1, 1), field.region)
    maps = FieldMaps(field)
    for y, x in ((19.0, 19.0), (80.0, 50.0)):
        assert maps.at(y, x).values["entropy"] == pytest.approx(field.entropy)
    assert [node.title for node in field_tree(field)[0].children] == ["Classes", "Entropy"]
    with torch.no_grad():
        model.network.register_forward_hook(lambda network, args, said: said * math.nan)
    nothing = explain_field(slide, model, (50.0, 50.0))
    assert np.isnan(nothing.entropy)
    assert np.isnan(FieldMaps(nothing).at(50.0, 50.0).values["entropy"])


def test_entropy_counts_the_background_that_a_card_leaves_out() -> None:
    card = marker_model(1).card.model_copy(update={"activation": "softmax"})
    third = np.full((2, 1), 1 / 3)
    assert entropy_bits(card, third) == pytest.approx(math.log2(3))
    assert entropy_bits(card, np.array([[1.0], [0.0]])) == pytest.approx(0)


def test_what_cannot_be_explained_is_told_in_one_sentence() -> None:
    slide = ArraySlide(np.zeros((100, 100, 3), np.uint8))
    model = marker_model(4, size=64)
    with pytest.raises(RunError, match=r"outside array\.tif"):
        explain_field(slide, model, (5000.0, 50.0))
    with pytest.raises(RunError, match="too many to be explained at once"):
        explain_field(slide, model, Region(0, 0, 5000, 5000))
    with pytest.raises(RunError, match="no channel gate 'nothing'; there is gate"):
        explain_field(slide, model, (50.0, 50.0), channels=["nothing"])
    one = Model(model.network, model.card.model_copy(update={"classes": ClassTable.named(["a"])}), model.path)
    with pytest.raises(ModelError, match="names 1, and the network answers for 2"):
        explain_field(slide, one, (50.0, 50.0))


def made(name: str, arguments: dict[str, Any], size: int, views: int = 1, **card: Any) -> Model:
    torch.manual_seed(0)
    facts: dict[str, Any] = {
        "name": "made",
        "title": "Made",
        "summary": "Random.",
        "task": "segmentation",
        "architecture": name,
        "arguments": arguments,
        "activation": "sigmoid",
        "classes": ClassTable.named(["a"]),
        "input": InputSpec(views=tuple(View(size=size, mpp=0.5 * 4**n) for n in range(views)), overlap=0),
        "training": TrainingRecord(data="none", split="none"),
        "scores": {},
        "licence": "none",
        "limits": "none",
        "weights_sha256": "0" * 64,
    }
    return Model(build(name, **arguments).eval(), ModelCard(**facts | card), Path("made"))


NETWORKS: list[tuple[partial[Model], list[str], set[str]]] = [
    (
        partial(
            made, "darefinenet", {"depth": 18, "context_depth": 18, "classes": 1, "encoder_width": 8}, 45, 2
        ),
        ["answer", "level 4", "level 3", "level 2", "level 1"],
        {"gate_4", "refined_1"},
    ),
    (
        partial(
            made,
            "multistage",
            {"encoder": "resnet18", "encoder_width": 8, "width": 4, "patch": 32, "crop": 32},
            70,
            activation="softmax",
        ),
        ["answer", "network"],
        {"tumour_prob", "feature_norm"},
    ),
    (
        partial(
            made,
            "gated_attention",
            {"local_depth": 18, "encoder_width": 8, "classes": 2, "dilated_width": 8, "local_size": 64},
            50,
            task="classification",
            activation="softmax",
            classes=ClassTable.named(["a", "b"]),
        ),
        ["answer", "global branch", "instance branch"],
        {"semantic", "semantic_S", "omega", "channel_gate", "instances"},
    ),
    (
        partial(made, "focusnetpp", {"preset": "light"}, 50),
        ["answer", "e1", "e2", "e3", "e4", "bottleneck", "d4", "d3", "d2", "d1", "network"],
        {"e3.2.att0", "bottleneck.1.se", "d1.0.att2", "scale4"},
    ),
    (
        partial(made, "nas_scam", {"width": 4, "genotype": GENOTYPE, "classes": 1}, 50),
        ["answer", "U4", "U3", "U2", "U1", "D4", "D3", "D2", "D1"],
        {"U4.sam", "U4.cam", "D1.sam"},
    ),
]


@pytest.fixture(scope="module", params=NETWORKS, ids=[make.args[0] for make, _, _ in NETWORKS])
def explained(
    request: pytest.FixtureRequest,
) -> tuple[Model, list[str], set[str], ArraySlide, ExplainedField]:
    make, parts, names = request.param
    model = make()
    slide = ArraySlide(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    return model, parts, names, slide, explain_field(slide, model, (100.0, 90.0))


def test_each_network_shows_what_its_paper_shows_and_what_it_recorded(explained: Any) -> None:
    model, parts, names, slide, field = explained
    assert [part.name for part in field.parts] == parts
    assert all(name in field for name in names)
    views = read_views(slide, field_of(slide, model.card.input, (100.0, 90.0)))
    tensors = tuple(torch.from_numpy(view.copy()).permute(2, 0, 1)[None].float() / 255 for view in views)
    with torch.inference_mode(), record_attention(model.network) as maps:
        model.network(tensors if len(tensors) > 1 else tensors[0])
    assert maps.keys() <= {item.name for item in field.items()}
    for name, recorded in maps.items():
        item, value = field[name], recorded[0].numpy()
        if item.kind == "map":
            assert item.grid is not None
            assert item.values.shape == item.grid.shape
            value = value[0][: item.grid.shape[0], : item.grid.shape[1]]
            for cells, step, side in zip(
                item.grid.shape, item.grid.step, (field.region.height, field.region.width), strict=True
            ):
                assert (cells - 1) * step < side <= cells * step + 1e-6  # no cell is of padding alone
        if item.kind in ("map", "channels"):
            np.testing.assert_allclose(item.values, value, rtol=1e-3, atol=1e-4)


def test_gated_attention_shows_its_best_and_worst_channels_and_says_what_can_be_compared() -> None:
    slide = ArraySlide(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    field = explain_field(slide, NETWORKS[2][0](), (100.0, 90.0))
    gates = field["channel_gate"].values
    shown = [item for item in field.items() if ".channel." in item.name]
    numbers = [int(item.name.rpartition(".")[2]) for item in shown]
    assert gates[numbers[0]] == gates.max()
    assert gates[numbers[len(numbers) // 2]] == gates.min()
    assert shown[0].grid == field["semantic"].grid
    assert not field["semantic_S"].comparable
    assert field["semantic_S"].raw == "semantic"
    assert field["semantic_S"].values.sum() == pytest.approx(1, abs=1e-5)
    assert field["semantic"].comparable


def test_a_channel_of_any_gate_is_a_map_where_it_was_kept() -> None:
    slide = ArraySlide(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    explainer = Explainer(NETWORKS[3][0](), "cpu")
    field = explainer.explain(slide, (100.0, 90.0), channels=["e4.1.se"])
    item = channel_map(field, "e4.1.se", 5)
    assert item.grid == field["e4.1.att0"].grid
    assert item.values.shape == field["e4.1.att0"].values.shape
    with pytest.raises(RunError, match="were not kept: explain the field with channels"):
        channel_map(field, "e1.0.se", 0)
    with pytest.raises(RunError, match="channels 0 to 127, not 128"):
        channel_map(field, "e4.1.se", 128)


def field_of_16() -> ExplainedField:
    """A field of 20 x 48 px whose map has 2 x 3 cells of 16 px: the last row reaches 12 px beyond it."""
    region, grid = Region(5, 7, 20, 48), Grid((2, 3), (16.0, 16.0), (5.0, 7.0))
    item = Item("m", "M", "", "map", np.arange(6.0).reshape(2, 3), grid)
    return ExplainedField("made", "Made", region, (), {}, 0.0, (Part("network", "Network", (item,)),))


def test_a_map_that_does_not_fit_its_field_keeps_its_cells_and_ends_where_the_field_does() -> None:
    item = FieldMaps(field_of_16())["m"]
    values, grid = item.read()
    np.testing.assert_array_equal(values, np.arange(6).reshape(2, 3))
    assert (grid, item.region) == (Grid((2, 3), (16.0, 16.0), (5.0, 7.0)), Region(5, 7, 20, 48))
    assert (item.value_at(24.9, 7), math.isnan(item.value_at(25.1, 7))) == (3, True)
    for threshold, area in ((4.0, 4 * 32), (1.0, 16 * 32 + 4 * 48)):
        along = contour(values, grid, threshold, "cells", item.within)
        assert sum(outline.area for outline in along) == area
        assert AreaAbove.of(values, grid, (1000.0, 1000.0), within=item.within).mm2(threshold) == area
    mask = np.zeros((64, 64), np.bool_)
    mask[:, :23] = True  # all of the first column
    tissue = (mask, Grid((64, 64), (1.0, 1.0)))
    above = AreaAbove.of(values, grid, (1000.0, 1000.0), tissue, item.within)
    assert above.tissue_mm2 == pytest.approx(20 * 16)
    assert above.share_of_tissue(3.0) == pytest.approx(4 / 20)


def test_a_smooth_outline_runs_between_the_middles_of_the_networks_cells_up_to_the_edge_of_the_field() -> (
    None
):
    item = FieldMaps(field_of_16())["m"]
    (outline,) = contour(*item.read(), 1.5, "interpolated", item.within)
    assert outline.bounds[3] == 25
    # from 1 to 2 half-way between the middles of the second and the third cell; below, half-way down
    assert min(abs(x - 39) + abs(y - 13) for x, y in outline.exterior.coords) < 1e-9
    assert min(abs(x - 15) + abs(y - 21) for x, y in outline.exterior.coords) < 1e-9


def test_a_figure_of_a_map_changes_evenly_between_the_networks_cells_and_ends_with_the_field() -> None:
    item = FieldMaps(field_of_16())["m"]
    shown = on_picture(*item.read(), Region(5, 7, 32, 48), (32, 48), "linear", item.within)
    np.testing.assert_allclose(np.diff(shown[8:20, 20], axis=0), 3 / 16, rtol=1e-5)
    assert np.isnan(shown[20:]).all()


def test_titles_say_part_and_item() -> None:
    assert full_title("d2.0.att0") == "Decoder stage 2, block 1: group attention: first for second"
    assert full_title("gate_3") == "Level 3: channel gates"
    assert full_title("U4.sam") == "Up block 4: spatial map"
    assert full_title("omega") == "Attention map"


def test_what_was_found_cannot_be_changed() -> None:
    slide = ArraySlide(np.zeros((100, 100, 3), np.uint8))
    field = explain_field(slide, marker_model(4, size=64), (50.0, 50.0))
    with pytest.raises(FrozenInstanceError):
        field.entropy = 0.0  # type: ignore[misc]
