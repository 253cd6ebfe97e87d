"""Networks, their cards and weights, and the recording of attention."""

from __future__ import annotations

from napari_lumen.models.attention import AttentionInfo, attention_modules, record_attention
from napari_lumen.models.card import InputSpec, ModelCard, TrainingRecord, View
from napari_lumen.models.catalogue import VARIANTS, Variant
from napari_lumen.models.describe import Description, describe, example_input
from napari_lumen.models.export import export_model
from napari_lumen.models.library import available, find_model, install_model, load_model, remove_model
from napari_lumen.models.pretrained import PretrainedReport
from napari_lumen.models.registry import build, names
from napari_lumen.models.store import Model, read_card, save_model

__all__ = [
    "VARIANTS",
    "AttentionInfo",
    "Description",
    "InputSpec",
    "Model",
    "ModelCard",
    "PretrainedReport",
    "TrainingRecord",
    "Variant",
    "View",
    "attention_modules",
    "available",
    "build",
    "describe",
    "example_input",
    "export_model",
    "find_model",
    "install_model",
    "load_model",
    "names",
    "read_card",
    "record_attention",
    "remove_model",
    "save_model",
]
