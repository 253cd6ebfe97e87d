"""The promises of the house: light imports, floors that hold, and a wheel that napari finds its way in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import tifffile
from npe2 import PluginManifest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "napari", "openslide", "qtpy", "vispy"}


def loaded_by(code: str, *arguments: str | Path) -> set[str]:
    """Run code in a fresh interpreter and return the top-level modules that it has loaded."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules}, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.fixture
def small_slide(tmp_path: Path) -> Path:
    path = tmp_path / "small.tif"
    image = np.full((300, 300, 3), 200, np.uint8)
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", compression="deflate")
    return path


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import napari_lumen") & HEAVY


def test_opening_a_slide_loads_no_torch_and_no_napari(small_slide: Path) -> None:
    code = "import sys, napari_lumen; napari_lumen.open_slide(sys.argv[1]).dask_levels()[0][:9, :9].compute()"
    assert not loaded_by(code, small_slide) & {"torch", "napari", "qtpy", "vispy"}


def test_help_and_info_load_no_torch_and_no_napari(small_slide: Path) -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from napari_lumen.cli import app\n"
        "for arguments in (['--help'], ['predict', '--help'], ['info', sys.argv[1]]):\n"
        "    assert CliRunner().invoke(app, arguments).exit_code == 0\n"
    )
    assert not loaded_by(code, small_slide) & {"torch", "napari", "qtpy", "vispy"}


def test_recording_attention_does_not_load_the_compiler() -> None:
    code = (
        "from napari_lumen.models import build, record_attention\n"
        "with record_attention(build('cbam_unet', width=4)): pass"
    )
    loaded = loaded_by(code)
    assert "torch" in loaded
    assert "sympy" not in loaded, "torch._dynamo and its sympy take a second of every run"


def test_the_public_names_are_all_there() -> None:
    import napari_lumen

    for name in napari_lumen.__all__:
        assert getattr(napari_lumen, name) is not None
    assert set(dir(napari_lumen)) == set(napari_lumen.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = napari_lumen.nothing


def test_every_floor_below_the_plugin_is_kept_from_qt() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    kept = next(set(item["source_modules"]) for item in contracts if item["name"].startswith("Qt"))
    package = ROOT / "src" / "napari_lumen"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert {f"napari_lumen.{name}" for name in there - {"__init__", "plugin", "cli"}} <= kept


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("slides/cache.py", "import napari", "Qt and napari stay in the plugin BROKEN"),
        ("slides/cache.py", "import torch", "do not need torch BROKEN"),
        ("models/card.py", "import napari_lumen.inference.run", "only the floors below it BROKEN"),
        ("slides/cache.py", "def late():\n    import napari_lumen.plugin", "only the floors below it BROKEN"),
    ],
)
def test_an_import_from_a_floor_above_is_found(tmp_path: Path, module: str, line: str, broken: str) -> None:
    shutil.copytree(ROOT / "src" / "napari_lumen", tmp_path / "napari_lumen", ignore=only_python)
    with (tmp_path / "napari_lumen" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert broken in done.stdout


def only_python(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()]


def assert_complete(manifest: PluginManifest) -> None:
    found = manifest.contributions
    assert manifest.name == "napari-lumen"
    assert found.readers
    assert found.widgets
    assert found.sample_data
    assert any("*.svs" in reader.filename_patterns for reader in found.readers)


def test_napari_finds_the_manifest_of_this_installation() -> None:
    assert_complete(PluginManifest.from_distribution("napari-lumen"))


def test_the_manifest_is_valid_and_all_it_names_is_there() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("npe2"), "validate", "napari-lumen", "--imports"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "valid" in done.stdout


FIND = """
import sys
from importlib.util import find_spec
from npe2 import PluginManager, PluginManifest
assert find_spec("napari_lumen").origin.startswith(sys.prefix), "the wheel is not what is found"
manager = PluginManager.instance()
manager.discover()
PluginManifest.from_distribution("napari-lumen")
print(manager.get_manifest("napari-lumen").model_dump_json(exclude={"package_metadata"}, exclude_unset=True))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_manifest_models_and_sample_slide(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        manifest = archive.read("napari_lumen/napari.yaml")
    assert manifest == (ROOT / "napari.yaml").read_bytes()
    assert {"napari_lumen/py.typed", "napari_lumen/sample_data/lumen-sample.ome.tif"} <= names
    assert any(name.startswith("napari_lumen/sample_data/lumen-sample.geojson") for name in names)
    models = {name.rpartition("/")[0] for name in names if name.endswith("/card.json")}
    assert models
    for folder in models:
        assert folder.startswith("napari_lumen/models/zoo/")
        assert f"{folder}/weights.safetensors" in names
    assert not [name for name in names if name.endswith((".pt", ".pth", ".ckpt")) or "__pycache__" in name]


@pytest.mark.slow
def test_npe2_finds_the_manifest_of_the_wheel_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "fresh"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "-q"]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", "npe2"], check=True)
    subprocess.run([*pip, "--no-deps", wheel], check=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", FIND],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_complete(PluginManifest.model_validate_json(done.stdout.splitlines()[-1]))
