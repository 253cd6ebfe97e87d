"""How parts of networks and what they record are called in a list."""

from __future__ import annotations

import re

from napari_lumen.models.genotype import POSITIONS

NETWORK, ANSWER, SEARCH = "network", "answer", "search"
_PARTS = {
    NETWORK: "Maps of the network",
    ANSWER: "Answer",
    SEARCH: "Architecture search",
    "bottleneck": "Bottleneck",
}
_ITEMS = {
    "att0": "Group attention: first for second",
    "att2": "Group attention: third for fourth",
    "se": "Channel gates",
    "sam": "Spatial map",
    "cam": "Channel gates",
    "psi": "Attention gate",
    "semantic": "Semantic map before its softmax",
    "semantic_S": "Semantic map",
    "channel_gate": "Channel gates",
    "omega": "Attention map",
    "instance_mask": "Instance mask",
    "instances": "Instances",
    "feature_norm": "Feature norm",
    "tumour_prob": "Tumour probability",
    "alpha_sam": "Coefficients of the spatial cells",
    "alpha_cam": "Coefficients of the channel cells",
}
_PATTERNS = (
    (r"gate_\d+", "Channel gates"),
    (r"refined_\d+", "Gated features"),
    (r"scale\d+", "Scale output {}"),
)
_STAGES = {"e": "Encoder stage", "d": "Decoder stage", "D": "Down block", "U": "Up block"}


def part_title(name: str) -> str:
    """Return the title of a part: ``Encoder stage 2`` of e2, ``Block 1`` of e2.0, ``Up block 4`` of U4."""
    own = name.rpartition(".")[2]
    if name in _PARTS:
        return _PARTS[name]
    if "." in name and own.isdigit():
        return f"Block {int(own) + 1}"
    stage = re.fullmatch(r"([edDU])(\d+)", own)
    if stage is not None:
        return f"{_STAGES[stage.group(1)]} {stage.group(2)}"
    return own[:1].upper() + own[1:].replace("_", " ")


def item_title(name: str) -> str:
    """Return the title of what a network records, inside its part."""
    own = name.rpartition(".")[2]
    if own in _ITEMS:
        return _ITEMS[own]
    for pattern, title in _PATTERNS:
        if re.fullmatch(pattern, own):
            return title.format("".join(filter(str.isdigit, own)))
    return own[:1].upper() + own[1:].replace("_", " ")


def full_title(name: str) -> str:
    """Return a title that says part and item: ``Encoder stage 2, block 1: channel gates``."""
    path = name.split(".")[:-1]
    parts = [part_title(".".join(path[: index + 1])) for index in range(len(path))]
    own = item_title(name)
    if not parts:
        level = re.search(r"_(\d+)$", name)
        return f"Level {level.group(1)}: {_lower(own)}" if level else own
    return f"{', '.join([parts[0], *map(_lower, parts[1:])])}: {_lower(own)}"


def short_title(name: str) -> str:
    """Return a title for a narrow list: ``Group attention (d1.0.att0)``."""
    own = item_title(name).partition(":")[0]
    return f"{own} ({name})" if "." in name else full_title(name)


def reading_order(stages: list[str]) -> list[str]:
    """Return parts in the order in which a reader wants them: of NAS-SCAM the last positions first."""
    last_first = sorted((name for name in stages if name in POSITIONS), key=POSITIONS.index, reverse=True)
    return [*last_first, *(name for name in stages if name not in POSITIONS)]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
