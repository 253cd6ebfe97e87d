"""`napari-lumen demo`: the sample slide, the shipped model and the whole window, on a display or without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from napari_lumen.errors import RunError

_SCREEN = "-screen 0 1680x1050x24"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run and the picture.")] = Path("demo_output"),
    screenshot: Annotated[
        bool, typer.Option("--screenshot", help="Save a picture of the window and close it.")
    ] = False,
) -> None:
    """Open the sample slide in napari, run the shipped model and show what it found.

    Without a display the same happens on a virtual one (Xvfb) and the picture is saved.
    """
    hidden = not _has_display()
    command = [sys.executable, "-m", "napari_lumen.plugin.demo_window", str(out)]
    picture = out / "window.png"
    if screenshot or hidden:
        command += ["--screenshot", str(picture)]
    if hidden:
        command = [*_virtual_display(), *command]
    # a process of its own: the command line stays free of Qt, and a crash in OpenGL is told as an error
    status = subprocess.run(command, check=False).returncode
    if status:
        raise RunError(f"The demo ended with status {status}; what went wrong stands above.")
    if screenshot or hidden:
        typer.echo(f"{picture}\n{out / 'run'}")


def _has_display() -> bool:
    """Whether windows can be shown: always on Windows and macOS."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _virtual_display() -> list[str]:
    """Return the command that gives another one a virtual display."""
    runner = shutil.which("xvfb-run")
    if runner is None:
        raise RunError(
            "There is no display, and xvfb-run is missing to make a virtual one: apt-get install xvfb."
        )
    return [runner, "-a", "-s", _SCREEN]
