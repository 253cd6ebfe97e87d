"""Recipes, the trainer, architecture search and the data that they take."""

from __future__ import annotations

from napari_lumen.training.config import SplitRule, TrainingConfig
from napari_lumen.training.estimate import Estimate, dry_run, dry_run_search
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.recipe import Plan, Recipe, TrainingData
from napari_lumen.training.search import Search, search
from napari_lumen.training.settings import Settings
from napari_lumen.training.train import Training, train

__all__ = [
    "Estimate",
    "Plan",
    "Recipe",
    "Search",
    "Settings",
    "SplitRule",
    "Training",
    "TrainingConfig",
    "TrainingData",
    "TrainingProgress",
    "dry_run",
    "dry_run_search",
    "search",
    "train",
]
