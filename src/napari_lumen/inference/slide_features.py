"""The vectors of a slide's tiles by one network, kept in the user's cache for whatever reads them next."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import platformdirs
import torch
from torch import Tensor, nn

from napari_lumen.errors import ModelError, RunError
from napari_lumen.geometry import windows
from napari_lumen.inference.folder import Identity
from napari_lumen.inference.forward import Forward
from napari_lumen.inference.plan import Cell
from napari_lumen.inference.rasters import LiveRaster
from napari_lumen.inference.state import remove_run, runs_in
from napari_lumen.inference.tile_plan import TilePlan
from napari_lumen.models import Model
from napari_lumen.models.feature_map import FeatureMap
from napari_lumen.slides import Slide
from napari_lumen.stain.normalisation import Source

FEATURES = "features"
CACHE_VARIABLE = "NAPARI_LUMEN_CACHE"  # of the environment: the folder of what is kept for other runs
_LIMIT = 20 << 30  # bytes: some ten thousand slides of 16 numbers a tile, or a hundred of a thousand


class SlideNetwork(Protocol):
    """A network of task ``slide``: tiles become vectors, and the map of them is read as a whole.

    Attributes
    ----------
    patch : int
        Side of a tile, px.
    """

    patch: int

    def features_checksum(self) -> str:
        """Return the SHA-256 of all that decides the vector of a tile."""

    def patch_features(self, patches: Tensor) -> Tensor:
        """Return the vectors (N, C) of tiles (N, 3, patch, patch)."""

    def classify(self, features: Tensor, cells: Tensor) -> tuple[FeatureMap, Tensor]:
        """Return where tiles lie on a map, by their cells (N, 2), and the logits (1, K, rows, columns)."""


def slide_network(model: Model) -> SlideNetwork:
    """Return the network of a model of task ``slide``.

    Raises
    ------
    ModelError
        When it is none, or its tiles are not those of the card.
    """
    network, spec = model.network, model.card.input
    methods = ("features_checksum", "patch_features", "classify")
    if not all(callable(getattr(network, method, None)) for method in methods):
        raise ModelError(
            f"The card of {model.card.title} is not usable: field 'task': its network "
            f"{model.card.architecture!r} has no two stages to classify a slide with. Correct the card."
        )
    two_stages: SlideNetwork = network  # type: ignore[assignment]  # it was looked at
    size = spec.views[0].size
    if size != two_stages.patch or spec.overlap:
        raise ModelError(
            f"The card of {model.card.title} is not usable: field 'input': its network reads tiles of "
            f"{two_stages.patch} px that share nothing, not of {size} px that share {spec.overlap}. "
            "Correct the card."
        )
    return two_stages


class _FirstStage(nn.Module):
    """The first of two stages as a network of its own."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, patches: Tensor) -> Tensor:
        """Return the vectors (N, C) of tiles (N, 3, patch, patch)."""
        vectors: Tensor = self.network.patch_features(patches)
        return vectors


class Extraction(Forward):
    """The first of a model's two stages, made ready on a device: vectors take the place of probabilities."""

    def __init__(self, model: Model, device: torch.device) -> None:
        card = model.card.model_copy(update={"attention": ()})
        super().__init__(Model(_FirstStage(model.network).eval(), card, model.path), device)

    def _probability(self, logits: Tensor) -> Tensor:
        return logits


def features_identity(slide: Slide, model: Model, plan: TilePlan, stain: Source | None) -> Identity:
    """Return what the vectors of a slide are a function of; of which tiles they are is no matter."""
    checksum = slide_network(model).features_checksum()
    card = model.card
    decides = (card.architecture, card.input) if stain is None else (card.architecture, card.input, stain)
    return Identity(
        fingerprint=slide.fingerprint,
        slide=slide.location if isinstance(slide.location, str) else str(slide.location.resolve()),
        mpp=slide.require_mpp(),
        model="features",
        weights_sha256=checksum,
        card_sha256=hashlib.sha256(repr(decides).encode()).hexdigest(),
        plan_sha256=hashlib.sha256(repr((plan.grid, plan.tile)).encode()).hexdigest(),
    )


def features_folder(slide: Slide, identity: Identity) -> Path:
    """Return where the vectors of a slide are kept: in the user's cache, or where `CACHE_VARIABLE` says."""
    facts = identity.model_dump_json(exclude={"slide", "model_path"})
    key = hashlib.sha256(facts.encode()).hexdigest()[:12]
    said = os.environ.get(CACHE_VARIABLE)
    cache = Path(said).expanduser() if said else platformdirs.user_cache_path("napari-lumen")
    return cache / "features" / f"{slide.path.stem[:80]}-{key}"


def forget_oldest(kept: Path, limit: int = _LIMIT) -> None:
    """Delete the vectors that were used longest ago, as far as those of all slides take too much room.

    Parameters
    ----------
    kept : Path
        Folder of the vectors that are used now.
    limit : int, optional
        Bytes.
    """
    os.utime(kept)
    used = sorted(runs_in(kept.parent), key=lambda folder: -folder.stat().st_mtime)
    total = 0
    for folder in used:
        total += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if total > limit and folder != kept:
            with suppress(RunError):  # somebody reads them
                remove_run(folder)


def vectors_of(raster: LiveRaster, cells: Sequence[Cell]) -> npt.NDArray[np.float32]:
    """Return the vectors (N, C) of cells, read block by block."""
    wanted = np.array(cells)
    array = raster.pyramid.arrays[0]
    vectors = np.empty((len(wanted), array.shape[0]), np.float32)
    for place in windows((array.shape[1], array.shape[2]), raster.pyramid.block):
        inside = wanted - (place.y, place.x)
        chosen = ((inside >= 0) & (inside < (place.height, place.width))).all(axis=1)
        if chosen.any():
            rows, columns = inside[chosen].T
            vectors[chosen] = raster.read(0, place)[:, rows, columns].T
    return vectors
