"""Definitions for the C code about the functions that it hooks: their arguments, from the kernel's own prototypes."""

import os
from collections.abc import Collection, Iterator
from typing import Final

from bwtop.capture.backends import HOOKS
from bwtop.capture.btf import Kernel, MissingFieldError

_REGISTERS: Final = {
    "x86_64": ("14,13,12,11,9", 10),  # di, si, dx, cx, r8; ax
    "aarch64": ("0,1,2,3,4", 0),  # x0 to x4; x0
}
"""The indices of a function's first five arguments and of its result in struct pt_regs, in words (asm/ptrace.h)."""


_FLAGS: Final = {"TCP_RECVMSG_FLAGS": "tcp_recvmsg", "UDP_RECVMSG_FLAGS": "udp_recvmsg"}
"""Functions whose flags are the fourth argument, or before 5.19 the fifth."""


def unknown_machine() -> str:
    """Return why kprobes cannot read arguments on this machine, as a text for the user; empty if they can."""
    machine = os.uname().machine
    if machine in _REGISTERS:
        return ""
    return f"bwtop does not know the registers of {machine}, only of {' and '.join(_REGISTERS)}"


def definitions(kernel: Kernel, refused: Collection[str]) -> Iterator[str]:
    """Yield the compiler's arguments; `refused` are functions that cannot be hooked.  Raises MissingFieldError."""
    registers, result = _REGISTERS.get(os.uname().machine, ("0,0,0,0,0", 0))
    yield f"-DREGISTERS={registers}"
    yield f"-DRESULT={result}"
    yield "-DARGUMENTS=5"
    yield f"-DCALLS={len(HOOKS)}"
    for number, hook in enumerate(HOOKS):
        yield f"-DCALL_{hook.function}={number}"
        yield f"-DARGS_{hook.function}={len(_parameters(kernel, hook.function))}"
    for macro, function in _FLAGS.items():
        parameters = _parameters(kernel, function)
        if "flags" not in parameters:
            raise MissingFieldError(f"the flags of {function}")
        yield f"-D{macro}={parameters.index('flags')}"
    by_call = {"udp_send_skb", "udp_v6_send_skb"} & set(refused)
    yield f"-DUDP_BY_CALL={int(bool(by_call))}"
    yield f"-DSPLICE_IS_OUTSIDE={int('sock_splice_read' not in refused)}"


def _parameters(kernel: Kernel, name: str) -> tuple[str, ...]:
    """Return the names of a function's parameters; none if the kernel has no such function to hook."""
    try:
        return kernel.function(name).parameters
    except MissingFieldError:
        return ()
