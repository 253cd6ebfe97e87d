"""Networks, their cards and weights, and the recording of attention."""

from __future__ import annotations

from napari_lumen.models.attention import AttentionInfo, attention_modules, record_attention
from napari_lumen.models.card import InputSpec, ModelCard, TrainingRecord, View
from napari_lumen.models.registry import build, names
from napari_lumen.models.store import Model, available, find_model, load_model, read_card, save_model

__all__ = [
    "AttentionInfo",
    "InputSpec",
    "Model",
    "ModelCard",
    "TrainingRecord",
    "View",
    "attention_modules",
    "available",
    "build",
    "find_model",
    "load_model",
    "names",
    "read_card",
    "record_attention",
    "save_model",
]
