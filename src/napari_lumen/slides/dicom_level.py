"""One level of a DICOM slide: a picture, or several that are its channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_lumen.slides.dicom_decode import Tile
from napari_lumen.slides.dicom_errors import UnsupportedDicomError
from napari_lumen.slides.dicom_groups import OpticalPath
from napari_lumen.slides.dicom_image import DicomImage
from napari_lumen.slides.dicom_instance import Instance


class DicomLevel:
    """A level, of all files of its size.

    Scanners write fluorescence as one file with a plane a channel, or as a file a channel.

    Parameters
    ----------
    path : Path
        Of the slide, for messages.
    members : sequence of Instance

    Attributes
    ----------
    first : Instance
        One of them, for what they have in common.
    paths : tuple of OpticalPath
        In the order of the channels.
    depth : int
        Pictures of the same field: one a channel.

    Raises
    ------
    UnsupportedDicomError, SlideError
    """

    def __init__(self, path: Path, members: Sequence[Instance]) -> None:
        sources: dict[str, list[Instance]] = {}
        for member in members:
            sources.setdefault(member.source, []).append(member)
        # as their numbers count, else as the files are named
        groups = sorted(sources.values(), key=lambda parts: _counted(parts[0].paths))
        if len(groups) > 1 and not are_channels([parts[0] for parts in groups]):
            shape = members[0].shape
            raise UnsupportedDicomError(
                f"it holds {len(groups)} pictures of {shape[1]} x {shape[0]} px that are not its channels; "
                "each opens by its own file"
            )
        self._images = [DicomImage(path, parts) for parts in groups]
        self.first = groups[0][0]
        self.paths: tuple[OpticalPath, ...] = sum((parts[0].paths for parts in groups), ())
        self.depth = sum(image.depth for image in self._images)

    @property
    def order(self) -> list[str] | None:
        """What tells its channels apart, where they come from several files."""
        return [_name(path) for path in self.paths] if len(self._images) > 1 else None

    def tile(self, row: int, column: int, ground: int) -> Tile:
        """Return a decoded tile (height, width, channels), `ground` where there is none."""
        tiles = [image.tile(row, column, ground) for image in self._images]
        return tiles[0] if len(tiles) == 1 else np.concatenate(tiles, axis=2)


def are_channels(files: Sequence[Instance]) -> bool:
    """Whether files of one size are channels of one picture: grey, alike, each in a light of its own."""
    alike = {(file.samples, file.bits, file.tile, file.planes) for file in files}
    names = [_name(path) for file in files for path in file.paths]
    return (
        len(alike) == 1
        and files[0].samples == 1
        and all(file.paths for file in files)
        and len(set(names)) == len(names)
    )


def _name(path: OpticalPath) -> str:
    return f"{path.identifier} {path.description}"


def _counted(paths: Sequence[OpticalPath]) -> tuple[int, str]:
    identifier = paths[0].identifier if paths else ""
    return len(identifier), identifier
