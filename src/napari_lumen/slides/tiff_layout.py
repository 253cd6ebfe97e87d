"""Which directories of a TIFF are the levels of the tissue, which its channels, and which label and macro."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from napari_lumen.geometry import Pair
from napari_lumen.slides import tiff_facts as facts
from napari_lumen.slides.level import Channel
from napari_lumen.slides.tiff_directory import Directory, StackError, UnsupportedLayoutError
from napari_lumen.slides.tiff_facts import DESCRIPTION, SOFTWARE, Facts
from napari_lumen.slides.tiff_ome import ome_image

Shape = tuple[int, int]

_REDUCED, _MASK = 1, 4  # bits of a directory's type
_MACRO = 9  # as Aperio types it
_SAME_ASPECT = 0.02
_NDPI, _TRESTLE, _LEICA = 65420, "MedScan", "<scn"


@dataclass(frozen=True, slots=True)
class Layout:
    """The images of a file.

    Attributes
    ----------
    levels : tuple of tuples of Directory
        The directories of each level, finest first: one, or one a channel.
    facts : Facts
    associated : mapping of str to Directory
        Label, macro and thumbnail.
    channels : tuple of Channel
        As the file names them; used where the pixels are no colour picture.
    as_rgb : bool
        Whether three channels are red, green and blue of a picture.
    shapes : tuple of (int, int), optional
        Height and width of the levels, where they are not those of their directories.
    left_out : tuple of str
        Levels of no pixels that the file lists: each as "a level of 0 x 300 px in directory 2 of 3".
    """

    levels: tuple[tuple[Directory, ...], ...]
    facts: Facts
    associated: Mapping[str, Directory] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    as_rgb: bool = False
    shapes: tuple[Shape, ...] | None = None
    left_out: tuple[str, ...] = ()


def layout_of(pages: Sequence[Directory]) -> Layout:
    """Return the images of a file from its directories.

    Raises
    ------
    UnsupportedLayoutError
        When it is a vendor's file whose tiles overlap or that OpenSlide knows better.
    StackError
        When it is a stack along Z or T.
    """
    layout = _vendors_layout(pages)
    named = {id(page) for page in layout.associated.values()}
    return replace(layout, left_out=(*_of_no_size(pages, "directory", named), *layout.left_out))


def _vendors_layout(pages: Sequence[Directory]) -> Layout:
    first = pages[0]
    description, software = first.text(DESCRIPTION), first.text(SOFTWARE)
    if _NDPI in first or software.startswith(_TRESTLE) or _LEICA in description[:1000]:
        raise UnsupportedLayoutError("it is a vendor's format of its own")
    if description.startswith("Aperio"):
        return _aperio(pages)
    if software.startswith("PerkinElmer-QPI"):
        return _perkinelmer(pages)
    if software.startswith("Philips") and "DataObject" in description[:2000]:
        return _philips(pages)
    if iscan := facts.ventana_xml(pages):
        return _ventana(pages, iscan)
    if description.rstrip().endswith("OME>"):
        try:
            return _ome(description, pages)
        except UnsupportedLayoutError:
            pass  # its XML is broken: it is still a TIFF
    return _generic(pages)


def _shape(page: Directory) -> Shape:
    return page.integer(257), page.integer(256)


def _of_no_size(
    pages: Sequence[Directory], what: str, named: Collection[int] = frozenset()
) -> tuple[str, ...]:
    """Return each directory of a side of 0 in words, but for those of these ids."""
    return tuple(
        f"a level of {page.integer(256)} x {page.integer(257)} px in {what} {number} of {len(pages)}"
        for number, page in enumerate(pages, 1)
        if min(_shape(page)) < 1 and id(page) not in named
    )


def _is_tiled(page: Directory) -> bool:
    return 324 in page


def _reduces(page: Directory, base: Directory) -> bool:
    """Whether a directory is a smaller version of another: as many samples, as deep, and of its aspect."""
    (height, width), (full_height, full_width) = _shape(page), _shape(base)
    if not (0 < height < full_height and 0 < width < full_width):
        return False
    if any(page.integer(code, 1) != base.integer(code, 1) for code in (277, 258, 339)):
        return False
    down, across = full_height / height, full_width / width
    slack = _SAME_ASPECT + 1 / min(height, width)
    return abs(down / across - 1) <= slack


def _pixels(planes: tuple[Directory, ...]) -> int:
    return math.prod(_shape(planes[0]))


def _finest_first(levels: Sequence[tuple[Directory, ...]]) -> tuple[tuple[Directory, ...], ...]:
    return tuple(sorted(levels, key=_pixels, reverse=True))


def _stacked(page: Directory, axes: Mapping[str, int]) -> StackError:
    along = " and ".join(
        f"{length} planes" + ("" if axis == "I" else f" along {axis}") for axis, length in axes.items()
    )
    return StackError(
        f"{page.file.name} is a stack of {along}; only single planes open here. Export one of them."
    )


def _aperio(pages: Sequence[Directory]) -> Layout:
    base = pages[0]
    if not _is_tiled(base):
        raise UnsupportedLayoutError("it is an Aperio slide without tiles")
    tiled = [page for page in pages if _is_tiled(page) and page.integer(254) & _REDUCED == 0]
    planes = sum(_shape(page) == _shape(base) for page in tiled)
    if planes > 1:
        raise _stacked(base, {"Z": planes})
    levels = [(base,), *((page,) for page in tiled if _reduces(page, base))]
    associated: dict[str, Directory] = {}
    for index, page in enumerate(pages):
        if _is_tiled(page) and page in tiled:
            continue
        second = page.text(DESCRIPTION).partition("\n")[2].split(" ")[0].strip()
        named = second if second in ("label", "macro") else None
        typed = {_MACRO: "macro", _REDUCED: "label"}.get(page.integer(254))
        name = named or ("thumbnail" if index == 1 else typed)
        if name is not None:
            associated.setdefault(name, page)
    return Layout(_finest_first(levels), facts.aperio_facts(base), associated)


def _grouped(pages: Sequence[Directory]) -> list[tuple[Directory, ...]]:
    """Return runs of directories of one size."""
    groups: list[list[Directory]] = []
    for page in pages:
        if groups and _shape(groups[-1][0]) == _shape(page):
            groups[-1].append(page)
        else:
            groups.append([page])
    return [tuple(group) for group in groups]


def _perkinelmer(pages: Sequence[Directory]) -> Layout:
    kinds = [facts.perkinelmer_xml(page).get("ImageType", "") for page in pages]
    base = tuple(page for page, kind in zip(pages, kinds, strict=True) if kind == "FullResolution")
    if base:
        reduced = [page for page, kind in zip(pages, kinds, strict=True) if kind == "ReducedResolution"]
        names = {"Thumbnail": "thumbnail", "Overview": "macro", "Label": "label"}
        associated = {names[kind]: page for page, kind in zip(pages, kinds, strict=True) if kind in names}
    else:  # by their order: full, thumbnail, reduced, macro, label
        base, *rest = _grouped(pages)
        reduced = [page for group in rest if len(group) == len(base) for page in group if _is_tiled(page)]
        associated = {"thumbnail": rest[0][0]} if rest and not _is_tiled(rest[0][0]) else {}
    levels = [base] + [
        group for group in _grouped(reduced) if len(group) == len(base) and _reduces(group[0], base[0])
    ]
    if len({_shape(page) for page in base}) > 1:
        raise UnsupportedLayoutError("its channels differ in size")
    channels = tuple(facts.perkinelmer_channel(page) for page in base)
    return Layout(_finest_first(levels), facts.perkinelmer_facts(base[0]), associated, channels)


def _philips(pages: Sequence[Directory]) -> Layout:
    tiled = [page for page in pages if _is_tiled(page)]
    if not tiled:
        raise UnsupportedLayoutError("it is a Philips slide without tiles")
    spacings = facts.philips_spacings(pages[0])
    base = tiled[0]
    shapes = [_shape(base)]
    if len(spacings) != len(tiled):
        raise UnsupportedLayoutError("its XML does not list the sizes of its levels")
    for page, step in zip(tiled[1:], _steps(spacings), strict=True):  # levels are padded to whole tiles
        stored = _shape(page)
        shapes.append((min(stored[0], _shape(base)[0] // step), min(stored[1], _shape(base)[1] // step)))
    if any(min(shape) < 1 for shape in shapes):
        raise UnsupportedLayoutError("its XML states levels of no size")
    associated = {
        name: page
        for page in pages
        for name in ("label", "macro")
        if not _is_tiled(page) and page.text(DESCRIPTION).lower().startswith(name)
    }
    levels = tuple((page,) for page in tiled)
    return Layout(levels, facts.philips_facts(pages[0]), associated, shapes=tuple(shapes))


def _steps(spacings: Sequence[Pair]) -> list[int]:
    """Return how much coarser each Philips level is than the first."""
    if not all(0 < value < math.inf for spacing in spacings for value in spacing):
        return [1 << level for level in range(1, len(spacings))]  # as they are made, where none can be told
    (y, x), *coarser = spacings
    return [max(1, round((spacing[0] / y + spacing[1] / x) / 2)) for spacing in coarser]


def _ventana(pages: Sequence[Directory], iscan: str) -> Layout:
    levels = [page for page in pages if page.text(DESCRIPTION).startswith("level=")]
    if not levels:
        raise UnsupportedLayoutError("it is a Ventana slide without levels")
    levels.sort(key=lambda page: -_shape(page)[0])
    if b"<EncodeInfo" in levels[0].data(700):  # tiles overlap, in an order of their own
        raise UnsupportedLayoutError("it is a Ventana slide of overlapping tiles")
    names = {"Label Image": "macro", "Label_Image": "macro", "Thumbnail": "thumbnail"}
    associated = {names[page.text(DESCRIPTION)]: page for page in pages if page.text(DESCRIPTION) in names}
    kept = [(page,) for page in levels if page is levels[0] or _reduces(page, levels[0])]
    return Layout(tuple(kept), facts.ventana_facts(iscan, pages), associated)


def _children(planes: Sequence[Directory]) -> tuple[list[tuple[Directory, ...]], tuple[str, ...]]:
    """Return the reduced levels that directories hold in themselves, and in words those of no size."""
    inner = [page.children() for page in planes]
    if len({len(pages) for pages in inner}) > 1:
        raise UnsupportedLayoutError("its channels differ in levels")
    levels = [tuple(level) for level in zip(*inner, strict=True)]
    kept = [level for level in levels if all(_reduces(page, planes[0]) for page in level)]
    return kept, _of_no_size(inner[0], "reduced directory")


def _ome(description: str, pages: Sequence[Directory]) -> Layout:
    image = ome_image(description, pages)
    reduced, left_out = _children(image.planes)
    levels = [image.planes, *reduced]
    stated = Facts("ome-tiff", image.properties, image.size, image.magnification)
    return Layout(
        _finest_first(levels), stated, image.associated, image.channels, image.as_rgb, left_out=left_out
    )


def _generic(pages: Sequence[Directory]) -> Layout:
    # a mask beside the picture, as GDAL writes it
    groups = _grouped([page for page in pages if not page.integer(254) & _MASK] or pages)
    plain = [group for group in groups if not group[0].integer(254) & _REDUCED] or groups
    # some writers begin with a thumbnail, or with the coarsest level; a size of 0 is damage, not small
    base = max(plain, key=lambda planes: _pixels(planes) or math.inf)
    channels: tuple[Channel, ...] = ()
    if len(base) > 1 or facts.imagej_settings(base[0]):
        axes = facts.stack_axes(base[0], len(base))
        if axes and axes != {"C": len(base)}:
            raise _stacked(base[0], axes)
    reduced, left_out = _children(base)
    levels = [base, *reduced]
    if len(levels) == 1:
        levels += [g for g in groups if len(g) == len(base) and _reduces(g[0], base[0])]
    used = {id(page) for level in levels for page in level}
    associated = {
        name: page
        for page in pages
        for name in ("label", "macro", "thumbnail")
        if id(page) not in used and name in page.text(DESCRIPTION)[:200].lower()
    }
    found = facts.generic_facts(base[0])
    if facts.imagej_settings(base[0]):
        found = Facts("imagej", found.properties, found.size)
    return Layout(_finest_first(levels), found, associated, channels, left_out=left_out)
