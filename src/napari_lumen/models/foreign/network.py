"""A network of others behind our interface: logits out, at the input's size, in the card's channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.errors import ModelError
from napari_lumen.models.card import Activation, Task

_BACKGROUND = "background"


@dataclass(frozen=True)
class Channels:
    """How the channels of a foreign network become those of a card.

    Attributes
    ----------
    count : int
        Of the network.
    kept : tuple of int
        Which of them are passed on, in this order.
    classes : tuple of str
        Names of the card's classes, in order.
    activation : {"sigmoid", "softmax"}
        Of the card.
    add_background : bool
        Put a channel of -inf first, whose softmax is 0: the network has no background, our softmax has.
    are_probabilities : bool
        The network has applied its activation already; the logit undoes it.
    """

    count: int
    kept: tuple[int, ...]
    classes: tuple[str, ...]
    activation: Activation
    add_background: bool = False
    are_probabilities: bool = False

    @classmethod
    def arrange(cls, names: Sequence[str], task: Task, activation: Activation | None) -> Channels:
        """Find the background among the channels and say what to do with it.

        Parameters
        ----------
        names : sequence of str
            Of the network's channels; in a segmentation, the one called ``background`` is it.
        task : {"segmentation", "classification"}
        activation : {"sigmoid", "softmax"} or None
            That the network's answer still needs; None where it gives probabilities.

        Raises
        ------
        ModelError
            When no class is left, or a softmax has nothing to choose from.
        """
        if activation == "softmax" and len(names) == 1:
            raise ModelError(
                f"The softmax of the one channel {names[0]!r} is 1 everywhere: field 'activation' is "
                "sigmoid, or none."
            )
        everything = tuple(range(len(names)))
        grounds = tuple(i for i in everything if names[i].strip().lower() == _BACKGROUND)
        if task == "classification" or not grounds:
            add = task == "segmentation" and activation == "softmax"
            kept, classes = everything, everything
        else:
            add = False
            classes = tuple(i for i in everything if i not in grounds)
            kept = grounds + classes if activation == "softmax" else classes
        if not classes or (task == "segmentation" and len(grounds) > 1):
            raise ModelError(
                "A segmentation has one background at most and a class beside it: field 'classes' has "
                f"{', '.join(names)}."
            )
        return cls(
            count=len(names),
            kept=kept,
            classes=tuple(names[i] for i in classes),
            activation=activation or "sigmoid",
            add_background=add,
            are_probabilities=activation is None,
        )


class ForeignNetwork(nn.Module):
    """Speaks our interface for a network of others.

    Parameters
    ----------
    network : nn.Module
        Takes (N, 3, side, side), normalised as the card says; answers for each pixel or for the tile.
    task : {"segmentation", "classification"}
    side : int
        Inputs of another size are resized to it, as Pillow's bilinear does (the average over the area of
        a smaller pixel), and maps are resized back.
    channels : Channels

    Notes
    -----
    Input (N, 3, H, W); output logits (N, C, H, W) or (N, C). Records no attention.
    """

    view_count: ClassVar[int] = 1

    def __init__(self, network: nn.Module, task: Task, side: int, channels: Channels) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self._side = (side, side)
        self._channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images (N, 3, H, W)."""
        size, channels = x.shape[-2:], self._channels
        if size != self._side:
            # in float32: the CPU does it in nothing smaller
            x = F.interpolate(x.float(), self._side, mode="bilinear", antialias=True).to(x.dtype)
        y: Tensor = self.network(x)
        if self.task == "classification":
            y = y.reshape(len(y), -1)
        elif size != self._side:
            y = F.interpolate(y, size, mode="bilinear")
        if channels.kept != tuple(range(channels.count)):
            y = y[:, list(channels.kept)]
        if channels.are_probabilities:
            y = torch.logit(y.float(), eps=1e-6)
        if channels.add_background:
            y = torch.cat([torch.full_like(y[:, :1], -torch.inf), y], dim=1)
        return y
