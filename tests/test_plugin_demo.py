"""The demo command: where it shows its window, and that it can be repeated."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_lumen.errors import RunError
from napari_lumen.plugin.demo_window import _fresh_run_folder

command = importlib.import_module("napari_lumen.cli.demo")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []

    def run(arguments: list[str], check: bool) -> SimpleNamespace:
        commands.append(arguments)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_on_a_display_the_window_stays_open(
    monkeypatch: pytest.MonkeyPatch, started: list[list[str]], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "_has_display", lambda: True)
    command.demo(tmp_path, screenshot=False)
    assert started == [[sys.executable, "-m", "napari_lumen.plugin.demo_window", str(tmp_path)]]


def test_without_a_display_the_picture_is_saved(
    monkeypatch: pytest.MonkeyPatch,
    started: list[list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "_has_display", lambda: False)
    monkeypatch.setattr(command.shutil, "which", lambda name: f"/usr/bin/{name}")
    command.demo(tmp_path, screenshot=False)
    assert started[0][0] == "/usr/bin/xvfb-run"
    assert started[0][-2:] == ["--screenshot", str(tmp_path / "window.png")]
    assert str(tmp_path / "window.png") in capsys.readouterr().out


def test_without_a_display_and_without_xvfb_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, started: list[list[str]], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "_has_display", lambda: False)
    monkeypatch.setattr(command.shutil, "which", lambda name: None)
    with pytest.raises(RunError, match="apt-get install xvfb"):
        command.demo(tmp_path, screenshot=True)
    assert not started


def test_a_failed_demo_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "_has_display", lambda: True)
    monkeypatch.setattr(subprocess, "run", lambda arguments, check: SimpleNamespace(returncode=3))
    with pytest.raises(RunError, match="status 3"):
        command.demo(tmp_path, screenshot=False)


def test_an_earlier_run_makes_room_and_nothing_else_does(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").touch()
    assert _fresh_run_folder(tmp_path) == run.resolve()
    assert run.exists()
    (run / "run.json").touch()
    _fresh_run_folder(tmp_path)
    assert not run.exists()
