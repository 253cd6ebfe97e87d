"""Fetching a file once, with a checksum: by pooch, into the user's cache. Knows neither Qt nor napari."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import platformdirs

from napari_lumen.errors import Cancelled, SlideError

_TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Download:
    """A file on the web.

    Attributes
    ----------
    name : str
        File name in the cache.
    url : str
    sha256 : str
    size : int
        Bytes, for the progress where the server does not say.
    """

    name: str
    url: str
    sha256: str
    size: int


def cache_folder() -> Path:
    """Return where fetched slides lie."""
    return platformdirs.user_cache_path("napari-lumen") / "slides"


def fetch(
    download: Download,
    on_progress: Callable[[tuple[int, int]], None] = lambda progress: None,
    cancel: Event | None = None,
    folder: Path | None = None,
) -> Path:
    """Return the file of a download, fetched when it is not in the cache yet.

    Parameters
    ----------
    download : Download
    on_progress : callable
        Takes (bytes done, bytes in all), often.
    cancel : threading.Event, optional
        Set it to stop within a few kilobytes.
    folder : Path, optional
        `cache_folder()` when left out.

    Raises
    ------
    Cancelled
        When `cancel` was set.
    SlideError
        When it cannot be fetched or its checksum is wrong; no file is left behind.
    """
    import pooch
    import requests

    folder = folder or cache_folder()
    meter = _Meter(download.size, on_progress, cancel or Event())
    try:
        return Path(
            pooch.retrieve(
                download.url,
                known_hash=f"sha256:{download.sha256}",
                fname=download.name,
                path=folder,
                downloader=pooch.HTTPDownloader(progressbar=meter, timeout=_TIMEOUT),
            )
        )
    except requests.RequestException as error:
        raise SlideError(
            f"{download.name} cannot be downloaded from {download.url}: {_reason(error)}. "
            "Check the connection and try again."
        ) from error
    except ValueError as error:  # pooch's word for a wrong checksum
        raise SlideError(
            f"{download.name} was downloaded from {download.url} but is not the right file: its checksum is "
            "wrong. Nothing was kept; try again later."
        ) from error
    except OSError as error:
        raise SlideError(
            f"{download.name} cannot be written to {folder}: {error.strerror or error}. "
            "Free some space or check your permissions."
        ) from error


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    return "there is no connection to the server"


class _Meter:
    """What pooch calls a progress bar: told of every chunk, and the one place where a download can stop."""

    def __init__(self, total: int, tell: Callable[[tuple[int, int]], None], cancel: Event) -> None:
        self.total = total  # pooch sets it to what the server says
        self._done = 0
        self._tell = tell
        self._cancel = cancel

    def update(self, size: int) -> None:
        """Count some bytes."""
        if self._cancel.is_set():
            raise Cancelled("The download was cancelled; nothing was kept.")
        self._done += size
        self._tell((min(self._done, self.total), self.total))

    def reset(self) -> None:
        """Start anew; pooch does so when all is there."""
        self._done = 0

    def close(self) -> None:
        """Nothing to close."""
