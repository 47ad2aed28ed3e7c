"""Create the tables on a server, or upgrade those of an older bwtop: see schema.

Hosts go on shipping meanwhile.  A table whose order or partitions change is set aside under another name, a new one takes
its place, and the rows are copied, month by month.  A migration that was interrupted is finished by the next --init: rows
that are copied twice count once, and a table that was set aside is dropped after the number of the schema is noted.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bwtop.clickhouse.client import FleetError, FleetServer
from bwtop.clickhouse.ddl import (
    LOCAL,
    described,
    distributed,
    numbered,
    on_cluster,
    statements,
    ttl,
)
from bwtop.clickhouse.schema import (
    FIVES,
    KEPT,
    NUMBER,
    SCHEMA,
    SPAN,
    TABLES,
    TODAY,
    TRAFFIC,
    ServerTable,
)
from bwtop.history.tiers import FOREVER, TIERS, completed
from bwtop.text.escape import count

Notify = Callable[[str], object]


def install(
    server: FleetServer,
    database: str,
    asked: Mapping[str, float] | None = None,
    cluster: str | None = None,
    notify: Notify = lambda _: None,
) -> None:
    """Create or upgrade database and tables on a server; raise FleetError.

    `asked` is the retention of some tiers; others keep theirs.
    """
    place = _Place(server, database, cluster)
    number = place.number()
    if number > NUMBER:
        raise FleetError(
            f"the tables are of a newer bwtop (schema {number}; this bwtop has {NUMBER}): upgrade bwtop"
        )
    before = _retention(place)
    kept = retention(asked or {}, before or KEPT)
    _set_aside(place)
    for _, statement in statements(database, server.version, kept, cluster):
        server.query(statement)
    _check(place, former=True)
    _add_columns(place)
    _copy(place, notify)
    if number < NUMBER:
        server.query(numbered(database))
    _drop(place)
    if asked and before and server.version >= TODAY:
        _retain(place, kept)
    _check(place)


def retention(asked: Mapping[str, float], kept: Mapping[str, float]) -> dict[str, float]:
    """Return the retention of every tier on a server; raise FleetError for a contradiction."""
    try:
        return completed(asked, kept)
    except ValueError as error:
        raise FleetError(f"invalid --retention: {error}") from None


@dataclass(frozen=True)
class _Place:
    """A database on a server."""

    server: FleetServer
    database: str
    cluster: str | None

    @property
    def suffix(self) -> str:
        """Return the suffix of the tables with rows."""
        return LOCAL if self.cluster else ""

    def run(self, statement: str) -> None:
        """Run a statement about tables, in a cluster on all servers."""
        self.server.query(statement + on_cluster(self.cluster))

    def keys(self) -> dict[str, str]:
        """Return the order of each table."""
        found = self.server.query(
            f"SELECT name, sorting_key FROM system.tables WHERE database = '{self.database}'"
        )
        return dict(found)

    def columns(self) -> set[tuple[str, str]]:
        """Return all columns: (table, name)."""
        found = self.server.query(
            f"SELECT table, name FROM system.columns WHERE database = '{self.database}'"
        )
        return {(table, name) for table, name in found}

    def number(self) -> int:
        """Return the number of the schema; 0: there is none, or one from before they had numbers."""
        if SCHEMA.name not in self.keys():
            return 0
        ((number,),) = self.server.query(f"SELECT max(number) FROM {self.database}.{SCHEMA.name}")
        return int(number)


# Schema 2: partitions by level and day, order by minute and host.

_FORMER: Final = {TRAFFIC: "level, host_id, ", SPAN: "level, host_id, ", FIVES: "host_id, time, "}
"""Tables that schema 2 sorts otherwise, with the beginning of their former order."""

_ASIDE: Final = "_1"
"""Suffix of a table of schema 1 that was set aside."""


def _set_aside(place: _Place) -> None:
    """Rename the tables of schema 1."""
    keys, suffix = place.keys(), place.suffix
    for table, former in _FORMER.items():
        if keys.get(table.name + suffix, "").startswith(former):
            name = f"{place.database}.{table.name}"
            place.run(f"RENAME TABLE {name}{suffix} TO {name}{_ASIDE}{suffix}")
            if place.cluster:
                place.run(f"DROP TABLE IF EXISTS {name}")


def _aside(place: _Place) -> Iterator[ServerTable]:
    """Yield the tables that were set aside."""
    keys = place.keys()
    return (table for table in _FORMER if f"{table.name}{_ASIDE}{place.suffix}" in keys)


def _copy(place: _Place, notify: Notify) -> None:
    """Copy the rows of the tables that were set aside."""
    for table in _aside(place):
        name = f"{place.database}.{table.name}"
        if place.cluster:
            place.server.query(distributed(f"{name}{_ASIDE}", place.cluster))
        months = place.server.query(
            f"SELECT toYYYYMM(time) AS month FROM {name}{_ASIDE} GROUP BY month ORDER BY month"
        )
        notify(f"upgrading table {table.name}: copying {count(len(months), 'month')}")
        columns = [column for column in table.names() if column != "skipped"]
        values, more = ", ".join(columns), ""
        if table is SPAN:
            columns, more = [*columns, "received"], ", time"
        for (month,) in months:
            place.server.query(
                f"INSERT INTO {name} ({', '.join(columns)}) SELECT {values}{more} FROM {name}{_ASIDE}"
                f" WHERE toYYYYMM(time) = {month}"
            )


def _drop(place: _Place) -> None:
    """Drop the tables that were set aside."""
    for table in _aside(place):
        name = f"{place.database}.{table.name}{_ASIDE}"
        if place.cluster:
            place.run(f"DROP TABLE IF EXISTS {name}")
        place.run(f"DROP TABLE {name}{place.suffix}")


# Schema 4: more columns.


def _add_columns(place: _Place) -> None:
    """Add the columns that tables of older schemas lack; a table of all shards is made anew."""
    there, on = place.columns(), on_cluster(place.cluster)
    for table in TABLES:
        name = f"{place.database}.{table.name}"
        added = [column for column in table.columns if column.since > table.since]
        for column in added:
            if (table.name + place.suffix, column.name) not in there:
                place.server.query(
                    f"ALTER TABLE {name}{place.suffix}{on}"
                    f" ADD COLUMN {described(column, place.server.version)}"
                )
        if place.cluster and any((table.name, column.name) not in there for column in added):
            place.run(f"DROP TABLE IF EXISTS {name}")
            place.server.query(distributed(name, place.cluster))


# Retention, and the proof.


def _retention(place: _Place) -> dict[str, float] | None:
    """Return the retention of the tables; None: there are none yet, or the server does not delete rows."""
    names = "|".join(f"{table.name}({_ASIDE})?{place.suffix}" for table in (SPAN, FIVES))
    found = place.server.query(
        "SELECT create_table_query FROM system.tables"
        f" WHERE database = '{place.database}' AND match(name, '^({names})$')"
    )
    if not found or place.server.version < TODAY:
        return None
    kept = dict.fromkeys((tier.level for tier in TIERS), FOREVER)
    for (made,) in found:
        for form, groups in _RULES.items():
            kept |= {
                int(rule[groups[0]] or -1): float(rule[groups[1]])
                for rule in re.finditer(form, made)
            }
    return {tier.name: kept[tier.level] for tier in TIERS}


_RULES: Final = {
    r"time \+ toIntervalSecond\((\d+)\)(?: (?:DELETE )?WHERE level = (\d))?": (2, 1),
    r"(?:level = (\d), |least\()toUnixTimestamp\(time\) \+ (\d+)": (1, 2),
}
"""Rules of schema 1 and of later ones, with the places of the level (none: five-minute totals) and of the seconds."""


def _retain(place: _Place, kept: Mapping[str, float]) -> None:
    """Change the retention of existing tables."""
    ruled = {
        name
        for name, made in place.server.query(
            f"SELECT name, create_table_query FROM system.tables WHERE database = '{place.database}'"
        )
        if " TTL " in made
    }
    for table in TABLES:
        rule, name = ttl(table, kept), table.name + place.suffix
        if rule or name in ruled:
            change = f"MODIFY TTL {rule}" if rule else "REMOVE TTL"
            place.server.query(
                f"ALTER TABLE {place.database}.{name}{on_cluster(place.cluster)} {change}"
            )


def _check(place: _Place, *, former: bool = False) -> None:
    """Raise FleetError unless all tables have their columns; former: without those that are added to tables."""
    found = place.columns()
    for table in TABLES:
        for column in table.columns:
            is_missing = (table.name, column.name) not in found
            if is_missing and not (former and column.since > table.since):
                raise FleetError(
                    f"table {place.database}.{table.name} has no column {column.name}: bwtop has not made it;"
                    " ship to another database"
                )
