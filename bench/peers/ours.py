"""Our run alone: ``python -m bench.peers.ours SLIDE MODEL OUT whole|tissue CACHE``, see `bench.peers.alone`.

CACHE is how many bytes of decoded tiles are kept.
"""

from __future__ import annotations

import sys

from bench.peers.alone import measure
from napari_lumen import open_slide
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.models import load_model
from napari_lumen.slides.cache import process_cache


def main() -> None:
    """Measure `predict` over the whole slide or over its tissue."""
    path, folder, out, what, cache = sys.argv[1:]
    process_cache().set_limit(int(cache))
    model = load_model(folder)
    with open_slide(path) as slide:
        region = Region(0, 0, *slide.shape) if what == "whole" else None
        measure(lambda: predict(slide, model, region, out).record.tiles)


if __name__ == "__main__":
    main()
