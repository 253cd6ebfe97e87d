"""Models of others: one adapter a file; none of them runs anything before the user says that he trusts it."""

from __future__ import annotations

from pathlib import Path

from napari_lumen.models.foreign.adapter import Adapter, ForeignModel
from napari_lumen.models.foreign.monai_bundle import MonaiBundle
from napari_lumen.models.foreign.torchscript import TorchScript
from napari_lumen.models.foreign.wsinfer import WSInfer

__all__ = ["Adapter", "ForeignModel", "find_adapter"]

_ADAPTERS: tuple[Adapter, ...] = (WSInfer(), MonaiBundle(), TorchScript())


def find_adapter(path: Path) -> Adapter | None:
    """Return the adapter that knows what lies at a path, by its files' names alone, or None."""
    return next((adapter for adapter in _ADAPTERS if adapter.knows(path)), None)
