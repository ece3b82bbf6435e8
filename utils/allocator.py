"""The C library's allocator, set for tensors of tens of megabytes that are made and freed layer by layer."""

import ctypes
import platform

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Lets the process keep what it frees; does nothing where the C library is not glibc.

    By default glibc returns every large block to the system at once, which clears the pages of the next one anew. The
    price is that memory once used stays with the process. `python -m benchmarks.inference` and
    `python -m benchmarks.training` measure its worth.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(M_TOP_PAD, 64 * 2**20)
