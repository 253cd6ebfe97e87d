"""What lies on a slide, and where: it moves with the slide when the pixel size becomes known or changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.geometry import Pair
from napari_lumen.plugin.layers import KEY, PLACED

if TYPE_CHECKING:
    from napari.layers import Layer


def facts_of(layer: Layer) -> dict[str, Any]:
    """Return what we keep of a layer; nothing of a layer that is not ours."""
    facts = layer.metadata.get(KEY)
    return facts if isinstance(facts, dict) else {}


def fingerprint_of(layer: Layer) -> str | None:
    """Return the fingerprint of the slide that a layer shows or is a result of."""
    fingerprint: str | None = facts_of(layer).get("fingerprint")
    return fingerprint


def is_slide(layer: Layer) -> bool:
    """Whether a layer shows a slide, or a channel of one."""
    facts = facts_of(layer)
    return facts.get("kind") == "slide" and "slide" in facts


def is_open(fingerprint: str, layers: Sequence[Layer]) -> bool:
    """Whether one of a viewer's layers shows the slide of a fingerprint."""
    return any(is_slide(layer) and fingerprint_of(layer) == fingerprint for layer in layers)


def is_result(layer: Layer) -> bool:
    """Whether a layer is of a run."""
    return "run" in facts_of(layer)


def step_of(layer: Layer) -> Pair:
    """Return world units per pixel of a layer, (y, x); of a slide's layer per level-0 pixel."""
    return float(layer.scale[-2]), float(layer.scale[-1])


def origin_of(layer: Layer) -> Pair:
    """Return where in the world the middle of a layer's first pixel lies, (y, x)."""
    return float(layer.translate[-2]), float(layer.translate[-1])


def lay_on(result: Layer, slide: Layer) -> None:
    """Lay a result on its slide as it is shown now, whatever pixel size the run was made with."""
    step, origin = step_of(slide), origin_of(slide)
    (down, across), (top, left) = facts_of(result)[PLACED]
    _transform(result, (step[0] / down, step[1] / across), (top, left), origin)
    result.metadata[KEY] = {**facts_of(result), PLACED: (step, origin)}
    result.units = slide.units


def stretch(layer: Layer, ratio: Pair) -> None:
    """Move and stretch a layer that was drawn, about the origin of the world."""
    _transform(layer, ratio, (0.0, 0.0), (0.0, 0.0))


def put_straight(layer: Layer) -> bool:
    """Take back what turns, shears or moves a layer beside its scale and place; False where nothing does."""
    axes = layer.ndim
    straight = True
    if not np.allclose(layer.rotate, np.eye(axes)):
        layer.rotate, straight = np.eye(axes), False
    if np.any(layer.shear):
        layer.shear, straight = np.zeros_like(layer.shear), False
    if not np.allclose(layer.affine.affine_matrix, np.eye(axes + 1)):
        layer.affine, straight = np.eye(axes + 1), False
    return not straight


def _transform(layer: Layer, ratio: Pair, origin: Pair, target: Pair) -> None:
    """Stretch a layer about a point of the world, and move that point to another."""
    leading = layer.ndim - 2
    ratios = np.array([1.0] * leading + list(ratio))
    first, last = (np.array([0.0] * leading + list(point)) for point in (origin, target))
    scale, translate = layer.scale * ratios, (layer.translate - first) * ratios + last
    if not np.array_equal(scale, layer.scale):  # napari draws anew at each
        layer.scale = scale
    if not np.array_equal(translate, layer.translate):
        layer.translate = translate


def drawn_on(slide: Layer, layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that are not ours but lie on a slide: shapes, points, labels of the user.

    Nothing in them says what they were drawn on. With one slide open it is that one; of several it is the
    topmost of those in view on which the whole layer lies.

    Parameters
    ----------
    slide : Layer
        Any of its layers.
    layers : sequence of Layer
        All of the viewer.
    """
    foreign = [layer for layer in layers if not facts_of(layer)]
    slides = [layer for layer in layers if is_slide(layer)]
    if len({fingerprint_of(item) for item in slides}) == 1:
        return foreign
    return [layer for layer in foreign if _below(layer, slides) == fingerprint_of(slide)]


def _below(layer: Layer, slides: Sequence[Layer]) -> str | None:
    """Return the fingerprint of the topmost slide in view on which a layer lies."""
    low, high = layer.extent.world[:, -2:]
    for slide in reversed(slides):
        first, last = slide.extent.world[:, -2:]
        if slide.visible and (first <= low).all() and (high <= last).all():
            return fingerprint_of(slide)
    return None
