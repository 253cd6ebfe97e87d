"""What a pickle would call, told from its instructions without following them."""

from __future__ import annotations

import pickletools
import struct
from pathlib import Path

_OF_TENSORS = ("torch", "collections", "_codecs")  # modules that saved tensors name


def names_code(file: Path) -> bool:
    """Whether a file is a bare pickle that names something of another module than tensors do.

    `torch.load` reads old pickles only, so of a newer one it says no more than of a damaged file.
    """
    memory: list[str] = []
    strings: list[str] = []  # pushed one after the other: the last two are what STACK_GLOBAL takes
    try:
        with file.open("rb") as opened:
            for operation, argument, _ in pickletools.genops(opened):
                match operation.name:
                    case "GLOBAL" | "INST":
                        strings = str(argument).split(" ")
                    case "MEMOIZE":
                        memory.append(strings[-1] if strings else "")
                    case "BINGET" | "LONG_BINGET":
                        index = int(argument or 0)
                        strings.append(memory[index] if index < len(memory) else "")
                    case name if "UNICODE" in name:
                        strings.append(str(argument))
                    case "STACK_GLOBAL" | "FRAME":
                        pass
                    case _:
                        strings = []
                if operation.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                    module = strings[-2] if len(strings) > 1 else ""
                    if module.partition(".")[0] not in _OF_TENSORS:
                        return True
                    strings = []
    except (ValueError, OSError, OverflowError, MemoryError, struct.error):  # it is no pickle, or is cut
        return False
    return False
