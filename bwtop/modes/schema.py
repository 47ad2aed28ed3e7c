"""bwtop --init and --print-schema: the tables of many hosts."""

import argparse
import sys

from bwtop.clickhouse.target import DATABASE
from bwtop.modes import common
from bwtop.options.flags import Mode
from bwtop.text.stderr import say


def run_tables(options: argparse.Namespace, mode: Mode) -> None:
    """Makes them where they are missing, or prints how; raises FleetError."""
    from bwtop.clickhouse import schema

    retention, cluster = options.retention or schema.KEPT, options.cluster
    server = common.client_of(options, options.ship, database=False) if options.ship else None
    database = options.ship.database if options.ship else DATABASE
    if mode is Mode.PRINT_SCHEMA:
        version = server.version if server else schema.TODAY
        sys.stdout.writelines(schema.printed(database, version, retention, cluster))
        return
    assert server, "--init comes with --ship"
    schema.create(server, database, retention, cluster)
    if server.version < schema.TODAY:
        say(
            "this server is too old to let go of old rows by itself; ALTER TABLE ... DROP PARTITION does it"
        )
    say(f"the tables are in {options.ship.url()}")
