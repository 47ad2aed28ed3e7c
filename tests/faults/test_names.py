"""Name services that do not answer hold up no interval and no end."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.running import HANG, Bwtop, Document

pytestmark = pytest.mark.kernel

HERE = Path(__file__).parent

ROOM = """
ip link set lo up && ip link add far type veth peer name end && ip addr add 192.0.2.1/24 dev far && ip link set far up || exit
mount --make-rprivate / && mount --bind "$1/resolv.conf" /etc/resolv.conf || exit
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf || exit
[ ! -e "$1/lib" ] || mount -t overlay -o "lowerdir=$1/lib:$2" overlay "$2" || exit
shift 2 && exec "$@"
"""
"""A network of its own, with the name services of a folder."""

SENDER = """
import socket, time
for number in range(600):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes(100), (f"192.0.2.{2 + number % 8}", 9))
    time.sleep(0.05)
"""

STRETCHED = 2.5
"""Seconds: no interval of 0.2 s is that long on any machine but by waiting for an answer, which took 3 to 60."""


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """Return the folder with the name services."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:3 attempts:2\n")
    (tmp_path / "nsswitch.conf").write_text("passwd: files slow\nhosts: files dns\n")
    return tmp_path


@contextmanager
def room(services: Path, *flags: str) -> Iterator[Bwtop]:
    """Yield a bwtop with a network of its own and these name services."""
    libraries = next(Path("/usr/lib").glob("*-linux-gnu"))
    prefix = ["unshare", "--mount", "--net", "sh", "-c", ROOM, "sh", services, libraries]
    with Bwtop(*flags, prefix=list(map(str, prefix)), resolve=True) as running:
        yield running


@contextmanager
def inside(running: Bwtop, command: Sequence[str], until: str = "") -> Iterator[None]:
    """Run a command in the network of a bwtop."""
    enter = ["nsenter", "--net", "--target", str(running.process.pid)]
    with subprocess.Popen([*enter, *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            if until:
                assert process.stdout.readline() == until
            yield
        finally:
            process.terminate()


@contextmanager
def resolver(running: Bwtop, mode: str) -> Iterator[None]:
    """Run a name server."""
    with inside(running, [sys.executable, str(HERE / "resolver.py"), mode], "ready\n"):
        yield


def sender(uid: int = 0) -> list[str]:
    """Return the command of a process that sends to eight remotes for half a minute."""
    return ["setpriv", f"--reuid={uid}", "--clear-groups", "/usr/bin/python3", "-c", SENDER]


def entries(documents: Sequence[Document]) -> list[Document]:
    """Return the remotes of the test's network."""
    return [
        remote
        for document in documents
        for process in document["processes"]
        for remote in process["remotes"]
        if remote["addr"].startswith("192.0.2.")
    ]


def await_documents(running: Bwtop, seconds: float) -> list[Document]:
    """Return what was measured in so many seconds."""
    count = len(running.documents)
    time.sleep(seconds)
    running.settle()
    return running.documents[count:]


def longest(documents: Sequence[Document]) -> float:
    """Return the length of the longest interval, in seconds."""
    return max(float(document["interval"]) for document in documents)


@pytest.mark.parametrize("mode", ["never", "late", "garbage"])
def test_a_faulty_resolver_holds_up_nothing(services: Path, mode: str) -> None:
    with room(services) as running, resolver(running, mode), inside(running, sender()):
        documents = await_documents(running, 5.0)
        assert longest(documents) < STRETCHED
        remotes = entries(documents)
        assert remotes
        named = {remote["host"] for remote in remotes if remote["host"]}
        assert all(name.endswith(".name.example") for name in named)
        assert bool(named) == (mode == "late")
        before = time.monotonic()
        assert running.stop(signal.SIGTERM) == 0
        assert time.monotonic() - before < 10.0


def test_a_dead_resolver_is_told_once_and_asked_again_later(services: Path) -> None:
    (services / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    with room(services) as running, inside(running, sender()):
        with resolver(running, "never"):
            deadline = time.monotonic() + HANG
            while not any("name server does not answer" in line for line in running.messages):
                assert time.monotonic() < deadline, running.messages
                time.sleep(0.1)
        running.settle()
        assert sum("name server" in line for line in running.messages) == 1


@pytest.mark.parametrize("count", [3])
def test_slow_user_names_hold_up_nothing_and_come_later(services: Path, count: int) -> None:
    (services / "lib").mkdir()
    library = services / "lib/libnss_slow.so.2"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", library, HERE / "slow_nss.c"], check=True, timeout=HANG
    )
    with room(services) as running:
        with (
            inside(running, sender(70001)),
            inside(running, sender(70002)),
            inside(running, sender(70003)),
        ):
            first = await_documents(running, 1.5)
            later = await_documents(running, 8.0)
        assert longest([*first, *later]) < STRETCHED
    wanted = set(range(70001, 70001 + count))
    assert users(first) == {(uid, None) for uid in wanted}
    assert {(uid, f"slow-{uid}") for uid in wanted} <= users(later)


def users(documents: Sequence[Document]) -> set[tuple[int, str | None]]:
    """Return the uids of the senders with their names."""
    return {
        (process["uid"], process["user"])
        for document in documents
        for process in document["processes"]
        if process["uid"] and 70000 <= process["uid"] < 80000
    }
