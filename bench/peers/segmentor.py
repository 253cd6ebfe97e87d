"""TIAToolbox's segmentor alone: ``python -m bench.peers.segmentor SLIDE MODEL OUT WORKERS``.

Runs in the environment of `bench.peers.tiatoolbox`, with our networks on the search path.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from tiatoolbox.models.engine.io_config import IOSegmentorConfig
from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
from tiatoolbox.models.models_abc import ModelABC

from bench.peers.alone import measure
from napari_lumen.models import load_model
from napari_lumen.models.folding import folded

_BATCH = 4  # as ours on a CPU


class Network(ModelABC):
    """A network of ours as TIAToolbox calls it: tiles in, probability out."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = folded(network).to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.network(x)

    @staticmethod
    def infer_batch(model: torch.nn.Module, batch_data: torch.Tensor, *, device: str) -> np.ndarray:
        """Return (N, h, w, 1) of (N, h, w, 3) uint8."""
        with torch.inference_mode():
            x = batch_data.to(device, torch.float32).div_(255).permute(0, 3, 1, 2)
            return model(x).sigmoid().permute(0, 2, 3, 1).cpu().numpy()

    @staticmethod
    def postproc(image: np.ndarray) -> np.ndarray:
        """Return labels (h, w) of the probability."""
        return (image[..., 0] >= 0.5).astype(np.uint8)


def main() -> None:
    """Measure a run without a tissue mask, to labels in zarr."""
    slide, folder, out, workers = sys.argv[1:]
    loaded = load_model(folder)
    spec = loaded.card.input
    (view,) = spec.views
    stride = view.size - spec.overlap
    config = IOSegmentorConfig(
        input_resolutions=[{"units": "mpp", "resolution": view.mpp}],
        output_resolutions=[{"units": "mpp", "resolution": view.mpp}],
        patch_input_shape=(view.size, view.size),
        patch_output_shape=(view.size, view.size),
        stride_shape=(stride, stride),
        save_resolution={"units": "mpp", "resolution": view.mpp},
    )
    segmentor = SemanticSegmentor(
        Network(loaded.network), batch_size=_BATCH, num_workers=int(workers), verbose=False
    )

    def run() -> int:
        segmentor.run(
            [Path(slide)],
            patch_mode=False,
            ioconfig=config,
            auto_get_mask=False,
            save_dir=Path(out),
            output_type="zarr",
        )
        return len(segmentor.dataloader.dataset)

    measure(run)


if __name__ == "__main__":
    main()
