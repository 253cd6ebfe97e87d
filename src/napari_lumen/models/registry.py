"""The networks by name."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from typing import Any

from torch import nn

from napari_lumen.errors import ModelError, first_line
from napari_lumen.models.arguments import brief

# name: (module of this package, class); a module is imported when its network is first built
_NETWORKS: dict[str, tuple[str, str]] = {
    "darefinenet": ("darefinenet", "DARefineNet"),
    "multistage": ("multistage", "MultiStage"),
    "gated_attention": ("gated_attention", "GatedAttention"),
    "focusnetpp": ("focusnetpp", "FocusNetPP"),
    "nas_scam": ("nas_scam", "NASSCAM"),
    "unet": ("unet", "UNet"),
    "attention_unet": ("monai_networks", "AttentionUNet"),
    "unetpp": ("monai_networks", "UNetPP"),
    "deeplabv3plus": ("deeplabv3plus", "DeepLabV3Plus"),
    "cbam_unet": ("nas_scam_rivals", "CBAMUNet"),
    "scse_unet": ("nas_scam_rivals", "SCSEUNet"),
    "r2unet": ("r2unet", "R2UNet"),
    "bcdunet": ("bcdunet", "BCDUNet"),
    "resnet": ("resnet", "ResNet"),
    "googlenet": ("googlenet", "GoogLeNet"),
}


def names() -> tuple[str, ...]:
    """Return the names of all networks."""
    return tuple(_NETWORKS)


def network_class(name: str) -> type[nn.Module]:
    """Return the class of a network by name.

    Raises
    ------
    ModelError
        For an unknown name; the message says what there is.
    """
    if name not in _NETWORKS:
        raise ModelError(f"There is no network named {name!r}; there is {', '.join(_NETWORKS)}.")
    module, factory = _NETWORKS[name]
    network: type[nn.Module] = getattr(import_module(f"napari_lumen.models.{module}"), factory)
    return network


def build(name: str, /, **arguments: Any) -> nn.Module:
    """Build a network with random weights, or with those of an encoder where `pretrained` names them.

    Parameters
    ----------
    name : str
        One of `names()`.
    **arguments
        Keyword arguments of the network, e.g. ``preset="light"``.

    Raises
    ------
    ModelError
        For an unknown name or argument; the message says what there is.
    """
    network = network_class(name)
    known = signature(network).parameters
    unknown = {key: value for key, value in arguments.items() if key not in known}
    if unknown:
        raise ModelError(
            f"The network {name!r} cannot be built with {brief(unknown)}: it takes {', '.join(known)}."
        )
    try:
        return network(**arguments)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        raise ModelError(
            f"The network {name!r} cannot be built with {brief(arguments)}: {first_line(error)}."
        ) from error
