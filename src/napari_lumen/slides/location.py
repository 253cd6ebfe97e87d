"""Where a slide lies: a path of this machine, or a URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

# two letters at least: C: is a disk; one slash where a Path has swallowed the other
_URL = re.compile(r"([a-z][a-z0-9+.-]+(?:::[a-z][a-z0-9+.-]+)*):/{1,2}(?=[^/])", re.IGNORECASE)


def located(path: str | bytes | os.PathLike[str]) -> Path | str:
    """Return a path as it is on this machine, or a URL as text.

    A `Path` that was made of a URL has lost one of its two slashes; it comes back as the URL, unless there
    is such a file. ``file://`` is a path.
    """
    text = os.fsdecode(path)
    found = _URL.match(text)
    if text.lower().startswith("file:/"):
        return Path(url2pathname(urlsplit(text).path))
    if found is None or Path(text).exists():
        plain = at_home(text)
        return plain if plain.name else plain.resolve()  # "." has no name to be called by
    return f"{found.group(1)}://{text[found.end() :]}".rstrip("/")


def at_home(path: str | os.PathLike[str]) -> Path:
    """Return a path whose leading ``~`` is the home of a user; where there is no such user, it is a name."""
    plain = Path(path)
    try:
        return plain.expanduser()
    except RuntimeError:
        return plain


def printable(text: str | os.PathLike[str]) -> str:
    """Return a path as text that any file or terminal takes: bytes that are no letters come escaped."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")
