"""Key instances of an image: boxes around its strongest attention, and the crops of them.

The localisation half of the fusion module of Fan et al. (Fig. 2): the attention map is thresholded, and
the patches it leaves are cut out of the image at full resolution and resized. Nothing here has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from napari_lumen.errors import ModelError
from napari_lumen.models.arguments import check_counts
from napari_lumen.models.attention import AttentionPoint

LEAST_SIDE = 1 / 7  # of the image: one position of the 7x7 map of ResNet at 224 px
_MOST = 1_000  # instances of an image, far beyond what a 7x7 map can tell apart
_FLAT = 1e-5  # relative height below which a map is flat, and its relief rounding noise of the resizing

# 8-connected within each map of a stack, not connected between maps
_NEIGHBOURS = np.zeros((3, 3, 3), dtype=bool)
_NEIGHBOURS[1] = True


def resize(image: Tensor, size: int) -> Tensor:
    """Resize images (N, C, h, w) to (N, C, size, size), bilinear and antialiased, aspect not kept."""
    if image.shape[-2:] == (size, size):
        return image
    # in float32: the CPU antialiases in no other type
    resized = F.interpolate(image.float(), size=(size, size), mode="bilinear", antialias=True)
    return resized.to(image.dtype)


def above(values: Tensor, threshold: float) -> Tensor:
    """Return where values lie above a threshold, as 0 and 1 in float32."""
    return (values > threshold).to(torch.float32)


class InstanceSelection(nn.Module):
    """Boxes around the connected regions of strongest attention.

    Parameters
    ----------
    count : int
        Instances kept of each image, K.
    threshold : float
        In [0, 1): positions whose attention, min-max normalised over the image, lies above it are selected.
    margin : float
        Added to a region on each of its four sides, as a fraction of its height or width.
    size : int
        Side of the grid to which the map is enlarged before it is thresholded, px.
    least_side : float
        Of a box, as a fraction of the image: in (0, 1].
    point : AttentionPoint, optional
        Where the normalised maps (N, 1, size, size) pass, to be recorded.

    Notes
    -----
    Regions are 8-connected and ranked by the sum of their normalised attention over the grid. A box that is
    smaller than `least_side` grows around its centre, and is moved inside where it would pass the edge. A
    flat map selects the whole image, with score 0.
    """

    def __init__(
        self,
        count: int = 4,
        threshold: float = 0.5,
        margin: float = 0.1,
        size: int = 224,
        least_side: float = LEAST_SIDE,
        point: AttentionPoint | None = None,
    ) -> None:
        super().__init__()
        check_counts(most=_MOST, instances=count)
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1, not {threshold}")
        if not 0 <= margin < math.inf:
            raise ValueError(f"margin must be a number of 0 or more, not {margin}")
        if not 0 < least_side <= 1:
            raise ValueError(f"least_side must be above 0 and at most 1, not {least_side}")
        self.least_side = least_side
        self.point = point or AttentionPoint()
        self.count = count
        self.threshold = threshold
        self.margin = margin
        self.size = size

    def normalise(self, omega: Tensor) -> Tensor:
        """Enlarge attention maps and scale each to [0, 1]; above `threshold` they are the instance mask.

        Parameters
        ----------
        omega : Tensor
            (N, 1, h, w), any range, any device.

        Returns
        -------
        Tensor
            float32 (N, size, size) on the CPU; 0 everywhere for a flat map.
        """
        # moved before it is enlarged: the one wait for the device, for a few positions an image
        coarse = omega.detach().to("cpu", torch.float32)
        fine = F.interpolate(coarse, size=(self.size, self.size), mode="bilinear")[:, 0]
        low, high = fine.amin(dim=(1, 2), keepdim=True), fine.amax(dim=(1, 2), keepdim=True)
        has_relief = high - low > _FLAT * torch.maximum(low.abs(), high.abs())
        return torch.where(has_relief, (fine - low) / (high - low), 0.0)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch has no types there
    def forward(self, omega: Tensor) -> Tensor:
        """Select the instances of attention maps.

        Parameters
        ----------
        omega : Tensor
            (N, 1, h, w).

        Returns
        -------
        Tensor
            float32 (N, K, 5) on the CPU, best first: top, left, bottom, right as fractions of the image's
            sides, and the score; NaN where a slot is unused. The first slot is always used.

        Raises
        ------
        ModelError
            When the network is being exported.
        """
        if torch.compiler.is_compiling():
            raise ModelError(
                "Gated attention cannot be exported: how many instances it crops depends on the image. "
                "Keep it as a model folder instead."
            )
        whole = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0])
        if omega.is_meta:  # without values work is counted, of which every slot used is the most
            return whole.repeat(len(omega), self.count, 1)
        values = self.point(self.normalise(omega)[:, None])[:, 0].numpy()
        labels, found = ndimage.label(values > self.threshold, structure=_NEIGHBOURS)
        scores = np.bincount(labels.ravel(), weights=values.ravel(), minlength=found + 1)[1:]
        spans = np.array(
            [[(axis.start, axis.stop) for axis in region] for region in ndimage.find_objects(labels)],
            dtype=np.int64,
        ).reshape(found, 3, 2)  # of each region: image, rows and columns, first and behind the last
        regions = np.column_stack([self._boxes(spans[:, 1:] / self.size), scores])
        boxes = torch.full((len(omega), self.count, 5), math.nan)
        boxes[:, 0] = whole
        for image in np.unique(spans[:, 0, 0]):
            own = regions[spans[:, 0, 0] == image]
            best = own[np.argsort(-own[:, 4], kind="stable")[: self.count]]
            boxes[image, : len(best)] = torch.from_numpy(best).float()
        return boxes

    def _boxes(self, spans: np.ndarray) -> np.ndarray:
        """Return top, left, bottom, right (B, 4) of regions (B, 2 axes, first and last edge), fractions."""
        first, last = spans[..., 0], spans[..., 1]
        added = self.margin * (last - first)
        first, last = (first - added).clip(min=0), (last + added).clip(max=1)
        side = np.maximum(last - first, self.least_side)
        first = ((first + last - side) / 2).clip(0, 1 - side)
        return np.concatenate([first, (first + side).clip(max=1)], axis=1)


def crop_instances(image: Tensor | Sequence[Tensor], boxes: Tensor, size: int) -> tuple[Tensor, list[int]]:
    """Cut boxes out of images and resize them.

    Parameters
    ----------
    image : Tensor or sequence of Tensor
        (N, C, H, W) at full resolution, or N of (C, H, W), each of its own height and width.
    boxes : Tensor
        (N, K, 5) on the CPU, as `InstanceSelection` returns them.
    size : int
        Side of the crops, px.

    Returns
    -------
    crops : Tensor
        (B, C, size, size) of the used slots alone, image by image, best first. Boxes are rounded outwards
        to whole pixels, so none is empty.
    counts : list of int
        Used slots of each image; their sum is B.
    """
    crops, counts = [], []
    for picture, slots in zip(image, boxes.tolist(), strict=True):
        height, width = picture.shape[-2:]
        used = [slot for slot in slots if not math.isnan(slot[0])]
        counts.append(len(used))
        for top, left, bottom, right, _ in used:
            rows = slice(math.floor(top * height), math.ceil(bottom * height))
            columns = slice(math.floor(left * width), math.ceil(right * width))
            crops.append(resize(picture[None, :, rows, columns], size))
    return torch.cat(crops), counts
