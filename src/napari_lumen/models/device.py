"""The devices that a network can run on."""

from __future__ import annotations

import torch

from napari_lumen.errors import RunError


def devices() -> list[tuple[str, str]]:
    """Return the devices of this machine as (name, what to show), automatic choice first."""
    found = [
        (f"cuda:{index}", f"GPU, {torch.cuda.get_device_name(index)}")
        for index in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        found.append(("mps", "GPU, Apple Metal"))
    threads = torch.get_num_threads()
    found.append(("cpu", f"CPU, {threads} thread{'s' if threads > 1 else ''}"))
    return [("auto", f"Automatic ({found[0][1]})"), *found]


def resolve_device(name: str) -> torch.device:
    """Return a device by name: ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda:1``, ``mps``.

    Raises
    ------
    RunError
        When this machine has no such device; the message lists those it has.
    """
    known = [known_name for known_name, _ in devices()]
    if name == "auto":
        return torch.device(known[1])
    if name == "cuda" and "cuda:0" in known:
        return torch.device("cuda:0")
    if name in known:
        return torch.device(name)
    raise RunError(
        f"This machine has no device {name!r}; it has {', '.join(known[1:])}. Choose one, or auto."
    )
