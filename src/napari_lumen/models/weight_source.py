"""Where published weights come from: a file, or a URL that is fetched into the user's cache."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

import platformdirs

from napari_lumen.errors import ModelError, first_line
from napari_lumen.models.paths import user_path

# torchvision's file names end in it; digits alone are more often a date
_HASH_IN_NAME = re.compile(r"-(?=[0-9]*[a-f])([0-9a-f]{8,64})\.")
_CHECKSUM = re.compile(r"[0-9a-fA-F]{8,64}")
_LONGEST_NAME = 100  # characters of a file's name in the cache


@dataclass(frozen=True, slots=True)
class WeightSource:
    """A file or URL of weights.

    Attributes
    ----------
    text : str
        As it was given, for messages.
    url : str or None
        What is fetched: without a fragment, which says nothing to a server. None for a file.
    path : Path
        The file, or the one in the cache that the URL is kept in.
    sha256 : str or None
        Checksum, whole or its first digits: that of the fragment, else the one in the file's name.
    """

    text: str
    url: str | None
    path: Path
    sha256: str | None

    @classmethod
    def parse(cls, text: str) -> WeightSource:
        """Read a path, a ``file://`` or an ``http(s)://`` URL; a URL may end in ``#sha256=HEX``.

        Raises
        ------
        ModelError
            When it cannot be the place of a file, or what stands behind ``#sha256=`` is no checksum.
        """
        if not text.lower().startswith(("http://", "https://", "file:/")):
            path = user_path(text)
            return cls(text, None, path, _named(path.name))
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise ModelError(f"{text!r} is no address of weights: {first_line(error)}.") from error
        stated = _stated(parts.fragment, text)
        if parts.scheme == "file":
            if parts.netloc.lower() not in ("", "localhost"):
                raise ModelError(
                    f"The weights {text} lie on another computer, {parts.netloc}: give file:///PATH, or an "
                    "http(s) address."
                )
            # a question mark has no meaning in the name of a file here, and stands for itself
            query = f"?{parts.query}" if parts.query else ""
            path = user_path(url2pathname(parts.path + query))
            return cls(text, None, path, stated or _named(path.name))
        url = urlunsplit(parts._replace(fragment=""))
        name = re.sub(r"[^\w.-]", "_", unquote(parts.path.rsplit("/", 1)[-1])) or "weights"
        folder = platformdirs.user_cache_path("napari-lumen") / "pretrained"
        kept = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name[-_LONGEST_NAME:]}"
        return cls(text, url, kept, stated or _named(name))

    def fetch(self) -> None:
        """Fetch a URL that is not in the cache; there is nothing to do for a file.

        Raises
        ------
        ModelError
            When it cannot be had.
        """
        if self.url is None:
            return
        import pooch  # imported late: most networks are built without a download
        import requests

        logger = pooch.get_logger()
        before = logger.level
        logger.setLevel(logging.WARNING)  # it recommends a checksum to programmers
        try:
            pooch.retrieve(self.url, known_hash=None, fname=self.path.name, path=self.path.parent)
        except (requests.RequestException, OSError, ValueError) as error:
            raise ModelError(
                f"The weights {self.text} cannot be fetched: {first_line(error)}. Check the address and the "
                "connection, or fetch the file yourself and give its path."
            ) from error
        finally:
            logger.setLevel(before)

    def check(self, sha256: str | None = None) -> None:
        """See that the file is that of its checksum, or of the one that is given.

        Raises
        ------
        ModelError
            When it is another, or the file cannot be read.
        """
        wanted = sha256 or self.sha256
        try:
            with self.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"The weights {self.text} cannot be read ({error.strerror}).") from error
        if wanted and not found.startswith(wanted.lower()):
            self.forget()
            raise ModelError(
                f"The weights {self.text} are damaged or were replaced: their SHA-256 begins {found[:12]}, "
                f"not {wanted[:12]}; fetch them again."
            )

    def forget(self) -> None:
        """Take a broken file out of the cache, which would serve it for ever; the user's own file stays."""
        if self.url is not None:
            self.path.unlink(missing_ok=True)


def _stated(fragment: str, text: str) -> str | None:
    """Return the checksum of a fragment ``sha256=HEX``; other fragments are passed over."""
    found = parse_qs(fragment, keep_blank_values=True).get("sha256")
    if found is None:
        return None
    if not _CHECKSUM.fullmatch(found[-1]):
        raise ModelError(
            f"The weights {text} are given with a checksum that is none: behind #sha256= stand the first 8 "
            "to 64 hexadecimal digits of it."
        )
    return found[-1]


def _named(name: str) -> str | None:
    found = _HASH_IN_NAME.search(name)
    return found.group(1) if found else None
