"""Batches: every row of the database, in order, and once unless it changes."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bwtop.clickhouse import spool as spools
from bwtop.clickhouse.schema import EVENT, FIVES, SPAN, TABLES, TRAFFIC, ServerTable
from bwtop.clickhouse.spool import ROWS, STILL, Batch, Spool, UnsentIntervals
from bwtop.identity.users import user_name
from bwtop.model.flows import RECORDED_LOSSES, Host, Identity, Loss
from bwtop.sqlite import connections, schema
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.store import Event
from tests.build import HOSTILE, key
from tests.clickhouse.sides import LEVELS, Side, here
from tests.examples import examples
from tests.history.keep import (
    CURL,
    DAY,
    HOUR,
    MINUTE,
    NGINX,
    NOON,
    PROGRAMS,
    REMOTES,
    Kept,
    delta,
    flows_of,
    memory,
    policy,
    total,
)

HOST: Final = Host("here", "12345678-1234-4234-8234-123456789abc")

LATER: Final = NOON + 300 * DAY

MONTHS: Final = tuple(NOON + days * DAY for days in (100, 101, 140, 200))
"""Something at each of them closes the sums of all that was before, up to the month."""

Row = dict[str, Any]


def spool(kept: Kept, target: str = "clickhouse://there") -> Spool:
    return Spool(kept.connection, target, HOST)


def batches(sent: Spool, rows: int = ROWS) -> list[Batch]:
    """Return all batches; acknowledge each before the next."""
    found: list[Batch] = []
    while batch := sent.batch(rows):
        sent.move(batch.after)
        found.append(batch)
        assert len(lines([batch], TRAFFIC)) <= rows
        assert len(found) < 10_000, "it never ends"
    return found


def received(*sent: Batch, kept: Kept) -> "Received":
    """Return what a server has of these batches; check that it is what the host has."""
    found = Received(sent)
    assert found.side() == here(kept.connection)
    return found


def lines(sent: Iterable[Batch], table: ServerTable, level: int | None = None) -> list[Row]:
    """Return the rows of a table in the order of sending."""
    found = [
        dict(zip(table.names(), values, strict=True))
        for batch in sent
        for of, columns in batch.tables
        if of is table
        for values in zip(*columns, strict=True)
    ]
    return found if level is None else [row for row in found if row["level"] == level]


class Received:
    """The received rows that count: per key, the row of the highest version."""

    def __init__(self, sent: Iterable[Batch] = ()) -> None:
        self._rows: dict[str, dict[tuple[Any, ...], Row]] = {table.name: {} for table in TABLES}
        for batch in sent:
            self.take(batch)

    def take(self, batch: Batch) -> None:
        for table, _ in batch.tables:
            kept = self._rows[table.name]
            for row in lines([batch], table):
                place = tuple(row[name] for name in table.key if name in row)
                if place not in kept or kept[place].get("version", 0) <= row.get("version", 0):
                    kept[place] = row

    def rows(self, table: ServerTable, level: int) -> list[Row]:
        return [row for row in self._rows[table.name].values() if row["level"] == level]

    def side(self) -> Side:
        found = {}
        for level in LEVELS:
            traffic, spans = self.rows(TRAFFIC, level), self.rows(SPAN, level)
            if traffic or spans:
                rx, tx = (sum(row[way] for row in traffic) for way in ("rx", "tx"))
                seconds = sum(row["seconds"] for row in spans)
                found[level] = (len(traffic), rx, tx, len(spans), round(seconds, 3))
        return Side(found, len(self._rows[EVENT.name]))


def busy(kept: Kept, count: int = 40, apart: float = 50.0, start: float = NOON) -> None:
    """Record intervals of several programs, remotes and processes."""
    for number in range(count):
        flows = {
            (key(pid), PROGRAMS[(number + pid // 2) % len(PROGRAMS)]): {
                far: (1000 * number + pid, place) for place, far in enumerate(REMOTES[pid:])
            }
            for pid in range(1, 2 + number % 3)
        }
        loss = Loss(*range(number, number + 6)) if number % 5 == 0 else Loss()
        kept.append(Delta(start + number * apart, 1.0, flows, loss=loss))


def add_up(kept: Kept) -> None:
    """Close the minutes, hours, days and months."""
    kept.append(*map(delta, MONTHS))
    kept.steps(LATER)


# Batches.


@pytest.mark.parametrize("rows", [1, 7, ROWS])
def test_batches_of_every_size_give_each_row_once_and_in_order(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "SPANS", 10)
    monkeypatch.setattr(spools, "LISTED", 3)
    kept = Kept()
    busy(kept)
    kept.store.append([], [Event(NOON + number, "sleep", 1.0) for number in range(10)])
    add_up(kept)
    sent = batches(spool(kept), rows)
    names = ("span_id", "flow", "process", "pid", "rx", "tx")
    measured = lines(sent, TRAFFIC, 0)
    assert [tuple(row[name] for name in names) for row in measured] == kept.rows(
        "SELECT interval, flow, process, pid, rx, tx FROM delta"
        " JOIN process ON process.id = process ORDER BY interval, flow, process"
    )
    changed = ("version", "span_id", "flow", "rx", "tx")
    sums = [row for row in lines(sent, TRAFFIC) if row["level"] > 0]
    assert [tuple(row[name] for name in changed) for row in sums] == kept.rows(
        "SELECT changed, span, flow, rx, tx FROM traffic JOIN span ON span.id = span"
        " ORDER BY changed, flow"
    )
    assert {row["level"] for row in sums} == {1, 2, 3, 4}
    assert len(measured) + len(sums) == kept.count("delta") + kept.count("traffic")
    assert len(lines(sent, SPAN)) == kept.count("interval") + kept.count("span")
    received(*sent, kept=kept)


def test_the_last_batch_and_no_other_says_that_it_is_the_last() -> None:
    kept = Kept()
    busy(kept)
    sent = batches(spool(kept), 7)
    assert [batch.is_last for batch in sent] == [False] * (len(sent) - 1) + [True]
    assert spool(kept).batch() is None


def test_what_is_recorded_of_a_flow_is_sent_with_each_of_its_rows() -> None:
    kept = Kept()
    kept.append(delta(NOON + 0.25, 100, 10, pid=77, who=NGINX, far=REMOTES[3]))
    (row,) = lines(batches(spool(kept)), TRAFFIC)
    number = kept.one("SELECT id FROM spool")
    assert row == {
        "level": 0,
        "host_id": row["host_id"],
        "host": "here",
        "spool": number,
        "span_id": 1,
        "time": NOON,
        "start": NOON + 0.25,
        "flow": 1,
        "process": 1,
        "pid": 77,
        "name": "nginx",
        "exe": "/usr/sbin/nginx",
        "user": user_name(33),
        "uid": 33,
        "unit": "nginx.service",
        "container": "",
        "pod": "",
        "kernel": 0,
        "protocol": 6,
        "role": 1,
        "port": 22,
        "address": REMOTES[3].address,
        "loopback": 0,
        "rx": 100,
        "tx": 10,
        "version": 0,
    }
    assert str(row["host_id"]) == HOST.id


@pytest.mark.parametrize("uid", [None, 3_999_999_999])
def test_what_is_not_known_of_a_program_is_sent_as_such(uid: int | None) -> None:
    kept = Kept()
    kept.append(delta(who=Identity("(unknown)", uid), far=REMOTES[4]))
    (row,) = lines(batches(spool(kept)), TRAFFIC)
    assert row["uid"] == (-1 if uid is None else uid)
    assert (row["user"], row["exe"], row["unit"], row["pod"]) == ("", "", "", "")
    assert row["loopback"] == 1


def test_hostile_names_are_sent_as_they_are_stored() -> None:
    kept = Kept()
    for number, name in enumerate(HOSTILE):
        who = Identity(name, 0, exe=f"/{name}", unit=name, container=name, pod=name)
        kept.append(delta(NOON + number, who=who, pid=number))
    for name in ("name", "exe", "unit", "container", "pod"):
        sent = [row[name] for row in lines(batches(spool(kept, name)), TRAFFIC)]
        assert sent == kept.column(f"SELECT {name} FROM program ORDER BY id")
        assert all(text.encode() is not None for text in sent), "UTF-8 has all of it"


def test_time_and_losses_are_sent_though_nothing_moved() -> None:
    kept = Kept()
    kept.append(Delta(NOON, 60.0), Delta(NOON + 60, 30.0, loss=Loss(1, 2, 3, 4, 5, 6)))
    sent = batches(spool(kept))
    assert lines(sent, TRAFFIC) == []
    names = ("start", "end", "seconds", *RECORDED_LOSSES)
    assert [tuple(row[name] for name in names) for row in lines(sent, SPAN)] == [
        (NOON, NOON + 60, 60.0, 0, 0, 0, 0, 0, 0),
        (NOON + 60, NOON + 90, 30.0, 1, 2, 3, 4, 5, 6),
    ]


def test_events_are_sent_once_with_their_moment() -> None:
    kept = Kept()
    kept.store.append([], [Event(NOON + 0.5, "clock", -3600.0), Event(NOON - 1, "dropped", 7)])
    sent = spool(kept)
    found = lines(batches(sent), EVENT)
    assert [(r["event_id"], r["time"], r["moment"], r["kind"], r["amount"]) for r in found] == [
        (1, NOON, NOON + 0.5, "clock", -3600.0),
        (2, NOON - 1, NOON - 1, "dropped", 7.0),
    ]
    assert sent.batch() is None


def test_a_clock_that_was_far_ahead_stops_nothing() -> None:
    """A DateTime ends in 2106; a clock without a battery may show any time."""
    kept = Kept()
    kept.append(delta(NOON), delta(2.0**33), delta(0.0))
    kept.store.append([], [Event(2.0**33, "clock", 1e10)])
    sent = batches(spool(kept))
    assert [row["time"] for row in lines(sent, TRAFFIC)] == [NOON, 2**32 - 1, 0]
    assert [row["start"] for row in lines(sent, TRAFFIC)] == [NOON, 2.0**33, 0.0]
    assert [row["time"] for row in lines(sent, EVENT)] == [2**32 - 1]


def test_five_minutes_of_a_clock_that_was_ahead_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the running five minutes wait, as long as they are what changed last."""
    kept, found = Kept(), list[Batch]()
    sent = spool(kept)

    def unsent(now: float) -> float:
        monkeypatch.setattr(time, "time", lambda: now)
        found.extend(batches(sent))
        there: dict[int, float] = {row["time"]: row["seconds"] for row in lines(found, FIVES)}
        return float(kept.one("SELECT sum(seconds) FROM pulse")) - sum(there.values())

    kept.append(*(delta(NOON + HOUR + 20 * number) for number in range(30)))
    assert unsent(NOON) == 0
    kept.append(*(delta(NOON + 20 * number) for number in range(30)), delta(NOON + HOUR))
    assert unsent(NOON + 9 * MINUTE) == 0, "it has changed before that of the future"
    kept.append(delta(NOON + 9.5 * MINUTE))
    assert unsent(NOON + 9.5 * MINUTE) == 1, "the last interval of the running one"
    kept.append(delta(NOON + HOUR + 4 * MINUTE))
    assert unsent(NOON + DAY) == 0
    assert len(lines(found, FIVES)) == 7, "each once, and again where it changed"


def test_interval_says_how_many_before_it_were_deleted_unsent() -> None:
    """So a server knows since when it has every second, without looking through them."""
    kept = Kept(policy(seconds=60.0))
    kept.append(*(delta(NOON + number) for number in range(5)))
    sent = spool(kept)
    first = batches(sent)
    kept.append(*(delta(NOON + 100 + number) for number in range(9)))
    kept.append(delta(NOON + 900), delta(NOON + 901))
    kept.steps(NOON + 2 * HOUR)
    found = [(row["start"], row["skipped"]) for row in lines([*first, *batches(sent)], SPAN, 0)]
    unsent = kept.one("SELECT min(id) FROM interval") - 6
    assert unsent > 0
    assert [skipped for _, skipped in found] == [0] * 5 + [unsent, *[0] * (len(found) - 6)]
    assert not any(
        row["skipped"] for row in lines(batches(spool(kept, "again")), SPAN) if row["level"]
    )


# What is larger than a batch.


def large(kept: Kept, count: int = 50, start: float = NOON) -> None:
    """Append an interval of `count` rows."""
    remotes = [REMOTES[0]._replace(port=port) for port in range(1, count + 1)]
    kept.append(Delta(start, 1.0, flows_of(*remotes)))


def test_what_is_larger_than_a_batch_moves_the_cursor_at_its_end_only() -> None:
    """An interval, and the minute and the hour of it."""
    kept = Kept()
    large(kept)
    kept.append(delta(NOON + 2 * HOUR))
    kept.steps(NOON + 3 * HOUR)
    sent = batches(spool(kept), 20)
    assert [batch.after.interval for batch in sent] == [0, 0, 2, 2, 2, 2, 2, 2, 2]
    _, second, third = kept.column("SELECT changed FROM span ORDER BY changed")
    assert [batch.after.change for batch in sent] == [0] * 5 + [second] * 3 + [third]
    assert [row["port"] for row in lines(sent, TRAFFIC, 0)] == [*range(1, 51), REMOTES[0].port]
    received(*sent, kept=kept)


def test_restarted_batches_send_all_parts_again() -> None:
    kept = Kept()
    large(kept)
    sent = spool(kept)
    first = [sent.batch(20), sent.batch(20)]
    assert len(lines([batch for batch in first if batch], TRAFFIC)) == 40
    sent.begin()
    assert [row["port"] for row in lines(batches(sent, 20), TRAFFIC)] == list(range(1, 51))


def test_an_hour_that_grows_between_its_parts_is_sent_whole() -> None:
    kept = Kept()
    large(kept)
    kept.steps(NOON + 2 * HOUR)
    sent, parts = spool(kept), list[Batch]()
    for _ in range(4):
        batch = sent.batch(20)
        assert batch
        parts.append(batch)
        sent.move(batch.after)
    kept.append(delta(NOON + 3, far=REMOTES[1]))
    server = received(*parts, *batches(sent, 20), kept=kept)
    assert all(row["version"] > 2 for row in server.rows(TRAFFIC, 2)), "one version has all of it"


def test_an_interval_that_goes_between_its_parts_holds_nothing_up() -> None:
    kept = Kept(policy(seconds=60.0))
    large(kept)
    busy(kept, 12, start=NOON + 2 * MINUTE)
    sent = spool(kept)
    first = sent.batch(20)
    assert first
    kept.steps(NOON + 2 * HOUR)
    assert not kept.rows("SELECT 1 FROM interval WHERE id = 1")
    server = Received([first, *batches(sent, 20)])
    assert server.side().by_level[1] == here(kept.connection).by_level[1]
    assert 1 not in {row["span_id"] for row in server.rows(SPAN, 0)}


# Spans that change.


def test_what_is_added_late_sends_the_changed_spans_again_with_a_higher_version() -> None:
    kept = Kept()
    busy(kept, 200)
    add_up(kept)
    sent = spool(kept)
    first = batches(sent)
    highest = max(row["version"] for row in lines(first, SPAN, 4))
    kept.append(delta(NOON + 70, 5, 7, who=CURL))
    more = batches(sent)
    assert [(row["level"], row["start"]) for row in lines(more, SPAN)] == [
        (0, NOON + 70),
        *kept.rows(
            "SELECT level, start FROM span WHERE start <= ? AND end > ? ORDER BY level DESC",
            *(NOON + 70, NOON + 70),
        ),
    ]
    assert all(row["version"] > highest for row in lines(more, SPAN) if row["level"] > 0)
    received(*first, *more, kept=kept)


def ahead(kept: Kept, hour: int) -> None:
    """Close the present hour, as a clock did that was ahead until now."""
    kept.append(
        *(delta(float(hour + number), 5, 7) for number in range(3)), delta(hour + 2.0 * HOUR)
    )
    kept.steps(float(hour + 3 * HOUR))
    assert kept.one("SELECT count(*) FROM span WHERE level = 2 AND start = ?", hour) == 1


def test_span_of_the_present_is_sent_again_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a clock was set back, each interval changes an hour that was closed."""
    now = time.time()
    hour = int(now // HOUR * HOUR)
    monkeypatch.setattr(time, "time", lambda: now)
    kept = Kept()
    ahead(kept, hour)
    sent = spool(kept)
    found = batches(sent)
    for number in range(20):
        kept.append(delta(hour + 10.0 + number, 1000, 1))
        found += batches(sent)
    hours = [row["version"] for row in lines(found, SPAN, 2)]
    assert len(hours) == 1
    assert len(lines(found, SPAN, 0)) == 24, "intervals go on"
    assert sent.waiting().sums > 0
    later = time.monotonic() + STILL
    monkeypatch.setattr(time, "monotonic", lambda: later)
    found += batches(sent)
    assert len(lines(found, SPAN, 2)) == 2
    assert sent.waiting() == UnsentIntervals()
    kept.append(delta(hour + 100.0, 1000, 1))
    found += batches(sent)
    assert sent.waiting().sums > 0
    sent.hurry()
    received(*found, *batches(sent), kept=kept)


@pytest.mark.parametrize(("hour", "is_now"), [(12, False), (12, True), (23, True)])
def test_span_that_grows_faster_than_it_can_be_sent_is_sent(
    hour: int, is_now: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has more rows than a batch, and grows between any two; so does its day, if the clock was ahead past midnight."""
    start = NOON + (hour - 12) * HOUR
    now = start + (1700.0 if is_now else DAY)
    monkeypatch.setattr(time, "time", lambda: now)
    kept = Kept()
    large(kept, start=start)
    ahead(kept, start)
    assert kept.count("span") == (4 if hour == 23 else 3)
    sent, server = spool(kept), Received()
    for number in range(30):
        batch = sent.batch(20)
        assert batch
        server.take(batch)
        sent.move(batch.after)
        kept.append(delta(start + 1.0 + number, 1000, 1, far=REMOTES[number % 3]))
    assert server.rows(SPAN, 2)
    if hour == 23:
        assert server.rows(SPAN, 3)
    sent.hurry()
    for batch in batches(sent, 20):
        server.take(batch)
    assert server.side() == here(kept.connection)
    assert sent.waiting() == UnsentIntervals()


def test_span_that_waits_holds_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor waits with it, so that none is lost if bwtop ends; nothing is sent again meanwhile."""
    monkeypatch.setattr(time, "time", lambda: NOON + 1700.0)
    kept = Kept()
    ahead(kept, NOON)
    sent, server = spool(kept), Received()
    for batch in batches(sent):
        server.take(batch)
    kept.append(delta(NOON + 1.0), delta(NOON + DAY), delta(NOON + DAY + 90.0))
    kept.steps(NOON + DAY + 120)
    sent.batch()
    sent.begin()  # the server has not got it
    assert sent.waiting().sums == 4
    found = batches(sent)
    assert [row["start"] for row in lines(found, SPAN, 1)] == [NOON, NOON + DAY]
    hours = [row["start"] for row in lines(found, SPAN, 2)]
    assert hours == [NOON + 2 * HOUR], "that of noon contains the present"
    assert sent.waiting().sums == 1
    sent.begin()
    assert batches(sent) == []
    again = batches(spool(kept))
    assert [row["start"] for row in lines(again, SPAN, 1)] == [NOON, NOON + DAY]
    for batch in (*found, *again):
        server.take(batch)
    assert server.side() == here(kept.connection)


def test_present_span_that_did_not_arrive_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOON + 1700.0)
    kept = Kept()
    ahead(kept, int(NOON))
    sent = spool(kept)
    lost = sent.batch()
    sent.begin()
    found = sent.batch()
    assert lost
    assert found
    assert lines([found], SPAN, 2) == lines([lost], SPAN, 2) != []


def test_progress_in_a_large_span_outlasts_one_that_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hour of the present is due again while the rows of a later hour are sent."""
    monkeypatch.setattr(time, "time", lambda: NOON + 1700.0)
    kept = Kept()
    ahead(kept, int(NOON))
    sent = spool(kept)
    batches(sent)
    kept.append(delta(NOON + 1.0))
    large(kept, start=NOON + 5 * HOUR)
    kept.append(delta(NOON + 8 * HOUR))
    kept.steps(NOON + 9 * HOUR)
    later, found = time.monotonic() + STILL, list[Batch]()

    def ports(level: int) -> list[int]:
        rows = lines(found, TRAFFIC, level)
        return [row["port"] for row in rows if row["time"] // HOUR == NOON // HOUR + 5]

    while not ports(1):
        batch = sent.batch(20)
        assert batch
        sent.move(batch.after)
        found.append(batch)
    assert len(ports(1)) < 50
    monkeypatch.setattr(time, "monotonic", lambda: later)
    found += batches(sent, 20)
    assert ports(1) == ports(2) == [*range(1, 51)], "each once"


starts: Final = st.integers(0, 3 * DAY).map(lambda second: NOON + second) | st.sampled_from(MONTHS)
deltas: Final = st.builds(
    delta,
    starts,
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    pid=st.integers(1, 3),
    who=st.sampled_from(PROGRAMS),
    far=st.sampled_from(REMOTES),
)
deeds: Final = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(deltas, min_size=1, max_size=6)),
        st.tuples(st.just("keep up"), st.tuples(starts | st.just(LATER), st.integers(1, 9))),
        st.tuples(
            st.sampled_from(["send", "lose the answer", "begin", "reopen"]), st.integers(1, 9)
        ),
    ),
    max_size=25,
)


@settings(max_examples=examples(200))
@given(deeds, st.sampled_from([1, 1000]))
def test_both_sides_agree_in_any_order_of_recording_and_shipping(
    done: list[tuple[str, Any]], keep_remotes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: float(LATER))  # a span of the present may wait
        agree(done, keep_remotes)


def agree(done: list[tuple[str, Any]], keep_remotes: int) -> None:
    """Do deeds; check that the server then has what is here."""
    kept, server = Kept(replace(policy(), keep_remotes=keep_remotes)), Received()
    sent = spool(kept)
    for deed, value in done:
        if deed == "append":
            kept.append(*value)
        elif deed == "keep up":
            kept.steps(*value)
        elif deed == "begin":
            sent.begin()
        elif deed == "reopen":
            kept.reopen()
            sent = spool(kept)
        elif batch := sent.batch(value):
            server.take(batch)
            if deed == "send":
                sent.move(batch.after)
    for batch in batches(sent, 5):
        server.take(batch)
    assert server.side() == here(kept.connection)
    assert sent.waiting() == UnsentIntervals()


# What goes before it is sent.


def test_rows_deleted_before_they_are_sent_are_in_sent_totals() -> None:
    kept = Kept(policy(seconds=300.0, minutes=HOUR))
    busy(kept, 400)
    whole = total(kept.deltas)
    add_up(kept)
    assert kept.count("interval") < 10
    server = received(*batches(spool(kept)), kept=kept)
    months = [row for row in server.rows(TRAFFIC, 4) if row["start"] < NOON + 60 * DAY]
    assert (sum(row["rx"] for row in months), sum(row["tx"] for row in months)) == whole


# Databases.


def test_a_history_of_the_first_schema_is_sent_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was recorded by a bwtop without --ship."""
    tables, spooling, *later = schema.MIGRATIONS
    names = next(script for script in later if "ALTER TABLE shipped" in script)
    cursor = names[names.index("ALTER TABLE shipped") :]
    before = (tables + "".join(later)).replace(cursor, "")  # as this bwtop writes it
    monkeypatch.setattr(schema, "MIGRATIONS", (before,))
    kept = Kept(policy(seconds=DAY, minutes=2 * DAY, hours=5 * DAY))
    assert not kept.rows("SELECT 1 FROM sqlite_schema WHERE name = 'spool'")
    for day in range(0, 70, 7):
        busy(kept, 8, 20.0, NOON + day * DAY)
    busy(kept, 200, 1000.0, NOON + 70 * DAY)
    kept.store.append([], [Event(NOON, "sleep", 60.0)])
    kept.steps(NOON + 70 * DAY + 200_000)
    monkeypatch.setattr(schema, "MIGRATIONS", (before, spooling + cursor))
    schema.migrate(kept.connection)
    sent = spool(kept)
    first = batches(sent, 50)
    side = received(*first, kept=kept).side()
    assert (set(side.by_level), side.events) == (set(LEVELS), 1)
    assert batches(sent) == []
    kept.append(delta(NOON + 5))
    add_up(kept)
    late = [row for row in lines(batches(sent), TRAFFIC, 4) if row["start"] < NOON]
    assert late, "what is added to it is sent again"


def test_each_server_has_a_cursor_of_its_own() -> None:
    """It stays where it is when bwtop is started again."""
    kept = Kept()
    busy(kept)
    one, other = spool(kept, "clickhouse://one"), spool(kept, "clickhouse://other")
    batches(one, 7)
    assert (one.waiting(), other.waiting()) == (UnsentIntervals(), UnsentIntervals(40, NOON))
    received(*batches(other), kept=kept)
    kept.append(delta(NOON + DAY))
    (batch,) = batches(spool(kept, "clickhouse://one"))
    assert [row["start"] for row in lines([batch], TRAFFIC)] == [NOON + DAY]


def test_waiting_has_the_count_and_age_of_unsent_intervals() -> None:
    kept = Kept()
    sent = spool(kept)
    assert sent.waiting() == UnsentIntervals()
    busy(kept, 10)
    assert sent.waiting() == UnsentIntervals(10, NOON)
    batch = sent.batch(30)
    assert batch
    sent.move(batch.after)
    done = batch.after.interval
    assert 0 < done < 10
    assert sent.waiting() == UnsentIntervals(10 - done, NOON + 50.0 * done)


def test_batch_does_not_block_writers(tmp_path: Any) -> None:
    kept = Kept(path=tmp_path / "history.db")
    busy(kept)
    other = connections.connect_writer(tmp_path / "history.db", 0o600)
    sent = Spool(other, "clickhouse://there", HOST)
    assert sent.batch(7)
    assert not other.in_transaction
    kept.append(delta(NOON + DAY))
    other.close()


def test_an_error_leaves_no_transaction_open(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = memory()
    sent = Spool(connection, "clickhouse://there", HOST)
    connection.execute("DROP TABLE event")
    with pytest.raises(sqlite3.OperationalError):
        sent.batch()
    assert not connection.in_transaction
