"""FocusNet++ computes what its equations say in another order, where that is faster."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_lumen.models.focusnetpp import ResidualGroupAttention


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("outputs", [8, 16])
def test_a_block_that_enlarges_is_one_that_sees_an_enlarged_input(training: bool, outputs: int) -> None:
    torch.manual_seed(0)
    late = ResidualGroupAttention(16, outputs, enlarge=True).train(training)
    early = ResidualGroupAttention(16, outputs).train(training)
    early.load_state_dict(late.state_dict())
    x = torch.rand(2, 16, 5, 7)
    torch.testing.assert_close(late(x), early(nn.Upsample(scale_factor=2)(x)))
    torch.testing.assert_close(late.state_dict(), early.state_dict())  # the running statistics, too


def test_no_group_is_a_slice_of_the_embedding() -> None:
    block = ResidualGroupAttention(16, 16).eval()
    seen = []
    for branch in (block.att0, block.residual1, block.att2, block.residual3):
        branch.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        block(torch.rand(2, 16, 8, 8).contiguous(memory_format=torch.channels_last))
    assert len(seen) == 4
    assert all(group.is_contiguous(memory_format=torch.channels_last) for group in seen)
