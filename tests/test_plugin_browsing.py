"""While the user looks at slides: what is read ahead, in which colours, within which memory."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils import resize_dask_cache
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest

from fakes import ArraySlide
from napari_lumen.geometry import Region, Window, level0_to_world
from napari_lumen.plugin.controllers.browsing import Browsing
from napari_lumen.plugin.newest import Newest
from napari_lumen.plugin.preferences import NapariPreferences
from napari_lumen.plugin.prefetch import View, level_in_view, read_ring, ring
from napari_lumen.plugin.slide_layers import slide_layer, slide_layers
from napari_lumen.slides import open_slide
from napari_lumen.slides.cache import process_cache
from napari_lumen.slides.color import to_srgb
from napari_lumen.slides.tiff_level import TiffLevel
from plugin_fakes import CHANNELS, ReadSlide, SetPreferences, damaged_slide, linear_profile

PATIENCE = 20.0  # seconds, on a busy machine
RNG = np.random.default_rng(3)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def tiles_read(slide: ReadSlide, side: int = 100) -> list[Window]:
    """Return the tiles of level 0 that something was read of."""
    first = [
        (window.y // side * side, window.x // side * side) for level, window in slide.reads if level == 0
    ]
    return [Window(y, x, side, side) for y, x in first]


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """Put back the limits that are the process's."""
    before = process_cache().limit
    yield
    process_cache().set_limit(before)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def slide() -> ReadSlide:
    image = RNG.integers(0, 256, (4000, 4000, 3), np.uint8)
    return ReadSlide(image, image[::4, ::4], mpp=(0.5, 0.5))


@pytest.fixture
def preferences() -> SetPreferences:
    return SetPreferences()


@pytest.fixture
def browsing(viewer: ViewerModel, preferences: SetPreferences) -> Iterator[Browsing]:
    made = Browsing(viewer, preferences, rest=0.05)
    yield made
    made.close()


def look(viewer: ViewerModel, y: float, x: float, zoom: float = 2.0) -> None:
    """Look at a level-0 point; at zoom 2 a pixel of the slide is one of the 200 x 300 of the screen."""
    viewer.canvas.size = (200, 300)
    viewer.scene.camera.zoom = zoom
    viewer.scene.camera.center = (0, *level0_to_world((y, x), (0.5, 0.5)))


def opened(viewer: ViewerModel, slide: ArraySlide) -> Any:
    layer = Layer.create(*slide_layer(slide))
    viewer.layers.append(layer)
    return layer


# what a ring is


def view(slide: ArraySlide, seen: Region, step: float = 1.0, cache: int = 10**9) -> View:
    return View(slide, seen, (step, step), cache)


def test_a_ring_is_one_view_wide_on_each_side_and_leaves_the_view_out(slide: ReadSlide) -> None:
    tiles = ring(view(slide, Region(1900, 1850, 200, 300)), level=0)
    covered = {(tile.y // 100, tile.x // 100) for tile in tiles}
    wanted = {(y, x) for y in range(17, 23) for x in range(15, 25)}
    seen = {(y, x) for y in range(19, 21) for x in range(18, 22)}
    assert covered == wanted - seen
    assert all((tile.height, tile.width) == (100, 100) for tile in tiles)


def test_the_nearest_tiles_come_first(slide: ReadSlide) -> None:
    tiles = ring(view(slide, Region(1900, 1900, 200, 200)), level=0)
    distances = [max(abs(tile.y + 50 - 2000), abs(tile.x + 50 - 2000)) for tile in tiles]
    assert distances == sorted(distances)
    assert len(tiles) == 36 - 4


def test_a_ring_ends_at_the_slides_edge(slide: ReadSlide) -> None:
    tiles = ring(view(slide, Region(0, 0, 200, 300)), level=0)
    assert {(tile.y // 100, tile.x // 100) for tile in tiles} == {
        (y, x) for y in range(4) for x in range(6) if y >= 2 or x >= 3
    }
    edge = ReadSlide(np.zeros((130, 130, 3), np.uint8))
    assert set(ring(view(edge, Region(0, 0, 90, 90)), level=0)) == {
        Window(0, 100, 100, 30),
        Window(100, 0, 30, 100),
        Window(100, 100, 30, 30),
    }


def test_a_ring_takes_no_more_than_a_quarter_of_the_cache(slide: ReadSlide) -> None:
    cache = 4 * 5 * 100 * 100 * 3
    assert len(ring(view(slide, Region(1900, 1850, 200, 300), cache=cache), level=0)) == 5


def test_a_view_of_very_many_tiles_has_no_ring() -> None:
    flat = ReadSlide(np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)))
    assert ring(view(flat, Region(0, 0, 10_000, 10_000)), level=0) == []


def test_the_ring_is_of_the_level_in_view(slide: ReadSlide) -> None:
    assert [level_in_view(slide, (step, step)) for step in (0.2, 1, 3.9, 4, 50)] == [0, 0, 0, 1, 1]


def test_damage_in_the_ring_stops_nothing() -> None:
    broken = ReadSlide(np.zeros((500, 500, 3), np.uint8), broken=Window(0, 0, 500, 100))
    read_ring(view(broken, Region(200, 200, 100, 100)), stale=lambda: False)
    assert len(broken.reads) == 8


def test_what_was_read_ahead_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    tifffile.imwrite(tmp_path / "slide.tif", noise, tile=(256, 256), compression="jpeg", photometric="rgb")
    decoded: list[tuple[int, int]] = []
    decode = TiffLevel.decode

    def count(self: TiffLevel, row: int, column: int) -> Any:
        decoded.append((row, column))
        return decode(self, row, column)

    with open_slide(tmp_path / "slide.tif") as slide:
        monkeypatch.setattr(TiffLevel, "decode", count)
        seen = Region(512, 512, 256, 256)
        read_ring(View(slide, seen, (1.0, 1.0), process_cache().limit), stale=lambda: False)
        assert len(decoded) == 8
        decoded.clear()
        slide.read(256, 256, 768, 768)
        assert decoded == [(2, 2)]  # the view itself


# when it is read


def test_the_surroundings_are_read_once_the_camera_rests(
    browsing: Browsing, viewer: ViewerModel, slide: ReadSlide
) -> None:
    opened(viewer, slide)
    look(viewer, 2000, 2000)
    until(lambda: len(slide.reads) > 0)
    wanted = ring(view(slide, Region(1900, 1850, 200, 300)), level=0)
    until(lambda: set(wanted) <= set(tiles_read(slide)))
    look(viewer, 2000, 2000, zoom=0.5)  # 4 pixels of the slide on one of the screen
    until(lambda: any(level == 1 for level, _ in slide.reads))


def test_while_the_camera_moves_nothing_is_read(viewer: ViewerModel, slide: ReadSlide) -> None:
    browsing = Browsing(viewer, SetPreferences(), rest=0.5)
    layer = opened(viewer, slide)
    slide.reads.clear()
    for step in range(60):
        look(viewer, 1000 + step, 1000)
        time.sleep(0.01)
    assert slide.reads == []
    assert layer in viewer.layers
    browsing.close()


def test_a_move_drops_what_was_to_be_read(browsing: Browsing, viewer: ViewerModel, slide: ReadSlide) -> None:
    reached, go_on = Event(), Event()

    def wait() -> None:
        reached.set()
        assert go_on.wait(PATIENCE)

    opened(viewer, slide)
    slide.reads.clear()
    slide.on_read = wait
    look(viewer, 2000, 2000)
    assert reached.wait(PATIENCE)  # the first tile is being decoded
    look(viewer, 500, 500)
    slide.on_read = lambda: None
    go_on.set()
    near = ring(view(slide, Region(400, 350, 200, 300)), level=0)
    until(lambda: set(near) <= set(tiles_read(slide)))
    old = set(ring(view(slide, Region(1900, 1850, 200, 300)), level=0))
    assert sum(tile in old for tile in tiles_read(slide)) == 1


@pytest.mark.parametrize("how", ["removed", "hidden", "switched off", "out of view"])
def test_nothing_is_read_of_a_slide_that_is_not_looked_at(
    browsing: Browsing, viewer: ViewerModel, slide: ReadSlide, preferences: SetPreferences, how: str
) -> None:
    reached, go_on = Event(), Event()
    layer = opened(viewer, slide)

    def wait() -> None:
        reached.set()
        assert go_on.wait(PATIENCE)

    slide.on_read = wait
    slide.reads.clear()
    look(viewer, 2000, 2000)
    assert reached.wait(PATIENCE)
    slide.on_read = lambda: None
    if how == "removed":
        viewer.layers.remove(layer)
    elif how == "hidden":
        layer.visible = False
    elif how == "switched off":
        preferences.set(prefetch=False)
    else:
        viewer.scene.camera.center = (0, 1e6, 1e6)
    go_on.set()
    time.sleep(0.4)
    assert len(slide.reads) == 1


def test_the_surroundings_of_any_channel_in_view_are_read(browsing: Browsing, viewer: ViewerModel) -> None:
    slide = ReadSlide(RNG.integers(0, 256, (4000, 4000, 2), np.uint8))
    slide.channels = CHANNELS
    viewer.layers.extend([Layer.create(*data) for data in slide_layers(slide)])
    viewer.layers[0].visible = False
    look(viewer, 2000, 2000)
    wanted = ring(view(slide, Region(1900, 1850, 200, 300)), level=0)
    until(lambda: set(wanted) <= set(tiles_read(slide)))


def test_closing_waits_and_reads_no_more(viewer: ViewerModel, slide: ReadSlide) -> None:
    preferences = SetPreferences()
    browsing = Browsing(viewer, preferences, rest=0.01)
    opened(viewer, slide)
    look(viewer, 2000, 2000)
    until(lambda: len(slide.reads) > 0)
    browsing.close()
    browsing.close()
    read = len(slide.reads)
    look(viewer, 500, 500)
    time.sleep(0.2)
    assert len(slide.reads) == read
    assert preferences.closed


def test_only_the_newest_request_is_worked_on() -> None:
    done: list[int] = []
    newest: Newest[int] = Newest(lambda request, stale: done.append(request), rest=0.2)
    for request in range(5):
        newest.ask(request)
    until(lambda: bool(done))
    newest.close()
    newest.ask(9)
    time.sleep(0.3)
    assert done == [4]


class Request:
    """Something that can be seen to go."""


def test_an_idle_thread_keeps_nothing_of_what_it_worked_on() -> None:
    done: list[bool] = []
    newest: Newest[Request] = Newest(lambda request, stale: done.append(True), rest=0.0)
    request = Request()
    gone = weakref.ref(request)
    newest.ask(request)
    del request
    until(lambda: bool(done) and gone() is None)
    newest.close()


# memory


def test_the_tiles_of_a_slide_that_is_gone_are_dropped_at_once(tmp_path: Path) -> None:
    gc.collect()  # slides of other tests
    before = process_cache().nbytes
    slide = open_slide(damaged_slide(tmp_path / "case.tif", bad=set()))
    slide.read(10, 10, 90, 90)
    assert process_cache().nbytes > before
    del slide
    gc.collect()
    assert process_cache().nbytes == before


def test_both_caches_together_keep_to_the_setting(browsing: Browsing, preferences: SetPreferences) -> None:
    for size in (300, 100):
        preferences.set(cache_mb=size)
        assert process_cache().limit + resize_dask_cache().cache.available_bytes == size * 1_000_000


# colours


@pytest.fixture
def told() -> Iterator[list[str]]:
    messages: list[str] = []

    def note(notification: Any) -> None:
        messages.append(notification.message)

    notification_manager.notification_ready.connect(note)
    yield messages
    notification_manager.notification_ready.disconnect(note)


def test_changing_the_colours_changes_open_slides_in_place(
    browsing: Browsing, viewer: ViewerModel, preferences: SetPreferences
) -> None:
    image = RNG.integers(0, 256, (300, 200, 3), np.uint8)
    slide = ArraySlide(image)
    slide.icc_profile = linear_profile()
    layer = opened(viewer, slide)
    layer.opacity = 0.5
    look(viewer, 100, 100, zoom=3.0)
    drawn: list[Any] = []
    layer.events.set_data.connect(lambda event: drawn.append(np.asarray(layer._slice.image.raw)))
    preferences.set(color="sRGB")
    linear = to_srgb(slide.icc_profile)
    np.testing.assert_array_equal(np.asarray(layer.data[0]), linear(image))
    np.testing.assert_array_equal(drawn[-1], linear(image))
    assert list(viewer.layers) == [layer]
    assert (layer.opacity, viewer.scene.camera.zoom) == (0.5, 3.0)
    np.testing.assert_array_equal(slide.read(0, 0, 300, 200), image)  # what a model reads
    preferences.set(color="raw")
    np.testing.assert_array_equal(np.asarray(layer.data[0]), image)
    np.testing.assert_array_equal(drawn[-1], image)


def test_a_slide_opened_later_comes_in_the_preferred_colours(
    browsing: Browsing, viewer: ViewerModel, preferences: SetPreferences
) -> None:
    preferences.set(color="sRGB")
    slide = ArraySlide(RNG.integers(0, 256, (300, 200, 3), np.uint8))
    assert browsing.color_of(slide) is None
    slide.icc_profile = linear_profile()
    color = browsing.color_of(slide)
    assert color is not None
    assert browsing.color_of(slide) is color  # its table is built once


def test_a_broken_profile_leaves_the_colours_raw_and_is_told_once(
    browsing: Browsing, viewer: ViewerModel, preferences: SetPreferences, told: list[str]
) -> None:
    slide = ArraySlide(np.full((300, 200, 3), 90, np.uint8))
    slide.icc_profile = b"no profile"
    layer = opened(viewer, slide)
    for color in ("sRGB", "raw", "sRGB"):
        preferences.set(color=color)
        np.testing.assert_array_equal(np.asarray(layer.data[0]), 90)
    (message,) = told
    assert message.startswith("array.tif: The colour profile of the slide is damaged")


# where they are set


def test_preferences_are_naparis_own(plugin_settings: Any, npe2pm: Any) -> None:
    from napari.settings import get_plugin_settings

    npe2pm.register(PluginManifest.from_distribution("napari-lumen"))
    preferences = NapariPreferences()
    heard: list[Any] = []
    preferences.changed.connect(heard.append)
    assert (preferences.current.color, preferences.current.prefetch) == ("raw", True)
    settings = get_plugin_settings("napari-lumen")
    settings.slides.color = "sRGB"
    settings.update({"slides": {"cache_mb": 200}})
    assert (heard[-1].color, heard[-1].cache_mb) == ("sRGB", 200)
    settings.reset()
    assert preferences.current.color == "raw"
    preferences.close()
    settings.slides.color = "sRGB"
    assert preferences.current.color == "raw"
    for wrong in ({"color": "blue"}, {"cache_mb": 1}):
        with pytest.raises(ValueError):
            settings.slides.update(wrong)


def test_what_was_late_is_drawn_when_it_has_come(browsing: Browsing, viewer: ViewerModel) -> None:
    slide = ReadSlide(np.full((512, 512, 3), 200, np.uint8))
    layer = opened(viewer, slide)
    drawn: list[Any] = []
    layer.events.set_data.connect(drawn.append)
    browsing.look_again()
    slide.damage.put_off((0, 1, 1))
    browsing.look_again()
    assert not drawn
    slide.damage.lift((0, 1, 1))
    browsing.look_again()
    browsing.look_again()
    assert len(drawn) == 1


def test_reading_ahead_knows_where_a_slide_was_moved_to(browsing: Browsing, viewer: ViewerModel) -> None:
    layer = opened(viewer, ReadSlide(RNG.integers(0, 256, (4000, 4000, 3), np.uint8)))
    look(viewer, 2000, 2000)
    before = browsing._view()
    layer.translate = (5000, 0)
    assert browsing._view() is None
    viewer.scene.camera.center = (0, viewer.scene.camera.center[1] + 5000, viewer.scene.camera.center[2])
    after = browsing._view()
    assert before is not None
    assert after is not None
    assert after.seen == before.seen
