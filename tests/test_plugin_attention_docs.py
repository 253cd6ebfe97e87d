"""What the pictures of the Attention panel show, taken in the same steps in the real window."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_lumen.models import available, read_card

_DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.slow  # it explains fields of a real slide with the shipped models
def test_each_shipped_network_shows_its_map_over_the_view_of_a_real_slide(
    make_napari_viewer: Any, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(_DOCS)
    docs = importlib.import_module("attention")  # the pictures are made by the same steps
    monkeypatch.setattr(docs, "_OUT", tmp_path)
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1500, 950)
    window = docs.Attention(viewer, shared_data / "slides" / docs.SLIDE.name)
    offered = {item.path.name: item.path for item in window.controller.state.models}
    shipped = {read_card(offered[name]).architecture: offered[name] for name in available()}
    assert {"focusnetpp", "gated_attention"} <= shipped.keys()
    for architecture, path in shipped.items():
        shown = docs.NETWORKS[architecture]
        window.explain(path, shown.place)
        window.choose(shown.name)
        current = window.controller.current
        assert current is not None
        assert current.name == shown.name
        values, grid = current.item.read()
        # two stages say nothing of glass
        assert np.isfinite(values).any() if architecture == "multistage" else np.isfinite(values).all()
        (y, x), height = shown.place
        field = window.controller.field.explained_region
        assert grid.region.y <= field.y + 1
        assert grid.region.bottom >= field.bottom - 1
        assert field.y <= y <= field.bottom
        assert field.x <= x <= field.right
        assert field.height <= height + 2  # to whole pixels of the model
        picture = window.take(architecture)
        assert picture.stat().st_size < 400_000
