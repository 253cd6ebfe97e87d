"""The layers of a slide of a project: the slide, its newest run, and what each person has drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.errors import LumenError
from napari_lumen.plugin.annotation_reader import read_layers
from napari_lumen.plugin.layers import KEY, LayerData, RunLayers, run_layers
from napari_lumen.plugin.placing import facts_of
from napari_lumen.plugin.results import add_result

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_lumen.plugin.annotation_frame import Frame
    from napari_lumen.plugin.ready import Ready
    from napari_lumen.project import Project
    from napari_lumen.slides import Slide

AUTHOR = "author"  # in the facts of a layer of annotations: whose they are


@dataclass(frozen=True)
class Parts:
    """What belongs to a slide.

    Attributes
    ----------
    run : RunLayers or None
        Of its newest run that could be read.
    drawn : tuple of (str, list of LayerData)
        Whose, and the layers.
    problems : tuple of str
        What could not be read, a sentence each.
    """

    run: RunLayers | None
    drawn: tuple[tuple[str, list[LayerData]], ...]
    problems: tuple[str, ...]


def add_slide(viewer: ViewerModel, slide: Slide, ready: Ready) -> Layer:
    """Add the layers of a slide, and return that which stands for it."""
    from napari.layers import Layer

    from napari_lumen.plugin.reader import layers_of_slide

    added = [viewer.add_layer(Layer.create(*data)) for data in layers_of_slide(slide, ready)]
    return added[0]


def read_parts(project: Project, name: str, frame: Frame, slide_name: str) -> Parts:
    """Read what belongs to a slide; call it off the GUI thread.

    Parameters
    ----------
    project : Project
    name : str
        Of the slide in the project.
    frame : Frame
        Of its layer.
    slide_name : str
        Name of that layer.
    """
    from napari_lumen.inference.run import Run

    entry = project.slide(name)
    problems: list[str] = []
    shown = None
    for text in reversed(entry.runs):
        try:
            shown = run_layers(Run.open(project.place(text)), slide_name)
            break
        except LumenError as error:
            problems.append(str(error))
    drawn = []
    for item in entry.annotations:
        try:
            layers, _ = read_layers(Path(project.place(item.path)), frame)
        except LumenError as error:
            problems.append(str(error))
        else:
            drawn.append((item.author, layers))
    return Parts(shown, tuple(drawn), tuple(problems))


def add_parts(viewer: ViewerModel, slide: Layer, parts: Parts) -> None:
    """Show what belongs to a slide above it; each person's annotations apart, under their name."""
    from napari.layers import Layer

    if parts.run is not None:
        add_result(viewer, slide, parts.run)
    stem = slide.name.partition(".")[0] or slide.name
    for author, layers in parts.drawn:
        for index, data in enumerate(layers):
            layer = viewer.add_layer(Layer.create(*data))
            layer.name = f"{stem} · {author}" + (f" ({index + 1})" if index else "")
            layer.metadata[KEY] = {**facts_of(layer), AUTHOR: author}
