"""Every row of the papers' tables, forward and backward, on each device that there is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_lumen.models import VARIANTS, Variant, build, example_input, names

_DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def test_every_network_stands_in_a_table() -> None:
    in_tables = {variant.network for variant in VARIANTS}
    assert set(names()) - in_tables == {"googlenet"}  # the encoder of multi-stage alone


@pytest.mark.slow
@pytest.mark.parametrize("device", _DEVICES)
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.network}-{v.row}")
def test_a_gradient_comes_back_finite(variant: Variant, device: str) -> None:
    torch.manual_seed(0)
    network = build(variant.network, **variant.arguments).to(device, memory_format=torch.channels_last)
    side = 64 if variant.network != "multistage" else 256  # its patches
    example = example_input(network, (side, side), device)
    views = example if isinstance(example, tuple) else (example,)
    batch = tuple(torch.cat([view, 1 - view]).contiguous(memory_format=torch.channels_last) for view in views)
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        logits: Tensor = network(batch if len(batch) > 1 else batch[0])
    assert logits.shape[0] == 2
    assert torch.isfinite(logits).all()
    logits.float().square().mean().backward()
    reached = [p.grad for p in network.parameters() if p.requires_grad and p.grad is not None]
    assert reached
    assert all(torch.isfinite(gradient).all() for gradient in reached)
    assert sum(float(gradient.abs().sum()) for gradient in reached) > 0
