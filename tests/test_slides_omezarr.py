"""OME-Zarr slides: written by zarr itself, read from a folder and through a web server."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from zarr.core.sync import sync
from zarr.storage import LocalStore

from napari_lumen.errors import SlideError
from napari_lumen.slides import Channel, open_slide
from napari_lumen.slides.cache import TileCache
from napari_lumen.slides.location import located
from napari_lumen.slides.omezarr import OmeZarrSlide

Array = npt.NDArray[Any]


def noise(*shape: int, dtype: npt.DTypeLike = np.uint8, seed: int = 0) -> Array:
    top = min(np.iinfo(np.dtype(dtype)).max, 60000) if np.dtype(dtype).kind in "ui" else 1
    values = np.random.default_rng(seed).uniform(0, top, shape)
    return values.astype(dtype)


def write_image(
    folder: Path,
    *levels: Array,
    axes: str = "cyx",
    version: str = "0.5",
    mpp: float | None = 0.25,
    unit: str | None = "micrometer",
    omero: Any = None,
    chunk: int = 128,
    own: Any = None,
    **layout: Any,
) -> Path:
    """Write an OME-Zarr image as the specification says, by hand."""
    root = zarr.create_group(str(folder), zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for index, level in enumerate(levels):
        chunks = tuple(
            min(chunk, side) if axis in "yx" else 1 for axis, side in zip(axes, level.shape, strict=True)
        )
        array = root.create_array(f"s{index}", shape=level.shape, chunks=chunks, dtype=level.dtype, **layout)
        array[...] = level
        steps = {
            axis: levels[0].shape[axes.index(axis)] / level.shape[axes.index(axis)] * (mpp or 1)
            for axis in "yx"
        }
        scale = [float(steps.get(axis, 1.0)) for axis in axes]
        datasets.append(
            {"path": f"s{index}", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    kinds = {"t": "time", "c": "channel"}
    described = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in described:
        if axis["type"] == "space" and unit is not None and mpp is not None:
            axis["unit"] = unit
    multiscales: dict[str, Any] = {"name": "field", "axes": described, "datasets": datasets}
    attributes: dict[str, Any] = {"multiscales": [multiscales]}
    if omero is not None:
        attributes["omero"] = omero
    if version == "0.5":
        root.attrs["ome"] = {"version": version, **attributes}
    else:
        multiscales["version"] = version
        root.attrs.update(attributes)
    if own is not None:
        root.attrs["napari_lumen"] = own
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the test's folder on this machine; yields its URL."""

    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # it waits 40 ms between head and body

        def log_message(self, *_: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{web.server_address[1]}"
    web.shutdown()
    web.server_close()


def assert_one_sentence(error: SlideError, name: str) -> None:
    message = str(error)
    assert name in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 300


# ---------------------------------------------------------------------------------------------------------
# Pixels and geometry


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("axes", "lead"), [("cyx", (3,)), ("tczyx", (1, 3, 1)), ("czyx", (3, 1))])
def test_three_channels_of_8_bits_are_a_colour_picture(
    tmp_path: Path, version: str, axes: str, lead: tuple[int, ...]
) -> None:
    levels = [noise(*lead, 301, 403), noise(*lead, 151, 202, seed=1)]
    folder = write_image(tmp_path / "rgb.ome.zarr", *levels, axes=axes, version=version)
    with open_slide(folder) as slide:
        assert slide.is_rgb
        assert [level.shape for level in slide.levels] == [(301, 403), (151, 202)]
        assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2)]
        assert slide.mpp == pytest.approx((0.25, 0.25))
        assert slide.properties["version"] == version
        for index, values in enumerate(levels):
            expected = values.reshape(3, *values.shape[-2:]).transpose(1, 2, 0)
            found = slide.read(0, 0, *slide.levels[index].shape, level=index)
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(
            slide.read(120, 250, 20, 9),
            levels[0].reshape(3, 301, 403)[:, 120:140, 250:259].transpose(1, 2, 0),
        )


def test_channels_may_come_last(tmp_path: Path) -> None:
    image = noise(140, 260, 3)
    with open_slide(write_image(tmp_path / "last.zarr", image, axes="yxc")) as slide:
        assert slide.is_rgb
        np.testing.assert_array_equal(slide.read(0, 0, 140, 260), image)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32", "bool"])
def test_channels_keep_their_names_colours_and_range(tmp_path: Path, dtype: str) -> None:
    image = noise(2, 200, 300, dtype=dtype) if dtype != "bool" else noise(2, 200, 300) > 128
    omero = {"channels": [{"label": "DAPI", "color": "0000FF"}, {"label": "CD3", "color": "FF8000"}]}
    version = "0.4" if dtype == ">u2" else "0.5"  # Zarr 3 knows the order of bytes as a codec only
    folder = write_image(tmp_path / "fl.zarr", image, omero=omero, version=version)
    with open_slide(folder) as slide:
        assert slide.channels == (Channel("DAPI", (0, 0, 255)), Channel("CD3", (255, 128, 0)))
        found = slide.read(-2, 0, 202, 300)
        assert found.dtype == slide.dtype
        assert slide.dtype.isnative
        expected = image * np.uint8(255) if dtype == "bool" else image
        np.testing.assert_array_equal(found[2:], expected.transpose(1, 2, 0))
        assert not found[:2].any()


@pytest.mark.parametrize(
    ("omero", "is_rgb"),
    [
        (None, True),
        ({"channels": [{}, {}, {}]}, True),
        ({"channels": [{"color": c} for c in ("FF0000", "00FF00", "0000FF")]}, True),
        ({"channels": [{"label": c, "color": "FFFFFF"} for c in ("R", "G", "B")]}, True),
        ({"channels": [{"label": c, "color": "FFFFFF"} for c in ("DAPI", "CD3", "CD8")]}, False),
        ({"channels": [{"color": c} for c in ("0000FF", "00FF00", "FF0000")]}, False),
        ({"channels": "broken"}, True),
    ],
)
def test_what_omero_says_of_three_channels_decides(tmp_path: Path, omero: Any, is_rgb: bool) -> None:
    with open_slide(write_image(tmp_path / "three.zarr", noise(3, 64, 64), omero=omero)) as slide:
        assert slide.is_rgb is is_rgb


@pytest.mark.parametrize("omero", [None, {"channels": [{}, {}, {}]}])
def test_three_channels_of_which_nothing_is_stated_are_a_colour_picture_when_light(
    tmp_path: Path, omero: Any
) -> None:
    stained = np.clip(noise(3, 300, 300).astype(int) // 2 + 110, 0, 255).astype(np.uint8)
    glowing = noise(3, 300, 300) // 4
    with open_slide(write_image(tmp_path / "light.zarr", stained, omero=omero)) as slide:
        assert slide.is_rgb
    with open_slide(write_image(tmp_path / "dark.zarr", glowing, glowing[:, ::2, ::2], omero=omero)) as slide:
        assert [channel.name for channel in slide.channels] == ["channel 1", "channel 2", "channel 3"]
        np.testing.assert_array_equal(slide.read(0, 0, 300, 300), glowing.transpose(1, 2, 0))


def test_a_dark_colour_picture_that_says_so_stays_one(tmp_path: Path) -> None:
    omero = {"channels": [{"label": name} for name in ("Red", "Green", "Blue")]}
    with open_slide(write_image(tmp_path / "said.zarr", noise(3, 64, 64) // 8, omero=omero)) as slide:
        assert slide.is_rgb


def test_where_the_coarsest_level_cannot_be_looked_at_three_channels_are_a_colour_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dark = noise(3, 64, 64) // 8
    folder = write_image(tmp_path / "unread.zarr", dark, dark)
    (folder / "s1" / "c" / "0" / "0" / "0").write_bytes(b"no chunk")
    with open_slide(folder) as slide:
        assert slide.is_rgb
    monkeypatch.setattr("napari_lumen.slides.omezarr_values._LARGEST_CHUNK", 1000)
    with open_slide(write_image(tmp_path / "vast.zarr", dark)) as slide:
        assert slide.is_rgb


def test_a_single_plane_is_one_channel(tmp_path: Path) -> None:
    image = noise(90, 80, dtype=np.uint16)
    with open_slide(write_image(tmp_path / "plane.zarr", image, axes="yx")) as slide:
        assert len(slide.channels) == 1
        np.testing.assert_array_equal(slide.read(0, 0, 90, 80)[..., 0], image)


@pytest.mark.parametrize(
    ("unit", "scale", "mpp"),
    [("micrometer", 0.5, 0.5), ("nanometer", 500, 0.5), ("millimeter", 0.0005, 0.5), ("µm", 0.5, 0.5)],
)
def test_the_pixel_size_is_in_micrometres_whatever_the_unit(
    tmp_path: Path, unit: str, scale: float, mpp: float
) -> None:
    with open_slide(write_image(tmp_path / "unit.zarr", noise(3, 64, 64), mpp=scale, unit=unit)) as slide:
        assert slide.mpp == pytest.approx((mpp, mpp))


def test_without_a_unit_the_pixel_size_is_unknown(tmp_path: Path) -> None:
    with open_slide(write_image(tmp_path / "silent.zarr", noise(3, 64, 64), unit=None)) as slide:
        assert slide.mpp is None


def test_a_scale_of_the_whole_image_counts_too(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "both.zarr", noise(3, 64, 64), mpp=2.0)
    root = zarr.open_group(str(folder))
    ome = dict(root.attrs["ome"])
    ome["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [1.0, 0.25, 0.125]}]
    root.attrs["ome"] = ome
    with open_slide(folder) as slide:
        assert slide.mpp == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize("rgb", [True, False])
def test_missing_chunks_are_the_fill_value(tmp_path: Path, rgb: bool) -> None:
    image = noise(3, 256, 256) if rgb else noise(2, 256, 256, dtype=np.uint16)
    fill = 255 if rgb else 7
    image[:, :128, 128:] = fill
    folder = write_image(tmp_path / "sparse.zarr", image, fill_value=fill)
    assert not (folder / "s0" / "c" / "0" / "0" / "1").exists()
    with open_slide(folder) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 256, 256), image.transpose(1, 2, 0))


def test_sharded_and_oddly_chunked_arrays_are_read(tmp_path: Path) -> None:
    image = noise(3, 300, 700)
    sharded = write_image(tmp_path / "sharded.zarr", image, chunk=64, shards=(1, 256, 256))
    tall = write_image(tmp_path / "tall.zarr", image, chunk=1000)
    for folder in (sharded, tall):
        with open_slide(folder) as slide:
            np.testing.assert_array_equal(slide.read(0, 0, 300, 700), image.transpose(1, 2, 0))
            assert min(slide.levels[0].tile) >= 256


def test_the_largest_image_of_a_bioformats2raw_folder_is_the_slide(tmp_path: Path) -> None:
    root = zarr.create_group(str(tmp_path / "raw.zarr"), zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    tissue, label = noise(3, 300, 200), noise(3, 40, 30, seed=1)
    write_image(tmp_path / "raw.zarr" / "0", label, version="0.4")
    write_image(tmp_path / "raw.zarr" / "1", tissue, version="0.4")
    (tmp_path / "raw.zarr" / "OME").mkdir()
    (tmp_path / "raw.zarr" / "OME" / "METADATA.ome.xml").write_text(
        '<OME><Image ID="Image:0" Name="label image"/><Image ID="Image:1" Name="x.svs"/></OME>'
    )
    with open_slide(tmp_path / "raw.zarr") as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 300, 200), tissue.transpose(1, 2, 0))
        assert list(slide.associated) == ["label"]
        np.testing.assert_array_equal(slide.associated["label"], label.transpose(1, 2, 0))


def test_eight_threads_read_what_one_reads_and_a_closed_slide_says_so(tmp_path: Path) -> None:
    image = noise(3, 700, 900)
    slide = OmeZarrSlide(write_image(tmp_path / "busy.zarr", image), TileCache(1 << 20))
    places = [(int(y), int(x)) for y, x in np.random.default_rng(3).integers(0, 600, (40, 2))]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: slide.read(*place, 97, 131), places))
    for (y, x), pixels in zip(places, found, strict=True):
        np.testing.assert_array_equal(pixels, image[:, y : y + 97, x : x + 131].transpose(1, 2, 0))
        pixels[:] = 0  # what is handed out is the reader's own
    slide.close()
    slide.close()
    with pytest.raises(SlideError, match="closed"):
        slide.read(0, 0, 8, 8)


def test_a_chunk_is_decoded_once_and_its_tiles_go_when_the_slide_closes(tmp_path: Path) -> None:
    cache = TileCache(64 << 20)
    folder = write_image(tmp_path / "once.zarr", noise(3, 512, 512), chunk=256)
    with OmeZarrSlide(folder, cache) as slide:
        first = slide.read(0, 0, 512, 512)
        held = cache.nbytes
        assert held == 512 * 512 * 3
        for file in (folder / "s0" / "c").rglob("*"):
            if file.is_file():
                file.unlink()
        np.testing.assert_array_equal(slide.read(0, 0, 512, 512), first)
    assert cache.nbytes == 0


# ---------------------------------------------------------------------------------------------------------
# URLs


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_url_is_read_like_the_folder(tmp_path: Path, server: str, version: str) -> None:
    image = noise(3, 500, 700)
    image[:, :256, :256] = 0  # of missing chunks
    levels = (image, image[:, ::2, ::2])
    folder = write_image(tmp_path / "far away.ome.zarr", *levels, version=version, chunk=256)
    url = f"{server}/far%20away.ome.zarr"
    with open_slide(folder) as near, open_slide(url) as far:
        assert far.path.name.endswith(".ome.zarr")
        assert [level.shape for level in far.levels] == [(500, 700), (250, 350)]
        assert far.mpp == near.mpp
        np.testing.assert_array_equal(far.read(0, 0, 500, 700), image.transpose(1, 2, 0))
        np.testing.assert_array_equal(far.dask_levels()[1].compute(), near.dask_levels()[1].compute())
        assert far.fingerprint == near.fingerprint
        with open_slide(far.path) as again:  # a Path has swallowed one slash
            assert again.fingerprint == far.fingerprint


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("https://host/a/b.zarr/", "https://host/a/b.zarr"),
        (Path("https://host/a/b.zarr"), "https://host/a/b.zarr"),
        ("s3://bucket/b.zarr", "s3://bucket/b.zarr"),
        ("C:/slides/b.svs", Path("C:/slides/b.svs")),
        ("a:/b", Path("a:/b")),
        ("~/b.svs", Path.home() / "b.svs"),
        ("b.svs", Path("b.svs")),
        ("file:///tmp/a%20b.zarr", Path("/tmp/a b.zarr")),
    ],
)
def test_paths_and_urls_are_told_apart(given: str | Path, found: str | Path) -> None:
    assert located(given) == found


def test_a_file_url_is_that_folder(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "own.zarr", noise(3, 64, 64))
    with open_slide(folder.as_uri()) as slide:
        assert slide.path == folder


def test_anything_that_fsspec_knows_is_read(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    folder = write_image(tmp_path / "memory.zarr", noise(3, 64, 64))
    memory = fsspec.filesystem("memory")
    for file in folder.rglob("*"):
        if file.is_file():
            memory.pipe(f"/lumen-test/{file.relative_to(folder)}", file.read_bytes())
    try:
        with open_slide("memory://lumen-test") as far, open_slide(folder) as near:
            np.testing.assert_array_equal(far.read(0, 0, 64, 64), near.read(0, 0, 64, 64))
    finally:
        memory.rm("/lumen-test", recursive=True)


def test_what_cannot_be_reached_is_told_in_a_sentence(tmp_path: Path, server: str) -> None:
    dead = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    port = dead.server_address[1]
    dead.server_close()
    for url, part in (
        (f"http://127.0.0.1:{port}/gone.zarr", "cannot be reached"),
        (f"{server}/absent.zarr", "no OME-Zarr image"),
        ("nonsense://bucket/x.zarr", "cannot be reached"),
        (f"{server}/slide.svs", "Download the file"),
    ):
        with pytest.raises(SlideError, match=part) as caught:
            open_slide(url)
        assert_one_sentence(caught.value, url.rpartition("/")[2])


def test_a_busy_server_is_asked_again_and_forbidden_is_missing(tmp_path: Path) -> None:
    image = noise(3, 256, 256)
    image[:, :128, :128] = 0
    folder = write_image(tmp_path / "busy.zarr", image)
    refused: set[str] = set()

    class Busy(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if "/c/" in self.path and self.path not in refused:
                refused.add(self.path)
                self.send_error(503)
            elif not Path(self.translate_path(self.path)).exists():
                self.send_error(403)
            else:
                super().do_GET()

    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Busy, directory=str(tmp_path)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        with open_slide(f"http://127.0.0.1:{web.server_address[1]}/{folder.name}") as slide:
            np.testing.assert_array_equal(slide.read(0, 0, 256, 256), image.transpose(1, 2, 0))
        assert len(refused) == 12
    finally:
        web.shutdown()
        web.server_close()


# ---------------------------------------------------------------------------------------------------------
# What cannot be read


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the attributes of a version 0.5 image."""
    file = folder / "zarr.json"
    content = json.loads(file.read_text())
    change(content["attributes"])
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda f: (f / "zarr.json").write_text('{"zarr_format": 3, "node'), "broken Zarr metadata"),
        (lambda f: (f / "s0" / "zarr.json").write_text("{"), "broken Zarr metadata at level 0"),
        (lambda f: (f / "zarr.json").unlink(), "no Zarr group"),
        (lambda f: (f / "s1" / "zarr.json").unlink(), "lacks level 1"),
        (lambda f: edit(f, lambda a: a.pop("ome")), "no multiscales"),
        (lambda f: edit(f, lambda a: a["ome"]["multiscales"][0].pop("datasets")), "'datasets' is missing"),
        (lambda f: edit(f, lambda a: a["ome"].update(multiscales=3)), "cannot be understood"),
        (lambda f: edit(f, lambda a: a["ome"]["multiscales"][0]["axes"].pop()), "no picture of rows"),
        (lambda f: edit(f, lambda a: a["ome"]["multiscales"][0]["axes"].pop(0)), "cannot be understood"),
        (lambda f: edit(f, lambda a: a.update(ome={"plate": {}})), "is a plate"),
        (lambda f: (f / "run.json").write_text("{}"), "is a finished run"),
        (
            lambda f: (f / "s0" / "zarr.json").write_text(
                (f / "s0" / "zarr.json").read_text().replace('"zstd"', '"nonesuch"')
            ),
            "nonesuch",
        ),
    ],
)
def test_a_spoiled_image_is_refused_in_a_sentence(
    tmp_path: Path, spoil: Callable[[Path], object], part: str
) -> None:
    folder = write_image(tmp_path / "spoiled.zarr", noise(3, 64, 64), noise(3, 32, 32))
    spoil(folder)
    with pytest.raises(SlideError, match=part) as caught:
        open_slide(folder)
    assert_one_sentence(caught.value, "spoiled.zarr")


def test_a_bare_array_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "image.zarr", noise(3, 64, 64))
    (tmp_path / "empty.zarr").mkdir()
    for place, part in ((folder / "s0", "single Zarr array"), (tmp_path / "empty.zarr", "no Zarr group")):
        with pytest.raises(SlideError, match=part) as caught:
            open_slide(place)
        assert_one_sentence(caught.value, place.name)


def test_a_stack_and_text_are_refused(tmp_path: Path) -> None:
    stack = write_image(tmp_path / "stack.zarr", noise(2, 1, 3, 64, 64), axes="tczyx")
    with pytest.raises(SlideError, match=r"stack along t \(2\) and z \(3\)") as caught:
        open_slide(stack)
    assert_one_sentence(caught.value, "stack.zarr")
    numbers = write_image(tmp_path / "complex.zarr", np.zeros((3, 8, 8), np.complex64))
    with pytest.raises(SlideError, match="complex64"):
        open_slide(numbers)


def test_a_run_of_ours_is_named_as_one(tmp_path: Path) -> None:
    run = tmp_path / "nuclei run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(SlideError, match="finished run") as caught:
        open_slide(run)
    assert_one_sentence(caught.value, "nuclei run")


def test_a_damaged_chunk_is_named_and_hatched_and_leaves_the_others_readable(tmp_path: Path) -> None:
    image = noise(3, 512, 512)
    folder = write_image(tmp_path / "hole.zarr", image, chunk=256)
    chunk = folder / "s0" / "c" / "1" / "0" / "1"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with open_slide(folder) as slide:
        with pytest.raises(SlideError, match="level 0, tile row 0, column 1") as caught:
            slide.read(0, 0, 512, 512)
        assert_one_sentence(caught.value, "hole.zarr")
        np.testing.assert_array_equal(slide.read(256, 0, 256, 512), image[:, 256:].transpose(1, 2, 0))
        with pytest.warns(UserWarning, match="hatched"):
            shown = slide.dask_levels()[0].compute()
        np.testing.assert_array_equal(shown[:, :256], image[:, :, :256].transpose(1, 2, 0))
        assert set(np.unique(shown[:256, 256:])) == {168, 208}


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.EACCES, "may not be read at level 0"), (errno.EIO, "cannot be read at level 0")],
)
def test_a_chunk_that_may_not_be_read_is_told_as_that_and_nothing_of_the_read_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    folder = write_image(tmp_path / "locked.zarr", noise(3, 256, 256), chunk=64)
    read = LocalStore.get

    async def locked(store: LocalStore, key: str, *rest: Any, **more: Any) -> Any:
        if key.endswith("c/0/0/0"):
            raise OSError(number, os.strerror(number), key)
        await asyncio.sleep(0.05)
        return await read(store, key, *rest, **more)

    async def left() -> int:
        return len(asyncio.all_tasks() - {asyncio.current_task()})

    with open_slide(folder) as slide:
        monkeypatch.setattr(LocalStore, "get", locked)
        with pytest.raises(SlideError, match=told) as caught:
            slide.read(0, 0, 256, 256)
        assert sync(left()) == 0  # a process that ends now has nothing to complain of
        assert_one_sentence(caught.value, "locked.zarr")
        assert "damaged" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        monkeypatch.setattr(LocalStore, "get", read)
        assert slide.read(0, 0, 256, 256).shape == (256, 256, 3)


def test_an_absurd_pixel_size_is_unknown(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "absurd.zarr", noise(3, 64, 64), mpp=1e6)
    with pytest.warns(UserWarning, match="which no slide has"):
        slide = open_slide(folder)
    assert slide.mpp is None


@pytest.mark.parametrize("layout", [{"version": "0.4"}, {"shards": (1, 256, 256)}, {"compressors": None}])
def test_the_fingerprint_goes_by_what_is_stored_not_by_the_place(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    image = np.zeros((1, 1024, 1024), np.uint16)  # dark in the middle, as most of fluorescence is
    image[:, 100:200] = noise(1, 100, 1024, dtype=np.uint16)
    levels = [image, image[:, ::2, ::2] * 0]
    one = write_image(tmp_path / "one.zarr", *levels, **layout)
    same = shutil.copytree(one, tmp_path / "same.zarr")
    other = write_image(tmp_path / "other.zarr", image[:, ::-1], levels[1], **layout)
    with open_slide(one) as a, open_slide(same) as b, open_slide(other) as c:
        assert a.fingerprint == b.fingerprint != c.fingerprint


def test_an_image_that_is_gone_says_so(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "gone.zarr", noise(3, 64, 64))
    with open_slide(folder) as slide:
        shutil.rmtree(folder)
        with pytest.raises(SlideError, match="can no longer be read") as caught:
            _ = slide.fingerprint
        assert_one_sentence(caught.value, "gone.zarr")


def test_the_pixel_size_is_that_of_the_finest_level_wherever_it_is_listed(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "coarse-first.zarr", noise(3, 64, 64), noise(3, 32, 32))
    edit(folder, lambda a: a["ome"]["multiscales"][0]["datasets"].reverse())
    with open_slide(folder) as slide:
        assert slide.shape == (64, 64)
        assert slide.mpp == pytest.approx((0.25, 0.25))


def test_sides_that_no_slide_has_are_refused(tmp_path: Path) -> None:
    folder = write_image(tmp_path / "endless.zarr", noise(3, 64, 64))
    metadata = folder / "s0" / "zarr.json"
    metadata.write_text(metadata.read_text().replace("64", "70000000", 1))
    with pytest.raises(SlideError, match="which no slide has") as caught:
        open_slide(folder)
    assert_one_sentence(caught.value, "endless.zarr")


def test_metadata_that_may_not_be_read_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_image(tmp_path / "locked.zarr", noise(3, 64, 64))

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zarr, "open_group", refused)
    with pytest.raises(SlideError, match="cannot be read: Permission denied") as caught:
        open_slide(folder)
    assert_one_sentence(caught.value, "locked.zarr")


def test_shards_are_read_from_a_server_that_knows_no_ranges(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(3, 512, 512)
    write_image(tmp_path / "sharded.zarr", image, chunk=64, shards=(1, 512, 512))
    with open_slide(f"{server}/sharded.zarr") as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 512, 512), image.transpose(1, 2, 0))
    monkeypatch.setattr("napari_lumen.slides.omezarr_remote._LARGEST_WHOLE", 1000)
    with (
        open_slide(f"{server}/sharded.zarr") as slide,
        pytest.raises(SlideError, match="the server knows no ranges") as caught,
    ):
        slide.read(0, 0, 512, 512)
    assert_one_sentence(caught.value, "sharded.zarr")


def test_opening_is_silent(tmp_path: Path, server: str) -> None:
    write_image(tmp_path / "quiet.zarr", noise(3, 64, 64), version="0.4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_slide(f"{server}/quiet.zarr") as slide:
            slide.read(0, 0, 64, 64)
