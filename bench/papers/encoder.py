"""An encoder to begin with, in the place of ImageNet's, which cannot be fetched here."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from bench.papers.shared import MADE
from bench.zoo.sections import GradedFields
from napari_lumen.training import TrainingConfig, train

WIDTH = 32
_FOLDER = Path(tempfile.gettempdir()) / "napari-lumen-papers" / "encoder"


@cache
def drawn_encoder() -> Path:
    """Return the weights of a ResNet-18 that tells fields of drawn sections apart, training it once.

    Fields of 512 µm at 4 µm/px, benign, with carcinoma in situ or with invasive carcinoma, of other
    sections than any that a table measures.
    """
    config = TrainingConfig.model_validate(
        {
            "name": "encoder",
            "recipe": {
                "name": "gated_attention",
                "architecture": "resnet",
                "arguments": {"depth": 18, "width": WIDTH},
                "global_size": 128,
                "field_size": 256,
                "epochs": 15,
                "batch": 12,
                "rate": 0.03,
                "rate_every": 6,
                "colour_change": 0.2,
            },
            "data": MADE,
            "split": {"by": "slide", "proportions": {"train": 0.85, "validation": 0.15}},
        }
    )
    return train(config, _FOLDER, images=GradedFields()).folder / "best.safetensors"
