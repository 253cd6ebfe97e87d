"""`napari-lumen models`: listing, showing, fetching and removing; and `predict` with foreign models."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from rich.console import Console
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from hub_server import Hub, write_model
from napari_lumen.cli import app
from napari_lumen.cli.tables import print_table
from napari_lumen.inference import Run
from napari_lumen.models import ModelCard, install_model, load_model
from napari_lumen.models.library import user_models


def call(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [str(part) for part in arguments])


def assert_refused(result: Result, *parts: str) -> None:
    """One sentence on stderr, nothing on stdout, exit code 1, no traceback."""
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_model(tmp_path / "published")


class Dark(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (0.5 - x.mean(dim=1, keepdim=True)) * 200


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A foreign model that finds what is dark."""
    file = tmp_path / "dark.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Dark()), str(file))
    sidecar = {"mpp": 0.5, "tile": 64, "task": "segmentation", "activation": "sigmoid", "classes": ["dark"]}
    file.with_suffix(".json").write_text(json.dumps(sidecar))
    return file


@pytest.fixture
def unloadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test when a foreign program is loaded."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("a foreign program was loaded")

    monkeypatch.setattr(torch.jit, "load", load)


@pytest.mark.usefixtures("unloadable")
def test_the_list_says_kind_and_task_and_names_what_is_broken(published: Path, program: Path) -> None:
    install_model(published, "mine")
    install_model(program)
    (user_models() / "broken").mkdir()
    (user_models() / "broken" / "card.json").write_text("{}")
    result = call("models", "list")
    assert result.exit_code == 0, result.stderr
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines()}
    assert rows["nuclei-focusnetpp-light"][1:5] == ["shipped", "segmentation", "nucleus", "0.5"]
    assert rows["mine"][1:5] == ["yours", "segmentation", "gland", "0.5"]
    assert rows["dark"][1:5] == ["TorchScript", "segmentation", "dark", "0.5"]
    assert "broken" not in rows
    assert f"Your own models lie in {user_models()}" in result.stdout
    assert result.stderr.startswith("Warning: The card ")
    assert result.stderr.count("\n") == 1
    assert "field 'name'" in result.stderr


@pytest.mark.usefixtures("unloadable")
def test_a_foreign_model_is_shown_without_being_run(program: Path) -> None:
    result = call("models", "show", program)
    assert result.exit_code == 0, result.stderr
    for part in ("TorchScript", "segmentation", "64 x 64 px at 0.5 µm per pixel", "unknown", str(program)):
        assert part in result.stdout
    card = ModelCard.model_validate_json(call("models", "show", program, "--json").stdout)
    assert card.architecture == "TorchScript"
    program.with_suffix(".json").write_text('{"tile": 64}')
    assert_refused(call("models", "show", program), "dark.json", "field 'mpp'")


def test_a_model_is_fetched_from_a_hub_and_removed(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    hub.files = {file.name: file.read_bytes() for file in published.iterdir()}
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = call("models", "fetch", "hub:lab/glands", "--as", "mine")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"mine: {user_models() / 'mine'}\n"
    assert load_model("mine").card.title == "Glands"
    assert_refused(call("models", "fetch", "hub:lab/glands", "--as", "mine"), "already", "another name")
    assert_refused(call("models", "fetch", "hub:lab/nothing"), "no model lab/nothing on the hub")
    assert_refused(call("models", "fetch", "hub:lab"), "hub:ORG/NAME")
    hub.close()
    assert_refused(call("models", "fetch", "hub:lab/nothing"), "cannot be fetched")
    assert "mine" in call("models", "list").stdout
    result = call("models", "remove", "mine")
    assert (result.exit_code, result.stdout) == (0, f"Removed {user_models() / 'mine'}\n")
    assert "mine" not in call("models", "list").stdout
    assert_refused(call("models", "remove", "mine"), "no model 'mine' in your folder")
    assert_refused(call("models", "remove", "nuclei-focusnetpp-light"), "in your folder")


def test_predict_runs_a_foreign_model_only_when_trusted(program: Path, tmp_path: Path) -> None:
    pixels = np.full((256, 256, 3), 255, np.uint8)
    pixels[64:128, 64:192] = 0
    slide, out = tmp_path / "slide.tif", tmp_path / "run"
    resolution = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(slide, pixels, tile=(256, 256), photometric="rgb", **resolution)
    command = ("predict", slide, "--model", program, "--out", out, "--region", "0,0,256,256")
    assert_refused(call(*command), "dark.pt", "--trust")
    assert not out.exists()
    result = call(*command, "--trust")
    assert result.exit_code == 0, result.stderr
    (count,) = Run.open(out).record.counts
    assert (count.name, count.objects) == ("dark", 1)
    assert count.area_mm2 == pytest.approx(64 * 128 * 0.25e-6)


def test_describe_prints_numbers_and_maps_of_a_network_and_of_a_model() -> None:
    found = call("models", "describe", "focusnetpp", "preset=light")
    assert found.exit_code == 0
    for piece in ("1,833,357", "4.94 GMAC", "FocusNet++, nuclei", "d1.0.att0"):
        assert piece in found.output
    as_json = json.loads(
        call("models", "describe", "nuclei-focusnetpp-light", "--json", "--size", "128").output
    )
    assert as_json["parameters"] == 1_833_357
    assert as_json["size"] == [128, 128]


def test_describe_names_a_wrong_argument() -> None:
    assert "name=value" in call("models", "describe", "resnet", "depth").output
    wrong = call("models", "describe", "resnet", "depth=20")
    assert_refused(wrong, "depth must be one of 18, 34, 50, 101, 152, not 20")


def test_export_refuses_an_unknown_format() -> None:
    refused = call("models", "export", "nuclei-focusnetpp-light", "x.pth")
    assert_refused(refused, "exported to .pt2 or .onnx")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("darefinenet", "classes=-1"), "classes must be 1 or more, not -1"),
        (("darefinenet", "classes=0"), "classes must be 1 or more, not 0"),
        (("unet", "name=x"), "cannot be built with name='x': it takes"),
        (("unet", "--size", "0"), "of 1 to 16,384 px, not 0"),
        (("unet", "--size", "-3"), "of 1 to 16,384 px, not -3"),
        (("gated_attention", "margin=nan"), "margin"),
        (("multistage", "patch=256.5"), "patch must be a whole number, not 256.5"),
        (("",), "There is no model ''"),
        (("~nouserx/m",), "no home folder of ~nouserx"),
        (("m" * 300,), "There is no model"),
        (("gated_attention", "instances=1000000000"), "instances must be 1000 or less"),
    ],
)
def test_describe_refuses_in_a_sentence(arguments: tuple[str, ...], part: str) -> None:
    assert_refused(call("models", "describe", *arguments), part)


def test_the_size_is_no_argument_of_a_network() -> None:
    refused = call("models", "describe", "unet", "size=64")
    assert refused.exit_code == 2
    assert "--size 64" in refused.stderr


@pytest.mark.parametrize(("name", "argument"), [("unet", "inputs=4"), ("unetpp", "in_channels=4")])
def test_a_network_for_other_channels_is_described(name: str, argument: str) -> None:
    found = call("models", "describe", name, argument, "--size", "64")
    assert found.exit_code == 0, found.stderr
    assert f"{name}({argument})" in found.stdout


def test_describing_a_card_fetches_nothing(published: Path) -> None:
    file = published / "card.json"
    card = json.loads(file.read_text())
    card["arguments"]["pretrained"] = "http://127.0.0.1:9/beacon.pth"
    file.write_text(json.dumps(card))
    found = call("models", "describe", published)
    assert found.exit_code == 0, found.stderr
    assert "pretrained" not in found.stdout


@pytest.mark.parametrize("size", ["-5", "0"])
def test_export_refuses_an_impossible_size(size: str, tmp_path: Path) -> None:
    refused = call("models", "export", "nuclei-focusnetpp-light", tmp_path / "a.pt2", "--size", size)
    assert_refused(refused, f"1 to 16,384 px, not {size}")


def test_export_takes_the_word_for_a_foreign_model(program: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pt2"
    assert_refused(call("models", "export", program, out), "--trust")
    trusted = call("models", "export", program, out, "--trust")
    if trusted.exit_code:  # torch.export may not read TorchScript
        assert_refused(trusted, "cannot be exported")
    else:
        assert out.exists()


@pytest.mark.usefixtures("unloadable")
def test_a_foreign_model_is_called_as_it_was_fetched(program: Path) -> None:
    fetched = call("models", "fetch", program, "--as", "renamed")
    assert fetched.exit_code == 0, fetched.stderr
    folder = user_models() / "renamed"
    assert sorted(file.name for file in folder.iterdir()) == ["renamed.json", "renamed.pt"]
    assert json.loads(call("models", "show", "renamed", "--json").stdout)["name"] == "renamed"


def test_export_to_a_place_that_is_none_is_one_sentence() -> None:
    refused = call("models", "export", "nuclei-focusnetpp-light", "~nouserx/o.onnx")
    assert_refused(refused, "no home folder of ~nouserx")


def test_a_piped_card_is_not_cut(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = CliRunner(env={"COLUMNS": "40", "TERM": "dumb"})
    shown = narrow.invoke(app, ["models", "show", str(program)])
    assert shown.exit_code == 0, shown.stderr
    assert str(program) in shown.stdout
    assert all(line == line.rstrip() for line in shown.stdout.splitlines())


def test_a_piped_table_has_a_line_for_each_row_however_narrow() -> None:
    narrow = CliRunner(env={"COLUMNS": "40", "TERM": "dumb"})
    shown = narrow.invoke(
        app, ["models", "describe", "darefinenet", "depth=18", "context_depth=18", "--size", "32"]
    )
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("map "))
    assert [line.split()[0] for line in lines[head + 1 :]] == [
        f"{kind}_{level}" for level in (4, 3, 2, 1) for kind in ("gate", "refined")
    ]
    assert lines[-1].endswith("are strong: mean of their magnitude.")


@pytest.mark.parametrize("width", [80, 50, 30])
def test_a_table_in_a_terminal_is_wrapped_and_never_cut(width: int) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    row = (
        "nuclei-focusnetpp-light",
        "shipped",
        "segmentation",
        "nucleus",
        "BSD-3-Clause; trained on CC0 data",
    )
    print_table(terminal, ("name", "kind", "task", "finds", "licence"), [row])
    assert isinstance(terminal.file, io.StringIO)
    printed = terminal.file.getvalue()
    assert "…" not in printed
    assert sorted(printed.replace("\n", "").replace(" ", "")) == sorted(
        "namekindtaskfindslicence" + "".join(row).replace(" ", "")
    )


def test_a_foreign_model_cannot_be_described_and_a_misspelt_network_names_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lumen.models.library.user_models", lambda: tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Conv2d(3, 1, 1)).save(tmp_path / "seg.pt")
    sidecar = {"mpp": 0.5, "tile": 64, "task": "segmentation", "activation": "sigmoid", "classes": ["gland"]}
    (tmp_path / "seg.json").write_text(json.dumps(sidecar))
    told = CliRunner().invoke(app, ["models", "describe", "seg"])
    assert told.exit_code == 1
    assert "without running it" in " ".join(told.output.split())
    told = CliRunner().invoke(app, ["models", "describe", "focusnet"])
    assert "Networks are darefinenet" in " ".join(told.output.split())
    (tmp_path / "seg.json").write_text(json.dumps({**sidecar, "task": "slide"}))
    told = CliRunner().invoke(app, ["models", "show", "seg"])
    assert told.exit_code == 1
    assert "task" in told.output
