"""The networks of the papers' tables: which arguments give which row, and what is printed there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from napari_lumen.models.genotype import Genotype
from napari_lumen.models.registry import network_class


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of a paper's table, or one network that its text describes.

    Attributes
    ----------
    network : str
        Name for `build`.
    arguments : mapping
        Arguments for `build`.
    paper : str
        The paper whose table or text it stands in.
    row : str
        The row, as the paper calls it.
    printed : float or None
        The size that the paper prints.
    unit : {"M", "MB"}
        Of `printed`: millions of weights with running statistics, or 10^6 bytes of both in float32.
    baseline : str or None
        `row` of the variant of the same paper that the size is compared with.
    printed_ratio : float or None
        Ratio to the baseline, of the printed sizes.
    """

    network: str
    arguments: Mapping[str, Any]
    paper: str
    row: str
    printed: float | None = None
    unit: Literal["M", "MB"] = "M"
    baseline: str | None = None
    printed_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class _Paper:
    title: str
    unit: Literal["M", "MB"] = "M"
    rows: list[Variant] = field(default_factory=list)

    def add(
        self,
        row: str,
        network: str,
        printed: float | None = None,
        baseline: str | None = None,
        ratio: float | None = None,
        **arguments: Any,
    ) -> None:
        self.rows.append(Variant(network, arguments, self.title, row, printed, self.unit, baseline, ratio))


def _focusnetpp() -> list[Variant]:
    paper = _Paper("FocusNet++ (Kaul et al., ISBI 2021)")
    paper.add("U-Net, Table 2", "unet", 7.94, width=32)
    paper.add("UNet++, Table 2", "unetpp", 9.04)
    paper.add("Attention U-Net, Table 2", "attention_unet", 8.91)
    paper.add("R2U-Net, Table 2", "r2unet")
    paper.add("BCDU-Net, Table 2", "bcdunet", 20.66)
    paper.add("BCDU-Net, skips of its text", "bcdunet", preset="text")
    paper.add("FocusNet++, Table 2", "focusnetpp", 7.80, "U-Net, Table 2", 0.98, preset="table")
    paper.add("FocusNet++, widths of the text", "focusnetpp", preset="text")
    paper.add("U-Net, nuclei", "unet", 3.62, width=22)
    paper.add("Attention U-Net, nuclei", "attention_unet", 2.32, preset="slim")
    paper.add("BCDU-Net, nuclei", "bcdunet", 5.22, preset="slim")
    paper.add("FocusNet++, nuclei", "focusnetpp", 1.84, "U-Net, nuclei", 0.51, preset="light")
    return paper.rows


def _darefinenet() -> list[Variant]:
    paper = _Paper("DA-RefineNet (Li et al.)", "MB")
    paper.add("U-Net", "unet", 150, classes=4)
    for depth, single, dual in ((50, 334, 441), (101, 417, 517), (152, 480, 580)):
        paper.add(f"R{depth}", "darefinenet", single, variant="single", depth=depth)
        paper.add(
            f"R{depth}_50 add", "darefinenet", dual, f"R{depth}", dual / single, depth=depth, fusion="add"
        )
    paper.add("R50_50 concat", "darefinenet", None, depth=50, fusion="concat")
    paper.add("R101_50 concat", "darefinenet", None, depth=101, fusion="concat")
    paper.add("R50_50 attention", "darefinenet", None, depth=50)
    paper.add("R101_50 attention", "darefinenet", None, depth=101)
    paper.add("R152_50 attention", "darefinenet", None, depth=152)
    for depth in (50, 101, 152):
        row = f"multi-size {depth}_50"
        paper.add(row, "darefinenet", None, depth=depth, variant="multi_size", fusion="add")
    paper.add("LW R152", "darefinenet", 250, "R152", 250 / 480, depth=152, variant="single", light=True)
    paper.add("LW R152_50", "darefinenet", 350, "R152_50 add", 0.60, depth=152, light=True)
    paper.add("R18_18 attention (small machines)", "darefinenet", None, depth=18, context_depth=18)
    return paper.rows


def _multistage() -> list[Variant]:
    paper = _Paper("Multi-stage (Takahama et al., ICCV 2019)")
    paper.add("Classifier Only", "multistage", variant="classifier")
    paper.add("Segmentation Only", "multistage", variant="segmentation")
    paper.add("ImageNet feature", "multistage", variant="imagenet")
    paper.add("Separate and End-to-End", "multistage")
    paper.add("End-to-End, ResNet-18", "multistage", encoder="resnet18")
    return paper.rows


def _gated_attention() -> list[Variant]:
    paper = _Paper("Gated attention (Fan et al.)")
    paper.add("ResNet-50, Table 1", "resnet", depth=50, classes=5)
    for row, module in (
        ("Gated (ours)", "gated"),
        ("Spatial", "spatial"),
        ("Channel-wise", "channel"),
        ("Dual", "dual"),
        ("Squeeze-excitation", "se"),
        ("Global context", "global_context"),
    ):
        paper.add(f"{row}, Table 2", "gated_attention", classes=5, module=module)
    paper.add("Gated (ours), Table 3, BACH", "gated_attention", classes=4)
    return paper.rows


def _nas_scam() -> list[Variant]:
    paper = _Paper("NAS-SCAM (Liu et al., MICCAI 2020)")
    paper.add("U-Net", "nas_scam", attention="none", search=False)
    paper.add("DeepLabV3+", "deeplabv3plus")
    paper.add("U-Net + CBAM", "cbam_unet", None, "U-Net")
    paper.add("U-Net + scSE", "scse_unet", None, "U-Net")
    paper.add("P, synchronous search", "nas_scam", mode="P")
    paper.add("S, synchronous search", "nas_scam", mode="S")
    paper.add("P, shared search", "nas_scam", mode="P", synchronous=False)
    paper.add("S, shared search", "nas_scam", mode="S", synchronous=False)
    for row, sam, cam in (("smallest without zeros", "conv1", "conv1"), ("largest", "conv5", "conv15")):
        genotype = Genotype.uniform(sam, cam).model_dump(mode="json")
        paper.add(f"P rebuilt, {row}", "nas_scam", mode="P", genotype=genotype)
    return paper.rows


VARIANTS: tuple[Variant, ...] = (
    *_darefinenet(),
    *_multistage(),
    *_gated_attention(),
    *_focusnetpp(),
    *_nas_scam(),
)


# arguments that change neither the weights that there are nor what they compute in evaluation
_NOT_STRUCTURE = (
    "dropout",
    "norm_momentum",
    "pretrained",
    "local_pretrained",
    "context_pretrained",
    "mini_batch",
)


def variant_of(network: str, arguments: Mapping[str, Any]) -> Variant | None:
    """Return the row that a network with these arguments stands for, None when it stands for none.

    Parameters
    ----------
    network : str
        One of `names()`.
    arguments : mapping
        As for `build`. What they leave open is filled in by the network's defaults, so ``{}`` and
        ``{"preset": "table"}`` are the same FocusNet++. Dropout, published weights and mini-batches do not
        count, nor does what the others make unused (the context's depth without a context). The number of
        classes counts only where the row has one of its own; every other argument counts.
    """
    rows = [row for row in VARIANTS if row.network == network]
    try:
        wanted = _structure(network, arguments) if rows else {}
    except ValueError:  # a genotype that is none, which builds no network either
        return None
    return next((row for row in rows if _same(wanted, row)), None)


def _same(wanted: Mapping[str, Any], row: Variant) -> bool:
    own = _structure(row.network, row.arguments)
    if "classes" in row.arguments:
        return wanted == own
    return {**wanted, "classes": None} == {**own, "classes": None}


def _structure(network: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments that decide what is built, so that equal networks have equal ones."""
    full = {**_defaults(network), **arguments}
    if network == "darefinenet":
        from napari_lumen.models.darefinenet import default_fusion

        full["fusion"] = full["fusion"] or default_fusion(full["variant"], full["light"])
        if full["variant"] == "single":
            full["context_depth"] = None
    if network == "nas_scam":
        has_attention = full["attention"] != "none"
        if full["genotype"] is not None:
            full["genotype"] = Genotype.read(full["genotype"]).model_dump(mode="json")
        if full["search"] is None:
            full["search"] = has_attention and full["genotype"] is None
        if not full["search"]:
            full["synchronous"] = None
        if not has_attention:
            full["mode"] = None
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in full.items()
        if name not in _NOT_STRUCTURE
    }


@cache
def _defaults(network: str) -> dict[str, Any]:
    parameters = inspect.signature(network_class(network)).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}
