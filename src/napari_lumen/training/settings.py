"""How a machine trains, which changes what is learned only where a recipe pools over a batch."""

from __future__ import annotations

import os
from typing import Literal

import torch
from pydantic import Field

from napari_lumen.errors import RunError
from napari_lumen.models.device import resolve_device
from napari_lumen.validation import WrittenFields, of_field

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


class Settings(WrittenFields):
    """Device, precision, memory and checkpoints of a training."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    devices: int = Field(
        default=1,
        ge=1,
        description="How many devices train together, each with a part of every batch; on a CPU, processes. "
        "What they learn differs as by micro_batch.",
    )
    precision: Precision = Field(
        default="auto",
        description="auto: bf16-mixed on a GPU that has it, 16-mixed on an older one, 32-true elsewhere.",
    )
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        description="Examples that go through the network at once; gradients of a larger batch are "
        "accumulated. It changes nothing but rounding where a loss is a mean; batch normalisation, and the "
        "losses of focusnetpp, nas_scam and nas_scam_search, which are of a whole batch, see each part by "
        "itself.",
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        description="Threads that read examples ahead; by default 1 on a CPU, whose cores "
        "the network needs, and up to 8 beside a GPU.",
    )
    checkpoint_seconds: float = Field(default=60, gt=0, description="Between checkpoints within an epoch.")
    samples: int = Field(
        default=0, ge=0, description="Held-out images that are shown after each validation, as in the window."
    )
    deterministic: bool = Field(default=True, description="Same seed, same weights on the same machine.")

    def resolved(self) -> torch.device:
        """Return the device; of several, the kind.

        Raises
        ------
        RunError
            When it is not there, or there are fewer than asked for.
        """
        with of_field("settings.device"):
            device = resolve_device(self.device)
        if self.devices > 1 and device.type == "cuda" and self.devices > torch.cuda.device_count():
            raise RunError(
                f"{self.devices} devices were asked for; this machine has {torch.cuda.device_count()} GPU. "
                "Ask for fewer, or for device cpu."
            )
        if self.devices > 1 and device.type == "mps":
            raise RunError("Apple's GPU cannot train together with others. Ask for one device.")
        return device

    def precision_on(self, device: torch.device) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
        """Return the precision that ``auto`` stands for."""
        if self.precision != "auto":
            return self.precision
        if device.type != "cuda":
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"

    def workers_on(self, device: torch.device) -> int:
        """Return how many threads read examples ahead."""
        if self.workers is not None:
            return self.workers
        return 1 if device.type == "cpu" else max(1, min(8, (os.cpu_count() or 2) // self.devices - 1))
