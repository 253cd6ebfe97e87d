"""XML of annotations, read element by element without ever holding the document, and written as text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.saxutils import quoteattr
from xml.sax.xmlreader import AttributesImpl, InputSource

import defusedxml.sax
import numpy as np
import numpy.typing as npt
from defusedxml import DefusedXmlException

from napari_lumen.annotations.content import opened
from napari_lumen.errors import AnnotationError, first_line

Attributes = Mapping[str, str]
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


class Stopped(Exception):  # noqa: N818  it ends the reading of a file that has said enough
    """Raised by a handler that has seen what it looked for."""


class Elements(ContentHandler):
    """Calls ``start_<Element>(attributes)`` and ``end_<Element>()`` of a subclass, where it has them.

    Parameters
    ----------
    path : Path
        The file, for messages.
    root : str
        What its outermost element is called; another one is an error. "" for any.
    """

    def __init__(self, path: Path, root: str) -> None:
        super().__init__()
        self.path, self._root = path, root
        self._opening: dict[str, Callable[[Attributes], None] | None] = {}
        self._closing: dict[str, Callable[[], None] | None] = {}

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802  the parser's name
        """Pass on the beginning of an element."""
        if self._root:
            if name != self._root:
                raise AnnotationError(f"{self.path} begins with <{name}>, not with <{self._root}>.")
            self._root = ""
        if name not in self._opening:
            self._opening[name] = getattr(self, f"start_{name}", None)
        if (call := self._opening[name]) is not None:
            call(cast(Attributes, attrs))

    def endElement(self, name: str) -> None:  # noqa: N802  the parser's name
        """Pass on the end of an element."""
        if name not in self._closing:
            self._closing[name] = getattr(self, f"end_{name}", None)
        if (call := self._closing[name]) is not None:
            call()


def parse(handler: Elements) -> None:
    """Read a file, plain or packed, element by element.

    Raises
    ------
    AnnotationError
        When it cannot be read, is cut off, is not well formed, is in another encoding than it says, or
        declares entities, which small files use to become huge ones.
    """
    path = handler.path
    parser = defusedxml.sax.make_parser()
    parser.setContentHandler(handler)
    source = InputSource()
    try:
        with opened(path) as stream:
            source.setByteStream(stream)
            parser.parse(source)
    except Stopped:
        pass
    except DefusedXmlException as error:
        raise AnnotationError(
            f"{path} declares entities or refers to other files, as no annotations do: it was not read."
        ) from error
    except SAXParseException as error:
        where = f"line {error.getLineNumber()}"
        raise AnnotationError(f"{path} is cut off or is not XML: {error.getMessage()}, {where}.") from error
    except (SAXException, LookupError, UnicodeError, ValueError) as error:
        raise AnnotationError(
            f"{path} is in an encoding that cannot be read: {first_line(error)}."
        ) from error


def numbers(texts: Mapping[str, Sequence[str | None]], where: str) -> npt.NDArray[np.float64]:
    """Return attributes of many elements as finite numbers: one row an element, one column an attribute.

    Parameters
    ----------
    texts : mapping of str to sequence of str or None
        By the name of the attribute, one text an element; None where it is missing.
    where : str
        What the elements are, for messages; the number of the element follows.

    Raises
    ------
    AnnotationError
        When one is missing or is no number.
    """
    try:
        found = np.array([list(map(float, column)) for column in texts.values()])  # type: ignore[arg-type]
        if np.isfinite(found).all():
            return found.T
    except (TypeError, ValueError):
        pass  # one by one, to say which is wrong
    for name, column in texts.items():
        for place, text in enumerate(column):
            if not _is_number(text):
                said = "nothing" if text is None else repr(text)
                raise AnnotationError(f"{where} {place} has no number {name}, but {said}.")
    raise AssertionError("unreachable: one of them is no number")


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False


def element(name: str, attributes: Mapping[str, object], end: str = "/>") -> str:
    """Return an element as text, its attributes quoted; ``end=">"`` leaves it open."""
    said = "".join(
        f" {key}={quoteattr(_FORBIDDEN.sub('�', str(value)))}" for key, value in attributes.items()
    )
    return f"<{name}{said}{end}"


def numbered(points: npt.NDArray[np.float64]) -> Iterable[tuple[str, str]]:
    """Yield (x, y) as text that reads back as the same numbers, without ``.0``."""
    whole = points.astype(np.int64)
    chosen = whole if np.array_equal(whole, points) else points
    return ((str(x), str(y)) for x, y in chosen.tolist())
