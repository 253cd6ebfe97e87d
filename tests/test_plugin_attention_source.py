"""What each network offers in the tree, of a field and of a run; and a slide that has moved."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from napari.components import ViewerModel
from napari.layers import Layer

from attention_bench import MARKER, Bench
from explain_fakes import marker_model
from fakes import ArraySlide
from napari_lumen import open_slide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.decision import STATES
from napari_lumen.cli.run_slide import slide_of
from napari_lumen.errors import RunError
from napari_lumen.explain import Explainer
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import predict
from napari_lumen.models import InputSpec, Model, ModelCard, TrainingRecord, View, build, load_model
from napari_lumen.models.genotype import Genotype
from napari_lumen.plugin.attention_tree import Node, field_tree, find_node, first_map, run_tree
from napari_lumen.plugin.catalogue import Catalogue
from napari_lumen.plugin.controllers.arrivals import Arrivals
from napari_lumen.plugin.controllers.attention import AttentionController
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.opening import open_slide_of
from napari_lumen.plugin.slide_layers import slide_layer
from plugin_fakes import write_run
from test_plugin_correct import AtOnce

NETWORKS: Any = [
    ("darefinenet", {"depth": 18, "context_depth": 18, "classes": 1}, 2, False),
    ("multistage", {"encoder": "resnet18", "width": 16, "patch": 32, "crop": 32}, 1, True),
    (
        "nas_scam",
        {"width": 8, "classes": 1, "genotype": Genotype.uniform("conv1", "conv1").model_dump()},
        1,
        0,
    ),
]


def tree_of(architecture: str, arguments: Any, views: int, softmax: Any) -> tuple[Node, ...]:
    torch.manual_seed(0)
    card = ModelCard(
        name="small",
        title="Small",
        summary="Untrained.",
        task="segmentation",
        architecture=architecture,
        arguments=arguments,
        activation="softmax" if softmax else "sigmoid",
        classes=ClassTable.of([(1, "a", (0, 0, 255))]),  # of a softmax beside the background
        input=InputSpec(views=tuple(View(size=64, mpp=0.5 * 4**index) for index in range(views)), overlap=0),
        objects="none",
        training=TrainingRecord(data="none", split="none"),
        scores={},
        licence="none",
        limits="none",
        weights_sha256="0" * 64,
    )
    model = Model(build(architecture, **arguments).eval(), card, Path("small"))
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    return field_tree(Explainer(model, "cpu").explain(ArraySlide(pixels), (100.0, 100.0)))


@pytest.mark.parametrize(("architecture", "arguments", "views", "softmax"), NETWORKS)
def test_the_tree_holds_all_that_a_network_records(
    architecture: str, arguments: Any, views: int, softmax: Any
) -> None:
    tree = tree_of(architecture, arguments, views, softmax)
    assert tree[0].title == "Answer"
    assert tree[0].children[-1].title == "Entropy"
    nodes = [node for root in tree[1:] for node in root.walk()]
    kinds = {node.kind for node in nodes}
    if architecture == "darefinenet":
        assert {"part", "channels", "map"} <= kinds
    elif architecture == "multistage":
        assert {"tumour_prob", "tumour_prob" + STATES, "feature_norm"} <= {node.name for node in nodes}
    else:
        assert [node.title for node in tree[1:3]] == ["Up block 4", "Up block 3"]  # the last two first
        assert [child.title for child in tree[1].children] == ["Spatial map", "Channel gates"]


def test_the_tree_of_gated_attention_warns_of_what_cannot_be_compared_and_names_the_raw_map() -> None:
    model = load_model("synthetic-fields-gated-attention")
    pixels = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), np.uint8)
    slide = ArraySlide(pixels, mpp=(2.0, 2.0))
    bench = Bench(slide, model)
    bench.look_at(Region(300, 300, 256, 256))
    bench.controller.explain_view()
    tree = bench.controller.state.tree
    titles = [node.title for root in tree for node in root.walk()]
    assert {"Semantic map", "Attention map", "Channel gates", "Instances", "Classes"} <= set(titles)
    assert sum(title.startswith("Best-gated") for title in titles) == 3
    assert sum(title.startswith("Worst-gated") for title in titles) == 3
    node = find_node(tree, "semantic_S")
    assert node is not None
    assert not node.comparable
    field = bench.controller.field
    assert field is not None
    name, value = max(field.explained.probabilities.items(), key=lambda pair: pair[1])
    bench.controller.choose_map("classes")  # of the whole field: no map
    assert f"whole field: {name} {value:.2f}," in bench.controller.state.message
    bench.controller.choose_map("semantic_S")
    assert bench.controller.state.message == ""
    legend = bench.controller.state.legend
    assert legend is not None
    assert "cannot be compared" in legend.note
    assert legend.raw == "semantic"
    bench.controller.choose_map(legend.raw)
    after = bench.controller.state.legend
    assert after is not None
    assert (after.note, after.raw) == ("", None)


def test_the_tree_of_a_run_tells_the_levels_of_one_map_apart() -> None:
    def kept(name: str) -> Any:
        return SimpleNamespace(
            name=name, kind="attention", title="", description="", comparable=True, raw=None
        )

    maps: Any = SimpleNamespace(
        maps=[kept(name) for name in ("refined_4", "refined_3", "U1.sam")],
        gates=("gate_4", "gate_3"),
        run=SimpleNamespace(record=SimpleNamespace(files=())),
    )
    titles = [node.title for root in run_tree(maps) for node in root.walk() if node.kind != "part"]
    assert sorted(titles) == [
        "Level 3: channel gates",
        "Level 3: gated features",
        "Level 4: channel gates",
        "Level 4: gated features",
        "Spatial map",
    ]


def test_the_tree_of_a_run_has_its_maps_gates_and_boxes_and_says_what_it_does_not_keep(
    tmp_path: Path,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    slide, model = ArraySlide(pixels, mpp=(2.0, 2.0)), load_model("synthetic-fields-gated-attention")
    bench = Bench(slide, model)
    bench.show_run(predict(slide, model, Region(0, 0, 512, 512), tmp_path / "run"))
    tree = bench.controller.state.tree
    kinds = {node.name: node.kind for root in tree for node in root.walk()}
    assert kinds["channel_gate"] == "channels"
    assert kinds["instances"] == "boxes"
    assert kinds["semantic_S"] == "map"
    hint = bench.controller.state.hint
    assert re.match(r"This run keeps (\d+) of the (\d+) maps and gates that .+ records: right-click", hint)
    assert "semantic" not in kinds
    bench.controller.choose_map("semantic_S")
    legend = bench.controller.state.legend
    assert legend is not None
    assert "right-click a tile" in legend.note
    before = len(bench.viewer.layers)
    bench.controller.choose_map("instances")
    assert len(bench.viewer.layers) <= before + 1
    assert bench.controller.current is not None  # the map stays below the boxes


def test_a_map_in_the_colours_of_a_decision_is_red_from_one_half_on() -> None:
    tree = (
        Node("n", "N", "part", children=(Node("x.tumour_prob", "T", "map"), Node("entropy", "E", "map"))),
    )
    assert first_map(tree) == "x.tumour_prob"
    assert first_map(tree, "gone", "entropy") == "entropy"
    assert first_map(()) is None
    assert find_node(tree, "n") is None


class Moved:
    """A run over a slide that has moved since, shown in a viewer, and a controller that looks at it."""

    def __init__(self, folder: Path, *others: ArraySlide) -> None:
        there, self.now = folder / "was" / "case.tif", folder / "now" / "else.tif"
        for place in (there.parent, self.now.parent, folder / "runs"):
            place.mkdir()
        write_slide(there)
        with open_slide(there) as slide:
            self.run = write_run(folder / "runs" / "run", slide, Window(64, 64, 16, 16))
            layers = run_layers(self.run, "case").layers
        there.rename(self.now)
        self.viewer = ViewerModel()
        for other in others:
            self.viewer.add_layer(Layer.create(*slide_layer(other)))
        for data in layers:
            self.viewer.add_layer(Layer.create(*data))
        self.results = list(self.viewer.layers)[len(others) :]
        self.controller = AttentionController(self.viewer, AtOnce(), lambda: Catalogue((MARKER,), ()))

    @property
    def missing(self) -> str | None:
        return None if self.controller.state.missing is None else self.controller.state.missing.name


def write_slide(path: Path) -> None:
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (512, 512, 3), np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), resolution=(20000, 20000), resolutionunit="CENTIMETER")


def test_a_slide_that_has_moved_is_asked_for_once_and_found_from_then_on(tmp_path: Path) -> None:
    moved = Moved(tmp_path)
    controller, layers = moved.controller, moved.viewer.layers
    assert moved.missing == "case.tif"
    assert "Open case.tif" in (controller.state.blocked or "")
    controller.open_missing(moved.now)
    assert moved.missing is None
    assert controller.state.slide == "else.tif"
    assert controller.source is not None
    assert layers.index(layers["else.tif"]) < min(layers.index(layer) for layer in moved.results)
    opened, _ = open_slide_of(moved.run)
    assert opened.path.name == "else.tif"
    opened.close()
    with slide_of(RunMaps(moved.run), None) as found:  # so do the commands
        assert found.path.name == "else.tif"
    controller.close()


def test_another_file_is_no_slide_of_a_run_and_is_not_left_open(tmp_path: Path) -> None:
    moved = Moved(tmp_path, ArraySlide(np.full((1024, 1024, 3), 200, np.uint8)))
    controller, before = moved.controller, list(moved.viewer.layers)
    assert moved.missing == "case.tif"  # though another slide is open
    assert controller.state.blocked is None
    assert controller.state.wanted.startswith("case.tif, the slide of run, is not open")
    write_slide(tmp_path / "wrong one.tif")
    controller.open_missing(tmp_path / "wrong one.tif")
    assert controller.state.message.startswith("wrong one.tif is not case.tif")
    controller.open_missing(tmp_path / "nothing.svs")
    assert controller.state.message == f"There is no file {tmp_path / 'nothing.svs'}. Check the path."
    assert list(moved.viewer.layers) == before
    assert moved.missing == "case.tif"
    with pytest.raises(RunError, match="Say where it is by --slide"), slide_of(RunMaps(moved.run), None):
        pass
    controller.open_missing(moved.now)
    assert controller.state.slide == "else.tif"
    assert controller.state.wanted == ""
    controller.close()


def test_a_moved_slide_that_the_user_opens_is_found_from_then_on(tmp_path: Path) -> None:
    moved = Moved(tmp_path)
    arrivals = Arrivals(moved.viewer, lambda: None)
    moved.viewer.open(str(moved.now), plugin="napari-lumen")
    assert moved.missing is None
    opened, _ = open_slide_of(moved.run)
    assert opened.path == moved.now
    opened.close()
    arrivals.close()
    moved.controller.close()


def test_a_view_of_a_slide_without_a_pixel_size_asks_for_it_in_the_words_of_the_window() -> None:
    slide = ArraySlide(np.full((1024, 1024, 3), 200, np.uint8), mpp=None)
    bench = Bench(slide, marker_model(2, size=64))
    for ask in (bench.controller.explain_view, lambda: bench.controller.explain_at(100, 100)):
        ask()
        assert bench.controller.state.blocked is not None
        assert bench.controller.state.blocked.startswith("Give the pixel size in the Slide panel")
        assert "open_slide" not in bench.controller.state.message
    assert bench.controller.field is None
