"""Converting slides: what comes back is what went in, however often the way was cut."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import openslide
import pytest
import tifffile
import zarr
from typer.testing import CliRunner, Result

import napari_lumen.slides
from napari_lumen.cli import app
from napari_lumen.errors import Cancelled, SlideError
from napari_lumen.geometry import Region, Window
from napari_lumen.slides import Channel, open_slide
from napari_lumen.slides.associated import AssociatedImages
from napari_lumen.slides.convert import Progress, convert, plan
from napari_lumen.slides.convert.plan import halved
from napari_lumen.slides.convert.work import WorkFolder
from napari_lumen.slides.level import levels_from_shapes
from napari_lumen.slides.slide import Slide

Array = npt.NDArray[Any]
DAPI_CD3 = (Channel("DAPI", (0, 0, 255)), Channel("CD3 & more", (255, 128, 0)))


class ArraySlide(Slide):
    """A slide of one level whose pixels are an array (h, w, samples)."""

    def __init__(
        self,
        pixels: Array,
        channels: tuple[Channel, ...] = (),
        mpp: tuple[float, float] | None = (0.25, 0.25),
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(Path("array.tif"))
        self.levels = levels_from_shapes([pixels.shape[:2]])
        self.channels, self.dtype, self.mpp = channels, pixels.dtype, mpp
        self.magnification, self.icc_profile = 40.0, b"profile of the scanner"
        self.vendor, self.properties, self.bounds = "array", {}, None
        self.associated = AssociatedImages({})
        self.largest_read = self.reads = 0
        self._pixels, self._on_read = pixels, on_read

    def fingerprint_now(self) -> str:
        return "array"

    def _read(self, level: int, window: Window) -> Array:
        self.reads += 1
        self.largest_read = max(self.largest_read, window.height * window.width)
        if self._on_read is not None:
            self._on_read(self.reads)
        return self._pixels[window.slices]

    def close(self) -> None:
        pass


def noise(*shape: int, dtype: npt.DTypeLike = np.uint8) -> Array:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(np.dtype(dtype))
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def tissue(height: int, width: int) -> Array:
    """Return smooth colours with some grain: what JPEG is for."""
    y, x = np.mgrid[:height, :width]
    shades = [128 + 90 * np.sin(y / a) * np.cos(x / b) for a, b in ((90, 70), (50, 110), (130, 40))]
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 1))
    return np.clip(np.stack(shades, axis=-1) + grain, 0, 255).astype(np.uint8)


def pyramid(image: Array) -> list[Array]:
    """Return the levels by definition: means of 2 x 2, the edge repeated, halves to even."""
    levels = [image]
    while max(levels[-1].shape[:2]) > 1024:
        last = levels[-1]
        last = np.pad(last, ((0, last.shape[0] % 2), (0, last.shape[1] % 2), (0, 0)), mode="edge")
        blocks = last.reshape(last.shape[0] // 2, 2, last.shape[1] // 2, 2, -1)
        mean = blocks.astype(np.float64).mean(axis=(1, 3))
        levels.append((np.rint(mean) if image.dtype.kind in "ui" else mean).astype(image.dtype))
    return levels


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of all files in a folder by their path."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def assert_one_sentence(error: SlideError, name: str) -> None:
    message = str(error)
    assert name in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 300


# ---------------------------------------------------------------------------------------------------------
# There and back


@pytest.mark.parametrize("deepest", [1, 2, 3])
def test_an_ome_zarr_has_every_level_without_loss(
    tmp_path: Path, deepest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_DEEPEST", deepest)
    image = noise(2563, 4101, 3)
    source = ArraySlide(image)
    out = convert(source, tmp_path / "noise.ome.zarr")
    expected = pyramid(image)
    assert len(expected) == 4
    root = zarr.open_group(str(out), mode="r")
    datasets = root.attrs["ome"]["multiscales"][0]["datasets"]
    for level, dataset in zip(expected, datasets, strict=True):
        np.testing.assert_array_equal(root[dataset["path"]][:], level.transpose(2, 0, 1))
    with open_slide(out) as slide:
        assert slide.is_rgb
        assert [level.downsample for level in slide.levels] == [(2.0**n, 2.0**n) for n in range(4)]
        assert slide.mpp == (0.25, 0.25)
        assert slide.icc_profile == source.icc_profile
        assert slide.magnification == 40
        for index, level in enumerate(expected):
            np.testing.assert_array_equal(slide.read(0, 0, *level.shape[:2], level=index), level)
    assert source.largest_read <= 512 * 512
    assert [path.name for path in tmp_path.iterdir()] == ["noise.ome.zarr"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("name", ["fl.ome.zarr", "fl.ome.tif"])
def test_channels_come_back_with_names_colours_and_range(tmp_path: Path, name: str, dtype: str) -> None:
    image = noise(700, 1500, 2, dtype=dtype)
    out = convert(ArraySlide(image, DAPI_CD3), tmp_path / name)
    expected = pyramid(image)
    with open_slide(out) as slide:
        assert slide.channels == DAPI_CD3
        assert slide.dtype == np.dtype(dtype)
        assert slide.mpp == pytest.approx((0.25, 0.25))
        for index, level in enumerate(expected):
            np.testing.assert_array_equal(slide.read(0, 0, *level.shape[:2], level=index), level)


@pytest.mark.parametrize("compression", ["deflate", "zstd"])
@pytest.mark.parametrize(
    ("samples", "dtype"), [(3, "uint8"), (1, "uint8"), (3, "uint16"), (5, "uint16"), (2, "float32")]
)
def test_an_ome_tiff_without_loss_agrees_with_tifffile(
    tmp_path: Path, samples: int, dtype: str, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_DEEPEST", 1)
    image = noise(1100, 2300, samples, dtype=dtype)
    is_rgb = samples == 3 and dtype == "uint8"
    channels = () if is_rgb else tuple(Channel(f"c{index}") for index in range(samples))
    out = convert(ArraySlide(image, channels), tmp_path / "flat.ome.tif", compression=compression)
    with tifffile.TiffFile(out) as tiff:
        assert tiff.is_ome
        (series,) = tiff.series
        for level, expected in zip(series.levels, pyramid(image), strict=True):
            found = level.asarray()
            wanted = expected if is_rgb else expected.transpose(2, 0, 1)
            np.testing.assert_array_equal(found, wanted.reshape(found.shape))
            assert level.keyframe.tile == (512, 512)


def test_a_jpeg_ome_tiff_agrees_with_tifffile_and_openslide(tmp_path: Path) -> None:
    image = tissue(1301, 2111)
    out = convert(ArraySlide(image, mpp=(0.25, 0.5)), tmp_path / "tissue.ome.tif")
    with tifffile.TiffFile(out) as tiff:
        for level, expected in zip(tiff.series[0].levels, pyramid(image), strict=True):
            difference = np.abs(level.asarray().astype(int) - expected)
            assert difference.mean() < 2.5
            assert difference.max() < 40
        assert tiff.pages.first.iccprofile == b"profile of the scanner"
        facts = tifffile.xml2dict(tiff.ome_metadata)["OME"]
    assert facts["Instrument"]["Objective"]["NominalMagnification"] == 40
    pixels = facts["Image"]["Pixels"]
    assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == (0.25, 0.5)
    assert (pixels["SizeY"], pixels["SizeX"], pixels["SizeC"]) == (1301, 2111, 3)
    with openslide.OpenSlide(str(out)) as handle:
        assert handle.dimensions == (2111, 1301)
        assert float(handle.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert float(handle.properties["openslide.mpp-y"]) == pytest.approx(0.25)
        found = np.asarray(handle.read_region((0, 0), 0, handle.dimensions))[..., :3]
    with open_slide(out) as slide:
        assert np.abs(slide.read(0, 0, 1301, 2111).astype(int) - found).max() <= 2  # two builds of libjpeg
        assert slide.icc_profile == b"profile of the scanner"
        assert slide.mpp == pytest.approx((0.25, 0.5))
        assert [level.shape for level in slide.levels] == [(1301, 2111), (651, 1056), (326, 528)]


@pytest.mark.parametrize("suffix", ["ome.tif", "ome.zarr"])
def test_names_that_xml_cannot_hold_are_written_as_far_as_they_can(tmp_path: Path, suffix: str) -> None:
    odd = (Channel("µ & <\x00\udc80>"), Channel("😐"))
    slide = ArraySlide(noise(40, 50, 2), odd)
    slide.path = Path("slide \udcff 😐.tif")
    with open_slide(convert(slide, tmp_path / f"odd 😐.{suffix}")) as back:
        assert [channel.name for channel in back.channels] == ["µ & <??>", "😐"]


def test_a_better_quality_comes_closer(tmp_path: Path) -> None:
    image = tissue(600, 700)
    errors = []
    for quality in (30, 89, 90, 99):
        out = convert(ArraySlide(image), tmp_path / f"{quality}.ome.tif", quality=quality)
        errors.append(np.abs(tifffile.imread(out).astype(int) - image).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1


def test_a_real_slide_comes_back(shared_data: Path, tmp_path: Path) -> None:
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.dicom") as slide:
        out = convert(slide, tmp_path / "cmu.ome.zarr")
        with open_slide(out) as back:
            assert back.icc_profile == slide.icc_profile
            assert back.mpp == slide.mpp
            np.testing.assert_array_equal(back.read(0, 0, *slide.shape), slide.read(0, 0, *slide.shape))


def test_a_small_picture_is_one_level_and_a_path_will_do(tmp_path: Path) -> None:
    image = noise(40, 50, 3)
    tifffile.imwrite(tmp_path / "small.tif", image, photometric="rgb")
    for name in ("small.ome.tif", "small.ome.zarr"):
        out = convert(tmp_path / "small.tif", tmp_path / name, compression="zstd")
        with open_slide(out) as slide:
            assert len(slide.levels) == 1
            assert slide.mpp is None
            np.testing.assert_array_equal(slide.read(0, 0, 40, 50), image)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "float32", "float64"])
def test_halving_keeps_the_mean(dtype: str) -> None:
    image = noise(512, 512, 1, dtype=dtype)
    while len(image) > 4:
        smaller = halved(image)
        assert smaller.dtype == image.dtype
        assert smaller.mean(dtype=float) == pytest.approx(image.mean(dtype=float), abs=1.5 / len(smaller))
        image = smaller


# ---------------------------------------------------------------------------------------------------------
# Parts and pixel sizes


@pytest.mark.parametrize("mpp", [0.2, 0.5, 0.6137, (1.0, 0.7)])
def test_another_pixel_size_is_what_read_at_gives(tmp_path: Path, mpp: float | tuple[float, float]) -> None:
    source = ArraySlide(tissue(1500, 1700))
    out = convert(source, tmp_path / "at.ome.zarr", mpp=mpp)
    with open_slide(out) as slide:
        expected = source.read_at(0, 0, *slide.shape, mpp=mpp)
        found = slide.read(0, 0, *slide.shape)
        assert slide.mpp == pytest.approx((mpp, mpp) if isinstance(mpp, float) else mpp)
        size = [side * own / 0.25 for side, own in zip(slide.shape, slide.mpp, strict=True)]
    assert size == pytest.approx((1500, 1700), abs=max(slide.mpp) / 0.25)
    assert np.abs(found.astype(int) - expected).max() <= 2  # tiles against the whole, as in test_slides


def test_a_region_is_that_part_and_no_more(tmp_path: Path) -> None:
    image = noise(900, 800, 3)
    for region, part in (
        (Region(100, 200, 300, 400), image[100:400, 200:600]),
        ((100.2, 200.7, 299.6, 398.9), image[100:400, 200:600]),
        ((-50, 700, 100, 500), image[:50, 700:]),
    ):
        out = convert(ArraySlide(image), tmp_path / "part.ome.zarr", region=region, overwrite=True)
        with open_slide(out) as slide:
            np.testing.assert_array_equal(slide.read(0, 0, *slide.shape), part)


def test_a_region_at_a_pixel_size_starts_where_it_should(tmp_path: Path) -> None:
    source = ArraySlide(tissue(900, 800))
    out = convert(source, tmp_path / "part.ome.zarr", region=(100, 200, 300, 400), mpp=0.5)
    with open_slide(out) as slide:
        assert slide.shape == (150, 200)
        np.testing.assert_array_equal(slide.read(0, 0, 150, 200), source.read_at(100, 200, 150, 200, mpp=0.5))


# ---------------------------------------------------------------------------------------------------------
# Cut off and gone on with

KILLED = """
import os, signal, sys
import napari_lumen.slides.convert as lumen
lumen.plan._DEEPEST = 1

def die(progress):
    if progress.stage == sys.argv[3] and progress.done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

lumen.convert(sys.argv[1], sys.argv[2], on_progress=die)
"""


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "tissue.tif"
    tifffile.imwrite(path, tissue(2100, 2600), tile=(256, 256), photometric="rgb", compression="deflate")
    return path


@pytest.mark.parametrize("stage", ["writing tiles", "putting together"])
@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
def test_killed_and_called_again_it_ends_as_if_nothing_had_been(
    slide_file: Path, tmp_path: Path, name: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_DEEPEST", 1)
    out = tmp_path / name
    for count in (11, 23) if stage == "writing tiles" else (0,):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, slide_file, out, stage, str(count)], check=False, timeout=120
        )
        assert killed.returncode == -signal.SIGKILL
        assert not out.exists()
        assert (tmp_path / f".{name}.part").is_dir()
    told: list[Progress] = []
    convert(slide_file, out, on_progress=told.append)
    assert told[0].done >= (16 if stage == "writing tiles" else told[0].total)
    assert told[-1].done == told[-1].total
    whole = convert(slide_file, tmp_path / f"whole {name}")
    assert contents(out) == contents(whole)
    assert not list(tmp_path.glob(".*"))


def test_a_ledger_that_breaks_off_is_believed_as_far_as_it_goes(tmp_path: Path) -> None:
    image = tissue(1300, 4200)
    out, work = tmp_path / "out.ome.tif", tmp_path / ".out.ome.tif.part"
    with pytest.raises(Cancelled):
        convert(ArraySlide(image), out, on_progress=stop_at(40), cancel=STOP)
    STOP.clear()
    ledger = work / "ledger.jsonl"
    assert ledger.read_bytes().endswith(b"\n")
    ledger.write_bytes(ledger.read_bytes() + b'{"block":"0/0/1","en')
    with (work / "tiles.bin").open("ab") as file:
        file.write(b"a tile that was never recorded")
    convert(ArraySlide(image), out)
    assert contents(out) == contents(convert(ArraySlide(image), tmp_path / "whole.ome.tif"))


STOP = Event()


def stop_at(count: int) -> Callable[[Progress], None]:
    def told(progress: Progress) -> None:
        if progress.done >= count:
            STOP.set()

    return told


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
def test_cancelled_it_says_how_to_go_on_and_does(tmp_path: Path, name: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(plan, "_DEEPEST", 1)
    image, out = tissue(1300, 2600), tmp_path / name
    first = ArraySlide(image)
    with pytest.raises(Cancelled, match="same arguments to go on"):
        convert(first, out, on_progress=stop_at(10), cancel=STOP)
    STOP.clear()
    assert not out.exists()
    second = ArraySlide(image)
    convert(second, out)
    assert 0 < second.reads < 18
    assert contents(out) == contents(convert(ArraySlide(image), tmp_path / f"whole.{name}"))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("out.ome.tif", {"quality": 30}),
        ("out.ome.tif", {"compression": "deflate"}),
        ("out.ome.zarr", {"mpp": 0.26}),
        ("out.ome.zarr", {"region": (1, 0, 1299, 2600)}),
    ],
)
def test_other_arguments_start_anew(
    tmp_path: Path, name: str, other: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_DEEPEST", 1)
    image, out = tissue(1300, 2600), tmp_path / name
    with pytest.raises(Cancelled):
        convert(ArraySlide(image), out, on_progress=stop_at(10), cancel=STOP, **other)
    STOP.clear()
    convert(ArraySlide(image), out)
    assert contents(out) == contents(convert(ArraySlide(image), tmp_path / f"whole.{name}"))


def test_another_slide_starts_anew(tmp_path: Path, slide_file: Path) -> None:
    image, out = tissue(2100, 2600), tmp_path / "out.ome.zarr"
    with pytest.raises(Cancelled):
        convert(ArraySlide(image[::-1].copy(), mpp=None), out, on_progress=stop_at(25), cancel=STOP)
    STOP.clear()
    convert(slide_file, out)
    with open_slide(out) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 2100, 2600), image)


def test_a_slide_of_the_same_fingerprint_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_DEEPEST", 1)
    monkeypatch.setattr("napari_lumen.slides.slide.fingerprint_of", lambda files: "all alike")
    image, out = tissue(1300, 2600), tmp_path / "out.ome.zarr"
    for name, pixels in (("one", image), ("other", 255 - image)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", pixels, tile=(256, 256), photometric="rgb")
    with pytest.raises(Cancelled):
        convert(tmp_path / "one" / "a.tif", out, on_progress=stop_at(10), cancel=STOP)
    STOP.clear()
    convert(tmp_path / "other" / "a.tif", out)
    with open_slide(out) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 1300, 2600), 255 - image)


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_before_it_tidied_up_the_same_call_tidies_up(
    tmp_path: Path, name: str, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: WorkFolder) -> None:
        raise KeyboardInterrupt

    out = tmp_path / name
    if overwrite:
        convert(ArraySlide(noise(30, 30, 3)), out)
    with monkeypatch.context() as patched:
        patched.setattr(WorkFolder, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            convert(ArraySlide(noise(40, 40, 3)), out, overwrite=overwrite)
    before = contents(out)
    again = ArraySlide(noise(40, 40, 3))
    assert convert(again, out, overwrite=overwrite) == out
    assert again.reads == 0
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(SlideError, match="exists"):
        convert(again, out)


def test_an_unfinished_image_that_was_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_DEEPEST", 1)
    image, out = tissue(1300, 2600), tmp_path / "out.ome.zarr"
    for count, removed in ((20, True), (10, False)):
        with pytest.raises(Cancelled):
            convert(ArraySlide(image), out, on_progress=stop_at(count), cancel=STOP)
        STOP.clear()
        if removed:
            shutil.rmtree(tmp_path / ".out.ome.zarr.part" / "image.zarr")
    last = ArraySlide(image)
    convert(last, out)
    assert last.reads > 6
    with open_slide(out) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 1300, 2600), image)


def test_progress_goes_up_to_the_whole(tmp_path: Path) -> None:
    told: list[Progress] = []
    convert(ArraySlide(tissue(1300, 2600)), tmp_path / "out.ome.tif", on_progress=told.append)
    for stage in ("writing tiles", "putting together"):
        done = [progress.done for progress in told if progress.stage == stage]
        assert done == sorted(done)
        assert done[0] == 0
        assert done[-1] == next(progress.total for progress in told if progress.stage == stage) == 26


def test_a_file_beyond_4_gb_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(600, 700, 3)
    for name, big in (("small.ome.tif", False), ("large.ome.tif", True)):
        if big:
            monkeypatch.setattr("napari_lumen.slides.convert.tiff._CLASSIC", 1000)
        out = convert(ArraySlide(image), tmp_path / name, compression="zstd")
        with tifffile.TiffFile(out) as tiff:
            assert tiff.is_bigtiff is big
            np.testing.assert_array_equal(tiff.asarray(), image)


def test_two_at_once_do_not_spoil_each_other(tmp_path: Path) -> None:
    out = tmp_path / "out.ome.tif"
    refused: list[str] = []

    def second(_: int) -> None:
        if not refused:
            with pytest.raises(SlideError, match="Another conversion") as caught:
                convert(ArraySlide(tissue(600, 600)), out)
            refused.append(str(caught.value))

    convert(ArraySlide(tissue(600, 600), on_read=second), out)
    assert refused
    assert tifffile.imread(out).shape == (600, 600, 3)


def test_a_damaged_slide_is_not_converted_in_silence(tmp_path: Path) -> None:
    def broken(count: int) -> None:
        if count == 5:
            raise SlideError("array.tif cannot be decoded there.")

    image = tissue(1300, 1300)
    with pytest.raises(SlideError, match="cannot be decoded there"):
        convert(ArraySlide(image, on_read=broken), tmp_path / "out.ome.zarr")
    assert not (tmp_path / "out.ome.zarr").exists()


@pytest.mark.filterwarnings("ignore:.*hatched")
def test_a_damaged_slide_is_converted_with_marks_when_asked(tmp_path: Path) -> None:
    image, out = tissue(600, 900), tmp_path / "out.ome.zarr"
    path = tmp_path / "hole.tif"
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", compression="deflate")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[1]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 64)
    refused = call("convert", path, out)
    assert refused.exit_code == 1
    assert "row 0, column 1" in refused.stderr
    marked = call("convert", path, out, "--mark-damage")
    assert marked.exit_code == 0, marked.stderr
    assert "1 tile of hole.tif could not be decoded: hatched." in marked.stderr
    with open_slide(out) as slide:
        found = slide.read(0, 0, 600, 900)
    assert set(np.unique(found[:256, 256:512])) == {168, 208}
    found[:256, 256:512] = image[:256, 256:512]
    np.testing.assert_array_equal(found, image)


def test_what_the_network_did_not_deliver_is_read_again_instead_of_marked(tmp_path: Path) -> None:
    failing = [True]

    def unplugged(_: int) -> None:
        if failing[0]:
            raise SlideError("array.tif cannot be read.") from ConnectionError("no route")

    image, out = tissue(600, 900), tmp_path / "out.ome.zarr"
    slide = ArraySlide(image, on_read=unplugged)
    with pytest.warns(UserWarning, match="hatched"), pytest.raises(SlideError, match=r"cannot be read\."):
        convert(slide, out, mark_damage=True)
    failing[0] = False
    convert(slide, out, mark_damage=True)
    with open_slide(out) as written:
        np.testing.assert_array_equal(written.read(0, 0, 600, 900), image)


# ---------------------------------------------------------------------------------------------------------
# What cannot be done


@pytest.mark.parametrize("name", ["there.ome.tif", "there.ome.zarr"])
def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path, name: str) -> None:
    out = convert(ArraySlide(noise(30, 30, 3)), tmp_path / name, compression="zstd")
    before = contents(out)
    with pytest.raises(SlideError, match="exists") as caught:
        convert(ArraySlide(noise(40, 40, 3)), out)
    assert_one_sentence(caught.value, name)
    assert contents(out) == before
    convert(ArraySlide(noise(40, 40, 3)), out, overwrite=True)
    with open_slide(out) as slide:
        assert slide.shape == (40, 40)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.zarr"
    precious.mkdir()
    (precious / "chapter.txt").write_text("mine")
    with pytest.raises(SlideError, match="not replaced"):
        convert(ArraySlide(noise(30, 30, 3)), precious, overwrite=True)
    assert (precious / "chapter.txt").read_text() == "mine"


def test_a_slide_does_not_replace_itself(slide_file: Path, tmp_path: Path) -> None:
    own = convert(slide_file, tmp_path / "own.ome.tif")
    with pytest.raises(SlideError, match="slide itself"):
        convert(own, own, overwrite=True)


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        ("out.png", {}, r"must end in \.ome\.tif"),
        (".ome.tif", {}, r"must end in \.ome\.tif"),
        ("absent/out.ome.tif", {}, "There is no folder"),
        ("out.ome.tif", {"region": (100, 100, 10, 10)}, "lies outside"),
        ("out.ome.tif", {"region": (1, 2, 3)}, "A region is"),
        ("out.ome.tif", {"region": (1, 2, float("nan"), 3)}, "A region is"),
        ("out.ome.tif", {"mpp": 0.05}, "more than twice as fine"),
        ("out.ome.tif", {"mpp": 0.0}, "above 0"),
        ("out.ome.tif", {"mpp": float("nan")}, "above 0"),
        ("out.ome.tif", {"mpp": "fine"}, "number or a pair"),
        ("out.ome.tif", {"mpp": 100000}, "less than a pixel"),
        ("out.ome.tif", {"quality": 0}, "between 1 and 100"),
        ("out.ome.tif", {"compression": "webp"}, "jpeg or deflate or zstd"),
        ("out.ome.zarr", {"compression": "jpeg"}, "zstd"),
    ],
)
def test_what_makes_no_slide_is_refused_in_a_sentence(
    tmp_path: Path, name: str, arguments: dict[str, Any], part: str
) -> None:
    with pytest.raises(SlideError, match=part) as caught:
        convert(ArraySlide(noise(50, 60, 3)), tmp_path / name, **arguments)
    assert_one_sentence(caught.value, "")
    assert not list(tmp_path.iterdir())


def test_channels_are_not_made_jpeg_and_an_unknown_pixel_size_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="deflate or zstd"):
        convert(ArraySlide(noise(50, 60, 2), DAPI_CD3), tmp_path / "out.ome.tif", compression="jpeg")
    with pytest.raises(SlideError, match="--slide-mpp"):
        convert(ArraySlide(noise(50, 60, 3), mpp=None), tmp_path / "out.ome.tif", mpp=0.5)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16"])
def test_what_ome_has_no_type_for_is_kept_in_an_ome_zarr(tmp_path: Path, dtype: str) -> None:
    image = noise(50, 60, 2).astype(dtype)
    with pytest.raises(SlideError, match=f"{dtype}, for which an OME-TIFF has no type"):
        convert(ArraySlide(image, DAPI_CD3), tmp_path / "out.ome.tif")
    with open_slide(convert(ArraySlide(image, DAPI_CD3), tmp_path / "out.ome.zarr")) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 50, 60), image)
        assert slide.read_at(0, 0, 20, 20, 0.5).dtype == dtype


def test_a_folder_that_may_not_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    source = ArraySlide(noise(50, 60, 3))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "is_dir", refused)
        with pytest.raises(SlideError, match="cannot be written: Permission denied") as caught:
            convert(source, tmp_path / "out.ome.tif")
    assert_one_sentence(caught.value, "out.ome.tif")


def test_a_full_disk_is_told_in_a_sentence_and_can_be_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(SlideError, match="No space left on device") as caught:
            convert(ArraySlide(noise(50, 60, 3)), tmp_path / "out.ome.tif")
    assert_one_sentence(caught.value, "out.ome.tif")
    convert(ArraySlide(noise(50, 60, 3)), tmp_path / "out.ome.tif")


# ---------------------------------------------------------------------------------------------------------
# The command


def call(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [str(part) for part in arguments])


def test_the_command_converts_and_says_what_it_wrote(slide_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ome.tif"
    result = call("convert", slide_file, out, "--region", "10,20,600,700", "--quality", "95")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{out}: 700 x 600 px, 1 level, ")
    assert "4/4 tiles" in result.stderr
    again = call("convert", slide_file, out)
    assert again.exit_code == 1
    assert again.stderr.startswith("Error: ")
    assert "--overwrite" in again.stderr
    replaced = call(
        "convert",
        slide_file,
        out,
        "--overwrite",
        "--slide-mpp",
        "0.25",
        "--mpp",
        "0.5",
        "--compression",
        "zstd",
    )
    assert replaced.exit_code == 0, replaced.stderr
    facts = json.loads(call("info", out, "--json").stdout)
    assert (facts["height"], facts["width"]) == (1050, 1300)
    assert facts["mpp"] == {"y": pytest.approx(0.5), "x": pytest.approx(0.5)}


def test_ctrl_c_leaves_a_state_to_go_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(count: int) -> None:
        if count == 5:
            os.kill(os.getpid(), signal.SIGINT)

    image, out = tissue(1300, 2600), tmp_path / "out.ome.zarr"
    slides = [ArraySlide(image, on_read=interrupt), ArraySlide(image)]
    real = napari_lumen.slides.open_slide
    monkeypatch.setattr(
        napari_lumen.slides,
        "open_slide",
        lambda path, mpp=None: slides.pop(0) if path == "slide" else real(path),
    )
    stopped = call("convert", "slide", out)
    assert stopped.exit_code == 130
    assert "Stopped. What is done of out.ome.zarr stays in .out.ome.zarr.part" in stopped.stderr
    assert not out.exists()
    assert call("convert", "slide", out).exit_code == 0
    with open_slide(out) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 1300, 2600), image)


def test_info_tells_channels_depth_profile_and_whose_pixel_size_it_is(tmp_path: Path) -> None:
    out = convert(ArraySlide(noise(50, 60, 2, dtype=np.uint16), DAPI_CD3), tmp_path / "fl.ome.zarr")
    facts = json.loads(call("info", out, "--json").stdout)
    assert facts["channels"] == [
        {"name": "DAPI", "color": [0, 0, 255]},
        {"name": "CD3 & more", "color": [255, 128, 0]},
    ]
    assert (facts["dtype"], facts["icc"], facts["mpp_source"]) == ("uint16", True, "slide")
    shown = call("info", out).stdout
    for part in ("2 channels (DAPI, CD3 & more), uint16", "ICC"):
        assert part in shown
    silent = convert(ArraySlide(noise(50, 60, 3), mpp=None), tmp_path / "silent.ome.zarr")
    facts = json.loads(call("info", silent, "--json").stdout)
    assert (facts["channels"], facts["mpp"], facts["mpp_source"]) == ([], None, None)
