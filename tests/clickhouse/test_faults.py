"""Faults of the server, the connection or bwtop: both sides end up equal, to the byte."""

import contextlib
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bwtop.clickhouse import spool
from bwtop.clickhouse.client import Client, FleetError
from bwtop.clickhouse.target import Target
from bwtop.history.tiers import TIERS
from bwtop.sqlite.delta import Delta
from tests.clickhouse.proxy import Cut, proxy
from tests.clickhouse.servers import ClickHouse, merge
from tests.clickhouse.shipping import Shippers, Shipping, agreed, cursor, end, load, rows_of
from tests.clickhouse.sides import Side, here, there
from tests.examples import examples
from tests.history.keep import HOUR, NOON, REMOTES, Kept, flows_of
from tests.history.others import needs_root
from tests.history.recording import LONGEST, is_line, totals
from tests.kernel.running import HANG
from tests.kernel.test_history import recording
from tests.sqlite.test_faults import fill

KILLS = examples(6)

CUTS = 40


def dice() -> tuple[random.Random, str]:
    """Return random numbers whose seed a failure shows."""
    seed = random.Random().randrange(10**9)
    return random.Random(seed), f"seed {seed}"


def whole(shipping: Shipping, own: ClickHouse, where: str = "") -> Side:
    """Return what both sides have: all that was put; check that some rows were sent again, and count once."""
    with closing(own.client()) as client:
        side = agreed(shipping, client)
    moved = shipping.feed.expected().values()
    assert side.by_level[0][1:3] == totals(moved), where
    resent = shipping.tally.rows - rows_of(side)
    print(f"{shipping.tally}; {resent} rows sent again")  # noqa: T201 - pytest -s shows it
    assert resent > 0
    assert shipping.feed.lines == []
    assert shipping.feed.slowest < LONGEST
    return side


def test_no_kill_of_the_server_loses_or_doubles_anything(
    path: Path, own: ClickHouse, shippers: Shippers
) -> None:
    chance, where = dice()
    shipping = shippers(path, own.target)
    hits = kills = 0
    with load(shipping.feed, 0.005):
        while kills < KILLS or (hits < KILLS // 4 and kills < 10 * KILLS):
            kills += 1
            shipping.sends()
            while not shipping.tally.is_at_work:
                time.sleep(0.0002)
            time.sleep(chance.uniform(0, 0.008))
            hits += shipping.tally.is_at_work
            own.kill()
            time.sleep(chance.uniform(0, 0.2))
            own.start()
    side = whole(shipping, own, where)
    assert set(side.by_level) >= {0, 1, 2}, "minutes and hours were closed meanwhile"
    assert hits >= KILLS // 4, f"kills hit batches; {hits}, {where}"


def test_no_cut_of_the_connection_loses_or_doubles_anything(
    path: Path, own: ClickHouse, shippers: Shippers
) -> None:
    """Within a block or an answer, and between a batch and its acknowledgement."""
    chance, where = dice()

    def plan() -> Cut:
        if made.cuts.total() >= CUTS:
            return Cut()
        kind = chance.choice(["up", "down", "answer"])
        most = {"up": 12_000, "down": 3_000, "answer": 9}[kind]
        return Cut(kind, chance.randrange(1, most), chance.random() < 0.5)

    with proxy(own.port, plan) as made:
        shipping = shippers(path, replace(own.target, port=made.port))
        with load(shipping.feed, 0.01):
            shipping.until(lambda: made.cuts.total() >= CUTS, 3 * HANG)
        whole(shipping, own, where)
    print(made.cuts)  # noqa: T201 - pytest -s shows it
    assert all(made.cuts[kind] >= CUTS // 20 for kind in ("up", "down", "answer")), made.cuts
    assert all(map(is_line, shipping.lines))


def test_unacknowledged_batch_counts_once(path: Path, own: ClickHouse, shippers: Shippers) -> None:
    """The tenth answer of a connection is the first to a block of traffic.

    Before it are the greeting, the time, a ping and the version, and of each insert an answer to a ping, the columns, and
    the answer to the block.
    """
    cuts = iter([Cut("answer", 10)])
    with proxy(own.port, lambda: next(cuts, Cut())) as made, closing(own.client()) as client:
        shipping = shippers(path, replace(own.target, port=made.port))
        shipping.feed.put(30)
        shipping.until(lambda: shipping.lines)
        assert made.cuts == {"answer": 1}
        assert client.query("SELECT count() FROM traffic")[0][0] > 0
        whole(shipping, own)
    assert shipping.tally.failed == 1
    assert shipping.lines[0].startswith("not shipping: ")
    assert shipping.lines[1:] == [f"shipping to {shipping.shipper.target} again"]


def test_hanging_server_under_load_loses_and_delays_nothing(
    path: Path, own: ClickHouse, shippers: Shippers
) -> None:
    shipping = shippers(path, own.target, patience=20.0)
    with load(shipping.feed, 0.01):
        shipping.sends(100)
        own.signal(signal.SIGSTOP)
        stored = shipping.feed.recorder.stored
        shipping.until(lambda: shipping.shipper.state.fault)
        shipping.until(lambda: shipping.feed.recorder.stored > stored + 300)
        warning = shipping.shipper.state.warning(shipping.feed.clock.wall)
        own.signal(signal.SIGCONT)
        shipping.until(lambda: not shipping.shipper.state.fault)
    assert warning.startswith("not shipped for ")
    assert warning.endswith("intervals): no answer")
    whole(shipping, own)
    assert shipping.lines == [
        f"not shipping: {shipping.shipper.target}: no answer; unsent intervals stay in the history",
        f"shipping to {shipping.shipper.target} again",
    ]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[ClickHouse]:
    """Return a server on a disk of 256 MiB."""
    server = ClickHouse(tmp_path / "clickhouse")
    disk = server.folder / "data"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "bwtop-test", disk], check=True)
    try:
        server.start()
        server.init()
        yield server
        server.stop()
    finally:
        subprocess.run(["umount", disk], check=True)


@needs_root
def test_a_full_disk_of_the_server_loses_nothing(
    path: Path, small: ClickHouse, shippers: Shippers
) -> None:
    filler = small.folder / "data" / "filler"
    shipping = shippers(path, small.target)
    with load(shipping.feed):
        for _ in range(3):
            shipping.sends(200)
            while not shipping.shipper.state.fault:
                fill(filler)
                time.sleep(0.02)
            shipping.fails(3)
            filler.unlink()
            shipping.until(lambda: "again" in shipping.lines[-1])
            *faults, _ = shipping.lines
            assert len({kind(line) for line in faults}) == len(faults), "each kind is said once"
            shipping.lines.clear()
    whole(shipping, small)


def kind(line: str) -> str:
    """Return a fault without file names."""
    assert is_line(line)
    return re.sub(r"/\S+", "", line)


# Clocks.


def test_clock_set_back_and_forth_under_load_loses_and_doubles_nothing(
    path: Path, own: ClickHouse, shippers: Shippers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed hours grow while they are sent; the server is killed meanwhile."""
    monkeypatch.setattr(spool, "STILL", 0.5)
    shipping = shippers(path, own.target)
    shipping.feed.clock.wall = time.time()
    with load(shipping.feed, 0.01):
        for number, jump in enumerate((3600.0, -3600.0, -3600.0, 7200.0, -5400.0)):
            shipping.sends(100)
            shipping.feed.clock.wall += jump
            if number % 2:
                own.kill()
                own.start()
    whole(shipping, own)


# Several servers of one database.


def until_it_answers(client: Client) -> None:
    """Query until one of the servers has answered: each attempt may begin with the other."""
    deadline = time.monotonic() + HANG
    while True:
        try:
            assert client.query("SELECT 1") == [(1,)]
        except FleetError:
            assert time.monotonic() < deadline
        else:
            return


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_another_server_takes_over(
    path: Path, own: ClickHouse, running: ClickHouse, shippers: Shippers, number: signal.Signals
) -> None:
    """The first is gone, or silent; a server that is slow now is left too, so each may have some of the first rows."""
    running.init("twofold")
    own.init("twofold")
    both = replace(own.target, database="twofold", more=(("127.0.0.1", running.port),))
    shipping = shippers(path, both, patience=2.0)
    shipping.feed.put(10)
    shipping.all_sent()
    own.signal(number)
    shipping.feed.put(10)
    shipping.all_sent()
    with closing(Client(replace(running.target, database="twofold"), "")) as client:
        ((count,),) = client.query("SELECT count() FROM traffic FINAL WHERE level = 0")
        assert 10 <= count <= 20
    with closing(Client(both, "", patience=2.0)) as client:
        until_it_answers(client)
    with closing(Client(replace(running.target, database="twofold"), "")) as client:
        client.query("DROP DATABASE twofold")


# bwtop itself.

FOREVER = ",".join(f"{tier.name}=forever" for tier in TIERS)

ATTEMPTS = 20
"""Most kills of bwtop until some have hit the sending."""

FLOWS = 1500
"""Rows of an interval."""


def large(path: Path) -> None:
    """Record a history that takes a second to ship."""
    kept = Kept(path=path)
    remotes = [REMOTES[0]._replace(port=port) for port in range(1, FLOWS + 1)]
    for number in range(40):
        kept.append(Delta(NOON + 100.0 * number, 1.0, flows_of(*remotes, rx=1 + number)))
    kept.steps(NOON + 2 * HOUR)
    kept.connection.close()


@pytest.mark.kernel
@pytest.mark.alone
def test_no_kill_of_bwtop_loses_or_doubles_anything(
    path: Path, target: Target, server: Client
) -> None:
    """While it ships old and new intervals."""
    chance, where = dice()
    reached = set[int]()
    large(path)
    for kill in range(ATTEMPTS):
        with shipping_bwtop(path, target) as process:
            longest = 0.05 * 1.3**kill  # up to seven seconds: as fast as the machine is
            time.sleep(chance.uniform(0, longest))
            process.kill()
            process.wait()
        reached.add(server.query("SELECT count() FROM traffic FINAL")[0][0])
        if len(reached) > 2:
            break
    print(sorted(reached))  # noqa: T201 - pytest -s shows it
    assert len(reached) > 2, f"kills hit the sending; {reached}, {where}"
    with shipping_bwtop(path, target) as process:
        server.query("SELECT 1")  # moves some bytes, if all has been sent before
        await_shipped(path, target)
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == 0
        assert process.stderr
        assert "not shipped" not in process.stderr.read()
    with closing(sqlite3.connect(path)) as connection:
        side = here(connection)
        assert cursor(connection, target.url()) == end(connection)
    assert side.by_level[0][0] > 40 * FLOWS, "it has measured something"
    assert there(server) == side, where
    for table in ("traffic", "span", "event"):
        merge(server, table)
    assert there(server, final="") == side, where


def shipping_bwtop(
    path: Path, target: Target
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """Run `bwtop --record --ship`, and return once it records."""
    return recording(path, "--retention", FOREVER, "--ship", target.url())


def await_shipped(path: Path, target: Target) -> None:
    """Wait until the old intervals are sent and a new one is measured: that one is sent at the end."""
    deadline = time.monotonic() + HANG
    with closing(sqlite3.connect(path)) as connection:
        wanted = end(connection)
        while here(connection).by_level[0][0] == 40 * FLOWS or any(
            sent < there
            for sent, there in zip(cursor(connection, target.url()), wanted, strict=True)
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
