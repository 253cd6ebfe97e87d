"""BACH / ICIAR 2018 part B: ImageScope XML whose regions carry their diagnosis.

Source: the challenge's own label maps. The label is the value of a region's first attribute if it has one,
else its text; lower-cased, it contains "benign", "in situ" or "invasive".
"""

from __future__ import annotations

from napari_lumen.annotations.classes import ClassTable, TissueClass

BACH_CLASSES = ClassTable.of(
    [(1, "benign", (255, 0, 0)), (2, "in situ", (0, 255, 0)), (3, "invasive", (0, 0, 255))]
)


def class_of_label(label: str) -> TissueClass | None:
    """Return the class that a region's label names, or None."""
    return next((known for known in BACH_CLASSES if known.name in label.lower()), None)
