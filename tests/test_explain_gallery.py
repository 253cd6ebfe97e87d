"""The strongest and weakest tiles and instances of a run: which, where, their pictures, table and sheet."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explain_fakes import marker_model
from fakes import ArraySlide, Darkness, model_of
from napari_lumen.errors import Cancelled, RunError
from napari_lumen.explain.gallery import sheet, thumbnail, thumbnails, write_sheet, write_table
from napari_lumen.explain.ranking import (
    Entry,
    instance_sources,
    ranked_instances,
    ranked_tiles,
    tile_values,
)
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import Run, predict

ROWS, COLUMNS, TILE = 6, 7, 64
GREY = np.random.default_rng(3).permutation(ROWS * COLUMNS).reshape(ROWS, COLUMNS).astype(np.uint8) * 6
WHOLE = Region(0, 0, ROWS * TILE, COLUMNS * TILE)


def blocks() -> ArraySlide:
    return ArraySlide(np.kron(GREY[..., None], np.ones((TILE, TILE, 3), np.uint8)))


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = marker_model(None, 8, whole=True, attention=("mapNone", "map8", "boxes"), size=TILE)
    return predict(blocks(), model, WHOLE, tmp_path_factory.mktemp("tiles") / "run")


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = marker_model(4, attention=("map4",), size=TILE + 16, overlap=16)
    return predict(blocks(), model, WHOLE, tmp_path_factory.mktemp("pixels") / "run")


@pytest.mark.parametrize(("kind", "name"), [("classified", "map8"), ("segmented", "map4")])
def test_the_strongest_tiles_are_the_darkest_and_lie_where_they_are(
    kind: str, name: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(kind)
    for lowest in (False, True):
        entries = ranked_tiles(RunMaps(run), name, 5, lowest=lowest)
        order = np.argsort(GREY.ravel())
        expected = (order[::-1] if lowest else order)[:5]
        for rank, (entry, index) in enumerate(zip(entries, expected, strict=True), start=1):
            row, column = divmod(int(index), COLUMNS)
            assert entry.region == Region(row * TILE, column * TILE, TILE, TILE)
            assert entry.rank == rank
            assert entry.value == pytest.approx(1 - GREY[row, column] / 255, abs=2e-3)
            dark = 1 - GREY[row, column] / 255 > 0.5
            assert entry.class_name == ("dark" if dark else "pale")
            assert entry.color == ((255, 0, 0) if dark else (0, 0, 255))


def test_tiles_can_be_of_one_class_and_their_highest_value_can_count(segmented: Run) -> None:
    maps = RunMaps(segmented)
    pale = ranked_tiles(maps, "map4", 500, class_name="pale")
    assert {entry.class_name for entry in pale} == {"pale"}
    assert len(pale) == np.count_nonzero(1 - GREY / 255 <= 0.5)
    values = tile_values(segmented, maps["map4"], "max")
    assert values.shape == segmented.tiles.shape
    np.testing.assert_allclose(values[:ROWS, :COLUMNS], 1 - GREY / 255, atol=2e-3)
    assert np.isnan(values[ROWS:]).all()
    with pytest.raises(RunError, match="has no class 'green'; it has pale, dark"):
        ranked_tiles(maps, "map4", class_name="green")


def test_large_maps_are_read_in_bands_with_the_same_result(
    segmented: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = RunMaps(segmented)["map4"]
    whole = tile_values(segmented, item)
    monkeypatch.setattr("napari_lumen.explain.ranking._AT_ONCE", 1)
    np.testing.assert_array_equal(tile_values(segmented, item), whole)


def test_the_best_boxes_come_first(classified: Run) -> None:
    assert instance_sources(classified) == ("boxes",)
    entries = ranked_instances(classified, "boxes", 50)
    assert [entry.value for entry in entries] == [7.5] * 42 + [2.25] * 8
    assert entries[0].region == Region(32, 48, 32, 16)
    assert ranked_instances(classified, "boxes", 1, lowest=True)[0].region == Region(0, 0, 16, 32)
    with pytest.raises(RunError, match="has no instances 'objects'; it has boxes"):
        ranked_instances(classified, "objects")


def test_the_surest_objects_of_a_segmentation_come_first(tmp_path: Path) -> None:
    pixels = np.full((128, 128, 3), 255, np.uint8)
    pixels[20:40, 30:60], pixels[80:100, 90:110] = 100, 126  # the second is nearly undecided
    run = predict(ArraySlide(pixels), model_of(Darkness()), Region(0, 0, 128, 128), tmp_path / "run")
    (sure, unsure) = ranked_instances(run, "objects")
    assert sure.region == Region(20, 30, 20, 30)
    assert unsure.region == Region(80, 90, 20, 20)
    assert sure.value > unsure.value


def test_a_thumbnail_shows_its_tile_and_surroundings_when_asked() -> None:
    entry = Entry(1, 0.5, Region(TILE, 2 * TILE, TILE, TILE))
    picture = thumbnail(blocks(), entry, 32)
    assert picture.shape == (32, 32, 3)
    np.testing.assert_array_equal(picture[1:-1, 1:-1], GREY[1, 2])  # the outermost are blended
    wide = thumbnail(blocks(), entry, 96, around=3)
    np.testing.assert_array_equal(wide[40:56, 40:56], GREY[1, 2])
    np.testing.assert_array_equal(wide[8:24, 72:88], GREY[0, 3])


def test_thumbnails_come_in_order_skip_what_cannot_be_read_and_end_when_asked(classified: Run) -> None:
    entries = ranked_tiles(RunMaps(classified), "map8", 30)
    broken = ArraySlide(*blocks()._arrays, broken=Window(8, 8, 20, 20))
    shown = list(thumbnails(broken, entries, 16))
    assert [entry for entry, _ in shown] == list(entries)
    lost = [entry.region for entry, picture in shown if picture is None]
    assert lost == [entry.region for entry in entries if (entry.region.y, entry.region.x) == (0, 0)]

    def stop() -> None:
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        list(thumbnails(broken, entries, 16, check=stop))


def test_a_gallery_is_written_as_a_table_and_as_a_sheet(classified: Run, tmp_path: Path) -> None:
    entries = ranked_tiles(RunMaps(classified), "map8", 12)
    write_table(entries, (0.5, 0.5), tmp_path / "tiles.csv")
    with (tmp_path / "tiles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert float(rows[3]["y_um"]) == entries[3].region.y * 0.5
    assert rows[0]["class"] == "dark"
    shown = list(thumbnails(blocks(), entries, 32))
    write_sheet(sheet(shown, 5, "map8, highest"), tmp_path / "sheet.png")
    picture = np.asarray(Image.open(tmp_path / "sheet.png"))
    reds = (picture == (255, 0, 0)).all(axis=-1)
    assert reds.sum() == 12 * (40 * 40 - 32 * 32)  # twelve frames of 4 px
    with pytest.raises(RunError, match="cannot be written"):
        write_sheet(picture, tmp_path / "nowhere" / "sheet.png")
    assert sheet([], 5, "none").shape[2] == 3
