"""The maps of a run: what there is, where it lies, values and percentiles at a point, without the model."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely
from typer.testing import CliRunner

from explain_fakes import dark_at, marker_model
from fakes import ArraySlide
from napari_lumen.cli import app
from napari_lumen.errors import ModelError, RunError
from napari_lumen.explain.distribution import Distribution
from napari_lumen.explain.ranking import ranked_tiles
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.explain.run_model import known_attention, model_of_run
from napari_lumen.explain.scaling import Scaling
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import Run, predict
from napari_lumen.models import load_model
from napari_lumen.models.genotype import Genotype

SPOT = Region(305, 214, 6, 6)


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Tiles of 100 px that overlap, of a slide with twice the model's resolution."""
    slide = dark_at(SPOT, (1100, 900), mpp=0.25)
    model = marker_model(2, 4, multiple=16, attention=("map2", "map4"), overlap=20, size=100, mpp=0.5)
    return predict(slide, model, Region(100, 50, 700, 600), tmp_path_factory.mktemp("segmented") / "run")


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Run:
    rng = np.random.default_rng(3)
    grey = np.kron(rng.integers(0, 255, (6, 7, 1), np.uint8), np.ones((64, 64, 3), np.uint8))
    model = marker_model(None, 8, whole=True, attention=("mapNone", "map8", "boxes"), size=64)
    return predict(ArraySlide(grey), model, Region(0, 0, 384, 448), tmp_path_factory.mktemp("tiles") / "run")


def test_a_run_says_what_maps_it_has_and_finds_them_by_name(segmented: Run) -> None:
    maps = RunMaps(segmented)
    names = [item.name for item in maps.maps]
    assert names == ["map2", "map4", "probability.pale", "probability.dark", "entropy"]
    assert maps["dark"].name == "probability.dark"
    with pytest.raises(RunError, match="has no map 'missing'; it has map2, map4"):
        maps.find("missing")


@pytest.mark.parametrize(("name", "cell"), [("map2", 4), ("map4", 8), ("dark", 2)])
def test_a_stored_map_has_its_peak_where_the_slide_is_dark(segmented: Run, name: str, cell: int) -> None:
    item = RunMaps(segmented)[name]
    values, grid = item.read()
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    middle = SPOT.y + SPOT.height / 2, SPOT.x + SPOT.width / 2
    for index, at, step, origin in zip((row, column), middle, grid.step, grid.origin, strict=True):
        assert abs((index + 0.5) * step + origin - at) <= cell / 2 + SPOT.height / 2
    assert (
        item.value_at(*middle)
        == values[tuple(int((at - o) / s) for at, o, s in zip(middle, grid.origin, grid.step, strict=True))]
    )


def test_every_level_of_a_map_covers_the_same_place_and_a_part_is_read_by_its_cells_edges(
    segmented: Run,
) -> None:
    item = RunMaps(segmented)["map2"]
    for grid in item.grids:
        assert grid.region.height == pytest.approx(item.grid.region.height, abs=grid.step[0])
        assert grid.origin == item.grid.origin
    values, grid = item.read(Region(301.0, 211.0, 9.0, 9.0))
    assert (grid.region.y, grid.region.x) == (300.0, 208.0)
    assert grid.region.bottom >= 310
    whole, _ = item.read()
    np.testing.assert_array_equal(values, whole[75:78, 52 : 52 + values.shape[1]])
    empty, _ = item.read(Region(5000, 5000, 10, 10))
    assert empty.size == 0


def test_what_the_model_did_not_see_is_no_number(segmented: Run) -> None:
    maps = RunMaps(segmented)
    for name in ("dark", "entropy"):
        values, grid = maps[name].read()
        seen = np.isfinite(values)
        rows = np.flatnonzero(seen.any(axis=1)) * grid.step[0]
        assert (rows.min(), rows.max()) == (100, 798)
        assert math.isnan(maps[name].value_at(50, 300))
    outside = maps.at(50, 300)
    assert not outside.analysed
    assert outside.probabilities == {}
    assert math.isnan(maps[name].value_at(-5, 99_999))


def test_a_point_says_values_percentiles_classes_and_its_tile(segmented: Run) -> None:
    maps = RunMaps(segmented)
    spread = {"map2": maps["map2"].distribution()}
    reading = maps.at(308, 217, spread)
    assert reading.analysed
    assert reading.class_name == "dark"
    assert reading.probabilities["dark"] > 0.99
    assert reading.probabilities["dark"] + reading.probabilities["pale"] == pytest.approx(1, abs=0.01)
    values, _ = maps["map2"].read()
    known = values[np.isfinite(values)]
    value = reading.values["map2"]
    share = ((known < value).sum() + (known == value).sum() / 2) / known.size * 100
    assert reading.percentiles["map2"] == pytest.approx(share)
    # tiles of 100 px share 20 and begin 10 px outside the slide, at 2 level-0 px each
    assert reading.tile == Region(140.0, 140.0, 200.0, 200.0)


def test_every_point_of_a_classified_slide_lies_in_its_tile(classified: Run) -> None:
    maps = RunMaps(classified)
    labels = Run.grid(classified.labels)
    for y, x in ((0.5, 0.5), (63.9, 64.1), (200.0, 447.0)):
        tile = maps.tile_at(y, x)
        assert tile == Region(y // 64 * 64, x // 64 * 64, 64, 64)
        assert maps.at(y, x).analysed
    assert maps.tile_at(labels.region.bottom + 1, 5) is None


def test_a_run_without_its_model_still_shows_its_maps_and_says_so(
    segmented: Run, shipped: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="The maps that run keeps can be shown without it"):
        model_of_run(segmented)
    assert RunMaps(segmented)["map2"].value_range is None
    assert model_of_run(shipped).card.name == shipped.record.model
    other = shipped.record.model_copy(update={"weights_sha256": "1" * 64})
    with pytest.raises(ModelError, match="has other weights now"):
        model_of_run(Run(shipped.path, other))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = load_model("nuclei-focusnetpp-light")
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    card = model.card.model_copy(update={"attention": ()})
    bare = type(model)(model.network, card, model.path)
    return predict(ArraySlide(pixels), bare, Region(0, 0, 64, 64), tmp_path_factory.mktemp("shipped") / "run")


def test_a_run_without_attention_says_how_to_get_it(shipped: Run, segmented: Run) -> None:
    hint = RunMaps(shipped).hint()
    assert hint is not None
    assert "explain one field" in hint
    assert '"e1.0.att0"' in hint
    genotype = Genotype.uniform("conv1", "conv1").model_dump(mode="json")
    arguments = {"width": 4, "genotype": genotype, "classes": 1}
    card = shipped.record.card.model_copy(update={"architecture": "nas_scam", "arguments": arguments})
    searched = RunMaps(Run(shipped.path, shipped.record.model_copy(update={"card": card}))).hint()
    assert '("attention": ["U4.sam", "U3.sam"])' in str(searched)  # the last positions matter first
    assert RunMaps(segmented).hint() is None
    # at the command line there is no panel to say it
    for command in (["figure", "--out", "a.png"], ["gallery", "--out", "a"]):
        runner = CliRunner(env={"COLUMNS": "300", "TERM": "dumb"})
        asked = runner.invoke(app, [command[0], str(shipped.path), "--map", "attention", *command[1:]])
        assert asked.exit_code == 1
        said = " ".join(asked.stderr.split())
        assert "has no map 'attention'; it has probability.nucleus, entropy. " in said
        assert hint in said
    infos = known_attention(shipped.record.card)
    assert infos["d1.0.att0"].value_range == (0.0, 1.0)


def test_a_damaged_map_is_told_in_one_sentence(segmented: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(segmented.path, copy)
    shutil.rmtree(copy / "attention" / "map2")
    maps = RunMaps(Run.open(copy))
    with pytest.raises(RunError, match=r"'map2' of .* cannot be read"):
        maps["map2"].read()
    assert np.isfinite(maps["map4"].read()[0]).any()


def test_a_map_of_equal_values_and_one_of_none_are_no_crash() -> None:
    equal = Distribution.of(np.full((3, 3), 0.25))
    assert equal.flat
    assert equal.percentile(0.25) == 50
    low, high, said = Scaling().limits(equal)
    assert low < high
    assert "all values are 0.25" in said
    nothing = Distribution.of(np.full((3, 3), np.nan))
    assert nothing.flat
    assert math.isnan(nothing.percentile(1.0))
    assert math.isnan(nothing.quantile(50))
    low, high, said = Scaling("percentile").limits(nothing)
    assert low < high
    assert "no values" in said


def test_what_was_chosen_for_the_colours_is_said() -> None:
    spread = Distribution.of(np.linspace(0, 1, 1001) * 8)
    assert Scaling("range").limits(spread, (0.0, 10.0)) == (0, 10, "0 to 10, the network's range")
    low, high, said = Scaling("percentile", "selection", 1, 99).limits(spread)
    assert (low, high) == pytest.approx((0.08, 7.92))
    assert said == "0.08 to 7.92, percentiles 1 to 99 of the selection"
    assert Scaling("min-max", "tile").limits(spread) == (0, 8, "0 to 8, lowest to highest of the tile")
    # a network that guarantees no upper end: what there is
    assert Scaling("range").limits(spread, (0.0, math.inf)) == (
        0,
        8,
        "0 to 8, the network's lower end to the highest of the slide",
    )
    with pytest.raises(ValueError, match="percentiles must rise from 0 to 100, not 99 to 1"):
        Scaling("percentile", low=99, high=1)


def triangle() -> shapely.Polygon:
    return shapely.Polygon([(13, 20), (590, 47), (120, 610)])


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Within a shape of which the cells of a run are covered in part; a tile cannot be read."""
    slide = ArraySlide(np.full((640, 610, 3), 40, np.uint8), broken=Window(100, 140, 20, 20))
    model = marker_model(4, attention=("map4",), overlap=16, size=80)
    return predict(slide, model, triangle(), tmp_path_factory.mktemp("shaped") / "run")


def test_a_pixel_has_a_value_where_it_was_answered_and_nowhere_else(shaped: Run) -> None:
    maps = RunMaps(shaped)
    assert shaped.record.failed_tiles
    seen = np.isfinite(maps["dark"].read()[0])
    grid = maps["dark"].grid
    y, x = (np.arange(side) + 0.5 for side in grid.shape)
    least, most = (shapely.contains_xy(triangle().buffer(by), *np.meshgrid(x, y)) for by in (-1e-6, 1e-6))
    left_open = least & ~seen
    rows, columns = np.nonzero(left_open)
    # tiles of 80 px share 16: that of the hole alone is open, less a pixel that its neighbours answer, too
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (65, 126, 129, 190)
    assert left_open[65:127, 129:191].all()
    assert not (seen & ~most).any()
    assert seen.sum() * 0.5**2 / 1e6 == pytest.approx(shaped.record.analysed_mm2)
    for name in ("pale", "entropy"):
        np.testing.assert_array_equal(np.isfinite(maps[name].read()[0]), seen)
    padded = np.pad(seen, [(0, -side % 4) for side in seen.shape])
    cells = padded.reshape(padded.shape[0] // 4, 4, padded.shape[1] // 4, 4).any(axis=(1, 3))
    np.testing.assert_array_equal(np.isfinite(maps["map4"].read()[0]), cells)
    assert not maps.at(100, 150).analysed
    assert maps.at(70, 128.5).analysed


def test_what_was_not_answered_lowers_no_mean_of_a_coarser_level(shaped: Run) -> None:
    item = RunMaps(shaped)["dark"]
    truth = item.read()[0]
    assert np.nanmin(truth) == np.nanmax(truth)
    for level, grid in enumerate(item.grids):
        values = item.reader(level, Window(0, 0, *grid.shape))
        known = values[np.isfinite(values)]
        assert known.size
        # by rounding to steps of 1/255 twice, where little of a pixel was answered
        np.testing.assert_allclose(known, np.nanmax(truth), atol=0.02)


def test_a_run_by_an_earlier_version_is_read_by_what_it_kept(shaped: Run, tmp_path: Path) -> None:
    marked = RunMaps(shaped)
    shutil.copytree(shaped.path, tmp_path / "old")
    shutil.rmtree(tmp_path / "old" / "analysed")
    maps = RunMaps(Run.open(tmp_path / "old"))
    for level, grid in enumerate(maps["dark"].grids):
        window = Window(0, 0, *grid.shape)
        seen = np.isfinite(maps["dark"].reader(level, window))
        truth = np.isfinite(marked["dark"].reader(level, window))
        assert (truth & ~seen).sum() < 0.01 * truth.sum()
        assert (seen & ~truth).sum() < 0.04 * truth.sum()  # cells of attention have 4 px a side
    record = shaped.record.model_copy(
        update={"rasters": tuple(one for one in shaped.record.rasters if one.kind != "attention")}
    )
    bare = RunMaps(Run(tmp_path / "old", record))
    seen = np.isfinite(bare["dark"].read()[0])
    assert seen[20:256, 13:256].all()  # by whole cells, as the ledger has them
    assert not seen[512:, 512:].any()
    assert (
        len(ranked_tiles(marked, "dark"))
        <= len(ranked_tiles(maps, "dark"))
        <= len(ranked_tiles(bare, "dark"))
    )
    assert not seen[:, 590:].any()


def test_tiles_that_were_not_run_are_not_ranked(tmp_path: Path) -> None:
    slide = dark_at(Region(64, 64, 64, 64), (320, 320))
    model = marker_model(4, attention=("map4",), overlap=16, size=80)
    run = predict(slide, model, Region(64, 64, 64, 64), tmp_path / "run")
    maps = RunMaps(run)
    assert run.record.tiles == 1
    for name in ("dark", "map4"):
        for by in ("mean", "max"):
            entries = ranked_tiles(maps, name, lowest=True, by=by)
            assert [entry.region for entry in entries] == [Region(64, 64, 64, 64)]
