"""MoNuSAC: ImageScope XML, at 40x, whose layers carry the class of their nuclei as the name of an attribute.

Source: Verma et al., MoNuSAC2020, IEEE TMI 2021; the test set adds Ambiguous, which scores leave out.
"""

from __future__ import annotations

from napari_lumen.annotations.classes import ClassTable

MONUSAC_CLASSES = ClassTable.of(
    [
        (1, "Epithelial", (255, 0, 0)),
        (2, "Lymphocyte", (255, 255, 0)),
        (3, "Macrophage", (0, 255, 0)),
        (4, "Neutrophil", (0, 0, 255)),
        (5, "Ambiguous", (128, 128, 128)),
    ]
)
COLORS = {known.name: known.color for known in MONUSAC_CLASSES}


def class_of_attribute(name: str) -> str | None:
    """Return the class that an attribute of a layer names, or None."""
    return next((known.name for known in MONUSAC_CLASSES if known.name.lower() == name.strip().lower()), None)
