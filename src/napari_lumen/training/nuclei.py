"""Train the nuclei model that ships with the package: ``python -m napari_lumen.training.nuclei DATA OUT``.

DATA is the folder of the Data Science Bowl 2018 training images (CC0) with `images.csv`. The stained and
bright-field ones are trained on; of the fluorescent ones only the outlines are used, as nuclei to paint.
The stained ones come from few source slides, so they are split by mean colour, never at random: the group
``white`` (smears on a white ground) is held out and only measured.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from napari_lumen.evaluation import dice
from napari_lumen.models import build
from napari_lumen.training.augment import Augmentation, degrade, jitter, overlay_decoys, random_crop, recolour
from napari_lumen.training.data.splits import Split
from napari_lumen.training.losses import adaptive_logarithmic_hybrid
from napari_lumen.training.paint import crowd, lay_keratin, paint_section

MPP = 0.5
# The images carry no pixel size: each is scaled so that its median nucleus has this diameter.
NUCLEUS_UM = 8.0
HELD_OUT = "white"
FLUORESCENCE = "fluorescence"
# Of fluorescence only outlines are wanted; the few large images would fill the memory.
_LARGEST = 800 * 800  # px
_LARGEST_GROUP = 100  # images; a larger group is drawn from as if it had so many


@dataclass(frozen=True)
class Recipe:
    """What decides the training; every number is recorded with the checkpoint."""

    preset: str = "light"
    steps: int = 2400
    batch: int = 8
    crop: int = 192
    learning_rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 1e-4
    average: float = 0.995
    seed: int = 42


@dataclass(frozen=True)
class Field:
    """One annotated image, reduced by factors of two for zooming out without aliasing."""

    name: str
    group: str
    scale: float
    levels: list[tuple[float, Tensor]]


def stain_group(kind: str, red: float, green: float, blue: float) -> str:
    """Name the stain group of an image by its kind and mean colour, 0 to 255.

    ``fluorescence``, ``brightfield`` grey cytology, ``pink`` eosin outweighs, ``lavender`` one blue-violet
    dye over the whole ground, ``white`` purple nuclei on a white ground.
    """
    if kind in ("brightfield", FLUORESCENCE):
        return kind
    if red >= blue:
        return "pink"
    # one scanner's lavender ground leaves blue far above green wherever it is not all nuclei
    return "lavender" if blue - red > 22 else "white"


def load(folder: Path) -> list[Field]:
    """Read the images with their masks: (4, h, w) float, RGB in [0, 1] and mask."""
    fields = []
    with (folder / "images.csv").open() as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        name = row["image_id"]
        rgb = np.asarray(Image.open(folder / "images" / f"{name}.png").convert("RGB"), np.float32) / 255
        labels = np.asarray(Image.open(folder / "labels" / f"{name}.png"))
        if row["kind"] == FLUORESCENCE and labels.size > _LARGEST:
            continue
        areas = np.bincount(labels.ravel())[1:]
        diameter = float(np.median(np.sqrt(areas[areas > 12] * 4 / np.pi)))
        field = torch.from_numpy(np.dstack([rgb, labels > 0]).astype(np.float32)).permute(2, 0, 1)
        levels = [(1.0, field)]
        while levels[-1][0] < 8 and min(levels[-1][1].shape[-2:]) >= 64:
            levels.append((levels[-1][0] * 2, F.avg_pool2d(levels[-1][1], 2)))
        colour = (float(row[key]) for key in ("mean_r", "mean_g", "mean_b"))
        fields.append(Field(name, stain_group(row["kind"], *colour), NUCLEUS_UM / MPP / diameter, levels))
    return fields


def split_of(fields: list[Field]) -> Split:
    """Return which images are trained on, of fluorescence the outlines alone, and which are held out."""
    parts = {
        "train": tuple(field.name for field in fields if field.group != HELD_OUT),
        "test": tuple(field.name for field in fields if field.group == HELD_OUT),
    }
    return Split(by="group", seed=Recipe.seed, parts=parts)


def batches(
    fields: list[Field], recipe: Recipe, augmentation: Augmentation, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented batches without end: images (N, 3, h, w) in [0, 1] and masks (N, 1, h, w)."""
    groups = sorted({field.group for field in fields})
    members = [[field for field in fields if field.group == group] for group in groups]
    share = np.sqrt([min(len(group), _LARGEST_GROUP) for group in members])
    share /= share.sum()

    def pick() -> Field:
        group = members[rng.choice(len(groups), p=share)]
        return group[int(rng.integers(len(group)))]

    low, high = map(math.log, augmentation.scale)
    while True:
        crops = []
        for _ in range(recipe.batch):
            field, zoom = pick(), math.exp(rng.uniform(low, high))
            if field.group == FLUORESCENCE or rng.random() < augmentation.paint:
                stretch = rng.uniform(1, augmentation.stretch) if rng.random() < 0.5 else 1.0
                zoom /= math.sqrt(stretch)  # a nucleus keeps its area
                seen = random_crop(field.levels, field.scale * zoom, recipe.crop, rng, stretch)
                nuclei = seen[3].numpy() > 0.5
                while rng.random() < augmentation.crowd:
                    other = pick()
                    more = random_crop(other.levels, other.scale * zoom, recipe.crop, rng, stretch)[3]
                    nuclei = crowd(nuclei, more.numpy() > 0.5)
                rgb = paint_section(seen[:3].mean(dim=0).numpy(), nuclei, rng)
            else:
                seen = random_crop(field.levels, field.scale * zoom, recipe.crop, rng)
                rgb = seen[:3].permute(1, 2, 0).numpy()
                rgb = recolour(rgb, rng) if rng.random() < augmentation.recolour else jitter(rgb, rng)
                nuclei = seen[3].numpy() > 0.5
            if rng.random() < augmentation.keratin:
                rgb, nuclei = lay_keratin(rgb, nuclei, rng)
            if rng.random() < augmentation.decoys:
                rgb = overlay_decoys(rgb, rng)
            rgb = degrade(rgb, augmentation.blur, rng)
            crops.append((torch.from_numpy(rgb).permute(2, 0, 1), torch.from_numpy(nuclei)[None].float()))
        images, masks = zip(*crops, strict=True)
        yield torch.stack(images), torch.stack(masks)


def dice_by_image(model: nn.Module, fields: list[Field]) -> dict[str, float]:
    """Dice of the foreground at probability 0.5 and at `MPP`, by image name; `model` in evaluation mode."""
    scores = {}
    with torch.inference_mode():
        for field in fields:
            _, source = field.levels[0]
            size = [round(side * field.scale) for side in source.shape[-2:]]
            scaled = F.interpolate(source[None], size=size, mode="bilinear", antialias=True)
            predicted, truth = model(scaled[:, :3]) > 0, scaled[:, 3:] > 0.5
            scores[field.name] = dice(predicted.numpy(), truth.numpy())
    return scores


def by_group(scores: dict[str, float], fields: list[Field]) -> dict[str, float]:
    """Mean over images of each stain group."""
    groups = sorted({field.group for field in fields})
    return {
        group: float(np.mean([scores[field.name] for field in fields if field.group == group]))
        for group in groups
    }


def fit(fields: list[Field], recipe: Recipe, checkpoint: Path, report: Callable[[str], None]) -> nn.Module:
    """Train on every group but the held-out one and return the averaged network.

    The last weights are kept, averaged over steps: no epoch is chosen on any image, so the held-out score
    is honest. A checkpoint is written every 100 steps, atomically, and a later call goes on from it.
    """
    torch.manual_seed(recipe.seed)
    model = build("focusnetpp", preset=recipe.preset)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = deepcopy(model).eval()
    optimiser = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    rng = np.random.default_rng((recipe.seed, first))
    train = [field for field in fields if field.group != HELD_OUT]
    held_out = [field for field in fields if field.group == HELD_OUT]
    source = batches(train, recipe, Augmentation(), rng)
    started, losses = time.monotonic(), []
    for step in range(first, recipe.steps):
        warm = min(1.0, (step + 1) / recipe.warm_up)
        rate = recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        images, masks = next(source)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images.to(memory_format=torch.channels_last))
        loss = adaptive_logarithmic_hybrid(logits, masks)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        _average(averaged, model, min(recipe.average, (step + 1) / (step + 10)))
        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == recipe.steps:
            scores = by_group(dice_by_image(averaged, held_out), held_out)
            report(
                f"step {step + 1}: loss {np.mean(losses[-100:]):.4f}, held out "
                f"{ {k: round(v, 4) for k, v in scores.items()} }, {time.monotonic() - started:.0f} s"
            )
            state = {
                "model": model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "recipe": asdict(recipe),
            }
            temporary = checkpoint.with_suffix(".partial")
            torch.save(state, temporary)
            temporary.replace(checkpoint)
    return averaged


def _average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for old, new in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)


def main() -> None:
    """Command line: train, and leave `checkpoint.pt` for `napari_lumen.training.nuclei_card`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = replace(Recipe(), steps=options.steps)
    fit(load(options.data), recipe, options.out / "checkpoint.pt", lambda line: print(line, flush=True))  # noqa: T201


if __name__ == "__main__":
    main()
