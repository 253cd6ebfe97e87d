"""What a training is to learn from: looked at on a worker thread, divided, and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.annotations.shapes import Annotation
    from napari_lumen.geometry import Region
    from napari_lumen.slides import Slide
    from napari_lumen.training.contents import Contents
    from napari_lumen.training.data.image_set import Pictures

DataKind = Literal["annotations", "corrections", "project", "folder"]
Elsewhere = Literal["background", "ignore"]
_ORIGINS: tuple[Literal["patient", "slide", "tile", "group"], ...] = ("patient", "slide", "tile", "group")
_ONE_SLIDE = (
    "All of it is from one slide, so the scores will tell how well the model does there, not on other slides."
)


@dataclass(frozen=True)
class DataRequest:
    """What the user chose.

    Attributes
    ----------
    kind : {"annotations", "corrections", "project", "folder"}
    held_out : float
        Share that is validated on, 0 to 1.
    folder : Path or None
        Of a project, corrections or data; for annotations, where their windows are put.
    slide : Slide or None
    annotations : tuple of Annotation
        On the slide.
    names : tuple of str
        Their classes.
    elsewhere : {"background", "ignore"}
        What is not annotated in a window that is.
    mpp : float
        µm per pixel of these windows.
    size : int
        Their side, px.
    author : str
        Of the annotations of a project; "" for whoever drew last on each slide.
    """

    kind: DataKind
    held_out: float
    folder: Path
    slide: Slide | None = None
    annotations: tuple[Annotation, ...] = ()
    names: tuple[str, ...] = ()
    elsewhere: Elsewhere = "background"
    mpp: float = 0.5
    size: int = 256
    author: str = ""


@dataclass(frozen=True)
class DataFound:
    """What there is to learn from.

    Attributes
    ----------
    source, split : mapping
        Fields of a configuration.
    classes : ClassTable
    contents : Contents
        What the parts of the split hold.
    note : str
        What the user should know of it.
    authors : tuple of str
        Who has drawn in the project; empty of other data.
    """

    source: Mapping[str, Any]
    split: Mapping[str, Any]
    classes: ClassTable
    contents: Contents
    note: str = ""
    authors: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(item.name for item in self.classes)


def look_at_data(request: DataRequest, check: Callable[[], None]) -> DataFound:
    """Open the data, divide them and count their classes.

    Raises
    ------
    LumenError
        When there is nothing to learn from.
    """
    from pydantic import TypeAdapter

    from napari_lumen.training.config import SplitRule
    from napari_lumen.training.contents import count_contents
    from napari_lumen.training.data_source import DataSource
    from napari_lumen.training.finding import find_source
    from napari_lumen.training.sources import Source

    if request.kind == "annotations":
        _write_annotations(request, check)
    fields = _project(request) if request.kind == "project" else find_source(request.folder)
    source: DataSource = TypeAdapter(Source).validate_python(fields)
    images = source.open()
    split, note = _split_rule(images, fields, request.held_out)
    contents = count_contents(images, SplitRule.model_validate(split).divide(images), check=check)
    classes: ClassTable = images.classes  # type: ignore[attr-defined]  # all sources have some
    return DataFound(fields, split, classes, contents, note, getattr(images, "authors", ()))


def _project(request: DataRequest) -> dict[str, Any]:
    return {
        "kind": "project",
        "folder": str(request.folder),
        "author": request.author or None,
        "unlabelled": request.elsewhere,
        "mpp": request.mpp,
        "size": request.size,
    }


def _write_annotations(request: DataRequest, check: Callable[[], None]) -> None:
    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.errors import RunError
    from napari_lumen.training.data.annotated import AnnotatedSlide, AnnotationRules
    from napari_lumen.training.data.annotation_windows import write_windows
    from napari_lumen.training.data.item import Item

    slide = request.slide
    if slide is None or not request.names:
        raise RunError(
            "Nothing is drawn on the slide: add a Shapes layer named as a class, and outline some."
        )
    colors = {item.class_name: item.color for item in request.annotations if item.color is not None}
    named = ClassTable.named(request.names)
    table = ClassTable.of([(item.value, item.name, colors.get(item.name, item.color)) for item in named])
    rules = AnnotationRules(table, unlabelled=request.elsewhere)
    annotated = AnnotatedSlide(Item(slide.path.name), slide, request.annotations, rules)
    write_windows(annotated, request.folder, mpp=request.mpp, size=request.size, check=check)


def _split_rule(images: Pictures, source: Mapping[str, Any], held_out: float) -> tuple[dict[str, Any], str]:
    """Return how to divide: by what tells the images best apart; by themselves where all are of one slide."""
    rule: dict[str, Any] = {"proportions": {"train": 1 - held_out, "validation": held_out}}
    one_slide = False
    for origin in _ORIGINS:
        keys = {getattr(item, origin) for item in images.items}
        if None not in keys and len(keys) > 1:
            return {**rule, "by": origin, "within": one_slide}, _ONE_SLIDE if one_slide else ""
        one_slide |= origin in ("patient", "slide") and keys != {None}
    regions = _regions(images, source)
    if regions:
        rule["together"] = _overlapping(images, regions)
    return {**rule, "by": "image", "within": one_slide}, _ONE_SLIDE if one_slide else ""


def _regions(images: Any, source: Mapping[str, Any]) -> tuple[Region, ...]:
    """Return where on the one slide windows lie; nothing of other images."""
    if source["kind"] == "project":
        return tuple(region for _, region in images.places)
    return tuple(images.regions) if source["kind"] == "corrections" else ()


def _overlapping(images: Pictures, regions: tuple[Region, ...]) -> list[tuple[str, str]]:
    """Return the names of windows that share pixels: they belong on one side."""
    import shapely

    boxes = shapely.box(
        [one.x for one in regions],
        [one.y for one in regions],
        [one.right for one in regions],
        [one.bottom for one in regions],
    )
    first, second = shapely.STRtree(boxes).query(boxes, "intersects")
    return [
        (images.items[one].name, images.items[other].name)
        for one, other in zip(first.tolist(), second.tolist(), strict=True)
        if one < other and shapely.intersection(boxes[one], boxes[other]).area > 0
    ]
