"""Who corrects, and when."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime


def this_user() -> str:
    """Return the name of the account that this process runs under; "unknown" where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, in a container
        return "unknown"


def now() -> str:
    """Return the time, ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
