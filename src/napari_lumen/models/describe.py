"""What a network is in numbers: weights, work, receptive field, attention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from napari_lumen.errors import ModelError, first_line
from napari_lumen.models.arguments import brief
from napari_lumen.models.attention import AttentionInfo, attention_modules
from napari_lumen.models.card import LARGEST_SIDE
from napari_lumen.models.catalogue import Variant, variant_of
from napari_lumen.models.receptive_field import Field, ReceptiveField
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


def describe(name: str, /, *, size: int | tuple[int, int] = 256, **arguments: Any) -> Description:
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
        For an unknown name or argument, or an impossible size.
    """
    height, width = _sides(size)
    network = outlined(name, **arguments).eval()
    inputs = example_input(network, (height, width), "meta")
    images = inputs if isinstance(inputs, tuple) else (inputs,)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as flops, ReceptiveField() as fields, _Outline():
            fields.begin(images[0])
            logits: Tensor = network(inputs)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"The network {name}({brief(arguments)}) cannot answer for {height} x {width} px: "
            f"{first_line(error)}."
        ) from error
    field = _own_field(network) or fields.of(logits)
    if field is None:
        raise ModelError(f"The output of {name}({brief(arguments)}) does not depend on its input.")
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


def outlined(name: str, /, **arguments: Any) -> nn.Module:
    """Build a network without values: nothing is computed, and no memory taken, however large it is.

    Raises
    ------
    ModelError
        For an unknown name or argument, or a value that does not fit; the message says what there is.
    """
    with torch.device("meta"), _Outline():
        return build(name, **arguments)


_PASSED = (nn.functional.batch_norm, Tensor.normal_, Tensor.uniform_)


class _Outline(TorchFunctionMode):
    """Pass by what is slow without values and says nothing of a network in use.

    These are the drawing of first weights, and batch normalisation: no work of note, and no wider field.
    """

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _PASSED:
            return args[0]
        return func(*args, **(kwargs or {}))


def _sides(size: object) -> tuple[int, int]:
    sides = size if isinstance(size, tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and 1 <= side <= LARGEST_SIDE for side in sides):
        raise ModelError(
            f"The size of an input is one side, or height and width, of 1 to {LARGEST_SIDE:,} px, not "
            f"{size!r}."
        )
    return sides


def _own_field(network: nn.Module) -> Field | None:
    """Return the field that a network knows of itself, where operations cannot be followed."""
    told = getattr(network, "receptive_field", None)
    field: Field | None = None if told is None else told()
    return field


def example_input(
    network: nn.Module, size: tuple[int, int], device: torch.device | str = "cpu"
) -> Tensor | tuple[Tensor, ...]:
    """Return random pixels (1, C, height, width) as a network eats them: one tensor, or one for each view."""
    views = int(getattr(network, "view_count", 1))
    channels = int(getattr(network, "in_channels", 3))
    images = tuple(torch.rand(1, channels, *size, device=device) for _ in range(views))
    return images if views > 1 else images[0]
