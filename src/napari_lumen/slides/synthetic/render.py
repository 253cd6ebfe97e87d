"""From stains to the pixels of a scanner: Beer-Lambert, colour of the slide, focus, sharpening, noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from napari_lumen.slides.synthetic.noise import Floats, SmoothNoise, derive
from napari_lumen.slides.synthetic.paint import Stain

GLASS = np.array([242.5, 242.0, 243.5], np.float32)
# Optical density (base 10) per unit of haematoxylin, eosin and red cells in R, G, B.
_VECTORS = np.array([[0.615, 0.70, 0.385], [0.09, 0.80, 0.47], [0.10, 0.86, 0.62]], np.float32)
_NOISE = np.array([1.1, 0.9, 1.2], np.float32)  # grey levels of sensor noise, R, G, B
BLUR = 0.28  # µm, standard deviation of the optics
HALO = 8  # pixels that the optics and sharpening need around a block


class Scanner:
    """Turns stains into pixels."""

    def __init__(self, mpp: float, seed: int) -> None:
        self._seed, self._mpp = seed, mpp
        self._shift = (SmoothNoise(derive(seed, 1), 1400.0), SmoothNoise(derive(seed, 2), 1100.0))
        self._thick = SmoothNoise(derive(seed, 3), 260.0)
        self._dust = SmoothNoise(derive(seed, 4), 3.0), SmoothNoise(derive(seed, 5), 210.0)
        sigma = BLUR / mpp
        reach = np.arange(-HALO, HALO + 1)
        narrow = np.exp(-0.5 * (reach / max(sigma, 0.35)) ** 2)
        wide = np.exp(-0.5 * (reach / max(2.2 * sigma, 0.8)) ** 2)
        self._narrow, self._wide = narrow / narrow.sum(), wide / wide.sum()

    def __call__(self, stain: Stain | None, y: Floats, x: Floats, key: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the pixels (h - 2 * HALO, w - 2 * HALO, 3) of a block given with its halo.

        Parameters
        ----------
        stain : Stain or None
            None is bare glass.
        y, x : ndarray (h, 1), (1, w)
            Centres of the pixels with the halo, µm.
        key : (int, int)
            The block's number, which fixes its sensor noise.
        """
        inner = slice(HALO, -HALO)
        light = self._glass(y[inner], x[:, inner])
        if stain is not None:
            light *= self._through(stain, y, x)
        light += self._sensor(light.shape, key)
        np.clip(light, 0, 255, out=light)
        return np.rint(light).astype(np.uint8)

    def _glass(self, y: Floats, x: Floats) -> Floats:
        cloud = self._dust[1](y, x)
        shade = 1 + np.float32(0.0022) * cloud
        if cloud.max() > 0.2:
            speck = np.clip(self._dust[0](y, x) - 3.1, 0, 1) * np.clip(cloud - 0.2, 0, 1)
            shade -= np.float32(0.35) * speck
        return np.asarray(GLASS * shade[..., None], np.float32)

    def _through(self, stain: Stain, y: Floats, x: Floats) -> Floats:
        thick = 1 + 0.05 * self._thick(y, x)
        blue = stain.haematoxylin * (thick * (1 + 0.06 * self._shift[0](y, x)))
        pink = stain.eosin * (thick * (1 + 0.08 * self._shift[1](y, x)))
        inner = slice(HALO, -HALO)
        planes = []
        for channel in range(3):
            density = blue * _VECTORS[0, channel]
            density += pink * _VECTORS[1, channel]
            density += stain.red * _VECTORS[2, channel]
            density *= np.float32(-np.log(10))
            clear = np.exp(density, out=density)
            near = _smooth(clear, self._narrow)
            # A scanner sharpens: some of what the wider blur takes away is added.
            planes.append((near + 0.62 * (near - _smooth(near, self._wide)))[inner, inner])
        return np.clip(np.stack(planes, axis=-1), 0.02, 1.02)

    def _sensor(self, shape: tuple[int, ...], key: tuple[int, int]) -> Floats:
        generator = np.random.Generator(np.random.SFC64(derive(self._seed, 9, *key)))
        grey = generator.standard_normal(shape[:2], dtype=np.float32)
        return np.asarray(grey[..., None] * _NOISE)


def _smooth(values: Floats, kernel: Floats) -> Floats:
    once = correlate1d(values, kernel, axis=0, mode="nearest", output=np.float32)
    return np.asarray(correlate1d(once, kernel, axis=1, mode="nearest", output=np.float32))
