"""Which DICOM files make up one slide."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_lumen.errors import SlideError, some_of
from napari_lumen.slides.dicom_errors import BrokenDicomError, UnsupportedDicomError
from napari_lumen.slides.dicom_instance import Instance, is_dicom, read_instance
from napari_lumen.slides.dicom_level import are_channels

SUFFIXES = (".dcm", ".dicom")
_VOLUME = "VOLUME"


@dataclass(frozen=True, slots=True)
class Series:
    """The files of one slide.

    Attributes
    ----------
    name : str
        What is written on the glass, else the unique identifier.
    instances : tuple of Instance
        Each file once, by its unique identifier.
    """

    name: str
    instances: tuple[Instance, ...]

    @property
    def volumes(self) -> tuple[Instance, ...]:
        """The files of the tissue."""
        return tuple(instance for instance in self.instances if instance.kind == _VOLUME)


def series_in(folder: Path) -> Series:
    """Return the one slide in a folder.

    Raises
    ------
    SlideError
        When there is none or more than one, or when a DICOM file is broken: it may be a level of the slide.
    UnsupportedDicomError
    """
    found: list[Instance] = []
    files, strays = _candidates(folder)
    for file in files:
        try:
            instance = read_instance(file)
        except BrokenDicomError as error:
            raise SlideError(
                f"{file.name} in the folder {folder.name} cannot be used: {error}. "
                "Copy it again, or open another file of the slide by itself."
            ) from error
        if instance is not None:
            found.append(instance)
    series = [one for one in _grouped(found) if one.volumes]
    if len(series) > 1:
        named = some_of([f"{one.name} ({_short(one.volumes[0].path.name)})" for one in series])
        raise SlideError(
            f"The folder {folder.name} holds {len(series)} slides: {named}. "
            "Choose a file of the one that you mean."
        )
    if not series:
        raise SlideError(f"The folder {folder.name} holds no DICOM slide. Choose the slide file itself.")
    _tell_of(strays, folder.name)
    return series[0]


def series_of(path: Path) -> Series:
    """Return the slide that a file is part of, with the files of it that lie in the same folder.

    Raises
    ------
    SlideError
        When the file is broken or no slide.
    UnsupportedDicomError
    """
    try:
        own = read_instance(path)
    except BrokenDicomError as error:
        raise SlideError(f"{path.name} cannot be opened: {error}. Copy it again.") from error
    if own is None:
        raise SlideError(f"{path.name} is a DICOM file, but no slide. Choose one of a whole-slide image.")
    found = [own]
    files, strays = _candidates(path.parent)
    for file in files:
        if file == path:
            continue
        try:
            instance = read_instance(file)
        except BrokenDicomError as error:
            warnings.warn(
                f"{file.name} beside {path.name} cannot be used: {error}. "
                "If it belongs to this slide, a part or a level is lacking.",
                UserWarning,
                stacklevel=2,
            )
        except (UnsupportedDicomError, OSError):
            continue
        else:
            if instance is not None and instance.series == own.series:
                found.append(instance)
    _tell_of(strays, path.name)
    found.sort(key=lambda instance: instance.path)  # the slide is the same, whichever file was named
    series = _grouped(found)[0]
    if _has_rivals(own, series.volumes):  # no slide together: the file itself is meant
        series = Series(series.name, tuple(one for one in series.instances if _goes_with(own, one)))
    if not series.volumes:
        raise SlideError(
            f"{path.name} holds a {own.kind.lower()} picture without its slide. "
            "Choose the folder with all files of the slide."
        )
    return series


def _candidates(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the files that are DICOM, many without a suffix, and the names of those only called so."""
    files, strays = [], []
    for file in sorted(folder.iterdir()):
        if not file.is_file():
            continue
        called_so = file.suffix.lower() in SUFFIXES
        try:
            if is_dicom(file):
                files.append(file)
            elif called_so:
                strays.append(file.name)
        except OSError:
            if called_so:  # else it is somebody else's
                files.append(file)
    return files, strays


def _tell_of(strays: Sequence[str], slide: str) -> None:
    """Warn once of files that are no DICOM, whatever their names say: macOS leaves such."""
    if strays:
        warnings.warn(
            f"{some_of(strays)} beside the files of {slide} cannot be used: what is in "
            "there is no DICOM. If it belongs to this slide, a part or a level is lacking.",
            UserWarning,
            stacklevel=3,
        )


def _has_rivals(own: Instance, volumes: Sequence[Instance]) -> bool:
    """Whether other files of the same size are neither parts of a file's picture nor its channels."""
    others = {one.source: one for one in volumes if one.shape == own.shape and one.source != own.source}
    return own.kind == _VOLUME and bool(others) and not are_channels([own, *others.values()])


def _goes_with(own: Instance, other: Instance) -> bool:
    return other.source == own.source or other.kind != _VOLUME


def _grouped(found: list[Instance]) -> list[Series]:
    series: dict[str, dict[str, Instance]] = {}
    for instance in found:
        series.setdefault(instance.series, {}).setdefault(instance.sop, instance)
    return [
        Series(next((i.container for i in members.values() if i.container), uid), tuple(members.values()))
        for uid, members in series.items()
    ]


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:18]}…{name[-18:]}"
