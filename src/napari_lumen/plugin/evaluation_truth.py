"""What a run is scored against: layers of the open slide, or a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.errors import AnnotationError
from napari_lumen.plugin.annotation_shapes import KIND
from napari_lumen.plugin.annotation_writer import annotations_in, table_of
from napari_lumen.plugin.placing import drawn_on, facts_of, fingerprint_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.comparison import Drawn
    from napari_lumen.plugin.annotation_frame import Frame
    from napari_lumen.plugin.layers import LayerData


@dataclass(frozen=True)
class Truth:
    """What was drawn, and the classes of it that do not count.

    Attributes
    ----------
    drawn : Drawn or Path
        A path of an image of labels.
    ignored : tuple of str
        Classes that do not count.
    unknown : tuple of str
        Those of them that are none of the run's.
    """

    drawn: Drawn | Path
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


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
    found: list[Annotation] = []
    for layer in layers:
        outlines = annotations_in([layer], frame)
        title = str(layer[1].get("name", ""))
        if title in classes and not any(item.class_name for item in outlines):
            outlines = [replace(item, class_name=title) for item in outlines]
        found += outlines
    ignored = {item.name for item in table_of(layers) if item.ignore}
    return _truth(name, "", found, classes, ignored)


def truth_of_file(path: Path, classes: ClassTable) -> Truth:
    """Return the truth in a file; call it off the GUI thread.

    Raises
    ------
    AnnotationError
        As `truth_of_layers`, and when the file cannot be read.
    """
    from napari_lumen.annotations.formats import read_annotations
    from napari_lumen.comparison.sources import IMAGE_SUFFIXES

    if path.name.lower().endswith(IMAGE_SUFFIXES):
        return Truth(path)
    return _truth(path.name, str(path), read_annotations(path), classes, set())


def _truth(name: str, place: str, found: list[Annotation], classes: ClassTable, ignored: set[str]) -> Truth:
    from napari_lumen.comparison import Drawn
    from napari_lumen.comparison.rules import RULES

    closed = [item for item in found if item.geometry.area > 0]
    if not closed:
        raise AnnotationError(f"{place or name} outlines no area: there is nothing to compare the run with.")
    names = Counter(item.class_name for item in closed)
    unknown = {name for name in names if name and name not in classes and name not in RULES}
    if not any(name is None or name in classes for name in names):
        raise AnnotationError(
            f"{place or name} has the classes {', '.join(sorted(unknown)) or 'none'}, and the run "
            f"{', '.join(item.name for item in classes)}: rename those of the annotations as the run's."
        )
    left_out = sorted(unknown | ignored)
    return Truth(Drawn(name, closed, place), tuple(left_out), tuple(sorted(unknown)))
