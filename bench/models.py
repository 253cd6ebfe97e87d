"""Networks: forward time and memory of each, beside MONAI's U-Net of about as many weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from monai.networks.nets import UNet as MonaiUNet
from torch import nn

from bench.report import Figure, Report
from bench.timing import interleaved
from napari_lumen.models import build, example_input
from napari_lumen.models.folding import folded
from napari_lumen.models.genotype import Genotype

_TILE = 256
_BATCH = 4
_SIDE = 1024  # one megapixel
_TILE_ROUNDS, _SIDE_ROUNDS = 5, 3
_REBUILT = Genotype.of_rows(
    [["conv3", "conv5", "dilated3"] * 2], [["conv3", "conv9", "dilated5"] * 2]
).model_dump(mode="json")
_CASES: tuple[tuple[str, dict[str, object]], ...] = (
    ("focusnetpp", {"preset": "light"}),
    ("focusnetpp", {"preset": "table"}),
    ("darefinenet", {"depth": 18, "context_depth": 18}),
    ("darefinenet", {"depth": 50}),
    ("darefinenet", {"depth": 50, "light": True}),
    ("multistage", {"encoder": "resnet18", "width": 32}),
    ("multistage", {}),
    ("gated_attention", {}),
    ("nas_scam", {"mode": "P", "search": True}),
    ("nas_scam", {"mode": "P", "genotype": _REBUILT}),
    ("nas_scam", {"attention": "none", "search": False}),
    ("unet", {"width": 32}),
    ("attention_unet", {}),
    ("unetpp", {}),
    ("deeplabv3plus", {"depth": 50}),
    ("cbam_unet", {}),
    ("scse_unet", {}),
    ("r2unet", {}),
    ("bcdunet", {}),
    ("resnet", {"depth": 50}),
    ("googlenet", {}),
)


def run(report: Report) -> None:
    """Measure and fill the report."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    report.remarks.append(
        f"Device: {torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, "
        f"{torch.get_num_threads()} threads; channels-last, float32, inference mode, normalisations folded "
        "as for runs. Memory is the peak of what one forward pass holds at once, without weights."
    )
    for name, arguments in _CASES:
        torch.manual_seed(0)
        ours = _ready(build(name, **arguments), device)
        peer, weights = _peer(sum(p.numel() for p in ours.parameters()), device)
        shown = {key: "of both kinds" if key == "genotype" else value for key, value in arguments.items()}
        label = f"{name}({', '.join(f'{key}={value}' for key, value in shown.items())})"
        against = f"MONAI UNet, {weights / 1e6:.1f} M weights"
        for what, side, batch, rounds in (
            (f"ms per {_TILE} px tile", _TILE, _BATCH, _TILE_ROUNDS),
            ("ms per megapixel", _SIDE, 1, _SIDE_ROUNDS),
        ):
            mine = _forward(ours, side, batch, device)
            theirs = _forward(peer, side, batch, device)
            times = interleaved({"ours": mine, "theirs": theirs}, rounds)
            scale = 1e3 / batch
            report.figures.append(
                Figure(f"{label}: {what}", times["ours"] * scale, times["theirs"] * scale, against, "ms")
            )
        report.figures.append(
            Figure(f"{label}: memory per megapixel", _peak(mine), _peak(theirs), against, "MB")
        )


def _ready(network: nn.Module, device: torch.device) -> nn.Module:
    return folded(network.eval()).to(device, memory_format=torch.channels_last)


def _peer(weights: int, device: torch.device) -> tuple[nn.Module, int]:
    """Return MONAI's residual U-Net whose width brings it nearest to so many weights."""
    best: tuple[int, int] | None = None
    for width in range(4, 130, 2):
        with torch.device("meta"):
            network = _monai(width)
        found = sum(p.numel() for p in network.parameters())
        if best is None or abs(found - weights) < abs(best[0] - weights):
            best = (found, width)
        elif found > weights:
            break
    assert best is not None
    return _ready(_monai(best[1]), device), best[0]


def _monai(width: int) -> MonaiUNet:
    channels = [width * 2**level for level in range(5)]
    return MonaiUNet(2, 3, 2, channels, strides=[2 for _ in pairwise(channels)], num_res_units=2)


def _forward(network: nn.Module, side: int, batch: int, device: torch.device) -> Callable[[], None]:
    example = example_input(network, (side, side), device)
    views = example if isinstance(example, tuple) else (example,)
    views = tuple(view.repeat(batch, 1, 1, 1).contiguous(memory_format=torch.channels_last) for view in views)

    def forward() -> None:
        with torch.inference_mode():
            network(views if len(views) > 1 else views[0])
        if device.type == "cuda":
            torch.cuda.synchronize()

    return forward


def _peak(forward: Callable[[], None]) -> float:
    """Return the most megabytes that a forward pass holds at once."""
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        forward()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        forward()
    held = most = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most / 1e6
