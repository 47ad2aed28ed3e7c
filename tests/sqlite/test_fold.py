"""A process keeps its largest remotes of each hour, the rest is `*`; `--max-size` holds."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from bwtop.clickhouse.spool import Spool
from bwtop.model.flows import UDP, Host, Remote, Role
from bwtop.sqlite import fold, retention, rollup, sweep
from bwtop.sqlite.delta import Delta
from tests.build import key, remote, typed
from tests.history.keep import (
    CURL,
    DAY,
    HOUR,
    NGINX,
    NOON,
    Kept,
    Sums,
    delta,
    local,
    place,
    policy,
    total,
)


@pytest.fixture(autouse=True)
def _steps() -> Iterator[None]:
    """Run one small piece of work per step, without newest intervals."""
    with (
        local("UTC"),
        patch.object(rollup, "STEP_SECONDS", -1.0),
        patch.object(retention, "NEWEST", 0),
        patch.object(fold, "ROWS_AT_ONCE", 7),
        patch.object(sweep, "ROWS_AT_ONCE", 7),
    ):
        yield


TWENTY = replace(policy(), keep_remotes=20)


def keeping(most: int, max_size: int | None = None, **retention: float) -> Kept:
    return Kept(replace(policy(max_size, **retention), keep_remotes=most))


def crowd(count: int, start: float = NOON, first: int = 0) -> Delta:
    """Return a delta of curl with remotes of 1, 2, 3... bytes."""
    flows = {place(first + n): (n + 1, 2) for n in range(count)}
    return Delta(start, 1.0, {(key(1), CURL): flows})


def remotes(kept: Kept, level: int, who: str = "curl") -> dict[Remote, Sums]:
    """Return the rows of a program in all spans of a level."""
    return {
        Remote(protocol, role, port, address): (rx, tx)
        for protocol, role, port, address, rx, tx in kept.rows(
            "SELECT protocol, role, port, address, rx, tx FROM traffic JOIN span ON span.id = span"
            " JOIN flow ON flow.id = flow JOIN remote ON remote.id = remote"
            " JOIN program ON program.id = program WHERE level = ? AND name = ?",
            level,
            who,
        )
    }


def closed(kept: Kept, hours: float = 2.0) -> None:
    """Close the hour of NOON."""
    kept.append(delta(NOON + hours * HOUR, who=NGINX))
    kept.steps(NOON + hours * HOUR + 64)


def test_an_hour_keeps_the_largest_remotes_of_a_process() -> None:
    kept = keeping(3)
    kept.append(crowd(20))
    closed(kept)
    assert len(remotes(kept, 1)) == 20
    largest = {place(n): (n + 1, 2) for n in (17, 18, 19)}
    assert remotes(kept, 2) == largest | {remote("*", 0): (sum(range(1, 18)), 17 * 2)}


def test_each_process_keeps_its_own() -> None:
    kept = keeping(3)
    kept.append(crowd(20))
    kept.append(Delta(NOON + 1, 1.0, {(key(2), NGINX): {place(n): (1, 0) for n in range(3)}}))
    closed(kept, 1.0)
    assert remotes(kept, 2, "nginx") == {place(n): (1, 0) for n in range(3)}
    assert len(remotes(kept, 2)) == 4


def test_of_equal_remotes_the_first_are_kept() -> None:
    kept = keeping(2)
    kept.append(Delta(NOON, 1.0, {(key(1), CURL): {place(n): (5, 5) for n in range(9)}}))
    closed(kept)
    assert remotes(kept, 2) == {place(0): (5, 5), place(1): (5, 5), remote("*", 0): (35, 35)}


def test_what_is_folded_keeps_protocol_role_and_loopback() -> None:
    small = (
        *(place(1), place(2, 53, UDP), place(3, 53, UDP, Role.SERVER), remote("127.0.0.1", 80)),
        *(remote("::1", 80), remote("*", 0, UDP), place(4)),
    )
    kept = keeping(1)
    flows = dict.fromkeys(small, (1, 1)) | {place(9): (50, 50)}
    kept.append(Delta(NOON, 1.0, {(key(1), CURL): flows}))
    closed(kept)
    assert remotes(kept, 2) == {
        place(9): (50, 50),
        remote("*", 0): (2, 2),
        remote("*", 0, UDP): (2, 2),
        remote("*", 0, UDP, Role.SERVER): (1, 1),
        remote("127.0.0.1", 0): (1, 1),
        remote("::1", 0): (1, 1),
    }


def test_more_programs_than_are_ranked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "RANKED_AT_ONCE", 4)
    kept = keeping(2)
    programs = [replace(CURL, name=f"curl{n}") for n in range(7)]
    flows = {
        (key(1 + n), who): {place(m): (m, n) for m in range(9)} for n, who in enumerate(programs)
    }
    kept.append(Delta(NOON, 1.0, flows))
    closed(kept)
    for number, who in enumerate(programs):
        assert remotes(kept, 2, who.name) == {
            place(8): (8, number),
            place(7): (7, number),
            remote("*", 0): (21, 7 * number),
        }


def test_late_bytes_of_a_folded_remote_are_added() -> None:
    kept = keeping(2)
    kept.append(crowd(9))
    closed(kept)
    kept.append(delta(NOON + 5, 1000, 0, far=place(0)))
    assert remotes(kept, 2)[place(0)] == (1000, 0)
    assert kept.ask(NOON, NOON + HOUR).rx == sum(range(1, 10)) + 1000


def test_a_report_of_one_process_has_bars_and_rows_of_the_same_bytes() -> None:
    """Its day knows fewer remotes than its hours."""
    kept = keeping(2)
    for hour in range(-12, 14):
        kept.append(crowd(9, NOON + hour * HOUR, first=hour + 12))
    kept.steps(NOON + 14 * HOUR)
    assert len(kept.spans(3)) == 1
    start = NOON - DAY // 2
    for text in ("process:curl", "proto:tcp", "-loopback:only"):
        answer = kept.ask(start, start + DAY, "process", keep=typed(text))
        assert answer.rx == sum(bar.rx for bar in answer.bars) == 24 * sum(range(1, 10))


# The file.


def dimension_rows(kept: Kept) -> tuple[int, int, int]:
    return kept.count("program"), kept.count("flow"), kept.count("remote")


def test_unused_remotes_leave_the_file() -> None:
    """With their flows, and with programs that nothing names any more."""
    kept = keeping(2, seconds=0, minutes=0, hours=0, days=0, months=0)
    kept.append(crowd(50))
    kept.append(Delta(NOON + 61, 1.0, {(key(1), CURL): {place(7): (1, 1)}}, exited={key(1)}))
    closed(kept)
    assert dimension_rows(kept) == (2, 4, 4), "two, `*` and that of nginx"
    for days in (1, 40, 80):
        closed(kept, days * 24.0)
        closed(kept, days * 24.0 + 2)
    assert kept.column("SELECT name FROM program") == ["nginx"]
    assert dimension_rows(kept) == (1, 1, 1)


def test_a_remote_that_comes_back_while_unused_ones_are_deleted_is_kept() -> None:
    """After any number of steps, by the same recorder, which has its id; also with old bytes."""
    for late in (False, True):
        for steps in range(0, 120, 8):
            kept = keeping(2, seconds=0, minutes=0)
            kept.append(crowd(50))
            kept.append(delta(NOON + 2 * HOUR, who=NGINX))
            kept.steps(NOON + 2 * HOUR + 64, steps)
            start = NOON + (10 if late else 2 * HOUR + 70)
            kept.append(Delta(start, 1.0, {(key(1), CURL): {place(n): (7, 7) for n in range(20)}}))
            kept.steps(NOON + 2 * HOUR + 64)
            kept.steps(NOON + 5 * HOUR)
            for table in ("delta", "traffic"):
                lost = f"SELECT count(*) FROM {table} WHERE flow NOT IN (SELECT id FROM flow)"
                assert kept.one(lost) == 0, (late, steps)
            assert (
                kept.one("SELECT count(*) FROM flow WHERE remote NOT IN (SELECT id FROM remote)")
                == 0
            )
            answer = kept.ask(NOON, NOON + 5 * HOUR)
            assert (answer.rx, answer.tx) == total(kept.deltas)


def used(kept: Kept) -> int:
    """Return the bytes of the used pages."""
    pages, free, size = (
        kept.one(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Record ten minutes with 3,000 new remotes each, in an hour that is not over."""
    kept = Kept(TWENTY, tmp_path_factory.mktemp("crowded") / "history.db")
    with local("UTC"), patch.object(retention, "NEWEST", 0):
        for minute in range(10):
            kept.append(crowd(3000, NOON + minute * 60, first=3000 * minute))
        kept.append(Delta(NOON + 650, 1.0))  # the newest interval always stays
        kept.steps(NOON + 11 * 60)
    kept.connection.close()
    return kept


@pytest.fixture
def crowded(recorded: Kept, tmp_path: Path) -> Iterator[Kept]:
    """Return a copy of the recorded minutes."""
    assert recorded.path
    kept = Kept(TWENTY, Path(shutil.copy(recorded.path, tmp_path / "history.db")))
    kept.deltas = [*recorded.deltas]
    with patch.object(fold, "ROWS_AT_ONCE", 500), patch.object(sweep, "ROWS_AT_ONCE", 500):
        yield kept
    kept.connection.close()


def limited(kept: Kept, max_size: int) -> None:
    """Run a recorder with --max-size to its end."""
    kept.policy = replace(kept.policy, max_size=max_size)
    kept.reopen()
    kept.steps(NOON + 11 * 60)


def test_max_size_holds_within_the_last_hour(crowded: Kept) -> None:
    """Ten minutes with two million remotes made 261 MB that --max-size 20M could not shrink."""
    assert used(crowded) > 3_000_000
    limited(crowded, 400_000)
    assert used(crowded) <= 400_000
    crowded.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert crowded.path
    assert crowded.path.stat().st_size <= 400_000
    assert not crowded.rollup.is_over_size
    answer = crowded.ask(NOON, NOON + HOUR, "process")
    assert (answer.rx, answer.tx) == total(crowded.deltas)
    assert [bar.rx for bar in answer.bars[:10]] == [3000 * 3001 // 2] * 10
    assert dimension_rows(crowded) == (1, 201, 201)


def test_minutes_are_folded_from_half_of_max_size_on(tmp_path: Path) -> None:
    kept = Kept(replace(policy(), keep_remotes=20), tmp_path / "history.db")
    kept.policy = replace(kept.policy, max_size=1_000_000)
    kept.reopen()
    for minute in range(6):
        kept.append(crowd(1000, NOON + minute * 60, first=1000 * minute))
        kept.steps(NOON + minute * 60 + 64)
    rows = kept.column("SELECT count(*) FROM traffic GROUP BY span ORDER BY span")
    assert set(rows) == {1000, 21}
    assert rows == sorted(rows, reverse=True)
    assert used(kept) <= 1_000_000
    kept.connection.close()


def unused(kept: Kept) -> None:
    """Leave 200 flows that no row uses, and a `*` of curl that none uses either."""
    kept.append(crowd(200))
    kept.append(delta(NOON + 2 * HOUR, who=NGINX))
    with patch.object(rollup.Rollup, "_sweep_some", return_value=False):
        kept.steps(NOON + 2 * HOUR + 64)
        kept.connection.execute(
            "DELETE FROM traffic WHERE span IN (SELECT id FROM span WHERE end <= ?)", (NOON + HOUR,)
        )


def minutes(kept: Kept, number: int, pieces: int) -> None:
    """Close minutes of 10 remotes each, whose rest is folded, with that many steps for each."""
    for minute in range(number):
        start = NOON + 2 * HOUR + minute * 60
        kept.append(crowd(10, start + 1, first=500))
        kept.steps(start + 64, pieces)


def test_sweep_goes_on_while_minutes_are_folded() -> None:
    """Each closed minute began it anew: in a large history unused rows stayed for ever, and --max-size did not hold."""
    kept = keeping(3, max_size=1, seconds=60, hours=HOUR)
    with patch.object(rollup.Rollup, "_shrink", return_value=False):
        unused(kept)
        assert kept.count("flow") > 200
        minutes(kept, 40, 14)
    assert kept.count("flow") < 30


@pytest.mark.parametrize("pieces", range(25, 40))
def test_flow_with_the_number_of_a_deleted_one_keeps_its_remote(pieces: int) -> None:
    """SQLite gives a flow the number of one that was deleted at the end of the table."""
    kept = keeping(3, seconds=60, hours=HOUR)
    kept.append(delta(NOON - 60, who=NGINX))
    unused(kept)
    kept.steps(NOON + 2 * HOUR + 64, pieces)
    kept.append(delta(NOON + 2 * HOUR + 70, pid=7, who=NGINX, far=place(5000)))
    kept.steps(NOON + 2 * HOUR + 70)
    assert kept.count("flow") < 30
    assert kept.one("SELECT count(*) FROM flow WHERE remote NOT IN (SELECT id FROM remote)") == 0


@pytest.mark.parametrize("pieces", range(12, 40, 2))
def test_rest_that_is_used_again_while_unused_rows_are_deleted_stays(pieces: int) -> None:
    kept = keeping(3, max_size=1, seconds=60, hours=HOUR)
    with patch.object(rollup.Rollup, "_shrink", return_value=False):
        unused(kept)
        minutes(kept, 8, pieces)
        kept.steps(NOON + 3 * HOUR)
    lost = (
        "SELECT count(*) FROM traffic LEFT JOIN flow ON flow.id = flow"
        " LEFT JOIN remote ON remote.id = remote WHERE remote.id IS NULL"
    )
    assert kept.one(lost) == 0
    assert remotes(kept, 1)[remote("*", 0)]


def test_closed_spans_of_a_shipped_history_keep_their_rows(crowded: Kept) -> None:
    """Else a span that is sent again would count its remotes there and in `*`."""
    Spool(crowded.connection, "clickhouse://there", Host("here", f"{1:032x}")).begin()
    limited(crowded, 400_000)
    assert set(crowded.column("SELECT count(*) FROM traffic GROUP BY span")) == {3000}
    assert crowded.rollup.is_over_size
    closed(crowded, 1.0)
    assert crowded.column(
        "SELECT count(*) FROM traffic JOIN span ON span.id = span WHERE level = 2"
    ) == [21]
    assert used(crowded) <= 400_000
