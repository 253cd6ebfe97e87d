"""What the OME metadata of a Zarr group says of an image (https://ngff.openmicroscopy.org, 0.1 to 0.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair
from napari_lumen.slides.level import Channel, default_color

OWN_KEY = "napari_lumen"  # of what the format has no place for: the ICC profile, the objective
_UM = {  # the specification asks for UDUNITS-2 names; writers shorten them
    "micrometer": 1.0,
    "micrometre": 1.0,
    "micron": 1.0,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "nm": 1e-3,
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "mm": 1e3,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "cm": 1e4,
    "meter": 1e6,
    "metre": 1e6,
    "m": 1e6,
    "inch": 25400.0,
}
_LEGACY_AXES = ("t", "c", "z", "y", "x")  # of versions 0.1 and 0.2, which do not name them
_PRIMARIES = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_RGB_NAMES = (("r", "red"), ("g", "green"), ("b", "blue"))


@dataclass(frozen=True, slots=True)
class Multiscale:
    """The image of a group.

    Attributes
    ----------
    name, version : str
        As stated; empty where they are not.
    axes : tuple of str
        One of "t", "c", "z", "y", "x" for each axis of the arrays.
    paths : tuple of str
        The arrays of the levels inside the group.
    sizes : tuple of ((float, float) or None)
        µm per pixel of each level, (y, x), unchecked; None when it has no unit.
    omero : tuple of (str or None, (int, int, int) or None), or None
        Name and colour of each channel as stated; None where nothing is.
    """

    name: str
    version: str
    axes: tuple[str, ...]
    paths: tuple[str, ...]
    sizes: tuple[Pair | None, ...]
    omero: tuple[tuple[str | None, tuple[int, int, int] | None], ...] | None

    def is_rgb(self, count: int) -> bool | None:
        """Whether channels of 8 bits are a colour picture; None for three of which nothing is stated."""
        if count != 3:
            return False
        if self.omero is None or len(self.omero) != 3:
            return None
        colors = tuple(color for _, color in self.omero)
        names = tuple((name or "").strip().lower() for name, _ in self.omero)
        if not any(names) and colors == (None, None, None):
            return None
        return colors == _PRIMARIES or all(
            name in known for name, known in zip(names, _RGB_NAMES, strict=True)
        )

    def channels(self, count: int) -> tuple[Channel, ...]:
        """Return the channels, with names and colours of ours where the file states none."""
        stated = (self.omero or ())[:count]
        stated = (*stated, *((None, None),) * (count - len(stated)))
        return tuple(
            Channel(name or f"channel {index + 1}", color or default_color(index, count))
            for index, (name, color) in enumerate(stated)
        )


def ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME part of a group's attributes: under "ome" since 0.5, at the top before."""
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes


def multiscale_of(attributes: Mapping[str, Any], file: str) -> Multiscale | None:
    """Return the image that a group's attributes describe, or None when they describe none.

    Raises
    ------
    SlideError
        When they are not as the specification says.
    """
    ome = ome_attributes(attributes)
    stated = ome.get("multiscales")
    if not stated:
        return None
    try:
        first = stated[0]
        axes, units = _axes(first)
        datasets = first["datasets"]
        paths = tuple(str(dataset["path"]) for dataset in datasets)
        if not paths:
            raise ValueError("it lists no levels")
        whole = _scale(first, len(axes))
        scales = [_scale(dataset, len(axes)) for dataset in datasets]
        return Multiscale(
            name=str(first.get("name", "")),
            version=str(ome.get("version", first.get("version", ""))),
            axes=axes,
            paths=paths,
            sizes=tuple(_pixel_size(axes, units, scale, whole) for scale in scales),
            omero=_omero(ome.get("omero")),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise SlideError(
            f"{file} has OME metadata that cannot be understood: {reason}. Convert it again."
        ) from error


def _axes(multiscale: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Return the names of the axes and the units of those that have one."""
    stated = multiscale.get("axes")
    if stated is None:
        return _LEGACY_AXES, (None,) * 5
    names, units = [], []
    for axis in stated:
        name = axis if isinstance(axis, str) else axis["name"]  # 0.3 has names alone
        kind = None if isinstance(axis, str) else axis.get("type")
        # the names of channels and times are free
        names.append({"channel": "c", "time": "t"}.get(str(kind), str(name).lower()))
        units.append(None if isinstance(axis, str) else axis.get("unit"))
    if names.count("y") != 1 or names.count("x") != 1 or len(set(names)) != len(names):
        raise ValueError(f"its axes are {', '.join(names)}, which is no picture of rows (y) and columns (x)")
    return tuple(names), tuple(units)


def _scale(holder: Mapping[str, Any], axes: int) -> tuple[float, ...]:
    """Return the scale among the coordinate transformations of a level, or of all."""
    for transformation in holder.get("coordinateTransformations") or ():
        if transformation.get("type") == "scale" and "scale" in transformation:
            scale = tuple(float(value) for value in transformation["scale"])
            if len(scale) != axes:
                raise ValueError(f"a scale has {len(scale)} values for {axes} axes")
            return scale
    return (1.0,) * axes


def _pixel_size(
    axes: tuple[str, ...], units: tuple[str | None, ...], own: tuple[float, ...], whole: tuple[float, ...]
) -> Pair | None:
    """Return the pixel size of a level, of its own scale and that of the whole image."""
    sizes = []
    for name in "yx":
        index = axes.index(name)
        unit = _UM.get(str(units[index]).strip().lower())
        if unit is None:
            return None
        sizes.append(own[index] * whole[index] * unit)
    return sizes[0], sizes[1]


def _omero(omero: Any) -> tuple[tuple[str | None, tuple[int, int, int] | None], ...] | None:
    """Return names and colours of the channels; the section is transitional, so what is odd is left out."""
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or not channels:
        return None
    found = []
    for channel in channels:
        known = channel if isinstance(channel, Mapping) else {}
        label = known.get("label")
        found.append((str(label) if label not in (None, "") else None, _color(known.get("color"))))
    return tuple(found)


def _color(text: Any) -> tuple[int, int, int] | None:
    """Return a colour from its six hexadecimal digits."""
    try:
        red, green, blue = bytes.fromhex(str(text).strip().lstrip("#")[:6])
    except ValueError:
        return None
    return red, green, blue
