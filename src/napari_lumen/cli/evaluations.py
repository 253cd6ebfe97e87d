"""`napari-lumen evaluate`: masks, unless what is to be scored is named first: froc, stages, boxes."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from napari_lumen.cli.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Sequence

_MASKS = "masks"

Out = Annotated[Path, typer.Option(help="Folder for the report; an earlier one there is replaced.")]
Resamples = Annotated[int, typer.Option(min=1, help="Of the bootstrapped 95 % intervals.")]
Seed = Annotated[int, typer.Option(help="Of the resampling.")]


class _MasksByDefault(TyperGroup):
    """`evaluate PREDICTED TRUTH` is `evaluate masks PREDICTED TRUTH`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [_MASKS, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_MasksByDefault,
    name="evaluate",
    help="Score predictions against their truth: write tables (CSV) and one page (report.html).\n\n"
    "'evaluate PREDICTED TRUTH --out DIR' is 'evaluate masks PREDICTED TRUTH --out DIR'.",
    no_args_is_help=True,
    subcommand_metavar="[masks] | froc | stages | boxes PREDICTED TRUTH --out DIR",
)
app.command(_MASKS)(evaluate)


@app.command("froc")
def froc(
    predicted: Annotated[
        Path,
        typer.Argument(
            help="Folder with a CSV a slide (confidence, x, y in level-0 px; empty where nothing was "
            "detected) or with runs; one such file, or one run."
        ),
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            help="Folder of the same names: ASAP XML, GeoJSON, or masks (TIFF, PNG; NAME_mask too). One such "
            "file for one slide."
        ),
    ],
    out: Out,
    mpp: Annotated[
        float, typer.Option(min=0.001, help="µm per level-0 pixel of the slides; runs know theirs.")
    ] = 0.243,
    mask_mpp: Annotated[
        float | None,
        typer.Option(min=0.001, help="µm per pixel of the masks' finest level, where it is another."),
    ] = None,
    tumour_free: Annotated[
        bool, typer.Option("--tumour-free", help="Slides without truth have no tumour; else an error.")
    ] = False,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class of a run that is detected, where it has several.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Probability that a detection of a run exceeds.")
    ] = 0.5,
    distance: Annotated[float, typer.Option(min=0, help="µm between detections of a run at least.")] = 187.0,
    resamples: Resamples = 1000,
    seed: Seed = 0,
) -> None:
    """Detections against lesions, by CAMELYON16's rules and all published ways to read the curve."""
    from napari_lumen.comparison import evaluate_froc
    from napari_lumen.evaluation.froc import FALSE_POSITIVES, LOOKUPS

    found = evaluate_froc(
        predicted,
        truth,
        out,
        mpp=mpp,
        mask_mpp=mask_mpp,
        tumour_free=tumour_free,
        class_name=class_name,
        threshold=threshold,
        distance_um=distance,
        resamples=resamples,
        seed=seed,
    )
    rows = [
        (
            lookup,
            _number(found.curve.score(lookup), *found.intervals[lookup]),
            *map(_number, found.curve.at(lookup)),
        )
        for lookup in LOOKUPS
    ]
    _show(("look-up", "FROC score", *(f"at {value:g}" for value in FALSE_POSITIVES)), rows, out)


@app.command("stages")
def stages(
    predicted: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns patient, slide, stage (negative, itc, micro, macro), or the file of "
            "CAMELYON17 (patient, stage)."
        ),
    ],
    truth: Annotated[Path, typer.Argument(help="The same, with the truth.")],
    out: Out,
    resamples: Resamples = 1000,
    seed: Seed = 0,
) -> None:
    """Stages of lymph nodes (pN) by patient, by CAMELYON17's quadratic weighted kappa."""
    from napari_lumen.comparison import evaluate_stages

    found = evaluate_stages(predicted, truth, out, resamples=resamples, seed=seed)
    rows = [
        (name.replace("_", " "), _number(value, low, high), f"{count:,}")
        for name, value, low, high, count in found.scores
    ]
    _show(("score", "value", "of"), rows, out)


@app.command("boxes")
def boxes(
    predicted: Annotated[
        Path,
        typer.Argument(
            help="A run, a map (NPY, TIFF, PNG) that covers its image edge to edge, or a folder of these."
        ),
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            help="Outlines (GeoJSON, XML), of which the bounding boxes count; or a folder of them, named as "
            "the maps or the slides of the runs."
        ),
    ],
    out: Out,
    map_name: Annotated[
        str | None, typer.Option("--map", help="Attention map or class of a run, where it has several.")
    ] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="Only outlines of this class.")] = None,
    threshold: Annotated[
        float, typer.Option(help="Above it a pixel is in the map: a share of the range of each map.")
    ] = 0.5,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="The threshold is a value of the map, as for probabilities.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, where maps are coarser than these.")
    ] = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
) -> None:
    """Boxes of an expert of which at least half lies in a map."""
    from napari_lumen.comparison import evaluate_boxes

    found = evaluate_boxes(
        predicted,
        truth,
        out,
        map_name=map_name,
        class_name=class_name,
        threshold=threshold,
        absolute=absolute,
        images=images,
        resamples=resamples,
        seed=seed,
    )
    covered = sum(row.covered for row in found.boxes)
    value = _number(found.coverage, *found.interval)
    _show(("score", "value", "boxes"), [("box coverage", value, f"{covered:,} of {len(found.boxes):,}")], out)


def _show(columns: Sequence[str], rows: Sequence[Sequence[str]], out: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from napari_lumen.cli.console import results
    from napari_lumen.evaluation.report import PAGE

    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(Text, row))
    console = results()
    console.print(table)
    console.print(f"Report: {out / PAGE}", soft_wrap=True, markup=False)


def _number(value: float, low: float = float("nan"), high: float = float("nan")) -> str:
    if isnan(value):
        return "-"
    return f"{value:.4f}" + ("" if isnan(low) else f"  {low:.2f}–{high:.2f}")
