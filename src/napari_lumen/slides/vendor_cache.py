"""OpenSlide's own decoded tiles, within the limit of our cache."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from threading import Lock
from typing import Any
from weakref import WeakSet

import openslide
from openslide import lowlevel


class VendorCache:
    """One cache for all handles of OpenSlide, which would else take 32 MB for each.

    OpenSlide cannot change the size of a cache: for a new limit all handles get a new one. Tiles of a
    handle that is closed go as others need their room, or with the whole cache.

    Parameters
    ----------
    limit : int
        Bytes that are kept at most, of all handles together.
    """

    def __init__(self, limit: int) -> None:
        self._cache = lowlevel.cache_create(limit)
        self._handles: WeakSet[Any] = WeakSet()
        self._lock = Lock()

    def attach(self, handle: Any) -> None:
        """Let a handle keep its tiles here."""
        with self._lock:
            lowlevel.set_cache(handle, self._cache)
            self._handles.add(handle)

    def detach(self, handle: Any) -> None:
        """Forget a handle, before it is closed: from then on nobody may touch it."""
        with self._lock:
            self._handles.discard(handle)

    def resize(self, limit: int) -> None:
        """Forget everything and keep at most `limit` bytes from now on."""
        with self._lock:
            self._cache = lowlevel.cache_create(limit)
            for handle in list(self._handles):
                with suppress(openslide.OpenSlideError, ctypes.ArgumentError):  # it has died
                    lowlevel.set_cache(handle, self._cache)
