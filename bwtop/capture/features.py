"""The features of the running kernel's BPF, found by loading programs of a few instructions.

They are never derived from a version: distributions backport features.
"""

import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bwtop.capture.btf import Btf, MissingFieldError
from bwtop.capture.libbpf import RefusedError
from bwtop.capture.linking import CAST_CALL, link

NOTHING: Final = bytes.fromhex("b700000000000000 9500000000000000")
"""A program that returns 0 and does nothing else: r0 = 0; exit."""


def unsuited(bits: int = 8 * struct.calcsize("P"), byteorder: str = sys.byteorder) -> str:
    """Return why this Python cannot measure at all, as a text for the user; empty if it can."""
    if (bits, byteorder) == (64, "little"):
        return ""
    return f"this Python is {bits}-bit and {byteorder}-endian; measuring needs 64-bit and little-endian"


@dataclass(frozen=True)
class Trial:
    """A macro for the C code, and the program that decides whether it is defined."""

    macro: str
    instructions: bytes
    when_accepted: bool


SOCKET_STORAGE_GET: Final = 107
"""The helper bpf_sk_storage_get(), which tracing programs may call from 5.11 on."""

TASK_STORAGE_GET: Final = 156
"""The helper bpf_task_storage_get(), which some kinds of programs may not call."""

TRIALS: Final = (
    Trial(
        "TASK_STORAGE",  # 5.11: r0 = bpf_get_current_task_btf(), which came with the storage of tasks
        bytes.fromhex("850000009e000000") + NOTHING,
        when_accepted=True,
    ),
    Trial(
        "NO_KERNEL_READS",  # 5.5: bpf_probe_read_kernel(r10 - 8, 8, 0)
        bytes.fromhex(
            "bfa1000000000000 07010000f8ffffff b702000008000000 b703000000000000 8500000071000000"
        )
        + NOTHING,
        when_accepted=False,
    ),
    Trial(
        "NO_LOOPS",  # 5.3: r0 = 0; do { r0 += 1 } while (r0 < 4); exit
        bytes.fromhex("b700000000000000 0700000001000000 a500feff04000000") + NOTHING,
        when_accepted=False,
    ),
)


def definitions(load: Callable[[bytes], object]) -> Iterator[str]:
    """Yield the compiler's arguments; `load` loads a program of the backend's kind or raises RefusedError."""
    for trial in TRIALS:
        if _is_accepted(load, trial.instructions) is trial.when_accepted:
            yield f"-D{trial.macro}"


CASTS: Final = ("inet_sock", "tcp_sock", "udp_sock")
"""The structures that typed programs cast pointers to, if the kernel can."""


def cast(btf: Btf, load: Callable[[bytes], object]) -> int:
    """Return the BTF id of bpf_rdonly_cast() (6.2), which gives a pointer another type; 0: there is none."""
    try:
        function = btf.function("bpf_rdonly_cast").type_id
        target = btf.structure(CASTS[0])
    except MissingFieldError:
        return 0
    # bpf_rdonly_cast(r10, target)
    call = bytes.fromhex("bfa1000000000000") + struct.pack("<BBhi", 0xB7, 2, 0, target)
    call += struct.pack("<BBhi", 0x85, 0, 0, CAST_CALL)
    return function if _is_accepted(load, link(call + NOTHING, {}, function)) else 0


def cast_definitions(btf: Btf) -> Iterator[str]:
    """Yield the compiler's arguments for a kernel that has a cast."""
    yield f"-DCAST_CALL={CAST_CALL}"
    for structure in CASTS:
        yield f"-DTYPE_{structure}={btf.structure(structure)}"


def _is_accepted(load: Callable[[bytes], object], instructions: bytes) -> bool:
    try:
        load(instructions)
    except RefusedError:
        return False
    return True


def may_call(load: Callable[[bytes], object], helper: int) -> bool:
    """Return True if the programs that `load` loads may call a helper, by its number.

    The kernel checks that before the arguments, which are missing here.
    """
    call = bytes([0x85, 0, 0, 0]) + helper.to_bytes(4, "little")
    try:
        load(call + NOTHING)
    except RefusedError as error:
        return f"#{helper}" not in str(error)
    return True
