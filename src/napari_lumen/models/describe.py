"""What a network is in numbers: weights, work, receptive field, attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from napari_lumen.models.attention import AttentionInfo, attention_modules
from napari_lumen.models.catalogue import Variant, variant_of
from napari_lumen.models.receptive_field import ReceptiveField
from napari_lumen.models.registry import build


@dataclass(frozen=True, slots=True)
class Description:
    """A network in numbers.

    Attributes
    ----------
    name : str
    arguments : dict
    task : str
        ``segmentation`` (a class for each pixel) or ``classification`` (one for each image).
    views : int
        Inputs: 1, or 2 for a fine view and its context.
    parameters : int
        Weights that are trained.
    statistics : int
        Running means and variances of batch normalisation.
    size : (int, int)
        Height and width at which `macs` was counted, px.
    macs : int
        Multiplications with addition of the convolutions and matrix products of one input of that size.
    receptive_field : int
        Side of the square of input pixels of the first view that one output depends on; not more than
        can be reached, padding included.
    whole_image : bool
        Through gates, normalisation or pooling an output depends weakly on the whole input besides.
    attention : tuple of AttentionInfo
    variant : Variant or None
        The row of the paper's table that it stands for, with what is printed there.
    """

    name: str
    arguments: dict[str, Any]
    task: str
    views: int
    parameters: int
    statistics: int
    size: tuple[int, int]
    macs: int
    receptive_field: int
    whole_image: bool
    attention: tuple[AttentionInfo, ...]
    variant: Variant | None


def describe(name: str, *, size: int | tuple[int, int] = 256, **arguments: Any) -> Description:
    """Describe a network by name, without training or loading anything.

    Parameters
    ----------
    name : str
        One of `names()`.
    size : int or (int, int)
        Height and width of the input for which work is counted, px.
    **arguments
        Of the network, as for `build`.

    Returns
    -------
    Description

    Raises
    ------
    ModelError
        For an unknown name or argument.
    """
    height, width = (size, size) if isinstance(size, int) else size
    # without values nothing is computed, so a large network is described at once
    with torch.device("meta"):
        network = build(name, **arguments).eval()
    inputs = example_input(network, (height, width), "meta")
    images = inputs if isinstance(inputs, tuple) else (inputs,)
    with torch.no_grad(), FlopCounterMode(display=False) as flops, ReceptiveField() as fields:
        fields.begin(images[0])
        logits: Tensor = network(inputs)
    field = fields.of(logits)
    if field is None:
        raise RuntimeError(f"the output of {name} does not depend on its input")
    return Description(
        name,
        arguments,
        str(getattr(network, "task", "segmentation")),
        len(images),
        sum(p.numel() for p in network.parameters() if p.requires_grad),
        sum(b.numel() for key, b in network.named_buffers() if "running" in key),
        (height, width),
        flops.get_total_flops() // 2,
        field.size,
        field.whole,
        tuple(info for info, _ in attention_modules(network)),
        variant_of(name, arguments),
    )


def example_input(
    network: nn.Module, size: tuple[int, int], device: torch.device | str = "cpu"
) -> Tensor | tuple[Tensor, ...]:
    """Return random pixels (1, 3, height, width) as a network eats them: one tensor, or one for each view."""
    views = int(getattr(network, "view_count", 1))
    images = tuple(torch.rand(1, 3, *size, device=device) for _ in range(views))
    return images if views > 1 else images[0]
