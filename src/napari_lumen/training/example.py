"""What a network learns from: one example, and examples of a step side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Example:
    """One image, field or slide, with what is to be learned of it.

    Attributes
    ----------
    name : str
        Told when something is wrong with it.
    inputs : tuple of Tensor
        One a view of the network, (3, h, w) float32, normalised as the model's card says.
    targets : mapping of str to Tensor
        Label images, classes, weights, by the names that the recipe's loss asks for.
    extra : mapping of str to object
        What is no tensor of a fixed size, such as the reader of a slide's patches.
    """

    name: str
    inputs: tuple[Tensor, ...] = ()
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Examples stacked along a new first axis.

    Attributes
    ----------
    names : tuple of str
    inputs : tuple of Tensor
        Each (N, ...).
    targets : mapping of str to Tensor
        Each (N, ...).
    extra : tuple of mappings
        One an example.
    total : int
        Examples of the whole step, of which these are the share of this device, or a part of it.
    """

    names: tuple[str, ...]
    inputs: tuple[Tensor, ...] = ()
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    extra: tuple[Mapping[str, Any], ...] = ()
    total: int = 0

    @classmethod
    def of(cls, examples: Sequence[Example], total: int | None = None) -> Batch:
        """Stack examples whose tensors have equal shapes."""
        return cls(
            names=tuple(example.name for example in examples),
            inputs=tuple(
                torch.stack(views) for views in zip(*(item.inputs for item in examples), strict=True)
            ),
            targets={
                key: torch.stack([item.targets[key] for item in examples]) for key in examples[0].targets
            },
            extra=tuple(example.extra for example in examples),
            total=len(examples) if total is None else total,
        )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def image(self) -> Tensor | tuple[Tensor, ...]:
        """What the network is called with: its only view, or the tuple of its views."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; the copy to a GPU does not wait."""
        if device.type == "cpu":
            return self

        def moved(tensor: Tensor) -> Tensor:
            if device.type == "cuda":
                tensor = tensor.pin_memory()
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            inputs=tuple(moved(tensor) for tensor in self.inputs),
            targets={key: moved(tensor) for key, tensor in self.targets.items()},
        )

    def parts(self, size: int | None) -> list[Batch]:
        """Cut the batch into parts of at most `size` examples."""
        if size is None or size >= len(self):
            return [self]
        return [
            replace(
                self,
                names=self.names[start : start + size],
                inputs=tuple(tensor[start : start + size] for tensor in self.inputs),
                targets={key: tensor[start : start + size] for key, tensor in self.targets.items()},
                extra=self.extra[start : start + size],
            )
            for start in range(0, len(self), size)
        ]
