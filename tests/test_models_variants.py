"""Every row of the papers' tables, forward and backward, on each device that there is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_lumen.models import VARIANTS, Variant, build, example_input, names

_SIDE = 64
# what a network sees of an image, in pixels: no weight depends on it
_SMALL = {
    "gated_attention": {"global_size": 64, "local_size": 64},
    "multistage": {"patch": _SIDE, "crop": _SIDE},
}
_DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def test_every_network_stands_in_a_table() -> None:
    in_tables = {variant.network for variant in VARIANTS}
    assert set(names()) - in_tables == {"googlenet"}  # the encoder of multi-stage alone


@pytest.mark.slow
@pytest.mark.parametrize("device", _DEVICES)
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.network}-{v.row}")
def test_a_gradient_comes_back_finite(variant: Variant, device: str) -> None:
    torch.manual_seed(0)
    arguments = {**variant.arguments, **_SMALL.get(variant.network, {})}
    network = build(variant.network, **arguments).to(device, memory_format=torch.channels_last)
    example = example_input(network, (_SIDE, _SIDE), device)
    views = example if isinstance(example, tuple) else (example,)
    batch = tuple(torch.cat([view, 1 - view]).contiguous(memory_format=torch.channels_last) for view in views)
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        logits: Tensor = network(batch if len(batch) > 1 else batch[0])
    assert logits.shape[0] == 2
    assert torch.isfinite(logits).all()
    logits.float().square().mean().backward()
    reached = [p.grad for p in network.parameters() if p.requires_grad and p.grad is not None]
    assert reached
    length = float(torch.nn.utils.get_total_norm(reached))  # infinite or NaN where one of them is
    assert 0 < length < math.inf
