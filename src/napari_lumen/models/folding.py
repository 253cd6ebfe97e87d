"""Folding of batch normalisation into the convolutions before it, for inference."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_M = TypeVar("_M", bound=nn.Module)


def folded(network: _M) -> _M:
    """Return a copy of a network in evaluation mode whose batch normalisations are folded where they can be.

    In evaluation a normalisation is a scale and a shift, which the convolution right before it can apply
    as well: the same function up to rounding, with one pass over memory less. Neighbours are recognised
    inside ``nn.Sequential`` and by torchvision's names, ``convX`` before ``bnX``. Modules that are marked
    for recording keep their names and outputs.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; it is left as it is.

    Raises
    ------
    ValueError
        When the network is in training mode, where the statistics are those of the batch.
    """
    if network.training:
        raise ValueError("only a network in evaluation mode can be folded; call eval() first")
    copied = copy.deepcopy(network)
    for holder in list(copied.modules()):
        for before, after in list(_neighbours(holder)):
            convolution, norm = getattr(holder, before), getattr(holder, after)
            setattr(holder, before, fuse_conv_bn_eval(convolution, norm, convolution.transposed))
            setattr(holder, after, nn.Identity())
    return copied


def _neighbours(holder: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of a convolution and of the normalisation that alone reads its output."""
    children = dict(holder.named_children())
    if isinstance(holder, nn.Sequential):
        pairs = list(pairwise(children))
    else:
        pairs = [(name, name.replace("conv", "bn", 1)) for name in children if name.startswith("conv")]
    for before, after in pairs:
        if isinstance(children[before], nn.Conv2d | nn.ConvTranspose2d) and isinstance(
            children.get(after), nn.BatchNorm2d
        ):
            yield before, after
