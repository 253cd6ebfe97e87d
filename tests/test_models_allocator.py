"""Memory that is kept between tiles."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A network's memory, taken and freed as for tile after tile; prints the page faults that this cost.
CHILD = """
import resource, threading
import torch
from napari_lumen.models.allocator import memory_kept

def tile():
    layers = [torch.ones(2 << 20) for _ in range(4)]  # 8 MiB each

def faults(tiles):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(tiles):
        tile()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def work():
    tile()
    print(faults(10))
    with memory_kept():
        tile()
        print(faults(10))

torch.set_num_threads(1)
thread = threading.Thread(target=work)  # as in the window
thread.start()
thread.join()
print(open("/proc/self/statm").read().split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has what is tested")
def test_tiles_use_the_memory_of_those_before_and_leave_none_behind() -> None:
    shown = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout
    before, kept, pages = map(int, shown.split())
    assert kept < before / 2
    assert pages * 4096 < 600 << 20
