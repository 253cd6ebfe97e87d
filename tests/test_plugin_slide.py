"""The rules of the Slide panel, without a window and without threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import notification_manager

from fakes import ArraySlide
from napari_lumen.errors import SlideError
from napari_lumen.geometry import Window, level0_to_world, world_to_level0
from napari_lumen.plugin.controllers.slide import SlideController
from napari_lumen.plugin.layers import run_layers
from napari_lumen.plugin.overview import SIDE, overview
from napari_lumen.plugin.results import add_result
from napari_lumen.plugin.slide_layers import colour_levels, slide_layers
from napari_lumen.plugin.small_levels import read_small_levels
from napari_lumen.plugin.wording import magnification, pixel_size, slide_facts_in_words
from napari_lumen.slides import Channel, open_slide
from napari_lumen.slides.associated import AssociatedImages
from plugin_fakes import StepJobs, channel_slide, write_run

MPP = (0.5, 0.5)


class Case(ArraySlide):
    """A slide of its own fingerprint, with label, macro and thumbnail that keep who read them."""

    def __init__(self, name: str, shape: tuple[int, int] = (800, 600), **keywords: Any) -> None:
        super().__init__(np.full((*shape, 3), 200, np.uint8), **keywords)
        self.path = Path(name)
        self.properties = {"aperio.AppMag": "20", "tiff.Make": "Maker"}
        self.read_names: list[str] = []
        self.associated = AssociatedImages(
            {name: self.reader(name) for name in ("label", "macro", "thumbnail")}
        )

    def reader(self, name: str) -> Any:
        def read() -> Any:
            self.read_names.append(name)
            if name == "macro":
                raise SlideError("The macro of case.svs cannot be decoded: no end.")
            return np.full((20, 30, 3), 7, np.uint8)

        return read

    def fingerprint_now(self) -> str:
        return self.path.name


@pytest.fixture
def viewer() -> ViewerModel:
    made = ViewerModel()
    made.canvas.size = (200, 300)
    return made


@pytest.fixture
def jobs() -> StepJobs:
    return StepJobs(first_at_once=False)


@pytest.fixture
def controller(viewer: ViewerModel, jobs: StepJobs) -> SlideController:
    return SlideController(viewer, jobs)


def opened(viewer: ViewerModel, slide: ArraySlide) -> Any:
    layers = [Layer.create(*data) for data in slide_layers(slide)]
    viewer.layers.extend(layers)
    return layers[0]


def test_without_a_slide_there_is_nothing_to_show(controller: SlideController, jobs: StepJobs) -> None:
    assert controller.state.slide is None
    assert controller.state.facts == ()
    assert controller.view.region.empty
    assert not jobs.held


def test_the_facts_of_a_real_slide_are_said(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        facts = dict(slide_facts_in_words(slide))
    assert facts["Name"] == "CMU-1-Small-Region.svs"
    assert facts["Vendor"] == "Aperio"
    assert facts["Width × height"] == "2,220 × 2,967 px\n1.11 × 1.48 mm"
    assert facts["Pixel size"] == "0.499 µm"
    assert facts["Objective"] == "20×"


def test_pictures_are_called_by_the_names_of_their_formats() -> None:
    slide = Case("field.png")
    slide.vendor = "png"
    assert dict(slide_facts_in_words(slide))["Vendor"] == "PNG"


def test_what_is_not_known_is_called_unknown() -> None:
    slide = Case("case.svs", mpp=None)
    facts = dict(slide_facts_in_words(slide))
    assert facts["Width × height"] == "600 × 800 px"
    assert (facts["Pixel size"], facts["Objective"]) == ("unknown", "unknown")
    slide.mpp, slide.mpp_given = (0.25, 0.26), True
    assert pixel_size(slide) == "0.26 × 0.25 µm (given by you)"
    cells = channel_slide(np.zeros((64, 64, 2), np.uint16))
    facts = dict(slide_facts_in_words(cells))
    assert (facts["Channels"], facts["Values"]) == ("DAPI, CD4", "uint16")


def test_the_panel_follows_the_selected_layer(
    controller: SlideController, viewer: ViewerModel, tmp_path: Path
) -> None:
    first, second = Case("first.svs"), Case("second.svs")
    layer = opened(viewer, first)
    assert controller.state.slide == "first.svs"
    opened(viewer, second)
    assert controller.state.slides == ("second.svs", "first.svs")
    viewer.layers.selection.active = layer
    assert controller.state.slide == "first.svs"
    controller.choose_slide("second.svs")
    assert controller.state.slide == "second.svs"
    viewer.add_points([(0, 0)])  # belongs to no slide
    assert controller.state.slide == "second.svs"
    result = add_result(viewer, layer, run_layers(write_run(tmp_path, first, Window(8, 8, 8, 8)), "first"))
    viewer.layers.selection.active = result[0]
    assert controller.state.slide == "first.svs"
    viewer.layers.remove(layer)
    assert controller.state.slide == "second.svs"


def test_a_selected_channel_shows_its_slide(controller: SlideController, viewer: ViewerModel) -> None:
    opened(viewer, channel_slide(np.zeros((64, 64, 2), np.uint8)))
    opened(viewer, Case("case.svs"))
    viewer.layers.selection.active = viewer.layers["cells.ome.tif · CD4"]
    assert controller.state.slide == "cells.ome.tif"


def test_the_magnification_is_that_of_a_microscope(controller: SlideController, viewer: ViewerModel) -> None:
    opened(viewer, Case("case.svs", mpp=MPP))
    viewer.scene.camera.zoom = 1 / 0.5  # a pixel of a 20x scan on one of the screen
    assert controller.view.magnification == pytest.approx(20)
    viewer.scene.camera.zoom = 0.01
    assert controller.view.magnification == pytest.approx(0.1)
    opened(viewer, Case("other.svs", mpp=None))
    assert controller.view.magnification is None
    assert [magnification(value) for value in (20.0, 0.1234, 163.2, None)] == [
        "20×",
        "0.123×",
        "163×",
        "unknown",
    ]


def test_the_box_is_what_the_canvas_shows(controller: SlideController, viewer: ViewerModel) -> None:
    opened(viewer, Case("case.svs", mpp=MPP))
    seen: list[Any] = []
    controller.view_changed.connect(seen.append)
    viewer.scene.camera.zoom = 4.0  # 8 px of the screen for a µm ... 2 for a pixel of the slide
    viewer.scene.camera.center = (0, *level0_to_world((400, 300), MPP))
    region = seen[-1].region
    assert (region.y, region.x, region.height, region.width) == pytest.approx((350, 225, 100, 150))
    viewer.canvas.size = (400, 300)
    assert seen[-1].region.height == pytest.approx(200)
    viewer.scene.camera.center = (0, 1e6, 1e6)
    assert seen[-1].region.empty


def test_looking_at_a_point_moves_the_camera_there(controller: SlideController, viewer: ViewerModel) -> None:
    opened(viewer, Case("case.svs", mpp=MPP))
    viewer.scene.camera.zoom = 4.0
    controller.look_at((123.0, 456.0))
    assert world_to_level0(viewer.scene.camera.center[-2:], MPP) == pytest.approx((123, 456))
    assert viewer.scene.camera.zoom == 4.0
    region = controller.view.region
    assert (region.y + region.height / 2, region.x + region.width / 2) == pytest.approx((123, 456))


def test_the_box_goes_with_a_slide_that_was_moved(controller: SlideController, viewer: ViewerModel) -> None:
    layer = opened(viewer, Case("case.svs", mpp=MPP))
    viewer.scene.camera.zoom = 4.0
    controller.look_at((400.0, 300.0))
    before = controller.view
    layer.translate = (1000, 50)
    assert controller.view.region.empty
    controller.look_at((400.0, 300.0))
    assert controller.view == before
    assert viewer.scene.camera.center[-2:] == pytest.approx((1000 + 199.75, 50 + 149.75))


def test_the_overview_is_in_the_colours_of_the_slide(
    controller: SlideController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    slide = Case("case.svs")
    layer = opened(viewer, slide)
    jobs.let_run()

    def inverted(pixels: Any) -> Any:
        return 255 - pixels

    layer.metadata["napari_lumen"]["color"] = inverted  # as `Browsing` does when the user prefers others
    layer.data = colour_levels(slide, layer.metadata["napari_lumen"]["small"], inverted)
    jobs.let_run()
    np.testing.assert_array_equal(controller.pictures.overview, 55)


def test_pictures_are_read_by_a_worker_and_private_ones_only_when_asked_for(
    controller: SlideController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    slide = Case("case.svs")
    opened(viewer, slide)
    assert controller.pictures.overview is None
    assert len(jobs.held) == 1
    jobs.let_run()
    assert controller.pictures.overview is not None
    np.testing.assert_array_equal(controller.pictures.overview, 200)
    assert slide.read_names == []
    assert {item.name: item.private for item in controller.pictures.associated} == {
        "label": True,
        "macro": True,  # a photograph of the glass, label and all
        "thumbnail": False,
    }
    assert not any(item.shown for item in controller.pictures.associated)
    controller.show_picture("label", True)
    assert slide.read_names == []  # not on this thread
    jobs.let_run()
    label = controller.pictures.associated[0]
    assert label.shown
    np.testing.assert_array_equal(label.image, 7)
    controller.show_picture("label", False)
    controller.show_picture("label", True)
    assert not jobs.held
    assert slide.read_names == ["label"]


def test_a_picture_that_cannot_be_decoded_says_so_in_its_place(
    controller: SlideController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    opened(viewer, Case("case.svs"))
    jobs.let_run()
    controller.show_picture("macro", True)
    jobs.let_run()
    assert controller.pictures.associated[1].problem == "The macro of case.svs cannot be decoded: no end."


def test_another_slide_stops_the_reading_of_the_last(
    controller: SlideController, viewer: ViewerModel, jobs: StepJobs
) -> None:
    opened(viewer, Case("first.svs"))
    opened(viewer, Case("second.svs", shape=(100, 100)))
    cancelled = [job.cancel.is_set() for _, _, job in jobs.held]
    assert cancelled == [True, False]
    jobs.let_run()
    assert controller.pictures.overview is None
    jobs.let_run()
    assert controller.pictures.overview is not None
    assert controller.pictures.overview.shape == (100, 100, 3)


def test_an_overview_is_small_and_true() -> None:
    image = np.zeros((3000, 1500, 3), np.uint8)
    image[:1500] = (250, 10, 20)
    slide = ArraySlide(image)
    shown = overview(slide, read_small_levels(slide))
    assert shown.shape == (SIDE, SIDE // 2, 3)
    np.testing.assert_array_equal(
        shown[: SIDE // 2 - 2], np.broadcast_to((250, 10, 20), (SIDE // 2 - 2, 320, 3))
    )
    np.testing.assert_array_equal(shown[SIDE // 2 + 2 :], 0)
    tiny = ArraySlide(np.full((3, 5, 3), 9, np.uint8))
    np.testing.assert_array_equal(overview(tiny, read_small_levels(tiny)), np.full((3, 5, 3), 9))


def test_an_overview_of_channels_adds_their_colours() -> None:
    values = np.zeros((100, 100, 2), np.uint16)
    values[:50, :, 0] = 3000
    values[:, :50, 1] = 900
    channels = (Channel("red", (255, 0, 0)), Channel("green", (0, 255, 0)))
    slide = channel_slide(values, channels=channels)
    shown = overview(slide, read_small_levels(slide))
    corners = [tuple(shown[y, x]) for y, x in ((0, 0), (0, 99), (99, 0), (99, 99))]
    assert corners == [(255, 255, 0), (255, 0, 0), (0, 255, 0), (0, 0, 0)]


def test_an_overview_is_sharp_where_the_coarsest_level_is_a_stamp() -> None:
    image = np.zeros((2000, 2000, 3), np.uint8)
    image[::, 1000:] = 255
    slide = ArraySlide(image, image[::40, ::40])
    shown = overview(slide, read_small_levels(slide))
    assert shown.shape == (SIDE, SIDE, 3)
    assert set(np.unique(shown[:, : SIDE // 2 - 2])) == {0}


@pytest.fixture
def told() -> Iterator[list[str]]:
    messages: list[str] = []

    def note(notification: Any) -> None:
        messages.append(notification.message)

    notification_manager.notification_ready.connect(note)
    yield messages
    notification_manager.notification_ready.disconnect(note)


def test_a_pixel_size_is_given_once_and_kept(
    controller: SlideController, viewer: ViewerModel, tmp_path: Path
) -> None:
    path = tmp_path / "field.tif"
    import tifffile

    tifffile.imwrite(path, np.full((512, 512, 3), 200, np.uint8), photometric="rgb", tile=(256, 256))
    with open_slide(path) as slide:
        layer = opened(viewer, slide)
        assert controller.state.asks_pixel_size
        controller.give_pixel_size(0.25)
        assert tuple(layer.scale) == (0.25, 0.25)
        assert dict(controller.state.facts)["Pixel size"] == "0.25 µm (given by you)"
    with open_slide(path) as again:
        assert (again.mpp, again.mpp_given) == ((0.25, 0.25), True)
        viewer.layers.clear()
        assert tuple(opened(viewer, again).scale) == (0.25, 0.25)
        assert controller.state.pixel_size == 0.25


def test_an_answer_that_cannot_be_kept_holds_for_now(
    controller: SlideController,
    viewer: ViewerModel,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "napari-lumen").touch()  # where a folder should be
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    layer = opened(viewer, Case("case.svs", mpp=None))
    controller.give_pixel_size(0.25)
    assert tuple(layer.scale) == (0.25, 0.25)
    assert len(told) == 1
    assert told[0].startswith("The pixel size cannot be kept")


def test_an_absurd_pixel_size_changes_nothing(
    controller: SlideController, viewer: ViewerModel, told: list[str]
) -> None:
    layer = opened(viewer, Case("case.svs", mpp=None))
    controller.give_pixel_size(0.0001)
    assert tuple(layer.scale) == (1, 1)
    assert controller.state.pixel_size is None
    assert len(told) == 1


def test_closing_lets_go(controller: SlideController, viewer: ViewerModel, jobs: StepJobs) -> None:
    controller.close()
    controller.close()
    assert jobs.closed
    opened(viewer, Case("case.svs"))
    viewer.scene.camera.zoom = 9
    assert controller.state.slide is None
    assert not jobs.held
