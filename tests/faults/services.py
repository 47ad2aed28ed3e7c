"""Name services of the test's own: a network, a resolver and user names for one bwtop."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.kernel.running import HANG, Bwtop, Document

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
for number in range(6000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes(100), (f"192.0.2.{2 + number % 8}", 9))
    time.sleep(0.05)
"""


def configure(folder: Path) -> Path:
    """Write the configuration of name services to a folder, and return it."""
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:3 attempts:2\n")
    (folder / "nsswitch.conf").write_text("passwd: files slow\nhosts: files dns\n")
    return folder


def make_users_slow(folder: Path) -> None:
    """Add a module that takes 3 s for each user to the name services of a folder."""
    (folder / "lib").mkdir()
    library = folder / "lib/libnss_slow.so.2"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", library, HERE / "slow_nss.c"], check=True, timeout=HANG
    )


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
    """Return the command of a process that sends to eight remotes for five minutes."""
    return ["setpriv", f"--reuid={uid}", "--clear-groups", "/usr/bin/python3", "-c", SENDER]


class Running(Protocol):
    """A bwtop whose intervals are read."""

    @property
    def documents(self) -> list[Document]:
        """Return the intervals so far."""

    def settle(self) -> None:
        """Wait for an interval that began after now."""


def await_documents(
    running: Running,
    seconds: float,
    is_enough: Callable[[Sequence[Document]], object] = lambda _: True,
) -> list[Document]:
    """Return what was measured in so many seconds, or in more until it is enough."""
    count = len(running.documents)
    time.sleep(seconds)
    running.settle()
    deadline = time.monotonic() + HANG
    while not is_enough(running.documents[count:]):
        assert time.monotonic() < deadline
        running.settle()
    return running.documents[count:]


def longest(documents: Sequence[Document]) -> float:
    """Return the length of the longest interval, in seconds."""
    return max(float(document["interval"]) for document in documents)
