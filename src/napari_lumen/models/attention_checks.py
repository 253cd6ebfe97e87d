"""Whether what a network records as attention fits what it and its card say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from napari_lumen.errors import ModelError
from napari_lumen.models.attention import AttentionInfo, attention_modules
from napari_lumen.models.card import ModelCard

MOST_PADDED = 64  # px that networks add to a side
_BOX = 5  # four edges and a score


def unknown_attention(card: ModelCard, network: nn.Module) -> str | None:
    """Return what is wrong with the attention that a card asks a run to keep; None where nothing is."""
    classifies = card.task == "classification"
    kinds = ("spatial", "channel", "boxes") if classifies else ("spatial",)
    recorded = {info.name for info, _ in attention_modules(network) if info.kind in kinds}
    missing = [name for name in card.attention if name not in recorded]
    if not missing:
        return None
    what = "attention" if classifies else "spatial map"
    return f"field 'attention': network {card.architecture!r} has no {what} {missing[0]!r}"


def require_shapes(
    title: str,
    infos: Iterable[AttentionInfo],
    shapes: Mapping[str, tuple[int, ...]],
    field: tuple[int, int],
) -> None:
    """Raise ModelError when what was recorded of one field cannot be laid on it.

    Parameters
    ----------
    title : str
        Of the model.
    infos : iterable of AttentionInfo
    shapes : mapping of str to tuple of int
        By name, of one field: maps (h, w), gates (C,), boxes (K, 5); names without a shape are left out.
    field : (int, int)
        Height and width of what went in, px.
    """
    for info in infos:
        if info.name in shapes:
            problem = _problem(info, shapes[info.name], field)
            if problem:
                raise ModelError(
                    f"The attention {info.name!r} of {title} does not fit what the network says of it: "
                    f"{problem}. Correct the network or choose another model."
                )


def _problem(info: AttentionInfo, shape: tuple[int, ...], field: tuple[int, int]) -> str | None:
    said = " x ".join(map(str, shape)) or "no"
    if info.kind == "boxes" and (len(shape) != 2 or shape[1] != _BOX):
        return f"boxes have four edges and a score each, and it has {said} values"
    if info.kind == "channel" and (len(shape) != 1 or not shape[0]):
        return f"it has {said} values instead of a gate a channel"
    if info.kind != "spatial":
        return None
    if len(shape) != 2 or not all(shape):
        return f"it has {said} values instead of rows and columns of cells"
    stride = info.stride
    if stride is None or all(
        side <= cells * stride < side + max(MOST_PADDED, stride)
        for cells, side in zip(shape, field, strict=True)
    ):
        return None
    rows, columns = (-(-side // stride) for side in field)
    return (
        f"it has {said} cells, and a stride of {stride} px makes {rows} x {columns} of "
        f"{field[0]} x {field[1]} px"
    )
