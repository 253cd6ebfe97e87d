"""Recording of attention: which modules compute maps and gates, and how to read them out.

A network marks the modules whose output is an attention map or a gate. Inside
``with record_attention(model) as attention:`` each forward pass fills ``attention``;
outside it no hook exists, so an unrecorded pass costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

Kind = Literal["spatial", "channel"]
_M = TypeVar("_M", bound=nn.Module)
_MARK = "_lumen_attention"


@dataclass(frozen=True, slots=True)
class AttentionInfo:
    """What one recorded map or gate is, for those who show it.

    Attributes
    ----------
    name : str
        Dotted name inside the network, e.g. ``d1.0.att0``.
    kind : {"spatial", "channel"}
        A spatial map is (N, 1, h, w), a channel gate (N, C).
    description : str
        One sentence for the tooltip.
    value_range : (float, float)
        The range that the network guarantees.
    """

    name: str
    kind: Kind
    description: str
    value_range: tuple[float, float] = (0.0, 1.0)


def mark_attention(
    module: _M, kind: Kind, description: str, value_range: tuple[float, float] = (0.0, 1.0)
) -> _M:
    """Mark a module whose output is an attention map or gate, and return it.

    Parameters
    ----------
    module : nn.Module
        Outputs (N, C, h, w) for ``kind="spatial"`` (the mean over C is recorded), or (N, C) or
        (N, C, 1, 1) for ``kind="channel"``.
    kind : {"spatial", "channel"}
    description : str
        One sentence saying what the map shows.
    value_range : (float, float)
        The range of the output.
    """
    setattr(module, _MARK, (kind, description, value_range))
    return module


def attention_modules(model: nn.Module) -> Iterator[tuple[AttentionInfo, nn.Module]]:
    """Yield every marked module of a network, with what it computes, in order of definition."""
    for name, module in model.named_modules():
        mark = getattr(module, _MARK, None)
        if mark is not None:
            kind, description, value_range = mark
            yield AttentionInfo(name, kind, description, value_range), module


@contextmanager
def record_attention(model: nn.Module, *names: str) -> Iterator[dict[str, Tensor]]:
    """Record attention maps and gates while the block runs.

    Parameters
    ----------
    model : nn.Module
        Any network of this package.
    *names : str
        The maps wanted; all of them when none is given.

    Yields
    ------
    dict of str to Tensor
        Refilled by every forward pass: spatial maps (N, 1, h, w), channel gates (N, C), detached.

    Raises
    ------
    KeyError
        When a name is not one of the network's maps.
    """
    found = {info.name: (info, module) for info, module in attention_modules(model)}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise KeyError(f"no attention map named {', '.join(unknown)}; there is {', '.join(found) or 'none'}")
    maps: dict[str, Tensor] = {}
    handles = []
    for name in names or tuple(found):
        info, module = found[name]
        handles.append(module.register_forward_hook(_Recorder(maps, info)))
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, slots=True)
class _Recorder:
    maps: dict[str, Tensor]
    info: AttentionInfo

    def __call__(self, module: nn.Module, args: tuple[object, ...], output: Tensor) -> None:
        value = output.detach()
        if self.info.kind == "spatial":
            self.maps[self.info.name] = value.mean(dim=1, keepdim=True, dtype=torch.float32)
        else:
            self.maps[self.info.name] = value.flatten(1)
