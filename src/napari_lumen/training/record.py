"""`training.json`: what a training folder is of, and how far it came."""

from __future__ import annotations

import hashlib
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_lumen.errors import RunError
from napari_lumen.holding import write_text

RECORD = "training.json"
_VERSIONS = ("napari-lumen", "torch", "lightning-fabric", "monai", "numpy")


class TrainingState(BaseModel):
    """What is known of a training; its folder holds it as `training.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str = Field(description="Of the model that comes out.")
    recipe: str = Field(description="Kind of recipe.")
    numbers: dict[str, Any] = Field(description="All numbers of the recipe.")
    data: str = Field(description="What was trained on.")
    identity: str = Field(description="Checksum of recipe, data, split and first weights.")
    state: Literal["running", "cancelled", "failed", "finished"] = "running"
    problem: str | None = Field(default=None, description="Why it failed.")
    started: str = Field(description="Time of the first session, UTC.")
    ended: str | None = Field(default=None, description="Time when the last session ended, UTC.")
    sessions: int = 1
    seconds: float = Field(default=0.0, description="Time spent training.")
    best: float | None = Field(default=None, description="Score of the best epoch.")
    best_epoch: int | None = Field(default=None, description="Its number in its phase, from 1.")
    device: str = ""
    precision: str = ""
    versions: dict[str, str] = Field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        write_text(folder / RECORD, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> TrainingState:
        """Read it.

        Raises
        ------
        RunError
            When the folder holds no training, or its record is damaged.
        """
        try:
            return cls.model_validate_json((folder / RECORD).read_bytes())
        except OSError as error:
            raise RunError(f"{folder} holds no training: {error.strerror or error}.") from error
        except ValidationError as error:
            raise RunError(
                f"{folder / RECORD} is damaged, so the training there cannot go on. Choose another folder."
            ) from error


def identity_of(*parts: Any) -> str:
    """Return a checksum of what makes two trainings the same; each part must be JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def now() -> str:
    """Return the time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions that decide on the numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}}
