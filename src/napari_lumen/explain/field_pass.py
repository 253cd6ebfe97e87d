"""One forward pass of one field of view, with everything recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_lumen.errors import LumenError, ModelError, RunError, first_line
from napari_lumen.explain.two_stages import classified, patches_of
from napari_lumen.inference.forward import Forward, out_of_memory
from napari_lumen.inference.slide_features import slide_network
from napari_lumen.models import AttentionInfo, Model, attention_modules, record_attention
from napari_lumen.models.attention_checks import require_shapes
from napari_lumen.tissue import Mask

Array = npt.NDArray[np.float32]
Views = Sequence[npt.NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a network said and recorded of one field.

    Attributes
    ----------
    probability : ndarray
        float32 (classes, h, w), or (classes,) of a network that answers for the whole field. The background
        is left out.
    attention : dict of str to ndarray
        float32 by name: maps (h, w), gates (C,), boxes (K, 5), tables.
    channels : dict of str to ndarray
        float32 (C, h, w) before their gate, by the name of the gate.
    seconds : float
        Of the pass.
    """

    probability: Array
    attention: dict[str, Array]
    channels: dict[str, Array]
    seconds: float


class FieldPass(Forward):
    """A network made ready on a device for fields one by one.

    One thread at a time may use it, see `record_attention`.

    Parameters
    ----------
    model : Model
    device : torch.device

    Attributes
    ----------
    infos : tuple of AttentionInfo
        All that the network records.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        super().__init__(model, device, beside=False)
        self._patch = slide_network(model).patch if model.card.task == "slide" else None
        with self._lanes.network() as network:  # the only one
            self._network = network
        self.infos: tuple[AttentionInfo, ...] = tuple(info for info, _ in attention_modules(self._network))

    def record(self, views: Views, channels: Sequence[str] = (), tissue: Mask | None = None) -> Recorded:
        """Send a field through the network.

        Parameters
        ----------
        views : sequence of ndarray
            (h, w, 3) uint8, one a view.
        channels : sequence of str
            Gates whose features are kept as well.
        tissue : ndarray, optional
            Of a model that classifies a slide in two stages: bool (rows, columns), its patches with tissue;
            nothing is said of the others. By default all.

        Raises
        ------
        RunError
            When memory does not suffice.
        ModelError
            When the network cannot read such a field, or what it answers or records does not fit.
        """
        start = time.perf_counter()
        try:
            if self._patch is None:
                probability, attention, features = self._recorded(views, channels)
            else:
                probability, attention = self._together(views[0], self._patch, tissue)
                features = {}
        except LumenError:
            raise
        except Exception as error:  # torch and whoever wrote the network raise types of their own
            if out_of_memory(error):
                raise RunError(
                    f"The memory of {self._device} does not suffice for this field of {self._card.title}. "
                    "Choose a smaller field or another device."
                ) from error
            raise ModelError(
                f"{self._card.title} cannot read a field of {views[0].shape[1]} x {views[0].shape[0]} px: "
                f"{first_line(error)}. Explain one tile, without a region."
            ) from error
        if len(probability) != len(self._card.classes):
            raise ModelError(
                f"The card of {self._card.title} is not usable: field 'classes': it names "
                f"{len(self._card.classes)}, and the network answers for {len(probability)}. Correct the "
                "card."
            )
        if self._patch is None:  # two stages have a value a patch
            shapes = {name: values.shape for name, values in attention.items()}
            require_shapes(self._card.title, self.infos, shapes, views[0].shape[:2])
        return Recorded(probability, attention, features, time.perf_counter() - start)

    def probabilities(self, views: Views, tissue: Mask | None = None) -> Array:
        """Return the probability alone, (classes, h, w) or (classes,), see `record`."""
        if self._patch is not None:
            return self._together(views[0], self._patch, tissue)[0]
        with torch.inference_mode():
            said: Array = self._answer(views).cpu().numpy()[0]
        return said

    def _recorded(
        self, views: Views, channels: Sequence[str]
    ) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        with torch.inference_mode(), ExitStack() as stack:
            maps = stack.enter_context(record_attention(self._network)) if self.infos else {}
            behind = (
                stack.enter_context(record_attention(self._network, *channels, features=True))
                if channels
                else {}
            )
            probability = self._answer(views)
            attention = {
                info.name: _single(info, maps[info.name]) for info in self.infos if info.name in maps
            }
            features = {name: behind[f"{name}.features"][0].float().cpu().numpy() for name in channels}
            return probability.cpu().numpy()[0], attention, features

    def _together(
        self, view: npt.NDArray[np.uint8], patch: int, tissue: Mask | None
    ) -> tuple[Array, dict[str, Array]]:
        """Return what two stages say of a field, probability (classes, h, w) and maps (rows, columns)."""
        patches = patches_of(view, patch)
        known = np.ones(patches.shape[:2], bool) if tissue is None else tissue
        maps = tuple(info.name for info in self.infos if info.kind == "spatial")
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"),
        ):
            prepared = self._prepared(patches[known])
            said, recorded = classified(self._network, self._card, prepared, torch.from_numpy(known), maps)
        by_pixel = said.numpy().repeat(patch, axis=1).repeat(patch, axis=2)
        probability = by_pixel[:, : view.shape[0], : view.shape[1]]
        return probability, {name: values.numpy() for name, values in recorded.items()}

    def _answer(self, views: Views) -> torch.Tensor:
        tensors = tuple(self._prepared(view[None]) for view in views)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            logits = self._network(tensors if len(tensors) > 1 else tensors[0])
        return self._probability(logits.float())


def _single(info: AttentionInfo, recorded: torch.Tensor) -> Array:
    """Return what was recorded of the one field."""
    value: Any = recorded.float().cpu().numpy()
    if info.kind == "table":
        return np.asarray(value, np.float32)
    return np.asarray(value[0, 0] if info.kind == "spatial" else value[0], np.float32)
