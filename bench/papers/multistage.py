"""Multi-stage classification against its baselines, each CoNSeP tile as a small slide (Table 1)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.papers.experiment import Experiment, Variant
from bench.papers.shared import CONSEP_TILES, SHARED

_NUMBERS = {
    "name": "multistage",
    "tumour": ["malignant epithelium"],
    "encoder": "resnet18",
    "width": 16,
    "patch": 64,
    "crop": 56,
    "map_size": 16,
    "slide_map": "slide",
    "patch_epochs": 8,
    "patch_batch": 64,
    "patch_rate": 3e-4,
    "map_epochs": 60,
    "map_batch": 8,
    "map_rate": 1e-3,
    "end_to_end_epochs": 3,
    "extractor_rate": 1e-6,
    "segmenter_rate": 1e-5,
    "balanced": True,
}


def experiments() -> Iterator[Experiment]:
    """Yield the one table."""
    yield Experiment(
        name="multistage",
        title="Multi-stage: malignant patches of CoNSeP tiles",
        claim="The paper (stomach biopsies): PR-AUC 96.08 of the classifier alone, 99.34 end to end.",
        setting=(
            "Each tile of 1,000 px is a slide of 16 x 16 patches of 64 px; ResNet-18 from scratch, a "
            "U-Net 16 wide; 60 epochs, of reduced images one at a time as in the paper, of maps eight; "
            "accuracy at 0.5 and PR-AUC (average precision) of the labelled patches of all test tiles."
        ),
        data={"kind": "consep_tiles", "folder": SHARED / "nuclei_consep"},
        split=CONSEP_TILES,
        scores={"accuracy": "accuracy", "average precision": "PR-AUC"},
        variants=tuple(
            Variant(title, {**_NUMBERS, "method": method})
            for title, method in (
                ("classifier only", "classifier"),
                ("segmentation only", "segmentation"),
                ("untrained feature", "imagenet"),
                ("separate", "separate"),
                ("end to end", "end_to_end"),
            )
        ),
        ratio="average precision",
    )
