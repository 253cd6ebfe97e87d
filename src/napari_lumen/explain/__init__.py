"""Where models looked: maps of a field and of a run, in numbers, in pictures and in figures."""

from __future__ import annotations

from napari_lumen.explain.field import Explainer, explain_field
from napari_lumen.explain.parts import ExplainedField, Item, Part
from napari_lumen.explain.placing import channel_map

__all__ = ["ExplainedField", "Explainer", "Item", "Part", "channel_map", "explain_field"]
