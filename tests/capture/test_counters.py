"""Reading of counters, on the running kernel; tests/kernel/test_ids.py takes ids away while bytes move."""

import os
import socket

import pytest

from bwtop.capture import bulk, libbpf
from bwtop.capture.counters import IDLE, IDS_PER_BLOCK
from tests.kernel.running import capturing, run, sent, sink
from tests.processes import descriptors_of

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("is_mapped", [True, False])
def test_flows_are_read_and_rest(is_mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on kernels that map no arrays into memory (before 5.5), where each flow is read by itself.

    There are more flows of the test than other traffic of this machine may have.
    """
    if not is_mapped:
        monkeypatch.setattr(bulk, "can_be_mapped", lambda: False)
    flows, mine = 60 * IDS_PER_BLOCK, 20 * IDS_PER_BLOCK

    def send(size: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(mine):
                sock.sendto(bytes(size), (f"127.0.{2 + number // 250}.{number % 250 + 1}", port))

    with sink() as port, capturing(flows=flows, processes=1024) as capture:
        before = descriptors_of("anon_inode:bpf")
        assert before
        for size in (101, 103):
            pid = run(lambda size=size: send(size))  # type: ignore[misc]
            samples = [capture.read()]
            assert capture.fill.entries >= mine
            assert descriptors_of("anon_inode:bpf") == before, (
                "a process may have few, and bwtop many blocks"
            )
            samples += [capture.read() for _ in range(2 * IDLE)]
            assert sent(samples, pid) == mine * size
            assert capture.fill.entries < mine
        assert capture.fill.room == 2 * flows


def test_process_that_moves_on_while_its_last_id_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids become scarce by another process, so there are two passes; it sends between them."""
    push, sizes = libbpf.push, [5]

    def flood() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(4 * IDS_PER_BLOCK):
                sock.sendto(b"x", (f"127.0.3.{number % 250 + 1}", port + number // 250))

    def give_back(map_: int, value: bytes) -> None:
        push(map_, value)
        if sizes:
            own.sendto(bytes(sizes.pop()), ("127.0.0.1", port))

    with (
        sink() as port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
        capturing(flows=60 * IDS_PER_BLOCK, processes=1024) as capture,
    ):
        capture.counters.at_once = IDS_PER_BLOCK
        samples = []
        for size in (101, 53):
            own.sendto(bytes(size), ("127.0.0.1", port))
            samples.append(capture.read())
            run(flood)
            monkeypatch.setattr(libbpf, "push", give_back)
        samples += [capture.read() for _ in range(3)]
        assert not sizes
        assert sent(samples, os.getpid()) == 101 + 53 + 5
