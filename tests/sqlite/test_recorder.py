"""Stored samples: intervals of a second, quiet minutes and exits, in private files."""

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from bwtop.model.flows import Identity, Loss, Traffic
from bwtop.model.sample import Sample
from bwtop.sqlite import location, recorder, rollup
from bwtop.sqlite.backlog import Backlog
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.lock import lock_path
from bwtop.sqlite.rollup import Policy
from bwtop.sqlite.store import Event
from bwtop.sqlite.writer import DatabaseWriter, RecordingOptions
from tests.build import eventually, key, remote
from tests.history.keep import delta
from tests.history.recording import (
    START,
    Feed,
    Recorders,
    amount,
    answer,
    found,
    intervals,
    is_line,
    rows,
)
from tests.kernel.running import HANG


def reading(feed: Feed, seconds: float = 1.0) -> Sample:
    """Return an empty sample of the current time."""
    feed.clock.go(seconds)
    return Sample(datetime.fromtimestamp(feed.clock.wall, UTC), seconds)


NEVER: Final = 600.0
"""Seconds that no test waits for."""


def noted_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the calls that write and keep up, which are added as they are made."""
    calls: list[str] = []
    append, keep_up = DatabaseWriter.append, DatabaseWriter.keep_up

    def noted_append(
        writer: DatabaseWriter, deltas: Sequence[Delta], events: Sequence[Event]
    ) -> None:
        calls.append("append")
        append(writer, deltas, events)

    def noted_keep_up(writer: DatabaseWriter, now: float) -> bool:
        calls.append("keep_up")
        return keep_up(writer, now)

    monkeypatch.setattr(DatabaseWriter, "append", noted_append)
    monkeypatch.setattr(DatabaseWriter, "keep_up", noted_keep_up)
    return calls


# Intervals.


def test_faster_samples_are_merged_into_seconds(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.put(100, 0.1)
    feed.recorder.close()
    stored = intervals(path)
    assert stored == [(n, 1.0) for n in range(10)]
    assert found(path) == feed.expected()
    assert answer(path).seconds == pytest.approx(10)
    assert feed.recorder.stored == 10


@pytest.mark.parametrize(
    ("seconds", "merged"), [(0.94, 2), (0.951, 1), (1.0, 1), (2.5, 1), (60.0, 1)]
)
def test_samples_of_a_second_or_more_are_kept(
    seconds: float, merged: int, path: Path, recorders: Recorders
) -> None:
    feed = recorders(path)
    feed.put(10, seconds)
    feed.recorder.close()
    length = round(merged * seconds, 3)
    assert intervals(path) == [(round(n * length, 3), length) for n in range(10 // merged)]
    assert found(path) == feed.expected()


def test_short_last_interval_is_stored(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.put(2)
    feed.put(3, 0.1)
    feed.recorder.close()
    assert intervals(path) == [(0, 1), (1, 1), (2, 0.3)]
    assert found(path) == feed.expected()
    assert feed.lines == []


def test_samples_from_before_the_start_are_written(path: Path, recorders: Recorders) -> None:
    feed = recorders(path, start=False)
    feed.put(5)
    feed.recorder.start()
    feed.wait()
    feed.recorder.close()
    assert found(path) == feed.expected()


def test_interval_is_written_when_it_is_measured(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the next attempt, which is too late for this test."""
    monkeypatch.setattr(recorder, "RETRY", NEVER)
    feed = recorders(path)
    for _ in range(50):
        time.sleep(0.01)
        feed.put()
        feed.wait()
    assert len(found(path)) == 50


def test_interval_during_the_rollup_is_written_at_once(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollup pauses after its current step, and the interval is written."""
    monkeypatch.setattr(recorder, "RETRY", NEVER)
    monkeypatch.setattr(recorder, "ROLLUP_PERIOD", 0.0)
    monkeypatch.setattr(rollup, "FLOWS_AT_ONCE", 1)
    monkeypatch.setattr(rollup, "FEW_ROWS", 0)
    monkeypatch.setattr(rollup, "STEP_SECONDS", 0.0)
    calls = noted_calls(monkeypatch)
    feed = recorders(path)
    feed.put(1000, 60.0)  # hours of minutes to close
    feed.wait()
    for _ in range(5):
        feed.wait(lambda: calls[-2:] == ["keep_up", "keep_up"])
        before = len(calls)
        feed.put()
        after = len(calls)
        feed.wait()
        assert "append" in calls[before : after + 2]
    written = len(calls)
    feed.wait(lambda: len(calls) > written + 100)


# Quiet time.


def test_quiet_time_is_an_interval_a_minute(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    start = START % 60
    feed.quiet(200)
    feed.recorder.close()
    stored = intervals(path)
    assert [seconds for _, seconds in stored] == [60 - start, 60, 60, 20 + start]
    assert [begin for begin, _ in stored] == [0, 60 - start, 120 - start, 180 - start]
    assert answer(path).seconds == 200


def test_quiet_time_ends_where_something_moves(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.quiet(5)
    feed.put(2)
    feed.quiet(5)
    feed.recorder.close()
    assert intervals(path) == [(0, 5), (5, 1), (6, 1), (7, 5)]


def test_nothing_is_written_while_it_is_quiet(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.quiet(30)
    time.sleep(0.1)
    assert (feed.recorder.stored, intervals(path)) == (0, [])
    feed.quiet(60)
    feed.wait(lambda: feed.recorder.stored == 1)


def test_losses_and_exits_are_not_quiet(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.quiet(2)
    lossy = reading(feed)
    lossy.loss = Loss(1, 2, 3, 4, 5, 6)
    feed.give(lossy)
    feed.quiet(2)
    feed.recorder.close()
    assert intervals(path) == [(0, 2), (2, 1), (3, 2)]
    assert answer(path).loss == lossy.loss


# Processes.


def moving(feed: Feed, pid: int, who: Identity) -> Sample:
    made = reading(feed)
    made.traffic = {key(pid): {remote(): Traffic(10, 20)}}
    made.identities = {key(pid): who}
    return made


def test_exec_makes_it_another_program(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.give(moving(feed, 1, Identity("sh", cmdline="sh -c secret")))
    feed.give(moving(feed, 1, Identity("curl", cmdline="curl secret")))
    feed.recorder.close()
    by_name = {str(row.labels[0]): (row.rx, row.tx) for row in answer(path, "process").rows}
    assert by_name == {"sh": (10, 20), "curl": (10, 20)}
    assert rows(path, "SELECT DISTINCT cmdline FROM process") == [("",)]


def test_command_lines_are_stored_on_request(path: Path, recorders: Recorders) -> None:
    feed = recorders(path, cmdlines=True)
    feed.give(moving(feed, 1, Identity("sh", cmdline="sh -c \udcff")))
    feed.recorder.close()
    assert rows(path, "SELECT cmdline FROM process") == [("sh -c \\udcff",)]


# Files.


def test_files_are_private(tmp_path: Path, recorders: Recorders) -> None:
    path = tmp_path / "state" / "bwtop" / "history.db"
    before = os.umask(0)
    try:
        feed = recorders(path)
        feed.put(10)
        feed.wait()
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    names = ["history.db", "history.db-shm", "history.db-wal", "history.db.lock"]
    assert modes == dict.fromkeys(names, 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_files_of_the_service_are_for_its_group(
    tmp_path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "SYSTEM", tmp_path / "history.db")
    feed = recorders(tmp_path / "history.db")
    feed.put(10)
    feed.wait()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o640}


# The end.


def test_close_releases_everything(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.put(3)
    feed.recorder.close()
    assert {file.name for file in path.parent.iterdir()} == {path.name, lock_path(path).name}
    again = recorders(path)
    assert again.recorder.state == recorder.RecorderState(recording=True)


@pytest.mark.parametrize("signalled", [False, True])
def test_close_is_bounded_and_reports_unwritten_bytes(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch, signalled: bool
) -> None:
    """Another program holds the lock all the time."""
    if not signalled:
        monkeypatch.setattr(recorder, "LOCKED_SECONDS", 0.5)
    feed = recorders(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        feed.put(3)
        feed.recorder.close(lambda: signalled and bool(feed.recorder.state.fault))
        lines, lost = feed.lines[:], feed.recorder.lost  # a thread that is given up goes on
    left = sum(sum(amount(n)) for n in range(3))
    assert all(is_line(line) for line in lines)
    given_up = "given up: " if signalled else ""
    assert lines[-1] == (
        f"not recorded: {left} bytes; {given_up}another program has locked the history: {path}"
    )
    assert lost == left


def test_close_waits_for_a_slow_disk_and_says_so(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system frozen for 7 s lost 74,000 bytes, with status 0 and without a word."""
    monkeypatch.setattr(recorder, "SLOW", 0.3)
    feed = recorders(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        feed.put(3)
        closer = threading.Thread(target=feed.recorder.close)
        closer.start()
        assert eventually(lambda: any("not recorded yet" in line for line in feed.lines))
        other.execute("ROLLBACK")
        closer.join(HANG)
    assert feed.recorder.lost == 0
    assert feed.recorder.stored == 3
    assert any(line.startswith("3 intervals, ") for line in feed.lines)


def test_close_of_a_slow_disk_with_all_recorded_says_so(
    recorders: Recorders, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said "0 intervals, 0 B not recorded yet"."""
    monkeypatch.setattr(recorder, "SLOW", 0.3)
    feed = recorders(path)
    feed.put(3)
    assert eventually(lambda: feed.recorder.stored == 3)
    go_on, close = threading.Event(), DatabaseWriter.close
    monkeypatch.setattr(DatabaseWriter, "close", lambda writer: go_on.wait(HANG) and close(writer))
    closer = threading.Thread(target=feed.recorder.close)
    closer.start()
    assert eventually(lambda: bool(feed.lines))
    go_on.set()
    closer.join(HANG)
    said = "all is recorded, but the database is not closed yet: the disk is slow"
    assert {*feed.lines} == {f"{said}; another signal gives up"}


def test_a_file_out_of_reach_at_the_end_is_whole_without_its_log(tmp_path: Path) -> None:
    """After root was dropped, SQLite left all that was recorded in the log."""
    folder = tmp_path / "folder"
    folder.mkdir()
    writer = DatabaseWriter(RecordingOptions(folder / "history.db", Policy()))
    assert writer.open() is None
    writer.append([delta()], [])
    moved = folder.rename(tmp_path / "moved")
    writer.close()
    (moved / "history.db-wal").unlink()
    assert rows(moved / "history.db", "SELECT count(*) FROM interval") == [(1,)]


def test_backlog_has_the_age_of_its_oldest_delta(path: Path, recorders: Recorders) -> None:
    """Also during an attempt to write; quiet intervals and clock changes do not count."""
    feed = recorders(path)
    waiting = feed.recorder.waiting
    feed.quiet(3)
    assert waiting() == (0, 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        feed.put(3)
        assert waiting() == (4, 2.0), "the quiet one is before them now"
        feed.clock.wall += 86400
        feed.clock.go(5)
        while not feed.recorder.state.fault:
            assert waiting() == (4, 7.0)
        assert waiting() == (4, 7.0)
    feed.wait(lambda: waiting() == (0, 0.0))
    assert feed.recorder.dropped == 0


def test_dropped_bytes_are_an_event(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "Backlog", partial(Backlog, max_deltas=3))
    feed = recorders(path, start=False)
    feed.put(10, 40 * 86400.0)  # in another month each
    feed.recorder.start()
    feed.wait(lambda: feed.recorder.stored == 3)
    feed.put(2)
    feed.wait(lambda: feed.recorder.stored == 5)
    dropped = sum(sum(amount(n)) for n in range(7))
    assert feed.recorder.dropped == dropped
    assert rows(path, "SELECT kind, amount FROM event") == [("dropped", dropped)]
    feed.recorder.close()
    assert feed.lines[-1].startswith(f"not recorded: {dropped} bytes")
    assert found(path, feed.clock.wall) == {n: amount(n) for n in range(7, 12)}


def test_state_in_words() -> None:
    assert recorder.RecorderState().words() == "not recording"
    assert recorder.RecorderState(recording=True).words() == "recording"
    assert recorder.RecorderState(other="bwtop (pid 7)").words() == "recorded by bwtop (pid 7)"
    assert recorder.RecorderState(fault="no").words() == "not recording"
