"""The attention mechanisms that gated attention is compared with (Fan et al., Table 2).

Each maps features (N, C, h, w) to attended features of the same shape; where the text of the paper that
it comes from and the release of its authors differ, it follows the text.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.attention import mark_attention
from napari_lumen.models.focusnetpp import SqueezeExcitation


def _tokens(x: Tensor) -> Tensor:
    """Return the positions of (N, C, h, w) as tokens (N, h w, C)."""
    return x.flatten(2).transpose(1, 2)


class NonLocal(nn.Module):
    """Spatial attention: the non-local block (Wang et al., CVPR 2018), embedded Gaussian.

    y = softmax(theta(x)^T phi(x)) g(x), z = BN(W y) + x (equations 4 and 6 there), with theta, phi and g of
    C/2 channels. The weight of BN begins at 0, so that the block begins as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(channels, channels // 2, 1) for _ in range(3))
        self.output = nn.Sequential(
            nn.Conv2d(channels // 2, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        nn.init.zeros_(self.output[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Add to each position the mean of all positions, weighted by similarity."""
        theta, phi, g = (_tokens(embed(x)) for embed in (self.theta, self.phi, self.g))
        y = F.scaled_dot_product_attention(theta, phi, g, scale=1.0)
        z: Tensor = x + self.output(y.transpose(1, 2).reshape(len(x), -1, *x.shape[-2:]))
        return z


class TrilinearAttention(nn.Module):
    """Channel-wise attention: trilinear attention (Zheng et al., CVPR 2019), without weights.

    softmax(softmax(X) X^T) X (equation 5 there), X (C, h w): the first softmax normalises each channel over
    its positions, the second the relations of each channel to all.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Replace each channel by the mean of all channels, weighted by similarity."""
        maps = x.flatten(2)
        attended = F.scaled_dot_product_attention(maps.softmax(dim=2).to(x.dtype), maps, maps, scale=1.0)
        return attended.reshape(x.shape)


class DualAttention(nn.Module):
    """Dual attention (Fu et al., CVPR 2019): position and channel attention, summed.

    alpha softmax(B^T C) D + A and beta softmax(A A^T) A + A (equations 1 to 4 there); alpha and beta begin
    at 0. B, C and D have as many channels as A; the authors' release has an eighth of them in B and C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.alpha = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of position attention and channel attention, each with its residual."""
        query, key, value = (_tokens(embed(x)) for embed in (self.query, self.key, self.value))
        by_position = F.scaled_dot_product_attention(query, key, value, scale=1.0).transpose(1, 2)
        maps = x.flatten(2)
        by_channel = F.scaled_dot_product_attention(maps, maps, maps, scale=1.0)
        attended = self.alpha * by_position + self.beta * by_channel
        return attended.reshape(x.shape) + 2 * x


class SqueezeExcitationAttention(nn.Module):
    """Squeeze-and-excitation (Hu et al., CVPR 2018): channels scaled by their gates, bottleneck C/16."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.se = mark_attention(
            SqueezeExcitation(channels), "channel", "Squeeze-and-excitation gate of each channel."
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel by its gate."""
        gate: Tensor = self.se(x)
        return x * gate[:, :, None, None]


class GlobalContext(nn.Module):
    """Global context block (Cao et al., 2019): one attention map for all positions, bottleneck C/16.

    z = x + W2 ReLU(LN(W1 sum_j softmax(W_k x)_j x_j)), equation 5 there.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        self.key = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the transformed context of the image to every position."""
        weights = self.key(x).flatten(2).softmax(dim=2).to(x.dtype)
        context = torch.einsum("ncp,nop->nc", x.flatten(2), weights)
        transformed: Tensor = self.transform(context)
        return x + transformed[:, :, None, None]


RIVALS: dict[str, Callable[[int], nn.Module]] = {
    "spatial": NonLocal,
    "channel": TrilinearAttention,
    "dual": DualAttention,
    "se": SqueezeExcitationAttention,
    "global_context": GlobalContext,
    "none": nn.Identity,
}
"""From the value of `module` of `GatedAttention` to what makes it for a number of channels."""
