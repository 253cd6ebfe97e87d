"""The synthetic slide: any window of it, its truth and its nuclei, drawn when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.geometry import Window
from napari_lumen.slides.synthetic import inclusions
from napari_lumen.slides.synthetic.bodies import BodyPainter
from napari_lumen.slides.synthetic.cache import Recent
from napari_lumen.slides.synthetic.cells import cell_map
from napari_lumen.slides.synthetic.fields import MARGIN, NODES, FieldMaker, Fields
from napari_lumen.slides.synthetic.glands import Glands
from napari_lumen.slides.synthetic.layout import Layout
from napari_lumen.slides.synthetic.noise import derive
from napari_lumen.slides.synthetic.nuclei import LARGEST, NucleusMaker, Numbering, Records, survivors
from napari_lumen.slides.synthetic.paint import Canvas, Painter
from napari_lumen.slides.synthetic.render import HALO, Scanner
from napari_lumen.slides.synthetic.stamps import Stamps, rasterise
from napari_lumen.slides.synthetic.truth import REGIONS, Nucleus, Truth, label, regions

Block = tuple[int, int]
Values = TypeVar("Values", bound=np.generic)


class SyntheticSlide:
    """A haematoxylin and eosin slide that is drawn, window by window, from a seed.

    The slide is cut into square blocks of `block` pixels (about 256 µm). A block is always drawn as a whole
    and depends on the seed and its place alone, so a window's pixels do not depend on how windows are cut.
    Only the blocks drawn last are held. Lengths are in µm: the same seed at another `mpp` shows the same
    tissue. Safe to read from many threads.

    A slide of 512 µm (1024 px at 0.5 µm per pixel) or more a side has in situ and invasive carcinoma, a
    lymphoid follicle, fat and stroma, and nuclei of all four classes; on a small slide these fields shrink
    with it. What may not fit: on a slide of less than about 1.5 mm a side, a whole gland (the few epithelial
    nuclei are then the rim of the carcinoma in situ); of less than 1 mm, a tumour with a 128 µm patch
    that sees only what in situ and invasive tumour have in common (at 512 µm the two differ all through). A
    side of less than 512 µm leaves whatever part of all this the seed draws. A slide of more than 13 mm is
    cut into islands of tissue, some left out by chance; with only a few islands a field may go with them.

    Parameters
    ----------
    height, width : int
        Size in level-0 pixels.
    mpp : float
        µm per pixel.
    seed : int
        Two slides of one seed, size and mpp are the same, pixel for pixel.
    swap_context : bool
        Make every carcinoma in situ invasive and the reverse. The tumour itself, deeper than 90 µm below its
        border, keeps every pixel: the proof that only the surroundings tell the two apart.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    block : int
        Side of a block in pixels; windows that follow blocks are the cheapest to read.
    """

    def __init__(
        self, height: int, width: int, mpp: float = 0.5, seed: int = 0, *, swap_context: bool = False
    ) -> None:
        if height <= 0 or width <= 0:
            raise ValueError(f"a slide needs a height and width above 0, not {height} x {width}")
        if not 0.05 <= mpp <= 4:
            raise ValueError(f"mpp must be between 0.05 and 4 µm per pixel, not {mpp}")
        self.shape = height, width
        self.mpp = float(mpp)
        self.seed = seed
        self._step = max(1, round(2 / mpp))
        self.block = NODES * self._step
        self._layout = layout = Layout(height * mpp, width * mpp, derive(seed, 1), swap_context)
        glands = Glands(layout, derive(seed, 2))
        self._make_fields = FieldMaker(layout, glands, derive(seed, 3))
        self._make_nuclei = NucleusMaker(glands, Numbering(height * mpp, width * mpp), derive(seed, 4))
        self._painter = Painter(derive(seed, 5))
        self._bodies = BodyPainter(derive(seed, 5))
        self._scanner = Scanner(mpp, derive(seed, 6))
        self._fields: Recent[Block, Fields] = Recent(24)
        self._candidates: Recent[Block, Records] = Recent(1500)
        self._survivors: Recent[Block, Records] = Recent(1500)
        self._pixels: Recent[Block, NDArray[np.uint8]] = Recent(24)
        self._truths: Recent[Block, Truth] = Recent(8)

    def read(self, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return the pixels of a window.

        Parameters
        ----------
        y, x, height, width : int
            Level-0 pixels; may reach beyond the slide.

        Returns
        -------
        ndarray (height, width, 3) uint8
            RGB; white (255) outside the slide.
        """
        window = Window(y, x, height, width)
        return self._gather(window, np.full((height, width, 3), 255, np.uint8), self._draw)

    def truth(self, y: int, x: int, height: int, width: int) -> Truth:
        """Return instance, class and region labels of a window; 0 outside the slide."""
        window = Window(y, x, height, width)
        return Truth(
            self._gather(window, np.zeros((height, width), np.int64), lambda at: self._truth(at).instances),
            self._gather(window, np.zeros((height, width), np.uint8), lambda at: self._truth(at).classes),
            self._gather(window, np.zeros((height, width), np.uint8), lambda at: self._truth(at).regions),
        )

    def regions(self, y: int, x: int, height: int, width: int) -> list[Annotation]:
        """Return the regions of tissue in a window, one annotation for each connected region.

        The outlines run along pixel edges in level-0 pixels, end at the window's edges, and enclose exactly
        the pixels of ``truth(...).regions``.
        """
        labels = self.truth(y, x, height, width).regions
        found = []
        for value, polygon in polygonise(labels, origin=(y, x)):
            item = REGIONS[value]
            found.append(Annotation(polygon, item.name, item.color, object_type="annotation"))
        return found

    def nuclei(self, y: int, x: int, height: int, width: int) -> list[Nucleus]:
        """Return the nuclei whose centres lie in a window, by rising number."""
        found = []
        for block in self._blocks(Window(y, x, height, width)):
            for record in self._survivors_of(block):
                centre = float(record["y"]) / self.mpp, float(record["x"]) / self.mpp
                if not (y <= centre[0] < y + height and x <= centre[1] < x + width):
                    continue
                axes = float(record["a"]) / self.mpp, float(record["b"]) / self.mpp
                angle = float(record["angle"])
                if axes[0] < axes[1]:
                    axes, angle = axes[::-1], angle + np.pi / 2
                found.append(Nucleus(int(record["id"]), int(record["kind"]), *centre, axes, angle % np.pi))
        return sorted(found, key=lambda nucleus: nucleus.id)

    def _blocks(self, window: Window) -> list[Block]:
        inside = window.intersect(Window(0, 0, *self.shape))
        if not inside.height or not inside.width:
            return []
        rows = range(inside.y // self.block, -(-(inside.y + inside.height) // self.block))
        columns = range(inside.x // self.block, -(-(inside.x + inside.width) // self.block))
        return [(row, column) for row in rows for column in columns]

    def _gather(
        self, window: Window, out: NDArray[Values], make: Callable[[Block], NDArray[Values]]
    ) -> NDArray[Values]:
        slide = Window(0, 0, *self.shape)
        for row, column in self._blocks(window):
            place = Window(row * self.block, column * self.block, self.block, self.block)
            common = place.intersect(window).intersect(slide)
            source = Window(common.y - place.y, common.x - place.x, common.height, common.width)
            target = Window(common.y - window.y, common.x - window.x, common.height, common.width)
            out[target.slices] = make((row, column))[source.slices]
        return out

    def _fields_of(self, block: Block) -> Fields:
        top, left = (side * self.block * self.mpp for side in block)
        return self._fields.get(block, lambda: self._make_fields(top, left, self._step * self.mpp))

    def _candidates_of(self, block: Block) -> Records:
        size = self.block * self.mpp
        top, left = block[0] * size, block[1] * size
        return self._candidates.get(
            block, lambda: self._make_nuclei.candidates(self._fields_of(block), top, left, size)
        )

    def _survivors_of(self, block: Block) -> Records:
        def make() -> Records:
            around = [self._candidates_of(near) for near in _square(block)]
            return survivors(around[4], np.concatenate(around))

        return self._survivors.get(block, make)

    def _nuclei_around(self, block: Block, halo: float) -> Records:
        """Nuclei that may cover a pixel of a block or of a halo (µm) around it."""
        around = np.concatenate([self._survivors_of(near) for near in _square(block)])
        size, reach = self.block * self.mpp, LARGEST + halo
        keep = np.ones(len(around), bool)
        for axis, number in zip(("y", "x"), block, strict=True):
            keep &= (around[axis] > number * size - reach) & (around[axis] < (number + 1) * size + reach)
        around = around[keep]
        return around[np.argsort(around["id"], kind="stable")]

    def _canvas(self, block: Block, halo: int, cells: bool = False) -> Canvas:
        side = self.block + 2 * halo
        top, left = (number * self.block - halo for number in block)
        fields = self._fields_of(block)
        drawn = cell_map(fields, self._nuclei_around(block, 60.0)) if cells else None
        return Canvas.of(fields, top, left, side, side, self.mpp, drawn)

    def _stamp(self, records: Records, block: Block, halo: int) -> Stamps:
        side = self.block + 2 * halo
        return rasterise(
            records, block[0] * self.block - halo, block[1] * self.block - halo, side, side, self.mpp
        )

    def _draw(self, block: Block) -> NDArray[np.uint8]:
        return self._pixels.get(block, lambda: self._render(block))

    def _render(self, block: Block) -> NDArray[np.uint8]:
        if self._fields_of(block).glass:
            canvas = self._canvas(block, HALO)
            return self._scanner(None, canvas.y, canvas.x, block)
        canvas = self._canvas(block, HALO, cells=True)
        stain = self._painter.tissue(canvas)
        # Vacuoles and vessels come from lattices evaluated over the tile and its margin.
        margin = (MARGIN - 2) * self._step * self.mpp
        size = self.block * self.mpp
        box = block[0] * size - margin, block[1] * size - margin, size + 2 * margin
        lumina, cells = inclusions.vessels(canvas.fields, derive(self.seed, 7), *box)
        for bodies in (lumina, inclusions.vacuoles(canvas.fields, derive(self.seed, 8), *box)):
            self._bodies.holes(stain, self._stamp(bodies, block, HALO), bodies)
        self._bodies.red_cells(stain, self._stamp(cells, block, HALO), cells)
        records = self._nuclei_around(block, HALO * self.mpp)
        bodies = inclusions.cytoplasm(records)
        self._bodies.cytoplasm(stain, self._stamp(bodies, block, HALO), bodies)
        self._bodies.nuclei(canvas, stain, self._stamp(records, block, HALO), records)
        return self._scanner(stain, canvas.y, canvas.x, block)

    def _truth(self, block: Block) -> Truth:
        return self._truths.get(block, lambda: self._know(block))

    def _know(self, block: Block) -> Truth:
        if self._fields_of(block).glass:
            side = self.block, self.block
            return Truth(np.zeros(side, np.int64), np.zeros(side, np.uint8), np.zeros(side, np.uint8))
        canvas = self._canvas(block, 0)
        records = self._nuclei_around(block, self.mpp)
        instances, classes = label(self._stamp(records, block, 1), records)
        return Truth(instances, classes, regions(canvas, self._painter.edge(canvas)))


def _square(block: Block) -> list[Block]:
    """Return the 3 x 3 blocks around a block; it is the fifth."""
    return [(block[0] + i, block[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
