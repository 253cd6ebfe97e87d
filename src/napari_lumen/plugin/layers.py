"""From runs to napari layers, and what all layers of ours have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.errors import RunError

if TYPE_CHECKING:
    from collections import defaultdict
    from collections.abc import Callable, Mapping

    from napari.utils.colormaps import Colormap

    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.geometry import Grid, Pair
    from napari_lumen.inference.run import RasterRecord, Run

LayerData = tuple[Any, dict[str, Any], str]

KEY = "napari_lumen"  # of everything that we keep in a layer's metadata
PLACED = "placed"  # in a result's facts: scale and translation of the slide that it is laid on
COUNTS = "counts"  # in the facts of a run's labels: its counts with what people have corrected
MICROMETRES = ("um", "um")

_PROBABILITY = ((0.0, 0.3, 0.6, 0.0), (0.0, 0.45, 0.75, 0.9))
_VEIL = 0.5  # opacity of the colours of attention in a run's layers, which lie below outlines


@dataclass(frozen=True)
class ColorScale:
    """The colours of a continuous map, for its layer and for the bar in the legend.

    Attributes
    ----------
    title : str
    limits : (float, float)
        Values at the two ends.
    colors : tuple of (r, g, b, a)
        Evenly spaced between them, 0 to 1.
    """

    title: str
    limits: tuple[float, float]
    colors: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class RunLayers:
    """The layers of a run, bottom to top, and the scale of the map that is shown first.

    Attributes
    ----------
    layers : tuple of LayerData
    scales : tuple of ColorScale
        One for each attention map and probability, attention first.
    """

    layers: tuple[LayerData, ...]
    scales: tuple[ColorScale, ...]


@dataclass(frozen=True)
class Results:
    """What layers show of a run, be it finished or going on.

    Attributes
    ----------
    rasters : tuple of RasterRecord
    classes : ClassTable
    mpp : (float, float)
        µm per level-0 pixel that the run uses.
    facts : dict
        Kept in the metadata of each layer: run, model, slide, fingerprint.
    levels : callable
        Returns the pyramid of a raster, finest first.
    """

    rasters: tuple[RasterRecord, ...]
    classes: ClassTable
    mpp: Pair
    facts: dict[str, Any]
    levels: Callable[[RasterRecord], list[Any]]


def run_layers(run: Run, slide_name: str) -> RunLayers:
    """Return the layers of a finished run, see `result_layers`."""
    record = run.record
    there = _there(run)
    results = Results(tuple(there), record.classes, record.mpp, run_facts(run), _corrected(run, there))
    shown = result_layers(results, slide_name)
    from napari_lumen.plugin.boxes import box_layers  # they stand on this module
    from napari_lumen.plugin.unread import unread_tiles

    stem = _stem(slide_name)
    hatched = unread_tiles(run, stem)
    late = [*([] if hatched is None else [hatched]), *box_layers(run, stem)]
    return RunLayers((*late, *shown.layers), shown.scales)


def _there(run: Run) -> dict[RasterRecord, list[Any]]:
    """Return the pyramids of the rasters that can be read; of others the user is told, the rest is shown.

    Raises
    ------
    RunError
        When there are none.
    """
    from napari_lumen.plugin import notices

    there: dict[RasterRecord, list[Any]] = {}
    problems: dict[str, RunError] = {}
    for raster in run.record.rasters:
        try:
            there[raster] = list(run.levels(raster))
        except RunError as error:
            problems.setdefault(raster.path, error)
    if not there:
        raise next(iter(problems.values()))
    for problem in problems.values():
        notices.warn(f"{problem} The rest of the result is shown.")
    return there


def _corrected(run: Run, there: Mapping[RasterRecord, list[Any]]) -> Callable[[RasterRecord], list[Any]]:
    """Return what gives the pyramids of a run, its labels with what people have corrected."""
    from napari_lumen.corrections import corrections_folder
    from napari_lumen.inference.corrected import corrected_labels
    from napari_lumen.plugin import notices

    def levels(raster: RasterRecord) -> list[Any]:
        if raster.kind == "labels" and corrections_folder(run.path).is_dir():
            try:
                return list(corrected_labels(run).levels)
            except RunError as error:  # of the corrections: what the model said can be shown all the same
                notices.warn(f"{error} The result is shown without corrections.")
        return there[raster]

    return levels


def run_facts(run: Run) -> dict[str, Any]:
    """Return what the metadata of each layer of a finished run says of the run."""
    record = run.record
    return {
        "run": str(run.path),
        "model": record.model,
        "slide": record.slide,
        "fingerprint": record.fingerprint,
    }


def result_layers(run: Results, slide_name: str) -> RunLayers:
    """Return the layers of a run: probabilities, attention maps, and the labels on top.

    Reads the coarsest level of each attention map, so call it off the GUI thread.

    Parameters
    ----------
    run : Results
    slide_name : str
        Of the slide's layer; starts the layers' names, its suffixes left out.
    """
    stem = _stem(slide_name)
    order = {"probability": 0, "attention": 1, "labels": 2}
    layers, scales = [], []
    shown: set[str] = set()
    for raster in sorted(run.rasters, key=lambda raster: order[raster.kind]):
        if raster.kind == "labels":
            layers.append(_labels(run, raster, stem))
            continue
        scale = _color_scale(run, raster)
        visible = raster.kind == "attention" and "attention" not in shown
        shown.add(raster.kind)
        layers.append(_map(run, raster, stem, scale, visible=visible))
        scales.append((order[raster.kind], scale))
    scales.sort(key=lambda pair: -pair[0])
    return RunLayers(tuple(layers), tuple(scale for _, scale in scales))


def _stem(slide_name: str) -> str:
    return slide_name.partition(".")[0] or slide_name


def _colormap(scale: ColorScale, kind: str) -> Colormap:
    """Return napari's colormap of a scale; what was not analysed (NaN) is clear.

    Its name is short: napari's controls, and with them its whole dock, are as wide as the longest.
    """
    from napari.utils.colormaps import Colormap

    return Colormap(np.asarray(scale.colors), name=f"lumen run {kind}", nan_color=(0, 0, 0, 0))


def class_colors(table: ClassTable) -> defaultdict[int | None, np.ndarray]:
    """Return the colour of each label value, RGBA in [0, 1]; background and unknown values are clear."""
    from collections import defaultdict

    colors: defaultdict[int | None, np.ndarray] = defaultdict(lambda: np.zeros(4))
    colors[None] = np.zeros(4)
    for item in table:
        colors[item.value] = np.array([*(channel / 255 for channel in item.color), 1.0])
    return colors


def class_features(table: ClassTable) -> dict[str, list[Any]]:
    """Return what the status bar says under the mouse, as napari's features."""
    return {
        "index": [0, *(item.value for item in table)],
        "class": ["background", *(item.name for item in table)],
    }


def placement(grid: Grid, mpp: Pair) -> dict[str, Any]:
    """Return where napari puts a grid: the keywords that every layer of ours has."""
    return {"scale": grid.scale(mpp), "translate": grid.translate(mpp), "units": MICROMETRES}


def _labels(run: Results, raster: RasterRecord, stem: str) -> LayerData:
    from napari.utils.colormaps import DirectLabelColormap

    names = ", ".join(item.name for item in run.classes)
    data, multiscale = _levels(run, raster)
    return (
        data,
        {
            "name": f"{stem} · {names}",
            "multiscale": multiscale,
            "colormap": DirectLabelColormap(color_dict=class_colors(run.classes)),
            "opacity": 0.9,
            "features": class_features(run.classes),
            **placement(_grid(raster), run.mpp),
            "metadata": {KEY: _facts(run, raster)},
        },
        "labels",
    )


def _map(run: Results, raster: RasterRecord, stem: str, scale: ColorScale, *, visible: bool) -> LayerData:
    data, multiscale = _levels(run, raster)
    return (
        data,
        {
            "name": f"{stem} · {_layer_title(raster, scale)}",
            "multiscale": multiscale,
            "rgb": False,
            "colormap": _colormap(scale, raster.kind),
            "contrast_limits": scale.limits,
            "interpolation2d": "nearest",  # a value belongs to the pixels that it was computed for
            "blending": "translucent",
            "visible": visible,
            **placement(_grid(raster), run.mpp),
            "metadata": {KEY: _facts(run, raster)},
        },
        "image",
    )


def _grid(raster: RasterRecord) -> Grid:
    from napari_lumen.inference.run import Run

    return Run.grid(raster)


def _levels(run: Results, raster: RasterRecord) -> tuple[Any, bool]:
    """Return a raster's data and whether it is a pyramid: napari takes no list of one level for Labels."""
    levels = run.levels(raster)
    return (levels, True) if len(levels) > 1 else (levels[0], False)


def _facts(run: Results, raster: RasterRecord) -> dict[str, Any]:
    own = {"kind": raster.kind, "raster": raster.name, "description": raster.description}
    return {**run.facts, **own, PLACED: (run.mpp, (0.0, 0.0))}


def _layer_title(raster: RasterRecord, scale: ColorScale) -> str:
    """Return a title that napari's list of layers has room for: a long one widens it."""
    from napari_lumen.explain.titles import short_title

    return short_title(raster.name) if raster.kind == "attention" else scale.title


def _color_scale(run: Results, raster: RasterRecord) -> ColorScale:
    if raster.kind == "probability":
        return ColorScale(f"probability of {raster.name}", (0.0, 1.0), _PROBABILITY)
    from napari_lumen.explain.colours import ATTENTION
    from napari_lumen.explain.distribution import Distribution
    from napari_lumen.explain.scaling import Scaling
    from napari_lumen.explain.titles import full_title

    spread = Distribution.of(np.asarray(run.levels(raster)[-1]))
    low, high, _ = Scaling().limits(spread)
    colors = tuple((red, green, blue, alpha * _VEIL) for red, green, blue, alpha in ATTENTION.colors)
    return ColorScale(full_title(raster.name), (low, high), colors)
