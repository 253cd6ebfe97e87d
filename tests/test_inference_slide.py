"""Runs that classify a slide in two stages: vectors once, then the map of them in seconds."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fakes import ArraySlide, model_of
from napari_lumen import ModelError, RunError, load_model
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Region, Window
from napari_lumen.holding import held
from napari_lumen.inference import Progress, Run, predict
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.live import Live
from napari_lumen.inference.rasters import LiveRaster
from napari_lumen.inference.slide_features import forget_oldest
from napari_lumen.models import Model, build, record_attention, save_model
from napari_lumen.models.feature_map import FeatureMap, lay_out
from napari_lumen.stain.normalisation import Dyes, Macenko

PATCH = 32
ROWS, COLUMNS = 7, 9
WHOLE = Region(0, 0, ROWS * PATCH, COLUMNS * PATCH)
TUMOUR = ClassTable.of([(1, "tumour", (255, 0, 0))])

# what a killed process runs: the same call as in the test, slow enough to be killed, telling how far it is
CHILD = """
import sys, time
import torch
sys.path.insert(0, {tests!r})
import napari_lumen.inference.writer as writer
from test_inference_slide import WHOLE, Together, picture, two_stages
from fakes import ArraySlide
from napari_lumen.inference import predict
writer._SOONEST, writer._SHARE = 0.0, 1.0  # write after every batch, so that there is something to kill
torch.set_num_threads(1)


def tell(progress):
    print(progress.stage, progress.done, sep=":", flush=True)
    time.sleep(0.05)


predict(ArraySlide(picture()), two_stages(Together()), WHOLE, {out!r}, on_progress=tell)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "napari-lumen" / "features"


class Together(nn.Module):
    """Says of every tile how dark all tiles on the map are together: of normal and tumour."""

    patch = PATCH

    def __init__(self, steepness: float = 10.0, encoder: str = "mean") -> None:
        super().__init__()
        self.steepness, self.encoder = steepness, encoder

    def features_checksum(self) -> str:
        return self.encoder

    def patch_features(self, patches: Tensor) -> Tensor:
        dark = 1 - patches.mean(dim=(1, 2, 3))
        return torch.stack([dark, torch.ones_like(dark)], dim=1)

    def classify(self, features: Tensor, cells: Tensor) -> tuple[FeatureMap, Tensor]:
        laid_out = lay_out(features, cells)
        dark, count = laid_out.values[0].sum(dim=(1, 2))
        logit = torch.full_like(laid_out.values[:, :1], float(dark / count - 0.5) * self.steepness)
        return laid_out, torch.cat([torch.zeros_like(logit), logit], dim=1)


def two_stages(network: nn.Module, **card: Any) -> Model:
    """Give a network of two stages a card."""
    model = model_of(network, size=PATCH, overlap=0, classes=TUMOUR, activation="softmax")
    return Model(network, model.card.model_copy(update={"task": "slide", **card}), model.path)


def small(**arguments: Any) -> nn.Module:
    torch.manual_seed(arguments.pop("seed", 0))
    sizes = {"encoder": "resnet18", "width": 4, "patch": PATCH, "crop": 28}
    return build("multistage", **sizes, **arguments).eval()


def picture() -> np.ndarray:
    rng = np.random.default_rng(8)
    coarse = rng.integers(0, 256, (ROWS * PATCH // 4, COLUMNS * PATCH // 4, 3), np.uint8)
    return np.kron(coarse, np.ones((4, 4, 1), np.uint8))


def two_lumps() -> np.ndarray:
    """A dark lump of tissue and a pale one, far apart on glass, along the borders of tiles."""
    base = np.full((32 * PATCH, 32 * PATCH, 3), 255, np.uint8)
    base[4 * PATCH : 9 * PATCH, 4 * PATCH : 9 * PATCH] = (40, 0, 40)
    base[20 * PATCH : 24 * PATCH, 20 * PATCH : 26 * PATCH] = (200, 100, 200)
    return base


def raster(run: Run, name: str) -> np.ndarray:
    record = next(record for record in run.record.rasters if record.name == name)
    return np.asarray(run.levels(record)[0])


def table(run: Run) -> dict[tuple[int, int], float]:
    """Probability of tumour by row and column of the tile."""
    with (run.path / "tiles.csv").open(newline="") as file:
        return {
            (int(float(row["y"])) // PATCH, int(float(row["x"])) // PATCH): float(row["tumour"])
            for row in csv.DictReader(file)
        }


# -- what is said, and where ---------------------------------------------------------------------------


@pytest.mark.parametrize("slide_map", ["slide", "lumps"])
def test_tiles_are_classified_together_with_their_slide_or_with_their_lump(
    tmp_path: Path, slide_map: str
) -> None:
    base = two_lumps()
    model = two_stages(Together(), slide_map=slide_map)
    run = predict(ArraySlide(base), model, None, tmp_path / "run")
    said = table(run)
    lumps = [{cell for cell in said if cell[0] < 15}, {cell for cell in said if cell[0] >= 15}]
    assert all(lumps)

    def together(cells: set[tuple[int, int]]) -> float:
        tiles = [base[r * PATCH : (r + 1) * PATCH, c * PATCH : (c + 1) * PATCH] for r, c in cells]
        return float(1 / (1 + np.exp(-(1 - np.mean(tiles) / 255 - 0.5) * 10)))

    for group in lumps if slide_map == "lumps" else [set(said)]:
        wanted = together(group)
        assert [said[cell] for cell in group] == pytest.approx([wanted] * len(group), abs=1e-4)
    labels = raster(run, "classes")
    for cell, probability in said.items():
        assert labels[cell] == (probability >= 0.5)
    assert labels.sum() == sum(probability >= 0.5 for probability in said.values())


@pytest.mark.parametrize("variant", ["end_to_end", "imagenet", "classifier"])
def test_a_slide_is_answered_as_the_network_answers_it_as_one_field(tmp_path: Path, variant: str) -> None:
    network = small(variant=variant)
    names = ("feature_norm", "tumour_prob")
    run = predict(ArraySlide(picture()), two_stages(network, attention=names), WHOLE, tmp_path / "run")
    pixels = torch.from_numpy(picture()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode(), record_attention(network, *names) as maps:
        wanted = network(pixels).softmax(dim=1)[0, 1, ::PATCH, ::PATCH].numpy()
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(raster(run, "tumour")[:ROWS, :COLUMNS], wanted, atol=0.6 / 255)
    for cell, probability in table(run).items():
        assert probability == pytest.approx(wanted[cell], abs=1e-3)
    rows, columns = (slice(at, at + length) for at, length in zip((4, 3), (ROWS, COLUMNS), strict=True))
    for name in names:
        truth = maps[name][0, 0].numpy()
        if truth.shape != (ROWS, COLUMNS):  # the U-Net's map has more cells around them
            truth = truth[rows, columns]
        np.testing.assert_allclose(raster(run, name)[:ROWS, :COLUMNS], truth, rtol=2e-3, atol=1e-3)
    for record in run.record.rasters:
        assert (record.step, record.origin) == ((PATCH, PATCH), (0, 0))


def test_tissue_beyond_the_map_of_the_network_enlarges_it(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run = predict(ArraySlide(picture()), two_stages(small(map_size=4)), WHOLE, tmp_path / "run")
    assert len(table(run)) == ROWS * COLUMNS


def test_glass_has_no_answer(tmp_path: Path) -> None:
    model = two_stages(small(), attention=("feature_norm",))
    run = predict(ArraySlide(two_lumps()), model, None, tmp_path / "run")
    norm, said = raster(run, "feature_norm"), table(run)
    assert {(int(row), int(column)) for row, column in np.argwhere(~np.isnan(norm))} == set(said)
    assert np.isnan(norm[15, 15])
    assert 25 + 24 <= len(said) < 200  # of 1,024


# -- vectors are computed once -------------------------------------------------------------------------


def test_another_network_and_another_region_reuse_the_vectors(tmp_path: Path) -> None:
    part = Region(0, 0, 3 * PATCH, 4 * PATCH)
    slide = ArraySlide(picture())
    first = predict(slide, two_stages(Together()), part, tmp_path / "a")
    grown = predict(slide, two_stages(Together()), WHOLE, tmp_path / "b")
    other = predict(
        slide, two_stages(Together(steepness=-20), weights_sha256="1" * 64), WHOLE, tmp_path / "c"
    )
    tiles = [run.record.sessions[0].tiles for run in (first, grown, other)]
    assert tiles == [12, ROWS * COLUMNS - 12, 0]
    assert set(table(other).values()) != set(table(grown).values())
    alone = 1 / (1 + np.exp((1 - picture()[: 3 * PATCH, : 4 * PATCH].mean() / 255 - 0.5) * -10))
    assert list(table(first).values()) == pytest.approx([alone] * 12, abs=1e-4)


def test_vectors_whose_files_a_cleaner_removed_are_computed_anew(tmp_path: Path, own_cache: Path) -> None:
    model = two_stages(Together())
    first = predict(ArraySlide(picture()), model, WHOLE, tmp_path / "first")
    files = [file for file in own_cache.rglob("*") if file.is_file() and "c" in file.parts]
    assert files
    for file in files:
        file.unlink()
    again = predict(ArraySlide(picture()), model, WHOLE, tmp_path / "again")
    assert again.record.sessions[0].tiles == again.record.tiles
    assert table(again) == table(first)


def test_other_weights_of_the_first_stage_other_slides_and_pixels_do_not(tmp_path: Path) -> None:
    slide = ArraySlide(picture())
    predict(slide, two_stages(Together()), WHOLE, tmp_path / "a")
    for number, (again, network) in enumerate(
        ((slide, Together(encoder="other")), (ArraySlide(picture(), mpp=(0.5, 0.499)), Together()))
    ):
        run = predict(again, two_stages(network), WHOLE, tmp_path / f"other{number}")
        assert run.record.sessions[0].tiles == run.record.tiles


def test_networks_share_vectors_if_what_sees_the_patches_is_the_same() -> None:
    first, head = small(), small(variant="classifier")
    head.load_state_dict(first.state_dict() | head.state_dict(), strict=False)
    head.extractor.load_state_dict(first.extractor.state_dict(), strict=False)
    assert first.features_checksum() == head.features_checksum()
    assert first.features_checksum() != small(seed=1).features_checksum()
    torch.manual_seed(0)
    wider = build("multistage", encoder="resnet18", width=4, patch=PATCH, crop=PATCH)
    wider.load_state_dict(first.state_dict())
    assert first.features_checksum() != wider.features_checksum()


def test_vectors_that_were_used_longest_ago_make_room_for_new_ones(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (Together(encoder=name) for name in ("first", "second", "third"))
    slide = ArraySlide(picture())

    def run(network: nn.Module, name: str) -> set[Path]:
        predict(slide, two_stages(network), WHOLE, tmp_path / name)
        for age, folder in enumerate(sorted(own_cache.iterdir(), key=lambda kept: -kept.stat().st_mtime)):
            os.utime(folder, (1e9 - age, 1e9 - age))  # a clock may be too coarse to tell them apart
        return set(own_cache.iterdir())

    (of_first,) = run(first, "a")
    (of_second,) = run(second, "b") - {of_first}
    run(first, "c")  # used again
    size = sum(file.stat().st_size for file in of_first.rglob("*") if file.is_file())
    monkeypatch.setattr(forget_oldest, "__defaults__", (int(2.5 * size),))
    kept = run(third, "d")
    assert of_second not in kept
    assert of_first in kept
    assert len(kept) == 2
    with held(of_first):
        assert of_first in run(second, "e")  # what somebody reads stays, whatever room it takes


def test_the_folder_of_vectors_can_be_named_and_one_that_cannot_be_made_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setenv("NAPARI_LUMEN_CACHE", str(tmp_path / "shared"))
    predict(ArraySlide(picture()), two_stages(Together()), WHOLE, tmp_path / "run")
    assert len(list((tmp_path / "shared" / "features").iterdir())) == 1
    assert not own_cache.exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAPARI_LUMEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match=r"cannot be made: .* The variable NAPARI_LUMEN_CACHE names it\."):
        predict(ArraySlide(picture()), two_stages(Together()), WHOLE, tmp_path / "other")


def test_vectors_that_another_run_computes_are_waited_for(tmp_path: Path, own_cache: Path) -> None:
    slide = ArraySlide(picture())
    predict(slide, two_stages(Together()), WHOLE, tmp_path / "a")
    (folder,) = own_cache.iterdir()
    with held(folder), pytest.raises(RunError, match="Wait for that run: the vectors"):
        predict(slide, two_stages(Together()), Region(0, 0, PATCH, PATCH), tmp_path / "b")


# -- whatever happens ----------------------------------------------------------------------------------


def test_a_cancelled_run_goes_on_with_the_vectors_that_there_are(tmp_path: Path) -> None:
    truth = predict(ArraySlide(picture()), two_stages(small()), WHOLE, tmp_path / "truth")
    cancel, slide = Event(), ArraySlide(picture(), mpp=(0.5, 0.5))
    model = two_stages(small(seed=0, features=16))
    for file in sorted((tmp_path / "cache").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()

    def stop(progress: Progress) -> None:
        if progress.stage == "running the model" and progress.done >= 20:
            cancel.set()

    with pytest.raises(Cancelled):
        predict(slide, model, WHOLE, tmp_path / "run", on_progress=stop, cancel=cancel)
    assert not (tmp_path / "run").exists()
    run = predict(slide, model, WHOLE, tmp_path / "run")
    assert run.record.sessions[0].tiles == ROWS * COLUMNS - 20
    assert table(run) == pytest.approx(table(truth), abs=1e-5)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path: Path, own_cache: Path) -> None:
    out = tmp_path / "run"
    code = CHILD.format(tests=str(Path(__file__).parent), out=str(out))
    finished = []
    for stage, until in (("running the model", 24), ("counting", 0)):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            at, done = line.split(":")
            if at == stage and int(done) >= until:
                break
        child.send_signal(signal.SIGKILL)
        child.communicate()
        (cache,) = own_cache.iterdir()
        finished.append(len(Ledger(cache).covered))
    assert 0 < finished[0] < finished[1] == ROWS * COLUMNS
    run = predict(ArraySlide(picture()), two_stages(Together()), WHOLE, out)
    assert run.record.sessions[-1].tiles == 0
    truth = predict(ArraySlide(picture(), mpp=(0.5, 0.5)), two_stages(Together()), WHOLE, tmp_path / "truth")
    assert table(run) == table(truth)
    for record in truth.record.rasters:
        np.testing.assert_array_equal(raster(run, record.name), raster(truth, record.name))


def test_a_bad_tile_is_left_out_of_the_map_and_recorded(tmp_path: Path) -> None:
    broken = ArraySlide(picture(), broken=Window(40, 40, 4, 4))
    run = predict(broken, two_stages(Together()), WHOLE, tmp_path / "run")
    assert [(tile.y, tile.x) for tile in run.record.failed_tiles] == [(32, 32)]
    assert (1, 1) not in table(run)
    assert len(table(run)) == ROWS * COLUMNS - 1
    mended = predict(ArraySlide(picture()), two_stages(Together()), WHOLE, tmp_path / "again")
    assert mended.record.failed_tiles == ()
    assert mended.record.sessions[0].tiles == 1
    nothing = ArraySlide(picture(), broken=Window(0, 0, 999, 999), mpp=(0.5, 0.499))
    with pytest.raises(RunError, match="could be read: array"):
        predict(nothing, two_stages(Together()), WHOLE, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_full_disk_is_one_sentence_that_names_the_folder(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: LiveRaster) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LiveRaster, "flush", full)
    place = rf"cannot be written to {own_cache}/array-\w+: No space left on device"
    with pytest.raises(RunError, match=place):
        predict(ArraySlide(picture()), two_stages(Together()), WHOLE, tmp_path / "run")
    monkeypatch.undo()
    assert not (tmp_path / "run").exists()


def test_the_heat_map_is_shown_when_it_is_there(tmp_path: Path) -> None:
    seen: list[Live] = []
    told: list[str] = []
    run = predict(
        ArraySlide(picture()),
        two_stages(Together()),
        WHOLE,
        tmp_path / "run",
        on_progress=lambda progress: told.append(progress.stage),
        on_live=seen.append,
    )
    (live,) = seen
    assert live.changed() == [WHOLE]
    shown = live.read(live.records[1], 0, Window(0, 0, ROWS, COLUMNS))
    np.testing.assert_array_equal(shown / np.float32(255), raster(run, "tumour")[:ROWS, :COLUMNS])
    assert list(dict.fromkeys(told)) == [
        "finding tissue",
        "running the model",
        "classifying the slide",
        "counting",
    ]


def test_a_card_that_does_not_fit_the_network_is_refused(tmp_path: Path) -> None:
    slide = ArraySlide(picture())
    larger = model_of(small(), size=64, overlap=0, classes=TUMOUR, activation="softmax")
    larger = Model(larger.network, larger.card.model_copy(update={"task": "slide"}), larger.path)
    with pytest.raises(ModelError, match=r"field 'input': its network reads tiles of 32 px .* not of 64 px"):
        predict(slide, larger, WHOLE, tmp_path / "run")
    with pytest.raises(ModelError, match=r"field 'task': its network .* has no two stages"):
        predict(slide, two_stages(nn.Identity()), WHOLE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_folder_of_two_stages_is_loaded_and_runs(tmp_path: Path) -> None:
    network = small()
    arguments = {"encoder": "resnet18", "width": 4, "patch": PATCH, "crop": 28}
    card = two_stages(network, architecture="multistage", arguments=arguments).card
    assert card.channels == 2
    loaded = load_model(save_model(tmp_path, network, card))
    run = predict(ArraySlide(picture()), loaded, WHOLE, tmp_path / "run")
    assert run.record.card.task == "slide"
    only_pixels = card.model_copy(
        update={"name": "pixels", "arguments": arguments | {"variant": "segmentation"}}
    )
    folder = save_model(tmp_path, small(variant="segmentation"), only_pixels)
    with pytest.raises(ModelError, match="is made for segmentation, not slide"):
        load_model(folder)


def test_both_stages_see_the_stain_of_the_model(tmp_path: Path, own_cache: Path) -> None:
    model, pixels = two_stages(Together()), picture()
    spec = model.card.input.model_copy(update={"stain": Macenko()})
    stained = two_stages(Together(), input=spec)
    run = predict(ArraySlide(pixels), stained, WHOLE, tmp_path / "run")
    assert isinstance(run.record.stain, Dyes)
    plain = predict(ArraySlide(pixels), model, WHOLE, tmp_path / "plain")
    assert len(list(own_cache.iterdir())) == 2  # vectors of one slide in two stains
    slide = ArraySlide(Macenko().apply(pixels, run.record.stain))
    slide.fingerprint_now = lambda: "recoloured"  # type: ignore[method-assign]
    expected = predict(slide, model, WHOLE, tmp_path / "expected")
    assert table(run) == table(expected)
    assert table(run) != table(plain)
