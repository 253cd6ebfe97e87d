"""The report of an evaluation as one HTML page without scripts and without other files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_lumen.evaluation.charts import chart
from napari_lumen.evaluation.defined import ratio
from napari_lumen.evaluation.errors import ERRORS
from napari_lumen.evaluation.evaluate import Evaluation, WorstImage
from napari_lumen.evaluation.scores import FOREGROUND, Over, Score
from napari_lumen.evaluation.thumbnails import IGNORED

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;background:#fff}
body{max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}
div.wide{overflow-x:auto}table{border-collapse:collapse;margin:.6rem 0}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #888}
.interval{display:block;color:#666;font-size:.8em;white-space:nowrap}.note{color:#555}
.swatch{display:inline-block;width:.8em;height:.8em;border:1px solid #888;margin:0 .3em 0 .6em}
.worst{display:flex;flex-wrap:wrap;gap:1.2rem}figure{margin:0}
figure div{display:flex;gap:3px}figure small{display:block;color:#555}
img{width:11rem;image-rendering:pixelated;border:1px solid #bbb}
figcaption{overflow-wrap:anywhere;max-width:46rem;margin-bottom:.2rem}
svg{margin-right:1rem}svg text{font:12px system-ui,sans-serif}svg .heading{font-weight:600;font-size:14px}
svg .frame{fill:none;stroke:#888}svg .grid{stroke:#eee;fill:none}
"""
_OVER: dict[Over, tuple[str, str]] = {
    "pooled": ("Pooled", "Counts of all images are added up first, so that large images weigh more."),
    "mean of images": (
        "Mean of images",
        "Every image has its score; images that do not define it (0 / 0) are left out.",
    ),
}
_EXPLAINED = {
    "dice_smoothed": "1 is added above and below the fraction, so that an image without the class on both "
    "sides scores 1; so are jaccard, precision and recall smoothed (FocusNet++)",
    "recognition_quality": "F1 of the objects that match one of the other side at an IoU above 0.5",
    "segmentation_quality": "mean IoU of the objects that match",
    "panoptic_quality": "recognition quality times segmentation quality",
    "panoptic_quality_as_published": "as MoNuSAC's notebook counts it",
    "dsb_precision": "TP / (TP + FP + FN) of objects, mean over IoU from 0.5 to 0.95",
}


def page(evaluation: Evaluation, title: str, facts: Sequence[tuple[str, str]] = ()) -> str:
    """Return the page.

    Parameters
    ----------
    evaluation : Evaluation
    title : str
    facts : sequence of (str, str)
        Name and value of what the reader should know: which model, which truth.
    """
    count = len(evaluation.names)
    units = (
        f"Intervals: 95 %, from resampling {evaluation.groups} independent groups of images."
        if evaluation.groups > 1
        else "All images are of one group, such as the tiles of one slide: there is nothing to resample, and "
        "there are no intervals."
    )
    body = [
        head(title, (*facts, ("images", f"{count:,}"))),
        f'<p class="note">{units} A dash is a score that is not defined.</p>',
    ]
    for over, (heading, note) in _OVER.items():
        scores = [score for score in evaluation.scores if score.over == over]
        body.append(f"<h2>Scores: {heading.lower()}</h2><p class=note>{note}</p>{_wide(_scores(scores))}")
        there = {score.name for score in scores}
        body += [
            f"<p class=note><b>{name.replace('_', ' ')}</b>: {escape(text)}.</p>"
            for name, text in _EXPLAINED.items()
            if name in there
        ]
    body.append(f"<h2>Confusion</h2>{_wide(_confusion(evaluation))}")
    if evaluation.roc:
        body.append(f"<h2>Curves</h2><p class=note>Over all pixels, pooled.</p>{_curves(evaluation)}")
    if evaluation.worst:
        by = "panoptic quality" if ("dsb_precision", FOREGROUND) in evaluation.by_image else "Dice"
        note = f"<p class=note>By the mean of their classes' {by}, which stands behind the name.</p>"
        body.append(f"<h2>Worst images</h2>{note}{_legend(evaluation)}<div class=worst>")
        body += [*map(_figure, evaluation.worst), "</div>"]
    return document(title, body)


def document(title: str, body: Iterable[str]) -> str:
    """Return a page of parts that are HTML already."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def head(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """Return the title of a page and the table of what the reader should know."""
    return f"<h1>{escape(title)}</h1>" + table((), [(escape(name), escape(value)) for name, value in facts])


def number(value: float, low: float = float("nan"), high: float = float("nan")) -> str:
    """Return a score with its interval as HTML; a dash where it is not defined."""
    if np.isnan(value):
        return "–"
    if np.isnan(low):
        return f"{value:.4f}"
    return f"{value:.4f} <span class=interval>{low:.3f} to {high:.3f}</span>"


def _wide(html: str) -> str:
    """Let what is wider than the page scroll by itself."""
    return f"<div class=wide>{html}</div>"


def _scores(scores: Sequence[Score]) -> str:
    """Return a table with a row a score and a column a class."""
    columns = list(dict.fromkeys(score.class_name for score in scores))
    cells = {(score.name, score.class_name): number(score.value, score.low, score.high) for score in scores}
    rows = [
        (name.replace("_", " "), *(cells.get((name, column), "") for column in columns))
        for name in dict.fromkeys(score.name for score in scores)
    ]
    return table(("", *map(escape, columns)), rows)


def _confusion(evaluation: Evaluation) -> str:
    """Return the matrix, each cell as dark as its share of the row."""
    names = [escape(item.name) for item in evaluation.classes]
    shares = np.nan_to_num(ratio(evaluation.confusion, evaluation.confusion.sum(1, keepdims=True)))
    rows = []
    for name, counts, row in zip(names, evaluation.confusion, shares, strict=True):
        cells = "".join(
            f'<td style="background:rgba(33,102,172,{share:.3f});color:{"#fff" if share > 0.55 else "#222"}"'
            f' title="{count:,} pixels">{share:.1%}</td>'
            for count, share in zip(counts, row, strict=True)
        )
        rows.append(f"<tr><th>{name}</th>{cells}<td>{counts.sum():,}</td></tr>")
    heads = "".join(f"<th>{name}</th>" for name in names)
    return (
        "<p class=note>Rows are the truth, columns the prediction; shares of the row.</p><table><thead><tr>"
        f"<th>truth</th>{heads}<th>pixels</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _curves(evaluation: Evaluation) -> str:
    colors = {item.name: item.color for item in evaluation.classes}
    return chart("Precision and recall", "recall", "precision", evaluation.precision_recall, colors) + chart(
        "ROC", "false positive rate", "true positive rate", evaluation.roc, colors
    )


def _legend(evaluation: Evaluation) -> str:
    shown = [(item.name, item.color) for item in evaluation.classes if item.value]
    shown += [*((item.name, item.color) for item in ERRORS), ("not counted", IGNORED)]
    return "<p>{}</p>".format(
        "".join(
            f'<span class=swatch style="background:rgb{color}"></span>{escape(name)}' for name, color in shown
        )
    )


def _figure(worst: WorstImage) -> str:
    pictures = "".join(
        f'<span><img alt="{name}" src="{_data_uri(picture)}"><small>{name}</small></span>'
        for name, picture in worst.pictures.items()
    )
    caption = f"{escape(worst.name)}: {worst.score:.3f}"
    return f"<figure><figcaption>{caption}</figcaption><div>{pictures}</div></figure>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{heads}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"


def _data_uri(picture: npt.NDArray[Any]) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
