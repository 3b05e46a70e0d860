"""Freed memory goes back to the system."""

import gc
import sys
import weakref
from pathlib import Path

import pytest
import torch

from spillover.memory import peak_bytes, release_freed_memory, start_peak


def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the C heap is asked through glibc")
def test_holes_in_the_heap_are_given_back():
    # Blocks below glibc's threshold for its own mappings, every second one freed: 64 MiB of holes.
    blocks = [torch.ones(2**14) for _ in range(2048)]
    before = resident_mib()
    del blocks[::2]
    release_freed_memory()
    assert resident_mib() < before - 40


def test_models_held_by_cycles_only_are_dropped_on_request():
    class Holder:
        pass

    gc.disable()
    try:
        holder = Holder()
        holder.itself = holder
        seen = weakref.ref(holder)
        del holder
        release_freed_memory()
        assert seen() is not None
        release_freed_memory(collect=True)
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_the_peak_is_what_was_held_since_the_start_not_before():
    large = torch.ones(100 * 2**18)  # 100 MiB
    del large
    release_freed_memory()
    start_peak()
    low = peak_bytes()
    held = torch.ones(50 * 2**18)
    del held
    release_freed_memory()
    grown = (peak_bytes() - low) / 2**20
    assert 45 < grown < 70
    start_peak()
    assert peak_bytes() < low + 20 * 2**20
