"""FocusNet++ against U-Net and Attention U-Net on the nuclei of DSB 2018 (section 4, Tables 1 and 2)."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from bench.papers.experiment import Experiment, Variant
from bench.papers.shared import SHARED
from napari_lumen.training.nuclei import stain_group

_FOLDER = SHARED / "nuclei_dsb2018"
_HELD_OUT = "white"  # smears on a white ground, of other sources than the rest
_ONE_EMBRYO = (  # at two depths, which correlate by 0.90
    "20b20ab049372d184c705acebe7af026d3580f5fd5a72ed796e3622e1685af2f",
    "cb4df20a83b2f38b394c67f1d9d4aef29f9794d5345da3576318374ec3a11490",
)
_SHARE = 0.1  # of a batch in the running statistics, as the U-Nets: Keras's 0.01 lags 100 of 300 batches
_NETWORKS = (
    ("U-Net, 16 wide", "unet", {"width": 16, "classes": 1}),
    ("U-Net, 32 wide", "unet", {"width": 32, "classes": 1}),
    ("Attention U-Net", "attention_unet", {"preset": "slim"}),
    ("FocusNet++ light", "focusnetpp", {"preset": "light", "norm_momentum": _SHARE}),
    ("FocusNet++ table", "focusnetpp", {"preset": "table", "norm_momentum": _SHARE}),
)
_SCORES = {"precision": "precision", "recall": "recall", "dice": "Dice", "jaccard": "Jaccard"}
_CLAIM = (
    "The paper: a Jaccard index of 1.14 times that of U-Net on skin lesions, and on nuclei a precision of "
    "0.9173 against 0.8976, with fewer weights than its rivals."
)
_SETTING = (
    "Whole images at 128 px in batches of 4, of which ten minutes on two cores have room for some 250; Adam "
    "at {rates}; the adaptive logarithmic hybrid loss and the same share of a batch in the norms' running "
    "statistics, 0.1, for all; scores by image, then their mean, smoothed by 1 as in the paper."
)


def experiments() -> Iterator[Experiment]:
    """Yield the table of all images, and that of the stained ones with a stain group held out."""
    yield Experiment(
        name="focusnetpp-all",
        title="FocusNet++: nuclei of DSB 2018, all images",
        claim=_CLAIM,
        setting=_SETTING.format(rates="1e-3 and, in the second of two epochs, 3e-4")
        + " 130 of 664 images held out at random, as in the paper.",
        data={"kind": "dsb2018", "folder": _FOLDER},
        split={
            "by": "image",
            "proportions": {"train": 480, "validation": 54, "test": 130},
            "together": [_ONE_EMBRYO],
        },
        scores=_SCORES,
        variants=_variants(2, [[0, 1e-3], [1, 3e-4]]),
        ratio="jaccard",
    )
    yield Experiment(
        name="focusnetpp-stained",
        title="FocusNet++: nuclei of DSB 2018, stained images, by stain group",
        claim=_CLAIM,
        setting=_SETTING.format(rates="1e-3 and, for the last fifth, 1e-4")
        + " The group of smears on a white ground is held out: another stain, other slides.",
        data={"kind": "dsb2018", "folder": _FOLDER, "kinds": ["stained"]},
        split={
            "by": "image",
            "proportions": {"train": 0.85, "validation": 0.15},
            "fixed": {"test": _of_group(_HELD_OUT)},
        },
        scores=_SCORES,
        variants=_variants(18, [[0, 1e-3], [14, 1e-4]]),
        ratio="jaccard",
    )


def _variants(epochs: int, rates: list[list[float]]) -> tuple[Variant, ...]:
    numbers = {"name": "focusnetpp", "size": 128, "batch": 4, "epochs": epochs, "rates": rates}
    return tuple(
        Variant(title, {**numbers, "architecture": architecture, "arguments": arguments})
        for title, architecture, arguments in _NETWORKS
    )


def _of_group(group: str) -> list[str]:
    with (_FOLDER / "images.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["kind"] == "stained"]
    return [
        row["image_id"]
        for row in rows
        if stain_group(row["kind"], *(float(row[f"mean_{channel}"]) for channel in "rgb")) == group
    ]
