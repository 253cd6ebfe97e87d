"""The layer of a map in the Attention panel: by the edges of its cells, at its own resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.decision import DECISION, STATES
from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.plugin import notices
from napari_lumen.plugin.layers import KEY, PLACED
from napari_lumen.plugin.placing import origin_of, step_of

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.utils.colormaps import Colormap

    from napari_lumen.explain.run_map import RunMap
    from napari_lumen.plugin.attention_source import MapSource
    from napari_lumen.plugin.controllers.attention_state import Look

MAP = "map"  # kind in a layer's facts
COMPARED = "compared"  # in the facts of a map that stands beside another
NO_LABEL = -1.0  # the value of what has none, in a map in the colours of a decision
STATE_LIMITS = (NO_LABEL, 1.0)
_HELD_WHOLE = 1 << 20  # values of a level that is kept: napari reads the coarsest at each move


class MapLevel:
    """A level of a map as napari wants arrays: read where it is looked at.

    napari takes the ratio of two levels' sides for how much coarser one is, so every level is as large as
    the coarsest makes it, filled up with NaN: then that ratio is the power of two that it is.

    Parameters
    ----------
    item : RunMap
    level : int
    ends : (float, float), optional
        Of a map in the colours of a decision: lower and right edge of the slide, level-0 px. Up to there what
        has no value is `NO_LABEL`.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, item: RunMap, level: int, ends: Pair | None = None) -> None:
        grid = item.grids[level]
        self._ends = None if ends is None else grid.window_of(Region(0, 0, *ends))
        self._item = item
        self._level = level
        last = len(item.grids) - 1
        rows, columns = item.grids[last].shape
        self.shape = (rows << (last - level), columns << (last - level))
        self.size = self.shape[0] * self.shape[1]
        self._warned = False

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        parts = key if isinstance(key, tuple) else (key,)
        spans = [_span(part, side) for part, side in zip((*parts, slice(None))[:2], self.shape, strict=True)]
        window = Window(spans[0][0], spans[1][0], *(max(0, stop - start) for start, stop in spans))
        values = self._read(window)
        whole = tuple(0 if isinstance(part, (int, np.integer)) else slice(None) for part in parts)
        return np.asarray(values[whole])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.float32]:
        return self[:, :]

    def _read(self, window: Window) -> npt.NDArray[np.float32]:
        values = np.full((window.height, window.width), np.nan, np.float32)
        inside = window.intersect(Window(0, 0, *self._item.grids[self._level].shape))
        if min(inside.height, inside.width) > 0:
            place = Window(inside.y - window.y, inside.x - window.x, inside.height, inside.width)
            try:
                values[place.slices] = self._item.reader(self._level, inside)
                self._label(values, window)
            except RunError as error:
                if not self._warned:  # napari reads it again at each move
                    self._warned = True
                    notices.warn(str(error))
        return values

    def _label(self, values: npt.NDArray[np.float32], window: Window) -> None:
        """Mark what of the slide has no value."""
        known = None if self._ends is None else window.intersect(self._ends)
        if known is not None and min(known.height, known.width) > 0:
            part = values[Window(known.y - window.y, known.x - window.x, known.height, known.width).slices]
            part[np.isnan(part)] = NO_LABEL


def _span(part: Any, side: int) -> tuple[int, int]:
    if isinstance(part, slice):
        start, stop, _ = part.indices(side)
        return start, stop
    return int(part), int(part) + 1


def levels_of(item: RunMap, ends: Pair | None = None) -> list[Any]:
    """Return the pyramid of a map, finest first; small levels from memory. `ends` are those of `MapLevel`."""
    levels: list[Any] = [MapLevel(item, index, ends) for index in range(len(item.grids))]
    return [level if level.size > _HELD_WHOLE else np.asarray(level) for level in levels]


def map_layer(
    source: MapSource, item: RunMap, slide: Layer, look: Look, limits: tuple[float, float], stem: str
) -> Image:
    """Return a map as an image laid on its slide, always as a pyramid, so that another can take its place.

    Parameters
    ----------
    source : MapSource
    item : RunMap
    slide : Layer
    look : Look
        Its colormap may be `STATES`.
    limits : (float, float)
        Values at the two ends of the colours.
    stem : str
        Starts the layer's name.
    """
    from napari.layers import Image

    levels = levels_of(item, _ends(slide) if look.colormap == STATES else None)
    scale, translate = _placed(item, levels, slide)
    layer = Image(
        levels,
        multiscale=True,
        name=f"{stem} · {_layer_title(item)}",
        rgb=False,
        cache=False,  # blocks are kept already
        colormap=napari_colormap(look.colormap),
        contrast_limits=limits,
        gamma=look.gamma,
        opacity=look.opacity,
        interpolation2d=look.interpolation,
        blending="translucent",
        metadata={KEY: _facts(source, item, slide)},
        scale=scale,
        translate=translate,
        units=slide.units,
        experimental_clipping_planes=_ends_of(item),
    )
    layer.editable = False
    return layer


def replace_map(
    layer: Any,
    source: MapSource,
    item: RunMap,
    slide: Layer,
    look: Look,
    limits: tuple[float, float],
    stem: str,
) -> None:
    """Show another map in a layer of `map_layer`: removing one and adding another takes ten times as long.

    The parameters are those of `map_layer`.
    """
    levels = levels_of(item, _ends(slide) if look.colormap == STATES else None)
    scale, translate = _placed(item, levels, slide)
    layer.data = levels
    if not np.array_equal(layer.scale, scale):
        layer.scale = scale
    if not np.array_equal(layer.translate, translate):
        layer.translate = translate
    planes = _ends_of(item)
    if planes or layer.experimental_clipping_planes:
        layer.experimental_clipping_planes = planes
    layer.name = f"{stem} · {_layer_title(item)}"
    layer.metadata[KEY] = _facts(source, item, slide)
    colormap = napari_colormap(look.colormap)
    if layer.colormap.name != colormap.name:
        layer.colormap = colormap
    layer.gamma, layer.interpolation2d = look.gamma, look.interpolation
    set_limits(layer, limits)
    if not layer.visible:
        layer.visible = True


def set_limits(layer: Any, limits: tuple[float, float]) -> None:
    """Set the values at the two ends of a layer's colours."""
    if tuple(layer.contrast_limits) != limits:
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits


def _ends(slide: Layer) -> Pair:
    height, width = slide.extent.data[1][-2:] + 1
    return float(height), float(width)


def _placed(item: RunMap, levels: list[Any], slide: Layer) -> tuple[Pair, Pair]:
    """Return scale and translation of a map on its slide as that is shown now."""
    grid = Grid(levels[0].shape, item.grid.step, item.grid.origin)
    step, origin = step_of(slide), origin_of(slide)
    y, x = grid.translate(step)
    return grid.scale(step), (y + origin[0], x + origin[1])


def _ends_of(item: RunMap) -> list[dict[str, Any]]:
    """Return where a field ends inside the map's last cells, as napari's planes, in pixels of the layer.

    napari (0.9) draws images of two dimensions whole all the same, see `widgets.attention_edges`.
    """
    if item.within is None:
        return []
    grid = item.grid
    bottom = (item.within.bottom - grid.origin[0]) / grid.step[0] - 0.5
    right = (item.within.right - grid.origin[1]) / grid.step[1] - 0.5
    return [
        {"position": (0, bottom, 0), "normal": (0, -1, 0)},
        {"position": (0, 0, right), "normal": (0, 0, -1)},
    ]


def _layer_title(item: RunMap) -> str:
    """Return a title that napari's list of layers has room for."""
    from napari_lumen.explain.titles import short_title

    own = item.kind == "attention" and ".channel." not in item.name
    return short_title(item.name) if own else item.title


def _facts(source: MapSource, item: RunMap, slide: Layer) -> dict[str, Any]:
    return {
        "kind": MAP,
        "map": item.name,
        "fingerprint": source.fingerprint,
        "description": item.description,
        PLACED: (step_of(slide), origin_of(slide)),
    }


def napari_colormap(name: str) -> Colormap:
    """Return napari's colormap of a name of `explain.colours`, clear without a value, or of `STATES`."""
    from napari.utils.colormaps import Colormap

    from napari_lumen.explain.colours import colormap

    if name == STATES:  # over STATE_LIMITS: steps half-way from no label to nothing, and at one half
        return Colormap(
            np.array([(*state.color, 255) for state in reversed(DECISION)]) / 255,
            controls=np.array([0.0, 0.25, 0.75, 1.0]),
            interpolation="zero",
            name="lumen decision",
            nan_color=(0, 0, 0, 0),
        )
    return Colormap(np.asarray(colormap(name).colors), name=f"lumen {name}", nan_color=(0, 0, 0, 0))
