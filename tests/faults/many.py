"""A history with many remotes, in which every group of a report is a row."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from bwtop.history.calendar import HOUR
from bwtop.sqlite import connections, schema
from tests.web.serving import connect, request

REMOTES: Final = 1_000_000
"""A report of as many takes some 1.5 GB."""

WORST: Final = "range=all&by=hour,process,remote,port,unit,user"
"""The question that groups by most."""

_ROWS: Final = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :count)
"""

_FILL: Final = (
    "INSERT INTO program (id, name, exe, uid, unit, kernel)"
    " VALUES (1, 'crawler', '/usr/bin/crawler', 1000, 'crawler.service', 0)",
    f"{_ROWS} INSERT INTO remote SELECT n, unhex(printf('20010db8%024x', n)), n % 65535 + 1, 6, 0 FROM number",
    "INSERT INTO flow SELECT id, 1, id FROM remote",
    "INSERT INTO span (id, level, start, end, seconds) VALUES (1, 2, :start, :start + 3600, 3600)",
    f"{_ROWS} INSERT INTO traffic SELECT 1, n, 1000 + n, 100 FROM number",
    "UPDATE level SET closed = :start + 3600",
)


def make(path: Path, remotes: int) -> None:
    """Make the history of an hour that ended more than an hour ago: reports of the last one do not have it."""
    start = int(time.time()) // HOUR * HOUR - 2 * HOUR
    with closing(connections.connect_writer(path, 0o600)) as connection:
        schema.migrate(connection)
        connection.create_function("unhex", 1, bytes.fromhex)  # SQLite has it from 3.41 on
        connection.execute("BEGIN")
        for statement in _FILL:
            values = {"count": remotes, "start": start}
            connection.execute(statement, {k: v for k, v in values.items() if f":{k}" in statement})
        connection.execute("COMMIT")


@contextmanager
def asking(port: int, clients: int) -> Iterator[None]:
    """Let so many clients wait for the answer to the worst question."""
    with ExitStack() as stack:
        for _ in range(clients):
            client = stack.enter_context(connect(port))
            client.sendall(request(port, f"/api/v1/history?{WORST}"))
        yield
