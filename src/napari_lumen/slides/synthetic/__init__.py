"""Drawn haematoxylin and eosin slides of any size, with their truth.

The tissue is a function of the seed and of the position, so a slide of 100,000 x 100,000 pixels is laid out
at once and drawn where it is looked at. It holds glands, stroma, fat, lymph follicles and carcinoma.

Carcinoma in situ and invasive carcinoma are made of the same cells in the same nests: deeper than 90 µm below
the border of the tumour (`BORDER_DEPTH`) the two are the same, pixel for pixel. What differs is the border:
a smooth one with a basement membrane and myoepithelial cells, or a ragged one that breaks up into
desmoplastic stroma with lymphocytes. So at a depth of more than 181 µm (`CONTEXT_DEPTH`) a patch of 128 µm
cannot tell which it is, and one of 512 µm can. ``SyntheticSlide(..., swap_context=True)`` proves it.
"""

from napari_lumen.slides.synthetic.layout import BORDER_DEPTH, CONTEXT_DEPTH
from napari_lumen.slides.synthetic.slide import SyntheticSlide
from napari_lumen.slides.synthetic.truth import CLASSES, REGIONS, Nucleus, Truth
from napari_lumen.slides.synthetic.writer import write_slide

__all__ = [
    "BORDER_DEPTH",
    "CLASSES",
    "CONTEXT_DEPTH",
    "REGIONS",
    "Nucleus",
    "SyntheticSlide",
    "Truth",
    "write_slide",
]
