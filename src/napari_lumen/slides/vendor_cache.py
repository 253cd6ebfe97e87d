"""OpenSlide's own decoded tiles, within the limit of our cache."""

from __future__ import annotations

from typing import Any

from openslide import lowlevel


class VendorCache:
    """One cache for all handles of OpenSlide, which would else take 32 MB for each.

    OpenSlide cannot change the size of a cache: for a new limit there is a new one, which each slide gives
    its handle when it is next read (`attach`). Nothing here keeps handles: one that another thread closes
    must not be touched, and nobody but its slide knows when that is.

    Parameters
    ----------
    limit : int
        Bytes that are kept at most, of all handles together.
    """

    def __init__(self, limit: int) -> None:
        self._cache = lowlevel.cache_create(limit)

    def attach(self, handle: Any, attached: object = None) -> object:
        """Let a handle keep its tiles here, and return what it is attached to now.

        Parameters
        ----------
        handle : OpenSlide handle
            Which the caller holds open.
        attached : object
            What the last call for this handle returned; where that is still right nothing is done.
        """
        cache = self._cache
        if attached is not cache:
            lowlevel.set_cache(handle, cache)
        return cache

    def resize(self, limit: int) -> None:
        """Forget everything, as soon as all handles are attached anew, and keep at most `limit` bytes."""
        self._cache = lowlevel.cache_create(limit)
