"""Every network namespace that a process or a mount keeps is entered once."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bwtop.capture import namespaces
from bwtop.capture.namespaces import RefusedNamespaceError, in_each

pytestmark = pytest.mark.kernel

NAME = f"bwtop-test-{os.getpid()}"


@pytest.fixture
def mounted() -> Iterator[int]:
    """Yield the inode of a namespace that only a mount keeps."""
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    yield Path(f"/run/netns/{NAME}").stat().st_ino
    subprocess.run(["ip", "netns", "delete", NAME], check=True)


@pytest.fixture
def inhabited() -> Iterator[int]:
    """Yield the inode of a namespace that only a process keeps."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; read -r _"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield Path(f"/proc/{process.pid}/ns/net").stat().st_ino


def here() -> int:
    return Path("/proc/self/ns/net").stat().st_ino


def test_each_is_entered_once_and_left(mounted: int, inhabited: int) -> None:
    own, seen = here(), list[int]()
    in_each(lambda: seen.append(here()))
    assert here() == own == seen[0]
    assert {mounted, inhabited} <= set(seen)
    assert len(seen) == len(set(seen))


def test_what_cannot_be_entered_is_said_after_the_others(
    inhabited: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(namespaces, "_set", refuse)
    seen = list[int]()
    with pytest.raises(RefusedNamespaceError, match="entered: Operation not permitted"):
        in_each(lambda: seen.append(here()))
    assert seen == [here()] != [inhabited]
