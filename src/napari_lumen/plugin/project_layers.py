"""The layers of a slide of a project: the slide, its newest run, and what each person has drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lumen.corrections.author import this_user
from napari_lumen.errors import LumenError
from napari_lumen.plugin.annotation_reader import read_layers
from napari_lumen.plugin.annotation_writer import annotations_in
from napari_lumen.plugin.layers import KEY, LayerData, RunLayers, class_colors, class_features, run_layers
from napari_lumen.plugin.placing import facts_of, fingerprint_of, origin_of, step_of
from napari_lumen.plugin.results import add_result

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_lumen.plugin.annotation_frame import Frame
    from napari_lumen.plugin.ready import Ready
    from napari_lumen.project import Project
    from napari_lumen.project.differences import Differences
    from napari_lumen.slides import Slide

AUTHOR = "author"  # in the facts of a layer of annotations: whose they are
DIFFERENCES = "differences"  # the kind of a layer, in its facts
_OPACITY = 0.6  # the tissue stays legible


@dataclass(frozen=True)
class Part:
    """Something that belongs to a slide: a run, or what one person has drawn.

    Attributes
    ----------
    run : RunLayers or None
    author : str
    drawn : list of LayerData
    problem : str
        What could not be read, a sentence; "" when all could.
    """

    run: RunLayers | None = None
    author: str = ""
    drawn: Sequence[LayerData] = ()
    problem: str = ""


def add_slide(viewer: ViewerModel, slide: Slide, ready: Ready) -> Layer:
    """Add the layers of a slide, and return that which stands for it."""
    from napari.layers import Layer

    from napari_lumen.plugin.reader import layers_of_slide

    added = [viewer.add_layer(Layer.create(*data)) for data in layers_of_slide(slide, ready)]
    return added[0]


def parts_of(project: Project, name: str, frame: Frame, slide_name: str) -> list[Callable[[], Part]]:
    """Return what reads the parts of a slide, each off the GUI thread: its newest run, then each drawing.

    One after the other, so that the window lives between two: to add a layer takes it a moment.

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
    entry = project.slide(name)
    runs = [Path(project.place(text)) for text in entry.runs[-1:]]
    return [
        *(partial(_read_run, run, slide_name) for run in runs),
        *(
            partial(_drawn_or_problem, Path(project.place(x.path)), x.author, frame)
            for x in entry.annotations
        ),
    ]


def add_part(viewer: ViewerModel, slide: Layer, part: Part) -> None:
    """Show what belongs to a slide above it; each person's annotations apart, under their name."""
    from napari.layers import Layer

    if part.run is not None:
        add_result(viewer, slide, part.run)
    stem = slide.name.partition(".")[0] or slide.name
    for index, data in enumerate(part.drawn):
        layer = viewer.add_layer(Layer.create(*data))
        layer.name = f"{stem} · {part.author}" + (f" ({index + 1})" if index else "")
        layer.metadata[KEY] = {**facts_of(layer), AUTHOR: part.author}


def show_differences(viewer: ViewerModel, found: Differences, slide: Layer) -> Labels:
    """Show where two people differ above the layers of a slide, instead of an earlier comparison."""
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    for item in list(viewer.layers):
        if facts_of(item).get("kind") == DIFFERENCES and fingerprint_of(item) == fingerprint_of(slide):
            viewer.layers.remove(item)
    grid, levels, step, origin = found.map.grid, found.map.levels, step_of(slide), origin_of(slide)
    y, x = grid.translate(step)
    features = class_features(found.kinds)
    layer = Labels(
        levels if len(levels) > 1 else levels[0],
        multiscale=len(levels) > 1,
        name=f"{slide.name.partition('.')[0] or slide.name} · differences",
        scale=grid.scale(step),
        translate=(y + origin[0], x + origin[1]),
        units=slide.units,
        colormap=DirectLabelColormap(color_dict=class_colors(found.kinds)),
        opacity=_OPACITY,
        features={**features, "class": ["alike", *features["class"][1:]]},
        metadata={KEY: {"kind": DIFFERENCES, "fingerprint": fingerprint_of(slide)}},
    )
    layer.editable = False
    viewer.add_layer(layer)
    return layer


def _read_run(folder: Path, slide_name: str) -> Part:
    from napari_lumen.inference.run import Run

    try:
        return Part(run=run_layers(Run.open(folder), slide_name))
    except LumenError as error:
        return Part(problem=str(error))


def read_drawn(file: Path, author: str, frame: Frame) -> Part:
    """Read what one person has drawn.

    Raises
    ------
    AnnotationError
        When the file cannot be read to its end.
    """
    return Part(author=author, drawn=read_layers(file, frame)[0])


def keep_drawn(
    project: Project,
    name: str,
    author: str,
    layers: Sequence[LayerData],
    before: Sequence[Part],
    frame: Frame,
) -> tuple[int, int]:
    """Write what one person has drawn on a slide, and return how much: in layers, and in parts of before.

    What was drawn under the name of this machine's user is that person's.

    Raises
    ------
    ProjectError, AnnotationError
        When it cannot be written: then what was there stays.
    """
    drawn = annotations_in(layers, frame)
    hidden = annotations_in([data for part in before for data in part.drawn], frame)
    here = this_user()
    theirs = [replace(x, author=author) if x.author == here else x for x in drawn]
    project.save_annotations(name, [*hidden, *theirs], author)
    return len(drawn), len(hidden)


def _drawn_or_problem(file: Path, author: str, frame: Frame) -> Part:
    try:
        return read_drawn(file, author, frame)
    except LumenError as error:
        return Part(problem=str(error))
