"""The networks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from napari_lumen.errors import ModelError
from napari_lumen.models.focusnetpp import FocusNetPP

_NETWORKS: dict[str, Callable[..., nn.Module]] = {"focusnetpp": FocusNetPP}


def names() -> tuple[str, ...]:
    """Return the names of all networks."""
    return tuple(_NETWORKS)


def build(name: str, **arguments: Any) -> nn.Module:
    """Build a network with random weights.

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
    if name not in _NETWORKS:
        raise ModelError(f"There is no network named {name!r}; there is {', '.join(_NETWORKS)}.")
    try:
        return _NETWORKS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The network {name!r} cannot be built with {arguments}: {error}.") from error
