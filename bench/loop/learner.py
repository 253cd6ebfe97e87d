"""A small network that learns from a few windows, and goes on learning as there are more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_lumen.models import attention_modules, build, record_attention

Images = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]

_AT_ONCE = 16


@dataclass(frozen=True)
class Said:
    """What a network says of windows.

    Attributes
    ----------
    probability : ndarray
        float32 (n, h, w).
    attention : ndarray
        float32 (n, h', w'), of its last spatial gate.
    """

    probability: Values
    attention: Values


class Learner:
    """A network with its optimiser.

    Parameters
    ----------
    architecture : str
    arguments : mapping
    groups : int
        Of channels, at most, whose values are normalised together within a window. The network's own batch
        normalisation is replaced: statistics of the few windows that some strategy chose, of odd stains
        maybe, say little of all others.
    rate, falling : float
        Of Adam, and to what share of it the rate falls while `learn` goes on.
    batch : int
    seed : int
    """

    def __init__(
        self,
        architecture: str,
        arguments: dict[str, Any],
        groups: int,
        rate: float,
        falling: float,
        batch: int,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self._network = build(architecture, **arguments)
        _normalise_by_groups(self._network, groups)
        self._optimiser = torch.optim.Adam(self._network.parameters(), rate)
        self._rate, self._falling = rate, falling
        self._batch = batch
        self._rng = np.random.default_rng(seed)
        infos = [info for info, _ in attention_modules(self._network) if info.kind == "spatial"]
        self._gate = infos[-1].name
        self.weights = sum(parameter.numel() for parameter in self._network.parameters())

    def learn(self, images: Images, masks: npt.NDArray[np.bool_], steps: int) -> None:
        """Take steps on batches drawn from windows, each flipped and turned at random.

        The rate falls over them: what is measured then depends less on the last few batches.
        """
        self._network.train()
        for step in range(steps):
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate * (1 - (1 - self._falling) * step / steps)
            drawn = self._rng.integers(len(images), size=self._batch)
            pairs = [self._turned(images[index], masks[index]) for index in drawn]
            target = torch.from_numpy(np.stack([mask for _, mask in pairs])).float()
            logits = self._network(_tensor(np.stack([image for image, _ in pairs])))[:, 0]
            loss = binary_cross_entropy_with_logits(logits, target) + _soft_dice(logits, target)
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()

    def say(self, images: Images) -> Said:
        """Return what the network says of windows."""
        self._network.eval()
        probability, attention = [], []
        with torch.inference_mode(), record_attention(self._network, self._gate) as maps:
            for start in range(0, len(images), _AT_ONCE):
                logits = self._network(_tensor(images[start : start + _AT_ONCE]))
                probability.append(logits[:, 0].sigmoid().numpy())
                attention.append(maps[self._gate][:, 0].float().numpy().copy())
        return Said(np.concatenate(probability), np.concatenate(attention))

    def _turned(self, image: Images, mask: npt.NDArray[np.bool_]) -> tuple[Images, npt.NDArray[np.bool_]]:
        quarters, flip = int(self._rng.integers(4)), bool(self._rng.integers(2))
        turned = [np.rot90(array, quarters) for array in (image, mask)]
        if flip:
            turned = [array[:, ::-1] for array in turned]
        return np.ascontiguousarray(turned[0]), np.ascontiguousarray(turned[1])


def _normalise_by_groups(network: nn.Module, groups: int) -> None:
    for name, module in network.named_children():
        if isinstance(module, nn.BatchNorm2d):
            channels = module.num_features
            setattr(network, name, nn.GroupNorm(math.gcd(groups, channels), channels))
        else:
            _normalise_by_groups(module, groups)


def _tensor(images: Images) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    probability = logits.sigmoid()
    common = (probability * target).sum()
    return 1 - (2 * common + 1) / (probability.sum() + target.sum() + 1)
