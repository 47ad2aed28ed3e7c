"""Tables over two shards, created by --init: real servers, a real ZooKeeper."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final

import pytest

from bwtop.clickhouse import reader
from bwtop.clickhouse.client import Client, FleetError
from bwtop.clickhouse.ddl import distributed
from bwtop.clickhouse.reader import FleetReader
from bwtop.clickhouse.schema import NUMBER
from bwtop.history.query import Answer, History
from bwtop.history.ranges import Range
from bwtop.model.filter import EVERYTHING
from bwtop.model.flows import Host
from tests.build import typed
from tests.clickhouse.cluster import NAME, cluster, is_there
from tests.clickhouse.servers import ClickHouse
from tests.clickhouse.sides import LEVELS, Side, here, there
from tests.clickhouse.stores import Former, former_script, ship
from tests.history.keep import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    PROGRAMS,
    REMOTES,
    Kept,
    by,
    delta,
    policy,
)
from tests.kernel.running import command

pytestmark = pytest.mark.skipif(
    not is_there() and not os.environ.get("CI"), reason="needs Debian's zookeeper"
)

HOSTS: Final = tuple(
    Host(name, f"{number}2345678-1234-4234-8234-123456789abc")
    for number, name in enumerate(("one", "two", "three"))
)

Shards = tuple[ClickHouse, ClickHouse]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    """Return shards with tables, created twice, as a user may do."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        for server in made:
            subprocess.run(
                command("--ship", server.target.url(), "--init", "--cluster", NAME), check=True
            )
        yield made


@pytest.fixture(scope="module")
def kept(shards: Shards) -> dict[Host, Kept]:
    """Return the databases of the hosts; all is shipped, by either server, and some of it twice."""
    found = {}
    for number, host in enumerate(HOSTS):
        found[host] = recorded(number)
        with closing(shards[number % 2].client()) as client:
            ship(found[host], client, host, 100, "there", times=2)
            found[host].append(delta(NOON + 3 * MINUTE, 7, 11))  # it changes spans that are there
            ship(found[host], client, host, 100, "there", times=2)
    return found


def recorded(number: int) -> Kept:
    """Record several days, the oldest without seconds, and a late delta."""
    kept = Kept(policy(seconds=2.0 * DAY))
    for step in range(60 + 20 * number):
        who = PROGRAMS[(step + number) % len(PROGRAMS)]
        far = REMOTES[step % len(REMOTES)]
        kept.append(delta(NOON + step * 5000.0, 1000 + step, number, pid=step, who=who, far=far))
    kept.append(*map(delta, (NOON + days * DAY for days in (40, 41, 80, 120))))
    kept.steps(NOON + 121 * DAY)
    return kept


def sides(server: ClickHouse, table: str = "") -> dict[Host, Side]:
    """Return the sides by host."""
    with closing(server.client()) as client:
        return {host: there(client, f"host_id = '{host.id}'", table=table) for host in HOSTS}


def test_all_hosts_are_there_whichever_server_is_asked(
    shards: Shards, kept: dict[Host, Kept]
) -> None:
    local = {host: here(one.connection) for host, one in kept.items()}
    for server in shards:
        found = sides(server)
        for host in HOSTS:
            for level in LEVELS[1:]:
                assert found[host].by_level[level] == local[host].by_level[level]
            assert found[host].by_level[0][0] >= local[host].by_level[0][0]


def test_each_host_is_on_one_shard_and_each_shard_has_some(
    shards: Shards, kept: dict[Host, Kept]
) -> None:
    whole, parts = sides(shards[0]), [sides(server, "_local") for server in shards]
    nothing = Side({}, 0)
    for host in HOSTS:
        assert sorted(part[host] == nothing for part in parts) == [False, True]
        assert whole[host] in [part[host] for part in parts]
    assert all(any(part[host] != nothing for host in HOSTS) for part in parts)


@pytest.mark.parametrize(
    ("host", "share"), [*zip(HOSTS, (1, 20, 1), strict=True)], ids=[host.name for host in HOSTS]
)
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOON, NOON + 130 * DAY),
        (NOON + 100, NOON + 2 * DAY),
        (NOON + 41 * DAY, NOON + 41 * DAY + HOUR),
    ],
)
def test_the_answers_are_those_of_the_hosts_own_history(
    shards: Shards,
    kept: dict[Host, Kept],
    host: Host,
    start: float,
    end: float,
    share: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "SHARE", share)
    own = kept[host].ask(start, end, "process", "remote", "port")
    for server in shards:
        with closing(History(FleetReader(server.client()))) as history:
            wanted = Range("", start, end)
            answer = history.ask(
                wanted, by("process", "remote", "port"), typed(f"host:{host.name}"), end
            )
        assert told(answer) == told(own)
        assert answer.rows


def test_upgrade_of_a_cluster_keeps_every_row_on_its_shard(shards: Shards) -> None:
    server = shards[0]
    target = replace(server.target, database="former")
    with closing(server.client(database=False)) as client:
        for statement in former_script("cluster", target.database):
            client.query(statement)
    found = {host: recorded(number) for number, host in enumerate(HOSTS)}
    with closing(Client(target, "")) as client:
        for host, kept in found.items():
            ship(kept, Former(client), host, 100, "former")
        for _ in range(2):
            server.init(target.database, NAME)
        for host, kept in found.items():
            kept.append(delta(NOON + 3 * MINUTE, 7, 11))
            ship(kept, Former(client), host, 100, "former")
            whole = there(client, f"host_id = '{host.id}'")
            for level in LEVELS[1:]:
                assert whole.by_level[level] == here(kept.connection).by_level[level]
        names = client.query("SELECT name FROM system.tables WHERE database = 'former'")
        assert not [name for (name,) in names if "_1" in name]
        assert sorted(FleetReader(client).hosts()) == sorted(HOSTS)
    numbers: list[int] = []
    for shard in shards:
        with closing(Client(replace(shard.target, database="former"), "")) as client:
            numbers += [client.query("SELECT max(number) FROM schema")[0][0]]
    assert numbers == [NUMBER, NUMBER]


def test_columns_are_added_on_all_shards(shards: Shards) -> None:
    server, database = shards[0], "columns"
    server.init(database, NAME)
    on = f"ON CLUSTER '{NAME}'"
    with closing(server.client(database=False)) as client:
        client.query(f"ALTER TABLE {database}.host_local {on} DROP COLUMN networks")
        client.query(f"DROP TABLE {database}.host {on}")
        client.query(distributed(f"{database}.host", NAME))
    server.init(database, NAME)
    for shard in shards:
        with closing(shard.client(database=False)) as client:
            found = client.query(
                "SELECT table FROM system.columns"
                f" WHERE database = '{database}' AND name = 'networks' ORDER BY table"
            )
        assert found == [("host",), ("host_local",)]


def told(answer: Answer) -> object:
    rows = {row.labels: (row.rx, row.tx) for row in answer.rows}
    return rows, answer.rx, answer.tx, round(answer.seconds, 3), answer.bars


def test_an_answer_about_all_hosts_has_all_of_their_bytes(
    shards: Shards, kept: dict[Host, Kept]
) -> None:
    wanted = Range("", NOON - DAY, NOON + 130 * DAY)
    with closing(History(FleetReader(shards[0].client()))) as history:
        assert {host.name for host in history.hosts()} == {"one", "two", "three"}
        answer = history.ask(wanted, by("host"), EVERYTHING, wanted.end)
    own = {host: one.ask_for(replace(wanted), by(), EVERYTHING) for host, one in kept.items()}
    assert {row.labels: (row.rx, row.tx) for row in answer.rows} == {
        host: (told.rx, told.tx) for host, told in own.items()
    }


def test_without_a_shard_shipping_waits_and_queries_fail(
    shards: Shards, kept: dict[Host, Kept]
) -> None:
    """ClickHouse 18 may store rows that it rejected: they are sent again and count once."""
    before = sides(shards[0])
    for one in kept.values():
        one.append(delta(NOON + 120 * DAY + HOUR, 13, 17))
    shards[1].kill()
    with closing(shards[0].client()) as client:
        for host in HOSTS:
            with pytest.raises(FleetError, match="Connection refused"):
                ship(kept[host], client, host, 100, "there", times=2)
        with pytest.raises(FleetError, match="Connection refused"):
            client.query("SELECT sum(rx) FROM traffic FINAL")
        shards[1].start()
        for host in HOSTS:
            ship(kept[host], client, host, 100, "there", times=2)
    for host, side in sides(shards[1]).items():
        rows, rx, tx, *_ = before[host].by_level[0]
        assert side.by_level[0][:3] == (rows + 1, rx + 13, tx + 17)
        assert side.by_level[4] == before[host].by_level[4]
