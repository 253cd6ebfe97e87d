"""What a run is scored against: layers of the open slide, or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.errors import RunError
from napari_lumen.plugin.annotation_shapes import CLASS, KIND
from napari_lumen.plugin.annotation_writer import annotations_in, table_of
from napari_lumen.plugin.controllers.evaluate_state import NO_CLASS
from napari_lumen.plugin.placing import drawn_on, facts_of, fingerprint_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.comparison.truth import Truth
    from napari_lumen.plugin.annotation_frame import Frame
    from napari_lumen.plugin.layers import LayerData


_MOST_VALUES = 32  # of a label image of classes: one of more numbers objects


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


def classes_drawn(layers: Sequence[Layer], known: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the classes on layers, `NO_CLASS` among them, without reading an outline.

    Parameters
    ----------
    layers : sequence of Layer
        Of a layer that names no class, its own name stands for the class if it is a known one.
    known : sequence of str
        Classes of the run.
    """
    found: dict[str, None] = {}
    for layer in layers:
        values = layer.features.get(CLASS, ())
        names = dict.fromkeys(name if isinstance(name, str) else NO_CLASS for name in values)
        if "index" in layer.features:  # of Labels: what its pixels stand for, the first for none
            names = dict.fromkeys(list(names)[1:])
        elif not any(names) and layer.name in known:
            names = {layer.name: None}
        elif not names:
            names = {NO_CLASS: None}
        found |= names
    return tuple(found)


@dataclass(frozen=True, slots=True)
class InFile:
    """What classes a file of a truth holds.

    Attributes
    ----------
    names : tuple of str
        Of its classes, `NO_CLASS` among them; of a label image the digits of its values.
    values : bool
        Whether it is a label image.
    """

    names: tuple[str, ...] = ()
    values: bool = False


def classes_in_file(path: Path) -> InFile:
    """Return the classes in a file; none where a label image numbers objects. Not for the GUI thread.

    Raises
    ------
    AnnotationError
        When the file cannot be read.
    """
    from napari_lumen.annotations.formats import read_annotations
    from napari_lumen.comparison.label_image import IMAGE_SUFFIXES, read_label_image

    if path.name.lower().endswith(IMAGE_SUFFIXES):
        values = np.unique(read_label_image(path))
        names = tuple(str(value) for value in values if value > 0)
        return InFile(names if len(names) <= _MOST_VALUES else (), values=True)
    closed = (item for item in read_annotations(path) if item.geometry.area > 0)
    return InFile(tuple(dict.fromkeys(item.class_name or NO_CLASS for item in closed)))


def truth_of_layers(
    name: str,
    layers: Sequence[LayerData],
    frame: Frame,
    classes: ClassTable,
    renamed: Mapping[str, str],
) -> Truth:
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
    renamed : mapping of str to str
        Classes of the layers with the names that they have in the run.

    Raises
    ------
    AnnotationError
        When nothing encloses an area, or no class is one of the run's.
    """
    from napari_lumen.comparison.asked import Drawn
    from napari_lumen.comparison.truth import truth_for

    found: list[Annotation] = []
    for layer in layers:
        outlines = annotations_in([layer], frame)
        title = str(layer[1].get("name", ""))
        if title in classes and not any(item.class_name for item in outlines):
            outlines = [replace(item, class_name=title) for item in outlines]
        found += outlines
    ignored = [item.name for item in table_of(layers) if item.ignore]
    return truth_for(Drawn(name, found), classes, ignored, renamed)


def truth_of_file(path: Path, classes: ClassTable, renamed: Mapping[str, str]) -> Truth:
    """Return the truth in a file; call it off the GUI thread.

    Raises
    ------
    AnnotationError
        As `truth_of_layers`, and when the file cannot be read.
    """
    from napari_lumen.annotations.formats import read_annotations
    from napari_lumen.comparison.asked import Drawn
    from napari_lumen.comparison.label_image import IMAGE_SUFFIXES
    from napari_lumen.comparison.truth import Truth, truth_for

    if path.name.lower().endswith(IMAGE_SUFFIXES):
        return Truth(path, renamed=renamed)
    return truth_for(Drawn(path.name, read_annotations(path), str(path)), classes, renamed=renamed)


def classes_corrected(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes of a run's corrections; none where they cannot be read."""
    from napari_lumen.corrections import CorrectionStore

    try:
        return tuple(item.name for item in CorrectionStore(folder).classes)
    except RunError:  # evaluating says why
        return ()


def truth_of_corrections(folder: Path, classes: ClassTable, renamed: Mapping[str, str]) -> Truth:
    """Return what people have made of the windows that they corrected; call it off the GUI thread.

    Nothing outside the windows counts.

    Parameters
    ----------
    folder : Path
        Of the run that they corrected.
    classes : ClassTable
        Of the run that is scored.
    renamed : mapping of str to str
        Classes of the corrections with the names that they have in that run.

    Raises
    ------
    AnnotationError
        When no window shows anything, or no class is one of the run's.
    RunError
        When the corrections are damaged.
    """
    import shapely

    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.comparison.asked import Drawn
    from napari_lumen.comparison.rules import REGION
    from napari_lumen.comparison.truth import truth_for
    from napari_lumen.corrections import CorrectionStore
    from napari_lumen.corrections.export import corrected_outlines

    store = CorrectionStore(folder)
    windows = [
        Annotation(shapely.box(item.x, item.y, item.x + item.width, item.y + item.height), REGION)
        for item in store.windows
    ]
    drawn = Drawn(f"the corrected windows of {folder.name}", [*corrected_outlines(store), *windows])
    return truth_for(drawn, classes, renamed=renamed)
