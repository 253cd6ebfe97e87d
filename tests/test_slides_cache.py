"""The cache of decoded tiles: bounded, shared, and right from many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from napari_lumen.slides.cache import TileCache
from tiff_files import (
    Image,
)


def test_the_cache_of_tiles_is_bounded_and_keeps_the_last_used() -> None:
    cache = TileCache(1000)
    for index in range(10):
        cache.put("slide", index, np.zeros((10, 10, 3), np.uint8))
    assert cache.nbytes == 900
    assert [index for index in range(10) if cache.get("slide", index) is not None] == [7, 8, 9]
    cache.get("slide", 7)
    cache.put("slide", "new", np.zeros((10, 10, 3), np.uint8))
    assert cache.get("slide", 8) is None
    assert cache.get("slide", 7) is not None
    cache.clear()
    assert cache.nbytes == 0


def test_a_tile_larger_than_the_limit_is_kept_alone_until_the_next_comes() -> None:
    """A whole image in one strip is wanted again for each part of it; ten slides of such keep one strip."""
    cache = TileCache(1000)
    for owner in range(10):
        cache.put(owner, 0, np.zeros(2000, np.uint8))
        assert cache.nbytes == 2000
    assert cache.get(9, 0) is not None
    cache.put("small", 0, np.zeros(300, np.uint8))
    assert cache.nbytes == 300
    cache.set_limit(0)
    assert cache.nbytes == 0


def test_a_cache_forgets_one_owner_and_shrinks_to_a_new_limit() -> None:
    cache = TileCache(10_000)
    for index in range(10):
        cache.put("one" if index % 2 else "two", index, np.zeros(100, np.uint8))
    cache.drop("one")
    assert cache.nbytes == 500
    assert cache.get("one", 1) is None
    cache.set_limit(250)
    assert (cache.limit, cache.nbytes) == (250, 200)
    assert cache.get("two", 8) is not None
    cache.abandon("two")
    cache.put("three", 0, np.zeros(10, np.uint8))
    assert cache.nbytes == 10
    with pytest.raises(ValueError, match="at least 0"):
        cache.set_limit(-1)


def test_the_cache_counts_right_from_many_threads() -> None:
    cache = TileCache(5000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: cache.put(index % 3, index % 50, np.zeros(100, np.uint8)), range(4000)))
    held = [tile for owner in range(3) for key in range(50) if (tile := cache.get(owner, key)) is not None]
    assert cache.nbytes == sum(tile.nbytes for tile in held) <= 5000


def test_threads_that_want_the_same_tile_make_it_once() -> None:
    cache, made, start = TileCache(1000), [], Barrier(8)

    def make() -> Image:
        made.append(1)
        return np.ones(10, np.uint8)

    def fetch(_: int) -> Image:
        start.wait()
        return cache.fetch("slide", 0, make)

    with ThreadPoolExecutor(8) as pool:
        tiles = list(pool.map(fetch, range(8)))
    assert len(made) == 1
    assert all(tile is tiles[0] for tile in tiles)


def test_a_tile_that_cannot_be_made_does_not_block_the_next_who_asks() -> None:
    cache, answers = TileCache(1000), iter([ValueError("broken"), np.ones(3, np.uint8)])

    def make() -> Image:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    with pytest.raises(ValueError, match="broken"):
        cache.fetch("slide", 0, make)
    assert cache.fetch("slide", 0, make).sum() == 3


class Guest:
    """The cache of another library."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def attach(self, handle: Any, attached: object = None) -> object:
        return self

    def resize(self, limit: int) -> None:
        self.limit = limit


def test_a_guest_has_a_part_of_the_limit_while_somebody_holds_it() -> None:
    cache = TileCache(800)
    for index in range(8):
        cache.put("slide", index, np.zeros(100, np.uint8))
    assert cache.nbytes == 800
    guest = cache.guest(Guest)
    assert isinstance(guest, Guest)
    assert cache.guest(Guest) is guest
    assert (guest.limit, cache.nbytes, cache.limit) == (100, 700, 800)
    cache.set_limit(400)
    assert (guest.limit, cache.nbytes) == (50, 300)
    cache.set_limit(0)
    assert (guest.limit, cache.nbytes) == (0, 0)
    cache.set_limit(800)
    del guest
    for index in range(9):
        cache.put("slide", index, np.zeros(100, np.uint8))
    assert cache.nbytes == 800
    again = cache.guest(Guest)
    assert isinstance(again, Guest)
    assert (again.limit, cache.nbytes) == (100, 700)
