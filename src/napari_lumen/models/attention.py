"""Recording of attention: which modules compute maps and gates, and how to read them out.

A network marks the modules whose output is an attention map or a gate; where no module's output is
one, it passes the tensor through an `AttentionPoint`. Inside ``with record_attention(model) as
attention:`` each forward pass fills ``attention``; outside it no hook exists, so an unrecorded pass
costs nothing.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from napari_lumen.errors import ModelError

Kind = Literal["spatial", "channel", "boxes", "table"]
Display = Literal["fixed", "min-max", "strip", "boxes", "table"]
_M = TypeVar("_M", bound=nn.Module)
_MARK = "_lumen_attention"
_DISPLAY: dict[Kind, Display] = {
    "spatial": "fixed",
    "channel": "strip",
    "boxes": "boxes",
    "table": "table",
}


@dataclass(frozen=True, slots=True)
class AttentionInfo:
    """What one recorded map or gate is, for those who show it.

    Attributes
    ----------
    name : str
        Dotted name inside the network, e.g. ``d1.0.att0``.
    kind : {"spatial", "channel", "boxes", "table"}
        A spatial map is (N, 1, h, w), see `stride` for what it covers; a channel gate is (N, C); boxes are
        (N, K, 5): top, left, bottom, right as fractions of the input's sides, and a score, NaN where a
        slot is unused; a table is a matrix or a stack of them that belongs to the network, not to an image.
    description : str
        One sentence for the tooltip.
    value_range : (float, float)
        The range that the network guarantees; infinite where it guarantees none.
    stage : str
        Part of the network that it stands in, e.g. ``d1.0``.
    display : {"fixed", "min-max", "strip", "boxes", "table"}
        ``fixed``: colours over `value_range`; ``min-max``: over the values that there are; ``strip``: one
        bar a channel.
    per_tile : bool
        Normalised within each input (a softmax over its positions): values of two tiles cannot be
        compared.
    raw : str or None
        Name of the unnormalised map that can be compared instead, where the network has one.
    stride : int or None
        Of a spatial map: cell (i, j) covers input pixels [i * stride, (i + 1) * stride) and
        [j * stride, (j + 1) * stride); the last ones may reach beyond the input, which networks pad. None:
        the map covers the input edge to edge, whatever the sides of both.
    """

    name: str
    kind: Kind
    description: str
    value_range: tuple[float, float] = (0.0, 1.0)
    stage: str = ""
    display: Display = "fixed"
    per_tile: bool = False
    raw: str | None = None
    stride: int | None = None


@dataclass(frozen=True, slots=True)
class _Mark:
    kind: Kind
    description: str
    value_range: tuple[float, float]
    stage: str | None
    display: Display
    reduce: Callable[[Tensor], Tensor]
    per_tile: bool
    raw: str | None
    stride: int | None


def channel_mean(value: Tensor) -> Tensor:
    """Return the mean over the channels of (N, C, h, w), (N, 1, h, w) in float32 at least."""
    return value.mean(dim=1, keepdim=True, dtype=at_least_single(value))


def channel_mean_of_magnitude(value: Tensor) -> Tensor:
    """Return the mean over the channels of abs(value), (N, C, h, w) to (N, 1, h, w) in float32 at least."""
    return value.abs().mean(dim=1, keepdim=True, dtype=at_least_single(value))


def channel_norm(value: Tensor) -> Tensor:
    """Return the L2 norm over the channels, (N, C, h, w) to (N, 1, h, w) in float32 at least."""
    norm: Tensor = torch.linalg.vector_norm(value, dim=1, keepdim=True, dtype=at_least_single(value))
    return norm


def at_least_single(value: Tensor) -> torch.dtype:
    """Return float32, or float64 of float64, which some functions do not narrow."""
    return torch.promote_types(value.dtype, torch.float32)


class AttentionPoint(nn.Identity):
    """A place in a network at which a tensor that no module outputs can be recorded; see `mark_attention`."""


def mark_attention(
    module: _M,
    kind: Kind,
    description: str,
    value_range: tuple[float, float] = (0.0, 1.0),
    *,
    stage: str | None = None,
    display: Display | None = None,
    reduce: Callable[[Tensor], Tensor] = channel_mean,
    per_tile: bool = False,
    raw: str | None = None,
    stride: int | None = None,
) -> _M:
    """Mark a module whose output is an attention map or gate, and return it.

    Parameters
    ----------
    module : nn.Module
        Outputs (N, C, h, w) for ``kind="spatial"``, and (N, C) or (N, C, 1, 1) for ``kind="channel"``;
        the first argument of a channel gate are the features (N, C, h, w) that it scales. Boxes and
        tables are recorded as they are.
    kind : {"spatial", "channel", "boxes", "table"}
    description : str
        One sentence saying what the map shows.
    value_range : (float, float)
        The range of the recorded map.
    stage : str, optional
        Part of the network; by default the module that holds this one.
    display : optional
        How to show it, see `AttentionInfo`; by default the first that suits the kind.
    reduce : callable
        Makes one channel of the C of a spatial map.
    per_tile, raw, stride
        See `AttentionInfo`; `raw` is a name in the same module as this one.
    """
    mark = _Mark(
        kind, description, value_range, stage, display or _DISPLAY[kind], reduce, per_tile, raw, stride
    )
    setattr(module, _MARK, mark)
    return module


def is_marked(module: nn.Module) -> bool:
    """Return whether the output of a module itself is an attention map or gate."""
    return isinstance(getattr(module, _MARK, None), _Mark)


def attention_modules(model: nn.Module) -> Iterator[tuple[AttentionInfo, nn.Module]]:
    """Yield every marked module of a network, with what it computes, in order of definition."""
    model = getattr(model, "_orig_mod", model)  # of torch.compile(network): maps keep their names
    for name, module in model.named_modules():
        mark = getattr(module, _MARK, None)
        if isinstance(mark, _Mark):
            holder = name.rpartition(".")[0]
            raw = mark.raw and f"{holder}.{mark.raw}".lstrip(".")
            yield (
                AttentionInfo(
                    name,
                    mark.kind,
                    mark.description,
                    mark.value_range,
                    mark.stage or holder or name,
                    mark.display,
                    mark.per_tile,
                    raw,
                    mark.stride,
                ),
                module,
            )


def map_strides(model: nn.Module) -> dict[str, int | None]:
    """Return the stride of every spatial map of a network by its name, see `AttentionInfo`."""
    return {info.name: info.stride for info, _ in attention_modules(model) if info.kind == "spatial"}


@contextmanager
def record_attention(model: nn.Module, *names: str, features: bool = False) -> Iterator[dict[str, Tensor]]:
    """Record attention maps and gates while the block runs.

    Parameters
    ----------
    model : nn.Module
        Any network of this package.
    *names : str
        The maps wanted; all of them when none is given.
    features : bool
        Record also ``<name>.features``: the channels (N, C, h, w) that a spatial map summarises or that a
        channel gate scales.

    Yields
    ------
    dict of str to Tensor
        Refilled by every forward pass, detached: spatial maps (N, 1, h, w) in float32, or float64 of a
        network in float64, channel gates (N, C), boxes (N, K, 5), tables.

    Raises
    ------
    KeyError
        When a name is not one of the network's maps.
    ModelError
        In a forward pass, when a marked module outputs what is none, see `mark_attention`.

    Notes
    -----
    Recording is the network's, not the thread's: a pass of the same network in another thread, recorded
    there or not, refills these maps too. Let one thread at a time use a network while it records, or give
    each thread its own.

    A compiled network (`torch.compile`) has no hooks where its modules were; while anything records,
    functions of this process that were compiled before run uncompiled, and afterwards compiled again.
    """
    found = {info.name: (info, module) for info, module in attention_modules(model)}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise KeyError(f"no attention map named {', '.join(unknown)}; there is {', '.join(found) or 'none'}")
    maps: dict[str, Tensor] = {}
    handles = []
    for name in names or tuple(found):
        module = found[name][1]
        handles.append(module.register_forward_hook(_Recorder(maps, name, getattr(module, _MARK), features)))
    try:
        with _UNCOMPILED:
            yield maps
    finally:
        for handle in handles:
            handle.remove()


class _Uncompiled:
    """Has compiled functions run uncompiled until the last of those who asked for it, in any thread, left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._stance = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            # before it is loaded nothing can have been compiled, and loading it takes a second
            if self._users == 0 and "torch._dynamo" in sys.modules:
                self._stance.enter_context(torch.compiler.set_stance("force_eager"))
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._stance.close()


_UNCOMPILED = _Uncompiled()


def _problem(kind: Kind, shape: torch.Size) -> str | None:
    """Return what is wrong with the shape of what a marked module outputs; None where nothing is."""
    if kind == "spatial" and len(shape) != 4:
        return "a spatial map is (N, C, h, w)"
    if kind == "channel" and (len(shape) < 2 or math.prod(shape[2:]) != 1):
        return "channel gates are (N, C)"
    return None


@dataclass(frozen=True, slots=True)
class _Recorder:
    maps: dict[str, Tensor]
    name: str
    mark: _Mark
    features: bool

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        value = output.detach()
        problem = _problem(self.mark.kind, value.shape)
        if problem:
            raise ModelError(
                f"The attention {self.name!r} of the network has shape {tuple(value.shape)}, and {problem}. "
                "Correct the network or choose another model."
            )
        if self.mark.kind == "spatial":
            self.maps[self.name] = self.mark.reduce(value)
        else:
            self.maps[self.name] = value.flatten(1) if self.mark.kind == "channel" else value
        if self.features and self.mark.kind in ("spatial", "channel"):
            behind = value if self.mark.kind == "spatial" else args[0].detach()
            self.maps[f"{self.name}.features"] = behind
