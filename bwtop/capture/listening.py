"""The kernel's support for listening for names of remotes, and the definitions that bpf/listen.h needs for it."""

import mmap
import platform
from collections.abc import Iterator
from typing import Final, NamedTuple

from bwtop.capture.btf import Kernel, MissingFieldError
from bwtop.capture.linking import LISTEN_CALL

RING_BYTES: Final = 1 << 20
"""The size of the ring; HEARD_BYTES in C."""

TASK_PT_REGS: Final = 175
"""The helper bpf_task_pt_regs(), which tracing programs may call from 5.15 on."""


class _Machine(NamedTuple):
    """The places of a system call's number and arguments in struct pt_regs, and the numbers of the calls."""

    number: str
    second: str
    third: str
    calls: tuple[int, ...]
    """In the order of CALLS."""
    offsets: tuple[int, int] = (0, 0)
    """Bytes from the fields `second` and `third` to the arguments."""


CALLS: Final = (
    *("READ", "WRITE", "READV", "WRITEV", "SENDTO", "RECVFROM"),
    *("SENDMSG", "RECVMSG", "RECVMMSG", "SENDMMSG"),
)

_MACHINES: Final = {
    "x86_64": _Machine("orig_ax", "si", "dx", (0, 1, 19, 20, 44, 45, 46, 47, 299, 307)),
    "aarch64": _Machine(
        "syscallno", "regs", "regs", (63, 64, 65, 66, 206, 207, 211, 212, 243, 269), (8, 16)
    ),
}
"""arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h."""


def definitions(kernel: Kernel) -> Iterator[str]:
    """Yield the compiler's arguments for programs that listen; raises MissingFieldError."""
    name = platform.machine()
    machine = _MACHINES.get(name)
    if machine is None:
        raise MissingFieldError(f"the system calls of {name}")
    places = (
        kernel.field(f"pt_regs.{machine.number}").offset,
        kernel.field(f"pt_regs.{machine.second}").offset + machine.offsets[0],
        kernel.field(f"pt_regs.{machine.third}").offset + machine.offsets[1],
    )
    for macro, place in zip(("NUMBER", "SECOND", "THIRD"), places, strict=True):
        yield f"-DREGS_{macro}={place}"
    for call, number in zip(CALLS, machine.calls, strict=True):
        yield f"-DNR_{call}={number}"
    yield f"-DPAGE_SIZE={mmap.PAGESIZE}"  # BCC's macro of a ring asks for it
    yield f"-DHEARD_PAGES={RING_BYTES // mmap.PAGESIZE}"
    yield f"-DLISTEN_CALL={LISTEN_CALL}"
    yield "-DNAMES"
