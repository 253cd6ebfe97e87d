"""Where an OME-Zarr image lies: a folder, or a URL through fsspec; every failure is one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.errors import (
    ContainsArrayAndGroupError,
    ContainsArrayError,
    MetadataValidationError,
    NodeNotFoundError,
)

from napari_lumen.errors import SlideError, first_line
from napari_lumen.slides.omezarr_metadata import Multiscale, multiscale_of, ome_attributes

_BF2RAW = "bioformats2raw.layout"  # a folder of images "0", "1", ... : what that converter writes


def open_root(location: Path | str) -> zarr.Group:
    """Open the Zarr group of a folder or a URL for reading.

    Raises
    ------
    SlideError
    """
    name = name_of(location)
    try:
        if isinstance(location, Path):
            return zarr.open_group(str(location), mode="r")
        from napari_lumen.slides.omezarr_remote import remote_store  # loads the network's libraries

        return zarr.open_group(remote_store(location), mode="r")
    except (ContainsArrayError, ContainsArrayAndGroupError) as error:
        raise SlideError(
            f"{name} is a single Zarr array without OME metadata; open the folder above it, the image."
        ) from error
    except NodeNotFoundError as error:
        raise SlideError(
            f"{name} holds no OME-Zarr image: there is no Zarr group. Check the path."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, MetadataValidationError) as error:
        raise SlideError(
            f"{name} has broken Zarr metadata: {first_line(error)}. Copy or download it again."
        ) from error
    except ImportError as error:
        raise SlideError(f"{name} cannot be reached: {first_line(error)} (pip install).") from error
    except (OSError, ValueError) as error:
        if isinstance(location, Path):
            reason = getattr(error, "strerror", None) or first_line(error)
            raise SlideError(
                f"{name} cannot be read: {reason}. Check the disk and your permissions."
            ) from error
        raise SlideError(
            f"{name} cannot be reached at {location}: {first_line(error)}. Check the address and the network."
        ) from error


def find_image(root: zarr.Group, name: str) -> tuple[zarr.Group, Multiscale, dict[str, str]]:
    """Return the group of the tissue, its image, and the paths of its siblings (label, macro) by name.

    Raises
    ------
    SlideError
        When there is no image.
    """
    image = multiscale_of(root.attrs, name)
    if image is not None:
        return root, image, {}
    ome = ome_attributes(root.attrs)
    if "plate" in ome or "well" in ome:
        raise SlideError(f"{name} is a plate of many fields; open the folder of one of them (such as A/1/0).")
    if _BF2RAW not in ome and _BF2RAW not in root.attrs:
        raise SlideError(
            f"{name} is Zarr but no OME-Zarr image: its metadata has no multiscales. "
            "Open the folder of the image itself."
        )
    return _largest(root, name)


def _largest(root: zarr.Group, name: str) -> tuple[zarr.Group, Multiscale, dict[str, str]]:
    """Return the image of most pixels in a folder of bioformats2raw, which puts label and macro beside it."""
    found: list[tuple[int, str, zarr.Group, Multiscale]] = []
    for path in _series(root):
        try:
            group = root[path]
        except KeyError:
            break
        image = multiscale_of(group.attrs, name) if isinstance(group, zarr.Group) else None
        if image is not None and isinstance(group, zarr.Group):
            array = open_level(group, image.paths[0], 0, name)
            found.append((array.size, path, group, image))
    if not found:
        raise SlideError(f"{name} lists images but holds none. Copy or convert it again.")
    _, main, group, image = max(found, key=lambda item: item[0])
    titles = _titles(root)
    siblings = {
        title: path
        for _, path, _, _ in found
        if path != main and (title := titles.get(path, "")) in ("label", "macro", "thumbnail")
    }
    return group, image, siblings


def _series(root: zarr.Group) -> list[str]:
    try:
        listed = ome_attributes(root["OME"].attrs).get("series")
    except KeyError:
        listed = None
    return [str(path) for path in listed] if listed else [str(index) for index in range(32)]


def _titles(root: zarr.Group) -> dict[str, str]:
    """Return what OME/METADATA.ome.xml calls the images, by their path: label, macro or thumbnail."""
    xml = read_text(root, "OME/METADATA.ome.xml")
    names = re.findall(r"<Image\b[^>]*?\bName=\"([^\"]*)\"", xml)
    words = {"label": "label", "macro": "macro", "overview": "macro", "thumbnail": "thumbnail"}
    return {
        str(index): next((kind for word, kind in words.items() if word in name.lower()), "")
        for index, name in enumerate(names)
    }


def read_text(group: zarr.Group, key: str) -> str:
    """Return a text file beside the arrays of a group, or nothing."""
    place = group.store_path / key
    try:
        found = sync(place.store.get(place.path, default_buffer_prototype()))
        return "" if found is None else found.to_bytes().decode()
    except (OSError, ValueError):
        return ""


def open_level(group: zarr.Group, path: str, level: int, name: str) -> zarr.Array[Any]:
    """Return the array of a level.

    Raises
    ------
    SlideError
        When it is missing, or stored in a way that is not known here.
    """
    try:
        array = group[path]
    except KeyError as error:
        raise SlideError(
            f"{name} lacks level {level} (the array {path!r}), which its metadata lists. "
            "Copy or download it again."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, MetadataValidationError) as error:
        raise SlideError(
            f"{name} has broken Zarr metadata at level {level}: {first_line(error)}. "
            "Copy or download it again."
        ) from error
    except Exception as error:  # unknown codecs, types and grids fail in any way
        raise SlideError(f"{name} cannot be opened at level {level}: {first_line(error)}.") from error
    if not isinstance(array, zarr.Array):
        raise SlideError(f"{name} has no array at {path!r}, where its metadata puts level {level}.")
    return array


def name_of(location: Path | str) -> str:
    """Return what to call a folder or URL in a sentence."""
    if isinstance(location, Path):
        return location.name
    return Path(unquote(urlsplit(location).path)).name or location
