"""BCDU-Net (Azad, Asadi-Aghbolaghi, Fathy and Escalera, ICCV workshops 2019).

A U-Net of three poolings whose deepest level is densely connected, and whose skips are joined by a
convolutional LSTM that reads encoder and decoder as a sequence of two. Section numbers are those of the
paper; "the release" is the authors' code.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.models.arguments import check_counts
from napari_lumen.models.initial_weights import draw_convolutions
from napari_lumen.models.padding import pad_to_multiple

_MOST_BLOCKS = 16  # the paper has 1 and 3


class _Preset(TypedDict):
    widths: tuple[int, int, int, int]
    bidirectional: bool


PRESETS: dict[str, _Preset] = {
    # the release reads each skip in one direction; only so has it the 20.66 million weights of FocusNet++'s
    # Table 2
    "table": {"widths": (64, 128, 256, 512), "bidirectional": False},
    # section 3.2: both directions
    "text": {"widths": (64, 128, 256, 512), "bidirectional": True},
    # for nuclei, 5.22 million weights in FocusNet++'s Table 3
    "slim": {"widths": (32, 64, 124, 260), "bidirectional": False},
}


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(inputs, outputs), nn.ReLU(inplace=True), _conv(outputs, outputs), nn.ReLU(inplace=True)
    )


class ConvLSTM(nn.Module):
    """Convolutional LSTM (section 3.2; Shi et al. 2015) that returns its last state.

    With X the input, H the hidden and C the cell state, * a 3x3 convolution and . elementwise:
    i, f, o = sigmoid(W * [X, H] + b), C' = f . C + i . tanh(W_c * [X, H] + b_c), H' = o . tanh(C').
    The peepholes of the paper's equation, weights of one image size, are left out as in the release.

    Input two tensors (N, inputs, h, w), in the order in which they are read; output (N, outputs, h, w)
    in (-1, 1).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.gates = _conv(inputs + outputs, 4 * outputs)  # forget, input, output gate and candidate

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Read `first`, then `second`, both (N, inputs, h, w), and return the state (N, outputs, h, w)."""
        # both states are zero before the first step: nothing to forget, and no hidden state to convolve
        enter, leave, candidate = self._gates(first)
        cell = torch.sigmoid(enter) * torch.tanh(candidate)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        forget, enter, leave, candidate = self._gates(torch.cat([second, hidden], dim=1))
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        return torch.sigmoid(leave) * torch.tanh(cell)

    def _gates(self, x: Tensor) -> list[Tensor]:
        """Return the gates of [X, H], or of X alone those that a first step needs, each dense in memory.

        Slices of one convolution's output would be slow to read in channels-last.
        """
        channels = x.shape[1]
        weights, biases = self.gates.weight[:, :channels].chunk(4), self._bias.chunk(4)
        needed = slice(None) if channels > self.inputs else slice(1, None)
        return [
            F.conv2d(x, weight, bias, padding=1)
            for weight, bias in zip(weights[needed], biases[needed], strict=True)
        ]

    @property
    def _bias(self) -> Tensor:
        return self.gates.get_parameter("bias")

    def initialise(self) -> None:
        """Set the bias of the forget gate to one, so that it begins by remembering (Keras's default)."""
        nn.init.ones_(self._bias[: self.outputs])


class SkipLSTM(nn.Module):
    """Joins the encoder's and the upsampled decoder's features of one level (section 3.2).

    In one direction, the decoder's features are read first and the encoder's last, as in the release. In
    both, Y = tanh(W_f * H_f + W_b * H_b + b) of the last states of the two directions.

    Input two tensors (N, channels, h, w); output (N, channels / 2, h, w) in (-1, 1).
    """

    def __init__(self, channels: int, bidirectional: bool) -> None:
        super().__init__()
        half = channels // 2
        self.backward_lstm = ConvLSTM(channels, half)
        self.forward_lstm = ConvLSTM(channels, half) if bidirectional else None
        self.combine = _conv(2 * half, half) if bidirectional else None

    def forward(self, skip: Tensor, up: Tensor) -> Tensor:
        """Join `skip` and `up`, both (N, channels, h, w), to (N, channels / 2, h, w)."""
        state: Tensor = self.backward_lstm(up, skip)
        if self.forward_lstm is None or self.combine is None:
            return state
        return torch.tanh(self.combine(torch.cat([self.forward_lstm(skip, up), state], dim=1)))


class BCDUNet(nn.Module):
    """BCDU-Net (Fig. 1 of the paper).

    Parameters
    ----------
    preset : {"table", "text", "slim"}
        Of the release, with skips read in one direction (20.66 million weights in FocusNet++'s Table 2);
        of the text, with skips read in both; or slim as for nuclei (5.22 million, Table 3).
    in_channels : int
        Channels of the input.
    classes : int
        Channels of the output: 1 for a sigmoid, or the background and each class for a softmax.
    blocks : int
        Densely connected blocks of the deepest level: d of section 3.1, 3 or 1 in the paper. Each reads
        the outputs of all before it.
    dropout : float
        Dropout after each dense block and in the deepest skip, as in the release.

    Notes
    -----
    Input (N, in_channels, H, W), any H and W: padded to multiples of 8 and cropped back. Output
    (N, classes, H, W) logits. There are no attention maps. Can be exported for a fixed size.
    """

    task: ClassVar[str] = "segmentation"
    view_count: ClassVar[int] = 1

    def __init__(
        self,
        *,
        preset: str = "table",
        in_channels: int = 3,
        classes: int = 1,
        blocks: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
        check_counts(in_channels=in_channels, classes=classes)
        check_counts(most=_MOST_BLOCKS, blocks=blocks)
        self.in_channels = in_channels
        widths = PRESETS[preset]["widths"]
        *levels, deepest = widths
        self.encoder = nn.ModuleList(_stage(a, b) for a, b in pairwise((in_channels, *levels)))
        self.pool = nn.MaxPool2d(2)
        # the first block reads the level above, each other one the outputs of all blocks before it
        reads = (levels[-1], *(deepest * i for i in range(1, blocks)))
        self.dense = nn.ModuleList(_stage(inputs, deepest) for inputs in reads)
        self.dropout = nn.Dropout(dropout)
        upwards = widths[::-1]
        self.up = nn.ModuleList(self._up(a, b) for a, b in pairwise(upwards))
        self.skip = nn.ModuleList(SkipLSTM(b, PRESETS[preset]["bidirectional"]) for b in upwards[1:])
        self.decoder = nn.ModuleList(_stage(b // 2, b) for b in upwards[1:])
        # two channels for one class in the release
        self.head = nn.Sequential(
            _conv(widths[0], 2 * classes), nn.ReLU(inplace=True), nn.Conv2d(2 * classes, classes, 1)
        )
        draw_convolutions(self)
        for module in self.modules():
            if isinstance(module, ConvLSTM):
                module.initialise()

    @staticmethod
    def _up(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 2, stride=2),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),  # Keras defaults, as in the release
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of (N, in_channels, H, W)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 8)
        skips = []
        for stage in self.encoder:
            skips.append(stage(x))
            x = self.pool(skips[-1])
        skips[-1] = self.dropout(skips[-1])
        outputs: list[Tensor] = []
        for block in self.dense:
            x = self.dropout(block(torch.cat(outputs, dim=1) if outputs else x))
            outputs.append(x)
        for up, skip, stage in zip(self.up, self.skip, self.decoder, strict=True):
            x = stage(skip(skips.pop(), up(x)))
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]
