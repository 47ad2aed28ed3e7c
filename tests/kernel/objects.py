"""What the kernel holds of BPF: by its own listing (bpf(2), BPF_*_GET_NEXT_ID), and for a process."""

import contextlib
import ctypes
import re
from pathlib import Path

from bwtop.capture.libbpf import library

KINDS = ("prog", "map", "link")


def ids() -> dict[str, set[int]]:
    """Return the ids of all programs, maps and links, whoever made them."""
    return {kind: _ids(kind) for kind in KINDS}


def _ids(kind: str) -> set[int]:
    next_id = getattr(library(), f"bpf_{kind}_get_next_id")
    found: set[int] = set()
    current = ctypes.c_uint32(0)
    while next_id(current, ctypes.byref(current)) == 0:
        found.add(current.value)
    return found


def held(pid: int) -> dict[str, set[int]]:
    """Return the ids of those that a process has descriptors of: /proc/PID/fdinfo."""
    texts = []
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            texts.append(info.read_text())
    text = "".join(texts)
    return {kind: set(map(int, re.findall(rf"^{kind}_id:\t(\d+)$", text, re.M))) for kind in KINDS}
