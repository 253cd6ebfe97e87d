"""Runs that answer tiles as a whole: placed exactly, kept at their own resolution, resumable."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import shapely
import torch
import zarr
from torch import Tensor, nn

from fakes import ArraySlide, model_of
from napari_lumen import ModelError, RunError
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import Progress, Run, predict
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.live import Live
from napari_lumen.inference.order import Order
from napari_lumen.inference.tile_plan import make_tile_plan
from napari_lumen.models import InputSpec, Model, View, build, record_attention
from napari_lumen.models.attention import mark_attention

TILE = 56
ROWS, COLUMNS = 9, 11
WHOLE = Region(0, 0, ROWS * TILE, COLUMNS * TILE)
TWO = ClassTable.of([(4, "pale", (0, 0, 255)), (9, "dark", (255, 0, 0))])

# what a killed process runs: the same call as in the test, slow enough to be killed, telling how far it is
CHILD = """
import sys, time
import torch
sys.path.insert(0, {tests!r})
import napari_lumen.inference.writer as writer
from test_inference_tiles import WHOLE, checkered, classifier
from fakes import ArraySlide
from napari_lumen.inference import predict
writer._SOONEST, writer._SHARE = 0.0, 1.0  # write after every batch, so that there is something to kill
torch.set_num_threads(1)


def tell(progress):
    print(progress.stage, progress.done, sep=":", flush=True)
    time.sleep(0.05)


predict(ArraySlide(checkered()), classifier(), WHOLE, {out!r}, on_progress=tell)
"""


class Shade(nn.Module):
    """Says how dark a tile is: logits of pale and dark; its map is the darkness of 7 x 7 parts of it."""

    def __init__(self, side: int = 7) -> None:
        super().__init__()
        self.map = mark_attention(nn.AdaptiveAvgPool2d(side), "spatial", "Darkness.")
        self.gate = mark_attention(nn.Identity(), "channel", "Darkness of red, green and blue.")

    def forward(self, x: Tensor) -> Tensor:
        dark = 1 - x
        self.map(dark.mean(dim=1, keepdim=True))
        mean = self.gate(dark.mean(dim=(2, 3))).mean(dim=1, keepdim=True)
        return torch.cat([torch.zeros_like(mean), (mean - 0.5) * 10], dim=1)


class Corners(nn.Module):
    """Says that every tile is dark, by two boxes of three that it could name."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes = mark_attention(nn.Identity(), "boxes", "Corners.")

    def forward(self, x: Tensor) -> Tensor:
        nothing = [float("nan")] * 5
        boxes = torch.tensor([[0.0, 0.0, 0.25, 0.5, 7.5], [0.5, 0.75, 1.0, 1.0, 2.25], nothing])
        self.boxes(boxes.repeat(len(x), 1, 1))
        return torch.tensor([[-9.0, 9.0]]).repeat(len(x), 1)


def classifier(network: nn.Module | None = None, *attention: str, **changes: Any) -> Model:
    """Give a network that answers for tiles a card."""
    shaped = {"size": TILE, "overlap": 0, "classes": TWO, "activation": "softmax"} | changes
    model = model_of(network or Shade(), attention=attention or ("map",), **shaped)
    return Model(model.network, model.card.model_copy(update={"task": "classification"}), model.path)


def checkered(block: int = 8) -> np.ndarray:
    """Grey in blocks of 8 px, the pixels of the 7 x 7 maps; each tile is darker or paler than the next."""
    rng = np.random.default_rng(5)
    height, width = ROWS * TILE // block, COLUMNS * TILE // block
    grey = rng.integers(0, 120, (height, width)) + np.kron(
        rng.integers(0, 2, (ROWS, COLUMNS)) * 120, np.ones((7, 7), int)
    )
    return np.kron(grey[..., None].astype(np.uint8), np.ones((block, block, 3), np.uint8))


def darkness(picture: np.ndarray, side: int) -> np.ndarray:
    """Mean darkness of blocks of a side."""
    rows, columns = (length // side for length in picture.shape[:2])
    return 1 - picture[..., 0].reshape(rows, side, columns, side).mean(axis=(1, 3)) / 255


def raster(run: Run, name: str, level: int = 0) -> np.ndarray:
    record = next(record for record in run.record.rasters if record.name == name)
    return np.asarray(run.levels(record)[level])


def table(run: Run) -> list[dict[str, str]]:
    with (run.path / "tiles.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same(run: Run, truth: Run) -> None:
    assert run.record.rasters == truth.record.rasters
    for record in truth.record.rasters:
        for found, wanted in zip(run.levels(record), truth.levels(record), strict=True):
            np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), atol=1e-6)
    assert run.record.counts == truth.record.counts
    assert (run.path / "tiles.csv").read_bytes() == (truth.path / "tiles.csv").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return predict(ArraySlide(checkered()), classifier(), WHOLE, tmp_path_factory.mktemp("truth") / "run")


# -- what is said, and where ---------------------------------------------------------------------------


def test_each_tile_has_its_class_and_probability_at_its_place(undisturbed: Run) -> None:
    run, dark = undisturbed, darkness(checkered(), TILE)
    wanted = 1 / (1 + np.exp(-(dark - 0.5) * 10))
    np.testing.assert_allclose(raster(run, "dark")[:ROWS, :COLUMNS], wanted, atol=0.51 / 255)
    np.testing.assert_allclose(raster(run, "pale")[:ROWS, :COLUMNS], 1 - wanted, atol=0.51 / 255)
    labels = raster(run, "classes")
    np.testing.assert_array_equal(labels[:ROWS, :COLUMNS], np.where(dark > 0.5, 9, 4))
    assert not labels[ROWS:].any()
    assert not labels[:, COLUMNS:].any()
    for record in run.record.rasters[:3]:
        assert (record.step, record.origin) == ((TILE, TILE), (0, 0))
        assert len(record.shapes) >= 2  # napari lets a single level be painted over
    rows = table(run)
    assert len(rows) == ROWS * COLUMNS
    for row in rows:
        cell = int(float(row["y"])) // TILE, int(float(row["x"])) // TILE
        assert float(row["dark"]) == pytest.approx(wanted[cell], abs=1e-5)
        assert row["class"] == ("dark" if dark[cell] > 0.5 else "pale")


def test_attention_keeps_its_own_resolution_at_every_level(undisturbed: Run) -> None:
    record = undisturbed.record.rasters[-1]
    assert (record.kind, record.step, record.origin) == ("attention", (8, 8), (0, 0))
    truth = np.full(record.shapes[0], np.nan, np.float32)
    truth[: ROWS * 7, : COLUMNS * 7] = darkness(checkered(), 8)
    np.testing.assert_allclose(raster(undisturbed, "map"), truth, atol=1e-6)
    blocks = truth.reshape(truth.shape[0] // 2, 2, truth.shape[1] // 2, 2)
    np.testing.assert_allclose(raster(undisturbed, "map", 1), np.nanmean(blocks, axis=(1, 3)), atol=1e-6)


def test_tiles_of_another_pixel_size_are_placed_by_their_edges(tmp_path: Path) -> None:
    picture = np.full((1000, 1500, 3), 255, np.uint8)
    picture[444:668, 302:974] = 0  # 2 x 6 tiles of 112 px of the slide
    model = classifier(mpp=1.0)
    run = predict(ArraySlide(picture, mpp=(0.5, 0.5)), model, Region(0, 0, 1000, 1500), tmp_path / "run")
    labels = next(record for record in run.record.rasters if record.kind == "labels")
    rows, columns = np.nonzero(np.asarray(run.levels(labels)[0]) == 9)
    grid = run.grid(labels)
    found = grid.region_of(Window(rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1))
    # nine rows of tiles stand out by 8 px, half of it on each side; fourteen columns by 68
    assert grid.origin == (-4, -34)
    assert found == Region(444, 302, 224, 672)
    fields = [(float(row["y"]), float(row["x"])) for row in table(run)]
    assert min(fields) == (-4, -34)
    assert max(fields) == (-4 + 112 * 8, -34 + 112 * 13)
    assert run.record.analysed_mm2 == pytest.approx(1000 * 1500 * 0.25 / 1e6)


def test_without_a_choice_of_none_the_most_probable_class_is_taken(tmp_path: Path) -> None:
    class Even(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([[0.0, 0.1]]).repeat(len(x), 1) - 1

    slide, even = ArraySlide(checkered()), Even()
    even.map = Shade().map
    for activation, wanted in (("softmax", 9), ("sigmoid", 0)):
        model = classifier(even, activation=activation)
        model = Model(even, model.card.model_copy(update={"attention": ()}), model.path)
        run = predict(slide, model, WHOLE, tmp_path / activation)
        assert set(np.unique(raster(run, "classes")[:ROWS, :COLUMNS])) == {wanted}
    assert {row["class"] for row in table(run)} == {""}
    assert [count.objects for count in run.record.counts] == [0, 0]


def test_connected_tiles_are_counted_with_the_area_that_they_have_on_the_slide(tmp_path: Path) -> None:
    picture = np.full((100, 300, 3), 255, np.uint8)
    picture[:, :94] = 0  # two columns of tiles, of which the first begins 18 px outside the slide
    run = predict(ArraySlide(picture), classifier(), Region(0, 0, 100, 300), tmp_path / "run")
    pale, dark = run.record.counts
    assert (pale.objects, dark.objects) == (1, 1)
    assert dark.area_mm2 == pytest.approx(100 * 94 * 0.25 / 1e6)
    assert pale.area_mm2 + dark.area_mm2 == pytest.approx(run.record.analysed_mm2)
    assert run.record.analysed_mm2 == pytest.approx(100 * 300 * 0.25 / 1e6)


# -- which tiles ---------------------------------------------------------------------------------------


def spec(size: int = 64, overlap: int = 0, mpp: float = 0.5) -> InputSpec:
    return InputSpec(views=(View(size=size, mpp=mpp),), overlap=overlap)


def test_a_region_no_larger_than_a_tile_is_one_tile_around_it() -> None:
    slide = ArraySlide(np.zeros((1000, 1000, 3), np.uint8))
    plan = make_tile_plan(slide, spec(256), Region(300, 400, 101, 200), centred=True)
    assert len(plan.tiles) == 1
    place = plan.grid.region_of(plan.tiles[0])
    assert (place.y + place.height / 2, place.x + place.width / 2) == pytest.approx((350.5, 500), abs=0.5)
    assert place.y == round(place.y)  # pixels come from the slide as they are


def test_a_larger_region_is_several_tiles_and_shapes_get_those_that_they_touch() -> None:
    slide = ArraySlide(np.zeros((1000, 1000, 3), np.uint8))
    plan = make_tile_plan(slide, spec(100, mpp=1.0), Region(100, 100, 400, 600), centred=True)
    assert plan.cells == (2, 3)
    assert plan.grid.origin == (100, 100)
    corner = shapely.Polygon([(100, 100), (700, 100), (100, 500)])
    of_shape = make_tile_plan(slide, spec(100, mpp=1.0), corner, centred=True)
    assert {of_shape.cell_of(tile) for tile in of_shape.tiles} == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}


def test_all_tissue_is_answered_and_no_glass(tmp_path: Path) -> None:
    picture = np.full((1200, 1200, 3), 255, np.uint8)
    picture[300:500, 600:900] = (90, 30, 110)
    run = predict(ArraySlide(picture), classifier(), None, tmp_path / "run")
    assert run.record.region is None
    places = [(float(row["y"]), float(row["x"])) for row in table(run)]
    assert min(y for y, _ in places) > 100
    assert max(x for _, x in places) < 1000
    assert len(places) == run.record.tiles < 200
    answered = raster(run, "map")
    assert np.isnan(answered[0, 0])
    assert not np.isnan(answered[400 // 8, 700 // 8])


def test_tiles_that_overlap_answer_for_their_middle(tmp_path: Path) -> None:
    picture = checkered()
    model = classifier(Shade(28), size=112, overlap=56)
    run = predict(ArraySlide(picture), model, WHOLE, tmp_path / "run")
    assert run.record.rasters[0].step == (TILE, TILE)
    np.testing.assert_allclose(
        raster(run, "map")[: ROWS * 14, : COLUMNS * 14], darkness(picture, 4), atol=1e-6
    )
    padded = np.pad(picture, ((28, 28), (28, 28), (0, 0)), constant_values=255)
    middle = 1 - padded[56 * 2 : 56 * 2 + 112, 56 * 3 : 56 * 3 + 112].mean() / 255
    assert raster(run, "dark")[2, 3] == pytest.approx(1 / (1 + np.exp(-(middle - 0.5) * 10)), abs=1 / 255)


def test_a_map_whose_pixels_would_belong_to_two_tiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'input\.overlap': when tiles of 56 px share 20, a pixel .*7 x 7"):
        predict(ArraySlide(checkered()), classifier(overlap=20), WHOLE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_looked_at_comes_first() -> None:
    slide = ArraySlide(np.zeros((2000, 2000, 3), np.uint8))
    plan = make_tile_plan(slide, spec(), Region(1000, 900, 800, 900), centred=True)
    looked_at = Region(1510, 1330, 10, 10)
    first = Order(plan, list(map(plan.cell_of, plan.tiles)), lambda: looked_at).take(1)[0]
    assert plan.grid.region_of(first).intersect(looked_at) == looked_at


# -- attention of other kinds --------------------------------------------------------------------------


def test_boxes_lie_on_the_slide_with_the_class_of_their_tile(tmp_path: Path) -> None:
    slide = ArraySlide(np.zeros((1000, 1000, 3), np.uint8))
    model = classifier(Corners(), "boxes", size=100, mpp=1.0)
    run = predict(slide, model, Region(200, 300, 200, 400), tmp_path / "run")
    (record,) = (file for file in run.record.files if file.kind == "boxes")
    found = read_geojson(run.path / record.path)
    assert {item.geometry.bounds for item in found} == {
        (300, 200, 400, 250),
        (450, 300, 500, 400),
        (500, 200, 600, 250),
        (650, 300, 700, 400),
    }
    assert {(item.class_name, item.color, item.object_type) for item in found} == {
        ("dark", (255, 0, 0), "detection")
    }
    assert [item.measurements["Score"] for item in found] == [7.5, 2.25, 7.5, 2.25]
    stored = zarr.open_array(str(run.path / "tiles" / "boxes" / "0"), mode="r")
    assert stored.shape == (15, 1, 2)
    assert np.isnan(stored[10:]).all()


def test_gates_of_channels_are_kept_for_each_tile(tmp_path: Path) -> None:
    picture = checkered()
    run = predict(ArraySlide(picture), classifier(Shade(), "gate"), WHOLE, tmp_path / "run")
    gates = np.asarray(zarr.open_array(str(run.path / "tiles" / "gate" / "0"), mode="r"))
    np.testing.assert_allclose(gates, np.stack([darkness(picture, TILE)] * 3), atol=1e-6)
    assert [record.kind for record in run.record.rasters] == ["labels", "probability", "probability"]


def test_a_field_is_answered_as_the_network_alone_answers_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(
        "gated_attention", classes=2, local_depth=18, global_size=224, local_size=32, dilated_width=4
    ).eval()
    names = ("semantic_S", "omega", "channel_gate", "instances")
    picture = np.random.default_rng(2).integers(0, 256, (300, 400, 3), np.uint8)
    model = classifier(network, *names, size=256)
    run = predict(ArraySlide(picture), model, Region(20, 70, 256, 256), tmp_path / "run")
    pixels = torch.from_numpy(picture[20:276, 70:326]).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode(), record_attention(network, *names) as maps:
        wanted = network(pixels).softmax(dim=1)[0]
    (row,) = table(run)
    assert [float(row["pale"]), float(row["dark"])] == pytest.approx(wanted.tolist(), abs=1e-4)
    for name in ("semantic_S", "omega"):
        record = next(record for record in run.record.rasters if record.name == name)
        assert (record.origin, record.step) == ((20, 70), (256 / 7, 256 / 7))
        np.testing.assert_allclose(raster(run, name)[:7, :7], maps[name][0, 0].numpy(), rtol=1e-3, atol=1e-5)
    boxes = maps["instances"][0]
    boxes = boxes[~boxes[:, 0].isnan()]
    found = read_geojson(run.path / "instances.geojson")
    for item, (top, left, bottom, right, _) in zip(found, boxes.tolist(), strict=True):
        edges = (70 + left * 256, 20 + top * 256, 70 + right * 256, 20 + bottom * 256)
        assert item.geometry.bounds == pytest.approx(edges, abs=0.01)


# -- while it goes on ----------------------------------------------------------------------------------


def test_the_result_can_be_seen_while_it_grows(tmp_path: Path) -> None:
    seen: list[Live] = []
    grown: list[int] = []

    def look(progress: Progress) -> None:
        if seen and progress.stage == "running the model":
            (live,) = seen
            labels = live.read(live.records[0], 0, Window(0, 0, ROWS, COLUMNS))
            grown.append(int((labels > 0).sum()))
            assert len(live.changed()) <= 4  # a batch

    predict(
        ArraySlide(checkered()), classifier(), WHOLE, tmp_path / "run", on_progress=look, on_live=seen.append
    )
    assert grown == [*range(0, ROWS * COLUMNS, 4), ROWS * COLUMNS]


def test_a_bad_tile_is_recorded_and_tried_again_when_the_run_goes_on(
    tmp_path: Path, undisturbed: Run
) -> None:
    broken = ArraySlide(checkered(), broken=Window(100, 100, 4, 4))
    run = predict(broken, classifier(), WHOLE, tmp_path / "run")
    (failed,) = run.record.failed_tiles
    assert (failed.y, failed.x, failed.height, failed.why) == (
        56,
        56,
        56,
        "array.tif cannot be decoded there.",
    )
    assert len(table(run)) == ROWS * COLUMNS - 1
    assert raster(run, "classes")[1, 1] == 0
    assert np.isnan(raster(run, "map")[7:14, 7:14]).all()
    (run.path / "run.json").unlink()
    again = predict(ArraySlide(checkered()), classifier(), WHOLE, tmp_path / "run")
    assert again.record.failed_tiles == ()
    assert again.record.sessions[-1].tiles == 1
    assert_same(again, undisturbed)


def test_a_run_of_which_no_tile_could_be_read_is_an_error(tmp_path: Path) -> None:
    slide = ArraySlide(checkered(), broken=Window(0, 0, 600, 700))
    with pytest.raises(RunError, match=r"Not one of the 99 tiles could be read: array\.tif"):
        predict(slide, classifier(), WHOLE, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_cancel_stops_within_a_batch_and_the_same_call_goes_on(tmp_path: Path, undisturbed: Run) -> None:
    cancel, told = Event(), []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if progress.stage == "running the model" and progress.done >= 40:
            cancel.set()

    out = tmp_path / "run"
    with pytest.raises(Cancelled):
        predict(ArraySlide(checkered()), classifier(), WHOLE, out, on_progress=stop, cancel=cancel)
    assert told[-1].done == 40
    assert len(Ledger(out).covered) == 40
    run = predict(ArraySlide(checkered()), classifier(), WHOLE, out)
    assert_same(run, undisturbed)
    assert [session.tiles for session in run.record.sessions] == [40, 59]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path: Path, undisturbed: Run) -> None:
    out = tmp_path / "run"
    code = CHILD.format(tests=str(Path(__file__).parent), out=str(out))
    rng = np.random.default_rng(7)
    finished = [0]
    for until in (12, 60):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            stage, done = line.split(":")
            if stage == "running the model" and int(done) >= until:
                break
        time.sleep(rng.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        finished.append(len(Ledger(out).covered))
    assert finished == sorted(finished)
    assert 0 < finished[1] < ROWS * COLUMNS
    run = predict(ArraySlide(checkered()), classifier(), WHOLE, out)
    assert_same(run, undisturbed)


def test_the_folder_shows_in_napari(undisturbed: Run) -> None:
    from napari_lumen.plugin.layers import run_layers

    layers = run_layers(undisturbed, "array.tif").layers
    assert [kind for _, _, kind in layers] == ["image", "image", "image", "labels"]
    placed = {facts["name"]: (facts["scale"], facts["translate"]) for _, facts, _ in layers}
    assert placed["array · Map"] == ((4, 4), (3.5 * 0.5, 3.5 * 0.5))
    assert placed["array · pale, dark"] == ((28, 28), (27.5 * 0.5, 27.5 * 0.5))


def test_boxes_are_rectangles_on_the_slide_in_napari(tmp_path: Path) -> None:
    from napari.layers import Layer, Shapes

    from napari_lumen.plugin.layers import run_layers

    slide = ArraySlide(np.zeros((1000, 1000, 3), np.uint8))
    model = classifier(Corners(), "boxes", size=100, mpp=1.0)
    run = predict(slide, model, Region(200, 300, 200, 400), tmp_path / "run")
    data = run_layers(run, "array.tif").layers[0]
    layer = Layer.create(*data)
    assert isinstance(layer, Shapes)
    assert layer.name == "array · Boxes"
    # the most sure are first; a world of µm in which a level-0 pixel of 0.5 µm reaches from -0.25 to 0.25
    world = [[layer.data_to_world(corner) for corner in box] for box in layer.data]
    edges = [(*np.min(box, axis=0) + 0.25, *np.max(box, axis=0) + 0.25) for box in world]
    assert edges[0] == pytest.approx((100, 150, 125, 200))
    assert edges[3] == pytest.approx((150, 325, 200, 350))
    assert layer.features["score"].tolist() == [7.5, 7.5, 2.25, 2.25]
    np.testing.assert_allclose(layer.edge_color, [(1, 0, 0, 1)] * 4)
