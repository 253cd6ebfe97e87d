"""CAMELYON's groups as classes, in the order in which they are painted.

Source: the challenges' evaluation code. CAMELYON16: groups ``_0`` and ``_1`` (``Tumor`` in later releases)
are tumour, ``_2`` (``Exclusion``) is cut out of it again. CAMELYON17: ``metastases``, then ``normal``. The
group counts, never the name of the annotation: ``_2`` is also the name of a tumour in ``tumor_009``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError

TUMOUR, NORMAL, EXCLUDED = "tumour", "normal", "excluded"
CAMELYON_CLASSES = ClassTable.of(
    [(1, TUMOUR, (255, 0, 0)), (2, NORMAL, (0, 128, 0)), (0, EXCLUDED, (128, 128, 128))]
)
_CLASS_OF_GROUP = {
    "_0": TUMOUR,
    "_1": TUMOUR,
    "tumor": TUMOUR,
    "tumour": TUMOUR,
    "metastasis": TUMOUR,
    "metastases": TUMOUR,
    "normal": NORMAL,
    "_2": EXCLUDED,
    "exclusion": EXCLUDED,
}


def camelyon(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Return annotations of a CAMELYON file with the classes of `CAMELYON_CLASSES`, what is excluded last.

    ``rasterise(camelyon(read_annotations(path)), grid, CAMELYON_CLASSES)`` is the challenge's mask. Like
    there, annotations outside every group do not count.

    Raises
    ------
    AnnotationError
        When a group is none of CAMELYON's.
    """
    found: dict[str, list[Annotation]] = {known.name: [] for known in CAMELYON_CLASSES}
    for item in annotations:
        if item.class_name is None:
            continue
        name = _CLASS_OF_GROUP.get(item.class_name.lower())
        if name is None:
            known = ", ".join(_CLASS_OF_GROUP)
            raise AnnotationError(f'"{item.class_name}" is no group of CAMELYON ({known}).')
        found[name].append(replace(item, class_name=name, color=CAMELYON_CLASSES[name].color))
    return [item for one in found.values() for item in one]
