"""Written rows: every name and remote once, every process, and all of a transaction or nothing."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bwtop.model.flows import UDP, Identity, Loss, ProcessKey, Role
from bwtop.sqlite import checked, store
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.rollup import Policy
from bwtop.sqlite.store import Event, Store, pack_loss
from bwtop.sqlite.writer import DatabaseWriter, RecordingOptions
from bwtop.text.escape import printable
from tests.build import HOSTILE, key, remote
from tests.history.keep import (
    CURL,
    DAY,
    HOUR,
    NGINX,
    NOON,
    PROGRAMS,
    REMOTES,
    Kept,
    at,
    delta,
    flows_of,
    local,
    move_to,
    total,
)
from tests.history.named import named_delta

PROCESSES = "SELECT pid, start, program, cmdline, ended FROM process ORDER BY id"


@pytest.fixture
def kept() -> Kept:
    return Kept()


def everything(kept: Kept) -> tuple[int, int]:
    answer = kept.ask(0, NOON + 400 * DAY)
    return answer.rx, answer.tx


# Ids.


def test_each_program_and_remote_and_flow_is_there_once(kept: Kept) -> None:
    """In whichever process, delta, transaction or recorder it occurs."""
    for _ in range(3):
        for pid in (1, 2):
            for who in PROGRAMS:
                kept.append(Delta(NOON, 1.0, flows_of(*REMOTES, pid=pid, who=who)))
        kept.reopen()
    assert kept.count("program") == len(PROGRAMS)
    assert kept.count("remote") == len(REMOTES)
    assert kept.count("flow") == len(PROGRAMS) * len(REMOTES)
    assert kept.count("process") == 2 * len(PROGRAMS)
    assert kept.count("delta") == 3 * 2 * len(PROGRAMS) * len(REMOTES)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"},
        {"kernel": True},
        *({"uid": uid} for uid in (2, None)),
        *({"exe": exe} for exe in ("/f", "", None)),
        *({name: text} for name in ("unit", "container", "pod") for text in ("z", None)),
    ],
    ids=str,
)
def test_program_is_identified_by_all_its_properties(kept: Kept, change: dict[str, Any]) -> None:
    one = Identity("a", 1, exe="/e", unit="u", container="c", pod="p")
    for _ in range(2):
        kept.append(delta(who=one), delta(who=replace(one, **change)))
        kept.reopen()
    assert kept.count("program") == kept.count("process") == 2


@pytest.mark.parametrize(
    "other",
    [remote(port=80), remote(protocol=UDP), remote(role=Role.SERVER), remote("192.0.2.9")],
)
def test_remote_is_identified_by_all_its_fields(kept: Kept, other: object) -> None:
    kept.append(Delta(NOON, 1.0, flows_of(remote(), other)))  # type: ignore[arg-type]
    assert kept.count("remote") == kept.count("flow") == 2


def test_unstored_properties_do_not_separate_programs(kept: Kept) -> None:
    kept.append(delta(who=CURL), delta(who=replace(CURL, user="root", cgroup="/x", cmdline="-v")))
    assert kept.count("program") == kept.count("process") == kept.count("flow") == 1


@pytest.mark.parametrize(("exe", "programs"), [("/usr/bin/curl", 1), ("/memfd:curl", 2)])
def test_a_program_whose_file_was_replaced_is_the_same(kept: Kept, exe: str, programs: int) -> None:
    for path in (exe, f"{exe} (deleted)"):
        kept.append(delta(who=replace(CURL, exe=path)))
    assert kept.count("program") == programs


@pytest.mark.parametrize(
    ("one", "other"),
    [(CURL, replace(CURL, cmdline="curl again")), (Identity("\udcff"), Identity("\\udcff"))],
    ids=["exec of the same program", "names equal after escaping"],
)
def test_a_process_that_looks_different_within_one_interval_is_still_one(
    kept: Kept, one: Identity, other: Identity
) -> None:
    joined = delta(who=one)
    joined.absorb(delta(who=other))
    kept.append(joined)
    assert everything(kept) == (200, 20)


NAMES = (
    *HOSTILE,
    "\0",
    "a\0b",
    "a",
    "x" * 10_000,
    "x" * 10_001,
    "%",
    "a_",
    "?",
    "'); DROP TABLE flow",
)


def test_any_name_is_kept(kept: Kept) -> None:
    """Unprintable characters are stored as escapes."""
    for _ in range(2):
        for name in NAMES:
            who = Identity(name, exe=name, unit=name, container=name, pod=name)
            kept.append(delta(who=who))
        kept.reopen()
    assert kept.count("program") == kept.count("flow") == len(NAMES)
    answer = kept.ask(NOON, NOON + 1, "process", "unit")
    expected = {printable(name) for name in NAMES}
    assert {row.labels[0] for row in answer.rows} == expected
    for row in answer.rows:
        called, exe, _, _, unit, container, pod, _ = row.labels
        assert (called or None) == exe == unit == container == pod, "an empty text is none"
        assert (row.rx, row.tx) == (200, 20)


# Processes.


def test_no_control_character_is_stored(kept: Kept, tmp_path: Path) -> None:
    """A program path with a newline and a sudoers rule once put that rule into a file that sudo might read."""
    hostile = "x\nada ALL=(ALL) NOPASSWD: ALL\n\x1b[2J\u202e"
    identity = Identity(hostile, 0, hostile, exe=hostile)
    Store(kept.connection, cmdlines=True).append([delta(who=identity)])
    kept.connection.execute(f"VACUUM INTO '{tmp_path}/copy.db'")
    assert b"\nada ALL" not in (tmp_path / "copy.db").read_bytes()
    (cmdline,) = kept.column("SELECT cmdline FROM process")
    assert cmdline == r"x\x0aada ALL=(ALL) NOPASSWD: ALL\x0a\x1b[2J\u202e"


def test_a_pid_is_used_again(kept: Kept) -> None:
    one, other = ProcessKey(10, 7), ProcessKey(20, 7)
    kept.append(*(Delta(NOON, 1.0, {(who, CURL): {REMOTES[0]: (1, 1)}}) for who in (one, other)))
    kept.append(Delta(NOON, 1.0, exited={one}))
    assert kept.rows("SELECT pid, start, ended FROM process") == [(7, 10, 3), (7, 20, None)]
    assert kept.count("flow") == 1


def test_exec_makes_another_process_of_the_same_program(kept: Kept) -> None:
    one, other = (key(1)._replace(exec=execs) for execs in (4, 5))
    kept.append(
        Delta(NOON, 1.0, {(who, CURL): {REMOTES[0]: (1, 1)} for who in (one, other)}, exited={one})
    )
    assert kept.rows("SELECT exec, ended FROM process ORDER BY exec") == [(4, 1), (5, None)]
    assert kept.column("SELECT sum(rx) FROM delta") == [2]


def test_exited_processes_end_with_their_interval(kept: Kept) -> None:
    """All their programs end, and no other process does; later bytes bring one back."""
    last = delta(pid=1, who=NGINX)
    last.exited = {key(1), key(99)}
    kept.append(delta(pid=1), delta(pid=2), last, delta(pid=2))
    ended = "SELECT ended FROM process ORDER BY id"
    assert kept.column(ended) == [3, None, 3]
    again = delta(pid=1)
    kept.append(again)
    assert kept.column(ended) == [None, None, 3]
    kept.append(Delta(NOON, 1.0, exited={key(1), key(2)}))
    assert kept.column(ended) == [6, 6, 3]


def test_processes_of_former_recorders_may_have_ended(kept: Kept) -> None:
    """A process that moves bytes is still alive."""
    kept.append(delta(pid=1), delta(pid=2))
    kept.reopen()
    assert kept.column("SELECT abs(ended) FROM process") == [2, 2]
    kept.append(delta(pid=2))
    assert kept.column("SELECT abs(ended) FROM process") == [2, None]


def test_start_time_of_a_process_is_stored(kept: Kept) -> None:
    started = datetime(2026, 1, 2, tzinfo=UTC)
    kept.append(delta(who=replace(CURL, started=started)))
    assert kept.column("SELECT started FROM process") == [started.timestamp()]


# Transactions.


@contextmanager
def failing(kept: Kept, event: str) -> Iterator[None]:
    """Make every statement of a kind fail."""
    kept.connection.execute(
        f"CREATE TEMP TRIGGER fail BEFORE {event} BEGIN SELECT RAISE(FAIL, 'no'); END"
    )
    with pytest.raises(sqlite3.Error):
        yield
    assert not kept.connection.in_transaction
    kept.connection.execute("DROP TRIGGER fail")


@pytest.mark.parametrize("table", ["event", "interval", "program", "process", "remote", "flow", "named", "delta", "pulse"])  # fmt: skip
def test_an_append_that_fails_leaves_nothing_and_the_next_one_works(kept: Kept, table: str) -> None:
    kept.append(delta(pid=1))
    before = list(kept.connection.iterdump())
    new = [
        named_delta(NOON, "a.example"),
        delta(pid=1),
        delta(pid=2, who=NGINX, far=REMOTES[2]),
        delta(pid=2, who=NGINX),
    ]
    with failing(kept, f"INSERT ON main.{table}"):
        kept.store.append(new, [Event(NOON, "sleep", 5.0)])
    assert list(kept.connection.iterdump()) == before
    other = Store(kept.connection)  # takes the ids that the failed one had given
    other.append([delta(pid=9, who=PROGRAMS[2], far=REMOTES[3], rx=7, tx=7)])
    kept.store.append(new, [Event(NOON, "sleep", 5.0)])
    assert kept.rows("SELECT time, kind, amount FROM event") == [(NOON, "sleep", 5.0)]
    answer = kept.ask(NOON, NOON + 1, "exe", "remote")
    assert {(row.labels[0], row.labels[1], row.rx) for row in answer.rows} == {
        ("/usr/bin/curl", "192.0.2.1", 201),
        ("/usr/sbin/nginx", "192.0.2.2", 100),
        ("/usr/sbin/nginx", "192.0.2.1", 100),
        (None, "2001:db8::1", 7),
    }
    assert kept.column("SELECT name FROM named") == ["a.example"]


def test_an_append_may_fail_at_its_last_delta(kept: Kept) -> None:
    broken = delta(rx=1 << 70)
    with pytest.raises(OverflowError):
        kept.store.append([delta(), delta(who=NGINX), broken])
    assert [kept.count(name) for name in ("interval", "flow", "process", "delta", "pulse")] == [
        0
    ] * 5
    kept.append(delta(who=NGINX))
    assert everything(kept) == (100, 10)


@pytest.mark.parametrize(("most", "intervals"), [(1, 60), (2, 60), (5, 60), (100, 1), (100, 3)])
def test_flows_that_left_the_cache_are_found_again(
    monkeypatch: pytest.MonkeyPatch, most: int, intervals: int
) -> None:
    monkeypatch.setattr(store, "MAX_CACHED", most)
    monkeypatch.setattr(store, "CACHED_SECONDS", 0)
    kept = Kept()
    for number in range(12):
        if number % intervals == 0:
            kept.store.forget_unused()
        kept.append(Delta(NOON, 1.0, flows_of(*REMOTES[number % 4 :], pid=number % 3 + 1)))
        if number % 5 == 4:
            kept.append(Delta(NOON, 1.0, exited={key(1)}))
    assert kept.count("flow") == len(REMOTES)
    assert everything(kept) == total(kept.deltas)
    rows = kept.ask(NOON, NOON + 1, "remote", "port", "proto").rows
    assert {row.rx for row in rows} == {3, 6, 9, 12}


def test_flows_of_a_peak_leave_the_cache_while_nothing_is_recorded(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.setattr(store, "CACHED_SECONDS", 0)
    far = remote("192.0.2.77")
    flows = flows_of(far)
    writer = DatabaseWriter(RecordingOptions(path, Policy()))
    assert writer.open() is None
    before = sys.getrefcount(far)
    writer.append([Delta(NOON, 1.0, flows)], [])
    assert sys.getrefcount(far) > before
    for _ in range(2):
        writer.keep_up(NOON)
    assert sys.getrefcount(far) == before
    writer.close()


# Late ones.


def test_late_deltas_are_added_to_closed_spans(kept: Kept) -> None:
    """With time and loss; twice, and also where there was no span."""
    with local("UTC"):
        kept.append(delta(NOON), delta(NOON + DAY), delta(NOON + DAY + 2 * HOUR))
        kept.steps(NOON + DAY + 3 * HOUR)
        assert [kept.closed(level) for level in (1, 2, 3)] == [
            NOON + DAY + 2 * HOUR + 60, NOON + DAY + HOUR, NOON + DAY / 2,
        ]  # fmt: skip
        late = delta(NOON + 30, 1000, 500, 2.0)
        late.loss = Loss(1, 2, 3, 4, 5, 6)
        kept.append(late, late, delta(NOON - 3 * DAY, 7, 7, far=REMOTES[1]))
        spans = "SELECT start, end, seconds, loss FROM span WHERE level = ? ORDER BY start"
        twice = pack_loss(late.loss.plus(late.loss))
        assert kept.rows(spans, 1)[:2] == [
            (NOON - 3 * DAY, NOON - 3 * DAY + 60, 1.0, None), (NOON, NOON + 60, 5.0, twice),
        ]  # fmt: skip
        assert kept.rows(spans, 2)[:2] == [
            (NOON - 3 * DAY, NOON - 3 * DAY + HOUR, 1.0, None), (NOON, NOON + HOUR, 5.0, twice),
        ]  # fmt: skip
        assert kept.rows(spans, 3) == [
            (NOON - 3.5 * DAY, NOON - 2.5 * DAY, 1.0, None),
            (NOON - 0.5 * DAY, NOON + 0.5 * DAY, 5.0, twice),
        ]
        day = kept.ask(NOON - DAY / 2, NOON + DAY / 2)
        assert (day.rx, day.seconds, day.loss) == (2100, 5.0, checked.loss(twice))
        assert kept.ask(NOON - 3 * DAY, NOON - 2 * DAY).rx == 7


def test_the_end_of_a_span_is_not_in_it(kept: Kept) -> None:
    kept.append(delta(NOON), delta(NOON + 600))
    kept.steps(NOON + 700)
    kept.append(delta(NOON + 60))
    assert kept.spans(1) == [(NOON + n, NOON + n + 60) for n in (0, 60, 600)]


@pytest.mark.parametrize("order", [(-600, 600), (600, -600)])
def test_a_late_span_does_not_reach_beyond_a_coarser_one(order: tuple[int, int]) -> None:
    """Otherwise half an hour would count in one day's total and half in the next."""
    with local("Asia/Kolkata"):
        midnight = at("2026-09-23T00:00:00+05:30")
        kept = Kept()
        kept.append(*[delta(midnight + hours * HOUR, 1, 1) for hours in (-12, 12, 14)])
        kept.steps(midnight + 15 * HOUR)
        assert kept.closed(3) == midnight
        move_to("UTC")
        kept.append(*[delta(midnight + seconds, 1000, 0) for seconds in order])
        kept.append(delta(midnight + 2 * DAY, 1, 1), delta(midnight + 2 * DAY + 2 * HOUR, 1, 1))
        kept.steps(midnight + 2 * DAY + 5 * HOUR)
        assert all(end <= midnight or start >= midnight for start, end in kept.spans(2))
        assert kept.ask(midnight - 2 * DAY, midnight + 9 * DAY).rx == 2005


def test_five_minute_totals_add_up_deltas(kept: Kept) -> None:
    """By category, including late deltas."""
    kept.append(delta(NOON, 1, 2), delta(NOON + 299.9, 3, 4), delta(NOON + 300, 50, 60))
    for far in REMOTES[2:8]:
        kept.append(delta(NOON, 10, 20, far=far))
    columns = (
        "tcp_rx, tcp_tx, tcp_loopback_rx, udp_rx, udp_loopback_tx, other_rx, other_loopback_tx"
    )
    assert kept.rows(f"SELECT start, seconds, {columns} FROM pulse ORDER BY start") == [
        (NOON, 8.0, 14, 26, 10, 10, 20, 10, 20),
        (NOON + 300, 1.0, 50, 60, 0, 0, 0, 0, 0),
    ]


def test_loss_is_kept() -> None:
    loss = Loss(1, 2, 3, 4, 5, 1 << 62)
    assert checked.loss(pack_loss(loss)) == loss
    assert pack_loss(Loss()) is None
    assert checked.loss(None) == Loss()
