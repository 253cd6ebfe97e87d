"""How much is asked of a web server at once: little, until it shows that it can take more."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp

_FIRST = 6  # Python's own server lets five new connections wait, and one more
_MOST = 64


class Pace:
    """The requests that are on their way to one server.

    A server lets a few new connections wait and forgets those beyond: they seem open, and nothing ever
    comes. So no more than a few wait for their first answer. And as few requests are on their way in all,
    until connections turn out to be kept open between requests, which is cheaper than opening others: each
    that is used again allows for one request more. A server that closes them, as simple ones do, never gets
    more.
    """

    def __init__(self) -> None:
        self._requests, self._openings = asyncio.Semaphore(_FIRST), asyncio.Semaphore(_FIRST)
        self._count = _FIRST
        self._answered = self._silent = -math.inf

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Wait until one more request may be on its way.

        Raises
        ------
        ConnectionError
            When the server has fallen silent meanwhile: all who wait would stand still one after another.
        """
        await self._pass(self._requests)
        try:
            yield
        finally:
            self._requests.release()

    async def open(self) -> None:
        """Wait until one more connection may be opened; as of `request`."""
        await self._pass(self._openings)

    def opened(self) -> None:
        """Note that a new connection has brought an answer, or has failed."""
        self._openings.release()

    def used_again(self) -> None:
        """Note that a connection was kept open."""
        if self._count < _MOST:
            self._count += 1
            self._requests.release()

    def answered(self) -> None:
        """Note a sign of life."""
        self._answered = time.monotonic()

    def fell_silent(self, since: float) -> None:
        """Note that a request has got no answer since a time, unless another one got one."""
        if self._answered < since:
            self._silent = time.monotonic()

    async def _pass(self, gate: asyncio.Semaphore) -> None:
        asked = time.monotonic()
        await gate.acquire()
        if asked < self._silent:
            gate.release()
            raise ConnectionError("the server has fallen silent")


_current: ContextVar[Pace | None] = ContextVar("pace", default=None)
_paces: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Pace]] = WeakKeyDictionary()


def pace_for(host: str) -> Pace:
    """Return the pace of a server, for the request that the running task makes next."""
    pace = _paces.setdefault(asyncio.get_running_loop(), {}).setdefault(host, Pace())
    _current.set(pace)
    return pace


async def session(**options: Any) -> aiohttp.ClientSession:
    """Return a session that keeps to the pace of the server that is asked."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(_opening)
    trace.on_connection_reuseconn.append(_used_again)
    trace.on_request_end.append(_opened)
    trace.on_request_exception.append(_opened)
    return aiohttp.ClientSession(**options, trace_configs=[trace])


async def _opening(_: aiohttp.ClientSession, request: SimpleNamespace, __: Any) -> None:
    pace = _current.get()
    if pace is not None and not hasattr(request, "pace"):  # once, where it is sent on to another address
        await pace.open()
        request.pace = pace


async def _opened(_: aiohttp.ClientSession, request: SimpleNamespace, __: Any) -> None:
    pace = vars(request).pop("pace", None)
    if pace is not None:
        pace.opened()


async def _used_again(_: aiohttp.ClientSession, __: SimpleNamespace, ___: Any) -> None:
    pace = _current.get()
    if pace is not None:
        pace.used_again()
