"""Runs: placed to half a level-0 pixel, without seams, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event
from unittest.mock import patch

import numpy as np
import pytest
import shapely
import tifffile
import torch
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

import napari_lumen
from fakes import ArraySlide, Constant, Darkness, model_of
from napari_lumen import RunError, SlideError
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.halving import halve_labels
from napari_lumen.inference import Progress, Run, predict
from napari_lumen.inference import plan as plan_module
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.frontier import FinishedCell, Frontier
from napari_lumen.inference.order import Order
from napari_lumen.inference.pipeline import Pipeline
from napari_lumen.inference.plan import Plan, blending_window, make_plan
from napari_lumen.inference.reading import TileReader
from napari_lumen.inference.store import halve_mean
from napari_lumen.models import Model
from napari_lumen.tissue import Tissue, find_tissue, mask_geometry, tissue_mask

WHITE, PURPLE = 255, (90, 30, 110)


def glass(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), WHITE, np.uint8)


def edges(array: np.ndarray, grid: Grid) -> tuple[float, float, float, float]:
    """Top, bottom, left and right edge of what is set, in level-0 px."""
    rows, columns = np.nonzero(array)
    region = grid.region_of(Window(rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1))
    return region.y, region.bottom, region.x, region.right


@pytest.fixture(scope="module")
def drifting_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyramid of 33,333 and 8,333 rows: the ratio is 4.00012, the downsample 4."""
    square = (32_768, 33_024, 128, 384)  # far down, where a drifting ratio has gone a pixel astray
    base = glass(33_333, 512)
    base[square[0] : square[1], square[2] : square[3]] = PURPLE
    path = tmp_path_factory.mktemp("slides") / "drifting.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        options = {"tile": (256, 256), "compression": "zlib", "photometric": "rgb"}
        resolution = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}  # 0.25 µm
        tiff.write(base, subifds=1, **options, **resolution)
        tiff.write(
            base[:33_332].reshape(8333, 4, 128, 4, 3).mean(axis=(1, 3)).astype(np.uint8),
            subfiletype=1,
            **options,
        )
    return path


@pytest.mark.parametrize("mpp", [0.25, 1.0, 2.0])
def test_everything_lies_within_half_a_level0_pixel_at_every_level(
    drifting_slide: Path, tmp_path: Path, mpp: float
) -> None:
    truth = (32_768, 33_024, 128, 384)
    model = model_of(Darkness(), mpp=mpp, attention=("attention",))
    # at the finest scale the last rows alone: the whole would be 17 megapixels
    region = Region(32_500, 0, 800, 512) if mpp == 0.25 else None
    with napari_lumen.open_slide(drifting_slide) as slide:
        assert slide.levels[1].downsample == (4.0, 4.0)
        run = predict(slide, model, region, tmp_path / "run")
    labels, probability, attention = run.record.rasters
    assert [r.kind for r in run.record.rasters] == ["labels", "probability", "attention"]
    for raster in (labels, probability, attention):
        for level, array in enumerate(run.levels(raster)):
            grid = run.grid(raster).coarsened(2**level)
            if 256 % (grid.step[0]):  # the square is not made of whole pixels any more
                continue
            assert array.shape == grid.shape
            values = np.nan_to_num(np.asarray(array, np.float32))
            found = edges(values > 0.5, grid)
            assert found == pytest.approx(truth, abs=0.5), (raster.name, level)
    assert len(run.levels(labels)) >= 3


def test_the_same_square_is_found_when_the_model_resamples(tmp_path: Path) -> None:
    base = glass(700, 900)
    base[200:330, 311:500] = PURPLE
    run = predict(ArraySlide(base, mpp=(0.499, 0.501)), model_of(Darkness(), mpp=0.5), None, tmp_path / "run")
    found = edges(np.asarray(run.levels(run.labels)[0]), run.grid(run.labels))
    assert found == pytest.approx((200, 330, 311, 500), abs=0.75)  # half a px of the model's grid, and blur


@pytest.mark.parametrize("probability", [1 - 1e-7, 0.31])
def test_a_constant_comes_out_as_that_constant(tmp_path: Path, probability: float) -> None:
    model = model_of(Constant(probability), size=64, overlap=24)
    run = predict(ArraySlide(glass(333, 417)), model, Region(0, 0, 333, 417), tmp_path / "run")
    stored = np.asarray(zarr.open_array(str(run.path / "probability" / "0"), mode="r"))[0]
    assert set(np.unique(stored[:333, :417])) == {round(probability * 255)}
    assert not stored[333:].any()
    assert not stored[:, 417:].any()


def answered(slide: ArraySlide, model: Model, plan: Plan) -> list[FinishedCell]:
    """All cells of a plan, as the engine hands them to the writer."""
    cells = list(plan.tiles_per_cell())
    frontier = Frontier(plan, cells, limit=1)  # all but one wait on disk
    pipeline = Pipeline(
        TileReader(slide, plan.grid, model.card.input.views),
        Forward(model, torch.device("cpu")),
        Event(),
        model.card.title,
    )
    found = []
    for batch in pipeline.run(Order(plan, cells)):
        assert batch.answer is not None
        for index, tile in enumerate(batch.tiles):
            maps = {name: values[index] for name, values in batch.answer.attention.items()}
            frontier.add(tile, batch.answer.probability[index], maps)
            found += frontier.arrived(tile)
    frontier.close()
    return found


@given(
    tissue=arrays(bool, (9, 11), elements=st.booleans()),
    mpp=st.sampled_from([0.5, 0.7, 1.0]),
    overlap=st.sampled_from([0, 8, 16]),
)
@settings(max_examples=40, deadline=None)
def test_tiles_are_those_whose_own_part_has_tissue(tissue: np.ndarray, mpp: float, overlap: int) -> None:
    assume(tissue.any())
    slide = ArraySlide(np.zeros((450, 550, 3), np.uint8))
    mask, mask_grid = tissue, Grid((9, 11), (50.0, 50.0))
    spec = model_of(Darkness(), size=64, overlap=overlap, mpp=mpp).card.input
    with patch.object(plan_module, "find_tissue", lambda slide, check: Tissue(mask, mask, mask_grid, 0.0)):
        chosen = make_plan(slide, spec, None).tiles
    everything = make_plan(slide, spec, Region(0, 0, 450, 550))
    margin, side = overlap // 2, 64 - overlap
    own = [Window(tile.y + margin, tile.x + margin, side, side) for tile in everything.tiles]
    seen = [mask_grid.window_of(everything.grid.region_of(part)) for part in own]
    assert chosen == tuple(
        tile for tile, part in zip(everything.tiles, seen, strict=True) if mask[part.slices].any()
    )


@given(
    tissue=arrays(bool, (9, 11), elements=st.booleans()),
    mpp=st.sampled_from([0.5, 0.7, 1.0]),
    overlap=st.sampled_from([0, 8, 16]),
    share=st.sampled_from([0.0, 0.31, 0.8]),
)
@settings(max_examples=40, deadline=None)
def test_tiles_are_those_with_as_much_tissue_as_the_model_asks_for(
    tissue: np.ndarray, mpp: float, overlap: int, share: float
) -> None:
    slide = ArraySlide(np.zeros((450, 550, 3), np.uint8))
    found = Tissue(np.ones_like(tissue), tissue, Grid((9, 11), (50.0, 50.0)), 0.0)
    spec = model_of(Darkness(), size=64, overlap=overlap, mpp=mpp).card.input
    everything = make_plan(slide, spec, Region(0, 0, 450, 550))
    margin, side = overlap // 2, 64 - overlap
    areas = shapely.MultiPolygon(
        [shapely.box(x * 50, y * 50, x * 50 + 50, y * 50 + 50) for y, x in np.argwhere(tissue)]
    )
    wanted = []
    for tile in everything.tiles:
        own = everything.grid.region_of(Window(tile.y + margin, tile.x + margin, side, side))
        part = shapely.box(own.x, own.y, own.right, own.bottom)
        exact = part.intersection(shapely.union_all(areas)).area / part.area
        assume(abs(exact - share) > 1e-5 or exact == share == 0)
        if exact > share:
            wanted.append(tile)
    asked = spec.model_copy(update={"tissue_share": share})
    with patch.object(plan_module, "find_tissue", lambda slide, check: found):
        if wanted:
            assert make_plan(slide, asked, None).tiles == tuple(wanted)
        else:
            with pytest.raises(RunError, match=rf"No tile of array.tif has as much tissue .*, {share:.0%}\."):
                make_plan(slide, asked, None)


def test_a_batch_says_the_same_however_many_tiles_go_through_at_once() -> None:
    model = model_of(Darkness(), attention=("attention",), size=64, overlap=0)
    forward = Forward(model, torch.device("cpu"))
    views = [np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), np.uint8)]
    together = forward.submit(views).result()
    forward.at_once = 2
    few = forward.submit(views).result()
    np.testing.assert_array_equal(few.probability, together.probability)
    np.testing.assert_array_equal(few.attention["attention"], together.attention["attention"])


@pytest.mark.parametrize("mpp", [0.5, 0.501, 0.7])
@pytest.mark.parametrize(("kernel", "overlap"), [(3, 32), (3, 6), (5, 10), (9, 18)])
def test_no_seam_against_one_forward_pass_of_the_whole(kernel: int, overlap: int, mpp: float) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (160, 224, 3), np.uint8)
    torch.manual_seed(0)
    half = kernel // 2  # a receptive field of 2 * kernel - 1 px, at most one less than the overlap
    network = nn.Sequential(
        nn.Conv2d(3, 8, kernel, padding=half), nn.ReLU(), nn.Conv2d(8, 1, kernel, padding=half)
    ).eval()
    slide = ArraySlide(pixels)
    model = model_of(network, mpp=mpp, size=64, overlap=overlap)
    plan = make_plan(slide, model.card.input, Region(0, 0, 160, 224))
    (chunk,) = answered(slide, model, plan)
    height, width = plan.grid.shape
    padded = slide.read_grid(plan.grid, Window(-16, -16, height + 32, width + 32))
    if mpp == 0.5:  # the slide's own
        np.testing.assert_array_equal(padded[16:-16, 16:-16], pixels)
    with torch.inference_mode():
        whole = network(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255).sigmoid()
    np.testing.assert_allclose(chunk.probability[0], whole[0, 0, 16:-16, 16:-16].numpy(), atol=1e-4)
    assert chunk.covered.all()


def test_tissue_is_looked_for_no_longer_than_it_is_wanted() -> None:
    looked = []

    def check() -> None:
        looked.append(True)
        if len(looked) == 3:
            raise Cancelled("Enough.")

    slide = ArraySlide(np.zeros((8000, 8000, 3), np.uint8), mpp=(2.0, 2.0))
    with pytest.raises(Cancelled):
        make_plan(slide, model_of(Darkness()).card.input, None, check)
    assert slide.largest_read <= 1024 * 1024


@pytest.mark.parametrize(("size", "overlap"), [(64, 16), (256, 32), (64, 0), (96, 48), (64, 2), (64, 7)])
def test_weights_of_neighbouring_tiles_sum_to_one(size: int, overlap: int) -> None:
    ramp = blending_window(size, overlap)[size // 2]
    total = np.zeros(size * 4, np.float32)
    for start in range(0, size * 3, size - overlap):
        total[start : start + size] += ramp
    np.testing.assert_allclose(total[size : size * 2], 1, atol=1e-6)


def test_results_are_clipped_to_the_shape_that_was_asked_for(tmp_path: Path) -> None:
    dark = np.zeros((600, 600, 3), np.uint8)
    ring = shapely.Point(300, 300).buffer(200).difference(shapely.Point(300, 300).buffer(80))
    run = predict(ArraySlide(dark), model_of(Darkness(), attention=("attention",)), ring, tmp_path / "run")
    labels = np.asarray(run.levels(run.labels)[0])
    assert labels.sum() == pytest.approx(ring.area, rel=0.005)
    assert labels[300, 300] == 0
    assert labels[300, 150] == 1
    assert run.record.analysed_mm2 == pytest.approx(ring.area * 0.25 / 1e6, rel=0.005)
    attention = np.asarray(run.levels(run.record.rasters[2])[0])
    assert np.isnan(attention[0, 0])
    assert attention[75, 37] == pytest.approx(1)


def test_progress_is_told_in_order_and_ends_at_the_total(tmp_path: Path) -> None:
    told: list[Progress] = []
    predict(
        ArraySlide(glass(300, 300)),
        model_of(Darkness()),
        Region(0, 0, 300, 300),
        tmp_path / "run",
        on_progress=told.append,
    )
    stages = list(dict.fromkeys(p.stage for p in told))
    assert stages == ["finding tissue", "running the model", "counting"]
    tiles = [p for p in told if p.stage == "running the model"]
    assert [p.done for p in tiles] == sorted(p.done for p in tiles)
    assert tiles[-1].done == tiles[-1].total == 49


def test_cancel_stops_within_one_batch_and_leaves_nothing(tmp_path: Path) -> None:
    cancel, told = Event(), []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if progress.stage == "running the model" and progress.done:
            cancel.set()

    with pytest.raises(Cancelled):
        predict(
            ArraySlide(glass(900, 900)),
            model_of(Darkness()),
            Region(0, 0, 900, 900),
            tmp_path / "runs" / "one",
            on_progress=stop,
            cancel=cancel,
        )
    assert told[-1].done == 4  # one batch on the CPU
    assert list((tmp_path / "runs").iterdir()) == []  # no cell was finished yet


def test_a_bad_tile_is_recorded_and_the_run_goes_on(tmp_path: Path) -> None:
    dark = np.zeros((300, 300, 3), np.uint8)
    slide = ArraySlide(dark, broken=Window(100, 100, 4, 4))
    run = predict(slide, model_of(Darkness()), Region(0, 0, 300, 300), tmp_path / "run")
    labels = np.asarray(run.levels(run.labels)[0])
    assert labels[102, 102] == 0
    assert labels[10, 10] == labels[290, 290] == 1
    failed = [(tile.y, tile.x, tile.height, tile.width) for tile in run.record.failed_tiles]
    assert sorted(failed) == [(y, x, 64, 64) for y in (40, 88) for x in (40, 88)]
    assert run.record.failed_tiles[0].why == "array.tif cannot be decoded there."
    assert sum(session.tiles for session in run.record.sessions) == 45
    assert run.record.tiles == 49


def test_a_run_of_which_nothing_could_be_read_is_an_error(tmp_path: Path) -> None:
    slide = ArraySlide(glass(100, 100), broken=Window(0, 0, 100, 100))
    with pytest.raises(RunError, match=r"Not one of the 9 tiles could be read: array\.tif"):
        predict(slide, model_of(Darkness()), Region(0, 0, 100, 100), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_run_says_why_in_one_sentence(tmp_path: Path) -> None:
    slide, model = ArraySlide(glass(300, 300)), model_of(Darkness())
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not an empty folder"):
        predict(slide, model, Region(0, 0, 9, 9), taken)
    assert [(p.name, p.read_text()) for p in taken.iterdir()] == [("notes.txt", "mine")]
    with pytest.raises(RunError, match=r"outside array\.tif"):
        predict(slide, model, Region(400, 400, 10, 10), tmp_path / "a")
    with pytest.raises(RunError, match=r"The region \(0, 0, 9, 9\) is not one"):
        predict(slide, model, (0, 0, 9, 9), tmp_path / "a")  # type: ignore[arg-type]
    with pytest.raises(RunError, match="No tissue was found"):
        predict(slide, model, None, tmp_path / "a")
    with pytest.raises(RunError, match=r"no device 'tpu'; it has .*cpu"):
        predict(slide, model, None, tmp_path / "a", device="tpu")
    with pytest.raises(SlideError, match="does not state its pixel size"):
        predict(ArraySlide(glass(9, 9), mpp=None), model, None, tmp_path / "a")
    with pytest.raises(RunError, match=r"run cannot be made: .*Choose one where you may write\."):
        predict(slide, model, Region(0, 0, 9, 9), taken / "notes.txt" / "run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["taken"]


def test_a_run_is_an_ome_zarr_image_with_labels_in_micrometres(tmp_path: Path) -> None:
    dark = np.zeros((3000, 2000, 3), np.uint8)
    classes = ClassTable.of([(3, "dark", (0, 0, 255))])
    model = model_of(Darkness(), attention=("attention",), classes=classes, size=256, overlap=32)
    run = predict(ArraySlide(dark, mpp=(0.25, 0.25)), model, Region(0, 0, 900, 900), tmp_path / "run")
    root = zarr.open_group(str(run.path), mode="r")
    (image,) = root.attrs["ome"]["multiscales"]
    assert root.attrs["ome"]["version"] == "0.5"
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert {axis.get("unit") for axis in image["axes"][1:]} == {"micrometer"}
    for level, dataset in enumerate(image["datasets"]):
        scale, shift = dataset["coordinateTransformations"]
        assert scale["scale"] == [1.0, 0.5 * 2**level, 0.5 * 2**level]
        # the centre of the first pixel: half a pixel from the edge, less half a level-0 pixel
        assert shift["translation"] == pytest.approx([0.0, *[0.5 * 2**level / 2 - 0.125] * 2])
        assert root[dataset["path"]].ndim == 3
    assert root["labels"].attrs["ome"]["labels"] == ["classes"]
    label = root["labels/classes"].attrs["ome"]["image-label"]
    assert label["colors"] == [{"label-value": 3, "rgba": [0, 0, 255, 255]}]
    assert len(image["datasets"]) == len(list(root["labels/classes"].array_keys()))
    assert root["labels/classes/0"][100, 100] == 3
    again = Run.open(run.path)
    assert again.record == run.record
    assert json.loads((run.path / "run.json").read_text())["mpp_source"] == "slide"


def test_a_damaged_or_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no finished run"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match=r"run\.json is damaged: field 'slide'"):
        Run.open(tmp_path)


def test_softmax_leaves_the_background_out(tmp_path: Path) -> None:
    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            dark = 1 - x.mean(dim=1, keepdim=True)
            return torch.cat([(0.5 - dark) * 50, (dark - 0.5) * 50, torch.full_like(dark, -50)], dim=1)

    base = glass(200, 200)
    base[64:128, 64:128] = 0
    classes = ClassTable.of([(1, "dark", (0, 0, 255)), (2, "never", (255, 0, 0))])
    run = predict(
        ArraySlide(base),
        model_of(Halves(), classes=classes, activation="softmax"),
        Region(0, 0, 200, 200),
        tmp_path / "run",
    )
    labels = np.asarray(run.levels(run.labels)[0])
    assert (labels > 0).sum() == 64 * 64
    assert [(c.name, c.objects) for c in run.record.counts] == [("dark", 1), ("never", 0)]
    assert run.record.counts[0].area_mm2 == pytest.approx(64 * 64 * 0.25 / 1e6)


def test_specks_below_the_smallest_object_are_not_counted(tmp_path: Path) -> None:
    base = glass(200, 200)
    base[10:30, 10:30] = 0
    base[100:103, 100:103] = 0  # 2.25 µm²
    run = predict(ArraySlide(base), model_of(Darkness()), Region(0, 0, 200, 200), tmp_path / "run")
    assert run.record.counts[0].objects == 1


@given(arrays(np.uint8, (4, 6), elements=st.integers(0, 3)))
def test_reduced_labels_are_the_majority_of_their_block(labels: np.ndarray) -> None:
    reduced = halve_labels(labels)
    for row in range(2):
        for column in range(3):
            counts = np.bincount(labels[row * 2 : row * 2 + 2, column * 2 : column * 2 + 2].ravel())
            best = np.flatnonzero(counts == counts.max())
            assert reduced[row, column] == best.max()


@given(arrays(np.uint8, (2, 4, 6)))
def test_reduced_probability_is_the_mean_of_its_block_and_halves_go_to_even(values: np.ndarray) -> None:
    blocks = values.reshape(2, 2, 2, 3, 2).astype(float)
    np.testing.assert_array_equal(halve_mean(values), np.rint(blocks.mean(axis=(2, 4))))


def test_reduced_attention_leaves_out_what_was_not_computed() -> None:
    values = np.array([[1, np.nan, np.nan, np.nan], [3, np.nan, np.nan, np.nan]], np.float16)
    np.testing.assert_array_equal(halve_mean(values), np.array([[2, np.nan]], np.float16))
    np.testing.assert_array_equal(halve_mean(np.array([[[0, 255], [255, 255]]], np.uint8)), [[[191]]])


def test_tissue_is_found_and_glass_is_not() -> None:
    base = glass(2000, 3000)
    base[400:900, 500:1500] = (220, 150, 190)
    base[1500:1504, 2500:2504] = (220, 150, 190)  # a speck of dirt
    mask, grid = tissue_mask(ArraySlide(base))
    inside = mask[grid.window_of(Region(410, 510, 480, 980)).slices]
    assert inside.all()
    assert not mask[grid.window_of(Region(1200, 1800, 700, 1100)).slices].any()


@pytest.mark.parametrize(
    "ink", [(40, 70, 190), (30, 90, 160), (40, 150, 80), (200, 30, 50), (25, 25, 28)], ids=str
)
def test_marks_of_felt_pens_are_no_tissue(ink: tuple[int, int, int]) -> None:
    base = glass(2000, 3000)
    base[400:900, 500:1500] = (220, 150, 190)
    base[1200:1300, 300:2700] = ink
    mask, grid = tissue_mask(ArraySlide(base))
    assert mask[grid.window_of(Region(420, 520, 460, 960)).slices].all()
    assert not mask[grid.window_of(Region(1190, 350, 120, 2300)).slices].any()


@pytest.mark.parametrize(
    ("ink", "side"),
    [((40, 50, 110), 1000), ((70, 60, 150), 1000), ((20, 20, 90), 1000), ((30, 60, 160), 200)],
    ids=["dark blue", "purple blue", "navy", "more ink than tissue"],
)
def test_ink_that_may_be_stain_counts_as_tissue_and_is_warned_of(
    tmp_path: Path, ink: tuple[int, int, int], side: int
) -> None:
    base = glass(2000, 3000)
    base[400:900, 500 : 500 + side] = (220, 150, 190)
    slide = ArraySlide(base, mpp=(2.0, 2.0))
    model = model_of(Constant(0.9), mpp=8.0, size=128, overlap=0)
    assert predict(slide, model, None, tmp_path / "clean").record.warnings == ()
    base[1200:1300, 300:2700] = ink
    assert find_tissue(slide).inky_mm2 == pytest.approx(100 * 2400 * 4e-6, rel=0.2)
    (warning,) = predict(slide, model, None, tmp_path / "inky").record.warnings
    assert "array.tif have the colour of ink" in warning


def test_a_slide_whose_stain_has_the_colour_of_ink_is_not_warned_of() -> None:
    base = glass(2000, 3000)
    base[400:1600, 500:2500] = (70, 60, 150)
    assert find_tissue(ArraySlide(base, mpp=(2.0, 2.0))).inky_mm2 == 0


@pytest.mark.parametrize(
    "stain",
    [(225, 160, 195), (110, 70, 150), (150, 105, 75), (135, 145, 185), (200, 70, 95), (60, 110, 190)],
    ids=["eosin", "haematoxylin", "DAB", "counterstain", "blood", "trichrome"],
)
def test_stains_are_not_taken_for_pens(stain: tuple[int, int, int]) -> None:
    base = glass(1000, 1000)
    base[300:600, 300:600] = stain
    mask, grid = tissue_mask(ArraySlide(base))
    assert mask[grid.window_of(Region(320, 320, 260, 260)).slices].all()


def pale_slide() -> ArraySlide:
    """Tissue on glass in two levels, 1 and 4."""
    base = glass(2048, 3072)
    base[512:1024, 512:1536] = (220, 150, 190)
    return ArraySlide(base, np.ascontiguousarray(base[::4, ::4]))


def test_where_the_coarse_level_is_damaged_tissue_is_found_in_a_finer_one() -> None:
    slide = pale_slide()
    whole, _ = tissue_mask(slide)
    read = slide._read

    def read_or_fail(level: int, window: Window) -> np.ndarray:
        common = window.intersect(Window(0, 256, 256, 256))
        if level == 1 and common.height and common.width:
            raise SlideError("array.tif cannot be decoded there.")
        return read(level, window)

    with patch.object(slide, "_read", read_or_fail):
        mask, _ = tissue_mask(slide)
    np.testing.assert_array_equal(mask, whole)


def test_what_cannot_be_read_at_all_counts_as_tissue_and_the_rest_is_found_as_ever() -> None:
    whole, grid = tissue_mask(pale_slide())
    broken = Window(1300, 1950, 10, 10)
    mask, _ = tissue_mask(ArraySlide(pale_slide()._arrays[0], broken=broken))
    lost = grid.window_of(Region(1280, 1792, 256, 256)).slices  # the tile around it
    assert mask[lost].all()
    assert not whole[lost].any()
    mask[lost] = False
    np.testing.assert_array_equal(mask, whole)


def test_a_bad_tile_ends_no_run_over_all_tissue(tmp_path: Path) -> None:
    slide = ArraySlide(pale_slide()._arrays[0], broken=Window(1300, 1950, 10, 10))
    run = predict(slide, model_of(Constant(0.9), size=128, overlap=32), None, tmp_path / "run")
    assert [(tile.y, tile.x) for tile in run.record.failed_tiles] == [(1232, 1904)]
    assert np.asarray(run.levels(run.labels)[0])[520:1016, 520:1528].all()


def test_a_slide_of_which_nothing_can_be_read_is_one_error(tmp_path: Path) -> None:
    slide = ArraySlide(glass(4352, 4352), broken=Window(0, 0, 4352, 4352))
    with pytest.raises(SlideError, match="cannot be decoded there"):
        predict(slide, model_of(Darkness()), None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_that_fails_is_one_sentence_that_names_the_model(tmp_path: Path) -> None:
    class Failing(Constant):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not (x == 1).all():  # all but the white tile that is tried first
                raise ValueError("shapes do not match")
            return super().forward(x)

    dark = ArraySlide(np.zeros((300, 300, 3), np.uint8))
    with pytest.raises(RunError, match=r"^The network of Known fails .*ValueError: shapes do not match\."):
        predict(dark, model_of(Failing(0.5)), Region(0, 0, 300, 300), tmp_path / "run")


def test_a_slide_smaller_than_a_pixel_of_the_model_says_so(tmp_path: Path) -> None:
    slide = ArraySlide(np.full((1, 1, 3), 120, np.uint8))
    with pytest.raises(RunError, match=r"array\.tif is smaller than a pixel of Known \(2 µm\).*Choose"):
        predict(slide, model_of(Constant(0.5), mpp=2.0), Region(0, 0, 1, 1), tmp_path / "run")


@pytest.mark.parametrize(("mpp", "warned"), [(0.5, False), (0.7, False), (2.0, True)])
def test_a_slide_much_coarser_than_its_model_reads_is_warned_of(
    tmp_path: Path, mpp: float, warned: bool
) -> None:
    slide = ArraySlide(np.zeros((40, 40, 3), np.uint8), mpp=(mpp, mpp))
    run = predict(slide, model_of(Constant(0.5)), Region(0, 0, 40, 40), tmp_path / "run")
    assert [("2 µm a pixel" in told and "4-fold" in told) for told in run.record.warnings] == [True] * warned


def test_a_slide_that_is_no_8_bit_colour_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    resolution = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint16), photometric="rgb", tile=(64, 64), **resolution)
    with pytest.raises(SlideError, match=r"deep\.tif holds 3 channels of uint16 .* reads RGB of 8 bits"):
        predict(path, model_of(Constant(0.5)), None, tmp_path / "run")


def test_a_mask_becomes_the_region_that_it_covers(tmp_path: Path) -> None:
    mask = np.zeros((50, 60), bool)
    mask[10:30, 20:50] = True
    mask[15:20, 30:35] = False
    geometry = mask_geometry(mask, Grid((50, 60), (10.0, 10.0)))
    assert geometry.bounds == (200, 100, 500, 300)
    assert geometry.area == mask.sum() * 100
    run = predict(
        ArraySlide(np.zeros((500, 600, 3), np.uint8)), model_of(Darkness()), geometry, tmp_path / "r"
    )
    labels = np.asarray(run.levels(run.labels)[0])[:500, :600]
    np.testing.assert_array_equal(labels, np.kron(mask, np.ones((10, 10), np.uint8)))


def test_grey_slides_have_tissue_too() -> None:
    base = glass(1000, 1000)
    base[300:600, 300:600] = 150
    mask, _ = tissue_mask(ArraySlide(base))
    assert 0.08 < mask.mean() < 0.25


def test_a_large_slide_is_never_read_whole(tmp_path: Path) -> None:
    base = glass(6000, 6000)
    base[5000:5200, 5000:5200] = PURPLE
    slide = ArraySlide(base, np.ascontiguousarray(base[::16, ::16]))
    run = predict(slide, model_of(Darkness(), size=256, overlap=32), None, tmp_path / "run")
    assert run.record.counts[0].objects == 1
    assert run.record.tiles < 16
    assert slide.largest_read <= 400 * 400
