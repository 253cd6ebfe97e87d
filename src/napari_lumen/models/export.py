"""Networks in the formats of other programs: PyTorch's exported program and ONNX."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn

from napari_lumen.errors import ModelError, first_line
from napari_lumen.models.card import LARGEST_SIDE
from napari_lumen.models.describe import example_input
from napari_lumen.models.paths import user_path
from napari_lumen.models.store import Model

_FORMATS = {".pt2": "torch.export", ".onnx": "ONNX"}


def export_model(model: Model | nn.Module, path: str | os.PathLike[str], size: int | None = None) -> Path:
    """Write a network, weights included, as a file that needs none of our code.

    The file takes any number of tiles of one size, normalised as the model's card says, and gives logits.

    Parameters
    ----------
    model : Model or nn.Module
        In evaluation mode.
    path : path
        Ending in ``.pt2`` (`torch.export`) or ``.onnx``; replaced only when the new file is whole.
    size : int, optional
        Side of the tiles, px; by default the card's.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ModelError
        When the ending is another, ``onnx`` is not installed, the file cannot be written, the size is
        impossible, or the network does what no such file can hold: a path that depends on the pixels.
    """
    target = user_path(path)
    kind = _FORMATS.get(target.suffix.lower())
    if kind is None:
        raise ModelError(
            f"A network is exported to {' or '.join(_FORMATS)}, not to {target.name!r}: choose one of these."
        )
    network = model.network if isinstance(model, Model) else model
    side = size
    if side is None:
        side = model.card.input.views[0].size if isinstance(model, Model) else 256
    if not 1 <= side <= LARGEST_SIDE:
        raise ModelError(f"The side of a tile is 1 to {LARGEST_SIDE:,} px, not {side}.")
    example = example_input(network, (side, side))
    views = example if isinstance(example, tuple) else (example,)
    # two tiles: of a batch of one, the exporter would think that it is always one
    doubled = tuple(torch.cat([view, view]) for view in views)
    batch = torch.export.Dim("batch", min=1, max=1024)
    shape = tuple({0: batch} for _ in views) if len(views) > 1 else {0: batch}
    inputs = (doubled if len(doubled) > 1 else doubled[0],)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporters tell of their own plans
            program = torch.export.export(network.eval(), inputs, dynamic_shapes=(shape,))
    except ModelError:
        raise
    except Exception as error:  # the exporter raises errors of many libraries
        raise ModelError(
            f"{type(network).__name__} cannot be exported at {side} px: {first_line(error)}. "
            "Run it with napari-lumen instead."
        ) from error
    _write(program, target, kind)
    return target


def _write(program: torch.export.ExportedProgram, target: Path, kind: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
            partial = Path(folder) / target.name
            if kind == "ONNX":
                _write_onnx(program, partial)
            else:
                torch.export.save(program, partial)
            partial.replace(target)
    except OSError as error:
        raise ModelError(
            f"The network cannot be written to {target}: {error.strerror or error}. Choose another place."
        ) from error


def _write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    try:
        import onnxscript  # noqa: F401  torch asks for it
    except ImportError as error:
        raise ModelError(
            'ONNX needs two more packages: pip install "napari-lumen[onnx]", or export to .pt2.'
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = torch.onnx.export(program, dynamo=True, verbose=False)
    if converted is None:
        raise ModelError(f"The network cannot be expressed in ONNX; export to {path.stem}.pt2 instead.")
    converted.save(str(path))
