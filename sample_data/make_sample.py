"""Make the sample slide and its truth. Run from anywhere: ``python sample_data/make_sample.py``.

The seed is fixed: the same version of napari-lumen and of its libraries makes the same slide.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_lumen.annotations.geojson import write_geojson
from napari_lumen.annotations.polygonise import polygonise_objects
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.slides.synthetic import CLASSES, SyntheticSlide, write_slide

FOLDER = Path(__file__).resolve().parent
HEIGHT, WIDTH, MPP, SEED = 3072, 4096, 0.5, 5


def main() -> None:
    """Write ``lumen-sample.ome.tif`` and ``lumen-sample.geojson.gz`` beside this script."""
    slide = SyntheticSlide(height=HEIGHT, width=WIDTH, mpp=MPP, seed=SEED)
    write_slide(slide, FOLDER / "lumen-sample.ome.tif", tile=256, quality=85, factor=2)
    truth = slide.truth(0, 0, HEIGHT, WIDTH)
    numbers, first = np.unique(truth.instances, return_index=True)
    class_of = dict(zip(numbers.tolist(), truth.classes.ravel()[first].tolist(), strict=True))
    found = slide.regions(0, 0, HEIGHT, WIDTH)
    for number, outline in polygonise_objects(truth.instances).items():
        item = CLASSES[class_of[number]]
        found.append(Annotation(outline, item.name, item.color, object_type="detection"))
    write_geojson(FOLDER / "lumen-sample.geojson.gz", found)


if __name__ == "__main__":
    main()
