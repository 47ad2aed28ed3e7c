"""Hooks that are not there: the layer around them, or the next one inwards, counts in their place."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from bwtop.capture.attach import Attacher
from bwtop.capture.backends import ABSENT, Backend, Probe, named, suited
from bwtop.capture.features import NOTHING
from bwtop.capture.libbpf import RefusedError
from bwtop.capture.selftest import prove
from bwtop.capture.session import Loading
from bwtop.model.flows import Role, format_address
from tests.kernel.running import BACKEND

pytestmark = pytest.mark.kernel

HOOKS_FUNCTIONS = BACKEND in ("fexit", "kprobe")


def proven(backend: Backend) -> None:
    """Move known bytes in every way, by this process, and compare."""
    capture = Loading([backend]).start()
    try:
        results = list(prove(capture))
        assert [str(result) for result in results if not result.right] == []
    finally:
        capture.close()


@pytest.mark.skipif(not HOOKS_FUNCTIONS, reason="this backend has one layer only")
@pytest.mark.parametrize(
    "missing",
    [
        (
            *("tcp_sendmsg", "tcp_recvmsg", "udp_recvmsg", "udpv6_recvmsg"),
            *("udp_push_pending_frames", "udp_v6_push_pending_frames", "tcp_splice_read"),
        ),
        (
            *("inet_sendmsg", "inet_recvmsg", "inet6_sendmsg", "inet6_recvmsg"),
            "sock_splice_read",
        ),
    ],
    ids=["within", "around"],
)
def test_each_layer_counts_what_the_other_misses(missing: tuple[str, ...]) -> None:
    """As when the kernel skips a program because it interrupted itself, only always."""
    backend = named(BACKEND)
    probes = tuple(probe for probe in backend.probes if probe.target not in missing)
    assert len(probes) == len(backend.probes) - len(missing)
    proven(replace(backend, probes=probes))


def uncork_by_option(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_UDP, 1, 0)  # UDP_CORK


@pytest.mark.skipif(not HOOKS_FUNCTIONS, reason="this backend hooks no functions")
@pytest.mark.parametrize(
    ("end", "size"),
    [
        (uncork_by_option, 51),
        (lambda sock: sock.send(b"x"), 52),
        (lambda sock: sock.send(b""), 51),
    ],
    ids=["option", "byte", "nothing"],
)
def test_corked_datagram_that_was_missed_counts_whole(
    end: Callable[[socket.socket], object], size: int
) -> None:
    """Its last part alone would be one byte, or none."""
    backend = named(BACKEND)
    missing = ("udp_send_skb", "udp_v6_send_skb")
    probes = tuple(probe for probe in backend.probes if probe.target not in missing)
    capture = Loading([replace(backend, probes=probes)]).start()
    try:
        for family, address in (
            (socket.AF_INET, "127.0.3.1"),
            (socket.AF_INET6, "::1"),
            (socket.AF_INET6, "::ffff:127.0.3.2"),
        ):
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.sendto(bytes(20), socket.MSG_MORE, (address, 9))
                sock.send(bytes(31), socket.MSG_MORE)
                end(sock)
        sample = capture.read()
    finally:
        capture.close()
    assert [
        (format_address(remote.address), traffic.tx)
        for process, remotes in sample.traffic.items()
        if process.pid == os.getpid()
        for remote, traffic in sorted(remotes.items(), key=lambda item: -item[0].port)
    ] == [("127.0.3.1", size), ("*", 2 * size)]


@pytest.mark.skipif(not HOOKS_FUNCTIONS, reason="this backend hooks no functions")
def test_a_missed_release_leaves_no_role_to_the_next_socket() -> None:
    """Sockets whose ends nobody sees are answered to; others, in the same memory, ask."""
    backend = named(BACKEND)
    probes = tuple(probe for probe in backend.probes if probe.target != "inet_release")
    assert len(probes) == len(backend.probes) - 1
    capture = Loading([replace(backend, probes=probes)]).start()
    try:
        ports: set[int] = set()
        for _ in range(100):
            spoken_to(ports)
            speaks(ports)
            speaks(ports)
        sample = capture.read()
    finally:
        capture.close()
    roles = {
        (format_address(remote.address), Role(remote.role))
        for process, remotes in sample.traffic.items()
        if process.pid == os.getpid()
        for remote in remotes
    }
    assert {role for address, role in roles if address == "127.0.3.1"} == {Role.SERVER}
    assert {role for address, role in roles if address == "127.0.3.2"} == {Role.CLIENT}


def unnamed(ports: set[int]) -> socket.socket:
    """Return a socket whose port bind() did not name, and which none of these had before: by that sockets are told apart."""
    while True:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        if port not in ports:
            ports.add(port)
            return sock
        sock.close()


def spoken_to(ports: set[int]) -> None:
    """Receive with a socket whose first datagram comes from 127.0.3.1."""
    with unnamed(ports) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.3.1", 0))
        other.sendto(b"x", sock.getsockname())
        sock.recv(1)


def speaks(ports: set[int]) -> None:
    """Send with a socket, to 127.0.3.2 first."""
    with unnamed(ports) as sock:
        sock.sendto(b"x", ("127.0.3.2", 9))


@pytest.mark.skipif(not HOOKS_FUNCTIONS, reason="this backend hooks no functions")
@pytest.mark.parametrize("mode", ["none", "full"])
def test_functions_that_cannot_be_hooked_have_their_fallback(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """As when the compiler has inlined them: UDP counts by call then, and splice() a layer further in.

    That takes all layers, also where one would do.
    """
    inlined = {
        "udp_send_skb",
        "udp_v6_send_skb",
        "udp_push_pending_frames",
        "udp_v6_push_pending_frames",
        "skb_consume_udp",
        "sock_splice_read",
    }
    attacher_try = Attacher.try_

    def refuse(attacher: Attacher, probe: Probe, instructions: bytes = NOTHING) -> None:
        if probe.target in inlined:
            raise RefusedError("inlined")
        attacher_try(attacher, probe, instructions)

    monkeypatch.setattr(Attacher, "try_", refuse)
    capture = Loading([suited(BACKEND, mode)]).start()
    try:
        assert not capture.report.backend.has_one_layer
        assert {reason for reason in capture.report.probes.values() if reason} <= {
            "inlined",
            ABSENT,
        }
        assert sum("inlined" in text for text in capture.report.degradations()) == len(inlined)
        assert [str(result) for result in prove(capture) if not result.right] == []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(101), socket.MSG_MORE, ("127.0.3.1", 9))
            sock.send(bytes(103))
        sample = capture.read()
    finally:
        capture.close()
    flows = [
        traffic.tx
        for process, remotes in sample.traffic.items()
        if process.pid == os.getpid()
        for traffic in remotes.values()
    ]
    assert sum(flows) == 101 + 103
