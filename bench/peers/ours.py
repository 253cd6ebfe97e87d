"""Our run alone: ``python -m bench.peers.ours SLIDE MODEL OUT whole|tissue``, see `bench.peers.alone`."""

from __future__ import annotations

import sys

from bench.peers.alone import measure
from napari_lumen import open_slide
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.models import load_model


def main() -> None:
    """Measure `predict` over the whole slide or over its tissue."""
    path, folder, out, what = sys.argv[1:]
    model = load_model(folder)
    with open_slide(path) as slide:
        region = Region(0, 0, *slide.shape) if what == "whole" else None
        measure(lambda: predict(slide, model, region, out).record.tiles)


if __name__ == "__main__":
    main()
