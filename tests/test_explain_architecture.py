"""An architecture search, finished or going on, as weights over epochs and as graphs to draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
import torch

from napari_lumen.errors import RunError
from napari_lumen.explain.cell_graph import cell_graph, cell_graphs
from napari_lumen.explain.search_history import read_search
from napari_lumen.holding import write_text
from napari_lumen.models.genotype import CAM_OPS, EDGES, POSITIONS, SAM_OPS, Genotype
from napari_lumen.models.nas_scam import NASSCAM
from napari_lumen.training.recipes.nas_scam_search import alphas
from napari_lumen.training.tables import Tables


def searched(folder: Path, epochs: int = 3, *, synchronous: bool = True) -> list[NASSCAM]:
    """Write the tables of a search, whose alphas are others in each epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    tables, networks = Tables(folder), []
    for epoch in range(epochs):
        torch.manual_seed(epoch)
        network = NASSCAM(width=4, synchronous=synchronous)
        for alpha in network.alphas():
            torch.nn.init.normal_(alpha)
        genotype = pd.DataFrame({"genotype": [network.genotype().model_dump_json()]})
        tables.add("search", epoch, {"alphas": alphas(network), "genotypes": genotype})
        networks.append(network)
    tables.write()
    return networks


def test_every_cell_has_the_weight_of_each_operation_over_the_epochs(tmp_path: Path) -> None:
    networks = searched(tmp_path / "out" / "search")
    history = read_search(tmp_path / "out")
    assert [(item.position, item.cell) for item in history.weights] == [
        *((position, "sam") for position in POSITIONS),
        *((position, "cam") for position in POSITIONS),
    ]
    for position, cell, table, operations in (
        ("D1", "sam", "alpha_sam", SAM_OPS),
        ("U3", "cam", "alpha_cam", CAM_OPS),
    ):
        item = history.of(position, cell)  # type: ignore[arg-type]
        assert (item.edges, item.operations) == (EDGES, operations)
        np.testing.assert_array_equal(item.epochs, [0, 1, 2])
        for epoch, network in enumerate(networks):
            truth = network.get_submodule(table)()[POSITIONS.index(position)].detach().numpy()
            np.testing.assert_allclose(item.values[epoch], truth, atol=1e-6)
        np.testing.assert_allclose(item.values.sum(axis=-1), 1, atol=1e-5)
        assert item.winners() == getattr(networks[-1].genotype()[position], cell)


def test_a_search_that_goes_on_is_read_anew_and_its_genotype_is_that_of_the_last_epoch(
    tmp_path: Path,
) -> None:
    with pytest.raises(RunError, match="appears with its first epoch"):
        read_search(tmp_path)
    networks = searched(tmp_path, 1)
    assert len(read_search(tmp_path).weights[0].epochs) == 1
    networks = searched(tmp_path, 4)
    history = read_search(tmp_path)
    assert len(history.weights[0].epochs) == 4
    assert not history.finished
    assert history.genotype == networks[-1].genotype()
    write_text(tmp_path / "genotype.json", networks[1].genotype().model_dump_json())
    ended = read_search(tmp_path)
    assert ended.finished
    assert ended.genotype == networks[1].genotype()


def test_a_search_that_shares_one_cell_shows_it_at_every_position(tmp_path: Path) -> None:
    searched(tmp_path, synchronous=False)
    history = read_search(tmp_path)
    assert len(history.weights) == 2
    assert history.of("U4", "sam") is history.of("D1", "sam")
    (tmp_path / "alphas.parquet").write_bytes(b"nothing")
    with pytest.raises(RunError, match="is damaged"):
        read_search(tmp_path)


def test_a_cell_is_drawn_with_its_operations_and_what_has_no_part_in_the_gate() -> None:
    # 1-2, 1-3, 2-3, 1-4, 2-4, 3-4: node 3 leads nowhere
    rows = ["conv3", "conv5", "zero", "conv1", "dilated3", "zero"]
    genotype = Genotype.of_rows([rows], [["conv1"] * 6])
    graph = cell_graph(genotype, "U4", "sam")
    assert [edge.operation for edge in graph.edges] == rows
    assert [edge.used for edge in graph.edges] == [True, False, False, True, True, False]
    places = {node.number: (node.x, node.y) for node in graph.nodes}
    for edge in graph.edges:
        assert edge.points[0] == places[edge.source]
        assert edge.points[-1] == places[edge.target]
        assert edge.label in [(pytest.approx(x), pytest.approx(y)) for x, y in edge.points]
    assert len({edge.label for edge in graph.edges}) == 6
    assert graph.title == "U4, spatial cell"


def test_no_two_edges_of_a_cell_cross() -> None:
    graph = cell_graph(Genotype.uniform("conv1", "conv1"), "D1", "cam")
    lines = [shapely.LineString(edge.points[1:-1]) for edge in graph.edges]
    for index, one in enumerate(lines):
        assert not any(one.intersects(other) for other in lines[index + 1 :])


def test_graphs_of_a_search_carry_its_weights(tmp_path: Path) -> None:
    searched(tmp_path)
    history = read_search(tmp_path)
    assert history.genotype is not None
    graphs = cell_graphs(history.genotype, history)
    assert [(graph.position, graph.cell) for graph in graphs[:3]] == [
        ("D1", "sam"),
        ("D1", "cam"),
        ("D2", "sam"),
    ]
    assert len(graphs) == 16
    for edge, best in zip(graphs[0].edges, history.of("D1", "sam").values[-1].max(axis=-1), strict=True):
        assert edge.weight == pytest.approx(best)
