"""A local hub that speaks the part of the API that is needed, and a model for it to serve."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import torch

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models import InputSpec, ModelCard, TrainingRecord, View, build, save_model

SMALL = {"width": 4, "levels": 2}
COMMIT = "a" * 40


class Hub:
    """A hub with one repository, ``lab/glands``, of one commit at branch ``main`` and tag ``v1``."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.gated = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                hub.asked.append(f"{self.command} {path}")
                status, headers, body = hub.answer(path)
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815  its name in http.server

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        api, page = "/api/models/lab/glands", "/lab/glands/resolve/"
        if self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if not path.startswith((f"{api}/", page)):
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        revision = path.removeprefix(f"{api}/revision/").removeprefix(f"{api}/tree/").removeprefix(page)
        revision, _, name = revision.partition("/")
        if revision not in ("main", "v1", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if path.startswith(page):
            body = self.files[name]
            return 200, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}, body
        if path.startswith(f"{api}/tree/"):
            listing = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in self.files.items()
            ]
        else:
            siblings = [{"rfilename": name} for name in self.files]
            listing = {"id": "lab/glands", "modelId": "lab/glands", "sha": COMMIT, "siblings": siblings}
        return 200, {"Content-Type": "application/json"}, json.dumps(listing).encode()


def write_model(folder: Path) -> Path:
    """Write the model that a hub is to serve, a small one with random weights."""
    torch.manual_seed(0)
    card = ModelCard(
        name="glands",
        title="Glands",
        summary="Outlines nothing yet.",
        task="segmentation",
        architecture="unet",
        arguments=SMALL,
        activation="sigmoid",
        classes=ClassTable.of([(1, "gland", (0, 0, 255))]),
        input=InputSpec(views=(View(size=64, mpp=0.5),), overlap=16),
        training=TrainingRecord(data="none", split="none"),
        scores={},
        licence="CC0-1.0",
        limits="Nothing.",
        weights_sha256="0" * 64,
    )
    return save_model(folder, build("unet", **SMALL), card)
