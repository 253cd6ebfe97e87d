"""All file formats of annotations by name, and reading and writing without knowing which."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_lumen.annotations import asap, imagescope, ncrf
from napari_lumen.annotations.content import Bounded, load_json, opened
from napari_lumen.annotations.geojson import SUFFIXES, read_geojson, write_geojson
from napari_lumen.annotations.hovernet import read_hovernet
from napari_lumen.annotations.imagescope_writing import write_imagescope
from napari_lumen.annotations.measurements_csv import write_csv
from napari_lumen.annotations.mending import OnRepair
from napari_lumen.annotations.shapes import Annotation, moved
from napari_lumen.annotations.xml_stream import Attributes, Elements, Stopped, parse
from napari_lumen.errors import AnnotationError


@dataclass(frozen=True, slots=True)
class Format:
    """One file format.

    Attributes
    ----------
    title : str
        What a user calls it.
    suffixes : tuple of str
        What its files are called.
    read, write : callable or None
        None when it is only written, or only read.
    """

    title: str
    suffixes: tuple[str, ...]
    read: Callable[[Path, OnRepair | None], list[Annotation]] | None = None
    write: Callable[[Path, Iterable[Annotation]], None] | None = None


def _read_omezarr(path: Path, on_repair: OnRepair | None) -> list[Annotation]:
    from napari_lumen.annotations.omezarr import read_labels  # zarr takes long to import

    return read_labels(path)


FORMATS: Mapping[str, Format] = {
    "geojson": Format("QuPath GeoJSON", SUFFIXES, read_geojson, write_geojson),
    "asap": Format("ASAP XML (CAMELYON)", (".xml",), asap.read_asap, asap.write_asap),
    "imagescope": Format(
        "Aperio ImageScope XML",
        (".xml",),
        partial(imagescope.read_imagescope, labels="imagescope"),
        partial(write_imagescope, labels="imagescope"),
    ),
    "bach": Format(
        "BACH XML",
        (".xml",),
        partial(imagescope.read_imagescope, labels="bach"),
        partial(write_imagescope, labels="bach"),
    ),
    "monusac": Format(
        "MoNuSAC XML",
        (".xml",),
        partial(imagescope.read_imagescope, labels="monusac"),
        partial(write_imagescope, labels="monusac"),
    ),
    "hovernet": Format("HoVer-Net JSON", (".json",), read_hovernet),
    "ncrf": Format("NCRF JSON", (".json",), ncrf.read_ncrf),
    "omezarr": Format("OME-Zarr labels", (".zarr",), _read_omezarr),
    "csv": Format("table of measurements (CSV)", (".csv",), write=write_csv),
}
_ROOTS = {asap.ROOT: "asap", imagescope.ROOT: "imagescope"}
_HEAD = 65536  # bytes, in which a file nearly always says what it is
_SIGNS = (
    ("geojson", rb'"type"\s*:\s*"Feature'),
    ("hovernet", rb'"nuc"\s*:'),
    ("ncrf", rb'"(positive|negative)"\s*:'),
)


def read_annotations(
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002  the word the user knows
    *,
    origin: tuple[float, float] = (0.0, 0.0),
    on_repair: OnRepair | None = None,
) -> list[Annotation]:
    """Read annotations of any known format.

    Parameters
    ----------
    path : path
        The file; plain, or packed as gzip or zip. Or the folder of an OME-Zarr with labels, whose finest
        pixels are then taken for those of the slide (`omezarr.read_labels` takes them for others).
    format : str, optional
        A key of `FORMATS`; found by the content, whatever the file is called, when left out.
    origin : (float, float)
        Level-0 (y, x) of what the file calls (0, 0): the upper left corner of the slide's bounds when the
        file was made of the slide cropped to them, as QuPath does.
    on_repair : callable, optional
        Called with a `Repair` for every outline that crossed itself and was repaired, and for whatever had to
        be left out; without one their number goes to the log.

    Returns
    -------
    list of Annotation
        Geometry in level-0 pixels (x, y), valid, in the order of the file.

    Raises
    ------
    AnnotationError
        When the file is missing, cut off, in no known format, or breaks a clause of it. Nothing is returned
        of a file that cannot be read to its end.
    """
    path = Path(path)
    known = _known(format or _kind(path), path)
    if known.read is None:
        raise AnnotationError(f"{path}: {known.title} is only written, never read.")
    read = known.read
    if format is None and read is FORMATS["imagescope"].read:
        read = imagescope.read_imagescope  # which finds out whose labels they are while it reads
    found = read(path, on_repair)
    return found if origin == (0, 0) else list(moved(found, *origin))


def write_annotations(
    path: str | os.PathLike[str],
    annotations: Iterable[Annotation],
    format: str | None = None,  # noqa: A002  the word the user knows
    *,
    origin: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Write annotations; the file appears when it is whole.

    Parameters
    ----------
    path : path
        The file to write; packed when it ends in ``.gz`` or ``.zip``.
    annotations : iterable of Annotation
        Geometry in level-0 pixels (x, y).
    format : str, optional
        A key of `FORMATS`; by the suffix when left out, which ``.xml`` does not tell.
    origin : (float, float)
        Level-0 (y, x) of what the file is to call (0, 0), as in `read_annotations`.

    Raises
    ------
    AnnotationError
        When the format is not known or cannot hold the annotations, or the file cannot be written.
    """
    path = Path(path)
    known = _known(format or _by_suffix(path), path)
    if known.write is None:
        raise AnnotationError(f"{path}: {known.title} is only read, never written.")
    known.write(path, annotations if origin == (0, 0) else moved(annotations, -origin[0], -origin[1]))


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the key in `FORMATS` of a file, by its content.

    Raises
    ------
    AnnotationError
        When the file cannot be read or is in none of the formats.
    """
    path = Path(path)
    kind = _kind(path)
    return imagescope.labels_of(path) if kind == "imagescope" else kind


def looks_like_annotations(path: str | os.PathLike[str]) -> bool:
    """Whether the beginning of a file says that it holds annotations; never reads further, never raises.

    What calls itself ``.geojson`` counts even when it is broken, so that its reader can say what is wrong.
    """
    path = Path(path)
    if not path.is_file():
        return False
    if ".geojson" in path.name.lower():
        return True
    try:
        with opened(path) as stream:
            head = _head(stream)
        if head.startswith(b"<"):
            root = _Root(path)
            parse(root)
            return root.name in _ROOTS
    except AnnotationError:
        return False
    return head[:1] in (b"{", b"[") and any(re.search(sign, head) for _, sign in _SIGNS)


def _head(stream: Bounded) -> bytes:
    return stream.read(_HEAD).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")


def _kind(path: Path) -> str:
    """Return the key of a file, that of ImageScope for all that are built like its files."""
    if path.is_dir():
        return "omezarr"
    with opened(path) as stream:
        head = _head(stream)
    if head.startswith(b"<"):
        root = _Root(path)
        parse(root)
        if root.name in _ROOTS:
            return _ROOTS[root.name]
    elif head.startswith(b"["):
        return "geojson"
    elif head.startswith(b"{"):
        said = next((key for key, sign in _SIGNS if re.search(sign, head)), None)
        return said or _of_document(path)
    known = ", ".join(item.title for item in FORMATS.values() if item.read is not None)
    raise AnnotationError(f"{path} is in no format of annotations that can be read ({known}).")


class _Root(Elements):
    """Reads no further than the outermost element."""

    name = ""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "")

    def startElement(self, name: str, attrs: Attributes) -> None:  # type: ignore[override]  # noqa: N802
        self.name = name
        raise Stopped


def _of_document(path: Path) -> str:
    """Return what a document is that does not say so at its beginning; else QuPath's."""
    document = load_json(path)
    if "nuc" in document:
        return "hovernet"
    return "ncrf" if any(group in document for group in ncrf.GROUPS) else "geojson"


def _by_suffix(path: Path) -> str:
    name = path.name.lower()
    fitting = [
        key for key, item in FORMATS.items() if item.write is not None and name.endswith(item.suffixes)
    ]
    if len(fitting) == 1:
        return fitting[0]
    said = fitting or [key for key, item in FORMATS.items() if item.write is not None]
    raise AnnotationError(f"{path} does not tell its format by its name: give one of {', '.join(said)}.")


def _known(name: str, path: Path) -> Format:
    if name not in FORMATS:
        raise AnnotationError(f'{path}: there is no format "{name}", only {", ".join(FORMATS)}.')
    return FORMATS[name]
