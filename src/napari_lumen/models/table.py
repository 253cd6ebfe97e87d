"""The table of all networks beside their papers, as Markdown: `docs/models.md` keeps its last state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from napari_lumen.models.catalogue import VARIANTS, Variant
from napari_lumen.models.describe import Description, describe

_SIZE = 256
_HEAD = (
    "| row of the paper | network | weights | size | printed | ours / printed | GMAC at 256 px "
    "| receptive field | ratio to | ours | printed |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def markdown_tables(variants: Iterable[Variant] = VARIANTS) -> str:
    """Return one Markdown table a paper: weights, work and receptive field of each row beside its figure.

    ``size`` is in the paper's unit: millions of weights with running statistics (M), or 10^6 bytes of both
    in float32 (MB).
    """
    described = [
        (variant, describe(variant.network, size=_SIZE, **variant.arguments)) for variant in variants
    ]
    sizes = {(v.paper, v.row): _size(v, d) for v, d in described}
    text = []
    for paper, rows in groupby(described, key=lambda row: row[0].paper):
        text.append(f"### {paper}\n\n{_HEAD}" + "".join(_lines(rows, sizes)))
    return "\n".join(text)


def _lines(rows: Iterable[tuple[Variant, Description]], sizes: dict[tuple[str, str], float]) -> Iterator[str]:
    for variant, found in rows:
        size = sizes[variant.paper, variant.row]
        arguments = ", ".join(
            f"{key}={'…' if isinstance(value, dict) else repr(value)}"
            for key, value in variant.arguments.items()
        )
        whole = " and the whole image" if found.whole_image else ""
        cells = [
            variant.row,
            f"`{variant.network}({arguments})`",
            f"{found.parameters:,}",
            f"{size:,.2f} {variant.unit}",
            "" if variant.printed is None else f"{variant.printed:,.2f} {variant.unit}",
            "" if variant.printed is None else f"{size / variant.printed:.3f}",
            f"{found.macs / 1e9:.2f}",
            f"{found.receptive_field:,} px{whole}",
            variant.baseline or "",
            "" if variant.baseline is None else f"{size / sizes[variant.paper, variant.baseline]:.2f}",
            "" if variant.printed_ratio is None else f"{variant.printed_ratio:.2f}",
        ]
        yield "| " + " | ".join(cells) + " |\n"


def _size(variant: Variant, found: Description) -> float:
    values = found.parameters + found.statistics
    return values / 1e6 if variant.unit == "M" else 4 * values / 1e6
