"""The backends, the order in which they are tried, and the programs that each one attaches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from bwtop.capture import libbpf, preemption


class Kind(StrEnum):
    """How a program is attached."""

    TRACEPOINT = "raw tracepoint"
    """With typed arguments (BTF)."""
    UNTYPED_TRACEPOINT = "raw tracepoint, untyped"
    ITERATOR = "iterator"
    """Run once, at its place in the order."""
    CGROUP = "cgroup"
    FENTRY = "fentry"
    FEXIT = "fexit"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"
    """Two programs: at the entry, named with _in behind, and at the return."""


ABSENT: Final = "this kernel has none, and needs none"
"""The reason given for a probe that may be absent and is."""


@dataclass(frozen=True)
class Probe:
    """One program and where it goes."""

    program: str
    """The C function's name."""
    kind: Kind
    target: str
    """The name of the tracepoint, cgroup hook or function."""
    attach_type: int = 0
    without: str = ""
    """The loss when this probe is refused, as a sentence for the user; empty: the backend needs it."""
    may_be_absent: bool = False
    """True if some kernels have no such target and need none."""
    is_by_namespace: bool = False
    """True for an iterator that sees one network namespace at a time."""


@dataclass(frozen=True)
class Backend:
    """One way to measure."""

    name: str
    needs: str
    """The requirements for the kernel, as a text for the user."""
    probes: tuple[Probe, ...]
    """In the order in which they are attached; nothing is counted before the last one is."""
    layered: "Backend | None" = None
    """The same with all layers, for a kernel that refuses a probe of this one, which has one layer; None: it has all."""

    @property
    def has_one_layer(self) -> bool:
        """True if one program counts an ordinary message (ONE_LAYER in C): right where none is interrupted."""
        return self.layered is not None

    @property
    def source(self) -> str:
        """The root file of the programs, in bpf/."""
        return f"{self.name}.c"

    @property
    def is_typed(self) -> bool:
        """True if the verifier knows the types of the programs' pointers (TYPED_POINTERS in C)."""
        return self.has(Kind.TRACEPOINT)

    def has(self, *kinds: Kind) -> bool:
        """Return True if a probe is of one of these kinds."""
        return any(probe.kind in kinds for probe in self.probes)


def _peers(program: str, target: str, attach_type: int, direction: str) -> Probe:
    without = f"the peer of unconnected UDP ({direction}) shows as '*'"
    return Probe(program, Kind.CGROUP, target, attach_type, without)


def _connects(program: str, target: str, attach_type: int, version: str) -> Probe:
    without = f"UDP received before connect() shows as the later peer's ({version})"
    return Probe(program, Kind.CGROUP, target, attach_type, without)


@dataclass(frozen=True)
class Hook:
    """A function that the backends `fexit` and `kprobe` hook; bpf/hooks.h has their handlers."""

    function: str
    without: str = ""
    at_entry: bool = False
    may_be_absent: bool = False
    program: str = ""
    """The program, unless its name is bwtop_FUNCTION."""
    layered: bool = True
    """True if it is attached where all layers are."""
    alone: tuple[str, ...] = ("fexit", "kprobe")
    """The backends that attach it where they have one layer."""
    is_needed_alone: bool = False
    """True if with one layer no other hook counts in its place."""


_BY_CALL: Final = (
    "UDP counts by call, datagrams that a cork keeps back too, and under the address given"
)
_AFTER_SPLICE: Final = "datagrams of splice() that announced more than came may not be counted"
_NO_PAGES: Final = "UDP that sendfile() sends is not counted"
_NO_FRAMES: Final = "frames sent through AF_PACKET are not counted"

HOOKS: Final = (
    Hook(
        "inet_release",
        "a new UDP socket may be taken for server or client as a closed one was",
        at_entry=True,
    ),
    Hook("tcp_sendmsg", alone=()),
    Hook("tcp_recvmsg", alone=()),
    Hook("udp_sendmsg", alone=()),
    Hook("udp_recvmsg", alone=()),
    Hook("udpv6_sendmsg", "UDP sent over IPv6 is not counted", alone=()),
    Hook("udpv6_recvmsg", "UDP received over IPv6 is not counted", alone=()),
    Hook("udp_send_skb", _BY_CALL, alone=("fexit",), is_needed_alone=True),
    Hook("udp_v6_send_skb", _BY_CALL, alone=("fexit",), is_needed_alone=True),
    Hook(
        "udp_push_pending_frames",
        "datagrams that setsockopt() uncorks are not counted (IPv4)",
        program="bwtop_udp_push",
        is_needed_alone=True,
    ),
    Hook(
        "udp_v6_push_pending_frames",
        "datagrams that setsockopt() uncorks are not counted (IPv6)",
        program="bwtop_udp_v6_push",
        is_needed_alone=True,
    ),
    Hook("udp_splice_eof", _AFTER_SPLICE, may_be_absent=True),  # 6.5
    Hook("udpv6_splice_eof", _AFTER_SPLICE, may_be_absent=True),
    Hook("ip_append_data", layered=False, alone=("kprobe",), is_needed_alone=True),
    Hook("ip6_append_data", layered=False, alone=("kprobe",), is_needed_alone=True),
    Hook(
        "ip_append_page",  # gone in 6.5
        _NO_PAGES,
        may_be_absent=True,
        layered=False,
        alone=("kprobe",),
        is_needed_alone=True,
    ),
    Hook(
        "skb_consume_udp",
        "received UDP counts by call, cut datagrams as what was read",
        at_entry=True,
        is_needed_alone=True,
    ),
    Hook("inet_sendmsg"),
    Hook("inet_recvmsg"),
    Hook(
        "inet6_sendmsg",
        "raw IP, MPTCP and kernel TLS sent over IPv6 are not counted",
        may_be_absent=True,
        is_needed_alone=True,
    ),  # <5.3
    Hook(
        "inet6_recvmsg",
        "MPTCP and kernel TLS received over IPv6 are not counted",
        may_be_absent=True,
        is_needed_alone=True,
    ),
    Hook("sock_common_recvmsg", "some rare protocols (DCCP, L2TP over IPv6) are not counted"),
    Hook(
        "inet_sendpage", "what sendfile() sends is not counted", may_be_absent=True
    ),  # gone in 6.5
    Hook("sock_splice_read", "splice() out of kernel TLS is not counted"),
    Hook(
        "tcp_splice_read",
        "splice() out of TCP is counted by sock_splice_read alone, or not at all",
    ),
    Hook("tcp_zerocopy_receive", "TCP_ZEROCOPY_RECEIVE is not counted", may_be_absent=True),  # 4.18
    Hook("skb_recv_datagram", "received ICMP and raw IP are not counted"),
    Hook("packet_sendmsg", _NO_FRAMES),
    Hook("packet_sendmsg_spkt", _NO_FRAMES),
)
"""The hooks in the order in which they are attached; the roles of sockets first."""


def _function_probes(entry: Kind, exit_: Kind) -> Iterator[Probe]:
    for hook in HOOKS:
        if hook.layered:
            yield _function_probe(hook, entry if hook.at_entry else exit_, hook.without)


def _one_layer(backend: Backend, entry: Kind, exit_: Kind) -> Backend:
    """Return the backend with one layer."""
    others = (p for p in backend.probes if p.kind not in (entry, exit_))
    hooks = (
        _function_probe(
            hook,
            entry if hook.at_entry else exit_,
            "" if hook.is_needed_alone else hook.without,
        )
        for hook in HOOKS
        if backend.name in hook.alone
    )
    return replace(backend, probes=(*others, *hooks), layered=backend)


def _function_probe(hook: Hook, kind: Kind, without: str) -> Probe:
    program = hook.program or f"bwtop_{hook.function}"
    return Probe(program, kind, hook.function, without=without, may_be_absent=hook.may_be_absent)


def _life_probes(kind: Kind, without: str = "") -> tuple[Probe, ...]:
    """Return the probes for exec, exit and the states of connections; `without` belongs to the last."""
    return (
        Probe("bwtop_exec", kind, "sched_process_exec"),
        Probe("bwtop_exit", kind, "sched_process_exit"),
        Probe("bwtop_state", kind, "inet_sock_set_state", without=without),
    )


_NO_ROLES: Final = "a connection accepted from a listener with a backlog of 0 looks like a client's"

FEXIT: Final = Backend(
    name="fexit",
    needs="kernel 5.5 or newer (arm64: 6.4) with BTF (CONFIG_DEBUG_INFO_BTF) and BPF trampolines"
    " (arm64: CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)",
    probes=(
        *_life_probes(Kind.TRACEPOINT, _NO_ROLES),
        *_function_probes(Kind.FENTRY, Kind.FEXIT),
    ),
)

TRACEPOINT: Final = Backend(
    name="tracepoint",
    needs="kernel 6.3 or newer, with BTF (CONFIG_DEBUG_INFO_BTF); cgroup v2 for the peers of unconnected UDP",
    probes=(
        *_life_probes(Kind.TRACEPOINT),
        _connects("bwtop_connect4", "connect4", libbpf.ATTACH_INET4_CONNECT, "IPv4"),
        _connects("bwtop_connect6", "connect6", libbpf.ATTACH_INET6_CONNECT, "IPv6"),
        _peers("bwtop_sendmsg4", "sendmsg4", libbpf.ATTACH_UDP4_SENDMSG, "sent over IPv4"),
        _peers("bwtop_sendmsg6", "sendmsg6", libbpf.ATTACH_UDP6_SENDMSG, "sent over IPv6"),
        _peers("bwtop_recvmsg4", "recvmsg4", libbpf.ATTACH_UDP4_RECVMSG, "received over IPv4"),
        _peers("bwtop_recvmsg6", "recvmsg6", libbpf.ATTACH_UDP6_RECVMSG, "received over IPv6"),
        Probe("bwtop_adjust", Kind.TRACEPOINT, "tcp_rcv_space_adjust"),
        Probe("bwtop_recv", Kind.TRACEPOINT, "sock_recv_length"),
        Probe("bwtop_send", Kind.TRACEPOINT, "sock_send_length"),
        Probe(
            "bwtop_survey_files",
            Kind.ITERATOR,
            "task_file",
            without="the first splice() from a connection older than bwtop is not counted",
        ),
        Probe(
            "bwtop_survey_tcp",
            Kind.ITERATOR,
            "tcp",
            without="the first splice() from a connection older than bwtop is not counted"
            " if no process held it when bwtop started",
            is_by_namespace=True,
        ),
    ),
)

KPROBE: Final = Backend(
    name="kprobe",
    needs="kernel 4.20 or newer for x86-64 or arm64 with kprobes (CONFIG_KPROBE_EVENTS), and BTF or the kernel's headers",
    probes=(
        *_life_probes(Kind.UNTYPED_TRACEPOINT, _NO_ROLES),
        *_function_probes(Kind.KPROBE, Kind.KRETPROBE),
    ),
)

BACKENDS: Final = (TRACEPOINT, FEXIT, KPROBE)
"""The cheapest first."""


_ONE_LAYER: Final = {
    FEXIT.name: _one_layer(FEXIT, Kind.FENTRY, Kind.FEXIT),
    KPROBE.name: _one_layer(KPROBE, Kind.KPROBE, Kind.KRETPROBE),
}


def in_order(preemption_mode: str) -> tuple[Backend, ...]:
    """Return the backends in the order in which to try them: where programs are interrupted, first what misses least."""
    first = (FEXIT, TRACEPOINT) if preemption.interrupts(preemption_mode) else (TRACEPOINT, FEXIT)
    return tuple(suited(backend.name, preemption_mode) for backend in (*first, KPROBE))


_RXRPC: Final = Path("/sys/module/rxrpc")
"""AFS sends by udp_sendmsg() itself, past the outer layer (net/rxrpc/output.c)."""


def suited(name: str, preemption_mode: str) -> Backend:
    """Return the backend of that name, with one layer where that sees all; raises KeyError."""
    backend = named(name)
    if preemption.interrupts(preemption_mode) or _RXRPC.exists():
        return backend
    return _ONE_LAYER.get(name, backend)


def named(name: str, *, one_layer: bool = False) -> Backend:
    """Return the backend of that name; raises KeyError."""
    backend = {backend.name: backend for backend in BACKENDS}[name]
    return _ONE_LAYER[name] if one_layer else backend
