"""Drawing a figure of the shown map with the colours that it has on the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.annotations.decision import STATES
from napari_lumen.errors import RunError
from napari_lumen.explain.colours import Colormap
from napari_lumen.explain.distribution import Distribution
from napari_lumen.explain.figure import Frame, Shown, Style, figure
from napari_lumen.explain.scaling import Scaling

if TYPE_CHECKING:
    from napari_lumen.explain.drawing import Drawing
    from napari_lumen.geometry import Region
    from napari_lumen.plugin.controllers.attention_state import ChosenMap, Legend
    from napari_lumen.slides import Slide

_WIDTH = 1600  # px: 135 mm at 300 dpi, two columns of most journals
_MOST = 16_000_000  # values that are read
_COLORS = 512
_FILLS = 0.95  # of the view: a field that takes more needs no frame
_FIELD = (0, 90, 181)


@dataclass(frozen=True, slots=True)
class _AsShown(Scaling):
    """The limits of the layer, whatever they were chosen by."""

    shown: tuple[float, float] = (0.0, 1.0)
    said: str = ""

    def limits(
        self, values: Distribution, value_range: tuple[float, float] | None = None
    ) -> tuple[float, float, str]:
        return *self.shown, self.said


def as_shown(current: ChosenMap, legend: Legend | None) -> Style:
    """Return the style of the shown layer: also of what was changed by napari's own controls.

    Parameters
    ----------
    current : ChosenMap
    legend : Legend or None
        That says what the limits were chosen by; left out where they are others by now.
    """
    layer: Any = current.layer
    low, high = (float(limit) for limit in layer.contrast_limits)
    said = f"{low:.4g} to {high:.4g}, set by hand"
    if legend is not None and np.allclose(legend.limits, (low, high)):
        said = legend.said
    share = np.linspace(0, 1, _COLORS) ** layer.gamma
    colors = tuple(tuple(float(part) for part in color) for color in layer.colormap.map(share))
    return Style(
        _WIDTH,
        Colormap("as shown", colors),  # type: ignore[arg-type]  # four numbers each
        _AsShown(shown=(low, high), said=said),
        float(layer.opacity),
        "linear" if str(layer.interpolation2d) == "linear" else "nearest",
    )


def draw(slide: Slide, region: Region, current: ChosenMap, style: Style) -> Drawing:
    """Draw the shown map over a region of its slide.

    Raises
    ------
    RunError
        When nothing of the map or of the slide lies there.
    SlideError
        When the slide cannot be read there.
    """
    source, item = current.source, current.item
    if region.empty or item.region.intersect(region).empty:
        raise RunError("The view shows nothing of the map: move it there, or choose another map.")
    values, grid = item.read(region, _MOST)
    note = "" if item.comparable else "Normalised in each tile: values of two tiles cannot be compared."
    spread = Distribution.of(values[:0])
    states = current.name.endswith(STATES)
    shown = Shown(current.title, values, grid, spread, item.value_range, note, item.within, states)
    explained = source.explained
    frames = []
    made = f"{source.card.title}, one field."
    if explained is not None:
        inside = explained.region.intersect(region)
        if inside.height * inside.width < _FILLS * region.height * region.width:
            frames.append(Frame(explained.region, "The explained field", _FIELD))
    elif source.run is not None:
        made = f"{source.card.title}, run {source.run.path.name}."
    return figure(slide, region, shown, frames=frames, source=made, style=style)
