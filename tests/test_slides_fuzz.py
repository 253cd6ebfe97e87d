"""Damaged slides: whatever a bad disk does to a file, it opens, or says in one sentence why not.

Each slide is damaged 200 times with a fixed seed and opened in another process, which is started again when
it dies, so that the damage that killed it is named and the rest is still tried.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

TIMES = 200
SECONDS = 10  # of work: on a machine that is busy with something else they take longer
STARVED = 180
BYTES = 2 << 30
SLIDES = (
    "CMU-1-Small-Region.svs",
    "CMU-1-Small-Region.dicom",
    "OS-1-detail.ome.tif",
    "OS-2-ndpi.ome.tif",
    "boxes.tiff",
    "jpeg.dicom",
    "jpeg2000.dicom",
    "test3-DAPI-2.ndpi",
    "tissue_mask_pyramid.tif",
    "unopenable.tiff",
    "unreadable.svs",
    "😐.svs",
)
EVIL = (0, 1, 2, 255, 65535, 1 << 16, 1 << 20, 1 << 31, (1 << 32) - 1)

Spans = list[tuple[int, int]]


class Worker:
    """A process that opens one slide after the other, and is replaced when it dies or hangs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def opens(self, path: Path) -> str | None:
        """Return None when a slide was read or refused in a sentence, else what went wrong."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        process.stdin.flush()
        before, until = cpu_seconds(process.pid), time.monotonic() + STARVED
        while not select.select([process.stdout], [], [], 1)[0]:
            if cpu_seconds(process.pid) - before > SECONDS or time.monotonic() > until:
                self.stop()
                return f"it hangs for more than {SECONDS} s"
        answer = process.stdout.readline()
        if not answer:
            code = process.wait()
            self._process = None
            return f"the process died ({code})"
        wrong, peak = json.loads(answer)
        if peak > BYTES:
            self.stop()
            return f"it takes {peak / 1e9:.1f} GB"
        return None if wrong is None else str(wrong)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._process.stdout is not None
            self._process.stdout.readline()  # its imports are done
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


def cpu_seconds(process: int) -> float:
    """Return the seconds of work that a process has done, in all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def headers(path: Path) -> Spans:
    """Return where the structure of a file lies: the directories of a TIFF, else its first kilobytes."""
    spans = [(0, min(16, path.stat().st_size))]
    try:
        with tifffile.TiffFile(path) as tiff:
            size = tiff.tiff.tagsize
            for page in tiff.pages:
                assert isinstance(page, tifffile.TiffPage)
                spans.append((page.offset, page.offset + 2 + size * len(page.tags) + 4))
                spans += [
                    (tag.valueoffset, tag.valueoffset + min(tag.valuebytecount, 64)) for tag in page.tags
                ]
                spans += [(offset, offset + 32) for offset in page.dataoffsets[:4]]
    except (tifffile.TiffFileError, KeyError, IndexError, ValueError):
        spans = [(0, min(8192, path.stat().st_size))]
    return spans


def damaged(data: bytes, spans: Spans, rng: np.random.Generator) -> bytes:
    """Return bytes with one kind of damage, three times in four to the structure."""

    def place() -> int:
        if rng.random() < 0.25:
            return int(rng.integers(0, len(data)))
        start, stop = spans[int(rng.integers(0, len(spans)))]
        return min(int(rng.integers(start, max(stop, start + 1))), len(data) - 1)

    out = bytearray(data)
    kind = rng.choice(["flip", "evil", "cut", "zero"], p=[0.45, 0.3, 0.1, 0.15])
    if kind == "flip":
        for _ in range(int(rng.integers(1, 9))):
            out[place()] ^= int(rng.integers(1, 256))
    elif kind == "evil":
        start = place()
        value = struct.pack("<I", int(rng.choice([*EVIL, len(data)])))
        out[start : start + 4] = value[: len(out) - start]
    elif kind == "cut":
        del out[place() :]
    else:
        start = place()
        length = min(int(2 ** rng.uniform(0, 12)), len(out) - start)
        out[start : start + length] = bytes(length)
    return bytes(out)


def assert_survives(worker: Worker, slide: Path, folder: Path) -> None:
    """Damage a slide, or one file of a slide's folder, again and again, and name what goes wrong."""
    seed = zlib.crc32(slide.name.encode())
    parts = sorted(slide.iterdir()) if slide.is_dir() else [slide]
    contents = [part.read_bytes() for part in parts]
    structures = [headers(part) for part in parts]
    target = folder / slide.name
    if slide.is_dir():
        shutil.copytree(slide, target, copy_function=shutil.copyfile)
        target.chmod(0o755)
    wrong = []
    for index in range(TIMES):
        rng = np.random.default_rng([seed, index])
        which = int(rng.integers(0, len(parts)))
        victim = target / parts[which].name if slide.is_dir() else target
        victim.write_bytes(damaged(contents[which], structures[which], rng))
        if (finding := worker.opens(target)) is not None:
            wrong.append(f"damage {index} of {parts[which].name}: {finding}")
            if keep := os.environ.get("LUMEN_FUZZ_KEEP"):
                shutil.copyfile(victim, Path(keep) / f"{index}-{victim.name}")
        if slide.is_dir():
            victim.write_bytes(contents[which])
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLIDES)
def test_a_damaged_slide_is_read_or_refused_in_a_sentence(
    shared_data: Path, tmp_path: Path, worker: Worker, name: str
) -> None:
    assert_survives(worker, shared_data / "slides" / name, tmp_path)


@pytest.mark.slow
def test_a_damaged_jpeg_pyramid_is_read_or_refused_in_a_sentence(tmp_path: Path, worker: Worker) -> None:
    original = tmp_path / "original" / "jpeg.tif"
    original.parent.mkdir()
    rows, columns = np.ogrid[:600, :700]
    image = np.dstack([(rows + columns) % 256, rows * columns % 251, columns % 256 + rows * 0]).astype(
        np.uint8
    )
    layout = {"tile": (128, 128), "photometric": "ycbcr", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(original) as tiff:
        tiff.write(image, subifds=1, **layout)  # type: ignore[arg-type]
        tiff.write(image[::2, ::2], subfiletype=1, **layout)  # type: ignore[arg-type]
    assert_survives(worker, original, tmp_path)


@pytest.mark.slow
def test_a_damaged_ome_tiff_of_channels_is_read_or_refused_in_a_sentence(
    tmp_path: Path, worker: Worker
) -> None:
    original = tmp_path / "original" / "channels.ome.tif"
    original.parent.mkdir()
    rows, columns = np.ogrid[:500, :400]
    image = np.stack([(rows + columns * step).astype(np.uint16) for step in (1, 2, 3)])
    with tifffile.TiffWriter(original, ome=True, bigtiff=True) as tiff:
        tiff.write(
            image, subifds=1, tile=(128, 128), compression="deflate", predictor=True, metadata={"axes": "CYX"}
        )
        tiff.write(image[:, ::2, ::2], subfiletype=1, tile=(128, 128), compression="lzw")
    assert_survives(worker, original, tmp_path)


def test_the_worker_tells_a_slide_from_one_that_kills_it(tmp_path: Path, worker: Worker) -> None:
    """Without this the tests above would also pass with a worker that opens nothing."""
    path = tmp_path / "whole.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), tile=(32, 32), photometric="rgb")
    assert worker.opens(path) is None
    for order, finding in (("die", "died"), ("raise", "KeyError"), ("hog", "GB")):
        assert finding in str(worker.opens(Path(order)))
    assert worker.opens(path) is None


# ---------------------------------------------------------------------------------------------------------
# The worker


def read_all(path: Path) -> None:
    """Read what napari reads of a slide when it opens it, and what the slide panel does."""
    from napari_lumen.errors import SlideError
    from napari_lumen.slides import open_slide

    with open_slide(path) as slide:
        np.asarray(slide.dask_levels()[-1][:256, :256])  # no more: 2,800 slides are read
        height, width = slide.shape
        for read in (
            lambda: slide.read(height // 2, width // 2, 64, 64),
            *(lambda name=name: slide.associated[name] for name in slide.associated),  # type: ignore[misc]
        ):
            with contextlib.suppress(SlideError):
                read()


def peak_bytes() -> int:
    """Return the most memory that this process has held.

    Not `ru_maxrss`: a process that was forked off a large one begins with that one's.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def serve() -> None:
    """Open the slides that are named on the standard input, one a line."""
    import warnings

    from napari_lumen.errors import SlideError

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (3 * BYTES, 3 * BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        path = Path(json.loads(line))
        wrong = None
        try:
            if path.name == "die":
                os.abort()
            if path.name == "raise":
                raise KeyError(path)
            if path.name == "hog":
                np.ones(BYTES + (64 << 20), np.uint8)
            read_all(path)
        except SlideError as error:
            wrong = f"a sentence of several lines: {error}" if "\n" in str(error) else None
        except BaseException as error:  # whatever else it is
            wrong = f"{type(error).__name__}: {error}"
        peak = peak_bytes()
        print(json.dumps([wrong, peak]), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
