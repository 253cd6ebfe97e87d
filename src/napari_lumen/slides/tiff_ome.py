"""What the OME-XML of an OME-TIFF says: which directories hold the tissue, its channels and its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from napari_lumen.errors import SlideError
from napari_lumen.slides.level import Channel
from napari_lumen.slides.stated_size import StatedSize
from napari_lumen.slides.tiff_directory import Directory, StackError, UnsupportedLayoutError
from napari_lumen.slides.tiff_facts import number

_UNITS = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micrometer": 1.0,
    "inch": 25400.0,
    "in": 25400.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "Å": 1e-4,
    "pm": 1e-6,
}
_NO_UNITS = ("pixel", "reference frame")  # with which OME-XML says that there is no physical size
_LONGEST = 40  # letters of what a file says
_ASSOCIATED = ("label", "macro", "thumbnail", "overview")
_WHITE = (255, 255, 255)
_PRIMARIES = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_PRIMARY_NAMES = (("", "", ""), ("r", "g", "b"), ("red", "green", "blue"))


@dataclass(frozen=True, slots=True)
class OmeImage:
    """The tissue of an OME-TIFF.

    Attributes
    ----------
    planes : tuple of Directory
        One a channel, or one of several samples.
    channels : tuple of Channel
        As the file names and colours them; white where it does not say.
    as_rgb : bool
        Whether three planes are the colours of a picture.
    properties : mapping of str to str
    size : StatedSize
        Of a pixel.
    magnification : float or None
    associated : mapping of str to Directory
    """

    planes: tuple[Directory, ...]
    channels: tuple[Channel, ...]
    as_rgb: bool
    properties: Mapping[str, str]
    size: StatedSize
    magnification: float | None
    associated: Mapping[str, Directory]


def ome_image(text: str, directories: Sequence[Directory]) -> OmeImage:
    """Return the tissue of an OME-TIFF: of its images the one of most pixels.

    Converters put label and macro at any place.

    Raises
    ------
    UnsupportedLayoutError
        When the XML cannot be read.
    StackError
        When it is one along Z or T.
    SlideError
        When its planes are missing or in other files.
    """
    name = directories[0].file.name
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise UnsupportedLayoutError(f"its OME-XML is broken ({error})") from error
    images = [(image, pixels) for image in _all(root, "Image") for pixels in _all(image, "Pixels")]
    if not images:
        raise SlideError(f"{name} is one of several files of an OME-TIFF; open the one that lists them.")
    image, pixels = max(images, key=lambda pair: _size(pair[1], "X") * _size(pair[1], "Y"))
    stacked = [f"{_size(pixels, axis)} planes along {axis}" for axis in "ZT" if _size(pixels, axis) > 1]
    if stacked:
        raise StackError(
            f"{name} is a stack of {' and '.join(stacked)}; only single planes open here. Export one of them."
        )
    planes = _planes(pixels, directories, root.get("UUID"))
    channels = tuple(_channels(pixels))
    properties = dict(pixels.attrib)
    if image.get("Name"):
        properties["Name"] = image.get("Name", "")
    return OmeImage(
        planes,
        channels,
        _are_primaries(channels),
        properties,
        _pixel_size(pixels),
        _magnification(root),
        {
            known: _planes(other, directories, root.get("UUID"))[0]
            for holder, other in images
            if other is not pixels
            for known in _ASSOCIATED
            if known in holder.get("Name", "").lower()
        },
    )


def _all(element: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (child for child in element if child.tag.rpartition("}")[2] == tag)


def _size(pixels: ET.Element, axis: str) -> int:
    value = pixels.get(f"Size{axis}", "1")
    return int(value) if value.isdecimal() else 0


def _planes(pixels: ET.Element, directories: Sequence[Directory], own: str | None) -> tuple[Directory, ...]:
    """Return the directory of each channel, in their order."""
    file = directories[0].file
    per_plane = max(1, max((_number_of(c, "SamplesPerPixel", 1) for c in _all(pixels, "Channel")), default=1))
    wanted = max(1, _size(pixels, "C") // per_plane)
    if wanted > len(directories):
        raise file.damaged(f"it lists {wanted:,} channels and holds {len(directories):,}")
    found: dict[int, Directory] = {}
    blocks = list(_all(pixels, "TiffData"))
    names = {uuid.get("FileName") for block in blocks for uuid in _all(block, "UUID")}
    for block in blocks:
        for uuid in _all(block, "UUID"):
            if uuid.text != own and (own is not None or len(names) > 1):
                raise SlideError(
                    f"{file.name} keeps channels in another file, {uuid.get('FileName', 'not named')}; "
                    "save it as one file."
                )
        first, index = _number_of(block, "FirstC", 0) // per_plane, _number_of(block, "IFD", 0)
        count = _number_of(block, "PlaneCount", 1 if "IFD" in block.attrib else wanted)
        for step in range(min(count, wanted)):
            if 0 <= index + step < len(directories):
                found.setdefault(first + step, directories[index + step])
    missing = [channel for channel in range(wanted) if channel not in found]
    if missing:
        raise file.damaged(f"it does not hold channel {missing[0] + 1} of {wanted}")
    return tuple(found[channel] for channel in range(wanted))


def _number_of(element: ET.Element, name: str, default: int) -> int:
    value = element.get(name, "")
    return int(value) if value.isdecimal() else default


def _channels(pixels: ET.Element) -> Iterator[Channel]:
    for channel in _all(pixels, "Channel"):
        value = number(channel.get("Color"))
        packed = 0xFFFFFFFF if value is None else int(value) & 0xFFFFFFFF
        color = (packed >> 24, packed >> 16 & 255, packed >> 8 & 255)
        for _ in range(max(1, min(_number_of(channel, "SamplesPerPixel", 1), 256))):
            yield Channel(channel.get("Name", ""), color)


def _are_primaries(channels: Sequence[Channel]) -> bool:
    """Whether three channels are the colours of a picture that a converter took apart."""
    colors = tuple(channel.color for channel in channels)
    names = tuple(channel.name.lower() for channel in channels)
    return colors == _PRIMARIES and names in _PRIMARY_NAMES


def _pixel_size(pixels: ET.Element) -> StatedSize:
    stated = [pixels.get(f"PhysicalSize{axis}", "").strip() for axis in "YX"]
    units = [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX"]
    if not any(stated) or any(unit in _NO_UNITS for unit in units):
        return StatedSize()
    try:  # not only finite ones: what cannot be is told of, not passed over
        y, x = (float(value) * _UNITS[unit] for value, unit in zip(stated, units, strict=True))
    except (KeyError, ValueError):
        down, across = (
            f"{value} {unit}"[:_LONGEST] if value else "nothing"
            for value, unit in zip(stated, units, strict=True)
        )
        return StatedSize(unused=f"{across} x {down}, which cannot be read")
    return StatedSize((y, x))


def _magnification(root: ET.Element) -> float | None:
    for instrument in _all(root, "Instrument"):
        for objective in _all(instrument, "Objective"):
            value = number(objective.get("NominalMagnification"))
            if value is not None:
                return value
    return None
