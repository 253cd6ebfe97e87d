"""A Zarr store behind a URL, through fsspec."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore

from napari_lumen.slides.omezarr_pace import Pace, pace_for, session

_CONNECT_SECONDS, _READ_SECONDS = 10, 20  # without a sign of life
_TRIES, _LONGEST = 3, 30  # seconds after which it is not tried again
_HTTP = ("http", "https")
_LARGEST_WHOLE = 64 << 20  # bytes that are fetched for a part of them
_FORBIDDEN = 403
_PASSING = (429, 500, 502, 503, 504)  # a server that is busy


def remote_store(url: str) -> FsspecStore:
    """Return the store of a URL of any kind that fsspec knows, for reading.

    Raises
    ------
    ImportError
        When the kind needs a package that is not installed.
    ValueError
        When the kind is unknown.
    """
    options: dict[str, Any] = {}
    if urlsplit(url).scheme in _HTTP:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        # hospitals have proxies, which are stated in the environment
        options["client_kwargs"] = {"timeout": timeout, "trust_env": True}
        options["get_client"] = session
    return _RemoteStore.from_url(url, storage_options=options, read_only=True)


class _RemoteStore(FsspecStore):
    """A remote store that asks a busy server again, and takes "forbidden" for "missing".

    Object stores that may not be listed answer 403 for what does not exist, as empty chunks do not. Servers
    that know no ranges send the whole of what a part was asked of, which is cut out here. Failures of the
    network come out as OSError.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        address = urlsplit(self.path)
        if address.scheme not in _HTTP:  # object stores have clients of their own, which see to that
            return await self._asked(key, prototype, byte_range, None)
        pace = pace_for(address.netloc)
        async with pace.request():
            return await self._asked(key, prototype, byte_range, pace)

    async def _asked(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None, pace: Pace | None
    ) -> Buffer | None:
        begun = time.monotonic()
        for attempt in range(1, _TRIES + 1):
            try:
                found = await super().get(key, prototype, byte_range)
                if pace is not None:
                    pace.answered()
                return None if found is None else _part(found, byte_range)
            except aiohttp.ClientError as error:
                if isinstance(error, aiohttp.ClientResponseError) and error.status == _FORBIDDEN:
                    return None
                late = attempt == _TRIES or time.monotonic() - begun > _LONGEST
                if late or not _passing(error):
                    if pace is not None and isinstance(error, aiohttp.ServerTimeoutError):
                        pace.fell_silent(begun)
                    raise ConnectionError(_told(error)) from error
            await asyncio.sleep(0.2 * 2**attempt)
        return None


def _part(found: Buffer, wanted: ByteRequest | None) -> Buffer:
    """Return what was asked for of what a server has sent: that, or the whole."""
    if isinstance(wanted, RangeByteRequest):
        most, part = wanted.end - wanted.start, slice(wanted.start, wanted.end)
    elif isinstance(wanted, SuffixByteRequest):
        most, part = wanted.suffix, slice(-wanted.suffix, None)
    else:
        return found
    if len(found) <= most:
        return found
    if len(found) > _LARGEST_WHOLE:
        raise ConnectionError(
            f"the server knows no ranges and sends {len(found) >> 20} MB where {most:,} bytes are asked for"
        )
    return found[part]


def _passing(error: aiohttp.ClientError) -> bool:
    """Whether it is worth asking again: not where there is no such server."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in _PASSING
    return isinstance(
        error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.SocketTimeoutError
    )


def _told(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the server answers {error.status} {error.message}"
    return str(error) or type(error).__name__
