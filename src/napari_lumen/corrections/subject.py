"""What is corrected: a slide, and the run over it where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import RunError
from napari_lumen.geometry import Pair

FOLDER = "corrections"  # in the folder of a run
RUN_FILE = "run.json"


@dataclass(frozen=True)
class Subject:
    """The slide whose labels are corrected.

    Attributes
    ----------
    slide : str
        Its path, absolute, or URL.
    fingerprint : str
    mpp : (float, float)
        µm per level-0 pixel, (y, x).
    classes : ClassTable
        Of the labels.
    """

    slide: str
    fingerprint: str
    mpp: Pair
    classes: ClassTable


class _RunFacts(BaseModel):
    """What of a run's record matters here; the floor of the whole record is higher, and needs torch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    slide: str
    fingerprint: str
    mpp: Pair
    classes: ClassTable


def subject_of_run(folder: Path) -> Subject:
    """Return the slide of a run and its classes.

    Raises
    ------
    RunError
        When the folder holds no finished run.
    """
    file = folder / RUN_FILE
    try:
        facts = _RunFacts.model_validate_json(file.read_bytes())
    except OSError as error:
        raise RunError(
            f"{folder} holds no finished run: {RUN_FILE} cannot be read ({error.strerror}). "
            "Give the folder of a run that has ended."
        ) from error
    except ValidationError as error:
        raise RunError(f"{file} is damaged: {error.errors()[0]['msg']}. Run it again.") from error
    return Subject(facts.slide, facts.fingerprint, facts.mpp, facts.classes)


def corrections_folder(folder: Path) -> Path:
    """Return the folder of the corrections of a run; of any other folder, itself."""
    return folder / FOLDER if (folder / RUN_FILE).is_file() else folder


def folder_beside(slide: Path) -> Path:
    """Return where corrections of a slide without a run lie: beside it."""
    return slide.with_name(f"{slide.name}.{FOLDER}")
