"""One bwtop records at a time; once it has ended, however it ended, another can."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bwtop.sqlite.lock import Lock, holder, lock_path
from tests.build import HOSTILE
from tests.history.others import as_nobody, needs_root

_HOLDER = """
import sys
from pathlib import Path
from bwtop.sqlite.lock import Lock
lock = Lock(Path(sys.argv[1]), 0o600)
print(lock.take(sys.argv[2]), lock.holder(), flush=True)
sys.stdin.read()
"""
"""A program that takes the lock, reports the result, and ends when its standard input does."""


@contextmanager
def process(path: Path, who: str = "bwtop (pid 7)") -> Iterator[tuple[int, str]]:
    """Start another process that tries to take the lock; return (its pid, its answer)."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, path, who],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout
        yield child.pid, child.stdout.readline().strip()


@contextmanager
def taken(path: Path, who: str = "bwtop (pid 7)") -> Iterator[Lock]:
    lock = Lock(path, 0o600)
    try:
        assert lock.take(who)
        yield lock
    finally:
        lock.close()


def test_asking_makes_no_file(path: Path) -> None:
    assert holder(path) is None
    assert holder(path / "below" / "a.db") is None
    assert not lock_path(path).exists()


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_lock_has_the_databases_permissions(path: Path, mode: int) -> None:
    Lock(path, mode).close()
    assert lock_path(path).stat().st_mode & 0o777 == mode


def test_second_one_in_the_same_process_cannot_take_it(path: Path) -> None:
    with taken(path, "first") as first:
        second = Lock(path, 0o600)
        assert not second.take("second")
        assert second.holder() == "first"
        assert first.holder() is None, "a holder does not see itself"
        second.close()
        assert holder(path) == "first", "and closing it lets go of nothing"


def test_other_process_is_seen_while_it_lives(path: Path) -> None:
    with process(path, "the other") as (_, said):
        assert said == "True None"
        assert holder(path) == "the other"
        lock = Lock(path, 0o600)
        assert not lock.take("me")
        assert lock.holder() == "the other"
        lock.close()
    assert holder(path) is None


def test_killed_process_holds_nothing(path: Path) -> None:
    with process(path, "one that is killed") as (pid, _):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert lock_path(path).read_text() == "one that is killed"
        assert holder(path) is None
        with taken(path, "next"):
            assert holder(path) == "next", "and nothing of the longer text before"


def test_programs_that_are_started_do_not_hold_it(path: Path) -> None:
    with taken(path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert holder(path) is None
    finally:
        child.kill()
        child.wait()


@needs_root
def test_read_only_user_can_ask(public: Path) -> None:
    with taken(public / "history.db", "root's"):
        lock_path(public / "history.db").chmod(0o644)
        as_nobody(lambda: holder(public / "history.db"), "root's")


def test_unreadable_lock_has_no_holder(path: Path) -> None:
    lock_path(path).symlink_to(lock_path(path).name)  # a loop: root may read anything else
    assert holder(path) is None


def test_lock_is_not_made_where_a_link_points(path: Path, tmp_path: Path) -> None:
    """In a world-writable directory, another user may have created the link."""
    precious = tmp_path / "precious"
    precious.write_text("text")
    lock_path(path).symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        Lock(path, 0o600)
    assert precious.read_text() == "text"


def test_directory_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "missing" / "history.db", 0o600)


@pytest.mark.parametrize("text", [*HOSTILE, "\0" * 300, " \n ", "é" * 150])
def test_any_text_is_a_holder_name(path: Path, text: str) -> None:
    """It is cut to the length of a line, and escaped where it is shown."""
    with taken(path, text):
        found = holder(path)
        assert found
        assert len(found) <= 200
        assert found.encode(), "no surrogates"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x80", b"x" * 100_000])
def test_any_lock_content_is_a_holder_name(path: Path, content: bytes) -> None:
    lock_path(path).write_bytes(content)
    assert holder(path) is None
    with taken(path):
        lock_path(path).write_bytes(content)
        found = holder(path)
        assert found
        assert len(found) <= 200
        assert found == "another bwtop" or content
