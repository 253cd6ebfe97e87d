"""A byte-bounded cache of decoded tiles, shared by all slides of a process."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Protocol
from weakref import ref

import numpy.typing as npt

Tile = npt.NDArray[Any]

_DEFAULT_BYTES = 512 << 20
_GUESTS_PART = 8  # an eighth: 64 MB of 512, with which OpenSlide decodes the strips of an NDPI once


class GuestCache(Protocol):
    """The cache of another library, which must stay within the same limit."""

    def attach(self, handle: Any, attached: object = None) -> object:
        """Let something of that library keep its tiles there, and return what it is attached to."""

    def resize(self, limit: int) -> None:
        """Forget everything and keep at most `limit` bytes from now on."""


class TileCache:
    """Least recently used tiles up to a number of bytes; safe from many threads.

    A tile that is larger by itself is kept alone, until the next one comes: a whole image in one strip is
    wanted again for each part of it.

    Tiles belong to an owner (a slide), so that a closed slide's can be dropped. They are kept read-only:
    whoever needs to write makes a copy.

    Parameters
    ----------
    limit : int
        Bytes that are kept at most, of all owners together and of the guest, if there is one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._tiles: OrderedDict[tuple[Hashable, Hashable], Tile] = OrderedDict()
        self._making: dict[tuple[Hashable, Hashable], Lock] = {}
        self._abandoned: deque[Hashable] = deque()
        self._guest: ref[GuestCache] | None = None
        self._lock = Lock()

    @property
    def limit(self) -> int:
        """Bytes that are kept at most, unless one tile is larger."""
        return self._limit

    @property
    def nbytes(self) -> int:
        """Bytes of tiles held now, without what the guest holds."""
        return self._size

    def set_limit(self, limit: int) -> None:
        """Keep at most `limit` bytes from now on; 0 keeps nothing."""
        if limit < 0:
            raise ValueError(f"a cache holds at least 0 bytes, not {limit}")
        with self._lock:
            changed, self._limit = limit != self._limit, limit
            guest = self._present()
            if changed and guest is not None:
                guest.resize(limit // _GUESTS_PART)
            self._trim()

    def guest(self, make: Callable[[int], GuestCache]) -> GuestCache:
        """Return the cache of another library that shares this one's limit.

        It has an eighth of the limit, and follows it, for as long as somebody holds it; then the tiles here
        have all of it again.

        Parameters
        ----------
        make : callable
            Makes it of its bytes, where there is none.
        """
        with self._lock:
            guest = self._present()
            if guest is None:
                guest = make(self._limit // _GUESTS_PART)
                self._guest = ref(guest)
                self._trim()
            return guest

    def get(self, owner: Hashable, key: Hashable) -> Tile | None:
        """Return a tile, now the most recently used, or None."""
        with self._lock:
            tile = self._tiles.get((owner, key))
            if tile is not None:
                self._tiles.move_to_end((owner, key))
            return tile

    def put(self, owner: Hashable, key: Hashable, tile: Tile) -> None:
        """Keep a tile, read-only from now on, and drop the least recently used beyond the limit."""
        tile.flags.writeable = False
        with self._lock:
            self._drop_abandoned()
            before = self._tiles.pop((owner, key), None)
            if before is not None:
                self._size -= before.nbytes
            self._tiles[owner, key] = tile
            self._size += tile.nbytes
            self._trim()

    def fetch(self, owner: Hashable, key: Hashable, make: Callable[[], Tile]) -> Tile:
        """Return a tile, made if it is not here; threads that ask for it meanwhile wait for it.

        Parameters
        ----------
        owner, key : hashable
        make : callable
            Returns the tile, an array of its own that nobody else writes to. What it raises is passed on,
            and the next thread in line tries again.

        Returns
        -------
        ndarray
            Read-only.
        """
        while True:
            with self._lock:
                tile = self._tiles.get((owner, key))
                if tile is not None:
                    self._tiles.move_to_end((owner, key))
                    return tile
                gate = self._making.get((owner, key))
                if gate is None:
                    mine = self._making[owner, key] = Lock()
                    mine.acquire()
                    break
            with gate:  # another thread is at it
                pass
        try:
            tile = make()
            self.put(owner, key, tile)
            return tile
        finally:
            with self._lock:
                del self._making[owner, key]
            mine.release()

    def drop(self, owner: Hashable) -> None:
        """Forget the tiles of one owner."""
        with self._lock:
            self._drop(owner)

    def abandon(self, owner: Hashable) -> None:
        """Forget the tiles of one owner, now or with the next tile that comes in.

        For finalizers: they may run in the middle of anything, also of a call to this cache, and must not
        wait for its lock.
        """
        self._abandoned.append(owner)
        if self._lock.acquire(blocking=False):
            try:
                self._drop_abandoned()
            finally:
                self._lock.release()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._tiles.clear()
            self._size = 0
            guest = self._present()
            if guest is not None:
                guest.resize(self._limit // _GUESTS_PART)

    def _present(self) -> GuestCache | None:
        return None if self._guest is None else self._guest()

    def _drop_abandoned(self) -> None:
        while self._abandoned:
            self._drop(self._abandoned.popleft())

    def _drop(self, owner: Hashable) -> None:
        for name in [name for name in self._tiles if name[0] == owner]:
            self._size -= self._tiles.pop(name).nbytes

    def _trim(self) -> None:
        room = self._limit if self._present() is None else self._limit - self._limit // _GUESTS_PART
        least = 1 if self._limit else 0
        while self._size > room and len(self._tiles) > least:
            _, dropped = self._tiles.popitem(last=False)
            self._size -= dropped.nbytes


def process_cache() -> TileCache:
    """Return the cache that slides share when they are given none of their own.

    The one thing here that is process-wide: memory is. Ten slides open at once, in the viewer and under a
    model, must together stay within what the user allows, which no slide can see to alone. Its limit is
    set with `process_cache().set_limit(bytes)`.
    """
    return _PROCESS_CACHE


_PROCESS_CACHE = TileCache(_DEFAULT_BYTES)
