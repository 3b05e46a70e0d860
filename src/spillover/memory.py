"""Gives memory that was freed back to the operating system, and says how much was held at most.

Batches of many widths leave the C heap full of holes, which glibc keeps: over a training or a
generation of some minutes the process grows to twice what it holds.
"""

import ctypes
import gc
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROCESS = Path("/proc/self")


def release_freed_memory(*, collect: bool = False) -> None:
    """Return free pages of the C heap to the system; where glibc is not the C library, do nothing.

    Args:
        collect: First drop what only reference cycles hold, such as a model no longer in use.
    """
    if collect:
        gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # Not in musl.
        if trim is not None:
            trim(0)


def start_peak() -> None:
    """Begin to watch the most memory held, of this process and of its GPU, if it uses one.

    Only Linux tells it of a process; elsewhere, and where the system forbids it, `peak_bytes` says
    that it is unknown or that of the process's whole life.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            (_PROCESS / "clear_refs").write_text("5")  # Resets VmHWM.
    cuda = _cuda()
    if cuda is not None:
        cuda.reset_peak_memory_stats()


def peak_bytes() -> int | None:
    """Return the most memory held since `start_peak`: resident in main memory, plus on the GPU.

    Returns:
        Bytes; None where the system does not tell.
    """
    if sys.platform != "linux":
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text(), re.MULTILINE)
    if found is None:
        return None
    cuda = _cuda()
    return int(found[1]) * 1024 + (0 if cuda is None else int(cuda.max_memory_allocated()))


def _cuda() -> Any | None:
    """Return torch's CUDA if this process has begun to use it; torch is not imported for it."""
    torch = sys.modules.get("torch")
    return None if torch is None or not torch.cuda.is_initialized() else torch.cuda
