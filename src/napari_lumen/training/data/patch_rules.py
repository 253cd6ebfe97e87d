"""Which patches of a slide are kept, and which label they have (Takahama et al., ICCV 2019, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Shares = npt.NDArray[np.floating]


class PatchLabel(IntEnum):
    """What a cell of a slide's map of patches is."""

    NORMAL = 0
    TUMOUR = 1
    NO_LABEL = -100  # kept, and shown to the networks, but not learned from
    NO_PATCH = -200  # too little tissue: there is no patch


@dataclass(frozen=True, slots=True)
class PatchRule:
    """Shares of a patch's area that must be exceeded; exactly as much is not enough.

    Attributes
    ----------
    tissue : float
        Of tissue, for the patch to be kept.
    tumour : float
        Of tumour, for a tumour patch.
    normal : float
        Of what is labelled normal, for a normal patch, where it is no tumour patch.
    """

    tissue: float = 0.8
    tumour: float = 0.2
    normal: float = 0.8


def label_patches(
    tissue: Shares, tumour: Shares, normal: Shares, rule: PatchRule | None = None
) -> npt.NDArray[np.int16]:
    """Label the patches of a slide by the shares of their areas.

    Parameters
    ----------
    tissue, tumour, normal : ndarray
        (rows, columns) in [0, 1], a cell a patch; as of `shares`.
    rule : PatchRule, optional

    Returns
    -------
    ndarray
        (rows, columns) int16 of `PatchLabel`.
    """
    rule = rule or PatchRule()
    labels = np.select(
        [tissue <= rule.tissue, tumour > rule.tumour, normal > rule.normal],
        [PatchLabel.NO_PATCH, PatchLabel.TUMOUR, PatchLabel.NORMAL],
        PatchLabel.NO_LABEL,
    )
    return labels.astype(np.int16)


def shares(mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.float64]:
    """Return the share of a mask in each patch that lies wholly within it.

    Parameters
    ----------
    mask : ndarray
        bool (h, w).
    size : int
        Side of the patches, which touch and do not overlap, in pixels of the mask.

    Returns
    -------
    ndarray
        (h // size, w // size) float64 in [0, 1].
    """
    rows, columns = mask.shape[0] // size, mask.shape[1] // size
    cells = mask[: rows * size, : columns * size].reshape(rows, size, columns, size)
    # of counts: a mean of floats could come out a little above exactly a fifth
    return np.asarray(np.count_nonzero(cells, axis=(1, 3)) / (size * size))
