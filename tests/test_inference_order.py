"""In what order tiles come, and what waits meanwhile."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fakes import ArraySlide, Constant, Darkness, model_of
from napari_lumen import ModelError, RunError
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import Live, Progress, predict
from napari_lumen.inference.forward import Forward, out_of_memory
from napari_lumen.inference.frontier import Frontier
from napari_lumen.inference.order import Order
from napari_lumen.inference.plan import CELL, Plan, blending_window, make_plan
from napari_lumen.models import InputSpec, Model, View


def plan_of(side: int, tile: int = 128, overlap: int = 32) -> Plan:
    slide = ArraySlide(np.zeros((side, side, 3), np.uint8))
    spec = InputSpec(views=(View(size=tile, mpp=0.5),), overlap=overlap)
    return make_plan(slide, spec, Region(0, 0, side, side))


def drained(order: Order, step: int = 5) -> list[Window]:
    found: list[Window] = []
    while order:
        found += order.take(step)
    return found


def middle(tile: Window) -> tuple[float, float]:
    return tile.y + tile.height / 2, tile.x + tile.width / 2


@pytest.mark.parametrize("focus", [None, Region(500, 900, 300, 200)])
def test_every_tile_comes_once(focus: Region | None) -> None:
    plan = plan_of(3000)
    found = drained(Order(plan, plan.tiles_per_cell(), lambda: focus))
    assert len(found) == len(plan.tiles)
    assert set(found) == set(plan.tiles)


def test_what_is_looked_at_comes_first_and_then_what_is_near() -> None:
    plan = plan_of(4000)
    view = Region(2000, 2600, 400, 500)
    found = drained(Order(plan, plan.tiles_per_cell(), lambda: view))
    inside = [view.y < y < view.bottom and view.x < x < view.right for y, x in map(middle, found)]
    touched = {
        cell for tile, is_in in zip(found, inside, strict=True) if is_in for cell in plan.cells_of(tile)
    }
    needed = sum(any(cell in touched for cell in plan.cells_of(tile)) for tile in plan.tiles)
    assert max(index for index, is_in in enumerate(inside) if is_in) < needed
    away = np.array([np.hypot(y - 2200, x - 2850) for y, x in map(middle, found)])
    thirds = np.array_split(away, 3)
    assert thirds[0].mean() < thirds[1].mean() < thirds[2].mean()


def test_a_focus_that_moves_changes_what_comes_next_and_loses_nothing() -> None:
    plan = plan_of(4000)
    looked_at = [Region(0, 0, 300, 300)]
    order = Order(plan, plan.tiles_per_cell(), lambda: looked_at[0])
    found = order.take(12)
    assert all(y < 700 and x < 700 for y, x in map(middle, found))
    looked_at[0] = Region(3500, 3500, 300, 300)
    after = order.take(12)
    assert all(y > 3200 and x > 3200 for y, x in map(middle, after))
    assert set(found + after + drained(order)) == set(plan.tiles)


def test_without_a_focus_few_cells_are_open_at_a_time() -> None:
    plan = plan_of(6000)
    frontier = Frontier(plan, plan.tiles_per_cell())
    most = 0
    answer = np.zeros((1, plan.tile, plan.tile), np.float32)
    for tile in drained(Order(plan, plan.tiles_per_cell())):
        frontier.add(tile, answer, {})
        frontier.arrived(tile)
        most = max(most, len(frontier._open))
    assert not frontier._open
    assert most < 3 * (6000 // CELL + 1)  # a row of the slide and what is worked at, of 576 cells


@pytest.mark.parametrize(("tile", "overlap"), [(128, 32), (96, 0), (64, 7), (96, 48), (64, 56)])
def test_a_cell_is_the_weighted_mean_of_the_tiles_that_answered(tile: int, overlap: int) -> None:
    plan = plan_of(500, tile, overlap)
    frontier = Frontier(plan, plan.tiles_per_cell())
    rng = np.random.default_rng(2)
    value, weight = np.zeros((2, 1500, 1500)), np.zeros((1500, 1500))
    found = []
    for index, window in enumerate(plan.tiles):
        if index % 7:
            answer = rng.random((2, tile, tile), np.float32)
            frontier.add(window, answer, {})
            place = Window(window.y + 500, window.x + 500, tile, tile).slices
            value[:, *place] += answer * blending_window(tile, overlap)
            weight[place] += blending_window(tile, overlap)
        found += frontier.arrived(window)
    assert {cell.cell for cell in found} == set(plan.tiles_per_cell())
    for cell in found:
        y, x = (slice(of.start + 500, of.stop + 500) for of in plan.cell_window(cell.cell).slices)
        np.testing.assert_array_equal(cell.covered, weight[y, x] > 0)
        mean = np.where(weight[y, x] > 0, value[:, y, x] / np.maximum(weight[y, x], 1e-9), 0)
        np.testing.assert_allclose(np.broadcast_to(cell.probability, mean.shape), mean, atol=1e-6)


def test_cells_that_wait_on_disk_come_out_the_same() -> None:
    plan = plan_of(1000)
    rng = np.random.default_rng(0)
    answers = {tile: rng.random((2, plan.tile, plan.tile), np.float32) for tile in plan.tiles}
    outcomes = []
    for limit in (1 << 30, 1):
        frontier = Frontier(plan, plan.tiles_per_cell(), limit)
        cells = {}
        for tile, answer in answers.items():
            frontier.add(tile, answer, {"map": answer[0, ::8, ::8]})
            cells |= {cell.cell: cell for cell in frontier.arrived(tile)}
        frontier.close()
        outcomes.append(cells)
    for cell, held in outcomes[0].items():
        spilled = outcomes[1][cell]
        np.testing.assert_array_equal(held.probability, spilled.probability)
        np.testing.assert_array_equal(held.attention["map"], spilled.attention["map"])


class Offset(nn.Module):
    """Dark where the fine view is dark in its middle and the context is bright there."""

    view_count = 2

    def forward(self, views: tuple[Tensor, Tensor]) -> Tensor:
        fine, context = views
        self.seen = context
        return (0.5 - fine.mean(dim=1, keepdim=True)) * 100


def two_views(size: int, factor: float) -> Model:
    model = model_of(Offset(), size=size)
    views = (View(size=size, mpp=0.5), View(size=size, mpp=0.5 * factor))
    spec = model.card.input.model_copy(update={"views": views})
    return Model(model.network, model.card.model_copy(update={"input": spec}), model.path)


def test_the_context_of_a_tile_has_its_centre_and_is_white_outside(tmp_path: Path) -> None:
    from napari_lumen.inference.reading import TileReader

    base = np.full((400, 500, 3), 255, np.uint8)
    base[192:208, 242:258] = 0
    model = two_views(64, 4)
    slide = ArraySlide(base)
    plan = make_plan(slide, model.card.input, Region(0, 0, 400, 500))
    reader = TileReader(slide, plan.grid, model.card.input.views)
    fine, context = reader.read(Window(200 - 32, 250 - 32, 64, 64)) or ()
    for view, half in ((fine, 8), (context, 2)):
        dark = np.argwhere(view[..., 0] < 128)
        assert dark.min(axis=0).tolist() == [32 - half, 32 - half]
        assert dark.max(axis=0).tolist() == [31 + half, 31 + half]
    corner = (reader.read(Window(-8, -8, 64, 64)) or ())[1]
    assert (corner[:24] == 255).all()
    run = predict(slide, model, Region(0, 0, 400, 500), tmp_path / "run")
    assert np.asarray(run.levels(run.labels)[0]).sum() == 16 * 16


def test_a_network_and_a_card_that_disagree_on_the_classes_are_named(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2]

    with pytest.raises(ModelError, match="field 'classes': it names 1, and the network answers for 2"):
        predict(
            ArraySlide(np.zeros((99, 99, 3), np.uint8)), model_of(Two()), Region(0, 0, 99, 99), tmp_path / "r"
        )


class Hungry(nn.Module):
    """Has memory for so many tiles at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        self.batches.append(len(x))
        return (0.5 - x.mean(dim=1, keepdim=True)) * 200


def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # so that all four go through together
    dark = np.zeros((300, 300, 3), np.uint8)
    run = predict(ArraySlide(dark), model_of(Hungry(2)), Region(0, 0, 300, 300), tmp_path / "run")
    assert np.asarray(run.levels(run.labels)[0])[:300, :300].all()
    assert run.record.sessions[0].batch == 2


@pytest.mark.parametrize(
    "said",
    [
        "MPS backend out of memory (MPS allocated: 8.88 GB, max allowed: 9.07 GB).",
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to",
        "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory",
        "std::bad_alloc",
    ],
)
def test_out_of_memory_is_known_by_the_words_of_every_system(said: str) -> None:
    assert out_of_memory(RuntimeError(said))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError(said))


def test_memory_for_not_even_one_tile_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not suffice for one tile of Known"):
        predict(
            ArraySlide(np.zeros((99, 99, 3), np.uint8)),
            model_of(Hungry(0)),
            Region(0, 0, 99, 99),
            tmp_path / "r",
        )
    assert not (tmp_path / "r").exists()


def test_a_growing_result_can_be_read_at_every_level_while_it_grows(tmp_path: Path) -> None:
    grown: list[Live] = []
    seen: list[tuple[float, float]] = []
    base = np.zeros((3000, 3000, 3), np.uint8)

    def look(progress: Progress) -> None:
        if not grown:
            return
        (live,) = grown
        regions = live.changed()
        labels = live.records[0]
        for region in regions[:2]:
            for level in (0, 1):
                y, x = int(region.y) >> level, int(region.x) >> level
                height, width = int(region.height) >> level, int(region.width) >> level
                assert live.read(labels, level, Window(y, x, height, width)).all()
        coarsest = len(labels.shapes) - 1
        whole = live.read(labels, coarsest, Window(0, 0, *labels.shapes[coarsest]))
        seen.append((progress.done / progress.total, float(whole.mean())))

    model = model_of(Darkness(), size=256, overlap=32, attention=("attention",))
    predict(
        ArraySlide(base),
        model,
        Region(0, 0, 3000, 3000),
        tmp_path / "run",
        on_progress=look,
        on_live=grown.append,
    )
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert any(0.2 < share < 0.8 for share in shares)


def test_cancel_before_the_first_batch_leaves_no_folder(tmp_path: Path) -> None:
    cancel = Event()
    cancel.set()
    with pytest.raises(Cancelled):
        predict(
            ArraySlide(np.zeros((99, 99, 3), np.uint8)),
            model_of(Constant(0.5)),
            Region(0, 0, 99, 99),
            tmp_path / "r",
            cancel=cancel,
        )
    assert not (tmp_path / "r").exists()


def test_a_batch_in_halves_gives_the_same(tmp_path: Path) -> None:
    pixels = [np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)]
    whole = (
        Forward(model_of(Darkness(), attention=("attention",)), torch.device("cpu")).submit(pixels).result()
    )
    halves = Forward(model_of(Hungry(2)), torch.device("cpu")).submit(pixels).result()
    np.testing.assert_allclose(whole.probability, halves.probability, atol=1e-5)
