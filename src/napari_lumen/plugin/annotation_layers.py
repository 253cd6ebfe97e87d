"""What a user has drawn on a slide, as annotations to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_lumen.annotations.shapes import Annotation
from napari_lumen.plugin.annotation_pyramid import SET
from napari_lumen.plugin.annotation_shapes import KIND, annotations_of
from napari_lumen.plugin.placing import drawn_on, facts_of, fingerprint_of, origin_of, step_of
from napari_lumen.plugin.regions import outline

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Shapes

_COLUMNS = ("class", "class_name", "classification")  # of a layer's features
_AREAS = ("Polygon", "MultiPolygon")
_NO_CLASSES = ("Background", "Region*", "Ignore*")  # names that stand for rules, see `AnnotationRules`


def annotations_on(viewer: ViewerModel, slide: Layer) -> list[Annotation]:
    """Return the closed shapes that lie on a slide, hidden layers left out.

    The class of a shape is what its layer's table of features says; of a layer that names no class, its name.
    Annotations from a file are taken whole, also where only those in view are outlined. What a model drew,
    boxes of what it looked at or outlines of a map, is none.
    """
    from napari.layers import Shapes

    found: list[Annotation] = []
    for layer in drawn_on(slide, viewer.layers):
        if layer.visible and isinstance(layer, Shapes):
            found += _annotations(layer, slide)
    for layer in viewer.layers:
        ours = facts_of(layer).get("kind") == KIND and fingerprint_of(layer) == fingerprint_of(slide)
        if ours and layer.visible:
            found += [item for item in _read(layer) if item.geometry.geom_type in _AREAS]
    return found


def _read(layer: Layer) -> Sequence[Annotation]:
    whole = facts_of(layer).get(SET)
    return annotations_of(layer.as_layer_data_tuple()) if whole is None else whole.annotations()


def class_names(annotations: list[Annotation]) -> list[str]:
    """Return the classes that are drawn, in the order of their first shape."""
    names = [item.class_name for item in annotations if item.class_name]
    return [name for name in dict.fromkeys(names) if name not in _NO_CLASSES]


def _annotations(layer: Shapes, slide: Layer) -> list[Annotation]:
    column = next((name for name in _COLUMNS if name in layer.features), None)
    said = (
        [] if column is None else [name if isinstance(name, str) else "" for name in layer.features[column]]
    )
    names: list[str | None] = [name or None for name in said] if any(said) else [layer.name] * len(layer.data)
    mpp, origin = step_of(slide), origin_of(slide)
    found = []
    for index in range(len(layer.data)):
        shape = outline(layer, index, mpp, origin)
        if shape is not None:
            found.append(Annotation(shape, names[index]))
    return found
