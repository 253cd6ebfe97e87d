"""OME-Zarr from simple, silent and forgetful servers: how much is asked at once, and how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_lumen.errors import SlideError
from napari_lumen.slides import open_slide
from napari_lumen.slides.omezarr_pace import Pace

IMAGE = np.random.default_rng(1).integers(0, 256, (3, 1024, 1024), np.uint8)
FIRST = 6  # new connections that the simplest server can take


class Server:
    """A web server on this machine that counts what it is asked at the same time."""

    def __init__(self, folder: Path, version: str) -> None:
        self.before: Callable[[str], object] = lambda path: time.sleep(0.02)
        self.most = 0
        running = 0
        lock = threading.Lock()
        outer = self

        class Counted(SimpleHTTPRequestHandler):
            protocol_version = version
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with suppress(ConnectionError):  # a test may have gone
                    super().handle()

            def finish(self) -> None:
                with suppress(ConnectionError):
                    super().finish()

            def do_GET(self) -> None:
                nonlocal running
                with lock:
                    running += 1
                    outer.most = max(outer.most, running)
                try:
                    outer.before(self.path)
                finally:
                    with lock:
                        running -= 1
                super().do_GET()

        self.web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counted, directory=str(folder)))
        self.web.daemon_threads = True
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.web.server_address[1]}/case.zarr"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Serve a slide of 192 chunks by a version of HTTP: 1.0 closes each connection, 1.1 keeps them."""
    root = zarr.create_group(str(tmp_path / "case.zarr"), zarr_format=3)
    array = root.create_array("s0", shape=IMAGE.shape, chunks=(1, 128, 128), dtype=np.uint8)
    array[...] = IMAGE
    axes = [
        {"name": "c", "type": "channel"},
        *({"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"),
    ]
    scale = {"type": "scale", "scale": [1.0, 0.5, 0.5]}
    datasets = [{"path": "s0", "coordinateTransformations": [scale]}]
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    made = []

    def serve(version: str) -> Server:
        made.append(Server(tmp_path, version))
        return made[-1]

    yield serve
    for server in made:
        server.web.shutdown()
        server.web.server_close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_lumen.slides.omezarr_remote._READ_SECONDS", 0.5)


@pytest.mark.parametrize(("version", "least", "most"), [("HTTP/1.0", 2, FIRST), ("HTTP/1.1", 2 * FIRST, 64)])
def test_a_server_that_closes_its_connections_is_asked_little_at_once(
    serve: Callable[[str], Server], version: str, least: int, most: int
) -> None:
    server = serve(version)
    begun = time.monotonic()
    with open_slide(server.url) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 1024, 1024), IMAGE.transpose(1, 2, 0))
        assert slide.fingerprint
    assert time.monotonic() - begun < 10  # seconds; a forgotten connection costs twenty
    assert least <= server.most <= most


@pytest.mark.usefixtures("impatient")
def test_a_forgotten_request_is_made_again(serve: Callable[[str], Server]) -> None:
    server = serve("HTTP/1.0")
    forgotten = threading.Event()

    def forget(path: str) -> None:
        if path.endswith("s0/c/0/0/0") and not forgotten.is_set():
            forgotten.set()
            time.sleep(2)

    with open_slide(server.url) as slide:
        server.before = forget
        np.testing.assert_array_equal(slide.read(0, 0, 128, 128), IMAGE[:, :128, :128].transpose(1, 2, 0))
    assert forgotten.is_set()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stays_silent_ends_it_soon(
    serve: Callable[[str], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lumen.slides.omezarr_remote._LONGEST", 0.7)
    server = serve("HTTP/1.0")
    silent = threading.Event()
    with open_slide(server.url) as slide:
        server.before = lambda path: silent.wait(20)
        begun = time.monotonic()
        with pytest.raises(SlideError, match="Check the network") as caught:
            slide.read(0, 0, 1024, 1024)
        while slide._fetches._futures:  # all the others, of which only six at a time were asked for
            assert time.monotonic() - begun < 10
            time.sleep(0.05)
        assert "\n" not in str(caught.value)
        silent.set()


def test_those_who_wait_for_a_silent_server_wait_no_longer_and_the_next_may_try() -> None:
    async def check() -> None:
        pace = Pace()
        begun = time.monotonic()
        over = asyncio.Event()

        async def ask() -> None:
            async with pace.request():
                await over.wait()

        asked = [asyncio.ensure_future(ask()) for _ in range(FIRST + 10)]
        await asyncio.sleep(0.05)
        pace.fell_silent(begun)
        over.set()
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(end, ConnectionError) for end in ends) == 10
        await ask()

        pace.answered()
        over.clear()
        asked = [asyncio.ensure_future(ask()) for _ in range(FIRST + 10)]
        await asyncio.sleep(0.05)
        pace.fell_silent(begun)  # but another request was answered meanwhile
        over.set()
        await asyncio.gather(*asked)

    asyncio.run(check())
