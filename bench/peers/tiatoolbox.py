"""TIAToolbox in an environment of its own: ``python -m bench.peers.tiatoolbox`` sets it up.

It cannot share ours: it needs an older torch, torchvision, and OpenSlide without the security fixes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import platformdirs

from bench.peers.alone import REPOSITORY, Alone, measured

VERSION = "2.1.3"
_OTHERS = ("pydantic>=2",)  # what `napari_lumen.models` needs and TIAToolbox does not bring
_GB = 12  # of free disk: 6.5 when installed, and the downloads
_SETS_UP = "python -m bench.peers.tiatoolbox"


def main() -> None:
    """Set it up, or say in one sentence what is missing."""
    folder = _folder()
    if missing() is None:
        sys.stdout.write(f"TIAToolbox {VERSION} is there: {folder}\n")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free / 1e9
    if free < _GB:
        sys.exit(
            f"TIAToolbox with the CUDA build of torch needs {_GB} GB in {folder}; {free:.1f} GB are free."
        )
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    install = [str(_python()), "-m", "pip", "install", "--no-cache-dir", "--only-binary", ":all:"]
    if subprocess.run([*install, f"tiatoolbox=={VERSION}", *_OTHERS], check=False).returncode:
        sys.exit(f"pip could not install TIAToolbox {VERSION} into {folder}; what it said stands above.")
    _mark().touch()


def missing() -> str | None:
    """Return in one sentence why it cannot take part; None when it can."""
    if _mark().exists():
        return None
    return f"TIAToolbox {VERSION} is not set up ({_SETS_UP}, {_GB} GB of disk)."


def alone(slide: Path, model: Path, out: Path, workers: int) -> Alone:
    """Run its SemanticSegmentor with a network and the tiles of a model of ours.

    Parameters
    ----------
    slide : Path
    model : Path
        Folder of a model of ours.
    out : Path
        Folder that it makes.
    workers : int
        Processes of the data loader; 0 reads in the process itself.
    """
    path = (REPOSITORY / "src",)
    return measured(_python(), "bench.peers.segmentor", slide, model, out, workers, path=path)


def _folder() -> Path:
    return platformdirs.user_cache_path("napari-lumen") / "peers" / f"tiatoolbox-{VERSION}"


def _python() -> Path:
    return _folder() / "bin" / "python"


def _mark() -> Path:
    return _folder() / "complete"


if __name__ == "__main__":
    main()
