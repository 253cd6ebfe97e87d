"""Opening and reading slides: the right pixels at the right place, and one sentence where that cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide
import pytest
import tifffile

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Grid, Window
from napari_lumen.slides import Slide, open_slide
from napari_lumen.slides.vendor import OpenSlideSlide

Image = npt.NDArray[np.uint8]


def write_slide(path: Path, *levels: Image, mpp: float | None = 0.25, tile: int = 256) -> Path:
    """Write a lossless tiled TIFF whose further levels are sub-images of the first."""
    where = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    layout = {"tile": (tile, tile), "photometric": "rgb", "compression": "deflate"}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(levels[0], subifds=len(levels) - 1, **layout, **where)
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, **layout)
    return path


def reduced(image: Image, factor: int) -> Image:
    """Return the mean over blocks of factor x factor, what is left over at the far edges dropped."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def openslide_pixels(path: Path, level: int = 0) -> Image:
    with openslide.OpenSlide(str(path)) as handle:
        image = np.asarray(handle.read_region((0, 0), level, handle.level_dimensions[level]))
    assert (image[..., 3] == 255).all()
    return image[..., :3]


# ---------------------------------------------------------------------------------------------------------
# Real slides


@pytest.mark.parametrize(
    ("name", "shapes", "mpp"),
    [
        ("CMU-1-Small-Region.svs", [(2967, 2220)], (0.499, 0.499)),
        ("CMU-1-Small-Region.dicom", [(2967, 2220)], (0.499, 0.499)),
        ("OS-1-detail.ome.tif", [(1101, 1101)], (0.2271, 0.2271)),
        ("OS-2-ndpi.ome.tif", [(2202, 2202)], (0.2271, 0.2271)),
        ("test3-DAPI-2.ndpi", [(4864 >> n, 3968 >> n) for n in range(7)], (0.22818, 0.22818)),
        ("jpeg.dicom", [(715, 957)], (16.783, 16.783)),
        ("jpeg2000.dicom", [(715, 957)], (16.783, 16.783)),
        ("tissue_mask_pyramid.tif", [(3968 >> n, 3072 >> n) for n in range(4)], (0.97237, 0.97237)),
        ("😐.svs", [(16, 16)], (0.499, 0.499)),
    ],
)
def test_real_slides_have_their_size_and_pixel_size(
    shared_data: Path, name: str, shapes: list[tuple[int, int]], mpp: tuple[float, float]
) -> None:
    with open_slide(shared_data / "slides" / name) as slide:
        assert [level.shape for level in slide.levels] == shapes
        assert slide.mpp == pytest.approx(mpp, rel=1e-3)
        assert slide.bounds is None or slide.bounds.intersect(slide.levels[0].grid.region) == slide.bounds


@pytest.mark.parametrize(
    "name", ["CMU-1-Small-Region.svs", "OS-1-detail.ome.tif", "OS-2-ndpi.ome.tif", "😐.svs"]
)
def test_tiffs_agree_with_tifffile(shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / name
    expected = tifffile.imread(path)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, *slide.shape), expected)
        np.testing.assert_array_equal(slide.read(7, 3, 9, 11), expected[7:16, 3:14])


@pytest.mark.filterwarnings("ignore:boxes.tiff states a pixel size")
def test_every_level_of_a_pyramid_agrees_with_tifffile(shared_data: Path) -> None:
    path = shared_data / "slides" / "boxes.tiff"
    with open_slide(path) as slide, tifffile.TiffFile(path) as tiff:
        assert [level.downsample for level in slide.levels] == [(2.0**n, 2.0**n) for n in range(4)]
        for index, level in enumerate(slide.levels):
            expected = tiff.series[0].levels[index].asarray()
            np.testing.assert_array_equal(slide.read(0, 0, *level.shape, level=index), expected)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "😐.svs"])
def test_the_direct_reader_agrees_with_openslide(shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / name
    with open_slide(path) as slide:
        assert not isinstance(slide, OpenSlideSlide)
        difference = slide.read(0, 0, *slide.shape).astype(int) - openslide_pixels(path)
    assert np.abs(difference).max() <= 2  # two builds of libjpeg


@pytest.mark.parametrize("name", ["jpeg.dicom", "jpeg2000.dicom", "test3-DAPI-2.ndpi"])
def test_vendor_formats_agree_with_openslide(shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / name
    with open_slide(path) as slide:
        for index, level in enumerate(slide.levels):
            pixels = slide.read(0, 0, *level.shape, level=index)
            np.testing.assert_array_equal(pixels, openslide_pixels(path, index))


def test_an_ndpi_agrees_with_tifffile(shared_data: Path) -> None:
    path = shared_data / "slides" / "test3-DAPI-2.ndpi"
    with open_slide(path) as slide:
        difference = slide.read(0, 0, *slide.shape).astype(int) - tifffile.imread(path)
    assert np.abs(difference).max() <= 2


def test_the_same_field_as_svs_and_as_dicom_lies_at_the_same_place(shared_data: Path) -> None:
    folder = shared_data / "slides"
    with (
        open_slide(folder / "CMU-1-Small-Region.svs") as svs,
        open_slide(folder / "CMU-1-Small-Region.dicom") as dicom,
    ):
        difference = svs.read(500, 700, 512, 512).astype(int) - dicom.read(500, 700, 512, 512)
        shifted = svs.read(500, 700, 512, 512).astype(int) - dicom.read(501, 700, 512, 512)
    assert np.abs(difference).mean() < 6 < np.abs(shifted).mean()


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "CMU-1-Small-Region.dicom"])
def test_label_macro_and_thumbnail_are_there(shared_data: Path, name: str) -> None:
    with open_slide(shared_data / "slides" / name) as slide:
        shapes = {key: image.shape for key, image in slide.associated.items()}
    assert shapes == {"label": (463, 387, 3), "macro": (431, 1280, 3), "thumbnail": (768, 574, 3)}


def test_associated_images_agree_with_openslide(shared_data: Path) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as handle:
        for name, image in slide.associated.items():
            expected = np.asarray(handle.associated_images[name])[..., :3].astype(int)
            assert np.abs(image - expected).max() <= 2


def test_an_absurd_pixel_size_is_unknown_and_said_so(shared_data: Path) -> None:
    with pytest.warns(UserWarning, match=r"boxes\.tiff states a pixel size of .* which no slide has"):
        slide = open_slide(shared_data / "slides" / "boxes.tiff")
    with slide:
        assert slide.mpp is None
        with pytest.raises(SlideError, match=r"boxes\.tiff does not state its pixel size"):
            slide.read_at(0, 0, 10, 10, mpp=0.5)


def test_a_slide_keeps_its_fingerprint_when_it_moves(shared_data: Path, tmp_path: Path) -> None:
    original = shared_data / "slides" / "CMU-1-Small-Region.svs"
    copy = tmp_path / "renamed.svs"
    shutil.copyfile(original, copy)
    with open_slide(original) as first, open_slide(copy) as second:
        assert first.fingerprint == second.fingerprint
    with open_slide(shared_data / "slides" / "OS-1-detail.ome.tif") as other:
        assert other.fingerprint != first.fingerprint


# ---------------------------------------------------------------------------------------------------------
# Where pixels lie


def test_every_window_is_that_part_of_the_image(tmp_path: Path) -> None:
    image = noise(700, 900)
    rng = np.random.default_rng(1)
    with open_slide(write_slide(tmp_path / "noise.tif", image)) as slide:
        for _ in range(50):
            y, x = int(rng.integers(0, 700)), int(rng.integers(0, 900))
            height, width = int(rng.integers(1, 701 - y)), int(rng.integers(1, 901 - x))
            np.testing.assert_array_equal(
                slide.read(y, x, height, width), image[y : y + height, x : x + width]
            )


def test_outside_the_slide_is_white(tmp_path: Path) -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    with open_slide(write_slide(tmp_path / "black.tif", image)) as slide:
        framed = slide.read(-10, -20, 330, 440)
        far = slide.read(5000, 5000, 4, 4)
    assert (framed[10:310, 20:420] == 0).all()
    framed[10:310, 20:420] = 255
    assert (framed == 255).all()
    assert (far == 255).all()


def test_a_constant_stays_that_constant_at_any_pixel_size(tmp_path: Path) -> None:
    image = np.full((2000, 2000, 3), (200, 90, 151), np.uint8)
    with open_slide(write_slide(tmp_path / "plain.tif", image, reduced(image, 4))) as slide:
        for mpp in (0.25, 0.3, 0.5, 0.777, 1.0, 1.3, 4.0):
            tile = slide.read_at(301.5, 207.25, 64, 64, mpp=mpp)
            assert (tile == (200, 90, 151)).all()


@pytest.mark.parametrize("mpp", [0.3, 0.5, 0.6137, 1.0, 1.1])
def test_tiles_read_one_by_one_are_the_whole(tmp_path: Path, mpp: float) -> None:
    image = noise(1500, 1700)
    with open_slide(write_slide(tmp_path / "noise.tif", image, reduced(image, 4))) as slide:
        step = mpp / 0.25
        height, width = int(1500 / step), int(1700 / step)
        grid = Grid((height, width), (step, step))
        whole = slide.read_grid(grid, Window(0, 0, height, width))
        for y in range(0, height, 113):
            for x in range(0, width, 113):
                tile = slide.read_grid(grid, Window(y, x, min(113, height - y), min(113, width - x)))
                difference = tile.astype(int) - whole[y : y + 113, x : x + 113]
                assert np.abs(difference).max() <= 2  # Pillow rounds twice, and its box to 32 bits


@pytest.mark.parametrize("mpp", [0.25, 0.3, 0.5, 0.6137, 1.0, 1.1, 2.7])
def test_nothing_drifts_however_far_from_the_origin(tmp_path: Path, mpp: float) -> None:
    """A ramp read anywhere at any pixel size has the value of the footprint's centre."""
    ramp = np.broadcast_to((np.arange(8000) * 200 / 8000)[None, :, None], (600, 8000, 3))
    image = np.rint(ramp).astype(np.uint8)
    step = mpp / 0.25
    with open_slide(write_slide(tmp_path / "ramp.tif", image, reduced(image, 4))) as slide:
        for x in (40.0, 3011.3, 7000.75):
            width = int(600 // step)
            tile = slide.read_at(100, x, 32, width, mpp=mpp).astype(float).mean(axis=(0, 2))
            centres = x + (np.arange(width) + 0.5) * step
            error = tile - (centres - 0.5) * 200 / 8000
            assert abs(error.mean()) < 0.05  # 2 px of the ramp are 0.05
            assert np.abs(error).max() < 1.01


@pytest.mark.parametrize("mpp", [0.3, 0.5, 1.0, 1.1, 2.7])
def test_an_edge_stays_within_a_tenth_of_a_pixel(tmp_path: Path, mpp: float) -> None:
    image = np.full((600, 6000, 3), 255, np.uint8)
    image[:, 5000:] = 0
    step = mpp / 0.25
    with open_slide(write_slide(tmp_path / "edge.tif", image, reduced(image, 4))) as slide:
        width = int(800 / step)
        row = slide.read_at(100, 4600.5, 16, width, mpp=mpp)[8, :, 0].astype(float) / 255
    assert 4600.5 + row.sum() * step == pytest.approx(5000, abs=0.1 * max(1, step))


def test_a_pixel_size_given_by_the_user_counts(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "silent.tif", noise(300, 300), mpp=None)
    with open_slide(path) as slide:
        assert slide.mpp is None
    with open_slide(path, mpp=0.5) as slide:
        assert slide.mpp == (0.5, 0.5)
        assert slide.read_at(0, 0, 100, 100, mpp=1.0).shape == (100, 100, 3)
    for absurd in (0.0, -1.0, 1e6, float("nan")):
        with pytest.raises(SlideError, match="pixel size"):
            open_slide(path, mpp=absurd)


# ---------------------------------------------------------------------------------------------------------
# The pyramid that a viewer shows


def darkness(
    slide: Slide, box: tuple[int, int, int, int], margin: int = 64
) -> list[tuple[float, float, float]]:
    """Return, for each dask level, the area, y and x centre of a dark box as napari places it, level-0 px.

    napari takes the ratio of shapes to level 0 as a level's factor, and aligns upper left edges.
    """
    found = []
    arrays = slide.dask_levels()
    for array in arrays:
        factor = [full / side for full, side in zip(arrays[0].shape[:2], array.shape[:2], strict=True)]
        y, x, bottom, right = (
            int(edge / step) for edge, step in zip((*box[:2], *box[2:]), (factor * 2), strict=True)
        )
        y, x = max(0, y - margin), max(0, x - margin)
        dark = 1 - np.asarray(array[y : bottom + margin, x : right + margin])[..., 0].astype(float) / 255
        total = dark.sum()
        rows = (np.arange(dark.shape[0]) + y + 0.5) * factor[0]
        columns = (np.arange(dark.shape[1]) + x + 0.5) * factor[1]
        found.append(
            (
                total * factor[0] * factor[1],
                float((dark.sum(axis=1) * rows).sum() / total),
                float((dark.sum(axis=0) * columns).sum() / total),
            )
        )
    return found


def assert_in_place(slide: Slide, box: tuple[int, int, int, int]) -> None:
    y, x, bottom, right = box
    for area, centre_y, centre_x in darkness(slide, box):
        assert area == pytest.approx((bottom - y) * (right - x), rel=0.01)
        assert centre_y == pytest.approx((y + bottom) / 2, abs=0.5)
        assert centre_x == pytest.approx((x + right) / 2, abs=0.5)


BOXES = [(1000, 2000, 1400, 2600), (2500, 2600, 3220, 3220), (24, 16, 424, 376)]


@pytest.mark.parametrize("box", BOXES)
def test_a_square_lies_where_it_is_at_every_virtual_level(
    tmp_path: Path, box: tuple[int, int, int, int]
) -> None:
    image = np.full((3333, 5001, 3), 255, np.uint8)
    image[box[0] : box[2], box[1] : box[3]] = 0
    with open_slide(write_slide(tmp_path / "square.tif", image)) as slide:
        assert slide.dask_levels()[0].shape[:2] == (3333, 5001)
        assert_in_place(slide, box)


@pytest.mark.parametrize("box", BOXES)
def test_a_square_lies_where_it_is_where_the_sides_do_not_divide(
    tmp_path: Path, box: tuple[int, int, int, int]
) -> None:
    """3333 / 833 is 4.0012, the level is exactly 4 times as coarse, and napari goes by the ratio."""
    image = np.full((3333, 3333, 3), 255, np.uint8)
    image[box[0] : box[2], box[1] : box[3]] = 0
    path = write_slide(tmp_path / "square.tif", image, reduced(image, 4), reduced(image, 16))
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [(1.0, 1.0), (4.0, 4.0), (16.0, 16.0)]
        assert_in_place(slide, box)


@pytest.mark.parametrize(
    ("shape", "factors"), [((3000, 5000), ()), ((9000, 700), ()), ((2500, 4200), (4,)), ((1700, 6000), (3,))]
)
def test_levels_go_down_to_2048_px_in_steps_of_about_two(
    tmp_path: Path, shape: tuple[int, int], factors: tuple[int, ...]
) -> None:
    image = np.full((*shape, 3), 128, np.uint8)
    with open_slide(
        write_slide(tmp_path / "tall.tif", image, *(reduced(image, f) for f in factors))
    ) as slide:
        shapes = [array.shape for array in slide.dask_levels()]
        assert shapes[0] == (*shape, 3)
        assert max(shapes[-1]) <= 2048
        jumps = [fine[1] / coarse[1] for fine, coarse in pairwise(shapes)]
        assert all(1.2 < jump < 3.1 for jump in jumps)
        for array in slide.dask_levels():
            assert (np.asarray(array[-5:, -5:]) == 128).all()


def test_a_view_through_dask_is_one_task_and_other_indices_are_exact_too(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1300, 1100, 3), np.uint8)
    path = tmp_path / "levels.tif"
    tifffile.imwrite(path, pixels, tile=(128, 128), photometric="rgb")
    with open_slide(path) as slide:
        level = slide.dask_levels()[0]
        view = level[100:1000, 7:900]
        assert len(view.__dask_graph__()) == 1
        for index in (
            np.s_[100:1000, 7:900],
            np.s_[100:1000, 7:900, :],
            np.s_[-30:, 5000:],
            np.s_[700:40, :5],
            np.s_[::7, 30:600:2],
            np.s_[:, 5, 1],
            np.s_[..., 2],
            np.s_[600],
        ):
            np.testing.assert_array_equal(level[index].compute(), pixels[index])
        np.testing.assert_array_equal(view[50:60, 3:9].compute(), pixels[150:160, 10:16])
        np.testing.assert_array_equal((level[:90, :80] + 1).compute(), pixels[:90, :80] + 1)
        blue = slide.dask_levels(channel=2)[0]
        np.testing.assert_array_equal(blue.compute(), pixels[..., 2])
        np.testing.assert_array_equal(blue[40:50, 60:90].compute(), pixels[40:50, 60:90, 2])


def test_dask_levels_are_lazy_and_exact_at_level_0(tmp_path: Path) -> None:
    image = noise(1300, 1100)
    with open_slide(write_slide(tmp_path / "noise.tif", image)) as slide:
        level = slide.dask_levels()[0]
        assert level.dtype == np.uint8
        np.testing.assert_array_equal(level.compute(), image)
        for part in (np.s_[500:530, 490:540, 1], np.s_[7], np.s_[:, 3, 2], np.s_[::3, 600::100], np.s_[5:5]):
            np.testing.assert_array_equal(level[part].compute(), image[part])


# ---------------------------------------------------------------------------------------------------------
# Files that cannot be read


def cut(path: Path, source: Path, size: int) -> None:
    path.write_bytes(source.read_bytes()[:size])


def assert_one_sentence(error: SlideError, name: str) -> None:
    message = str(error)
    assert name in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 300


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("missing.svs", lambda path: None),
        ("empty.svs", lambda path: path.write_bytes(b"")),
        ("empty.ndpi", lambda path: path.write_bytes(b"")),
        ("words.svs", lambda path: path.write_text("This is not a slide.\n" * 50)),
        ("words.mrxs", lambda path: path.write_text("This is not a slide.\n" * 50)),
        ("header.tif", lambda path: path.write_bytes(b"II*\0\x08\0\0\0")),
        ("garbage.tif", lambda path: path.write_bytes(b"II*\0" + noise(20, 20).tobytes())),
        ("folder", lambda path: path.mkdir()),
    ],
)
def test_what_is_no_slide_is_refused_in_a_sentence(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    make(tmp_path / name)
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path / name)
    assert_one_sentence(caught.value, name)


def test_an_unknown_compression_is_named(shared_data: Path) -> None:
    with pytest.raises(SlideError, match="52479") as caught:
        open_slide(shared_data / "slides" / "unopenable.tiff")
    assert_one_sentence(caught.value, "unopenable.tiff")


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused_when_opened(tmp_path: Path, fraction: float) -> None:
    whole = write_slide(tmp_path / "whole.tif", noise(800, 800))
    path = tmp_path / "part.tif"
    cut(path, whole, int(whole.stat().st_size * fraction))
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "part.tif")


@pytest.mark.parametrize("fraction", [0.001, 0.3, 0.7, 0.98])
def test_a_truncated_svs_is_refused_when_opened(shared_data: Path, tmp_path: Path, fraction: float) -> None:
    whole = shared_data / "slides" / "CMU-1-Small-Region.svs"
    path = tmp_path / "part.svs"
    cut(path, whole, int(whole.stat().st_size * fraction))
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "part.svs")


@pytest.mark.parametrize("missing", [1, 10, 100])
def test_an_svs_without_its_last_bytes_is_refused(shared_data: Path, tmp_path: Path, missing: int) -> None:
    whole = shared_data / "slides" / "CMU-1-Small-Region.svs"
    path = tmp_path / "part.svs"
    cut(path, whole, whole.stat().st_size - missing)
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert_one_sentence(caught.value, "part.svs")


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [
        ("0.25", "µm", 0.25),
        ("0.25", "&#181;m", 0.25),
        ("0.25", "&#xB5;m", 0.25),
        ("0.25", "μm", 0.25),  # Greek mu, not the micro sign
        ("250", "nm", 0.25),
        ("0.00025", "mm", 0.25),
        ("0.00001", "inch", 0.254),
    ],
)
def test_an_ome_tiff_states_its_pixel_size_in_any_unit(
    tmp_path: Path, size: str, unit: str, mpp: float
) -> None:
    pixels = noise(300, 300)
    path = tmp_path / "stated.ome.tif"
    sizes = " ".join(f'PhysicalSize{axis}="{size}" PhysicalSize{axis}Unit="{unit}"' for axis in "XY")
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels BigEndian="false" DimensionOrder="XYCZT" ID="Pixels:0" Type="uint8" {sizes} '
        'SizeC="3" SizeT="1" SizeX="300" SizeY="300" SizeZ="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/>'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(
        path, pixels, tile=(256, 256), photometric="rgb", description=xml.encode(), metadata=None
    )
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((mpp, mpp))


def test_of_several_images_of_an_ome_tiff_the_tissue_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "several.ome.tif"
    tissue, macro = noise(600, 700), noise(100, 300, seed=1)
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for image, name in ((macro, "macro"), (tissue, "tissue")):
            tiff.write(image, tile=(256, 256), photometric="rgb", metadata={"axes": "YXS", "Name": name})
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 600, 700), tissue)


def test_a_tile_that_cannot_be_decoded_is_named(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "unreadable.svs") as slide:
        with pytest.raises(SlideError, match=r"level 0, tile row 0, column 0") as caught:
            slide.read(0, 0, 16, 16)
        assert_one_sentence(caught.value, "unreadable.svs")


def test_one_damaged_tile_leaves_the_others_readable(tmp_path: Path) -> None:
    image = noise(512, 768)
    path = write_slide(tmp_path / "hole.tif", image)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[1]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 64)
    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="row 0, column 1") as caught:
            slide.read(0, 0, 512, 768)
        assert_one_sentence(caught.value, "hole.tif")
        np.testing.assert_array_equal(slide.read(256, 0, 256, 768), image[256:])
        np.testing.assert_array_equal(slide.read(0, 0, 256, 256), image[:256, :256])


def test_one_damaged_tile_spoils_no_other_thread(shared_data: Path, tmp_path: Path) -> None:
    """OpenSlide's handle is dead for all threads after one of them has met a damaged tile."""
    data = bytearray((shared_data / "slides" / "jpeg2000.dicom").read_bytes())
    start_of_codestream = b"\xff\x4f\xff\x51"
    found = -1
    for _ in range(6):  # the sixth tile of four in a row: row 1, column 1
        found = data.find(start_of_codestream, found + 1)
    data[found : found + 200] = bytes(200)
    path = tmp_path / "damaged.dicom"
    path.write_bytes(data)
    windows = [Window(y, x, 64, 64) for y in range(0, 640, 64) for x in range(0, 896, 64)] * 3

    with open_slide(path) as slide, open_slide(shared_data / "slides" / "jpeg2000.dicom") as whole:

        def agrees(window: Window) -> bool | None:
            box = (window.y, window.x, window.height, window.width)
            try:
                return np.array_equal(slide.read(*box), whole.read(*box))
            except SlideError:
                return None

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(agrees, windows))
    for window, answer in zip(windows, answers, strict=True):
        damaged = window.intersect(Window(256, 256, 256, 256))
        assert answer is (None if damaged.height and damaged.width else True)


def test_a_damaged_label_image_is_a_slide_error(shared_data: Path, tmp_path: Path) -> None:
    original = shared_data / "slides" / "CMU-1-Small-Region.svs"
    path = tmp_path / "label.svs"
    shutil.copyfile(original, path)
    with tifffile.TiffFile(original) as tiff:
        page = next(series.keyframe for series in tiff.series if series.name == "Macro")
    with path.open("r+b") as file:
        file.seek(page.dataoffsets[0])
        file.write(bytes(page.databytecounts[0]))
    with open_slide(path) as slide:
        assert slide.associated["label"].shape == (463, 387, 3)
        with pytest.raises(SlideError) as caught:
            slide.associated["macro"]
    assert_one_sentence(caught.value, "label.svs")


def test_a_folder_with_pictures_is_no_slide(shared_data: Path) -> None:
    with pytest.raises(SlideError, match="holds no DICOM slide") as caught:
        open_slide(shared_data / "annotations")
    assert_one_sentence(caught.value, "annotations")


# ---------------------------------------------------------------------------------------------------------
# Threads, closing, memory


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "test3-DAPI-2.ndpi", "CMU-1-Small-Region.dicom"])
def test_eight_threads_read_what_one_reads(shared_data: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    windows = [(int(y), int(x), 97, 131) for y, x in rng.integers(0, 2000, (60, 2))]
    with open_slide(shared_data / "slides" / name) as slide:
        alone = [slide.read(*window) for window in windows]
    with open_slide(shared_data / "slides" / name) as slide, ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda window: slide.read(*window), windows))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "jpeg.dicom"])
def test_a_closed_slide_says_so(shared_data: Path, name: str) -> None:
    slide = open_slide(shared_data / "slides" / name)
    slide.read(0, 0, 8, 8)
    slide.close()
    slide.close()
    for height in (8, 700):
        with pytest.raises(SlideError, match="closed") as caught:
            slide.read(0, 0, height, height)
        assert_one_sentence(caught.value, name)
