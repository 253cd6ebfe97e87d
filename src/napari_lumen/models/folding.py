"""Folding of batch normalisation into the convolutions before it, for inference."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_lumen.models.attention import is_marked

_M = TypeVar("_M", bound=nn.Module)
_Place = tuple[nn.Module, str]  # the module that holds another, and its name there


def folded(network: _M, threads: int | None = None) -> _M:
    """Return a copy of a network in evaluation mode whose batch normalisations are folded where they can be.

    In evaluation a normalisation is a scale and a shift, which the convolution right before it can apply
    as well: the same function up to rounding, with one pass over memory less. Neighbours are recognised
    inside ``nn.Sequential``, nested ones too, and by torchvision's names, ``convX`` before ``bnX``. Modules
    that are marked for recording keep their names and outputs.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; it is left as it is.
    threads : int, optional
        That an operation will run on, where these are not torch's own.

    Raises
    ------
    ValueError
        When the network is in training mode, where the statistics are those of the batch.
    """
    if network.training:
        raise ValueError("only a network in evaluation mode can be folded; call eval() first")
    copied = copy.deepcopy(network)
    for (holder, name), (norm_holder, norm_name) in dict.fromkeys(_neighbours(copied)):
        convolution, norm = getattr(holder, name), getattr(norm_holder, norm_name)
        setattr(holder, name, fuse_conv_bn_eval(convolution, norm, convolution.transposed))
        setattr(norm_holder, norm_name, nn.Identity())
    if (threads or torch.get_num_threads()) == 1 and not torch.cuda.is_available():
        _have_onednn_convolve(copied)
    return copied


def _have_onednn_convolve(network: nn.Module) -> None:
    """Dilate 1x1 convolutions, which is nothing to one tap.

    On one thread PyTorch leaves only dilated ones to oneDNN; its own 1x1 convolution takes twice the time.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (2, 2)


def _neighbours(network: nn.Module) -> Iterator[tuple[_Place, _Place]]:
    """Yield where a convolution is, and where the normalisation that alone reads its output."""
    for holder in network.modules():
        if isinstance(holder, nn.Sequential):
            pairs = list(pairwise(_in_turn(holder)))
        else:
            names = [name for name, _ in holder.named_children() if name.startswith("conv")]
            pairs = [((holder, name), (holder, name.replace("conv", "bn", 1))) for name in names]
        for before, after in pairs:
            if isinstance(getattr(*before), nn.Conv2d | nn.ConvTranspose2d) and isinstance(
                getattr(*after, None), nn.BatchNorm2d
            ):
                yield before, after


def _in_turn(sequence: nn.Sequential) -> Iterator[_Place]:
    """Yield where the modules are that a sequence runs one after the other, those of its own sequences too.

    A sequence whose output is recorded is one of them: what is behind it cannot be drawn into it.
    """
    for name, module in sequence.named_children():
        runs_in_turn = type(module).forward is nn.Sequential.forward
        if isinstance(module, nn.Sequential) and runs_in_turn and not is_marked(module):
            yield from _in_turn(module)
        else:
            yield sequence, name
