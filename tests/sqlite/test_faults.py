"""Faults of writing: each is reported once, no measurement is lost, and recording resumes by itself."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bwtop.sqlite import connections, lock, recorder
from bwtop.sqlite.writer import RecordingOptions
from tests.history.others import NOBODY, needs_root
from tests.history.recording import (
    LONGEST,
    Feed,
    Recorders,
    amount,
    child,
    found,
    intervals,
    is_line,
    is_sound,
    numbered,
    rows,
)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recorders retry soon."""
    monkeypatch.setattr(recorder, "RETRY", 0.1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=64", "bwtop-test", place], check=True
    )
    yield place
    subprocess.run(["umount", place], check=True)


def use_up_files(disk: Path) -> None:
    """Make empty files until the file system takes no more."""
    with contextlib.suppress(OSError):
        for number in range(100):
            (disk / str(number)).touch()


def allow_files(disk: Path, count: int) -> None:
    """Let the file system have this many files from now on."""
    remount(disk, f"nr_inodes={count}")


def remount(disk: Path, option: str) -> None:
    """Change an option of the file system."""
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


def fill(file: Path) -> None:
    """Use up the space of the file system."""
    with file.open("ab", buffering=0) as out:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    out.write(bytes(size))
            except OSError:
                continue


def complete(feed: Feed, path: Path) -> None:
    """Close the recorder, and check that every sample is stored once."""
    feed.recorder.close()
    assert found(path) == feed.expected()
    assert is_sound(path)
    assert feed.slowest < LONGEST


def told(feed: Feed, fault: str, path: Path) -> None:
    """Check that a fault is reported once, and its end once."""
    assert all(is_line(line) for line in feed.lines)
    is_passing = fault.startswith(("the disk", "another program", "No space"))
    kept = "; measurements wait in memory" if is_passing else ""
    assert feed.lines == [f"not recording: {fault}{kept}", f"recording to {path} again"]


def overcome(
    feed: Feed, path: Path, fault: str, mend: Callable[[], object], *, is_lasting: bool = True
) -> None:
    """Check that a recorder has a fault until that is mended, and then records all samples."""
    state = recorder.RecorderState(fault=fault, is_lasting=is_lasting)
    assert feed.recorder.state == state
    feed.put(100)
    time.sleep(0.3)
    assert feed.recorder.state == state
    mend()
    feed.wait()
    complete(feed, path)
    told(feed, fault, path)


# Disks.


@needs_root
def test_disk_full_while_recording(disk: Path, recorders: Recorders) -> None:
    path = disk / "history.db"
    feed = recorders(path)
    feed.put(20)
    feed.wait()
    assert feed.recorder.state == recorder.RecorderState(recording=True)
    fill(disk / "filler")
    feed.until(lambda: feed.recorder.state.fault)
    fault = feed.recorder.state.fault
    assert fault in (f"the disk is full: {path}", f"the disk cannot be read or written: {path}")
    assert not feed.recorder.state.is_lasting
    assert feed.recorder.state.words() == "not recording"
    before = feed.recorder.stored
    for _ in range(30):
        feed.put(10)
        time.sleep(0.01)
    assert is_sound(path), "who reads meanwhile finds what was written"
    assert feed.recorder.stored <= before + 20, "it really is full"
    (disk / "filler").unlink()
    feed.wait()
    complete(feed, path)
    told(feed, fault, path)


@needs_root
@pytest.mark.parametrize("room", [0, 10 * 4096], ids=["no room", "room for files alone"])
def test_disk_full_before_the_tables_are_made(disk: Path, recorders: Recorders, room: int) -> None:
    path = disk / "history.db"
    spare = disk / "spare"
    spare.write_bytes(bytes(room))
    fill(disk / "filler")
    spare.unlink()
    feed = recorders(path)
    state = feed.recorder.state
    assert state.fault.split(": ")[0] in (
        "the disk is full",
        "the disk cannot be read or written",
        "No space left on device",
    )
    assert not state.is_lasting
    feed.put(100)
    (disk / "filler").unlink()
    feed.wait()
    complete(feed, path)
    assert feed.lines[-1] == f"recording to {path} again"


@needs_root
def test_no_more_files_on_the_disk(disk: Path, recorders: Recorders) -> None:
    """The disk gets room for all of bwtop's files at once: room for only one is another, reported fault."""
    path = disk / "history.db"
    use_up_files(disk)
    feed = recorders(path)
    fault = f"No space left on device: {path}"
    overcome(feed, path, fault, lambda: allow_files(disk, 128), is_lasting=False)


@needs_root
def test_read_only_file_system(disk: Path, recorders: Recorders) -> None:
    path = disk / "history.db"
    remount(disk, "ro")
    fault = f"Read-only file system: {path}"
    overcome(recorders(path), path, fault, lambda: remount(disk, "rw"))


@needs_root
def test_disk_that_refuses_writes(tmp_path: Path, recorders: Recorders) -> None:
    """Open files cannot be written, as when a file system becomes read-only after errors."""
    path = tmp_path / "history.db"
    feed = recorders(path)
    feed.put(20)
    feed.wait()
    wal = tmp_path / "history.db-wal"
    made = subprocess.run(["chattr", "+i", wal], capture_output=True, text=True)
    if "not supported" in made.stderr:
        pytest.skip("this file system has no immutable files")
    assert made.returncode == 0, made.stderr
    try:
        feed.until(lambda: feed.recorder.state.fault)
        fault = feed.recorder.state.fault
        assert fault == f"the disk cannot be read or written: {path}"
        for _ in range(30):
            feed.put(10)
            time.sleep(0.01)
    finally:
        subprocess.run(["chattr", "-i", wal], check=True)
    feed.wait()
    complete(feed, path)
    told(feed, fault, path)


@needs_root
def test_read_only_directory(public: Path) -> None:
    path = public / "history.db"
    with child(path, NOBODY) as other:
        state = other.tell("put", 100)
        assert state["fault"] == f"Permission denied: {path}"
        assert state["lasting"]
        time.sleep(0.3)
        other.tell("put", 100)
        assert list(public.iterdir()) == []
        public.chmod(0o777)
        other.until("stored", 200)
        state = other.until("fault", "")
        assert state["slowest"] < LONGEST
        assert len(state["lines"]) == 2
        other.tell("close")
    assert found(path) == {number: amount(number) for number in range(200)}
    assert path.stat().st_uid == NOBODY


def test_directory_that_is_a_file(tmp_path: Path, recorders: Recorders) -> None:
    """Then the recorder creates the directory; other users may not look into it."""
    (tmp_path / "state").write_text("a file")
    path = tmp_path / "state" / "bwtop" / "history.db"
    feed = recorders(path)
    fault = feed.recorder.state.fault
    assert is_line(fault)
    overcome(feed, path, fault, (tmp_path / "state").unlink)
    assert path.parent.stat().st_mode & 0o777 == 0o700


# Files that are something else.


def test_file_that_is_no_database(tmp_path: Path, recorders: Recorders) -> None:
    path = tmp_path / "history.db"
    content = b"no database\n" * 1000
    path.write_bytes(content)
    fault = f"{path} is not a history of bwtop; move it away or choose another with --db"
    feed, empty, away = recorders(path), tmp_path / "empty", tmp_path / "away"
    empty.touch()
    away.hardlink_to(path)
    overcome(feed, path, fault, lambda: empty.replace(path))
    assert away.read_bytes() == content


def test_one_fault_after_another(tmp_path: Path, recorders: Recorders) -> None:
    """Each is reported once."""
    path = tmp_path / "history.db"
    path.write_text("hello")
    feed = recorders(path)
    feed.put(10)
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE mine (text)")
    (tmp_path / "other").replace(path)
    feed.wait(lambda: "another program's" in feed.recorder.state.fault)
    path.unlink()
    feed.wait()
    complete(feed, path)
    assert feed.lines == [
        f"not recording: {path} is not a history of bwtop; move it away or choose another with --db",
        f"not recording: {path} is another program's database; choose another with --db",
        f"recording to {path} again",
    ]


# Others.


@pytest.mark.parametrize("sign", [signal.SIGKILL, None])
def test_one_records_at_a_time(
    sign: signal.Signals | None, path: Path, recorders: Recorders
) -> None:
    """The second goes on measuring, and takes over when the first ends, however it ends."""
    with child(path) as other:
        other.tell("put", 20)
        feed = recorders(path)
        who = f"bwtop (pid {other.process.pid})"
        assert feed.recorder.state == recorder.RecorderState(other=who)
        assert feed.recorder.state.words() == f"recorded by {who}"
        feed.next = 1000
        feed.put(50)
        feed.quiet(50)
        feed.clock.wall += 100  # which is the other's to tell
        feed.put()
        time.sleep(0.3)
        assert feed.recorder.state.other == who
        assert feed.recorder.stored == 0
        other.until("stored", 20)
        if sign:
            other.end(sign)
        else:
            other.tell("close")
        feed.wait(lambda: feed.recorder.state.recording)
        feed.clock.go(1000)
        feed.numbers.clear()
        feed.put(50)
        feed.wait()
        feed.numbers += range(20)
        complete(feed, path)
    assert intervals(path)[20:] == [(1201.0 + n, 1.0) for n in range(50)], "without what it forgot"
    assert rows(path, "SELECT * FROM event") == []
    assert feed.lines == [
        f"not recording: {path} is recorded by {who}",
        f"recording to {path} again",
    ]


def test_slow_reader_holds_up_nothing(tmp_path: Path, recorders: Recorders) -> None:
    path, wal = tmp_path / "history.db", tmp_path / "history.db-wal"
    feed = recorders(path)
    feed.put(10)
    feed.wait()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM interval").fetchone() == (10,)
        for _ in range(300):
            feed.put()
            feed.wait()
        assert reader.execute("SELECT count(*) FROM interval").fetchone() == (10,)
        grown = wal.stat().st_size
        assert grown > 6 << 20
    assert feed.lines == []
    for _ in range(5):
        feed.put()
        feed.wait()
    assert wal.stat().st_size <= 4 << 20
    feed.recorder.close()
    assert not wal.exists()
    complete(feed, path)


def test_another_program_that_holds_the_write_lock(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WAIT", 0.05)
    feed = recorders(path)
    feed.put(10)
    feed.wait()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        feed.until(lambda: feed.recorder.state.fault)
        fault = feed.recorder.state.fault
        assert fault == f"another program has locked the history: {path}"
        assert not feed.recorder.state.is_lasting
        feed.put(200)
        time.sleep(0.3)
        assert feed.recorder.stored == 10
    feed.wait()
    complete(feed, path)
    told(feed, fault, path)


def test_put_does_not_wait_while_the_writing_thread_does(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writing thread waits for a lock that the test holds until all samples are put."""
    monkeypatch.setattr(connections, "WAIT", 10 * LONGEST)
    feed = recorders(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        feed.put()
        feed.wait(lambda: feed.recorder.waiting().intervals == 1)
        time.sleep(0.1)
        feed.put(100)
    feed.wait()
    complete(feed, path)
    assert feed.lines == []


def test_processes_of_former_recorders_may_have_ended_even_if_the_first_attempt_failed(
    path: Path, recorders: Recorders
) -> None:
    """Otherwise their rows would be kept for ever."""
    first = recorders(path)
    first.put(10)
    first.wait()
    first.recorder.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        feed = recorders(path)
        assert feed.recorder.state.fault
    feed.wait(lambda: feed.recorder.state.recording)
    feed.recorder.close()
    assert rows(path, "SELECT DISTINCT abs(ended) FROM process") == [(10,)]


# A database that disappears.


@pytest.mark.parametrize("whole", ["file", "files", "directory"])
def test_deleted_database_is_begun_anew(whole: str, tmp_path: Path, recorders: Recorders) -> None:
    path = tmp_path / "there" / "history.db"
    feed = recorders(path)
    feed.put(50)
    feed.wait()
    time.sleep(0.05)  # what is being written at that moment may go with it
    feed.numbers.clear()
    stored = feed.recorder.stored
    if whole == "directory":
        shutil.rmtree(path.parent)
    else:
        for file in path.parent.iterdir() if whole == "files" else [path]:
            file.unlink()
    feed.put(50)
    feed.wait(lambda: feed.recorder.stored == stored + 50)
    assert lock.holder(path) == f"bwtop (pid {os.getpid()})"
    feed.put(50)
    complete(feed, path)
    told(feed, f"{path} was deleted or replaced", path)


# What is beside the database.


def test_no_files_are_left_beside_a_foreign_file(tmp_path: Path, recorders: Recorders) -> None:
    (tmp_path / "text").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    before = sorted(tmp_path.iterdir())
    for path in before:
        assert recorders(path).recorder.state.is_lasting
    assert (
        recorders(Path("/dev/null")).recorder.state.fault
        == "/dev/null is not a regular file; choose another with --db"
    )
    assert sorted(tmp_path.iterdir()) == before
    assert not Path("/dev/null.lock").exists()


def test_lock_that_was_deleted_is_made_anew(path: Path, recorders: Recorders) -> None:
    """Else the next bwtop would record to the same history, and each byte count twice."""
    feed = recorders(path)
    lock.lock_path(path).unlink()
    feed.until(lambda: lock.holder(path))
    assert recorders(path).recorder.state.other == f"bwtop (pid {os.getpid()})"
    feed.put(3)
    feed.wait()
    assert feed.recorder.state.recording
    feed.recorder.close()
    assert found(path) == feed.expected()


def test_bwtop_stops_when_another_one_holds_the_lock_in_place(
    path: Path, recorders: Recorders
) -> None:
    feed = recorders(path)
    other = lock.Lock(path.with_name("other.db"), 0o600)
    assert other.take("another")
    lock.lock_path(path.with_name("other.db")).replace(lock.lock_path(path))
    feed.wait(lambda: feed.recorder.state.other == "another")
    other.close()
    feed.until(lambda: feed.recorder.state.recording)
    assert feed.lines[-1] == f"recording to {path} again"


def test_unusable_lock_file_is_named(tmp_path: Path, recorders: Recorders) -> None:
    (tmp_path / "history.db.lock").mkdir()
    fault = recorders(tmp_path / "history.db").recorder.state.fault
    assert fault == f"Is a directory: {tmp_path}/history.db.lock"


def test_abandoned_recorder_counts_what_it_loses_and_says_what_to_do(path: Path) -> None:
    """The directory of root is out of reach once root is dropped."""
    path.write_text("hello")
    lines: list[str] = []
    given_up = recorder.Recorder(RecordingOptions(path), lines.append)
    given_up.open()
    given_up.abandon()
    given_up.put(numbered(1, 1000.0))
    given_up.close()
    assert given_up.state.is_lasting
    assert lines[0].endswith("is not a history of bwtop; move it away or choose another with --db")
    assert given_up.lost == sum(amount(1))
    assert given_up.unwritten.bytes == 0
    assert lines[1:] == [
        "fix this and restart bwtop to record",
        f"not recorded: {sum(amount(1))} bytes; {given_up.state.fault}",
    ]
