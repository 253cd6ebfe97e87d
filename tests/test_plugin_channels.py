"""Slides that are not RGB: a layer a channel, in its colour, and no model that reads RGB on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils import resize_dask_cache

from fakes import ArraySlide, Darkness, model_of
from napari_lumen.errors import SlideError
from napari_lumen.geometry import Window
from napari_lumen.inference import predict
from napari_lumen.plugin import contrast
from napari_lumen.plugin.contrast import channel_contrasts, contrast_limits
from napari_lumen.plugin.controllers.run_model import RunModelController
from napari_lumen.plugin.controllers.slides import SlideLayers
from napari_lumen.plugin.reader import napari_get_reader
from napari_lumen.plugin.slide_layers import slide_layers
from napari_lumen.slides import Channel
from plugin_fakes import CATALOGUE, CHANNELS, ReadSlide, StepJobs, channel_slide

RNG = np.random.default_rng(1)


def added(viewer: ViewerModel, slide: ArraySlide) -> list[Any]:
    layers = [Layer.create(*data) for data in slide_layers(slide)]
    viewer.layers.extend(layers)
    return layers


@pytest.fixture
def pixels() -> np.ndarray:
    values = RNG.integers(100, 4000, (2500, 300, 2), np.uint16)
    values[..., 1] += 20_000
    return values


def test_every_channel_is_a_layer_in_its_own_colour(pixels: np.ndarray) -> None:
    first, second = added(ViewerModel(), channel_slide(pixels))
    assert [first.name, second.name] == ["cells.ome.tif · DAPI", "cells.ome.tif · CD4"]
    for layer, channel in zip((first, second), CHANNELS, strict=True):
        assert isinstance(layer, Image)
        assert (layer.rgb, layer.multiscale, str(layer.blending)) == (False, True, "additive")
        np.testing.assert_allclose(
            layer.colormap.map(1.0).ravel()[:3], np.array(channel.color) / 255, atol=1e-6
        )
        np.testing.assert_array_equal(layer.colormap.map(0.0).ravel()[:3], 0)
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
        assert tuple(layer.scale) == (0.5, 0.5)


def test_the_layers_hold_the_slides_own_values(pixels: np.ndarray) -> None:
    slide = channel_slide(pixels)
    for index, (data, _, _) in enumerate(slide_layers(slide)):
        assert data[0].dtype == np.uint16
        np.testing.assert_array_equal(np.asarray(data[0][1000:1100, 20:90]), pixels[1000:1100, 20:90, index])
        np.testing.assert_array_equal(data[-1], np.asarray(slide.dask_levels()[-1])[..., index])


def test_contrast_comes_from_the_coarsest_level(pixels: np.ndarray) -> None:
    pixels[:8, :8] = 65_535  # a speck of dust
    for (data, settings, _), low in zip(slide_layers(channel_slide(pixels)), (100, 20_100), strict=True):
        dark, bright = settings["contrast_limits"]
        coarsest = np.asarray(data[-1])
        assert dark == coarsest.min() >= low
        assert coarsest.mean() < bright < low + 4000
    assert contrast_limits(np.zeros((4, 4), np.uint8)) == (0, 1)
    assert contrast_limits(np.full((4, 4), 255, np.uint8)) == (254, 255)
    assert contrast_limits(np.full((4, 4), np.nan, np.float32)) == (0, 1)


def dots(side: int = 3000, every: int = 50, depth: int = 40_000) -> np.ndarray:
    """Return one channel of dots of 3 x 3 px on a dark ground, as in-situ hybridisation shows them."""
    image = np.full((side, side, 1), 200, np.uint16)
    for down in range(3):
        for across in range(3):
            image[down::every, across::every] = depth
    return image


def coarsest_of(slide: ArraySlide) -> np.ndarray:
    return np.asarray(slide.dask_levels()[-1])


def test_dots_that_a_coarse_level_averages_away_are_not_clipped() -> None:
    image = dots()
    image[:40, :40] = 65_535  # a speck of dust
    slide = channel_slide(image, channels=CHANNELS[:1])
    coarsest = coarsest_of(slide)
    assert coarsest[100:].max() < 36_000
    (contrast,) = channel_contrasts(slide, coarsest)
    assert contrast.limits[1] == 40_000


@pytest.mark.parametrize(
    ("values", "slider"),
    [
        (np.array([200, 900], np.uint16), (0, 1023)),
        (np.array([200, 40_000], np.uint16), (0, 65_535)),
        (np.array([0, 3], np.uint8), (0, 255)),
        (np.array([-700, 900], np.int16), (-1024, 1023)),
        (np.array([0.25, 0.75], np.float32), (0.25, 0.75)),
    ],
)
def test_the_slider_has_the_range_of_the_camera(values: np.ndarray, slider: tuple[float, float]) -> None:
    image = np.repeat(values, 32 * 64).reshape(64, 64, 1)
    slide = channel_slide(image, channels=CHANNELS[:1])
    assert channel_contrasts(slide, coarsest_of(slide))[0].slider == slider


def test_few_places_are_read_for_the_contrast_and_damage_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contrast, "_PATIENCE", 60.0)  # however slow this machine is now
    channels = tuple(Channel(f"marker {index}") for index in range(20))
    slide = ReadSlide(np.zeros((3000, 3000, 20), np.uint8), tile=256)
    slide.channels = channels
    coarsest = np.zeros((1500, 1500, 20), np.uint8)
    channel_contrasts(slide, coarsest)
    assert len(slide.reads) == 3
    broken = channel_slide(dots(600), channels=CHANNELS[:1])
    broken._broken = Window(0, 0, 600, 600)
    assert channel_contrasts(broken, dots(600))[0].limits == contrast_limits(dots(600)[..., 0])


def test_every_channel_knows_the_slide(pixels: np.ndarray) -> None:
    slide = channel_slide(pixels)
    for (_, settings, _), name in zip(slide_layers(slide), ("DAPI", "CD4"), strict=True):
        facts = settings["metadata"]["napari_lumen"]
        assert (facts["kind"], facts["slide"], facts["channel"]) == ("slide", slide, name)
        assert facts["channels"] == ["DAPI", "CD4"]


def test_a_slide_lives_on_without_its_first_channel(pixels: np.ndarray) -> None:
    viewer = ViewerModel()
    first, second = added(viewer, channel_slide(pixels))
    slides = SlideLayers(viewer)
    assert slides.layers() == [first]
    assert slides.names() == ("cells.ome.tif",)
    viewer.layers.selection.active = second
    assert slides.selected() is first
    viewer.layers.remove(first)
    assert slides.layers() == [second]
    assert slides.standing_for(first) is slides.selected() is slides.named("cells.ome.tif") is second
    viewer.layers.remove(second)
    assert slides.standing_for(first) is None


def test_the_same_slide_opened_twice_has_two_names(pixels: np.ndarray) -> None:
    viewer = ViewerModel()
    for _ in range(2):
        added(viewer, channel_slide(pixels))
    slides = SlideLayers(viewer)
    assert slides.names() == ("cells.ome.tif [1]", "cells.ome.tif")
    below, above = slides.layers()
    assert (slides.named("cells.ome.tif [1]"), slides.name(below)) == (above, "cells.ome.tif")
    assert len(slides.planes(above)) == 2


def test_of_very_many_channels_only_some_are_shown_at_first() -> None:
    channels = tuple(Channel(f"marker {index}") for index in range(40))
    layers = slide_layers(channel_slide(np.zeros((64, 64, 40), np.uint8), channels=channels))
    assert len(layers) == 40
    assert sum(settings["visible"] for _, settings, _ in layers) == 6


def test_all_channels_of_a_chunk_are_decoded_once(pixels: np.ndarray) -> None:
    resize_dask_cache(10**8)
    slide = ReadSlide(np.repeat(pixels, 2, axis=2), tile=512)
    slide.channels, slide.dtype = (*CHANNELS, *CHANNELS), np.dtype(np.uint16)
    layers = [Layer.create(*data) for data in slide_layers(slide)]
    slide.reads.clear()
    for layer in layers:
        with layer.dask_optimized_slicing():
            np.asarray(layer.data[0][0:512, 0:300])
    assert len(slide.reads) == 1


def test_a_pixel_size_given_later_holds_for_all_channels(pixels: np.ndarray) -> None:
    viewer = ViewerModel()
    layers = added(viewer, channel_slide(pixels, mpp=None))
    slides = SlideLayers(viewer)
    for size in (0.5, 0.25):  # a slip of the finger, and its correction
        assert slides.give_pixel_size(layers[0], size)
        for layer in layers:
            assert tuple(layer.scale) == (size, size)
            assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]


def test_a_model_for_rgb_is_refused_in_one_sentence(pixels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(
        SlideError, match=r"2 channels of uint16 \(DAPI, CD4\), and Known reads RGB"
    ) as caught:
        predict(channel_slide(pixels), model_of(Darkness()), out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_panel_says_so_before_anything_is_run(pixels: np.ndarray) -> None:
    viewer, jobs = ViewerModel(), StepJobs()
    added(viewer, channel_slide(pixels))
    controller = RunModelController(viewer, jobs, catalogue=lambda: CATALOGUE)
    jobs.held.clear()  # a model is loaded ahead
    assert controller.state.slides == ("cells.ome.tif",)
    assert (controller.state.blocked or "").startswith("cells.ome.tif is no 8-bit colour picture, it holds 2")
    controller.run()
    assert not jobs.held


def written(path: Path, axes: str, shape: tuple[int, ...]) -> Path:
    """Write an OME-TIFF with one smaller level."""
    rng = np.random.default_rng(2)
    image = rng.integers(0, 60_000, shape, np.uint16)
    with tifffile.TiffWriter(path, ome=True) as tiff:
        options = {"tile": (256, 256), "photometric": "minisblack", "compression": "deflate"}
        tiff.write(image, subifds=1, metadata={"axes": axes}, **options)
        tiff.write(image[..., ::2, ::2], subfiletype=1, **options)
    return path


def test_a_pyramid_of_several_channels_opens_as_a_slide(tmp_path: Path) -> None:
    path = written(tmp_path / "cells.ome.tif", "CYX", (3, 600, 500))
    reader = napari_get_reader(str(path))
    assert reader is not None
    layers = reader(str(path))
    stored = tifffile.imread(path)
    assert [kind for _, _, kind in layers] == ["image"] * 3
    for index, (data, _, _) in enumerate(layers):
        np.testing.assert_array_equal(np.asarray(data[0]), stored[index])


def test_a_stack_in_depth_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = str(written(tmp_path / "stack.ome.tif", "ZYX", (3, 600, 500)))
    reader = napari_get_reader(path)
    assert reader is not None
    with pytest.raises(SlideError, match="stack"):
        reader(path)
