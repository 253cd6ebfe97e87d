"""An explained field as a folder of files: numbers for a script, pictures for a reader."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_lumen.annotations.decision import STATES, has_states
from napari_lumen.errors import RunError
from napari_lumen.explain.faithfulness import Faithfulness
from napari_lumen.explain.figure import Style, write_figure
from napari_lumen.explain.parts import ExplainedField, Item, Part
from napari_lumen.explain.run_figure import field_figure
from napari_lumen.geometry import Region
from napari_lumen.holding import write_text
from napari_lumen.slides import Slide

FACTS, VALUES = "field.json", "values.npz"
_WIDTH = 800  # px: many pictures, to be looked through


def write_field(
    slide: Slide,
    explained: ExplainedField,
    folder: str | os.PathLike[str],
    *,
    style: Style | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Path, ...]:
    """Write all that a network said of a field.

    Parameters
    ----------
    slide : Slide
    explained : ExplainedField
    folder : path
        Made where there is none.
    style : Style, optional
        Of the pictures.
    check : callable, optional
        Called before each picture; what it raises ends the writing.

    Returns
    -------
    tuple of Path
        ``field.json``: the tree with places in level-0 px, `value_range` null where it is open;
        ``values.npz``: the values of each item by its name; ``tissue.png`` with the boxes; a PNG a map,
        and of a tumour probability one more in the colours of tumour, normal and no label.

    Raises
    ------
    RunError
        When they cannot be written.
    """
    folder, style = Path(folder), style or Style(width=_WIDTH)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FACTS).write_text(json.dumps(_facts(explained), indent=1) + "\n", encoding="utf-8")
        values: dict[str, Any] = {item.name: item.values for item in explained.items()}
        with (folder / VALUES).open("wb") as file:
            np.savez_compressed(file, **values)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror or error}.") from error
    written = [folder / FACTS, folder / VALUES]
    boxes = [item for item in explained.items() if item.kind == "boxes"]
    written.append(
        write_figure(field_figure(slide, explained, boxes=boxes, style=style), folder / "tissue.png")
    )
    for item in explained.items():
        if item.kind == "map":
            check()
            for states in (False, True) if has_states(item.name) else (False,):
                drawn = field_figure(slide, explained, item, states=states, style=style)
                name = re.sub(r"[^A-Za-z0-9._-]", "_", item.name + (STATES if states else ""))
                written.append(write_figure(drawn, folder / f"{name}.png"))
    return tuple(written)


def write_faithfulness(found: Faithfulness, path: Path) -> Path:
    """Write both curves of a check, those of random orders and the areas below them, as JSON.

    Raises
    ------
    RunError
        When it cannot be written.
    """
    curves = {
        "deletion": [found.deletion],
        "insertion": [found.insertion],
        "random_deletion": found.random_deletion,
        "random_insertion": found.random_insertion,
    }
    facts = {
        "map": found.map_name,
        "class": found.class_name,
        "baseline": found.baseline,
        "seed": found.seed,
        "shares": found.deletion.shares.tolist(),
        "scores": {name: [one.scores.tolist() for one in several] for name, several in curves.items()},
        "areas": {name: [one.area for one in several] for name, several in curves.items()},
        "deletion_gain": found.deletion_gain,
        "insertion_gain": found.insertion_gain,
    }
    try:
        write_text(path, json.dumps(facts, indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def _facts(explained: ExplainedField) -> dict[str, Any]:
    return {
        "model": explained.model,
        "region": _edges(explained.region),
        "views": [{"region": _edges(view.region), "shape": view.shape} for view in explained.views],
        "probabilities": dict(explained.probabilities),
        "entropy_bits": explained.entropy,
        "seconds": explained.seconds,
        "parts": [_part(part) for part in explained.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "title": part.title,
        "items": [dict(_item(item)) for item in part.items],
        "parts": [_part(inner) for inner in part.parts],
    }


def _item(item: Item) -> Iterator[tuple[str, Any]]:
    yield from {"name": item.name, "title": item.title, "kind": item.kind}.items()
    yield "description", item.description
    yield "shape", item.values.shape
    yield "value_range", [None if np.isinf(end) else end for end in item.value_range]
    yield "comparable", item.comparable
    yield "raw", item.raw
    if item.grid is not None:
        yield "grid", {"origin": item.grid.origin, "step": item.grid.step, "shape": item.grid.shape}
    if item.labels:
        yield "labels", item.labels


def _edges(region: Region) -> dict[str, float]:
    return {"y": region.y, "x": region.x, "height": region.height, "width": region.width}
