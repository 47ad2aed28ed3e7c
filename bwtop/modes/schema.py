"""bwtop --init and --print-schema: create, upgrade or print the ClickHouse tables."""

import sys

from bwtop.clickhouse.target import DATABASE
from bwtop.modes import common
from bwtop.options.flag import Mode
from bwtop.options.flags import Options
from bwtop.text.stderr import say


def run_schema(options: Options, mode: Mode) -> None:
    """Create or upgrade the tables, or print the SQL; raises FleetError."""
    from bwtop.clickhouse import ddl, migrations, schema

    asked, cluster = options.retention or {}, options.cluster
    ship = options.ship
    server = common.client_of(options, ship, database=False) if ship else None
    database = ship.database if ship else DATABASE
    if mode is Mode.PRINT_SCHEMA:
        version = server.version if server else schema.TODAY
        sys.stdout.writelines(
            ddl.printed(database, version, migrations.retention(asked, schema.KEPT), cluster)
        )
        return
    assert ship, "--init comes with --ship"
    assert server, "--ship has a server"
    migrations.install(server, database, asked, cluster, say)
    if server.version < schema.TODAY:
        say(
            "this server is too old to delete old rows by itself;"
            " use ALTER TABLE ... DROP PARTITION (level, day)"
        )
    say(f"tables ready in {ship.url()}")
