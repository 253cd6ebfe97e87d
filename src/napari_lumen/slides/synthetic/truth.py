"""What a synthetic slide shows, known exactly: classes of nuclei, regions of tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.slides.synthetic.noise import Floats
from napari_lumen.slides.synthetic.nuclei import EPITHELIAL, FIBROBLAST, LYMPHOCYTE, MALIGNANT, Records
from napari_lumen.slides.synthetic.paint import Canvas
from napari_lumen.slides.synthetic.stamps import Stamps

STROMA, GLAND, IN_SITU, INVASIVE, LYMPHOID, ADIPOSE = 1, 2, 3, 4, 5, 6

CLASSES = ClassTable.of(
    [
        (EPITHELIAL, "epithelial", (60, 180, 75)),
        (MALIGNANT, "malignant", (230, 25, 75)),
        (LYMPHOCYTE, "lymphocyte", (67, 99, 216)),
        (FIBROBLAST, "fibroblast", (245, 190, 60)),
    ]
)
REGIONS = ClassTable.of(
    [
        (STROMA, "stroma", (240, 170, 190)),
        (GLAND, "gland", (60, 180, 75)),
        (IN_SITU, "in situ carcinoma", (145, 30, 180)),
        (INVASIVE, "invasive carcinoma", (230, 25, 75)),
        (LYMPHOID, "lymphoid", (67, 99, 216)),
        (ADIPOSE, "adipose", (250, 230, 120)),
    ]
)
_FRONT = 60.0  # µm: the desmoplastic rim that belongs to an invasive tumour


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth of a window.

    Attributes
    ----------
    instances : ndarray (h, w) int64
        Number of the nucleus at each pixel, unique in the slide; 0 where there is none.
    classes : ndarray (h, w) uint8
        Class of the nucleus by `CLASSES`; 0 where there is none.
    regions : ndarray (h, w) uint8
        Region of tissue by `REGIONS`; 0 is glass.
    """

    instances: NDArray[np.int64]
    classes: NDArray[np.uint8]
    regions: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Nucleus:
    """One nucleus.

    Attributes
    ----------
    id : int
        Its number in the truth's instances.
    class_value : int
        Its class by `CLASSES`.
    y, x : float
        Centre, level-0 pixels.
    semi_axes : (float, float)
        Long and short semi-axis, level-0 pixels.
    angle : float
        Direction of the long axis, radians from x towards y.
    """

    id: int
    class_value: int
    y: float
    x: float
    semi_axes: tuple[float, float]
    angle: float


def label(bodies: Stamps, records: Records) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the numbers and the classes of the nuclei at each pixel but the outermost ring of the block.

    A pixel that touches its nucleus by a corner alone, as tips of spindles do, does not count.
    """
    index = np.where(bodies.rho < 1, bodies.index, -1)
    inner = index[1:-1, 1:-1]
    joined = (inner == index[:-2, 1:-1]) | (inner == index[2:, 1:-1])
    joined |= (inner == index[1:-1, :-2]) | (inner == index[1:-1, 2:])
    inside = (inner >= 0) & joined
    instances = np.zeros(inside.shape, np.int64)
    classes = np.zeros(inside.shape, np.uint8)
    instances[inside], classes[inside] = records["id"][inner[inside]], records["kind"][inner[inside]]
    return instances, classes


def regions(canvas: Canvas, edge: Floats) -> NDArray[np.uint8]:
    """Return the region of tissue at each pixel, later ones of the list over earlier ones.

    `edge` (h, w) is the distance to the tissue's frayed edge, negative in tissue.
    """
    fields = canvas.fields
    found = np.zeros((len(canvas.y), canvas.x.shape[1]), np.uint8)
    in_situ, invasive = canvas.fine(fields.in_situ), canvas.fine(fields.invasive)
    tissue = edge < 0
    found[tissue] = STROMA
    found[tissue & (canvas.fine(fields.adipose) < 0)] = ADIPOSE
    found[tissue & (canvas.fine(fields.lymphoid) < 0)] = LYMPHOID
    found[tissue & (canvas.fine(fields.gland) < 0)] = GLAND
    found[tissue & (invasive < _FRONT) & (invasive < in_situ)] = INVASIVE
    found[tissue & (in_situ < 0) & (in_situ <= invasive)] = IN_SITU
    return found
