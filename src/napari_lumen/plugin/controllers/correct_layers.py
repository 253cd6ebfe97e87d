"""The layers that show what is corrected: those of runs, and one for corrections without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.plugin.layers import KEY, class_colors, class_features
from napari_lumen.plugin.placing import facts_of, fingerprint_of, origin_of, step_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Layer

    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.plugin.controllers.correct_target import Target


def results_of(fingerprint: str | None, layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that show labels of finished runs over a slide, bottom to top."""
    return [
        layer
        for layer in layers
        if facts_of(layer).get("kind") == "labels"
        and facts_of(layer).get("run")
        and fingerprint_of(layer) == fingerprint
    ]


def layers_of(target: Target, layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that show the labels of a target, bottom to top."""
    run = "" if target.run is None else str(target.run.path)
    if run:
        return [x for x in results_of(target.slide.fingerprint, layers) if facts_of(x)["run"] == run]
    folder = str(target.store.folder)
    return [layer for layer in layers if facts_of(layer).get("corrections") == folder]


def corrections_layer(target: Target, slide: Layer) -> Layer:
    """Return a layer that shows what was corrected on a slide without a run."""
    from napari.layers import Labels

    mpp, (top, left) = step_of(slide), origin_of(slide)
    y, x = target.grid.translate(mpp)
    levels = target.labels.levels
    layer = Labels(
        levels if len(levels) > 1 else levels[0],
        multiscale=len(levels) > 1,
        name=f"{slide.name.partition('.')[0] or slide.name} · corrections",
        scale=target.grid.scale(mpp),
        translate=(y + top, x + left),
        units=slide.units,
        opacity=0.9,
        metadata={
            KEY: {
                "kind": "corrections",
                "corrections": str(target.store.folder),
                "fingerprint": fingerprint_of(slide),
            }
        },
    )
    layer.contour = 2  # as of the layers of runs
    layer.editable = False
    colour_classes(layer, target.store.classes)
    return layer


def colour_classes(layer: Layer, classes: ClassTable) -> None:
    """Give a layer of corrections the colours and names of its classes, those too that were added since."""
    from napari.utils.colormaps import DirectLabelColormap

    features = class_features(classes)
    if list(layer.features.get("class", ())) != list(features["class"]):
        layer.colormap = DirectLabelColormap(color_dict=class_colors(classes))
        layer.features = features
