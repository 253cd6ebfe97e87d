"""Runs of models that were trained on one stain: a slide of another comes out as one of that stain."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import napari_lumen.inference.slide_stain as slide_stain
from cluster_fakes import SlowDarkness
from fakes import ArraySlide, model_of
from napari_lumen import RunError, SlideError
from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Region, Window
from napari_lumen.inference import Progress, Run, predict
from napari_lumen.inference.assignment import assign
from napari_lumen.inference.plan import make_plan
from napari_lumen.inference.predict import card_checksum
from napari_lumen.inference.reading import TileReader
from napari_lumen.inference.slide_stain import STAIN_FILE
from napari_lumen.inference.worker import _Open
from napari_lumen.models import InputSpec, Model, ModelCard, View, find_model, read_card
from napari_lumen.stain.normalisation import (
    ColourStatistics,
    Dyes,
    Macenko,
    Method,
    Reinhard,
    colour_table,
)
from napari_lumen.stain.of_slide import stain_of_slide

Image = npt.NDArray[np.uint8]
SIDE = 512
WHOLE = Region(0, 0, SIDE, SIDE)
PINK = np.array([[0.65, 0.70, 0.29], [0.20, 0.80, 0.56]])
BLUE = np.array([[0.75, 0.62, 0.22], [0.32, 0.88, 0.34]])  # the same section from another laboratory


def section(dyes: npt.NDArray[Any] = PINK, strength: float = 1.0) -> Image:
    """Round nuclei in eosin of changing depth, and glass around, by Beer and Lambert's law."""
    y, x = np.mgrid[:SIDE, :SIDE]
    rng = np.random.default_rng(2)
    haematoxylin = np.zeros((SIDE, SIDE))
    for row, column in rng.integers(60, SIDE - 60, (90, 2)):
        haematoxylin[(y - row) ** 2 + (x - column) ** 2 < 11**2] = 1.2
    eosin = np.where(haematoxylin > 0, 0.05, 0.6 + 0.2 * np.sin(x / 17) * np.sin(y / 23))
    eosin = np.where(np.hypot(y - SIDE / 2, x - SIDE / 2) < SIDE * 0.48, eosin, 0)
    dyes = dyes / np.linalg.norm(dyes, axis=1, keepdims=True)
    amounts = np.stack([haematoxylin, eosin], axis=-1) * strength
    return np.clip(np.rint(256 * np.exp(-amounts @ dyes) - 1), 0, 255).astype(np.uint8)


class Redless(nn.Module):
    """Says where little red comes through, as nuclei in the stain that it was trained on let it."""

    def forward(self, x: Tensor) -> Tensor:
        return (0.6 - x[:, :1]) * 200


def method_of(name: str) -> Method:
    """The method with what the section in pink is."""
    if name == "macenko":
        return Macenko(Macenko().fit(section()))
    return Reinhard(Reinhard().fit(section()))


def trained(method: Method | None, network: nn.Module | None = None, views: int = 1) -> Model:
    model = model_of(network or Redless(), size=128, overlap=32)
    seen = tuple(View(size=128, mpp=0.5 * 2**place) for place in range(views))
    spec = InputSpec(views=seen, overlap=32, stain=method)
    return Model(model.network, model.card.model_copy(update={"input": spec}), model.path)


def labels(run: Run) -> Image:
    return np.asarray(run.levels(run.labels)[0])[:SIDE, :SIDE]


@pytest.mark.parametrize("name", ["macenko", "reinhard"])
def test_a_slide_of_another_stain_gets_the_labels_of_the_reference(name: str, tmp_path: Path) -> None:
    reference = labels(predict(ArraySlide(section()), trained(None), WHOLE, tmp_path / "reference"))
    other = ArraySlide(section(BLUE, 0.5))
    plain = labels(predict(other, trained(None), WHOLE, tmp_path / "plain"))
    run = predict(other, trained(method_of(name)), WHOLE, tmp_path / "run")
    nuclei = int((reference > 0).sum())
    assert nuclei > 15_000
    assert (plain != reference).sum() > 0.5 * nuclei
    assert (labels(run) != reference).sum() <= 0.001 * nuclei
    assert run.record.stain == stain_of_slide(other, method_of(name), 0.5)
    assert run.record.warnings == ()


def test_the_stain_is_that_of_the_slide_whatever_part_of_it_is_wanted(tmp_path: Path) -> None:
    slide, model = ArraySlide(section(BLUE)), trained(method_of("macenko"))
    whole = predict(slide, model, WHOLE, tmp_path / "whole")
    part = predict(slide, model, Region(200, 180, 90, 110), tmp_path / "part")
    assert part.record.stain == whole.record.stain
    inside = np.s_[210:280, 190:280]
    np.testing.assert_array_equal(labels(part)[inside], labels(whole)[inside])


@pytest.mark.parametrize("name", ["macenko", "reinhard"])
def test_tiles_join_without_seams_in_all_views(name: str) -> None:
    slide, method = ArraySlide(section(BLUE)), method_of(name)
    source = stain_of_slide(slide, method, 0.5)
    assert source is not None
    model = trained(method, views=2)
    plan = make_plan(slide, model.card.input, WHOLE)
    reader = TileReader(slide, plan.grid, model.card.input.views, colour_table(method, source))
    left, right = (reader.read(Window(200, x, 128, 128)) for x in (100, 132))
    assert left is not None
    assert right is not None
    np.testing.assert_array_equal(left[0][:, 32:], right[0][:, :-32])
    raw = TileReader(slide, plan.grid, model.card.input.views).read(Window(200, 100, 128, 128))
    assert raw is not None
    for seen, as_scanned in zip(left, raw, strict=True):
        exact = method.apply(as_scanned, source)  # type: ignore[arg-type]
        np.testing.assert_array_equal(seen, exact)
        assert np.abs(as_scanned.astype(int) - exact).mean() > 8


@pytest.mark.parametrize("name", ["macenko", "reinhard"])
def test_a_table_changes_colours_as_the_method_does_and_white_not_at_all(name: str) -> None:
    method = method_of(name)
    source = method.fit(section(BLUE, 0.7))
    table = colour_table(method, source)
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    image[..., 0] //= 16  # a table learns a red at a time
    np.testing.assert_array_equal(table.apply(image), method.apply(image, source))  # type: ignore[arg-type]
    assert (table.apply(np.full((3, 4, 3), 255, np.uint8)) == 255).all()
    other = Reinhard() if name == "macenko" else Macenko()
    with pytest.raises(ValueError, match="otherwise"):
        colour_table(other, source)


def test_a_run_goes_on_in_the_colours_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, model, cancel = ArraySlide(section(BLUE)), trained(method_of("macenko")), Event()
    whole = predict(slide, model, WHOLE, tmp_path / "whole")

    def stop(progress: Progress) -> None:
        if progress.stage == "running the model" and progress.done > 12:
            cancel.set()

    with pytest.raises(Cancelled):
        predict(slide, model, WHOLE, tmp_path / "run", on_progress=stop, cancel=cancel)
    monkeypatch.setattr(slide_stain, "stain_of_slide", lambda *_: pytest.fail("it was looked for again"))
    run = predict(slide, model, WHOLE, tmp_path / "run")
    assert len(run.record.sessions) == 2
    assert run.record.stain == whole.record.stain
    np.testing.assert_array_equal(labels(run), labels(whole))


def test_a_kept_stain_that_is_damaged_or_of_the_other_method_is_said(tmp_path: Path) -> None:
    model = trained(method_of("macenko"))
    for text in ("{", '{"stain": {"mean": [1, 2, 3], "deviation": [1, 2, 3]}}'):
        (tmp_path / STAIN_FILE).write_text(text)
        with pytest.raises(RunError, match="Delete the folder to begin anew"):
            slide_stain.kept_stain(model.card, tmp_path)


def test_a_worker_reads_the_stain_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide, model = ArraySlide(section(BLUE)), trained(method_of("macenko"), SlowDarkness())
    run = predict(slide, model, WHOLE, tmp_path / "run")
    monkeypatch.setattr("napari_lumen.inference.worker.assigned_model", lambda *_: model)
    monkeypatch.setattr("napari_lumen.inference.worker.assigned_slide", lambda *_: slide)
    opened = _Open.of(assign(slide, model, run.path, "cpu", "topic"), "here")
    assert opened.stain.found == run.record.stain
    assert opened.stain.table is not None


def blank() -> Image:
    return np.full((SIDE, SIDE, 3), 243, np.uint8)


def one_dye() -> Image:
    return np.repeat(section()[..., :1], 3, axis=2)


@pytest.mark.parametrize("picture", [blank, one_dye])
def test_a_slide_without_two_dyes_runs_as_it_is_and_says_so_once(picture: Any, tmp_path: Path) -> None:
    slide = ArraySlide(picture())
    run = predict(slide, trained(method_of("macenko")), WHOLE, tmp_path / "run")
    plain = predict(slide, trained(None), WHOLE, tmp_path / "plain")
    np.testing.assert_array_equal(labels(run), labels(plain))
    assert run.record.stain is None
    (warning,) = run.record.warnings
    assert warning.startswith("The stain of array.tif was not found")
    assert (run.path / "run.json").read_text().count("was not found") == 1
    assert plain.record.warnings == ()
    assert predict(slide, trained(method_of("macenko")), WHOLE, tmp_path / "run").record == run.record


def test_fields_that_cannot_be_read_do_not_count_unless_they_are_all() -> None:
    slide = ArraySlide(section(), broken=Window(256, 256, 1, 1))
    with pytest.raises(SlideError):
        slide.read(250, 250, 20, 20)
    small = np.ascontiguousarray(section()[::16, ::16])
    pyramid = (section(), small)  # the mask is read at the coarse level
    found = stain_of_slide(ArraySlide(*pyramid), Macenko(), 0.5)
    damaged = stain_of_slide(ArraySlide(*pyramid, broken=Window(256, 256, 1, 1)), Macenko(), 0.5)
    assert found is not None
    assert damaged is not None
    assert damaged != found
    assert np.array(damaged.haematoxylin) == pytest.approx(found.haematoxylin, abs=0.03)  # type: ignore[union-attr]
    with pytest.raises(SlideError):
        stain_of_slide(ArraySlide(*pyramid, broken=Window(200, 200, 400, 400)), Macenko(), 0.5)


def test_a_large_slide_is_sampled_evenly_and_comes_near_to_what_all_of_it_says() -> None:
    coarse = section(BLUE)
    large = np.kron(coarse, np.ones((8, 8, 1), np.uint8))  # 256 fields
    slide = ArraySlide(large, np.ascontiguousarray(large[::16, ::16]))
    found = stain_of_slide(slide, Macenko(), 0.5)
    wanted = Macenko().fit(coarse)
    assert isinstance(found, Dyes)
    for ours, theirs in ((found.haematoxylin, wanted.haematoxylin), (found.eosin, wanted.eosin)):
        assert ours == pytest.approx(theirs, abs=0.02)
    assert found.strongest == pytest.approx(wanted.strongest, rel=0.05)
    assert stain_of_slide(slide, Macenko(), 0.5) == found


@pytest.mark.parametrize("method", [Macenko(), Reinhard()])
def test_a_card_keeps_its_stain(method: Method) -> None:
    card = trained(method).card
    text = card.model_dump_json()
    assert f'"method":"{method.method}"' in text
    again = ModelCard.model_validate_json(text)
    assert again == card
    assert again.input.stain == method
    assert card_checksum(again) != card_checksum(trained(None).card)


def test_cards_and_runs_from_before_there_were_stains_are_the_same() -> None:
    card = read_card(find_model("nuclei-focusnetpp-light"))
    before = card.model_dump(mode="json")
    before["input"].pop("stain")
    assert ModelCard.model_validate(before) == card
    assert card.input.stain is None
    assert "stain" not in repr(card.input)  # by which unfinished runs are known again
    assert "stain" in repr(trained(Macenko()).card.input)


@pytest.mark.parametrize(
    "stain",
    [
        {"method": "macenko", "reference": {"mean": [1, 2, 3], "deviation": [1, 2, 3]}},
        {"method": "vahadane", "reference": {}},
        {"method": "reinhard", "reference": {"mean": [1, 2, 3], "deviation": [1, -2, 3]}},
        {"method": "reinhard", "reference": {"mean": [1, 2, float("nan")], "deviation": [1, 2, 3]}},
        {
            "method": "macenko",
            "reference": {"haematoxylin": [1, 0, 0], "eosin": [1, 0, 0], "strongest": [1, 1]},
        },
        {
            "method": "macenko",
            "reference": {"haematoxylin": [1, 0, 0], "eosin": [0, 1, 0], "strongest": [1, 0]},
        },
    ],
)
def test_a_card_with_a_stain_that_is_none_is_refused(stain: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="stain"):
        InputSpec.model_validate({"views": [{"size": 64, "mpp": 0.5}], "overlap": 0, "stain": stain})


def test_references_are_numbers_alone() -> None:
    assert ColourStatistics((1, 2, 3), (0, 0, 0)).deviation == (0, 0, 0)
    with pytest.raises(ValueError, match="two colours"):
        Dyes((0.1, 0.2, 0.3), (0.2, 0.4, 0.6), (1, 1))
    torch.testing.assert_close(Redless()(torch.full((1, 3, 2, 2), 0.6)), torch.zeros(1, 1, 2, 2))
