"""bwtop --init and --print-schema: create or print the ClickHouse tables."""

import argparse
import sys

from bwtop.clickhouse.target import DATABASE
from bwtop.modes import common
from bwtop.options.flags import Mode
from bwtop.text.stderr import say


def run_schema(options: argparse.Namespace, mode: Mode) -> None:
    """Create missing tables, or print the SQL; raises FleetError."""
    from bwtop.clickhouse import schema

    retention, cluster = options.retention or schema.KEPT, options.cluster
    server = common.client_of(options, options.ship, database=False) if options.ship else None
    database = options.ship.database if options.ship else DATABASE
    if mode is Mode.PRINT_SCHEMA:
        version = server.version if server else schema.TODAY
        sys.stdout.writelines(schema.printed(database, version, retention, cluster))
        return
    assert server, "--init requires --ship"
    schema.create(server, database, retention, cluster)
    if server.version < schema.TODAY:
        say(
            "this server is too old to delete old rows by itself; use ALTER TABLE ... DROP PARTITION"
        )
    say(f"tables ready in {options.ship.url()}")
