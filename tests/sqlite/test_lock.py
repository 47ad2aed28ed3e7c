"""One bwtop records at a time; once it has ended, however it ended, another can."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bwtop.sqlite.lock import Lock, holder, lock_path
from tests.build import HOSTILE

_HOLDER = """
import sys
from pathlib import Path
from bwtop.sqlite.lock import Lock
lock = Lock(Path(sys.argv[1]), 0o600)
print(lock.take(sys.argv[2]), lock.holder(), flush=True)
sys.stdin.read()
"""
"""Takes the lock, says how that went, and ends when nobody talks to it any more."""


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@contextmanager
def process(database: Path, who: str = "bwtop (pid 7)") -> Iterator[tuple[int, str]]:
    """Start another process that tries to take the lock; return (its pid, its answer)."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, database, who],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout
        yield child.pid, child.stdout.readline().strip()


@contextmanager
def taken(database: Path, who: str = "bwtop (pid 7)") -> Iterator[Lock]:
    lock = Lock(database, 0o600)
    try:
        assert lock.take(who)
        yield lock
    finally:
        lock.close()


def test_missing_lock_has_no_holder(database: Path) -> None:
    assert holder(database) is None
    assert holder(database / "below" / "a.db") is None
    assert not lock_path(database).exists(), "asking makes no file"


def test_lock_lies_beside_the_database(database: Path) -> None:
    with taken(database):
        assert lock_path(database) == database.with_name("history.db.lock")
        assert lock_path(database).exists()
        assert not database.exists()


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_lock_has_the_databases_permissions(database: Path, mode: int) -> None:
    Lock(database, mode).close()
    assert lock_path(database).stat().st_mode & 0o777 == mode


def test_second_process_cannot_take_it_and_reads_who_holds_it(database: Path) -> None:
    with taken(database, "bwtop --record (pid 42)"):
        with process(database) as (_, said):
            assert said == "False bwtop --record (pid 42)"
        assert holder(database) == "bwtop --record (pid 42)", "and did not write over it"


def test_second_one_in_the_same_process_cannot_take_it(database: Path) -> None:
    with taken(database, "first"):
        second = Lock(database, 0o600)
        assert not second.take("second")
        assert second.holder() == "first"
        second.close()
        assert holder(database) == "first", "and closing it lets go of nothing"


def test_other_process_is_seen_while_it_lives(database: Path) -> None:
    with process(database, "the other") as (_, said):
        assert said == "True None"
        assert holder(database) == "the other"
        lock = Lock(database, 0o600)
        assert not lock.take("me")
        assert lock.holder() == "the other"
        lock.close()
    assert holder(database) is None


def test_holder_does_not_see_itself(database: Path) -> None:
    with taken(database) as lock:
        assert lock.holder() is None


def test_killed_process_holds_nothing(database: Path) -> None:
    with process(database, "one that is killed") as (pid, _):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert lock_path(database).read_text() == "one that is killed"
        assert holder(database) is None
        with taken(database, "next"):
            assert holder(database) == "next", "and nothing of the longer text before"


def test_closing_lets_go(database: Path) -> None:
    with taken(database):
        pass
    assert holder(database) is None
    with process(database) as (_, said):
        assert said == "True None"


def test_programs_that_are_started_do_not_hold_it(database: Path) -> None:
    with taken(database):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert holder(database) is None
    finally:
        child.kill()
        child.wait()


def test_asking_for_the_holder_takes_no_lock(database: Path) -> None:
    """Not even while the answer is read."""
    asking = Lock(database, 0o600)
    assert asking.holder() is None
    with taken(database, "me"):
        assert asking.holder() == holder(database) == "me"
        assert asking.holder() == "me"
    assert asking.holder() is None
    asking.close()


def test_asking_closes_what_it_opened(database: Path) -> None:
    with taken(database):
        before = os.listdir("/proc/self/fd")
        for _ in range(10):
            assert holder(database)
        assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
def test_read_only_user_can_ask() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are not for others
        os.chmod(name, 0o755)
        database = Path(name, "history.db")
        with taken(database, "root's"):
            lock_path(database).chmod(0o644)
            child = os.fork()
            if not child:
                status = 1
                try:
                    os.setresuid(65534, 65534, 65534)
                    status = 0 if holder(database) == "root's" else 2
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_unreadable_lock_has_no_holder(database: Path) -> None:
    lock_path(database).symlink_to(lock_path(database).name)  # a loop: root may read anything else
    assert holder(database) is None


def test_lock_is_not_made_where_a_link_points(database: Path, tmp_path: Path) -> None:
    """In a world-writable directory, another user may have created the link."""
    precious = tmp_path / "precious"
    precious.write_text("text")
    lock_path(database).symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        Lock(database, 0o600)
    assert precious.read_text() == "text"


def test_directory_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "missing" / "history.db", 0o600)


@pytest.mark.parametrize("text", [*HOSTILE, "\0" * 300, " \n ", "é" * 150])
def test_any_text_is_a_holder_name(database: Path, text: str) -> None:
    """It is cut to the length of a line, and escaped where it is shown."""
    with taken(database, text):
        found = holder(database)
        assert found
        assert len(found) <= 200
        assert found.encode(), "no surrogates"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x80", b"\x00" * 5000, b"x" * 100_000])
def test_any_lock_content_is_a_holder_name(database: Path, content: bytes) -> None:
    lock_path(database).write_bytes(content)
    assert holder(database) is None
    with lock_path(database).open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _write_lock())
        found = holder(database)
        assert found
        assert len(found) <= 200
        assert found == "another bwtop" or content


def _write_lock() -> bytes:
    return fcntl.F_WRLCK.to_bytes(2, "little") + bytes(30)
