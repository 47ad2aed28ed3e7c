"""The backends, in the order in which they are tried, and the programs each one attaches."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bwtop.capture import libbpf


class Kind(StrEnum):
    """How a program is attached."""

    TRACEPOINT = "raw tracepoint"
    ITERATOR = "iterator"
    """Run once, at its place in the order."""
    CGROUP = "cgroup"


@dataclass(frozen=True)
class Probe:
    """One program and where it goes."""

    program: str
    """The C function's name."""
    kind: Kind
    target: str
    """The tracepoint's or the cgroup hook's name."""
    attach_type: int = 0
    without: str = ""
    """What is not covered when this probe is refused; empty: the backend is no use without it."""


@dataclass(frozen=True)
class Backend:
    """One way to measure."""

    name: str
    needs: str
    """What a kernel must offer, in words for the user."""
    parts: tuple[str, ...]
    """Files of bpf/ that make up the program, in order."""
    probes: tuple[Probe, ...]
    """In the order in which they are attached; nothing is counted before the last one is."""


def _cgroup(program: str, target: str, attach_type: int, direction: str) -> Probe:
    without = f"the peer of unconnected UDP ({direction}) shows as '*'"
    return Probe(program, Kind.CGROUP, target, attach_type, without)


BACKENDS: Final = (
    Backend(
        name="tracepoint",
        needs="kernel 6.3 or newer, with BTF (CONFIG_DEBUG_INFO_BTF); cgroup v2 for the peers of unconnected UDP",
        parts=("records.h", "identity.h", "typed.h", "account.h", "tracepoint.c"),
        probes=(
            Probe("bwtop_exec", Kind.TRACEPOINT, "sched_process_exec"),
            Probe("bwtop_exit", Kind.TRACEPOINT, "sched_process_exit"),
            Probe("bwtop_state", Kind.TRACEPOINT, "inet_sock_set_state"),
            _cgroup("bwtop_sendmsg4", "sendmsg4", libbpf.ATTACH_UDP4_SENDMSG, "sent over IPv4"),
            _cgroup("bwtop_sendmsg6", "sendmsg6", libbpf.ATTACH_UDP6_SENDMSG, "sent over IPv6"),
            _cgroup("bwtop_recvmsg4", "recvmsg4", libbpf.ATTACH_UDP4_RECVMSG, "received over IPv4"),
            _cgroup("bwtop_recvmsg6", "recvmsg6", libbpf.ATTACH_UDP6_RECVMSG, "received over IPv6"),
            Probe("bwtop_adjust", Kind.TRACEPOINT, "tcp_rcv_space_adjust"),
            Probe("bwtop_recv", Kind.TRACEPOINT, "sock_recv_length"),
            Probe("bwtop_send", Kind.TRACEPOINT, "sock_send_length"),
            Probe(
                "bwtop_survey",
                Kind.ITERATOR,
                "task_file",
                without="the first splice() from a connection older than bwtop is not counted",
            ),
        ),
    ),
)


def named(name: str) -> Backend:
    """The backend of that name; raises KeyError."""
    return {backend.name: backend for backend in BACKENDS}[name]
