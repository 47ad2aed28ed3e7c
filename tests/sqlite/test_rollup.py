"""Rollups run in order and in small steps; only old rows with totals are deleted."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from bwtop.model.flows import Loss
from bwtop.sqlite import retention, rollup
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.rollup import FLOWS_AT_ONCE, SETTLED, Policy, Rollup
from bwtop.sqlite.sweep import Sweep
from tests.build import key
from tests.history.keep import (
    DAY,
    HOUR,
    NGINX,
    NOON,
    REMOTES,
    Kept,
    delta,
    flows_of,
    local,
    place,
    policy,
    total,
    within,
)

FIRST = NOON - DAY // 2
"""A midnight."""


@pytest.fixture(autouse=True)
def _steps() -> Iterator[None]:
    """Run one piece of work per step, without newest intervals."""
    with (
        local("UTC"),
        patch.object(rollup, "STEP_SECONDS", -1.0),
        patch.object(retention, "NEWEST", 0),
    ):
        yield


def hourly(kept: Kept, days: float, start: float = FIRST, each: int = 2) -> None:
    """Append some deltas in every hour."""
    for hour in range(int(days * 24)):
        kept.append(*[delta(start + hour * HOUR + 90 * n, 100, 1) for n in range(each)])


def levels(kept: Kept) -> list[int]:
    return [kept.closed(level) for level in (1, 2, 3)]


# Closing.


def test_a_minute_is_closed_when_it_has_settled() -> None:
    kept = Kept()
    kept.append(delta(NOON + 10))
    kept.steps(NOON + 60 + SETTLED - 0.5)
    assert not kept.spans(1)
    kept.steps(NOON + 60 + SETTLED)
    assert kept.spans(1) == [(NOON, NOON + 60)]


def test_levels_are_closed_in_order() -> None:
    """No coarser level is ever closed further than a finer one, and a span closes once its rows are complete."""
    kept = Kept()
    hourly(kept, 3.5)
    while kept.rollup.step(NOON + 5 * DAY):
        minutes, hours, days = levels(kept)
        assert minutes >= hours >= days
        assert hours % HOUR == days % DAY == 0
    assert levels(kept) == [FIRST + 83 * HOUR + 120, FIRST + 83 * HOUR, FIRST + 3 * DAY]
    assert [len(kept.spans(level)) for level in (1, 2, 3)] == [168, 83, 3]
    assert total(kept.deltas) == (16800, 168)
    for level in (1, 2, 3):
        sums = "SELECT sum(rx) FROM traffic JOIN span ON span.id = span WHERE level = ?"
        assert kept.one(sums, level) == [16800, 16600, 14400][level - 1]


def test_finished_rollup_has_nothing_to_do() -> None:
    kept = Kept()
    assert kept.steps(NOON) == 1
    hourly(kept, 1)
    assert kept.steps(NOON + DAY) > 10
    assert kept.steps(NOON + DAY) == 1


def test_rollup_includes_quiet_time_and_loss() -> None:
    kept = Kept()
    kept.append(Delta(NOON, 59.0, loss=Loss(1, 2, 3, 4, 5, 6)), Delta(NOON + 59, 2.0))
    kept.append(delta(NOON + HOUR), delta(NOON + 2 * HOUR + 1))
    kept.steps(NOON + 2 * HOUR + 100)
    spans = "SELECT start, seconds, loss FROM span WHERE level = ? AND start = ?"
    for level in (1, 2):
        assert kept.rows(spans, level, NOON) == [(NOON, 61.0, "[1, 2, 3, 4, 5, 6]")]


# Steps.


def crowd(flows: int, start: float = NOON) -> Delta:
    """Return a delta of one process with that many remotes."""
    return Delta(start, 1.0, flows_of(*map(place, range(flows))))


def test_a_step_adds_up_few_flows() -> None:
    kept = Kept(policy())
    kept.append(crowd(20_000))
    most, steps = 0, 0
    while True:
        before = kept.connection.total_changes
        more = kept.rollup.step(NOON + 64)
        most = max(most, kept.connection.total_changes - before)
        steps += 1
        if not more:
            break
    assert most <= FLOWS_AT_ONCE + 5
    assert steps >= 10
    assert kept.rows("SELECT count(*), sum(rx) FROM traffic") == [(20_000, 20_000)]


def test_step_ends_at_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    hourly(kept, 2)
    monkeypatch.setattr(rollup, "STEP_SECONDS", 1000.0)
    assert kept.steps(NOON + 3 * DAY) <= 2


@pytest.mark.parametrize("steps", range(1, 8))
def test_an_interrupted_closing_is_begun_anew(steps: int) -> None:
    kept = Kept()
    with patch.object(rollup, "FLOWS_AT_ONCE", 2), patch.object(rollup, "FEW_ROWS", 0):
        kept.append(Delta(NOON, 1.0, flows_of(*REMOTES)))
        for _ in range(3):
            kept.steps(NOON + 64, steps)
            kept.reopen()
        kept.steps(NOON + 64)
    assert kept.rows("SELECT count(*), sum(rx) FROM traffic") == [(9, 9)]
    assert kept.rows("SELECT level FROM span") == [(1,)]


@pytest.mark.parametrize("steps", range(1, 8))
def test_deltas_during_a_rollup_are_included(steps: int) -> None:
    """Of flows that were added up already, and of new ones."""
    kept = Kept()
    with patch.object(rollup, "FLOWS_AT_ONCE", 2), patch.object(rollup, "FEW_ROWS", 0):
        kept.append(Delta(NOON, 1.0, flows_of(*REMOTES)))
        kept.steps(NOON + 64, steps)
        kept.append(Delta(NOON + 30, 1.0, flows_of(*REMOTES)), delta(NOON + 40, 1, who=NGINX))
        kept.steps(NOON + 64)
    assert kept.rows("SELECT count(*), sum(rx) FROM traffic") == [(10, 19)]
    assert kept.one("SELECT seconds FROM span") == 3.0


def test_later_deltas_do_not_restart_a_rollup() -> None:
    kept = Kept()
    with patch.object(rollup, "FLOWS_AT_ONCE", 2), patch.object(rollup, "FEW_ROWS", 0):
        kept.append(Delta(NOON, 1.0, flows_of(*REMOTES)))
        for number in range(20):
            kept.steps(NOON + 64, 1)
            kept.append(delta(NOON + 60 + number / 8))
    assert kept.spans(1) == [(NOON, NOON + 60)]


def test_a_step_that_fails_has_done_nothing() -> None:
    kept = Kept()
    kept.append(Delta(NOON, 1.0, flows_of(*REMOTES)))
    before = list(kept.connection.iterdump())
    kept.connection.execute(
        "CREATE TEMP TRIGGER fail BEFORE INSERT ON main.traffic BEGIN SELECT RAISE(FAIL, 'no'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match=r"^no$"):
        kept.steps(NOON + 64)
    kept.connection.execute("DROP TRIGGER fail")
    assert not kept.connection.in_transaction
    assert list(kept.connection.iterdump()) == before
    kept.steps(NOON + 64)
    assert kept.rows("SELECT level, sum(rx) FROM traffic JOIN span ON span.id = span") == [(1, 9)]


# Letting go.


def test_every_tier_is_kept_for_its_retention() -> None:
    kept = Kept(policy(seconds=2 * HOUR, minutes=10 * HOUR, hours=1.5 * DAY))
    hourly(kept, 4)
    now = FIRST + 4 * DAY
    kept.steps(now)
    assert kept.kept(0) == FIRST + 3 * DAY + 21 * HOUR + 120
    assert kept.kept(1) == now - 10 * HOUR
    assert kept.kept(2) == FIRST + 2 * DAY
    assert kept.kept(3) == 0
    assert kept.one("SELECT min(start) FROM interval") == now - 2 * HOUR
    assert kept.count("interval") == 4
    assert kept.spans(1)[0][0] == now - 10 * HOUR
    assert kept.spans(2)[0][0] == FIRST + 2 * DAY
    assert kept.spans(3)[0][0] == FIRST
    assert kept.count("delta") == 4
    answer = kept.ask(FIRST, now)
    assert (answer.rx, answer.tx, answer.seconds) == (4 * 24 * 200, 4 * 24 * 2, 4 * 24 * 2.0)
    orphans = "SELECT count(*) FROM {0} WHERE {1} NOT IN (SELECT id FROM {1})"
    assert kept.one(orphans.format("delta", "interval")) == 0
    assert kept.one(orphans.format("traffic", "span")) == 0


def ahead(kept: Kept, by: float = 600 * DAY) -> float:
    """Record two hours, a second per minute, with a clock that is ahead; return when it is set right."""
    kept.append(*[delta(NOON + by + n * 60) for n in range(120)])
    kept.steps(NOON + by + 2 * HOUR + SETTLED)
    return NOON + 2 * HOUR


def test_deleted_rows_stay_deleted_after_a_clock_change() -> None:
    """A report that begins within one of their minutes has the whole minute."""
    kept = Kept(policy(seconds=60))
    kept.append(*[delta(NOON + n * 60) for n in range(10)])
    kept.steps(NOON + 660)
    assert kept.kept(0) == NOON + 600
    kept.steps(NOON + 300)
    assert kept.kept(0) == NOON + 240
    for start in (NOON + 90, NOON + 450):
        answer = kept.ask(start, NOON + 600)
        assert (answer.start, answer.rx) == (
            start - 30,
            total(kept.deltas)[0] * (NOON + 630 - start) / 600,
        )


@pytest.mark.parametrize("by", [HOUR, DAY, 600 * DAY])
def test_seconds_are_kept_after_a_clock_was_ahead(by: float) -> None:
    """They were deleted at once until that date, as all before it was past its retention."""
    kept = Kept(policy(seconds=HOUR, minutes=DAY))
    kept.append(delta(NOON - 60))
    now = ahead(kept, by)
    for n in range(300):
        kept.append(delta(now + n))
        if n % 10 == 9:
            kept.steps(now + n + 1)
    assert kept.one("SELECT count(*) FROM interval WHERE id > 121") == 300
    assert kept.past().pids_since() <= now
    kept.let_go()
    assert kept.kept(0) <= now
    everything = kept.ask(NOON - HOUR, NOON + by + DAY)
    assert (everything.rx, everything.tx) == total(kept.deltas)
    part = kept.ask(now + 90, now + 150)
    assert (part.start, part.end) == (now + 90, now + 150)
    assert (part.rx, part.tx) == total(within(kept.deltas, now + 90, now + 150))


def test_rows_without_totals_are_not_deleted() -> None:
    """However old they are: their hour is not closed yet."""
    kept = Kept(policy(seconds=0, minutes=0, hours=0))
    kept.append(delta(NOON), delta(NOON + 70))
    kept.steps(NOON + 30 * DAY)
    assert len(kept.spans(1)) == 2
    assert kept.ask(NOON, NOON + HOUR).rx == 200


def test_days_are_deleted_after_their_retention() -> None:
    kept = Kept(policy(seconds=0, minutes=0, hours=0, days=2 * DAY, months=2 * DAY))
    hourly(kept, 6)
    kept.append(*[delta(FIRST + 65 * DAY + n * 2 * HOUR) for n in range(15)])
    kept.steps(FIRST + 67 * DAY)
    assert kept.spans(3) == [(FIRST + 65 * DAY, FIRST + 66 * DAY)]
    assert not kept.spans(4)
    assert kept.ask(FIRST, FIRST + 3 * DAY).rx == 0


def test_newest_intervals_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live followers read them."""
    monkeypatch.setattr(retention, "NEWEST", 3)
    kept = Kept(policy(seconds=0))
    kept.append(*[delta(NOON + n) for n in range(10)])
    kept.steps(NOON + HOUR)
    assert kept.column("SELECT id FROM interval") == [7, 8, 9, 10]
    assert kept.count("delta") == 4


def test_unreferenced_processes_are_deleted() -> None:
    kept = Kept(policy(seconds=60))
    gone = Delta(NOON + 1, 1.0, exited={key(1), key(3)})
    kept.append(delta(NOON, pid=1), delta(NOON, pid=2), gone)
    kept.append(delta(NOON + HOUR, pid=3), delta(NOON + HOUR, pid=4))
    kept.append(Delta(NOON + HOUR + 1, 1.0, exited={key(4)}))
    kept.steps(NOON + HOUR + 90)
    assert kept.column("SELECT pid FROM process ORDER BY pid") == [2, 3, 4]
    assert kept.one("SELECT count(*) FROM delta WHERE process NOT IN (SELECT id FROM process)") == 0


def test_processes_of_a_former_recorder_are_kept_as_long() -> None:
    kept = Kept(policy(seconds=60))
    kept.append(delta(NOON, pid=1))
    kept.reopen()
    kept.steps(NOON + 30)
    assert kept.column("SELECT pid FROM process") == [1]
    kept.append(delta(NOON + HOUR, pid=2))
    kept.steps(NOON + HOUR + 90)
    assert kept.column("SELECT pid FROM process") == [2]


def test_number_of_a_process_is_never_that_of_another() -> None:
    """A live follower took the second for the first, and its bytes for those of the first."""
    kept = Kept(policy(seconds=60))
    kept.append(delta(NOON), Delta(NOON + 1, 1.0, exited={key(1)}))
    kept.append(*[Delta(NOON + n * 60, 1.0) for n in range(1, 60)])
    before = kept.column("SELECT id FROM process")
    kept.steps(NOON + HOUR)
    assert kept.column("SELECT min(start) FROM interval") > [NOON + 50 * 60]
    kept.append(delta(NOON + HOUR, pid=2))
    assert kept.column("SELECT id FROM process WHERE pid = 2") != before


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), MemoryError()])
def test_what_is_stored_is_no_error_of_what_looks_for_unused_rows(error: Exception) -> None:
    """The recorder took it for one of storing, and stored the intervals again."""
    kept = Kept(policy(seconds=60))
    hourly(kept, 1)
    with patch.object(Sweep, "step", return_value=True):
        kept.steps(NOON + HOUR, 2000)
    with patch.object(Sweep, "note_appended", side_effect=error) as asked:
        kept.append(delta(NOON + HOUR))
    assert asked.called
    kept.steps(NOON + 2 * HOUR)
    assert kept.ask(FIRST, NOON + DAY).rx == total(kept.deltas)[0]


@pytest.mark.parametrize("minutes", [0.0, 2.0])
def test_a_clock_that_was_ahead_keeps_no_processes(minutes: float) -> None:
    """Its intervals go with the next that are past their retention, once they have totals; until then with their process."""
    kept = Kept(policy(seconds=60))
    kept.append(delta(NOON + 600 * DAY, pid=1), Delta(NOON + 600 * DAY, 1.0, exited={key(1)}))
    kept.steps(NOON + 600 * DAY + minutes * 60)
    for n in range(400):
        kept.append(delta(NOON + n, pid=n + 2), Delta(NOON + n, 1.0, exited={key(n + 2)}))
        if n % 20 == 0:
            kept.steps(NOON + n)
    assert kept.count("process") < 150
    lost = "SELECT count(*) FROM delta WHERE process NOT IN (SELECT id FROM process)"
    assert kept.one(lost) == 0
    assert kept.column("SELECT id FROM interval WHERE id < 3") == ([] if minutes else [1, 2])
    assert kept.ask(NOON, NOON + 601 * DAY).rx == total(kept.deltas)[0]


def test_a_clock_that_is_behind_deletes_no_seconds() -> None:
    kept = Kept(policy(seconds=HOUR))
    kept.append(*[delta(NOON + n) for n in range(90)])
    kept.steps(NOON + 90)
    kept.append(*[delta(NOON - DAY + n) for n in range(600)])
    kept.steps(NOON - DAY + 600)
    assert kept.count("interval") == 690


def test_five_minute_totals_are_kept_for_their_retention() -> None:
    kept = Kept(policy(**{"5min": HOUR}))
    kept.append(*[delta(NOON + n * 300) for n in range(36)])
    kept.connection.executemany(
        f"INSERT INTO pulse VALUES (?, 1{', 0' * 13})", [(n * 300,) for n in range(2500)]
    )
    assert kept.steps(NOON + 3 * HOUR) < 100, "many in few steps"
    assert kept.column("SELECT min(start) FROM pulse") == [NOON + 2 * HOUR]
    assert kept.count("pulse") == 12
    assert kept.count("interval") == 36


# Size.


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record two and a half days with much detail."""
    path = tmp_path_factory.mktemp("large") / "history.db"
    kept, far = Kept(policy(), path), [place(n) for n in range(400)]
    with local("UTC"), patch.object(retention, "NEWEST", 0):
        for hour in range(60):
            for n in range(3):
                kept.append(Delta(FIRST + hour * HOUR + n * 61, 1.0, flows_of(*far)))
        kept.steps(FIRST + 60 * HOUR)
    kept.connection.close()
    return path


@pytest.fixture
def large(recorded: Path, tmp_path: Path) -> Iterator[Kept]:
    """Return a copy of the recorded days."""
    kept = Kept(policy(), Path(shutil.copy(recorded, tmp_path / "history.db")))
    yield kept
    kept.connection.close()


def size(kept: Kept) -> int:
    assert kept.path
    kept.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return kept.path.stat().st_size


def test_oldest_detail_is_deleted_beyond_max_size(large: Kept) -> None:
    """The seconds of an hour are deleted before its minutes, and the file shrinks."""
    before, now = size(large), FIRST + 60 * HOUR
    most = before * 2 // 3
    large.rollup = Rollup(large.store, Policy(large.policy.retention, most))
    while large.rollup.step(now):
        kept = [large.kept(level) for level in (0, 1, 2)]
        left = "SELECT count(*) FROM interval WHERE start >= ? AND start < ?"
        assert large.one(left, kept[0], kept[1]) == 0
        left = "SELECT count(*) FROM span WHERE level = 1 AND start >= ? AND start < ?"
        assert large.one(left, kept[1], kept[2]) == 0
    assert before // 2 < size(large) <= most
    assert not large.rollup.is_over_size
    assert large.kept(0) > 0
    assert large.kept(2) < FIRST + 2 * DAY
    assert large.ask(FIRST, now).rx == 60 * 3 * 400
    assert large.ask(now - HOUR, now).rx == 3 * 400
    assert large.ask(now - HOUR, now).start == now - HOUR


def test_daily_totals_survive_any_max_size(large: Kept) -> None:
    now = FIRST + 60 * HOUR
    large.rollup = Rollup(large.store, Policy(large.policy.retention, 20_000))
    large.steps(now)
    assert large.rollup.is_over_size
    assert len(large.spans(3)) == 2
    for level in (1, 2):
        assert not [start for start, _ in large.spans(level) if start < FIRST + 2 * DAY]
    assert large.ask(FIRST, now).rx == 60 * 3 * 400
    assert large.steps(now) == 1


def test_daily_totals_survive_beside_months() -> None:
    kept = Kept(policy(max_size=1))
    kept.append(*[delta(FIRST + n * 2 * HOUR) for n in range(15 * 12)])
    kept.steps(FIRST + 16 * DAY)
    assert kept.spans(4)
    assert [start for start, _ in kept.spans(3)] == [FIRST + n * DAY for n in range(14)]
    assert kept.rollup.is_over_size


def test_size_limit_keeps_the_present_after_a_clock_was_ahead() -> None:
    """Else all seconds until that date would be deleted at once."""
    kept = Kept(policy())
    now = ahead(kept)
    kept.rollup = Rollup(kept.store, policy(max_size=1))
    for begin in (now, now + 60):
        kept.append(*[delta(begin + n) for n in range(30)])
        kept.steps(begin + 30)
    assert kept.rollup.is_over_size, "there are only totals left besides"
    assert kept.kept(0) == now + 60
    assert kept.column("SELECT id FROM interval") == [*range(151, 181)]
    assert not [start for start, _ in kept.spans(1) if start > now + HOUR]
    assert kept.ask(NOON, NOON + 601 * DAY).rx == total(kept.deltas)[0]


def test_many_free_pages_are_returned_to_the_file_system(
    large: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup, "SPARE_PAGES", 20)
    before = size(large)
    retention = large.policy.retention | {"seconds": 0.0, "minutes": 0.0}  # type: ignore[operator]
    large.rollup = Rollup(large.store, Policy(retention))
    large.steps(FIRST + 60 * HOUR)
    assert size(large) < before // 2


def test_free_pages_are_returned_in_few_steps(large: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page for each step took 60,000 transactions for 240 MB."""
    monkeypatch.setattr(rollup, "SPARE_PAGES", 20)
    large.steps(FIRST + 60 * HOUR)
    large.connection.execute("DELETE FROM traffic")
    pages = large.one("PRAGMA freelist_count")
    assert pages > 300
    assert large.steps(FIRST + 60 * HOUR) <= pages // rollup.PAGES_AT_ONCE + 3


def test_expired_rows_are_deleted_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also an interval of more flows than one step deletes; meanwhile no answer changes."""
    monkeypatch.setattr(rollup, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(retention, "NEWEST", 0)
    kept = Kept(policy(seconds=0))
    kept.append(crowd(95), crowd(5, NOON + 1), delta(NOON + 3600))
    before = kept.ask(NOON, NOON + 60).rx
    steps = 0
    while kept.rollup.step(NOON + 3700):
        steps += 1
        assert kept.ask(NOON, NOON + 60).rx == before
    assert steps >= 10
    assert kept.rows("SELECT count(*) FROM delta") == [(1,)]
