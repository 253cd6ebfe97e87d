"""Samples: the slide that ships, and a download with a checksum, against a server on this machine."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from napari.components import ViewerModel
from npe2 import PluginManager

from napari_lumen.errors import Cancelled, SlideError
from napari_lumen.plugin import sample_data
from napari_lumen.plugin.download import Download, fetch

CONTENT = b"a slide" * 50_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on the loopback interface with one file on it."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "slide.svs").write_bytes(CONTENT)
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()
    thread.join()


def of(server: str, name: str = "slide.svs", content: bytes = CONTENT) -> Download:
    return Download(name, f"{server}/{name}", hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_is_fetched_once_and_progress_is_told(server: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    cache = tmp_path / "cache"
    path = fetch(of(server), told.append, folder=cache)
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)
    before = path.stat().st_mtime_ns
    assert fetch(of(server), folder=cache) == path
    assert path.stat().st_mtime_ns == before


def test_a_wrong_checksum_is_one_sentence_and_leaves_no_file(server: str, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="not the right file") as caught:
        fetch(of(server, content=b"another"), folder=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_no_server_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SlideError, match="no connection to the server") as caught:
        fetch(of(f"http://127.0.0.1:{port}"), folder=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_file_that_is_not_there_is_one_sentence(server: str, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="answers 404"):
        fetch(of(server, "gone.svs"), folder=tmp_path / "cache")


def test_cancel_leaves_no_file(server: str, tmp_path: Path) -> None:
    cancel = Event()
    cancel.set()
    with pytest.raises(Cancelled):
        fetch(of(server), cancel=cancel, folder=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_sample_that_ships_opens_from_the_menu() -> None:
    viewer = ViewerModel()
    (layer,) = viewer.open_sample("napari-lumen", "lumen-sample")
    assert layer.name == sample_data.SAMPLE
    assert layer.metadata["napari_lumen"]["mpp"] is not None
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]


def test_a_package_without_its_sample_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sample_data, "files", lambda package: tmp_path / "src" / package)
    with pytest.raises(SlideError, match="is missing"):
        sample_data.sample_slide()


def test_cmu_1_comes_from_the_cache_or_the_web(
    monkeypatch: pytest.MonkeyPatch, server: str, tmp_path: Path, shared_data: Path
) -> None:
    slide = (shared_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "web" / "CMU-1.svs").write_bytes(slide)
    monkeypatch.setattr(sample_data, "CMU_1", of(server, "CMU-1.svs", slide))
    monkeypatch.setattr("napari_lumen.plugin.download.cache_folder", lambda: tmp_path / "cache")
    ((data, keywords, kind),) = sample_data.cmu_1()
    assert (keywords["name"], kind) == ("CMU-1.svs", "image")
    assert data[0].shape == (2967, 2220, 3)


def test_cmu_1_is_the_file_that_openslide_publishes() -> None:
    assert sample_data.CMU_1.url.startswith("https://openslide.cs.cmu.edu/download/openslide-testdata/")
    assert len(sample_data.CMU_1.sha256) == 64


def test_both_samples_are_in_the_manifest() -> None:
    manifest = PluginManager.instance().get_manifest("napari-lumen")
    assert [sample.key for sample in manifest.contributions.sample_data or []] == ["lumen-sample", "cmu-1"]
