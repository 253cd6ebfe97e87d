"""The layer that shows where a run is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.evaluation.errors import ERRORS
from napari_lumen.plugin.layers import (
    KEY,
    PLACED,
    class_colors,
    class_features,
    placement,
    run_facts,
)
from napari_lumen.plugin.placing import facts_of, fingerprint_of, is_result, lay_on

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_lumen.comparison import SlideEvaluation

KIND = "errors"  # in the layer's facts
_OPACITY = 0.85


def error_layer(found: SlideEvaluation, slide: Layer) -> Labels:
    """Return a Labels pyramid on the pixels of the run, laid on its slide."""
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    record, levels = found.run.record, found.errors.levels
    features = class_features(ERRORS)
    layer = Labels(
        levels if len(levels) > 1 else levels[0],
        multiscale=len(levels) > 1,
        name=f"{slide.name.partition('.')[0] or slide.name} · errors",
        colormap=DirectLabelColormap(color_dict=class_colors(ERRORS)),
        opacity=_OPACITY,
        features={**features, "class": ["right", *features["class"][1:]]},
        metadata={KEY: {**run_facts(found.run), "kind": KIND, PLACED: (record.mpp, (0.0, 0.0))}},
        **placement(found.errors.grid, record.mpp),
    )
    lay_on(layer, slide)
    layer.editable = False
    return layer


def show_errors(viewer: ViewerModel, found: SlideEvaluation, slide: Layer) -> Labels:
    """Show where a run is wrong above its results, which are hidden, instead of what was shown before."""
    results = [
        item for item in viewer.layers if is_result(item) and fingerprint_of(item) == fingerprint_of(slide)
    ]
    for item in results:
        item.visible = False  # in other colours on the same pixels, nobody could tell them apart
        if facts_of(item).get("kind") == KIND:
            viewer.layers.remove(item)
    layer = error_layer(found, slide)
    place = 1 + max(
        viewer.layers.index(item)
        for item in viewer.layers
        if item is slide or (is_result(item) and fingerprint_of(item) == fingerprint_of(slide))
    )
    viewer.layers.insert(place, layer)
    viewer.layers.selection.active = layer
    return layer
