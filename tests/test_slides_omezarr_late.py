"""OME-Zarr from a server that is slow or falls silent: nobody stands still, and what was missing comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_lumen.errors import SlideError
from napari_lumen.slides import Slide, damage, fetches, open_slide

IMAGE = np.random.default_rng(1).integers(0, 256, (3, 512, 512), np.uint8)
PIXELS = IMAGE.transpose(1, 2, 0)
PATIENCE = 20.0  # seconds, on a busy machine


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


class Server:
    """A web server on this machine that answers what a test lets it."""

    def __init__(self, folder: Path) -> None:
        self.go = threading.Event()
        self.go.set()
        self.broken = False
        self.asked: list[str] = []
        outer = self

        class Held(SimpleHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.go.wait(PATIENCE)
                if outer.broken:
                    self.send_error(418)
                else:
                    super().do_GET()

        self.web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Held, directory=str(folder)))
        self.web.daemon_threads = True
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.web.server_address[1]}/case%2012.zarr"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    root = zarr.create_group(str(tmp_path / "case 12.zarr"), zarr_format=3)
    array = root.create_array("s0", shape=IMAGE.shape, chunks=(3, 256, 256), dtype=np.uint8)
    array[...] = IMAGE
    axes = [{"name": "c", "type": "channel"}, *({"name": axis, "type": "space"} for axis in "yx")]
    scale = {"type": "scale", "scale": [1.0, 1.0, 1.0]}
    datasets = [{"path": "s0", "coordinateTransformations": [scale]}]
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    made = Server(tmp_path)
    yield made
    made.go.set()
    made.web.shutdown()
    made.web.server_close()


@pytest.fixture
def slide(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slide]:
    monkeypatch.setattr(fetches, "_PATIENCE", 0.5)
    monkeypatch.setattr(fetches, "_BRIEF", 0.05)
    with open_slide(server.url) as opened:
        server.asked.clear()
        yield opened


def seen(slide: Slide, y: int, x: int, side: int = 100) -> Any:
    return slide.dask_levels()[0][y : y + side, x : x + side].compute()


def test_a_url_is_called_by_its_name(slide: Slide) -> None:
    assert slide.path.name == "case 12.zarr"


def test_a_viewer_waits_for_a_moment_and_gets_what_was_late_when_it_comes(
    slide: Slide, server: Server
) -> None:
    server.go.clear()
    with pytest.warns(UserWarning, match="slow to come from its server; what is missing is shown hatched"):
        hatched = seen(slide, 0, 0)
    assert len(np.unique(hatched)) == 2
    begun = time.monotonic()
    seen(slide, 0, 0)  # nothing new is waited for, and little for its neighbours until the server answers
    seen(slide, 300, 0)
    assert time.monotonic() - begun < 0.5
    assert not slide.damage.passed()
    server.go.set()
    until(slide.damage.passed)
    until(lambda: not any((0, row, 0) in slide.damage for row in (0, 1)))
    np.testing.assert_array_equal(seen(slide, 0, 0), PIXELS[:100, :100])
    assert server.asked.count("/case%2012.zarr/s0/c/0/0/0") == 1


def test_what_failed_is_asked_for_again_after_a_while(
    slide: Slide, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "_PASSING_SECONDS", 0.2)
    server.broken = True
    with pytest.warns(UserWarning, match="Check the network"):
        assert len(np.unique(seen(slide, 0, 0))) == 2
    server.broken = False
    until(slide.damage.passed)
    np.testing.assert_array_equal(seen(slide, 0, 0), PIXELS[:100, :100])


def test_all_others_wait_for_the_pixels_and_each_chunk_is_asked_for_once(
    slide: Slide, server: Server
) -> None:
    with ThreadPoolExecutor(8) as pool:
        for pixels in pool.map(lambda _: slide.read(0, 0, 512, 512), range(8)):
            np.testing.assert_array_equal(pixels, PIXELS)
    assert len(server.asked) == 4
    assert len(set(server.asked)) == 4


def test_no_thread_that_fetches_keeps_a_process_from_ending(slide: Slide, server: Server) -> None:
    server.go.clear()
    with pytest.warns(UserWarning, match="slow"):
        seen(slide, 0, 0)
    fetching = [thread for thread in threading.enumerate() if thread.name == "lumen-fetch"]
    assert fetching
    assert all(thread.daemon for thread in fetching)


def test_closing_does_not_wait_and_ends_what_was_asked_for(
    slide: Slide, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slide._fetches, "_most", 1)
    server.go.clear()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(slide.read, 0, 0, 10, 10)
        until(lambda: bool(server.asked))
        waiting = pool.submit(slide.read, 300, 0, 10, 10)
        until(lambda: bool(slide._fetches._queue))
        begun = time.monotonic()
        slide.close()
        with pytest.raises(SlideError, match="is closed"):
            waiting.result(5)
        assert time.monotonic() - begun < 5
        server.go.set()
