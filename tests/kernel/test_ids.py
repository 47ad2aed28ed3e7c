"""Ids of flows are taken away and given again while bytes move, and none is counted twice, not at all, or elsewhere."""

import mmap
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from bwtop.capture.session import Capture
from bwtop.model.flows import Loss
from bwtop.model.sample import Sample
from tests.kernel.conftest import MAY_MISS
from tests.kernel.running import (
    BACKEND,
    HANG,
    PATIENCE,
    Child,
    capturing,
    run,
    run_as,
    sent,
    sent_by_remote,
    sink,
    start,
)

pytestmark = pytest.mark.kernel

IDS = 4096

SECONDS = float(os.environ.get("BWTOP_TEST_SECONDS", "5"))
"""For how long ids are taken away and given again in each test."""


@contextmanager
def shared_words(count: int) -> Iterator[memoryview]:
    """Numbers that forked processes share."""
    yield memoryview(mmap.mmap(-1, 8 * count)).cast("Q")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, so that all tests have the same: where the processor is emulated, compiling takes a minute."""
    return tmp_path_factory.mktemp("programs")


@contextmanager
def capturing_with(cache: Path, at_once: int = IDS // 2) -> Iterator[Capture]:
    """Start a capture that leaves so many ids to flows after each reading."""
    with capturing(flows=IDS // 2, cache=cache) as capture:
        capture.counters.at_once = at_once
        yield capture


def scaled(count: int) -> int:
    """So many, or fewer where it would take long."""
    return int(count / PATIENCE**2)


def exactly(found: object, truth: object, samples: list[Sample]) -> bool:
    """Return whether what was found is the truth, or bwtop says that it has missed something, where that may be."""
    return found == truth or (MAY_MISS and losses(samples).missed_events > 0)


def address(number: int) -> str:
    """One of the addresses of loopback."""
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def connected(number: int, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((address(number), port))
    return sock


def read_until(capture: Capture, done: Callable[[], bool]) -> list[Sample]:
    """Read as fast as it goes until that is so, and once more."""
    samples = []
    deadline = time.monotonic() + SECONDS + HANG
    is_done = False
    while not is_done:
        assert time.monotonic() < deadline
        is_done = done()
        samples.append(capture.read())
        time.sleep(0.01)
    return samples


def for_seconds() -> Callable[[], bool]:
    end = time.monotonic() + SECONDS
    return lambda: time.monotonic() > end


def losses(samples: list[Sample]) -> Loss:
    total = Loss()
    for sample in samples:
        total = total.plus(sample.loss)
    return total


def has_ended(child: Child) -> bool:
    """Return whether it has, and check that it ended well."""
    ended, status = os.waitpid(child.pid, os.WNOHANG)
    assert status == 0
    return bool(ended)


PROCESSES, THREADS, SOCKETS = (4, 16, 500) if PATIENCE == 1 else (2, 4, 50)
"""Of each process, the latter two; fewer where the processor is emulated."""


def test_ids_are_used_again_under_threads(cache: Path) -> None:
    """Threads send on many sockets, of whose flows a fourth or more lose their id with each reading."""
    with shared_words(1 + PROCESSES * THREADS) as words, sink() as port:

        def send(thread: int, sockets: list[socket.socket]) -> None:
            choice, size, count = random.Random(thread), 101 + thread, 0
            while not words[0]:
                for sock in choice.choices(sockets, k=20):
                    sock.send(bytes(size))
                    count += 1
            words[1 + thread] = count * size

        def work(process: int) -> None:
            sockets = [connected(process * SOCKETS + n, port) for n in range(SOCKETS)]
            own = range(process * THREADS, (process + 1) * THREADS)
            threads = [Thread(target=send, args=(number, sockets)) for number in own]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        with capturing_with(cache, PROCESSES * SOCKETS * 3 // 4) as capture:
            children = [start(lambda n=n: work(n)) for n in range(PROCESSES)]  # type: ignore[misc]
            samples = read_until(capture, for_seconds())
            words[0] = 1
            pids = [child.wait() for child in children]
            samples.append(capture.read())
        truth = [sum(words[1 + n * THREADS : 1 + (n + 1) * THREADS]) for n in range(PROCESSES)]
    assert all(truth)
    assert exactly([sent(samples, pid) for pid in pids], truth, samples)
    assert losses(samples).unattributed == 0


def test_socket_used_in_turn_by_two_processes(cache: Path) -> None:
    """They share it by fork(), and each message is whose it is, with an id or without."""
    turns = scaled(5000)
    with sink() as port, capturing_with(cache, 1) as capture:

        def send(sock: socket.socket, size: int, take: int, give: int) -> None:
            for _ in range(turns):
                os.read(take, 1)
                sock.send(bytes(size))
                os.write(give, b"x")

        with connected(1, port) as sock:
            (ours, theirs), (there, back) = os.pipe(), os.pipe()
            first = start(lambda: send(sock, 101, ours, back))
            second = start(lambda: send(sock, 103, there, theirs))
            os.write(theirs, b"x")
            running = {first, second}

            def ended() -> bool:
                running.difference_update([child for child in running if has_ended(child)])
                return not running

            samples = read_until(capture, ended)
        for descriptor in (ours, theirs, there, back):
            os.close(descriptor)
    assert losses(samples).unattributed == 0
    found = [sent(samples, child.pid) for child in (first, second)]
    assert exactly(found, [turns * 101, turns * 103], samples)


@pytest.mark.parametrize("unspecified", [False, True])
def test_socket_connected_again_between_sends(cache: Path, unspecified: bool) -> None:
    """What is sent is its new peer's, though the socket remembers the flow to the old one."""
    peers, rounds = 7, scaled(100_000)
    truth = Counter[str]()
    for number in range(rounds):
        truth[address(number % peers)] += 1 + number % 13

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(rounds):
                if unspecified:
                    sock.connect(("", 0))
                sock.connect((address(number % peers), port))
                sock.send(bytes(1 + number % 13))

    with sink() as port, capturing_with(cache, 4) as capture:
        child = start(send)
        samples = read_until(capture, lambda: has_ended(child))
    assert exactly(sent_by_remote(samples, child.pid), truth, samples)


def test_socket_passed_on_to_a_process_of_the_same_pid(cache: Path) -> None:
    with sink() as port, capturing_with(cache) as capture, connected(1, port) as sock:
        first = run(lambda: sock.send(bytes(101)))
        run_as(first, lambda: sock.send(bytes(103)))
        traffic = capture.read().traffic
    mine = {key: remotes for key, remotes in traffic.items() if key.pid == first}
    assert sorted(t.tx for remotes in mine.values() for t in remotes.values()) == [101, 103]
    assert len({key.start for key in mine}) == 2


def test_a_million_remotes_through_few_ids(cache: Path) -> None:
    """Flows beyond the ids count at the process's unknown remote, and the sum is exact."""
    remotes = scaled(1_000_000)
    with sink() as port, capturing_with(cache) as capture:

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for number in range(remotes):
                    sock.sendto(bytes(1 + number % 7), (address(number), port))

        child = start(send)
        samples = read_until(capture, lambda: has_ended(child))
        assert capture.fill.room == IDS
    found = sent_by_remote(samples, child.pid)
    assert exactly(found.total(), sum(1 + number % 7 for number in range(remotes)), samples)
    assert losses(samples).unattributed == 0
    assert len(found) > IDS or remotes < 10 * IDS, "no id was used twice"
    assert all(found[address(number)] in (0, 1 + number % 7) for number in range(remotes))


@pytest.mark.skipif(BACKEND == "kprobe", reason="the kprobes of both would have the same names")
def test_two_captures_count_the_same(cache: Path) -> None:
    """Each has its own ids, in its own storage of the same sockets."""
    rounds = scaled(20_000)
    with sink() as port, capturing_with(cache) as one, capturing_with(cache, 64) as other:

        def send() -> None:
            sockets = [connected(number, port) for number in range(100)]
            for number in range(rounds):
                sockets[number % 100].send(bytes(1 + number % 100))

        child = start(send)
        few: list[Sample] = []

        def ended() -> bool:
            is_ended = has_ended(child)
            few.append(other.read())
            return is_ended

        samples = read_until(one, ended)
    truth = {address(number): rounds // 100 * (1 + number) for number in range(100)}
    assert exactly(sent_by_remote(samples, child.pid), truth, samples)
    assert exactly(sent_by_remote(few, child.pid), truth, few)
