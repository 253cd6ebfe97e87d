"""Random weights to begin a training with."""

from __future__ import annotations

from typing import Literal

from torch import nn


def draw_convolutions(network: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Draw the weights of all convolutions for ReLU (He et al., ICCV 2015), in place; their biases become 0.

    Parameters
    ----------
    network : nn.Module
    mode : {"fan_in", "fan_out"}
        Whether the variance is kept of what goes in or, as torchvision's classifiers have it, of the
        gradient that comes back.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
