"""What the kernel holds of BPF, by its own listing (bpf(2), BPF_*_GET_NEXT_ID)."""

import ctypes

from bwtop.capture.libbpf import library

KINDS = ("prog", "map", "link")


def ids() -> dict[str, set[int]]:
    """The ids of all programs, maps and links, whoever made them."""
    return {kind: _ids(kind) for kind in KINDS}


def _ids(kind: str) -> set[int]:
    next_id = getattr(library(), f"bpf_{kind}_get_next_id")
    found: set[int] = set()
    current = ctypes.c_uint32(0)
    while next_id(current, ctypes.byref(current)) == 0:
        found.add(current.value)
    return found
