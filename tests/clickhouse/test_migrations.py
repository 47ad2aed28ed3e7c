"""Upgrades of the tables: from the schema of 0.1 with rows in it, interrupted anywhere, while old hosts ship."""

import random
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import pytest

from bwtop.clickhouse import ddl
from bwtop.clickhouse.client import FleetError, FleetServer
from bwtop.clickhouse.migrations import install
from bwtop.clickhouse.reader import FleetReader
from bwtop.clickhouse.schema import HOST, NUMBER, TABLES, TODAY
from bwtop.history.tiers import FOREVER, parse_tiers
from bwtop.sqlite import reader
from tests.clickhouse.servers import Library, merge
from tests.clickhouse.sides import here, there
from tests.clickhouse.stores import Former, Place, ship
from tests.clickhouse.test_reader import DB1, NOW, WEB1, WEB2, agree, moved, recorded
from tests.history.keep import DAY, NOON, Kept, local, policy

FOREVER_ALL: Final = dict.fromkeys(
    ("seconds", "minutes", "hours", "days", "months", "5min"), FOREVER
)


class StoppedError(FleetError):
    """The end of an upgrade, as by an operator's Ctrl-C."""


class Until:
    """A server that can be reached for some statements that change something."""

    def __init__(self, server: FleetServer, count: int) -> None:
        self._server = server
        self.left = count

    @property
    def version(self) -> tuple[int, int]:
        return self._server.version

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        if not statement.startswith("SELECT"):
            if not self.left:
                raise StoppedError(statement)
            self.left -= 1
        return self._server.query(statement)

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        self._server.insert(table, columns, values)

    def close(self) -> None:
        pass


def names(place: Place) -> set[str]:
    found = place.server.query(
        f"SELECT name FROM system.tables WHERE database = '{place.database}'"
    )
    return {name for (name,) in found} - {".inner.presence_of_span"}


def test_upgrade_keeps_every_row_while_old_hosts_go_on_shipping(
    former: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "this_machine", lambda: WEB1)
    with local("Asia/Kolkata"):
        kept = recorded(1, Kept())
        ship(kept, Former(former.server), WEB1)
        told: list[str] = []
        install(former.server, former.database, FOREVER_ALL, notify=told.append)
        assert told == [
            f"upgrading table {name}: copying {months} months"
            for name, months in (("traffic", 4), ("span", 4), ("fives", 3))
        ]
        agree(kept, former.server)
        assert FleetReader(former.server).hosts() == [WEB1]
        assert names(former) == {table.name for table in TABLES} | {ddl.VIEW}
        kept.append(moved(random.Random(4), NOW + 1))
        ship(kept, Former(former.server), WEB1)
        agree(kept, former.server)
        install(former.server, former.database)
    assert former.server.query("SELECT number FROM schema FINAL") == [(NUMBER,)]


def test_interrupted_upgrade_is_finished_by_the_next(former: Place) -> None:
    """Wherever it was interrupted; meanwhile hosts ship."""
    kept = Kept()
    kept.append(*(moved(random.Random(n), NOON + 60 * n) for n in range(5)))
    kept.steps(NOON + DAY)
    ship(kept, Former(former.server), WEB1)
    allowed = 0
    while True:
        try:
            install(Until(former.server, allowed), former.database, FOREVER_ALL)
        except StoppedError:
            allowed += 1
            if "span" in names(former) and "traffic" in names(former) and "fives" in names(former):
                kept.append(moved(random.Random(allowed), NOON + 600 + allowed))
                ship(kept, Former(former.server), WEB1)
            continue
        break
    assert allowed > 5
    assert there(former.server) == here(kept.connection)
    assert not any(name.endswith("_1") for name in names(former))


def test_columns_are_added_to_tables_of_schema_3(store: FleetServer) -> None:
    """Rows stay; hosts of the old bwtop and of this one ship to them."""
    database = store.query("SELECT currentDatabase()")[0][0]
    store.query("ALTER TABLE host DROP COLUMN networks")
    store.query("DROP TABLE schema")
    of_schema = next(
        text for _, text in ddl.statements(database, store.version) if ".schema" in text
    )
    store.query(of_schema)
    store.query(ddl.numbered(database, 3))
    old = [name for name in HOST.names() if name != "networks"]
    row: tuple[object, ...] = (UUID(WEB1.id), WEB1.name, 1, ["192.0.2.1"], "0.2", 0.0, 0.0, 0.0)
    store.insert("host", old, [[value] for value in row])
    install(store, database)
    install(store, database)
    assert store.query("SELECT max(number) FROM schema") == [(NUMBER,)]
    store.insert("host", old, [[UUID(WEB2.id)], *([value] for value in row[1:])])
    new = (UUID(DB1.id), *row[1:4], ["192.0.2.0/24"], *row[4:])
    store.insert("host", HOST.names(), [[value] for value in new])
    found = store.query("SELECT toString(host_id), addresses, networks FROM host ORDER BY host_id")
    assert [(host, list(own), list(told)) for host, own, told in found] == [
        (WEB1.id, ["192.0.2.1"], []),
        (WEB2.id, ["192.0.2.1"], []),
        (DB1.id, ["192.0.2.1"], ["192.0.2.0/24"]),
    ]


def test_minutes_of_many_days_fit_a_server_with_partitions_by_day(store: FleetServer) -> None:
    """A server refuses a block of more than a hundred partitions; a laptop may be on for a minute a day."""
    kept = Kept(policy(minutes=FOREVER))
    kept.append(*(moved(random.Random(day), NOON - day * DAY) for day in range(150, -1, -1)))
    kept.steps(NOON + DAY)
    ship(kept, store, WEB1, rows=20_000)
    assert there(store) == here(kept.connection)
    assert there(store).by_level[1][3] >= 150


def test_server_of_a_newer_bwtop_is_left_alone(store: FleetServer) -> None:
    database = store.query("SELECT currentDatabase()")[0][0]
    store.query(ddl.numbered(database, NUMBER + 1))
    with pytest.raises(
        FleetError, match=f"schema {NUMBER + 1}; this bwtop has {NUMBER}.*upgrade bwtop"
    ):
        install(store, database)


def test_foreign_table_is_named(store: FleetServer) -> None:
    database = store.query("SELECT currentDatabase()")[0][0]
    store.query("DROP TABLE host")
    store.query("CREATE TABLE host (host_id UUID) ENGINE = Memory")
    with pytest.raises(
        FleetError, match=f"table {database}.host has no column host: bwtop has not"
    ):
        install(store, database)


def rules(place: Place, table: str) -> str:
    ((made,),) = place.server.query(
        f"SELECT create_table_query FROM system.tables WHERE database = '{place.database}' AND name = '{table}'"
    )
    return str(made)


@pytest.mark.parametrize("former", ["today"], indirect=True)
def test_upgrade_keeps_the_retention_and_init_changes_it(former: Place) -> None:
    """Tiers that are not named keep theirs."""
    for table in ("traffic", "span"):
        former.server.query(
            f"ALTER TABLE {table} MODIFY TTL"
            " time + INTERVAL 12345 SECOND DELETE WHERE level = 0,"
            " time + INTERVAL 2000000 SECOND DELETE WHERE level = 1"
        )
    former.server.query("ALTER TABLE fives MODIFY TTL time + INTERVAL 777 SECOND")
    for asked, seconds, minutes, hours in (
        ("", 12345, 2000000, None),
        ("hours=60d", 12345, 2000000, 60 * 86400),
        ("seconds=3d,minutes=50d", 3 * 86400, 50 * 86400, 60 * 86400),
        ("", 3 * 86400, 50 * 86400, 60 * 86400),
    ):
        install(former.server, former.database, parse_tiers(asked) if asked else None)
        for table in ("traffic", "span"):
            rule = rules(former, table)
            for level, kept in enumerate((seconds, minutes, hours)):
                assert (f"level = {level}, toUnix" in rule) == (kept is not None)
                assert kept is None or f"+ {kept}" in rule.partition(f"level = {level}, toUnix")[2]
        assert f" + {seconds}" in rules(former, "presence")
        assert "+ 777" in rules(former, "fives")
    install(former.server, former.database, FOREVER_ALL)
    assert "TTL" not in rules(former, "traffic")
    with pytest.raises(FleetError, match="invalid --retention: minutes must be kept"):
        install(former.server, former.database, {"minutes": 60.0})


@pytest.mark.parametrize("kept", ["seconds=1d", "seconds=60d,minutes=90d"])
def test_retention_given_to_existing_tables_deletes_what_is_older(chdb: object, kept: str) -> None:
    """Whole parts of a level and day, once the server merges."""
    name = f"retained_{kept[8:10]}".replace("=", "")
    install(Library(chdb, "default"), name, FOREVER_ALL)
    library = Library(chdb, name)
    host = Kept()
    now = int(library.query("SELECT toUnixTimestamp(now())")[0][0])
    host.append(*(moved(random.Random(n), now - 20 * DAY + n) for n in range(10)))
    host.append(*(moved(random.Random(n), now - 7200 + n) for n in range(10)))
    host.steps(float(now))
    ship(host, library, WEB2)
    before = there(library).by_level
    install(library, name, parse_tiers(kept))
    merge(library, "traffic")
    after = there_rows(library)
    assert after[0] == (
        before[0][0]
        if "60d" in kept
        else host.one(
            "SELECT count(*) FROM delta JOIN interval ON interval.id = interval WHERE start > ?",
            now - DAY,
        )
    )
    assert all(after[level] == before[level][0] for level in (1, 2))
    assert library.version >= TODAY


def there_rows(server: FleetServer) -> dict[int, int]:
    return dict(server.query("SELECT level, count() FROM traffic FINAL GROUP BY level"))
