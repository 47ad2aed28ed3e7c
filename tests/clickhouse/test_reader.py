"""The same queries to SQLite and ClickHouse: every number is the same."""

import io
import math
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import pytest

from bwtop.clickhouse import reader as clickhouse_reader
from bwtop.clickhouse import selection
from bwtop.clickhouse.client import Client, FleetError, FleetServer
from bwtop.clickhouse.follow import FleetFollower
from bwtop.clickhouse.reader import FleetReader
from bwtop.clickhouse.schema import EVENT, FIVES, NAMED, SPAN, TRAFFIC, ServerTable
from bwtop.clickhouse.selection import FleetPlans, FleetSelection
from bwtop.clickhouse.target import Target
from bwtop.history.calendar import Unit
from bwtop.history.dimensions import DIMENSIONS, ENDPOINT, Dimension, fields
from bwtop.history.moments import FINE, Moment, MomentQuery, look
from bwtop.history.plan import Piece
from bwtop.history.query import History
from bwtop.history.ranges import Range, parse
from bwtop.history.tiers import COARSEST
from bwtop.model import networks
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.flows import UDP, Host, Loss, Role
from bwtop.model.named import NameSource, RemoteName
from bwtop.output.notes import notes
from bwtop.output.report import document, run
from bwtop.output.request import ReportRequest
from bwtop.sqlite import reader
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.store import Event
from tests.build import key, remote, typed
from tests.clickhouse.servers import ClickHouse
from tests.clickhouse.stores import (
    Make,
    ask,
    differences,
    of_library,
    of_server,
    report_host,
    ship,
    told,
)
from tests.history.keep import (
    DAY,
    HOUR,
    NGINX,
    NOON,
    PROGRAMS,
    REMOTES,
    Kept,
    by,
    delta,
    local,
    move_to,
    policy,
    total,
    within,
)
from tests.history.named import QUESTIONS, learned, named, named_delta
from tests.history.test_moments import sums

WEB1 = Host("web1", "00000000-0000-4000-8000-000000000001")
WEB2 = Host("web2", "00000000-0000-4000-8000-000000000002")
DB1 = Host("db1", "00000000-0000-4000-8000-000000000003")
HOSTS = (WEB1, WEB2, DB1)

RANGES = (
    *("all", "month", "last-month", "week", "yesterday", "today", "24h", "90m", "10m"),
    *("2026-09-19 10:10:10..2026-09-20 11:11:11", "2026-09-20 11:59:30..12:00:30"),
    *("2026-09-20 12:00:10..12:00:20", "2020-01-01"),
)

FILTERS = (
    EVERYTHING,
    typed("proto:udp,other"),
    typed("loopback:hide"),
    typed("loopback:only"),
    typed("process:NGI*"),
    typed("user:0"),
    typed("pid:1,2"),
    typed("remote:192.0.2.0/24"),
    typed("net:internet"),
)

QUERIES = (
    "curl",
    "-port:443",
    "unit:nginx exe:sbin",
    "remote:2001: role:server",
    "host:web*",
    "user:ROOT,w*",
)

GROUPINGS = (
    *((dimension,) for dimension in DIMENSIONS),
    (),
    tuple(by("host", "process")),
    (*by("process"), ENDPOINT),
    tuple(by("hour", "user", "proto")),
    tuple(by("day", "host", "remote", "port")),
)

NOW = NOON + 130


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be WEB1, in another time zone."""
    monkeypatch.setattr(reader, "this_machine", lambda: WEB1)
    with local("Asia/Kolkata"):
        yield


def moved(chance: random.Random, start: float) -> Delta:
    """Return an interval with some bytes, and sometimes a loss."""
    found = Delta(start, chance.choice([0.95, 1.0, 1.01, 5.0]))
    for pid in range(1, chance.choice([2, 4, 6])):
        who = PROGRAMS[(pid + chance.randrange(2)) % len(PROGRAMS)]
        found.flows[key(pid), who] = {
            far: (chance.randrange(10**7), chance.randrange(10**6))
            for far in chance.sample(REMOTES, 2)
        }
    if chance.random() < 0.05:
        found.loss = Loss(1, chance.randrange(1000), 2, 3, 4, 5)
    return found


def recorded(seed: int, kept: Kept) -> Kept:
    """Fill an empty database with what was recorded in months, in the time zone of these tests."""
    past = _recorded(seed)
    past.connection.backup(kept.connection)
    kept.reopen()
    kept.deltas = [*past.deltas]
    return kept


@cache
def _recorded(seed: int) -> Kept:
    """Record months with little, days with more and hours with much; the clock was set back once."""
    kept, chance = Kept(), random.Random(seed)
    stretches = ((80 * DAY, 79 * HOUR), (5 * DAY, HOUR), (8 * HOUR, 400), (4200, 15), (130, 1))
    starts = [
        NOW - length + step * n + chance.random()
        for length, step in stretches
        for n in range(int(length * 0.9 / step))
    ]
    starts.append(NOW - 3 * HOUR + 0.5)
    for place, start in enumerate(sorted(starts)):
        kept.append(moved(chance, start))
        if place % 100 == 0:
            kept.steps(start)
    kept.store.append([], [Event(NOW - 2 * HOUR, "clock", -30.0), Event(NOW - 60, "sleep", 9.5)])
    kept.append(moved(chance, NOW - 4 * HOUR), moved(chance, NOW - 30 * DAY))
    kept.steps(NOW)
    return kept


T = TypeVar("T")


def mixed(chance: random.Random, side: Sequence[T]) -> Iterator[T]:
    """Yield all of a side in one order, then in another, for ever."""
    while True:
        yield from chance.sample(side, len(side))


Question = tuple[str, tuple[Dimension, ...], Filter]


EVERY: Final = max(len(RANGES), len(GROUPINGS), len(FILTERS), 4 * len(QUERIES))
"""So many questions have every range, grouping, filter and query, but not every combination."""


def questions(count: int) -> Iterator[Question]:
    """Yield so many questions; every fourth has a query."""
    chance = random.Random(count)
    ranges, groupings = mixed(chance, RANGES), mixed(chance, GROUPINGS)
    filters, queries = mixed(chance, FILTERS), mixed(chance, QUERIES)
    for place in range(count):
        words = next(queries) if place % 4 == 0 else ""
        yield next(ranges), next(groupings), next(filters) & typed(words)


def agree(kept: Kept, server: FleetServer, count: int = 13) -> None:
    """Check that the server, with the rows of WEB1, answers what the history of that host does."""
    for text, grouping, keep in questions(count):
        wanted = parse(text, NOW)
        expected = told(History(kept.past()).ask(wanted, grouping, keep, NOW))
        kept.let_go()
        found = told(ask(server, wanted, grouping, keep, NOW))
        told_apart = list(differences(expected, found))
        assert not told_apart, f"{text} by {fields(grouping)}, {keep.spell()}: {told_apart}"


def test_clickhouse_answers_equal_those_of_sqlite(store: FleetServer) -> None:
    kept = recorded(1, Kept())
    ship(kept, store, WEB1)
    agree(kept, store, EVERY)
    past = kept.past()
    assert FleetReader(store).extent() == past.extent()
    assert FleetReader(store).hosts() == [WEB1]


def test_names_of_remotes_equal_those_of_sqlite(store: FleetServer) -> None:
    """Also where a host has sent all twice, and where another host has other names for the same addresses."""
    kept, other = named(Kept()), Kept()
    ship(kept, store, WEB1, times=2)
    other.append(named_delta(NOON, "foreign.example", learned("alien.example", NameSource.DNS)))
    ship(other, store, WEB2)
    for start, end, names, words in QUESTIONS:
        wanted, keep = Range("", NOON + start, NOON + end), typed(words)
        expected = told(kept.ask_for(wanted, by(*names), keep))
        found = told(ask(store, wanted, by(*names), keep & typed(f"host:{WEB1.id}")))
        assert not list(differences(expected, found)), (names, words)
    assert row_names(store, "remote", "host") == row_names(kept, "remote", "host") | {
        ("192.0.2.1", False, *WEB2): RemoteName("foreign.example", NameSource.SNI)
    }
    kept.append(named_delta(NOON + 4 * DAY, "www.example.co.uk"))
    ship(kept, store, WEB1)
    assert store.query("SELECT count() FROM named FINAL") == [(kept.count("named") + 2,)]


def row_names(of: FleetServer | Kept, *names: str) -> dict[Any, RemoteName | None]:
    """Return the names that the rows of a report are shown with."""
    wanted = Range("", NOON, NOON + 4 * DAY)
    past = of.past() if isinstance(of, Kept) else FleetReader(of)
    answer = History(past).ask(wanted, by(*names), EVERYTHING, wanted.end)
    assert answer.names
    labels = [row.labels for row in answer.rows]
    found = dict(zip(labels, answer.names.of(by(*names), labels), strict=True))
    if isinstance(of, Kept):
        of.let_go()
    return found


def test_a_server_without_the_table_of_names_has_none(store: FleetServer) -> None:
    kept = named(Kept())
    ship(kept, store, WEB1)
    store.query("DROP TABLE named")
    wanted = Range("", NOON, NOON + 9)
    assert told(ask(store, wanted, by("name")))["bytes"] == (5, 0)
    assert set(row_names(store, "remote").values()) == {None}


def test_answers_are_equal_when_all_rows_were_sent_twice(store: FleetServer) -> None:
    kept = recorded(1, Kept())
    ship(kept, store, WEB1, rows=333)
    ship(kept, store, WEB1, target="again")
    agree(kept, store)


def test_answers_are_equal_after_a_restored_backup(store: FleetServer, tmp_path: Path) -> None:
    """Later changes have higher numbers than those the server has seen."""
    kept = recorded(1, Kept(path=tmp_path / "history.db"))
    backup = sqlite3.connect(tmp_path / "backup.db")
    kept.connection.backup(backup)
    ship(kept, store, WEB1)
    for _ in range(9):
        kept.append(moved(random.Random(9), NOW - 4 * HOUR))
        ship(kept, store, WEB1)
    backup.backup(kept.connection)
    backup.close()
    kept.reopen()
    kept.store.number_on()
    kept.append(moved(random.Random(9), NOW - 4 * HOUR))
    ship(kept, store, WEB1)
    for level in (1, 2):
        expected = kept.one(
            "SELECT sum(rx) FROM traffic JOIN span ON span.id = span WHERE level = ?", level
        )
        found = store.query(f"SELECT sum(rx) FROM traffic FINAL WHERE level = {level}")
        assert found == [(expected,)]


def test_answers_are_equal_after_hosts_delete_detail(store: FleetServer) -> None:
    """The server has all shipped rows: more than the host still has."""
    kept = recorded(1, Kept())
    ship(kept, store, WEB1)
    whole = recorded(1, Kept(policy()))
    kept.rollup = type(kept.rollup)(kept.store, policy(seconds=600, minutes=DAY, hours=3 * DAY))
    kept.steps(NOW)
    assert kept.kept(0) > 0
    ship(kept, store, WEB1)
    agree(whole, store)


def test_answers_are_equal_after_a_time_zone_change(store: FleetServer) -> None:
    """Each host has its own days; no hour is cut."""
    kept = recorded(1, Kept())
    ship(kept, store, WEB1)
    move_to("America/New_York")
    agree(kept, store)


Many = tuple[dict[Host, Kept], FleetServer, Make]


@pytest.fixture(scope="module", params=["18.16", "today"])
def many(request: pytest.FixtureRequest) -> Iterator[Many]:
    """Return three hosts, their server, and a maker of others: one host lags, the others have sent more."""
    if request.param == "today":
        make = of_library(request.getfixturevalue("chdb"))
    else:
        make = of_server(request.getfixturevalue("running"))
    with local("Asia/Kolkata"), closing(make()) as server:
        hosts = {host: recorded(seed, Kept()) for seed, host in enumerate(HOSTS, 10)}
        for host, kept in hosts.items():
            ship(kept, server, host)
        hosts[DB1].append(*(moved(random.Random(7), NOW + n) for n in range(90)))
        for host in (WEB1, WEB2):
            hosts[host].append(*(moved(random.Random(8), NOW + n) for n in range(90)))
            hosts[host].steps(NOW + 90)
            ship(hosts[host], server, host)
        yield hosts, server, make


def test_answers_of_many_hosts_add_up(many: Many) -> None:
    hosts, server, _ = many
    shipped = {
        host: within(kept.deltas, 0, NOW if host == DB1 else NOW + 90)
        for host, kept in hosts.items()
    }
    for text in ("all", "24h", "2026-09-20 12:00:10..2026-09-21 12:01:59"):
        wanted = parse(text, NOW + 90)
        bounds = (wanted.start, wanted.end) if text != "all" else (0, NOW + 90)
        answer = ask(server, wanted, by("host"))
        expected = {(*host,): total(within(deltas, *bounds)) for host, deltas in shipped.items()}
        assert {row.labels: (row.rx, row.tx) for row in answer.rows} == expected
        assert answer.rx == sum(rx for rx, _ in expected.values())
        assert sum(bar.rx for bar in answer.bars) == answer.rx


@pytest.mark.parametrize("wanted", ["web*", WEB1.id])
def test_host_filter_excludes_other_hosts(
    many: Many, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the rows of these are found first."""
    hosts, server, make = many
    chosen = [host for host in hosts if fnmatchcase(host.name, wanted) or host.id == wanted]
    with closing(make()) as alone:
        for host in chosen:
            ship(hosts[host], alone, host, target=f"alone {wanted} {server.version}")
        for text in ("all", "month", "90m", "2026-09-20 12:00:10..12:00:20"):
            question = (parse(text, NOW + 90), by("process", "host"))
            expected = told(ask(alone, *question))
            for share in (20, 1):
                monkeypatch.setattr(clickhouse_reader, "SHARE", share)
                found = ask(server, *question, typed(f"host:{wanted}"))
                assert told(found) == expected, share


def test_rows_of_a_few_hosts_count_once_with_their_last_version(store: FleetServer) -> None:
    """Of one host of twenty, the server finds the rows first, and then drops those that were sent again."""
    kept, others = recorded(1, Kept()), [Host(f"other{n}", str(UUID(int=n))) for n in range(20)]
    for host in others:
        other = Kept()
        other.append(moved(random.Random(host.name), NOON))
        ship(other, store, host)
    ship(kept, store, WEB1, times=2)
    kept.append(moved(random.Random(9), NOW - 4 * HOUR))
    kept.steps(NOW)
    ship(kept, store, WEB1)
    for text in ("all", "month", "week", "24h"):
        question = (parse(text, NOW), by("process", "remote"))
        expected = told(History(kept.past()).ask(*question, EVERYTHING, NOW))
        kept.let_go()
        found = told(ask(store, *question, typed(f"host:{WEB1.id}"), NOW))
        assert not list(differences(expected, found)), text


def test_a_filter_that_no_host_passes_has_nothing(many: Many) -> None:
    _, server, _ = many
    for text in ("24h", "month"):
        answer = ask(server, parse(text, NOW), by("process"), typed("host:nobody"))
        assert (answer.rows, answer.rx, answer.seconds) == ([], 0, 0.0)
        assert (answer.usage, answer.events, answer.networks) == (None, {}, {})


def test_averages_of_very_many_rows_are_over_longer_units(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or not known: telling their networks apart would take longer than the rest of the report."""
    _, server, _ = many
    wanted, found = parse("week", NOW), []
    for refusals in range(4):
        refused = iter([True] * refusals)
        monkeypatch.setattr(FleetSelection, "is_large", lambda _, left=refused: next(left, False))
        found.append(ask(server, wanted, by("process")))
    units = [answer.network_usage and answer.network_usage.unit for answer in found]
    assert units == [Unit.FIVE_MINUTES, Unit.HOUR, Unit.DAY, None]
    expected = found[0].networks
    assert expected
    for answer in found:
        usage = answer.network_usage
        assert answer.networks == expected
        assert not usage or (usage.rx, usage.tx) == expected["internet"]


def test_rows_are_counted_before_their_networks_are_told_apart(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server, _ = many
    monkeypatch.setattr(selection, "MOST_TOLD_APART", 0)
    assert ask(server, parse("week", NOW), by("process")).network_usage is None


def test_seconds_of_many_hosts_are_those_of_the_longest(many: Many) -> None:
    hosts, server, _ = many
    start = NOON - 8 * HOUR
    answer = ask(server, Range("", start, start + 4 * HOUR), by("host"))
    each = [
        sum(one.seconds for one in within(kept.deltas, start, start + 4 * HOUR))
        for kept in hosts.values()
    ]
    assert max(each) <= answer.seconds < sum(each)


def test_time_that_hosts_have_in_spans_of_their_own_counts_once(store: FleetServer) -> None:
    """One is in another time zone, another stopped in between; only hours and days are left."""
    start = NOON - 4 * DAY
    for host, zone, days in ((WEB1, "UTC", 4), (DB1, "Asia/Tokyo", 4), (WEB2, "UTC", 1.3)):
        with local(zone):
            kept = Kept(policy=policy(seconds=HOUR, minutes=6 * HOUR))
            kept.append(*(delta(start + n * 120, 1000, 10, 120.0) for n in range(int(days * 720))))
            kept.steps(NOON)
            ship(kept, store, host)
    for text in ("3d", "2026-09-18..2026-09-20"):
        wanted = parse(text, NOON)
        answer = ask(store, wanted, by("process"), now=NOON)
        length = min(wanted.end, NOON) - wanted.start
        assert answer.seconds == pytest.approx(length, abs=HOUR), "of which hours are left"
        assert sum(bar.seconds for bar in answer.bars) == pytest.approx(answer.seconds)
        assert answer.usage


def test_hundreds_of_hosts_have_a_plan_of_their_own(store: FleetServer) -> None:
    """Statements may be long, but not deep."""
    hosts = [str(UUID(int=number)) for number in range(600)]
    pieces = {host: [Piece(1, place, place + 60)] for place, host in enumerate(hosts)}
    plans = FleetPlans((0.0, 660.0), {}, pieces)
    found = FleetSelection(store, plans, frozenset(), EVERYTHING, list, store.query, lambda: None)
    assert list(found.coverage()) == []


@pytest.mark.parametrize("is_missing", [False, True])
def test_hosts_that_record_in_turns_have_a_percentile(store: FleetServer, is_missing: bool) -> None:
    """A five-minute total has the time of each; where one is missing, it has not all the recorded time."""
    for host, minutes in ((WEB1, (0, 1)), (DB1, (2, 3, 4))):
        kept = Kept()
        starts = [NOON - HOUR + 60 * n for n in range(60) if n % 5 in minutes]
        kept.append(*(delta(start, 1000, 10, 60.0) for start in starts))
        if is_missing:
            kept.connection.execute("DELETE FROM pulse WHERE start = ?", (NOON - HOUR + 600,))
        ship(kept, store, host)
    answer = ask(store, Range("", NOON - HOUR, NOON), by("process"), now=NOON)
    assert answer.seconds == HOUR
    assert (answer.usage and answer.usage.count) == (None if is_missing else 12)


def test_a_name_that_changes_is_the_same_host(store: FleetServer) -> None:
    kept = Kept()
    for second, name in enumerate(("web1", "www")):
        kept.append(moved(random.Random(1), NOON + second))
        ship(kept, store, Host(name, WEB1.id))
    answer = ask(store, Range("", NOON, NOON + 9), by("host"))
    assert [row.labels for row in answer.rows] == [("www", WEB1.id)]
    assert answer.rx == total(kept.deltas)[0]


def test_process_ids_are_complete_from_the_last_second_that_was_never_sent(
    store: FleetServer,
) -> None:
    kept = Kept(policy(seconds=60.0))
    kept.append(*(moved(random.Random(second), NOON + second) for second in range(9)))
    ship(kept, store, WEB1)
    assert FleetReader(store).pids_since() == NOON
    kept.append(*(moved(random.Random(second), NOON + 100 + second) for second in range(9)))
    kept.append(moved(random.Random(1), NOON + 900))
    kept.steps(NOON + HOUR)
    ship(kept, store, WEB1)
    since = kept.one("SELECT min(start) FROM interval")
    assert FleetReader(store).pids_since() == since > NOON
    answer = ask(store, Range("", NOON, NOON + HOUR), by("process"), typed("pid:1"))
    assert answer.since == since
    ((seconds, rx),) = store.query(
        "SELECT (SELECT sum(seconds) FROM span WHERE level = 0), sum(rx) FROM traffic WHERE level = 0 AND pid = 1"
    )
    assert (round(answer.seconds, 6), answer.rx) == (round(seconds, 6), rx)
    new = Kept()
    new.append(moved(random.Random(2), since + 50))
    ship(new, store, WEB2)
    assert FleetReader(store).pids_since() == since, "no second of a new host is missing"


def test_answer_names_the_wrong_clocks_of_its_hosts(many: Many) -> None:
    _, server, _ = many
    for host, clock in ((WEB1, 3600.0), (WEB2, 2.0), (DB1, -40.0)):
        report_host(server, host, clock=clock)
    wanted = parse("90m", NOW)
    assert ask(server, wanted, by("host")).clocks == {WEB1: 3600.0, DB1: -40.0}
    answer = ask(server, wanted, by("host"), typed("host:web*"))
    assert next(iter(notes(answer))) == "the clock of web1 is 1 hour ahead: its times are wrong"
    server.query("TRUNCATE TABLE host")


def test_hosts_with_losses_are_named(many: Many) -> None:
    hosts, server, _ = many
    wanted = parse("24h", NOW)
    lost = {host: kept.ask_for(wanted, by(), EVERYTHING).loss for host, kept in hosts.items()}
    answer = ask(server, wanted, by("process"))
    assert set(answer.losing) == {host for host, loss in lost.items() if any(loss)}
    names = ", ".join(host.name for host in answer.losing)
    assert [note for note in notes(answer) if note.startswith("lost: ") and f" ({names})" in note]


def test_remotes_that_are_known_hosts_have_their_names(store: FleetServer) -> None:
    """An address that two hosts have is nobody's."""
    near, shared, far = (remote(address) for address in ("192.0.2.7", "172.17.0.1", "198.51.100.1"))
    kept = Kept()
    kept.append(
        delta(NOON, 100, 1, far=near),
        delta(NOON + 1, 20, 1, far=shared),
        delta(NOON + 2, 3, 1, far=far),
    )
    ship(kept, store, WEB1)
    for host, addresses in (
        (WEB1, ["192.0.2.1", "172.17.0.1"]),
        (DB1, ["192.0.2.7", "2001:db8::7", "172.17.0.1", "not an address"]),
    ):
        report_host(store, host, addresses)
    answer = ask(store, Range("", NOON, NOON + 9), by("host", "peer-host"))
    assert {row.labels: row.rx for row in answer.rows} == {
        (*WEB1, *DB1): 100,
        (*WEB1, None, None): 23,
    }


def test_conversation_of_two_hosts_is_counted_once_and_its_ends_are_compared(
    store: FleetServer,
) -> None:
    """The server's end began to record a second later; a third host is known, and records nothing."""
    web, db, other = "192.0.2.1", "192.0.2.7", "192.0.2.8"
    client, server = Kept(), Kept()
    for second in range(4):
        client.append(delta(NOON + second, 1000, 10, far=remote(db, 5432)))
    for second in range(1, 4):
        served = remote(web, 5432, role=Role.SERVER)
        server.append(delta(NOON + second, 10, 1000, who=NGINX, far=served))
    server.append(delta(NOON + 5, 7, 8, who=NGINX, far=remote(other, 53, UDP)))
    for host, kept, address in ((WEB1, client, web), (DB1, server, db), (WEB2, None, other)):
        if kept:
            ship(kept, store, host)
        report_host(store, host, [address])
    wanted, conversations = Range("", NOON, NOON + 9), by("conversation")
    answer = ask(store, wanted, conversations)
    assert {row.labels: (row.rx, row.tx) for row in answer.rows} == {
        ("web1", "curl", "db1", "nginx", 5432, "tcp"): (4000, 40),
        ("db1", "nginx", "web2", None, 53, "udp"): (7, 8),
    }
    assert (answer.rx, answer.tx) == (4007, 48)
    assert sum(bar.rx for bar in answer.bars) == answer.rx
    assert answer.usage is None, "five-minute totals have both ends"
    different = "web1 curl → db1 nginx :5432 tcp (client 3.9 KiB, server 3.0 KiB)"
    assert f"both ends have recorded different amounts: {different}" in [*notes(answer)]
    found = document(answer, ReportRequest(wanted, conversations, host=None), conversations)
    assert [(row["server_rx"], row["server_tx"]) for row in found["rows"]] == [
        (30, 3000),
        (None, None),
    ]
    by_time = ask(store, wanted, by("conversation", "hour"))
    assert sorted(row.rx for row in by_time.rows) == [7, 4000]
    only = ask(store, wanted, conversations, typed("host:db1"))
    assert sorted(row.labels[:4] for row in only.rows)[1] == ("web1", None, "db1", "nginx")


def test_networks_are_those_that_each_recording_host_sees(store: FleetServer) -> None:
    kept, plain = Kept(), networks.current()
    kept.append(
        delta(NOON, 100, 1, far=remote("2001:db8:7::1")), delta(NOON, 20, 1, far=remote("10.1.1.1"))
    )
    ship(kept, store, WEB1)
    ship(kept, store, DB1, target="db1")
    report_host(store, DB1, ["2001:db8:7::7"], [])
    day = parse("2026-09-01..2026-11-01", NOW)
    assert day.is_period
    networks.use(networks.Networks())
    try:
        by_net = ask(store, day, by("host", "net"))
        of_lan = ask(store, day, by("host"), typed("net:lan"))
    finally:
        networks.use(plain)
    seen = {(*WEB1, "internet"): 100, (*WEB1, "lan"): 20, (*DB1, "lan"): 120}
    assert {row.labels: row.rx for row in by_net.rows} == seen
    assert by_net.networks == {"internet": (100, 1), "lan": (140, 3)}
    assert {row.labels: row.rx for row in of_lan.rows} == {tuple(WEB1): 20, tuple(DB1): 120}


def test_public_networks_of_a_host_are_its_lan(store: FleetServer) -> None:
    """Of the very prefix that it is connected to; to another host they are the internet."""
    kept, plain = Kept(), networks.current()
    for far, rx in (
        ("192.0.2.70", 1),
        ("192.0.2.200", 20),
        ("2001:db8:7:1::1", 300),
        ("::1", 4000),
    ):
        kept.append(delta(NOON, rx, 0, far=remote(far)))
    ship(kept, store, WEB1)
    ship(kept, store, DB1, target="db1")
    report_host(store, WEB1, ["198.51.100.9"], ["198.51.100.9/32"])
    reported = ["192.0.2.0/25", "2001:db8:7::/48", "10.0.0.0/8", "0.0.0.0/0", "nothing"]
    report_host(store, DB1, ["192.0.2.7", "2001:db8:7::7"], reported)
    networks.use(networks.Networks())
    wanted = Range("", NOON, NOON + 9)
    try:
        rows = {row.labels: row.rx for row in ask(store, wanted, by("host", "net")).rows}
        whole = ask(store, wanted, by("host")).networks
    finally:
        networks.use(plain)
    assert rows == {
        (*WEB1, "internet"): 321,
        (*WEB1, "loopback"): 4000,
        (*DB1, "lan"): 301,
        (*DB1, "internet"): 20,
        (*DB1, "loopback"): 4000,
    }
    assert whole == {"internet": (341, 0), "lan": (301, 0), "loopback": (8000, 0)}


def test_server_of_schema_3_has_links_around_addresses(store: FleetServer) -> None:
    kept, plain = Kept(), networks.current()
    kept.append(delta(NOON, 1, 0, far=remote("2001:db8:7::1")))
    ship(kept, store, WEB1)
    report_host(store, WEB1, ["2001:db8:7::7"], ["2001:db8:8::/64"])
    store.query("ALTER TABLE host DROP COLUMN networks")
    networks.use(networks.Networks())
    try:
        (row,) = ask(store, Range("", NOON, NOON + 9), by("net")).rows
    finally:
        networks.use(plain)
    assert row.labels == ("lan",)


def test_users_have_the_names_that_all_hosts_agree_on(store: FleetServer) -> None:
    kept = Kept()
    kept.append(moved(random.Random(1), NOON))
    ship(kept, store, WEB1)
    answer = ask(store, Range("", NOON, NOON + 9), by("user"))
    assert answer.users is not None
    assert answer.users.get(0, "root") == "root"
    copied(store, TRAFFIC, process="process + 1", user="concat(user, '2')")
    again = ask(store, Range("", NOON, NOON + 9), by("user"))
    assert again.users == {}
    names = [
        ask(store, Range("", NOON, NOON + 9), by(), typed(f"user:{n}")) for n in ("Root", "root2")
    ]
    zero = ask(store, Range("", NOON, NOON + 9), by(), typed("user:0"))
    assert names[0].rx == names[1].rx == zero.rx / 2 > 0
    assert again.rx == 2 * answer.rx


def test_name_of_a_user_can_do_nothing_to_a_terminal(store: FleetServer) -> None:
    """It may be of a host that was broken into."""
    kept = Kept()
    kept.append(moved(random.Random(1), NOON))
    ship(kept, store, WEB1)
    copied(store, TRAFFIC, process="process + 1", uid="4242", user=r"'\x1b]0;x\x07\x1b[2J'")
    span = Range("", NOON, NOON + 9)
    assert "\x1b]0;x\x07\x1b[2J" in (ask(store, span, by("user")).users or {}).values()
    for groups in ((), ("user",), ("day", "user"), ("process", "user")):
        out = io.StringIO()
        request = ReportRequest(span, by(*groups) if groups else ())
        run(History(FleetReader(store)), request, "table", out)
        assert "\\x1b]0;x\\x07\\x1b[2J" in out.getvalue()
        assert "\x1b" not in out.getvalue()


def copied(store: FleetServer, table: ServerTable, **changed: str) -> None:
    """Insert the rows of WEB1 in a table again with other values: SQL of columns."""
    columns = [column for column in table.names() if column not in changed]
    store.query(
        f"INSERT INTO {table.name} ({', '.join((*columns, *changed))})"
        f" SELECT {', '.join((*columns, *changed.values()))} FROM {table.name}"
        f" WHERE host_id = '{WEB1.id}'"
    )


def test_values_that_bwtop_does_not_write_stop_no_answer(store: FleetServer) -> None:
    """They are of a newer bwtop, or of a host that was broken into."""
    ship(named(Kept()), store, WEB1)
    names = row_names(store, "remote")
    copied(store, NAMED, source="'future'", remote_name="'odd.example'", named_id="named_id + 99")
    assert row_names(store, "remote") == names
    look(FleetReader(store), MomentQuery(at=NOON + 1))
    copied(store, TRAFFIC, role="2", process="process + 9")
    roles = {row.labels[1] for row in ask(store, Range("", NOON, NOON + 9), by("port")).rows}
    assert roles == {"client", "server"}


ODD: Final[Sequence[tuple[ServerTable, dict[str, str]]]] = (
    (SPAN, {"end": "inf"}),
    (SPAN, {"start": "-inf"}),
    (SPAN, {"start": "1e300", "end": "1e300"}),
    (SPAN, {"start": "nan", "end": "nan"}),
    (SPAN, {"seconds": "inf"}),
    (SPAN, {"seconds": "nan"}),
    (FIVES, {"seconds": "nan"}),
    (EVENT, {"amount": "nan"}),
)


def test_numbers_that_bwtop_does_not_write_stop_no_answer(store: FleetServer) -> None:
    kept = recorded(1, Kept())
    kept.store.append([], [Event(NOW - 1, "sleep", 5.0)])
    ship(kept, store, WEB1)
    before = ask(store, parse("24h", NOW), by("process")).rx
    for number, (table, changed) in enumerate(ODD, len(HOSTS) + 1):
        copied(store, table, host_id=f"toUUID('{WEB1.id[:-2]}{number:02}')", **changed)
    for host, clock in ((WEB1, math.inf), (WEB2, -math.inf), (DB1, 1e300)):
        report_host(store, host, clock=clock)
    for text in ("all", "month", "today", "10m"):
        request = ReportRequest(parse(text, NOW))
        run(History(FleetReader(store)), request, "table", io.StringIO())
    answer = ask(store, parse("24h", NOW), by("process"))
    assert answer.rx == before
    assert "nan" not in " ".join(notes(answer))
    for level in range(COARSEST + 1):
        FleetReader(store).beside(level, NOW - 5, later=False)
    look(FleetReader(store), MomentQuery(at=NOW - 1))
    follower = FleetFollower(store, EVERYTHING, lambda: NOW + 1.0)
    follower.read()
    assert follower.state()


def test_moments_equal_those_of_sqlite(store: FleetServer) -> None:
    """A second of the server has the intervals that begin in it."""
    kept = recorded(1, Kept())
    ship(kept, store, WEB1)
    for span in ((NOW - 90, NOW), (NOW - HOUR, NOW), (NOW - 5 * DAY, NOW - 4 * DAY)):
        local, fleet = (
            look(past, MomentQuery(span=span)) for past in (kept.past(), FleetReader(store))
        )
        kept.let_go()
        (one,), (other,) = local.samples, fleet.samples
        assert sums([one]) == sums([other]) == total(within(kept.deltas, *span))
        if span[1] - span[0] <= FINE:
            assert {key.pid for key in one.traffic} == {key.pid for key in other.traffic}
        assert local.amounts[-1][2].keys() == fleet.amounts[-1][2].keys()
    here, moved = (NOW - 90.0, NOW - 89.0), (0, 0)
    while here[1] < NOW - 60:
        found = look(FleetReader(store), MomentQuery(here, 1))
        rx, tx = sums(found.samples[-1:])
        moved, here = (moved[0] + rx, moved[1] + tx), found.here
    assert moved == total(within(kept.deltas, NOW - 89, here[1]))
    found = look(FleetReader(store), MomentQuery(steps=-1))
    assert (found.detail, NOW - found.end < 60) == ("seconds", True)


def test_seconds_of_a_moment_have_all_intervals_that_begin_in_it(store: FleetServer) -> None:
    """Of many hosts, those of the longest: their rates add up."""
    for host, starts in ((WEB1, (0.0, 0.5)), (DB1, (0.25,))):
        kept = Kept()
        kept.append(*(delta(NOON + start, 500, 0, 0.5) for start in starts))
        ship(kept, store, host)
    ((span, seconds, moved),) = FleetReader(store).amounts(0, NOON, NOON + 1)
    assert (span.start, seconds) == (NOON, 1.0)
    assert sum(rx for rx, _ in moved.values()) == 1500


def test_names_of_moments_equal_those_of_sqlite(store: FleetServer) -> None:
    """Another host's names are not those of this one."""
    kept, other = named(Kept()), Kept()
    ship(kept, store, WEB1)
    other.append(named_delta(NOON, "foreign.example", learned("alien.example", NameSource.DNS)))
    ship(other, store, WEB2)
    kept.append(named_delta(NOON + 3 * DAY + 1))
    ship(kept, store, WEB1)
    seen = set()
    for query in (
        *(MomentQuery(at=NOON + second) for second in (0, 1, 3, 60, 65, 3 * DAY)),
        *(MomentQuery(span=(NOON + first, NOON + last)) for first, last in ((0, 9), (0, 4 * DAY))),
    ):
        local, fleet = (look(past, query) for past in (kept.past(), FleetReader(store)))
        kept.let_go()
        assert names_by_end(local) == names_by_end(fleet)
        seen |= {source for names in names_by_end(local).values() for _, source in names}
    assert seen == {NameSource.SNI, NameSource.DNS, NameSource.HOST_DNS}


def names_by_end(found: Moment) -> dict[Any, list[tuple[str, NameSource]]]:
    """Return the names in a moment by process and remote of the first host."""
    sample = found.samples[-1]
    ends = {
        (sample.identities[process], far): names for (process, far), names in sample.named.items()
    }
    return {
        (who.name, who.uid, far): [(one.name, one.source) for one in names]
        for (who, far), names in ends.items()
        if who.host in (None, WEB1)
    }


def test_empty_server_has_no_history(store: FleetServer) -> None:
    past = FleetReader(store)
    assert (past.hosts(), past.extent(), past.pids_since()) == ([], None, 0.0)
    answer = ask(store, parse("all", NOW), by("host"), now=NOW)
    assert (answer.rows, answer.rx, answer.seconds, answer.usage) == ([], 0, 0.0, None)


def test_a_server_without_tables_says_so(running: ClickHouse) -> None:
    client = Client(Target("127.0.0.1", running.port, database="default"), "")
    with closing(client), pytest.raises(FleetError, match="create or upgrade the tables: "):
        FleetReader(client).extent()
