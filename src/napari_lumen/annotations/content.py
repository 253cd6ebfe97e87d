"""The bytes of annotation files: unpacked when packed, bounded, and written whole or not at all."""

from __future__ import annotations

import gc
import gzip
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import orjson

from napari_lumen.errors import AnnotationError, first_line

LARGEST = 2 * 1024**3  # bytes, unpacked: ten times the outlines of a slide's nuclei; a bomb ends here
_SUFFIXES = (".geojson", ".json", ".xml")
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class Bounded:
    """A stream of bytes that ends in an error beyond a size."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path, self._left = stream, path, LARGEST

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, all that is left when it is negative.

        Raises
        ------
        AnnotationError
            When the content is larger than `LARGEST`.
        """
        wanted = self._left + 1 if size < 0 else min(size, self._left + 1)
        data = self._stream.read(wanted)
        self._left -= len(data)
        if self._left < 0:
            raise AnnotationError(
                f"{self._path} holds more than {LARGEST / 1e9:.1f} GB, too much for one file of annotations: "
                "split it."
            )
        return data

    def close(self) -> None:
        """Close the stream, as parsers do at the end."""
        self._stream.close()


@contextmanager
def opened(path: Path) -> Iterator[Bounded]:
    """Open a file for reading, unpacked when its content is gzip or zip, whatever its name.

    Raises
    ------
    AnnotationError
        When it cannot be read or unpacked, there or while it is read.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
            raw.seek(0)
            if head[:2] == b"\x1f\x8b":
                with gzip.open(raw) as unpacked:
                    yield Bounded(cast(IO[bytes], unpacked), path)
            elif head == b"PK\x03\x04":
                with zipfile.ZipFile(raw) as archive, archive.open(_member(archive, path)) as unpacked:
                    yield Bounded(unpacked, path)
            else:
                yield Bounded(raw, path)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise AnnotationError(f"Cannot read {path}: {reason}.") from error


def load_json(path: Path) -> Any:
    """Return the document in a JSON file, plain or packed, in UTF-8 or UTF-16.

    Raises
    ------
    AnnotationError
        When it cannot be read or is not JSON.
    """
    with opened(path) as stream:
        data = stream.read()
    try:
        for mark, encoding in _BYTE_ORDER_MARKS:
            if data.startswith(mark):
                data = data.decode(encoding).encode()
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            if b"NaN" not in data and b"Infinity" not in data:
                raise
            return json.loads(data)  # Python writes numbers that JSON does not have
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path} is cut off or is not JSON: {first_line(error)}.") from error


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking millions of new coordinates again and again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears, or replaces another, when it is whole.

    It is packed when it is named ``.gz`` or ``.zip``. The same content gives the same bytes.

    Raises
    ------
    AnnotationError
        When it cannot be written.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as raw:
            temporary = Path(raw.name)
            with _packed(raw, path) as stream:
                yield stream
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise AnnotationError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def _packed(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:
            yield cast(IO[bytes], stream)
    elif suffix == ".zip":
        member = zipfile.ZipInfo(path.stem)  # dated 1980
        member.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(raw, "w") as archive, archive.open(member, "w", force_zip64=True) as entry:
            yield entry
    else:
        yield raw


def _member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """Return the one annotation file of an archive; what macOS adds to archives is none."""
    found = [
        item
        for item in archive.infolist()
        if item.filename.lower().endswith(_SUFFIXES) and not item.filename.startswith("__MACOSX/")
    ]
    if len(found) != 1:
        names = ", ".join(item.filename for item in found[:3])
        raise AnnotationError(
            f"{path} holds {names} and perhaps more: unpack it and read one of them."
            if found
            else f"{path} holds no {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]} file."
        )
    if found[0].flag_bits & 1:
        raise AnnotationError(f"{path} is locked by a password: unpack it first.")
    return found[0]
