"""The objects of some blocks of a run, looked at on a worker of a Dask cluster."""

from __future__ import annotations

from collections.abc import Sequence

from napari_lumen.inference.assignment import Assignment, require_same_place
from napari_lumen.inference.object_blocks import BlockLook, Seen
from napari_lumen.inference.object_stage import WrittenRasters
from napari_lumen.inference.plan import Cell
from napari_lumen.inference.worker_task import Task


def see_blocks(index: int, assignment: Assignment, how: BlockLook, blocks: Sequence[Cell]) -> list[Seen]:
    """Return what is seen of blocks of the rasters of a run, all of which are on disk.

    Parameters
    ----------
    index : int
        By which the client knows the task.
    assignment : Assignment
    how : BlockLook
    blocks : sequence of (int, int)
    """
    task = Task(index, assignment.topic)
    with task.turn():
        require_same_place(assignment, task.address)
        rasters = WrittenRasters.of(assignment.folder)
        return [how.at(rasters, block, task.require_wanted) for block in blocks]
