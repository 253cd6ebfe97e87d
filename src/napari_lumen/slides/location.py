"""Where a slide lies: a path of this machine, or a URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

# two letters at least: C: is a disk; one slash where a Path has swallowed the other
_URL = re.compile(r"([a-z][a-z0-9+.-]+(?:::[a-z][a-z0-9+.-]+)*):/{1,2}(?=[^/])", re.IGNORECASE)


def located(path: str | os.PathLike[str]) -> Path | str:
    """Return a path as it is on this machine, or a URL as text.

    A `Path` that was made of a URL has lost one of its two slashes; it comes back as the URL, unless there
    is such a file. ``file://`` is a path.
    """
    text = os.fspath(path)
    found = _URL.match(text)
    if text.lower().startswith("file:/"):
        return Path(url2pathname(urlsplit(text).path))
    if found is None or Path(text).exists():
        return Path(text).expanduser()
    return f"{found.group(1)}://{text[found.end() :]}".rstrip("/")
