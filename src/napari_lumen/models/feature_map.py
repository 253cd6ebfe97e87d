"""Feature maps: the vectors of a slide's patches, laid out as the patches lie on the slide.

The image that the slide's network segments (Takahama et al., ICCV 2019, section 3.1).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from napari_lumen.errors import ModelError


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Vectors of patches laid out as the patches lie on the slide (section 3.1).

    Attributes
    ----------
    values : Tensor
        (1, C, rows, columns), zero where there is no patch.
    cells : Tensor
        (N, 2), row and column of each patch on the map; beyond its edges for patches cropped off.
    inside : Tensor
        (N,) bool, False for patches cropped off.
    origin : (int, int)
        Row and column in the slide's grid of patches of the map's first cell; may be negative.
    """

    values: Tensor
    cells: Tensor
    inside: Tensor
    origin: tuple[int, int]

    def gather(self, values: Tensor) -> Tensor:
        """Return what a map (1, C, rows, columns) of this layout holds at the patches inside, (n, C).

        Raises
        ------
        ModelError
            When the map is of another layout.
        """
        if values.shape[2:] != self.values.shape[2:]:
            raise ModelError(
                f"The network made a map of {' x '.join(map(str, values.shape[2:]))} cells of one of "
                f"{' x '.join(map(str, self.values.shape[2:]))} patches: it must have a cell a patch. "
                "Correct the network or choose another model."
            )
        rows, columns = self.cells[self.inside].unbind(1)
        return values[0][:, rows, columns].T


def lumps(cells: Tensor) -> tuple[Tensor, ...]:
    """Split patches into lumps of tissue: those that touch by a side or a corner (section 4.1).

    Parameters
    ----------
    cells : Tensor
        (N, 2) integers, row and column of each patch in the slide's grid.

    Returns
    -------
    tuple of Tensor
        The indices of each lump's patches, ascending; lumps in the order of their first row.
    """
    if not len(cells):
        return ()
    rows, columns = (cells - cells.amin(dim=0)).cpu().long().unbind(1)
    occupied = torch.zeros(int(rows.max()) + 1, int(columns.max()) + 1, dtype=torch.bool)
    occupied[rows, columns] = True
    labels, _ = ndimage.label(occupied.numpy(), structure=torch.ones(3, 3).numpy())
    label = torch.from_numpy(labels)[rows, columns].long()
    order = label.argsort(stable=True).to(cells.device)
    return torch.split(order, label.bincount()[1:].tolist())


def lay_out(
    features: Tensor, cells: Tensor, shape: tuple[int, int] | None = None, *, multiple: int = 1
) -> FeatureMap:
    """Lay out vectors as their patches lie on the slide, the box around them centred.

    The gradient of the map reaches the vectors.

    Parameters
    ----------
    features : Tensor
        (N, C), one vector a patch.
    cells : Tensor
        (N, 2) integers, row and column of each patch in the slide's grid; no two patches share one.
    shape : (int, int), optional
        Rows and columns of the map; by default the smallest that hold all patches.
    multiple : int
        Of which the default's rows and columns are multiples.

    Raises
    ------
    ValueError
        When there is no patch, not one cell a vector, or two patches share one.

    Warns
    -----
    UserWarning
        When the patches do not fit: the map is then the middle of their box.
    """
    if not len(features) or cells.shape != (len(features), 2):
        raise ValueError(
            "a map needs one cell (row, column) for each of one or more vectors, not cells of shape "
            f"{tuple(cells.shape)} for {len(features)} vectors"
        )
    cells = cells.to(features.device, torch.long)
    first, last = cells.amin(dim=0).tolist(), cells.amax(dim=0).tolist()
    extent = last[0] - first[0] + 1, last[1] - first[1] + 1
    rows, columns = shape or (-(-extent[0] // multiple) * multiple, -(-extent[1] // multiple) * multiple)
    origin = first[0] - (rows - extent[0]) // 2, first[1] - (columns - extent[1]) // 2
    placed = cells - cells.new_tensor(origin)
    inside = ((placed >= 0) & (placed < placed.new_tensor((rows, columns)))).all(dim=1)
    index = (placed[:, 0] * columns + placed[:, 1])[inside]
    ordered = index.sort().values
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError("two patches share a cell; a map holds one vector a cell")
    if len(index) < len(features):
        warnings.warn(
            f"{len(features) - len(index)} of {len(features)} patches lie beyond the map of {rows} x "
            f"{columns} cells and are left out: the tissue covers {extent[0]} x {extent[1]}.",
            stacklevel=3,
        )
    flat = features.new_zeros(rows * columns, features.shape[1]).index_copy(0, index, features[inside])
    return FeatureMap(flat.view(1, rows, columns, -1).permute(0, 3, 1, 2), placed, inside, origin)


def mean_per_cell(probability: Tensor, size: int) -> Tensor:
    """Score patches by a map of pixels: the mean over each patch's footprint.

    Makes the map of Segmentation Only comparable with those of patches; there the slide is reduced to 1/8
    and a patch covers 32 pixels.

    Parameters
    ----------
    probability : Tensor
        (N, C, H, W).
    size : int
        Pixels of the map along a side of a patch.

    Returns
    -------
    Tensor
        (N, C, rows, columns); the last row and column are means over what there is of them.
    """
    return F.avg_pool2d(probability, size, ceil_mode=True)
