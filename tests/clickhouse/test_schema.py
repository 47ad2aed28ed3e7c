"""The tables: in both dialects, as printed, and why no view adds them up."""

import random
import re
import time
from pathlib import Path

import pytest

from bwtop import __version__
from bwtop.clickhouse import ddl
from bwtop.clickhouse.migrations import install
from bwtop.clickhouse.schema import KEPT, NUMBER, SPAN, TABLES, TODAY, TRAFFIC
from bwtop.history.tiers import FOREVER
from tests.clickhouse.servers import Library, merge
from tests.clickhouse.stores import ship
from tests.clickhouse.test_reader import WEB1, moved
from tests.history.keep import DAY, HOUR, Kept

OLD = (18, 16)


def script(**options: object) -> list[str]:
    """Return the statements printed by --print-schema."""
    text = "".join(ddl.printed("printed", **options))  # type: ignore[arg-type]
    return [part for part in re.sub("(?m)^--.*\n", "", text).split(";\n") if part.strip()]


def test_current_clickhouse_accepts_the_printed_schema(chdb: object) -> None:
    library = Library(chdb, "default")
    for statement in script():
        library.query(statement)
    made = dict(
        library.query(
            "SELECT name, create_table_query FROM system.tables WHERE database = 'printed'"
        )
    )
    assert set(made) == {table.name for table in TABLES} | {ddl.VIEW}
    for table in TABLES:
        assert f"ENGINE = {table.engine}" in made[table.name]
        assert ("TTL" in made[table.name]) == bool(table.ends)
    for table in (TRAFFIC, SPAN):
        assert f"PARTITION BY {table.partition}" in made[table.name]
        assert "ttl_only_drop_parts = 1" in made[table.name]
    assert library.query("SELECT number, bwtop FROM printed.schema") == [(NUMBER, __version__)]
    assert "`address` IPv6" in made["traffic"]
    assert "`name` LowCardinality(String)" in made["traffic"]


@pytest.mark.parametrize("version", [TODAY, OLD])
def test_current_clickhouse_accepts_the_cluster_schema(
    chdb: object, version: tuple[int, int]
) -> None:
    """A library has no cluster: it only parses the statements."""
    library = Library(chdb, "default")
    *found, number = script(cluster="my-cluster", version=version)
    assert len(found) == 1 + 2 * len(TABLES)  # the database, the view, and one of the tables once
    assert number.strip() == ddl.numbered("printed")
    for statement in found:
        quoted = statement.replace("\\", "\\\\").replace("'", "\\'")
        ((text,),) = library.query(f"SELECT formatQuery('{quoted}')")
        assert "ON CLUSTER" in text


def test_current_clickhouse_parses_the_sql_of_the_guide(chdb: object) -> None:
    text = (Path(__file__).parents[2] / "man" / "guide" / "fleet.md").read_text()
    found = [
        statement
        for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
        for statement in block.split(";\n")
        if statement
    ]
    assert len(found) == 9
    for statement in found:
        quoted = statement.replace("'", "\\'")
        Library(chdb, "default").query(f"SELECT formatQuery('{quoted}')")


def test_tiers_kept_for_ever_have_no_ttl() -> None:
    forever = dict.fromkeys(KEPT, FOREVER)
    assert "TTL" not in "".join(script(retention=forever))
    assert "TTL" not in "".join(script(version=OLD))


def test_current_clickhouse_deletes_old_seconds_and_keeps_their_totals(chdb: object) -> None:
    install(Library(chdb, "default"), "old")
    library = Library(chdb, "old")
    start = time.time() // HOUR * HOUR - 20 * DAY
    kept = Kept()
    kept.append(*(moved(random.Random(1), start + n) for n in range(100)))
    kept.steps(time.time())
    ship(kept, library, WEB1)
    merge(library, "traffic")
    levels = dict(library.query("SELECT level, sum(rx) FROM traffic FINAL GROUP BY level"))
    assert levels == {1: kept.one("SELECT sum(rx) FROM delta")}
