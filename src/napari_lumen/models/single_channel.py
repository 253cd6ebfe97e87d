"""Convolution to a single channel, which processors' convolutions waste most of their lanes on."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.attention import at_least_single


def convolve_to_one(x: Tensor, convolution: nn.Conv1d | nn.Conv2d) -> Tensor:
    """Return ``convolution(x)`` of a convolution that keeps the size and has one channel of output.

    oneDNN computes 16 channels of output at once, of which one channel needs one: a 5x5 convolution from 32
    channels to 1 takes two thirds of the time of one to 32. Each tap by itself, on the other hand, is a
    product of a vector with the features, so all of them are one product of matrices, whose results are
    shifted and summed. In two dimensions on a CPU it is done so: half the time; elsewhere by the convolution.

    Parameters
    ----------
    x : Tensor
        (N, C, h, w) or (N, C, steps).
    convolution : nn.Conv1d or nn.Conv2d
        Of stride 1 and one group, square.

    Returns
    -------
    Tensor
        (N, 1, h, w) or (N, 1, steps).
    """
    size = convolution.kernel_size[0]
    if size == 1 or x.ndim != 4 or not x.is_cpu:
        y: Tensor = convolution(x)
        return y
    # what a tap reads on the left goes to the right
    taps = convolution.weight[0].flip(1, 2).flatten(1).T
    products = taps @ x.flatten(2)
    summed = F.fold(
        products.to(at_least_single(products)),
        x.shape[-2:],
        size,
        dilation=convolution.dilation,
        padding=convolution.dilation[0] * (size // 2),
    )
    return summed.to(products.dtype) + convolution.get_parameter("bias").view(1, 1, 1, 1).to(products.dtype)
