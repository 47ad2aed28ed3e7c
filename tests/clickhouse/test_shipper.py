"""Recorded intervals are shipped meanwhile; recording never waits for the server."""

import contextlib
import itertools
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from bwtop import __version__
from bwtop.clickhouse import shipper
from bwtop.clickhouse.client import Client, FleetError
from bwtop.clickhouse.clocks import WRONG
from bwtop.clickhouse.shipper import ERRORS, Shipper, ShippingOptions, ShippingState
from bwtop.clickhouse.spool import UnsentIntervals
from bwtop.clickhouse.target import Target
from bwtop.identity.addresses import connected_networks, own_addresses
from bwtop.identity.machine import this_machine
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.metrics.watch import Watch
from bwtop.model.sample import Sample
from bwtop.sqlite import connections
from tests.clickhouse.servers import ClickHouse, free_port, listening
from tests.clickhouse.shipping import Shippers, Shipping, agreed
from tests.clickhouse.sides import there
from tests.history.recording import LENGTH, LONGEST, is_line
from tests.kernel.running import HANG


def told(shipping: Shipping, fault: str, while_mended: str = "") -> None:
    """Check that the fault was told once, and once that it is over.

    while_mended: the end of other faults that may be told in between.
    """
    begun, *meanwhile, over = shipping.lines
    assert all(map(is_line, shipping.lines))
    assert begun == (
        f"not shipping: {shipping.shipper.target}: {fault}; unsent intervals stay in the history"
    )
    assert over == f"shipping to {shipping.shipper.target} again"
    assert len(meanwhile) == len(set(meanwhile))
    assert not meanwhile or while_mended, meanwhile
    assert all(line.endswith(while_mended) for line in meanwhile)


# All is well.


def test_what_is_recorded_is_sent_meanwhile(
    path: Path, target: Target, server: Client, shippers: Shippers
) -> None:
    """As rows of this host."""
    shipping = shippers(path, target)
    for _ in range(10):
        shipping.feed.put(30, LENGTH)
        shipping.all_sent()
    assert there(server).by_level[0][0] == 300
    shipping.until(lambda: shipping.shipper.state.waiting == UnsentIntervals())
    state = shipping.shipper.state
    assert state == ShippingState(rows=state.rows, clock=state.clock)
    shipping.feed.clock.sleep(3600.0)
    shipping.feed.put(2)
    side = agreed(shipping, server)
    assert (set(side.by_level), side.events) == ({0, 1, 2}, 1)
    assert shipping.shipper.state.rows == shipping.tally.rows
    assert shipping.lines == []
    for table in ("traffic", "span", "event"):
        hosts = server.query(f"SELECT DISTINCT toString(host_id), host FROM {table}")
        assert hosts == [(this_machine().id, this_machine().name)]


def test_close_sends_what_is_left(
    path: Path,
    target: Target,
    server: Client,
    shippers: Shippers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shipper, "PERIOD", 60.0)
    shipping = shippers(path, target)
    shipping.until(lambda: shipping.shipper.state.waiting == UnsentIntervals())
    shipping.feed.put(100)
    shipping.feed.put(1, 0.5)
    shipping.close()
    assert there(server).by_level[0][0] == 101
    assert there(server) == shipping.here()
    assert shipping.lines == []


def test_server_restart_between_two_batches_is_not_reported(
    path: Path, own: ClickHouse, shippers: Shippers
) -> None:
    shipping = shippers(path, own.target)
    shipping.feed.put(10)
    shipping.all_sent()
    own.kill()
    own.start()
    shipping.feed.put(10)
    shipping.all_sent()
    with contextlib.closing(own.client()) as client:
        assert agreed(shipping, client).by_level[0][0] == 20
    assert shipping.lines == []


# Reports of the host.


def test_host_reports_itself(
    path: Path,
    target: Target,
    server: Client,
    shippers: Shippers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its clock is that of the server, which is on this machine."""
    monkeypatch.setattr(shipper, "REPORT_PERIOD", 0.0)
    shipping = shippers(path, target)
    shipping.feed.put(3)
    shipping.all_sent()
    ((host, addresses, prefixes, version, first, last, clock),) = server.query(
        "SELECT host, addresses, networks, bwtop, first, last, clock FROM host FINAL"
    )
    assert (host, addresses) == (this_machine().name, own_addresses())
    assert prefixes == sorted(map(str, set(connected_networks())))
    assert (version, first) == (__version__, shipping.feed.clock.wall - 3)
    assert abs(last - time.time()) < HANG
    assert abs(clock) < WRONG
    monkeypatch.setattr(shipper, "ahead", lambda _: 3600.0)
    shipping.feed.put(3)
    shipping.until(lambda: shipping.shipper.state.clock == 3600.0)
    state = shipping.shipper.state
    assert state.warning(shipping.feed.clock.wall) == "clock 1 hour ahead"
    shipping.all_sent()
    assert shipping.lines == [
        f"compared with {target.url()}, the clock of this host is 1 hour ahead"
    ]
    assert (3600.0,) in server.query("SELECT clock FROM host")


# Faults that somebody can mend.


@pytest.fixture
def unstarted(tmp_path: Path) -> Iterator[ClickHouse]:
    """Return a server that does not run yet."""
    server = ClickHouse(tmp_path / "clickhouse")
    yield server
    server.stop()


def test_a_server_that_is_not_there_yet(
    path: Path, unstarted: ClickHouse, shippers: Shippers
) -> None:
    """When it starts, it has no tables."""
    shipping = shippers(path, unstarted.target)
    shipping.feed.put(100, LENGTH)
    shipping.until(lambda: shipping.shipper.state.fault)
    shipping.feed.wait()
    shipping.until(lambda: shipping.shipper.state.waiting.intervals == 100)
    state, now = shipping.shipper.state, shipping.feed.clock.wall
    assert state.lag(now) == 100 * LENGTH
    assert state.warning(now) == f"not shipped for 4000 s (100 intervals): {state.fault}"
    unstarted.start()
    unstarted.init()
    with contextlib.closing(unstarted.client()) as client:
        assert agreed(shipping, client).by_level[0][0] == 100
    assert shipping.shipper.state.warning(now) == ""
    told(shipping, "Connection refused", ": bwtop --ship ... --init)")
    assert shipping.feed.slowest < LONGEST


CREATE: Final = "doesn't exist (create or upgrade the tables: bwtop --ship ... --init)"


def test_wrong_password_can_be_mended(path: Path, own: ClickHouse, shippers: Shippers) -> None:
    target = replace(own.target, user="writer")
    shipping = shippers(path, target, password="wrong battery")
    faulty(shipping)
    own.let_in("writer", "wrong battery")
    with contextlib.closing(own.client()) as client:
        assert agreed(shipping, client).by_level[0][0] == 40
    told(shipping, "Wrong password for user writer")
    assert "battery" not in " ".join(shipping.lines)


@pytest.mark.parametrize(
    ("missing", "words", "while_mended"),
    [
        (
            "DATABASE {}",
            "Database {} doesn't exist (create the database: bwtop --ship ... --init)",
            CREATE,
        ),
        ("TABLE {}.traffic", f"Table {{}}.traffic {CREATE}", ""),
        ("TABLE {}.span", f"Table {{}}.span {CREATE}", ""),
    ],
    ids=["database", "traffic", "span"],
)
def test_missing_tables_can_be_created(
    path: Path,
    running: ClickHouse,
    target: Target,
    shippers: Shippers,
    missing: str,
    words: str,
    while_mended: str,
) -> None:
    with contextlib.closing(running.client(database=False)) as client:
        client.query(f"DROP {missing.format(target.database)}")
    shipping = shippers(path, target)
    faulty(shipping)
    running.init(target.database)
    with contextlib.closing(Client(target, "")) as client:
        assert agreed(shipping, client).by_level[0][0] == 40
    told(shipping, words.format(target.database), while_mended)


def faulty(shipping: Shipping) -> None:
    """Record during some failed attempts."""
    shipping.feed.put(20)
    shipping.fails(3)
    shipping.feed.put(20)
    shipping.feed.wait()
    assert shipping.feed.lines == []
    assert len(shipping.lines) == 1


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """Open a port that accepts connections and never answers."""
    taken: list[socket.socket] = []
    try:
        with listening(taken.append) as port:
            yield port
    finally:
        for sock in taken:
            sock.close()


def test_locked_history_is_said_to_be_busy(
    path: Path, target: Target, shippers: Shippers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most often it is bwtop itself that writes."""
    monkeypatch.setattr(connections, "WAIT", 0.1)
    shipping = shippers(path, target)
    shipping.feed.put(3)
    shipping.all_sent()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        shipping.until(lambda: shipping.shipper.state.fault)
        fault = shipping.shipper.state.fault
        other.execute("ROLLBACK")
    assert fault == f"the history is busy, with bwtop itself or another program: {path}"
    assert shipping.shipper.figures().errors["history"] > 0


def test_silent_server_times_out(path: Path, shippers: Shippers) -> None:
    with silence() as port:
        shipping = shippers(path, Target("127.0.0.1", port), patience=0.2)
        faulty(shipping)
        assert shipping.shipper.state.fault == "no answer"
        shipping.close()
        assert shipping.lines[1:] == [
            "40 intervals not shipped yet; they stay in the history until bwtop runs again"
        ]
    assert shipping.feed.slowest < LONGEST


def test_silent_server_does_not_delay_the_exit(
    path: Path, shippers: Shippers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the state has the backlog."""
    monkeypatch.setattr(shipper, "CLOSE_SECONDS", 0.5)
    with silence() as port:
        target = Target("127.0.0.1", port)
        shipping = shippers(path, target, patience=2 * HANG)
        shipping.feed.put(20)
        shipping.until(lambda: shipping.shipper.state.waiting.since is not None)
        assert shipping.shipper.state.fault == ""
        assert "the server is slow" in shipping.shipper.state.warning(shipping.feed.clock.wall + 60)
        shipping.feed.wait()
        shipping.feed.recorder.close()
        began = time.monotonic()
        shipping.shipper.close()
        assert time.monotonic() - began < HANG
        assert shipping.lines == [
            "20 intervals not shipped yet; they stay in the history until bwtop runs again"
        ]


def test_unsent_rows_are_sent_at_the_next_start(
    path: Path, unstarted: ClickHouse, shippers: Shippers
) -> None:
    first = shippers(path, unstarted.target)
    first.feed.put(100)
    first.until(lambda: 1 in first.here().by_level)
    first.close()
    assert (
        first.lines[-1]
        == "100 intervals and 1 total not shipped yet; they stay in the history until bwtop runs again"
    )
    unstarted.start()
    unstarted.init()
    second = shippers(path, unstarted.target)
    with contextlib.closing(unstarted.client()) as client:
        assert agreed(second, client).by_level[0][0] == 100


# Who records, and where.


def test_only_the_recorder_ships(
    path: Path, target: Target, server: Client, shippers: Shippers
) -> None:
    first = shippers(path, target)
    second = shippers(path, target)
    first.feed.put(50)
    first.all_sent()
    second.feed.wait(lambda: second.feed.recorder.state.other)
    time.sleep(0.3)
    assert (second.tally.begun, second.shipper.state) == (0, ShippingState())
    first.close()
    second.feed.until(lambda: second.feed.recorder.state.recording)
    second.feed.put(10)
    agreed(second, server)
    assert second.tally.begun > 0
    assert (first.lines, second.lines) == ([], [])


@pytest.mark.parametrize("whole", [False, True])
def test_a_database_that_is_deleted_and_begun_anew_is_another_one(
    tmp_path: Path, target: Target, server: Client, shippers: Shippers, whole: bool
) -> None:
    """Its ids restart: rows of the first are not mistaken for rows of the second."""
    (tmp_path / "at").mkdir()
    path = tmp_path / "at" / "history.db"
    shipping = shippers(path, target)
    shipping.feed.put(100, LENGTH)
    shipping.all_sent()
    shipping.until(lambda: 2 in shipping.here().by_level)
    shipping.all_sent()
    first = shipping.here()
    if whole:
        shutil.rmtree(path.parent)
    else:
        for file in path.parent.iterdir():
            file.unlink()
    shipping.feed.wait(lambda: len(shipping.feed.lines) == 2)
    shipping.feed.put(70, LENGTH)
    shipping.feed.wait(lambda: shipping.feed.recorder.stored == 170)
    shipping.until(shipping.is_at_end)
    shipping.close()
    second = shipping.here()
    spools = [spool for (spool,) in server.query("SELECT DISTINCT spool FROM span")]
    sides = [there(server, f"spool = {spool}") for spool in spools]
    assert len(sides) == 2
    assert all(side in sides for side in (first, second))
    assert shipping.lines == [], "the recorder has said it"


def test_a_history_that_was_deleted_is_not_created(path: Path, shippers: Shippers) -> None:
    """It was, empty, if it was deleted after the look whether it is there; the shipper then told that it has no tables."""
    shipping = shippers(path, Target("127.0.0.1", free_port()))
    shipping.feed.put()
    shipping.feed.wait()
    shipping.close()
    path.unlink()
    shipping.shipper.open()
    assert not path.exists()
    assert shipping.shipper._attempt(), "it has nothing to tell"
    assert not path.exists()


# What is told.


def test_warning_names_a_long_lag_or_a_fault() -> None:
    assert ShippingState().warning(1000.0) == ""
    assert ShippingState(waiting=UnsentIntervals(3, 990.0)).warning(1000.0) == ""
    slow = ShippingState(waiting=UnsentIntervals(70, 900.0))
    assert slow.lag(1000.0) == 100.0
    assert slow.warning(1000.0) == "not shipped for 100 s (70 intervals): the server is slow"
    gone = ShippingState("it is gone", UnsentIntervals(1, 999.0))
    assert gone.warning(1000.0) == "not shipped for 1 s (1 interval): it is gone"


def test_attempts_become_rarer(path: Path, shippers: Shippers) -> None:
    tried: list[float] = []

    def refuse(_: object) -> Client:
        tried.append(time.monotonic())
        raise FleetError("no")

    shipping = shippers(path, Target("127.0.0.1", free_port()), connect=refuse)
    shipping.feed.put()
    shipping.until(lambda: len(tried) >= 6)
    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert all(pause >= 0.05 for pause in pauses)
    assert all(pause >= 0.19 for pause in pauses[2:]), pauses
    assert shipping.lines == ["not shipping: no; unsent intervals stay in the history"]


class Nothing:
    def read(self) -> Sample:
        raise AssertionError("nobody asks")


def test_metrics_have_the_backlog(path: Path) -> None:
    made = Shipper(ShippingOptions(Target("127.0.0.1", 1)), path)
    made.state = ShippingState("it is gone", UnsentIntervals(3, time.time() - 500.0))
    nothing = Measurement(
        readings=Nothing(),
        backend="fexit",
        status=lambda: Status(""),
        close=lambda _: None,
        shipper=made,
    )
    watch = Watch()
    watch.over(nothing)
    sending = watch.figures().sending
    assert sending
    assert sending.intervals == 3
    assert sending.lag == pytest.approx(500.0, abs=HANG)
    assert sending.succeeded is None
    assert sending.errors.keys() == set(ERRORS)
