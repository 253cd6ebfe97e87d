"""From the bytes of one DICOM frame to its pixels, by transfer syntax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from napari_lumen.slides import jpeg, jpeg2000
from napari_lumen.slides.dicom_errors import BrokenDicomError, UnsupportedDicomError
from napari_lumen.slides.dicom_instance import NATIVE, Instance

Tile = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Codec:
    """How the frames of a transfer syntax are decoded.

    Attributes
    ----------
    decode : callable
    photometrics : frozenset of str
        In which it may store pixels; what it stores in other colours comes out as RGB.
    shape : callable, optional
        What a codestream states of its size: asked first, for a damaged one may state gigabytes.
    """

    decode: Callable[[bytes, Instance], Tile]
    photometrics: frozenset[str]
    shape: Callable[[bytes], tuple[int, int, int]] | None = None


def _native(data: bytes, instance: Instance) -> Tile:
    return _values(data, instance, instance.planar)


def _rle(data: bytes, instance: Instance) -> Tile:
    values = imagecodecs.dicomrle_decode(data, dtype_of(instance))
    return _values(bytes(values), instance, planar=True)


def _values(data: bytes, instance: Instance, planar: bool) -> Tile:
    """Return plain values as an image, where they lie pixel by pixel or colour by colour."""
    values = np.frombuffer(data, dtype_of(instance))
    if planar:
        return np.moveaxis(values.reshape(instance.samples, *instance.tile), 0, -1)
    return values.reshape(*instance.tile, instance.samples)


def _jpeg(data: bytes, instance: Instance) -> Tile:
    out = np.empty((*instance.tile, instance.samples), np.uint8)
    # the header decides: a bare JPEG stream does not say whether it is RGB
    stored: jpeg.Stored = "RGB" if instance.photometric == "RGB" else "YCBCR"
    jpeg.decode(data, out, stored=stored if instance.samples == 3 else None)
    return out


def _lossless_jpeg(data: bytes, instance: Instance) -> Tile:
    # the one tells damage from a whole scan, the other knows more than 8 bits
    return _jpeg(data, instance) if instance.bits == 8 else np.asarray(imagecodecs.ljpeg_decode(data))


def _jpeg_ls(data: bytes, instance: Instance) -> Tile:
    return np.asarray(imagecodecs.jpegls_decode(data))


def _jpeg2000(data: bytes, instance: Instance) -> Tile:
    return jpeg2000.decode(data)


_GREY = frozenset(("MONOCHROME1", "MONOCHROME2"))
_PLAIN = _GREY | {"RGB"}
_BASELINE = _Codec(_jpeg, _PLAIN | {"YBR_FULL", "YBR_FULL_422"}, jpeg.frame_shape)
_LOSSLESS = _Codec(_lossless_jpeg, _PLAIN, jpeg.frame_shape)
_LS = _Codec(_jpeg_ls, _PLAIN, jpeg.frame_shape)
# the codec undoes its own transform
_WAVELET = _Codec(_jpeg2000, _PLAIN | {"YBR_ICT", "YBR_RCT"}, jpeg2000.frame_shape)
_CODECS = {
    NATIVE: _Codec(_native, _PLAIN),
    "1.2.840.10008.1.2.5": _Codec(_rle, _PLAIN),
    "1.2.840.10008.1.2.4.50": _BASELINE,
    "1.2.840.10008.1.2.4.57": _LOSSLESS,
    "1.2.840.10008.1.2.4.70": _LOSSLESS,
    "1.2.840.10008.1.2.4.80": _LS,
    "1.2.840.10008.1.2.4.81": _LS,
    "1.2.840.10008.1.2.4.90": _WAVELET,
    "1.2.840.10008.1.2.4.91": _WAVELET,
    "1.2.840.10008.1.2.4.201": _WAVELET,
    "1.2.840.10008.1.2.4.202": _WAVELET,
    "1.2.840.10008.1.2.4.203": _WAVELET,
}


def dtype_of(instance: Instance) -> np.dtype[Any]:
    """Return the type of the stored values."""
    return np.dtype("u1" if instance.bits == 8 else "<u2")


def require_decoder(instance: Instance) -> None:
    """Raise UnsupportedDicomError when the frames of a file are of a kind that is not decoded here."""
    codec = _CODECS.get(instance.syntax)
    if codec is None or instance.photometric not in codec.photometrics:
        raise UnsupportedDicomError(
            f"its pixels are stored as {instance.photometric} in transfer syntax {instance.syntax}"
        )
    colours = 1 if instance.photometric in _GREY else 3
    if instance.samples != colours or (colours == 3 and instance.bits != 8):
        raise UnsupportedDicomError(f"it holds {instance.samples} colours of {instance.bits} bits")


def decoded(data: bytes, instance: Instance) -> Tile:
    """Return the pixels of a frame (height, width, samples); bright is much, whatever was stored.

    Raises
    ------
    BrokenDicomError, ValueError or an error of the codec
        When it is damaged.
    """
    codec = _CODECS[instance.syntax]
    wanted, dtype = (*instance.tile, instance.samples), dtype_of(instance)
    if codec.shape is not None and (shape := codec.shape(data)) != wanted:
        raise BrokenDicomError(f"the frame holds {shape}, not {wanted}")
    tile = codec.decode(data, instance)
    if tile.dtype != dtype or tile.size != wanted[0] * wanted[1] * wanted[2]:
        raise BrokenDicomError(f"the frame holds {tile.shape} of {tile.dtype}, not {wanted} of {dtype}")
    tile = tile.reshape(wanted)
    if instance.photometric == "MONOCHROME1":
        return (1 << instance.significant) - 1 - tile
    return tile
