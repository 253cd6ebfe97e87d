"""Which windows are labelled next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.loop.learner import Images, Learner, Said
from napari_lumen.corrections.proposals import deviation, entropy, k_centre, spread, standardised

STRATEGIES = ("random", "entropy", "flips", "attention", "diversity")
_BINS = 8
_TURNS = ((1, 1), (-1, -1), (1, -1), (-1, 1))

Indices = npt.NDArray[np.intp]


def choose(
    strategy: str,
    learner: Learner,
    images: Images,
    left: Indices,
    labelled: Indices,
    count: int,
    rng: np.random.Generator,
) -> Indices:
    """Return which of the windows that are left are labelled next, by the measures of the plugin.

    Parameters
    ----------
    strategy : str
        Of `STRATEGIES`.
    learner : Learner
        As it is by now.
    images : ndarray
        uint8 (n, h, w, 3), all windows.
    left, labelled : ndarray
        Indices.
    count : int
    rng : Generator
        For random.
    """
    if strategy == "random":
        return rng.choice(left, count, replace=False)
    said = learner.say(images[left])
    if strategy == "diversity":
        before = learner.say(images[labelled])
        features = standardised(
            np.concatenate([_features(said, images[left]), _features(before, images[labelled])])
        )
        chosen = k_centre(features[: len(left)], count, features[len(left) :])
        return left[[index for index, _ in chosen]]
    if strategy == "entropy":
        scores = [float(entropy(probability[None]).mean()) for probability in said.probability]
    elif strategy == "attention":
        scores = [spread(attention) for attention in said.attention]
    else:
        scores = _disagreement(learner, images[left])
    return left[np.argsort(-np.asarray(scores), kind="stable")[:count]]


def _disagreement(learner: Learner, images: Images) -> list[float]:
    passes = []
    for down, across in _TURNS:
        said = learner.say(np.ascontiguousarray(images[:, ::down, ::across]))
        passes.append(said.probability[:, None, ::down, ::across])
    return [float(deviation(np.stack(of)).mean()) for of in zip(*passes, strict=True)]


def _features(said: Said, images: Images) -> npt.NDArray[np.float64]:
    """Return histograms of the probabilities with mean and deviation of the colours, (n, 14)."""
    bins = [np.histogram(of, _BINS, (0, 1))[0] / of.size for of in said.probability]
    pixels = images.reshape(len(images), -1, 3) / 255
    return np.concatenate([np.array(bins), pixels.mean(axis=1), pixels.std(axis=1)], axis=1)
