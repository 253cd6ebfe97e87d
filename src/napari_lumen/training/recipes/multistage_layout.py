"""The maps of slides: which patches lie on each, their labels, and their vectors once these are known."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from napari_lumen.models.card import SlideMap as Layout
from napari_lumen.models.feature_map import FeatureMap, lay_out, lumps
from napari_lumen.models.multistage import MultiStage
from napari_lumen.training.data.patch_rules import PatchLabel
from napari_lumen.training.losses.masked import NO_LABEL
from napari_lumen.training.recipes.multistage_reading import PatchView, mini_batches
from napari_lumen.training.recipes.multistage_slides import SlideSet
from napari_lumen.training.turn import Turn


@dataclass(frozen=True)
class SlideMap:
    """The patches of one map.

    Attributes
    ----------
    name : str
        Of the slide.
    slide : int
        Its number.
    cells : Tensor
        (N, 2), row and column of each patch.
    labels : Tensor
        (N,) int64: 0 normal, 1 tumour, -100 no label.
    """

    name: str
    slide: int
    cells: Tensor
    labels: Tensor

    def laid_out(self, vectors: Tensor, side: int) -> FeatureMap:
        """Return vectors (N, C) of the patches on a map of `side` x `side` cells."""
        return lay_out(vectors, self.cells, (side, side))

    def within(self, side: int) -> SlideMap:
        """Return the patches that such a map holds; it warns where it does not hold all."""
        inside = self.laid_out(torch.zeros(len(self.cells), 1), side).inside
        return replace(self, cells=self.cells[inside], labels=self.labels[inside])


def labels_on(laid_out: FeatureMap, labels: Tensor) -> Tensor:
    """Return labels (N,) of laid out patches as a map (rows, columns), -100 where there is no patch."""
    target = torch.full(laid_out.values.shape[-2:], NO_LABEL, dtype=torch.long)
    rows, columns = laid_out.cells[laid_out.inside].cpu().unbind(1)
    target[rows, columns] = labels[laid_out.inside.cpu()]
    return target


def slide_maps(slides: SlideSet, indices: Sequence[int], layout: Layout) -> list[SlideMap]:
    """Return the maps of some slides: one a slide, or one for each lump of tissue; none without patches."""
    found = []
    for index in indices:
        labels = torch.from_numpy(slides.cells(index).astype(np.int64))
        cells = (labels != PatchLabel.NO_PATCH).nonzero()
        groups = lumps(cells) if layout == "lumps" else (torch.arange(len(cells)),)
        for group in groups:
            if len(group):
                rows, columns = cells[group].unbind(1)
                name = slides.items[index].name
                found.append(SlideMap(name, index, cells[group], labels[rows, columns]))
    return found


def training_maps(slides: SlideSet, indices: Sequence[int], layout: Layout, side: int) -> list[SlideMap]:
    """Return the maps of some slides, each with what a map of `side` x `side` cells holds of it."""
    within = (one.within(side) for one in slide_maps(slides, indices, layout))
    return [one for one in within if len(one.cells)]  # of a ring of tissue the middle may be empty


def vectors_of(
    model: MultiStage, slides: SlideSet, one: SlideMap, view: PatchView, size: int, turn: Turn
) -> Tensor:
    """Return the vectors (N, C) of the middles of a map's patches, without a graph, in float32 at least.

    Parameters
    ----------
    model : MultiStage
        In evaluation mode.
    slides : SlideSet
    one : SlideMap
    view : PatchView
    size : int
        Patches of a mini-batch.
    turn : Turn
        Of the training; asked for cancel between mini-batches.
    """
    cells = one.cells.tolist()
    found = []
    for _, patches in mini_batches(
        lambda number: view.whole(slides.read(one.slide, *cells[number])), len(cells), size
    ):
        turn.check()
        with torch.no_grad(), turn.autocast():
            found.append(full_precision(model.patch_features(on_device(patches, model, turn))))
    return torch.cat(found)


def on_device(patches: Tensor, model: MultiStage, turn: Turn) -> Tensor:
    """Return patches where the model is, in its precision."""
    return patches.to(turn.device, next(model.parameters()).dtype)


def full_precision(vectors: Tensor) -> Tensor:
    """Return vectors in float32, or in float64 where they are."""
    return vectors if vectors.dtype == torch.float64 else vectors.float()


class KeptVectors:
    """The vectors of maps, in float32 in a file that the system deletes: no memory but for its cache of it.

    16 numbers a patch take 64 bytes; a thousand slides of 10,000 patches take 640 MB of disk.

    Parameters
    ----------
    maps : sequence of SlideMap
    width : int
        Length of a vector.
    """

    def __init__(self, maps: Sequence[SlideMap], width: int) -> None:
        self._ends = np.cumsum([len(one.cells) for one in maps]).tolist()
        with tempfile.TemporaryFile(prefix="napari-lumen-vectors-") as file:
            self._values = np.memmap(file, np.float32, "w+", shape=(self._ends[-1], width))

    def put(self, number: int, vectors: Tensor) -> None:
        """Keep the vectors (N, C) of a map."""
        self._values[self._place(number)] = vectors.float().cpu().numpy()

    def get(self, number: int) -> Tensor:
        """Return the vectors (N, C) of a map."""
        return torch.from_numpy(np.array(self._values[self._place(number)]))

    def _place(self, number: int) -> slice:
        return slice(self._ends[number - 1] if number else 0, self._ends[number])
