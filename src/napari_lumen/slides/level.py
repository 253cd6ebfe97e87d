"""What a slide is made of: stored levels on the level-0 frame, and channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from napari_lumen.geometry import Grid, Pair, Window, snap_downsample

LARGEST_SIDE = 10_000_000  # px: some metres; no slide is as long
TILE = 256  # px, where a backend does not say how its pixels are stored
_COLORS = (
    (0, 0, 255),
    (0, 255, 0),
    (255, 0, 0),
    (0, 255, 255),
    (255, 0, 255),
    (255, 255, 0),
    (255, 255, 255),
)


@dataclass(frozen=True, slots=True)
class Level:
    """One stored level of a slide.

    Attributes
    ----------
    shape : (int, int)
        Height and width, px.
    downsample : (float, float)
        Level-0 pixels per pixel, (y, x), snapped as `snap_downsample` says.
    tile : (int, int)
        Height and width of the tiles that it is decoded in, px.
    """

    shape: tuple[int, int]
    downsample: Pair
    tile: tuple[int, int] = (TILE, TILE)

    @property
    def grid(self) -> Grid:
        """The level laid on the level-0 frame."""
        return Grid(self.shape, self.downsample)

    def cells(self, window: Window) -> Iterator[tuple[int, int, Window]]:
        """Yield row, column and the part inside `window` of each tile that it touches."""
        height, width = self.tile
        for row in range(window.y // height, -(-(window.y + window.height) // height)):
            for column in range(window.x // width, -(-(window.x + window.width) // width)):
                yield row, column, window.intersect(Window(row * height, column * width, height, width))


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a slide that is not RGB.

    Attributes
    ----------
    name : str
    color : (int, int, int)
        In which it is shown, 0 to 255.
    """

    name: str
    color: tuple[int, int, int] = (255, 255, 255)


def default_color(index: int, count: int) -> tuple[int, int, int]:
    """Return the colour of a channel, 0 to `count` - 1, that states none: white alone, else of a palette."""
    return (255, 255, 255) if count == 1 else _COLORS[index % len(_COLORS)]


def levels_from_shapes(
    shapes: Sequence[tuple[int, int]], tiles: Sequence[tuple[int, int]] | None = None
) -> tuple[Level, ...]:
    """Return the levels of a pyramid from their shapes and tiles (height, width), finest first."""
    base = shapes[0]
    return tuple(
        Level(shape, (snap_downsample(base[0], shape[0]), snap_downsample(base[1], shape[1])), tile)
        for shape, tile in zip(shapes, tiles or [(TILE, TILE)] * len(shapes), strict=True)
    )
