"""The model behind a run: what its network records, and loading it where it still is."""

from __future__ import annotations

import torch

from napari_lumen.errors import LumenError, ModelError
from napari_lumen.inference.run import Run
from napari_lumen.models import AttentionInfo, Model, ModelCard, attention_modules, build, load_model, names


def known_attention(card: ModelCard) -> dict[str, AttentionInfo]:
    """Return what the network of a card records, without its weights; nothing where it is not one of ours."""
    if card.architecture not in names():
        return {}
    try:
        with torch.device("meta"):
            network = build(card.architecture, **card.network_arguments)
    except (LumenError, RuntimeError, TypeError, ValueError):  # arguments of another version
        return {}
    return {info.name: info for info, _ in attention_modules(network)}


def model_of_run(run: Run, *, trust: bool = False) -> Model:
    """Load the model that made a run, to explain fields of it anew.

    Raises
    ------
    ModelError
        When it is no longer there, or is no longer the one of the run; the maps of the run can be read all
        the same.
    """
    record = run.record
    try:
        model = load_model(record.model, trust=trust)
    except ModelError as error:
        raise ModelError(
            f"{str(error).rstrip('.')}. The maps that {run.path.name} keeps can be shown without it."
        ) from error
    if model.card.weights_sha256 != record.weights_sha256:
        raise ModelError(
            f"The model {record.model!r} has other weights now than those that made {run.path.name}. The "
            "maps that it keeps can be shown; run the model again to explain its fields."
        )
    return model
