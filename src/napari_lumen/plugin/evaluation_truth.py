"""What a run is scored against: layers of the open slide, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.plugin.annotation_shapes import KIND
from napari_lumen.plugin.annotation_writer import annotations_in, table_of
from napari_lumen.plugin.placing import drawn_on, facts_of, fingerprint_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.comparison.truth import Truth
    from napari_lumen.plugin.annotation_frame import Frame
    from napari_lumen.plugin.layers import LayerData


def truth_layers(slide: Layer, layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that can be a truth on a slide, topmost first."""
    from napari.layers import Labels, Shapes

    ours = [
        layer
        for layer in layers
        if facts_of(layer).get("kind") == KIND and fingerprint_of(layer) == fingerprint_of(slide)
    ]
    drawn = [layer for layer in drawn_on(slide, layers) if isinstance(layer, Shapes | Labels)]
    known = {id(layer) for layer in (*ours, *drawn)}
    return [layer for layer in reversed(layers) if id(layer) in known]


def truth_of_layers(name: str, layers: Sequence[LayerData], frame: Frame, classes: ClassTable) -> Truth:
    """Return what layers show as a truth for a run; call it off the GUI thread.

    Parameters
    ----------
    name : str
        What to call it.
    layers : sequence of LayerData
        Outlines of a layer that names no class are of the class that the layer is named after.
    frame : Frame
        Of the slide.
    classes : ClassTable
        Of the run.

    Raises
    ------
    AnnotationError
        When nothing encloses an area, or no class is one of the run's.
    """
    from napari_lumen.comparison.pairs import Drawn
    from napari_lumen.comparison.truth import truth_for

    found: list[Annotation] = []
    for layer in layers:
        outlines = annotations_in([layer], frame)
        title = str(layer[1].get("name", ""))
        if title in classes and not any(item.class_name for item in outlines):
            outlines = [replace(item, class_name=title) for item in outlines]
        found += outlines
    ignored = [item.name for item in table_of(layers) if item.ignore]
    return truth_for(Drawn(name, found), classes, ignored)


def truth_of_file(path: Path, classes: ClassTable) -> Truth:
    """Return the truth in a file; call it off the GUI thread.

    Raises
    ------
    AnnotationError
        As `truth_of_layers`, and when the file cannot be read.
    """
    from napari_lumen.annotations.formats import read_annotations
    from napari_lumen.comparison.pairs import Drawn
    from napari_lumen.comparison.sources import IMAGE_SUFFIXES
    from napari_lumen.comparison.truth import Truth, truth_for

    if path.name.lower().endswith(IMAGE_SUFFIXES):
        return Truth(path)
    return truth_for(Drawn(path.name, read_annotations(path), str(path)), classes)
