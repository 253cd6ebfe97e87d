"""Adding annotations to those of a slide, to its layer where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_reader import MOST_SHAPES, annotation_layers
from napari_lumen.plugin.annotation_shapes import ITEMS, KIND, NUMBER, TABLE, shape_layers
from napari_lumen.plugin.layers import KEY
from napari_lumen.plugin.placing import facts_of, fingerprint_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Shapes

    from napari_lumen.annotations.shapes import Annotation


def annotation_layer(viewer: ViewerModel, slide: Layer) -> Shapes | None:
    """Return the topmost layer of a slide's annotations in which outlines can be edited, or None."""
    from napari.layers import Shapes

    fitting = [
        layer
        for layer in viewer.layers
        if isinstance(layer, Shapes)
        and facts_of(layer).get("kind") == KIND
        and fingerprint_of(layer) == fingerprint_of(slide)
    ]
    active = viewer.layers.selection.active
    return active if active in fitting else next(reversed(fitting), None)


def add_annotations(viewer: ViewerModel, slide: Layer, annotations: Sequence[Annotation]) -> str:
    """Add outlines to a slide's annotations, with where they come from.

    The Annotations panel can undo it in one step. Where together they would be too many for napari to edit,
    they get a layer of their own.

    Parameters
    ----------
    viewer : ViewerModel
    slide : Layer
    annotations : sequence of Annotation
        Outlines, level-0 px.

    Returns
    -------
    str
        Name of the layer that they are in.
    """
    from napari.layers import Layer as AnyLayer

    layer = annotation_layer(viewer, slide)
    if layer is not None and len(layer.data) + len(annotations) <= MOST_SHAPES:
        _append(layer, annotations)
        return str(layer.name)
    frame = Frame.of(slide)
    name = f"{frame.name.partition('.')[0] or frame.name} · annotations"
    active = viewer.layers.selection.active
    for data in annotation_layers(annotations, frame, name):
        viewer.add_layer(AnyLayer.create(*data))
    viewer.layers.selection.active = active
    return name


def _append(layer: Shapes, annotations: Sequence[Annotation]) -> None:
    import pandas as pd
    from napari.layers.base import ActionType

    facts = facts_of(layer)
    items, before = dict(facts[ITEMS]), layer.features
    table = _with_classes(facts[TABLE], annotations)
    first = 1 + max([*items, *before.get(NUMBER, ())], default=-1)
    # as a layer of their own would hold them
    ((corners, said, _),) = shape_layers(annotations, Frame(), "", table)
    features = pd.DataFrame(said["features"])
    features[NUMBER] += first
    old = before.copy()
    with layer.events.data.blocker():  # heard once it is complete: undo keeps what it hears of
        layer.add(
            corners,
            shape_type=said["shape_type"],
            edge_width=said["edge_width"],
            edge_color=said["edge_color"],
            face_color="transparent",
        )
        layer.features = pd.concat([old, features], ignore_index=True)[list(old.columns) or None]
    items.update({first + number: item for number, item in enumerate(annotations)})
    layer.metadata[KEY] = {**facts, ITEMS: items, TABLE: table}
    count = len(layer.data)
    indices: Any = tuple(range(count - len(corners), count))
    layer.events.data(value=layer.data, action=ActionType.ADDED, data_indices=indices, vertex_indices=((),))


def _with_classes(table: ClassTable, annotations: Sequence[Annotation]) -> ClassTable:
    for item in annotations:
        if item.class_name and item.class_name not in table:
            table = table.added(item.class_name, item.color)
    return table
