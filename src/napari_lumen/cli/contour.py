"""`napari-lumen contour`: outlines of where a map of a run is high, as annotations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_lumen.counting import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_lumen.explain.run_map import RunMap

_MOST = 16_000_000  # values that are outlined; of a larger map a coarser level is, and its cells are named


def contour(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    name: Annotated[
        str,
        typer.Option("--map", metavar="NAME", help="A map of the run: attention, a class, or entropy."),
    ],
    threshold: Annotated[float, typer.Option(help="Outlined is where the map is at least this.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="What to write: .geojson, or another format of annotations.")
    ],
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Class of the outlines; of a probability its own."),
    ] = None,
    least_um2: Annotated[
        float, typer.Option("--least-um2", min=0, help="Leave out smaller outlines, µm².")
    ] = 0.0,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Between the middles of cells, instead of along their edges.")
    ] = False,
) -> None:
    """Outline where a map of a run is at least a value, and write that as annotations with their areas."""
    from napari_lumen.annotations.formats import write_annotations
    from napari_lumen.cli.console import results
    from napari_lumen.errors import RunError
    from napari_lumen.explain.contour import area_mm2, to_annotations
    from napari_lumen.explain.contour import contour as outlines_of
    from napari_lumen.explain.run_maps import RunMaps
    from napari_lumen.geometry import Region
    from napari_lumen.inference.run import Run

    maps = RunMaps(Run.open(run.expanduser()))
    item, record = maps.find(name), maps.run.record
    region = None if record.region is None else Region(*record.region)
    values, grid = item.read(region, _MOST)
    _check(threshold, values, item)
    outlines = outlines_of(values, grid, threshold, "interpolated" if smooth else "cells")
    if class_name is None and item.kind == "probability":
        class_name = item.name.removeprefix("probability.")
    colors = {known.name: known.color for known in record.classes}
    found = to_annotations(
        outlines,
        model=record.card.name,
        run=maps.run.path.name,
        title=item.title,
        threshold=threshold,
        mpp=record.mpp,
        class_name=class_name,
        color=colors.get(class_name or ""),
        least_um2=least_um2,
    )
    if not found:
        raise RunError(f"No outline has {least_um2:g} µm² or more: leave out less.")
    write_annotations(out.expanduser(), found)
    console = results()
    area = area_mm2([annotation.geometry for annotation in found], record.mpp)
    console.print(f"{counted(len(found), 'outline')}, {area:.4g} mm², in {out}", soft_wrap=True, markup=False)
    if grid.step != item.grid.step:
        console.print(f"They are of cells of {max(grid.scale(record.mpp)):.3g} µm; the map is finer.")


def _check(threshold: float, values: npt.NDArray[np.float32], item: RunMap) -> None:
    """Raise RunError, where a threshold would outline nothing, or lies below all that the map can be."""
    import numpy as np

    from napari_lumen.errors import RunError

    known = values[np.isfinite(values)]
    if not known.size:
        raise RunError(f"{item.title} has no values: there is nothing to outline.")
    lowest, highest = float(known.min()), float(known.max())
    guaranteed = -math.inf if item.value_range is None else item.value_range[0]
    least = min(lowest, guaranteed) if math.isfinite(guaranteed) else lowest
    if not least <= threshold <= highest:  # NaN neither
        raise RunError(
            f"A threshold of {threshold:g} is beyond {item.title}, whose values are {lowest:.4g} to "
            f"{highest:.4g}: choose one of those."
        )
