"""From what one forward pass recorded to maps, gates and boxes in their place on the slide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from napari_lumen.errors import RunError
from napari_lumen.explain.entropy import entropy_bits, most_entropy
from napari_lumen.explain.field_pass import Recorded
from napari_lumen.explain.parts import Channels, ExplainedField, Item, Part, Values
from napari_lumen.explain.place import Field
from napari_lumen.explain.titles import ANSWER, NETWORK, SEARCH, item_title, part_title, reading_order
from napari_lumen.geometry import Grid, Region
from napari_lumen.models import AttentionInfo, ModelCard
from napari_lumen.models.attention_checks import MOST_PADDED

GATED = "channel_gate"  # of gated attention, whose paper shows the best- and the worst-gated channels
_SHOWN_CHANNELS = 3  # of each


def placed(
    card: ModelCard, infos: Sequence[AttentionInfo], recorded: Recorded, field: Field
) -> ExplainedField:
    """Place what was recorded of a field and sort it into a tree of the network's parts.

    Parameters
    ----------
    card : ModelCard
    infos : sequence of AttentionInfo
        Of the network.
    recorded : Recorded
    field : Field
    """
    items: dict[str, list[Item]] = {}
    for info in infos:
        if info.name in recorded.attention:
            found = _item(info, recorded.attention[info.name], field)
            items.setdefault(_part_of(info), []).append(found)
    explained = ExplainedField(
        card.name,
        card.title,
        field.region,
        field.views,
        _probabilities(card, recorded.probability),
        _mean(entropy_bits(card, recorded.probability)),
        (_answer(card, recorded.probability, field), *_nested(items)),
        _channels(infos, recorded, field),
        recorded.seconds,
    )
    return _with_channels(explained)


def channel_map(explained: ExplainedField, gate: str, channel: int) -> Item:
    """Return one channel before its gate as a map, see `Explainer.explain` for which are kept.

    Raises
    ------
    RunError
        When the channels of the gate were not kept, or there is no such channel.
    """
    if gate not in explained.channels:
        raise RunError(f"The channels of {gate!r} were not kept: explain the field with channels=[{gate!r}].")
    features = explained.channels[gate]
    if not 0 <= channel < len(features.values):
        raise RunError(f"{gate!r} has channels 0 to {len(features.values) - 1}, not {channel}.")
    value = float(explained[gate].values[channel])
    return Item(
        f"{gate}.channel.{channel}",
        f"Channel {channel}, gate {value:.3f}",
        f"Channel {channel} before its gate of {value:.3f}.",
        "map",
        features.values[channel],
        features.grid,
        (-math.inf, math.inf),
        "min-max",
    )


def _probabilities(card: ModelCard, probability: Values) -> Mapping[str, float]:
    return {item.name: _mean(values) for item, values in zip(card.classes, probability, strict=True)}


def _mean(values: Values) -> float:
    """Return the mean over what was answered, NaN where nothing was."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _answer(card: ModelCard, probability: Values, field: Field) -> Part:
    """Return the part that holds what the network answered."""
    entropy = entropy_bits(card, probability)
    grid, region = field.grid, field.region
    undecided = Item(
        "entropy",
        "Entropy",
        "How undecided the model is, in bits.",
        "map",
        np.atleast_2d(entropy),
        # one value for the whole field where the model answers so
        grid if entropy.ndim else Grid((1, 1), (region.height, region.width), grid.origin),
        (0.0, most_entropy(card)),
    )
    names = tuple(item.name for item in card.classes)
    if probability.ndim == 1:
        said = "Probability of each class, of the whole field."
        item = Item("classes", "Classes", said, "classes", probability, labels=names)
        return Part(ANSWER, part_title(ANSWER), (item, undecided))
    maps = [
        Item(f"probability.{name}", name, f"Probability of {name}.", "map", values, grid)
        for name, values in zip(names, probability, strict=True)
    ]
    return Part(ANSWER, part_title(ANSWER), (*maps, undecided))


def _item(info: AttentionInfo, values: Values, field: Field) -> Item:
    grid = None
    if info.kind == "spatial":
        grid = _grid_of(field.grid, values.shape, info.stride)
        values = values[: grid.shape[0], : grid.shape[1]]
    elif info.kind == "boxes":
        values = _boxes_on(field.region, values)
    kinds = {"spatial": "map", "channel": "channels", "boxes": "boxes", "table": "table"}
    return Item(
        info.name,
        item_title(info.name),
        info.description,
        kinds[info.kind],  # type: ignore[arg-type]
        values,
        grid,
        info.value_range,
        info.display,
        not info.per_tile,
        info.raw,
    )


def _grid_of(field: Grid, shape: tuple[int, ...], stride: int | None) -> Grid:
    """Return where the cells of a map lie; those that are of padding alone are left out."""
    if stride is None:  # edge to edge, whatever the sides
        step = (field.step[0] * field.shape[0] / shape[0], field.step[1] * field.shape[1] / shape[1])
        return Grid((shape[0], shape[1]), step, field.origin)
    rows, columns = (min(cells, -(-side // stride)) for cells, side in zip(shape, field.shape, strict=True))
    return Grid((rows, columns), (field.step[0] * stride, field.step[1] * stride), field.origin)


def _channels(infos: Sequence[AttentionInfo], recorded: Recorded, field: Field) -> dict[str, Channels]:
    """Return the features before gates in their place: as maps of the same shape, or by their size."""
    strides = {
        recorded.attention[info.name].shape: info.stride
        for info in infos
        if info.kind == "spatial" and info.name in recorded.attention
    }
    found = {}
    for name, values in recorded.channels.items():
        shape = values.shape[1:]
        stride = strides[shape] if shape in strides else _likely_stride(field.grid, shape)
        grid = _grid_of(field.grid, shape, stride)
        found[name] = Channels(values[:, : grid.shape[0], : grid.shape[1]], grid)
    return found


def _likely_stride(field: Grid, shape: tuple[int, ...]) -> int | None:
    """Return the power of two by which cells cover a field that was padded little; None for edge to edge."""
    stride = 1
    while any(cells * stride < side for cells, side in zip(shape, field.shape, strict=True)):
        stride *= 2
    fits = all(cells * stride < side + MOST_PADDED for cells, side in zip(shape, field.shape, strict=True))
    return stride if fits else None


def _boxes_on(region: Region, values: Values) -> Values:
    """Return boxes given by fractions of the field's sides on the slide, unused slots left out."""
    used = values[~np.isnan(values[:, 0])].astype(np.float64)
    size = np.array([region.height, region.width] * 2)
    used[:, :4] = used[:, :4] * size + np.array([region.y, region.x] * 2)
    ordered: Values = used[np.argsort(-used[:, 4], kind="stable")]  # float64: float32 would move edges
    return ordered


def _part_of(info: AttentionInfo) -> str:
    if info.kind == "table":
        return SEARCH
    return NETWORK if info.stage == info.name else info.stage


def _nested(items: dict[str, list[Item]]) -> tuple[Part, ...]:
    """Return parts by their stages, those with a dot inside the one before it."""
    heads = reading_order(list(dict.fromkeys(stage.partition(".")[0] for stage in items)))
    parts = []
    for head in heads:
        inner = tuple(
            Part(stage, part_title(stage), tuple(found))
            for stage, found in items.items()
            if stage.startswith(f"{head}.")
        )
        parts.append(Part(head, part_title(head), tuple(items.get(head, ())), inner))
    return tuple(parts)


def _with_channels(explained: ExplainedField) -> ExplainedField:
    """Add the best- and the worst-gated channels of gated attention to the part of their gate."""
    if GATED not in explained.channels:
        return explained
    gates = explained[GATED].values
    order = np.argsort(-gates, kind="stable")
    count = min(_SHOWN_CHANNELS, len(gates) // 2)
    chosen = [*order[:count].tolist(), *order[::-1][:count].tolist()]
    shown = []
    for number, channel in enumerate(chosen):
        item = channel_map(explained, GATED, channel)
        which = "Best" if number < count else "Worst"
        shown.append(replace(item, title=f"{which}-gated: channel {channel} (gate {gates[channel]:.3f})"))
    parts = tuple(
        Part(part.name, part.title, (*part.items, *shown), part.parts)
        if any(item.name == GATED for item in part.items)
        else part
        for part in explained.parts
    )
    return replace(explained, parts=parts)
