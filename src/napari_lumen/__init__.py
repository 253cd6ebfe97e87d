"""napari-lumen: deep models on whole-slide images, shown, corrected and trained in napari.

The public names are loaded when first used: importing this package imports neither torch, napari nor
openslide.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_lumen.errors import AnnotationError, LumenError, ModelError, RunError, SlideError

if TYPE_CHECKING:
    from napari_lumen.annotations.formats import read_annotations, write_annotations
    from napari_lumen.comparison import evaluate
    from napari_lumen.inference import predict
    from napari_lumen.models import load_model
    from napari_lumen.slides import open_slide
    from napari_lumen.training import search, train

__version__ = "0.1.0"

_LAZY = {
    "evaluate": "napari_lumen.comparison",
    "load_model": "napari_lumen.models",
    "open_slide": "napari_lumen.slides",
    "predict": "napari_lumen.inference",
    "read_annotations": "napari_lumen.annotations.formats",
    "search": "napari_lumen.training",
    "train": "napari_lumen.training",
    "write_annotations": "napari_lumen.annotations.formats",
}

__all__ = [
    "AnnotationError",
    "LumenError",
    "ModelError",
    "RunError",
    "SlideError",
    "__version__",
    "evaluate",
    "load_model",
    "open_slide",
    "predict",
    "read_annotations",
    "search",
    "train",
    "write_annotations",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
