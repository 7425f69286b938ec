"""Memory that was freed goes back to the system: what a training leaves, the next one can have."""

from __future__ import annotations

import ctypes
import gc
import sys

LARGE_BLOCK_BYTES = 8_000_000  # of which a batch's activations have dozens; smaller ones are worth keeping
RETURN_MEMORY_STEPS = 20  # often enough that little piles up, seldom enough to cost little time


def release_memory(collect: bool = True) -> None:
    """Hand freed memory back to the system; glibc would keep it, and it would creep up with each batch.

    From the first call on, blocks above `LARGE_BLOCK_BYTES` go back as soon as they are freed: between
    batches of different lengths, glibc would leave holes of their sizes. With `collect`, what only cycles
    of references keep alive is freed first; that takes a moment: not for every step.
    """
    if collect:
        gc.collect()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):  # other C libraries have neither
            libc.mallopt(-3, LARGE_BLOCK_BYTES)  # M_MMAP_THRESHOLD
            libc.malloc_trim(0)
