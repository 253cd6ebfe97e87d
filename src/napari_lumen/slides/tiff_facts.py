"""What vendors write about a slide in a TIFF's tags: pixel size, magnification, channels."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from napari_lumen.geometry import Pair
from napari_lumen.slides.level import Channel, default_color
from napari_lumen.slides.stated_size import StatedSize, size_of_resolution, size_of_text
from napari_lumen.slides.tiff_directory import Directory

DESCRIPTION, _MAKE, _MODEL, SOFTWARE, _DATE, _XMP = 270, 271, 272, 305, 306, 700
_UM_PER_UNIT = {2: 25400.0, 3: 10000.0}
_IMAGEJ_UNITS = {"micron": 1.0, "um": 1.0, "µm": 1.0, "\\u00b5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_IMAGEJ_UNITS |= {"microns": 1.0, "inch": 25400.0}
_NO_UNIT = ("", "pixel", "pixels")
_LONGEST = 40  # letters of what a file says
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says about itself.

    Attributes
    ----------
    vendor : str
    properties : mapping of str to str
    size : StatedSize
        Of a pixel.
    magnification : float or None
    """

    vendor: str
    properties: Mapping[str, str] = field(default_factory=dict)
    size: StatedSize = field(default_factory=StatedSize)
    magnification: float | None = None


def number(text: str | None) -> float | None:
    """Return a text as a finite number, or None."""
    try:
        value = math.nan if text is None else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def aperio_facts(page: Directory) -> Facts:
    """Return what the description of an Aperio slide says: `key = value` between bars."""
    head, *pairs = page.text(DESCRIPTION).split("|")
    properties = {"Description": head.strip()}
    for pair in pairs:
        key, _, value = pair.partition("=")
        properties[key.strip()] = value.strip()
    size = size_of_text(properties.get("MPP"))
    return Facts("aperio", properties, size, number(properties.get("AppMag")))


def generic_facts(page: Directory) -> Facts:
    """Return what plain tags say; the pixel size comes from the resolution, as of a microscope or ImageJ."""
    names = {DESCRIPTION: "Description", _MAKE: "Make", _MODEL: "Model", SOFTWARE: "Software", _DATE: "Date"}
    properties = {name: page.text(code) for code, name in names.items() if page.text(code)}
    size = resolution(page)
    if size.mpp is not None and not _is_imagej(page):
        size = size_of_resolution(size.mpp)
    return Facts("generic-tiff", properties, size)


def resolution(page: Directory) -> StatedSize:
    """Return the pixel size of the resolution tags; without a unit they state none."""
    if not (283 in page and 282 in page):
        return StatedSize()
    per_unit = [page.ratio(code) for code in (283, 282)]
    scale = _UM_PER_UNIT.get(page.integer(296, 1))
    settings = imagej_settings(page)
    if settings:  # which keeps pixels per its own unit there
        unit = settings.get("unit", "")
        scale = _IMAGEJ_UNITS.get(unit.lower())
        if scale is None and unit.lower() not in _NO_UNIT:
            return StatedSize(unused=f"a number of {unit[:_LONGEST]!r}, a unit that is not known here")
    if scale is None:
        return StatedSize()
    # a ratio of something to 0 is None: with so many of them in a unit, a pixel has no size
    y, x = (0.0 if value is None else scale / value if value else math.inf for value in per_unit)
    return StatedSize((y, x))


def _is_imagej(page: Directory) -> bool:
    return page.text(DESCRIPTION).startswith("ImageJ=")


def imagej_settings(page: Directory) -> dict[str, str]:
    """Return what ImageJ wrote into the description, empty for another program's."""
    if not _is_imagej(page):
        return {}
    lines = (line.partition("=") for line in page.text(DESCRIPTION).splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def stack_axes(page: Directory, pages: int) -> dict[str, int]:
    """Return the axes that equal directories run along, and how far; I where the file is silent."""
    settings = imagej_settings(page)
    if settings:
        lengths = {axis: _length(settings, key) for axis, key in _IMAGEJ_AXES.items()}
        return {axis: length for axis, length in lengths.items() if length > 1}
    try:
        stated = json.loads(page.text(DESCRIPTION))
        axes, shape = stated["axes"], stated["shape"]
        found = {axis: int(side) for axis, side in zip(axes, shape, strict=True) if axis not in "YXS"}
    except (ValueError, KeyError, TypeError):
        found = {}
    if math.prod(found.values()) != pages:
        found = {"I": pages}
    return {axis: length for axis, length in found.items() if length > 1}


_IMAGEJ_AXES = {"C": "channels", "Z": "slices", "T": "frames"}


def _length(settings: Mapping[str, str], key: str) -> int:
    value = settings.get(key, "1")
    return int(value) if value.isdecimal() else 1


def named(channels: Sequence[Channel], count: int) -> tuple[Channel, ...]:
    """Return `count` channels with a name and a colour each, where the file left them out."""
    known = [*channels[:count], *[Channel("")] * (count - len(channels))]
    plain = all(channel.color == _WHITE for channel in known)
    return tuple(
        Channel(
            channel.name or (f"Channel {index + 1}" if count > 1 else "Intensity"),
            default_color(index, count) if plain else channel.color,
        )
        for index, channel in enumerate(known)
    )


def perkinelmer_xml(page: Directory) -> Mapping[str, str]:
    """Return the texts of the top level of a QPTIFF directory's description: ImageType, Name, Color ..."""
    try:
        root = ET.fromstring(page.text(DESCRIPTION))
    except (ET.ParseError, ValueError):
        return {}
    return {child.tag: (child.text or "").strip() for child in root if not len(child)}


def perkinelmer_facts(page: Directory) -> Facts:
    """Return what the first directory of a QPTIFF says."""
    texts = perkinelmer_xml(page)
    objective = re.match(r"[\d.]+", texts.get("Objective", ""))
    magnification = number(objective.group()) if objective else None
    return Facts("perkinelmer-qptiff", dict(texts), resolution(page), magnification)


def perkinelmer_channel(page: Directory) -> Channel:
    """Return the name and colour of a fluorescence directory of a QPTIFF."""
    texts = perkinelmer_xml(page)
    parts = [part.strip() for part in texts.get("Color", "").split(",")]
    if len(parts) == 3 and all(part.isdecimal() and int(part) < 256 for part in parts):
        return Channel(texts.get("Name", ""), (int(parts[0]), int(parts[1]), int(parts[2])))
    return Channel(texts.get("Name", ""))


def philips_spacings(page: Directory) -> list[Pair]:
    """Return the pixel size (y, x) in µm of each level, as the XML of a Philips TIFF states them."""
    try:
        root = ET.fromstring(page.text(DESCRIPTION))
    except (ET.ParseError, ValueError):
        return []
    found = root.findall(
        ".//DataObject[@ObjectType='PixelDataRepresentation']/Attribute[@Name='DICOM_PIXEL_SPACING']"
    )
    return [_spacing(element.text) for element in found]


def _spacing(text: str | None) -> Pair:
    """Return a pixel size in µm as stated, NaN where it cannot be read: it is told of, not passed over."""
    try:
        y, x = (float(part) for part in (text or "").replace('"', " ").split())
    except ValueError:
        return math.nan, math.nan
    return y * 1e3, x * 1e3  # mm: of rows, then of columns


def philips_facts(page: Directory) -> Facts:
    """Return what the XML of a Philips TIFF says."""
    try:
        root = ET.fromstring(page.text(DESCRIPTION))
    except (ET.ParseError, ValueError):
        return Facts("philips")
    properties = {
        element.get("Name", ""): (element.text or "").strip()
        for element in root.iter("Attribute")
        if not len(element) and len(element.text or "") < 1000
    }
    spacings = philips_spacings(page)
    levels = re.search(r"levels=(\d+)", properties.get("DICOM_DERIVATION_DESCRIPTION", ""))
    power = number(levels.group(1)) if levels else None
    own = StatedSize(spacings[0] if spacings else None)
    return Facts("philips", properties, own, power if power is not None and 0 < power <= 200 else None)


def ventana_xml(pages: Sequence[Directory]) -> str:
    """Return the iScan XML of a Ventana slide, empty for another's."""
    for page in pages:
        data = page.data(_XMP)
        if b"<iScan" in data:
            return data.rstrip(b"\0").decode("utf-8", "replace")
    return ""


def ventana_facts(text: str, pages: Sequence[Directory]) -> Facts:
    """Return what the iScan XML of a Ventana slide says."""
    match = re.search(r"<iScan\b([^>]*)>", text)
    properties = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', match.group(1))) if match else {}
    size = size_of_text(properties.get("ScanRes"))
    return Facts("ventana", properties, size, number(properties.get("Magnification")))
