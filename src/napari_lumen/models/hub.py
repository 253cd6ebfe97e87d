"""Models on a hub: `hub:ORG/NAME` or `hub:ORG/NAME@REVISION`, fetched into the user's cache."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from napari_lumen.errors import ModelError, first_line

PREFIX = "hub:"
_REFERENCE = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class HubReference:
    """Where a model lies on a hub.

    Attributes
    ----------
    repository : str
        ``ORG/NAME``.
    revision : str or None
        Branch, tag or commit; None is the hub's main branch.
    """

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubReference:
        """Read ``hub:ORG/NAME`` or ``hub:ORG/NAME@REVISION``.

        Raises
        ------
        ModelError
            When it is written otherwise.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None:
            raise ModelError(f"{text!r} is no model on a hub: write hub:ORG/NAME or hub:ORG/NAME@REVISION.")
        return cls(found["repository"], found["revision"])

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def fetch(reference: HubReference, *files: str, also: Sequence[str] = (), again: bool = False) -> Path:
    """Fetch files of a model, and nothing else of it, and return the folder in the cache that holds them.

    Files that are there already are not fetched again; without a connection, those of the last time serve.
    The hub is huggingface.co, or the one at ``HF_ENDPOINT``.

    Parameters
    ----------
    reference : HubReference
    *files : str
        Names in the repository.
    also : sequence of str
        Those that it need not have.
    again : bool
        Fetch them although they are there: the copy in the cache is damaged.

    Raises
    ------
    ModelError
        When huggingface-hub is not installed, the hub cannot be reached, or there is no such model,
        revision or file.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise ModelError(
            f'{reference} lies on a hub, which needs huggingface-hub: pip install "napari-lumen[hub]".'
        ) from error

    try:
        with _bars_on_terminals_only():
            folder = Path(
                snapshot_download(
                    reference.repository,
                    revision=reference.revision,
                    cache_dir=platformdirs.user_cache_path("napari-lumen") / "hub",
                    allow_patterns=[*files, *also],
                    force_download=again,
                    endpoint=os.environ.get("HF_ENDPOINT") or None,
                )
            )
    except RevisionNotFoundError as error:
        raise ModelError(
            f"The model {reference.repository} has no revision {reference.revision!r} on the hub."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no model {reference.repository} on the hub, or only some who are logged in may see it."
        ) from error
    except Exception as error:  # each generation of the library raises the errors of another transport
        raise ModelError(
            f"{reference} cannot be fetched: {first_line(error)}. Check the connection, or fetch its folder "
            "yourself and give the path."
        ) from error
    for file in files:
        if not (folder / file).is_file():
            raise ModelError(f"{reference} is no model of napari-lumen: it has no {file}.")
    return folder


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """Keep the library's progress bars out of files and pipes."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
