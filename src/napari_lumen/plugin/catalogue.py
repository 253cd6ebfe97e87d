"""What there is to choose from: models and devices. Looking takes a second or two: it imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_lumen.models import ModelCard


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model as the panel shows it.

    Attributes
    ----------
    path : Path
        Its folder.
    title : str
        In the list.
    summary : str
        What it finds, on what: one sentence.
    details : str
        For the tooltip: limits, training data, scores, pixel size, licence.
    danger : str
        Of a foreign model, what of it can run any code on this computer; empty for one of ours.
    """

    path: Path
    title: str
    summary: str
    details: str
    danger: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Models and devices, and the sentences about models that cannot be used."""

    models: tuple[ModelChoice, ...]
    devices: tuple[tuple[str, str], ...]
    problems: tuple[str, ...] = ()


def look_up() -> Catalogue:
    """Read the cards of all models and ask torch for the devices of this machine."""
    from napari_lumen.errors import ModelError
    from napari_lumen.inference import devices
    from napari_lumen.models import available, read_card

    models, problems = [], []
    for path in available(foreign=True).values():
        try:
            models.append(choice(path, read_card(path)))
        except ModelError as error:
            problems.append(str(error))
    return Catalogue(tuple(models), tuple(devices()), tuple(problems))


def choice(path: Path, card: ModelCard) -> ModelChoice:
    """Return what the panel shows of a model's card."""
    from napari_lumen.models.store import adapter_of

    scores = "; ".join(f"{name}: {value:.3g}" for name, value in card.scores.items())
    lines = [
        f"Not for: {card.limits}",
        f"Trained on: {card.training.data}",
        f"Measured: {scores or 'not measured'}",
        f"Runs at {card.mpp:g} µm per pixel. Licence: {card.licence}",
    ]
    adapter = adapter_of(path)
    title = card.title if adapter is None else f"{card.title} ({adapter.kind})"
    danger = "" if adapter is None else adapter.danger
    return ModelChoice(path, title, card.summary, "\n\n".join(lines), danger)
