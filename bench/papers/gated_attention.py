"""Gated attention against its rivals on the grades of GlaS (Table 2)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.papers.encoder import WIDTH, drawn_encoder
from bench.papers.experiment import Experiment, Variant
from bench.papers.shared import SHARED

_NUMBERS = {
    "name": "gated_attention",
    "global_size": 128,
    "local_size": 96,
    "epochs": 60,
    "batch": 8,
    "rate": 0.005,
    "rate_every": 40,
    "share_every": 6,
    "colour_change": 0.4,
}
_LOCAL = {"global_depth": 18, "local_depth": 18, "encoder_width": WIDTH, "dilated_width": 64}


def experiments() -> Iterator[Experiment]:
    """Yield the one table."""
    yield Experiment(
        name="gated-attention",
        title="Gated attention: benign or malignant glands, GlaS, by patient",
        claim="The paper, on images of fungi: accuracy 0.951 against 0.907 of ResNet-50.",
        setting="85 images by patient, which each seed divides anew; ResNet-18 encoders, half as wide as "
        "usual, that begin with weights which tell fields of drawn sections apart, in the place of "
        "ImageNet's; images of 128 px and instances of 96 px, 60 epochs of which lambda falls every 6.",
        data={"kind": "glas", "folder": SHARED / "glands_glas_grades"},
        split={"by": "patient", "proportions": {"train": 0.5, "validation": 0.2, "test": 0.3}},
        resplit=True,
        encoder=drawn_encoder,
        scores={"accuracy": "accuracy", "area under ROC": "ROC-AUC"},
        variants=(
            Variant(
                "ResNet", {**_NUMBERS, "architecture": "resnet", "arguments": {"depth": 18, "width": WIDTH}}
            ),
            *(
                Variant(
                    title,
                    {**_NUMBERS, "arguments": {**_LOCAL, "module": module}},
                    encoders=("pretrained", "local_pretrained"),
                )
                for title, module in (
                    ("squeeze-excitation", "se"),
                    ("global context", "global_context"),
                    ("gated attention", "gated"),
                )
            ),
        ),
        ratio="accuracy",
    )
