"""Gated attention against its rivals on the grades of GlaS (Table 2)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.papers.experiment import Experiment, Variant
from bench.papers.shared import SHARED

_NUMBERS = {
    "name": "gated_attention",
    "global_size": 128,
    "local_size": 96,
    "epochs": 120,
    "batch": 8,
    "rate": 0.02,
    "rate_every": 50,
    "share_every": 12,
    "colour_change": 0.3,
}
_LOCAL = {"global_depth": 18, "local_depth": 18, "encoder_width": 32, "dilated_width": 64}


def experiments() -> Iterator[Experiment]:
    """Yield the one table."""
    yield Experiment(
        name="gated-attention",
        title="Gated attention: benign or malignant glands, GlaS, by patient",
        claim="The paper: accuracy 0.951 against 0.907 of plain ResNet.",
        setting="85 images by patient; ResNet-18 encoders from scratch, half as wide as usual, "
        "images of 128 px and instances of 96 px, 120 epochs of which lambda falls every 12.",
        data={"kind": "glas", "folder": SHARED / "glands_glas_grades"},
        split={"by": "patient", "proportions": {"train": 0.5, "validation": 0.2, "test": 0.3}},
        resplit=True,
        scores={"accuracy": "accuracy", "area under ROC": "ROC-AUC"},
        variants=(
            Variant(
                "ResNet", {**_NUMBERS, "architecture": "resnet", "arguments": {"depth": 18, "width": 32}}
            ),
            *(
                Variant(title, {**_NUMBERS, "arguments": {**_LOCAL, "module": module}})
                for title, module in (
                    ("squeeze-excitation", "se"),
                    ("global context", "global_context"),
                    ("gated attention", "gated"),
                )
            ),
        ),
        ratio="accuracy",
    )
