"""Label images of OME-Zarr as outlines, and outlines as label images.

Source: OME-NGFF 0.4 and 0.5, "Labels metadata": a multiscales image of integers with ``image-label {colors
[{label-value, rgba}], properties}``; in 0.5 all of it sits under ``ome``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.classified import Classified
from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.annotations.rasterise import rasterise
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError, first_line
from napari_lumen.geometry import Grid, Pair, windows

_LARGEST = 2**28  # pixels that are outlined at once
_CHUNK = 1024
_SMALLEST = 1024  # px, of the last level


def read_labels(path: str | os.PathLike[str], *, level: int = 0, mpp: Pair | None = None) -> list[Annotation]:
    """Outline the labels of an OME-Zarr label image: every connected region of one value.

    Parameters
    ----------
    path : path
        Folder of the label image, or of an image or its ``labels`` that holds one.
    level : int
        Of its pyramid; a coarser one for an image too large to be outlined whole.
    mpp : (float, float), optional
        µm per level-0 pixel of the slide, (y, x). Without, the pixels of the image's finest level are taken
        for those of the slide.

    Returns
    -------
    list of Annotation
        Along the edges of the labels' pixels, in level-0 pixels (x, y), named and coloured as ``image-label``
        says, else ``label 1`` and so on; 0 is background.

    Raises
    ------
    AnnotationError
        When the folder is no label image, or too large at that level.
    """
    path = Path(path)
    group, said = _label_image(path)
    try:
        datasets = said["multiscales"][0]["datasets"]
        array = group[datasets[level]["path"]]
        unit = mpp or _transform(datasets[0])[0]
        scale, translation = _transform(datasets[level])
        known = _classes(said.get("image-label") or {})
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(f"{path} has no level {level} that OME-Zarr describes.") from error
    if not isinstance(array, zarr.Array) or array.dtype.kind not in "iu" or set(array.shape[:-2]) - {1}:
        raise AnnotationError(f"{path} is no label image: its level {level} is not (h, w) of integers.")
    if array.size > _LARGEST:
        raise AnnotationError(f"{path} has {array.size:,} pixels at level {level}: read a coarser one.")
    step = scale[0] / unit[0], scale[1] / unit[1]
    origin = (0.0, 0.0)
    if translation is not None:  # of the centre of the first pixel
        origin = (
            translation[0] / unit[0] - (step[0] - 1) / 2,
            translation[1] / unit[1] - (step[1] - 1) / 2,
        )
    labels = np.asarray(array[...]).reshape(array.shape[-2:])
    found = []
    for value, outline in polygonise(labels, origin=origin, step=step):
        name, color = known.get(value, (None, None))
        found.append(Annotation(outline, name or f"label {value}", color))
    return found


def write_labels(
    path: str | os.PathLike[str],
    annotations: Iterable[Annotation],
    grid: Grid,
    classes: ClassTable,
    mpp: Pair,
) -> None:
    """Write annotations as an OME-Zarr 0.5 label image, a pyramid; it appears when it is whole.

    Every level is painted from the outlines themselves, block by block. Lines and points enclose nothing and
    are left out.

    Parameters
    ----------
    path : path
        Folder to write; must not be there yet.
    annotations : iterable of Annotation
        Geometry in level-0 pixels (x, y); later ones lie on top.
    grid : Grid
        Pixels of the finest level.
    classes : ClassTable
        Gives every class its value, up to 255.
    mpp : (float, float)
        µm per level-0 pixel, (y, x).

    Raises
    ------
    AnnotationError
        When the folder is there, cannot be written, or an annotation is of no class of the table.
    """
    path, items = Path(path), list(annotations)
    if path.exists():
        raise AnnotationError(f"{path} is there already: choose another name, or delete it.")
    levels = [grid]
    while max(levels[-1].shape) > _SMALLEST:
        levels.append(grid.coarsened(2 ** len(levels)))
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        group = zarr.open_group(temporary / "labels", mode="w", zarr_format=3)
        for number, level in enumerate(levels):
            array = group.create_array(
                str(number), shape=level.shape, chunks=(_CHUNK, _CHUNK), dtype="uint8", dimension_names="yx"
            )
            for window in windows(level.shape, _CHUNK):
                array[window.slices] = rasterise(items, level, classes, window=window)
        group.attrs["ome"] = _description(path.stem, levels, classes, mpp)
        (temporary / "labels").replace(path)
    except OSError as error:
        raise AnnotationError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_labels_over(
    path: str | os.PathLike[str],
    annotations: Iterable[Annotation],
    shape: tuple[int, int],
    mpp: Pair,
    classes: ClassTable | None = None,
) -> None:
    """Write annotations as an OME-Zarr label image over a whole slide, as fine as 2^28 pixels allow.

    Parameters
    ----------
    path, annotations, mpp
        As of `write_labels`. What has no class is of the class ``no class``.
    shape : (int, int)
        Of the slide, level-0 px.
    classes : ClassTable, optional
        Known classes; others are added.

    Raises
    ------
    AnnotationError
        When nothing encloses an area, and as `write_labels`.
    """
    closed = [
        item if item.class_name is not None else replace(item, class_name="no class")
        for item in annotations
        if item.geometry.area > 0
    ]
    if not closed:
        raise AnnotationError(f"{path} would be empty: nothing encloses an area.")
    found = Classified.of(closed, classes)
    grid, factor = Grid(shape, (1.0, 1.0)), 1
    while np.prod(grid.coarsened(factor).shape, dtype=np.int64) > _LARGEST:
        factor *= 2
    write_labels(path, found.annotations(), grid.coarsened(factor), found.table, mpp)


def _description(name: str, levels: list[Grid], classes: ClassTable, mpp: Pair) -> dict[str, Any]:
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": list(level.scale(mpp))},
                {"type": "translation", "translation": list(level.translate(mpp))},
            ],
        }
        for number, level in enumerate(levels)
    ]
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    return {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets}],
        "image-label": {
            "colors": [{"label-value": item.value, "rgba": [*item.color, 255]} for item in classes],
            "properties": [{"label-value": item.value, "name": item.name} for item in classes],
        },
    }


def _label_image(path: Path) -> tuple[zarr.Group, Mapping[str, Any]]:
    """Return the group of a label image and its metadata, from it, its image or the ``labels`` between."""
    try:
        group = zarr.open_group(path, mode="r")
        if "labels" in group and isinstance(labels := group["labels"], zarr.Group):
            group = labels
        said = _metadata(group)
        names = said.get("labels")
        if names is None:
            return group, said
        if len(names) != 1:
            raise AnnotationError(
                f"{path} has {len(names)} label images, {', '.join(map(str, names))}: give the folder of one."
            )
        inner = group[names[0]]
        if not isinstance(inner, zarr.Group):
            raise KeyError(names[0])
        return inner, _metadata(inner)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{path} is no OME-Zarr label image: {first_line(error)}.") from error


def _metadata(group: zarr.Group) -> Mapping[str, Any]:
    attributes = dict(group.attrs)
    inner = attributes.get("ome", attributes)
    if not isinstance(inner, Mapping):
        raise TypeError("its ome attribute is no object")
    return inner


def _transform(dataset: Mapping[str, Any]) -> tuple[Pair, Pair | None]:
    """Return scale and translation of a level, (y, x)."""
    scale, translation = (1.0, 1.0), None
    for item in dataset.get("coordinateTransformations", ()):
        y, x = (float(value) for value in item[item["type"]][-2:])
        if item["type"] == "scale":
            if not (y > 0 and x > 0):
                raise ValueError(f"a scale of {y} and {x}")
            scale = y, x
        else:
            translation = y, x
    return scale, translation


def _classes(said: Mapping[str, Any]) -> dict[int, tuple[str | None, tuple[int, int, int] | None]]:
    """Return name and colour by label value."""
    names = {
        item["label-value"]: str(item["name"]) for item in said.get("properties") or () if "name" in item
    }
    colors = {
        item["label-value"]: (int(item["rgba"][0]), int(item["rgba"][1]), int(item["rgba"][2]))
        for item in said.get("colors") or ()
        if "rgba" in item
    }
    return {value: (names.get(value), colors.get(value)) for value in {*names, *colors}}
