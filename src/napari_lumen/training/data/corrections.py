"""Corrected windows of runs as an `ImageSet`: labels that people have put right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from napari_lumen.corrections.index import CorrectedWindow, CorrectionIndex
from napari_lumen.corrections.settled import settled
from napari_lumen.corrections.subject import corrections_folder
from napari_lumen.errors import RunError
from napari_lumen.geometry import Region, Window
from napari_lumen.slides import Slide, open_slide
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.files import Decoded, read_rgb
from napari_lumen.training.data.fingerprints import checksum
from napari_lumen.training.data.image_set import RGB, Labels
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.labelled_files import require_label_values, require_same_size
from napari_lumen.training.data.labelled_folder import read_class_values


class Corrections:
    """The corrected windows of a folder: an `ImageSet`.

    Where windows overlap, the labels of all are those of the latest that has changed something there.

    Parameters
    ----------
    folder : Path
        Of the corrections, or of the run that they are of.
    cache : TileCache, optional
        Of decoded files.
    slides : mapping of str to Slide, optional
        Open slides by their fingerprints, which are read instead of those that the windows name.

    Raises
    ------
    RunError
        When the folder cannot be used.
    """

    def __init__(
        self, folder: Path, *, cache: TileCache | None = None, slides: Mapping[str, Slide] | None = None
    ) -> None:
        folder = corrections_folder(folder)
        self._index = CorrectionIndex.read(folder)
        require_label_values(self._index.classes)
        self.classes = self._index.classes
        self._folder, self._windows = folder, self._index.windows
        self.items = tuple(
            Item(window.name, slide=window.fingerprint, patient=window.patient) for window in self._windows
        )
        self._by_path = {folder / window.labels: window for window in self._windows}
        self._decoded = Decoded(cache)
        self._known = slides or {}
        self._open: dict[str, Slide] = {}
        self._opening = Lock()

    @property
    def regions(self) -> tuple[Region, ...]:
        """Where on its slide each window lies, level-0 px."""
        return tuple(window.region for window in self._windows)

    def image(self, index: int) -> RGB:
        """Return the pixels of a window: uint8 (h, w, 3).

        Raises
        ------
        SlideError
            When the slide cannot be read.
        RunError
            When another slide lies there now.
        """
        window = self._windows[index]
        if window.image is not None:
            image = self._decoded.get(self._folder / window.image, read_rgb)
            require_same_size(window.name, image, self.labels(index))
            return image
        height, width = self.labels(index).shape
        return self._slide(window).read_grid(window.grid((height, width)), Window(0, 0, height, width))

    def labels(self, index: int) -> Labels:
        """Return the corrected class values of a window: uint8 (h, w)."""
        return self._decoded.get(self._folder / self._windows[index].labels, self._read_labels)

    def mpp(self, index: int) -> float | None:
        """Return µm per pixel, the mean of both axes."""
        return sum(self._windows[index].mpp) / 2

    def fingerprint(self, index: int) -> str:
        """Return a checksum of the labels of a window, and of its pixels by their file or slide."""
        window = self._windows[index]
        place = (window.fingerprint, window.y, window.x, window.height, window.width)
        pixels = place if window.image is None else self._folder / window.image
        return checksum(self.labels(index), pixels)

    def close(self) -> None:
        """Close the slides that were read."""
        with self._opening:
            for slide in self._open.values():
                slide.close()
            self._open.clear()

    def __enter__(self) -> Corrections:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_labels(self, path: Path) -> Labels:
        stored = read_class_values(path, self.classes)
        return settled(self._folder, self._index, self._by_path[path], stored)

    def _slide(self, window: CorrectedWindow) -> Slide:
        if window.fingerprint in self._known:
            return self._known[window.fingerprint]
        with self._opening:
            if window.slide not in self._open:
                url = "://" in window.slide
                slide = open_slide(window.slide if url else self._folder / window.slide)
                if slide.fingerprint != window.fingerprint:
                    slide.close()
                    raise RunError(
                        f"{window.slide} is not the slide on which {window.name!r} was corrected; put that "
                        "one back, or take the window out of the corrections."
                    )
                self._open[window.slide] = slide
            return self._open[window.slide]
