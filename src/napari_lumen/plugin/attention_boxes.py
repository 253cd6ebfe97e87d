"""Boxes of the Attention panel: outlines of what a network marked, with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.plugin.layers import KEY, MICROMETRES, PLACED
from napari_lumen.plugin.placing import facts_of, lay_on

if TYPE_CHECKING:
    from napari.layers import Layer, Shapes

    from napari_lumen.plugin.attention_source import MapSource

BOXES, RUN_BOXES = "map boxes", "boxes"  # kinds in a layer's facts: of this panel, and of a run
_SCORES = {"string": "{said}", "size": 10, "anchor": "upper_left", "color": "black"}
_MOST_BOXES = 5_000  # napari takes 10,000 shapes at most without waiting


def box_layer(source: MapSource, name: str, title: str, slide: Layer, stem: str) -> Shapes | None:
    """Return the boxes of a field or of a run as outlines with their scores; None where there are none."""
    from napari.layers import Shapes

    from napari_lumen.explain.ranking import value_said
    from napari_lumen.plugin.boxes import box_widths

    boxes = _boxes(source, name)
    if not boxes:
        return None
    corners = [np.array([(top, left), (bottom, right)]) - 0.5 for (top, left, bottom, right), *_ in boxes]
    facts = {"kind": BOXES, "map": name, "fingerprint": source.fingerprint, PLACED: (source.mpp, (0.0, 0.0))}
    layer = Shapes(
        corners,
        shape_type="rectangle",
        name=f"{stem} · {title}",
        edge_color=np.array([(*color, 255) for _, _, color, _ in boxes]) / 255,
        face_color="transparent",
        edge_width=box_widths(corners),
        features={
            "score": [score for _, score, _, _ in boxes],
            "said": [value_said(score) for _, score, _, _ in boxes],
            "class": [of for *_, of in boxes],
        },
        text=_SCORES,
        scale=source.mpp,
        units=MICROMETRES,
        metadata={KEY: facts},
    )
    lay_on(layer, slide)
    layer.editable = False
    return layer


def run_boxes(source: MapSource, name: str, layers: Sequence[Layer]) -> Layer | None:
    """Return the layer of a run that shows boxes already; None where there is none, and of a field.

    It gets the scores that `box_layer` writes beside its boxes.
    """
    from napari_lumen.explain.ranking import value_said

    for layer in layers:
        facts = facts_of(layer)
        if source.run is not None and (facts.get("run"), facts.get("raster")) == (source.key, name):
            shown: Any = layer
            if "said" not in shown.features:
                shown.features = {
                    **shown.features,
                    "said": [value_said(item) for item in shown.features["score"]],
                }
                shown.text = _SCORES
            return shown
    return None


class RunBoxes:
    """Hides the boxes of runs that are not looked at, and shows them again with their run."""

    def __init__(self) -> None:
        self._hidden: list[Layer] = []

    def follow(self, key: str | None, layers: Sequence[Layer]) -> None:
        """Leave boxes of one source, by its key; with None, when none is looked at, those of all."""
        hidden, self._hidden = self._hidden, []
        for layer in hidden:
            layer.visible = True
        for layer in layers if key is not None else ():
            facts = facts_of(layer)
            if facts.get("kind") == RUN_BOXES and facts.get("run") != key and layer.visible:
                layer.visible = False
                self._hidden.append(layer)


Box = tuple[tuple[float, float, float, float], float, tuple[int, int, int], str]
_BOX_COLOR = (0, 90, 181)


def _boxes(source: MapSource, name: str) -> list[Box]:
    """Return edges (top, left, bottom, right), score, colour and class of boxes, best first."""
    from napari_lumen.annotations.geojson import read_geojson

    found: list[Box] = []
    if source.explained is not None:
        for region, score in source.explained[name].boxes:
            found.append(((region.y, region.x, region.bottom, region.right), score, _BOX_COLOR, ""))
    elif source.run is not None:
        file = next(item for item in source.run.record.files if item.name == name and item.kind == "boxes")
        for box in read_geojson(source.run.path / file.path):
            left, top, right, bottom = box.geometry.bounds
            edges = (top, left, bottom, right)
            found.append((edges, box.measurements["Score"], box.color or _BOX_COLOR, box.class_name or ""))
    return sorted(found, key=lambda item: -item[1])[:_MOST_BOXES]
