"""The receptive field of a network, followed through the operations of one forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Field:
    """What of the input one position of a tensor depends on, along one axis.

    Attributes
    ----------
    stride : float
        Input pixels from one position to the next.
    first, last : float
        Position 0 depends on input pixels `first` to `last`, both included.
    whole : bool
        It depends on the whole input as well, through a pooling over all positions (a gate, a
        normalisation by statistics of the image).
    """

    stride: float = 1.0
    first: float = 0.0
    last: float = 0.0
    whole: bool = False

    @property
    def size(self) -> int:
        """Side of the receptive field in input pixels, without what is pooled over the whole input."""
        return math.ceil(self.last - self.first - 1e-6) + 1

    def through(self, first: float, last: float, stride: float) -> Field:
        """Return the field of an operation whose position 0 reads positions `first` to `last` of this one."""
        return Field(
            self.stride * stride,
            self.first + first * self.stride,
            self.last + last * self.stride,
            self.whole,
        )

    def joined(self, other: Field) -> Field:
        """Return the field of a sum or concatenation of two tensors."""
        return Field(
            self.stride, min(self.first, other.first), max(self.last, other.last), self.whole or other.whole
        )


class ReceptiveField(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types there
    """Follow the receptive field while the block runs a network.

    Kernel sizes, strides and dilations are read off the operations, so any network of convolutions,
    poolings, resizings and gates is followed without its help. Bounds, not measurements: a weight of
    zero inside a kernel is counted. What is written into part of another tensor is lost sight of.

    Examples
    --------
    >>> with ReceptiveField() as fields:
    ...     fields.begin(image)
    ...     logits = network(image)
    >>> fields.of(logits).size
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fields: Any = WeakIdKeyDictionary()

    def begin(self, image: Tensor) -> None:
        """Name an input, (N, C, H, W)."""
        self._fields[image] = Field()

    def of(self, tensor: Tensor) -> Field | None:
        """Return the field of a tensor, None when it does not depend on an input."""
        field: Field | None = self._fields.get(tensor)
        return field

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation, and note the field of what it returns."""
        out = func(*args, **(kwargs or {}))
        inputs = [tensor for tensor in _tensors(args) if self.of(tensor) is not None]
        if inputs:
            for result in _tensors((out,)):
                self._fields[result] = self._after(func.overloadpacket, args, inputs, result)
        return out

    def _after(self, operation: Any, args: tuple[Any, ...], inputs: list[Tensor], out: Tensor) -> Field:
        field: Field = self._fields[inputs[0]]
        rule = _RULES.get(operation)
        if rule is not None and inputs[0].ndim == 4:
            return rule(field, args, inputs[0], out)
        maps = [tensor for tensor in inputs if _is_map(tensor)]
        whole = any(self._fields[tensor].whole or not _is_map(tensor) for tensor in inputs)
        if not maps or not _is_map(out):
            return replace(field, whole=True)
        joined: Field = self._fields[maps[0]]
        for tensor in maps[1:]:
            joined = joined.joined(self._fields[tensor])
        return replace(joined, whole=joined.whole or whole or operation in _OVER_ALL_POSITIONS)


def field_of(network: Callable[[Tensor], Tensor], image: Tensor) -> Field:
    """Return the receptive field of a network's output in an input of one view, (1, C, H, W)."""
    with torch.no_grad(), ReceptiveField() as fields:
        fields.begin(image)
        output = network(image)
    field: Field | None = fields.of(output)
    if field is None:
        raise ValueError("the output does not depend on the input")
    return field


def _is_map(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.shape[-1] > 1


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _last(value: Any, default: int) -> int:
    """Return the number for the last axis of an argument that may be a number, a list or left out."""
    if isinstance(value, list | tuple):
        return int(value[-1]) if value else default
    return default if value is None else int(value)


def _argument(args: tuple[Any, ...], index: int, default: int) -> int:
    return _last(args[index] if len(args) > index else None, default)


def _convolution(field: Field, args: tuple[Any, ...], image: Tensor, out: Tensor) -> Field:
    kernel, stride = args[1].shape[-1], _last(args[3], 1)
    padding, dilation, transposed = _last(args[4], 0), _last(args[5], 1), bool(args[6])
    reach = dilation * (kernel - 1)
    if transposed:
        return field.through((padding - reach) / stride, padding / stride, 1 / stride)
    return field.through(-padding, reach - padding, stride)


def _pooling(field: Field, args: tuple[Any, ...], image: Tensor, out: Tensor) -> Field:
    kernel = _argument(args, 1, 1)
    stride, padding, dilation = _argument(args, 2, kernel), _argument(args, 3, 0), 1
    if args and len(args) > 4 and isinstance(args[4], list | tuple):
        dilation = _argument(args, 4, 1)
    return field.through(-padding, dilation * (kernel - 1) - padding, stride)


def _nearest(field: Field, args: tuple[Any, ...], image: Tensor, out: Tensor) -> Field:
    ratio = image.shape[-1] / out.shape[-1]
    return field.through(-max(0.0, 1 - ratio), 0, ratio)


def _bilinear(field: Field, args: tuple[Any, ...], image: Tensor, out: Tensor) -> Field:
    ratio = image.shape[-1] / out.shape[-1]
    return field if ratio == 1 else field.through(-1, max(1.0, ratio), ratio)


_RULES: dict[Any, Callable[[Field, tuple[Any, ...], Tensor, Tensor], Field]] = {
    _aten.convolution: _convolution,
    _aten.max_pool2d_with_indices: _pooling,
    _aten.avg_pool2d: _pooling,
    _aten.upsample_nearest2d: _nearest,
    _aten.upsample_bilinear2d: _bilinear,
    _aten._upsample_bilinear2d_aa: _bilinear,
}
_OVER_ALL_POSITIONS = {_aten.native_group_norm, _aten.native_layer_norm, _aten._softmax, _aten.bmm}
