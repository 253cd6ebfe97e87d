"""What a worker of a cluster is told of a slide and a model, and whether it finds them so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_lumen.errors import ModelError, RunError, SlideError
from napari_lumen.geometry import Pair
from napari_lumen.holding import holder_note
from napari_lumen.inference.predict import card_checksum
from napari_lumen.inference.work import versions
from napari_lumen.models import Model, load_model
from napari_lumen.models.store import adapter_of
from napari_lumen.slides import Slide, open_slide

_MUST_AGREE = ("napari-lumen", "torch")


@dataclass(frozen=True)
class Assignment:
    """What a worker must know of a slide and a model to work on them, and must find as it is told.

    Attributes
    ----------
    slide : str
        Path, or URL.
    mpp : (float, float) or None
        µm per level-0 pixel, where the user gave it.
    fingerprint : str
        Of the slide.
    model : Path
        Its folder or file; where there is none on a worker, the model of that name is taken.
    name, weights_sha256, card_sha256 : str
        Of the model.
    trust : bool
        As of `load_model`.
    device : str
        As of `predict`; that of the worker's machine.
    folder : Path
        That the client holds, of the run or of the cohort.
    note : str
        What the client has noted there, see `holder_note`.
    versions : mapping of str to str
        Of the client's software.
    topic : str
        That reports are told under.
    """

    slide: str
    mpp: Pair | None
    fingerprint: str
    model: Path
    name: str
    weights_sha256: str
    card_sha256: str
    trust: bool
    device: str
    folder: Path
    note: str
    versions: Mapping[str, str]
    topic: str


def assign(slide: Slide, model: Model, folder: Path, device: str, topic: str) -> Assignment:
    """Say what workers are to find, of what is open here; `folder` is held by this process."""
    card = model.card
    return Assignment(
        slide=slide.location if isinstance(slide.location, str) else str(slide.location.resolve()),
        mpp=slide.require_mpp() if slide.mpp_given else None,
        fingerprint=slide.fingerprint,
        model=model.path.resolve(),
        name=card.name,
        weights_sha256=card.weights_sha256,
        card_sha256=card_checksum(card),
        trust=adapter_of(model.path) is not None,  # it would not be open here otherwise
        device=device,
        folder=folder.resolve(),
        note=holder_note(folder),
        versions=versions(),
        topic=topic,
    )


def require_same_place(assignment: Assignment, address: str) -> None:
    """Check that a worker has the software of the client and sees the folder that it holds.

    Raises
    ------
    RunError
    """
    own = versions()
    for name in _MUST_AGREE:
        if own[name] != assignment.versions[name]:
            raise RunError(
                f"Worker {address} has {name} {own[name]}, and the computer that began the run "
                f"{assignment.versions[name]}. Install the same version on both."
            )
    if holder_note(assignment.folder) != assignment.note:
        raise RunError(
            f"Worker {address} does not see {assignment.folder} as the computer that began the run does. "
            "Choose a folder on a file system that all machines share."
        )


def assigned_slide(assignment: Assignment, address: str) -> Slide:
    """Open the slide on a worker.

    Raises
    ------
    RunError
        When it cannot be opened, or is another one.
    """
    try:
        slide = open_slide(assignment.slide, mpp=assignment.mpp)
    except SlideError as error:
        raise RunError(f"Worker {address} cannot open the slide: {error}") from error
    if slide.fingerprint != assignment.fingerprint:
        slide.close()
        raise RunError(
            f"Worker {address} finds another slide at {assignment.slide} than the computer that began the "
            "run. Put the slide where all machines see it."
        )
    return slide


def assigned_model(assignment: Assignment, address: str) -> Model:
    """Load the model on a worker.

    Raises
    ------
    RunError
        When it cannot be loaded, or is another one.
    """
    place = assignment.model if assignment.model.exists() else assignment.name
    try:
        model = load_model(place, trust=assignment.trust)
    except ModelError as error:
        raise RunError(f"Worker {address} cannot load the model: {error}") from error
    card = model.card
    if (card.weights_sha256, card_checksum(card)) != (assignment.weights_sha256, assignment.card_sha256):
        raise RunError(
            f"Worker {address} finds other weights or another card at {model.path} than the computer that "
            "began the run. Put the model where all machines see it."
        )
    return model
