"""Measure a trained nuclei network and write its model folder.

``python -m napari_lumen.training.nuclei_card CHECKPOINT DSB SAMPLE OUT [--consep FOLDER]`` takes the
checkpoint of `napari_lumen.training.nuclei`, the folder of its images, the sample slide with its truth
as GeoJSON beside it, and writes `OUT/nuclei-focusnetpp-light`. CoNSeP, if given, is only measured on.
``--mix OTHER SHARE`` takes a share of the weights from another checkpoint of the same training.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio.features
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.evaluation import dice
from napari_lumen.models import InputSpec, ModelCard, TrainingRecord, View, build, save_model
from napari_lumen.slides import open_slide
from napari_lumen.training.data.known import ConsepTiles, consep_patches
from napari_lumen.training.nuclei import (
    FLUORESCENCE,
    HELD_OUT,
    MPP,
    NUCLEUS_UM,
    Recipe,
    by_group,
    dice_by_image,
    load,
    split_of,
)

_TILE, _OVERLAP = 256, 32  # px
# True of the weights in the package; training anew in one go makes it void.
_HISTORY = (
    "The shipped weights are the mean of two: 0.65 of those after 2,200 steps and 0.35 of those after 550 "
    "more with painted keratin, which finds less in keratin but missed dark nuclei in squamous epithelium. "
    "The share was chosen by looking at CMU-1-Small-Region."
)
_CONSEP_MPP = 0.25


def mixed(first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the mean of two sets of weights, with a share of the second."""
    return {
        name: value.lerp(second[name], share) if value.is_floating_point() else second[name]
        for name, value in first.items()
    }


def foreground(network: nn.Module, rgb: Tensor) -> npt.NDArray[np.bool_]:
    """Return the nuclei, bool (h, w), of an image (3, h, w) in [0, 1] at `MPP`, tile by tile as in a run.

    The channel gates of the network see the whole tile, so its size matters.
    """
    height, width = rgb.shape[-2:]
    margin, stride = _OVERLAP // 2, _TILE - _OVERLAP
    out = np.zeros((height + stride, width + stride), bool)
    padded = F.pad(rgb, (margin, margin + stride, margin, margin + stride), value=1.0)
    with torch.inference_mode():
        for y in range(0, height, stride):
            for x in range(0, width, stride):
                logits = network(padded[None, :, y : y + _TILE, x : x + _TILE])[0, 0]
                core = logits[margin : margin + stride, margin : margin + stride]
                out[y : y + stride, x : x + stride] = (core > 0).numpy()
    return out[:height, :width]


def sample_slide_dice(network: nn.Module, slide_path: Path, truth_path: Path) -> float:
    """Return the Dice of the nuclei of the sample slide, pooled over pixels, against the outlines."""
    with open_slide(slide_path) as slide:
        height, width = (
            round(side * own / MPP) for side, own in zip(slide.shape, slide.require_mpp(), strict=True)
        )
        rgb = torch.from_numpy(slide.read_at(0, 0, height, width, MPP).copy()).permute(2, 0, 1).float() / 255
        scale = width / slide.shape[1]
    outlines = [item.geometry for item in read_geojson(truth_path) if item.object_type == "detection"]
    place = rasterio.Affine(1 / scale, 0, 0, 0, 1 / scale, 0)
    truth = rasterio.features.rasterize(outlines, (height, width), transform=place).astype(bool)
    return dice(foreground(network, rgb), truth)


def consep_dice(network: nn.Module, folder: Path) -> float:
    """Return the mean Dice over the CoNSeP tiles, each put together from its patches and reduced to `MPP`."""
    tiles = ConsepTiles(consep_patches(folder))
    scores = []
    for index in range(len(tiles.items)):
        field = torch.from_numpy(np.dstack([tiles.image(index) / 255, tiles.labels(index) > 0])).float()
        field = F.interpolate(field.permute(2, 0, 1)[None], scale_factor=_CONSEP_MPP / MPP, mode="area")[0]
        scores.append(dice(foreground(network, field[:3]), (field[3] > 0.5).numpy()))
    return float(np.mean(scores))


def card(scores: dict[str, float], recipe: Recipe) -> ModelCard:
    """Describe the model with what was measured."""
    return ModelCard(
        name="nuclei-focusnetpp-light",
        title="Nuclei (FocusNet++ light)",
        summary="Outlines the nuclei of haematoxylin-stained tissue at 0.5 µm/px and shows where it looked.",
        task="segmentation",
        architecture="focusnetpp",
        arguments={"preset": recipe.preset},
        activation="sigmoid",
        classes=ClassTable.of([(1, "nucleus", (0, 190, 255))]),
        input=InputSpec(views=(View(size=_TILE, mpp=MPP),), overlap=_OVERLAP),
        attention=("d1.0.att0",),
        objects="watershed",
        training=TrainingRecord(
            data="Data Science Bowl 2018, stage1_train (CC0, BBBC038v1): 87 of the 123 stained and "
            "bright-field images, and of 534 fluorescent ones only the outlines of the nuclei, around which "
            "sections stained with haematoxylin and eosin were painted (`training/paint.py`).",
            split="By mean colour into stain groups: lavender, pink and brightfield for training; "
            f"{HELD_OUT} (36 smear-like images on a white ground) held out. The last, averaged weights are "
            "kept. The images carry no pixel size; each was scaled so that its median nucleus measures "
            f"{NUCLEUS_UM:g} µm, for the scores too. The augmentation was designed after looking at what an "
            "earlier model did on CMU-1-Small-Region, the sample slide and CoNSeP; no image of these was "
            f"trained on. {_HISTORY}",
            recipe=asdict(recipe),
        ),
        scores={name: round(value, 4) for name, value in scores.items()},
        licence="BSD-3-Clause; trained on CC0 data",
        limits="Research use only, not for diagnosis. It does not tell types of nuclei apart, separates "
        "nuclei that touch only where a neck shows, and was not trained on immunohistochemistry, frozen "
        "sections or fluorescence. Pale nuclei in blue cytoplasm and crowded spindle-shaped ones are partly "
        "missed (see the score on CoNSeP); keratin, ink, pigment and folds can be mistaken for nuclei.",
        weights_sha256="0" * 64,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("dsb", type=Path)
    parser.add_argument("sample", type=Path, help="the slide; its truth lies beside it as .geojson.gz")
    parser.add_argument("out", type=Path)
    parser.add_argument("--consep", type=Path)
    parser.add_argument("--mix", nargs=2, metavar=("CHECKPOINT", "SHARE"))
    options = parser.parse_args()
    state = torch.load(options.checkpoint, weights_only=True)
    recipe = Recipe(**state["recipe"])
    network = build("focusnetpp", preset=recipe.preset)
    weights = state["averaged"]
    if options.mix:
        other = torch.load(options.mix[0], weights_only=True)
        weights, recipe = mixed(weights, other["averaged"], float(options.mix[1])), Recipe(**other["recipe"])
    network.load_state_dict(weights)
    network.eval()
    images = load(options.dsb)
    fields = [field for field in images if field.group != FLUORESCENCE]
    groups = by_group(dice_by_image(network, fields), fields)
    truth = options.sample.with_name(options.sample.name.removesuffix(".ome.tif") + ".geojson.gz")
    scores = {f"Dice, held-out stain group {HELD_OUT}, mean over images": groups.pop(HELD_OUT)}
    scores["Dice, synthetic sample slide, pooled pixels"] = sample_slide_dice(network, options.sample, truth)
    if options.consep:
        scores["Dice, CoNSeP (another scanner, measured only), mean over tiles"] = consep_dice(
            network, options.consep
        )
    scores |= {f"Dice, training group {name}, mean over images": value for name, value in groups.items()}
    folder = save_model(options.out, network, card(scores, recipe), split_of(images).text)
    lines = [f"{value:.4f}  {name}" for name, value in scores.items()]
    print(folder, *lines, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
