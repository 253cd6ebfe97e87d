"""How images of any size become examples."""

from __future__ import annotations

import numpy as np
from PIL import Image

from napari_lumen.training.data.item import IGNORE
from napari_lumen.training.framing import Cropped, Resized


def test_a_mask_is_resized_and_then_cut_at_a_half() -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.random((13, 17), dtype=np.float32)).resize(
        (90, 70), Image.Resampling.BICUBIC
    )
    mask = (np.asarray(coarse) > 0.5).astype(np.uint8)
    image = np.repeat(mask[..., None] * 255, 3, axis=-1).astype(np.uint8)
    seen, labels = Resized(32).one(image, mask * 7, None, rng)
    sure = np.abs(seen[..., 0] - 127.5) > 2  # its picture is rounded twice
    assert np.array_equal(labels[sure], (seen[..., 0] > 127)[sure] * 7)
    assert (np.asarray(Image.fromarray(mask).resize((32, 32), Image.Resampling.NEAREST)) != labels // 7)[
        sure
    ].any()


def test_what_has_no_label_stays_without_one_where_it_is_the_most() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[:, :20], labels[:20, 20:] = IGNORE, 1
    _, small = Resized(10).one(np.zeros((40, 40, 3), np.uint8), labels, None, np.random.default_rng(0))
    assert small[:, :5].tolist() == [[IGNORE] * 5] * 10
    assert (small[:5, 5:] == 1).all()
    assert (small[5:, 5:] == 0).all()


def test_a_square_of_the_images_own_pixels_is_cut_between_them() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (41, 53), np.uint8)
    image = np.repeat(values[..., None], 3, axis=-1)
    framing = Cropped(16)
    squares = [framing.one(image, values, None, rng) for _ in range(20)] + list(
        framing.all(image, values, None)
    )
    assert all(np.array_equal(seen[..., 0], labels) for seen, labels in squares)
    assert len({labels.tobytes() for _, labels in squares[:20]}) > 15
    shown = {int(value) for _, labels in squares[20:] for value in labels.ravel()}
    assert shown == set(values.ravel().tolist())
