"""Connect to ClickHouse by its native protocol (clickhouse-driver)."""

import contextlib
import importlib
import importlib.util
import logging
import re
from collections.abc import Hashable, Sequence
from math import ceil
from typing import Any, Final, Protocol

from bwtop.clickhouse.target import Target, others
from bwtop.text.escape import printable

CONNECT_SECONDS: Final = 5.0
"""Time limit of a connection attempt."""

PING_SECONDS: Final = 5.0
"""Time limit of a ping: the driver pings before each query, and reconnects without an answer."""

ANSWER_SECONDS: Final = 60.0
"""Time limit between two parts of an answer: a server is silent while it writes inserted rows."""

READ_SECONDS: Final = 20.0
"""The same for interactive queries: a server reports progress ten times a second."""

LONGEST: Final = 300
"""Longest error text of a server, in characters."""

LONG: Final = 1 << 17
"""Longest statement with default settings, in characters: half the default limit of servers.

Thousands of hosts with plans of their own make longer ones.
"""

MISSING: Final = (
    "clickhouse-driver is missing: pip install 'clickhouse-driver[lz4]'"
    " (on Debian add --break-system-packages)"
)

COLLECTING: Final = (23, 10)
"""The first version that collects the rows of inserts by the native protocol."""

INSERTING: Final = {
    "async_insert": 1,  # collect the rows of many hosts into one part
    "wait_for_async_insert": 1,  # return once they are stored, whatever the profile of the user says
    "max_partitions_per_insert_block": 0,  # those of many hosts together may have more than the default of 100
}
"""Settings of an insert for servers from COLLECTING on."""

_ADVICE: Final = {
    16: "upgrade the tables: bwtop --ship ... --init",  # NO_SUCH_COLUMN_IN_TABLE
    60: "create or upgrade the tables: bwtop --ship ... --init",  # UNKNOWN_TABLE
    81: "create the database: bwtop --ship ... --init",  # UNKNOWN_DATABASE
}
"""Advice by error code of the server."""

_NOISE: Final = r"^(DB::\w+[.:] )+|\[SSL[^]]*\] | \(_ssl\.c:\d+\)"
"""Parts of an error text that only developers need."""

_TIMED_OUT: Final = 209
"""Error code of the driver: SOCKET_TIMEOUT."""


_READ_ONLY: Final = 164
"""Error code of the server: READONLY, for a setting, too."""


class FleetError(Exception):
    """The server cannot be used now; the text says why, in one line."""

    def __init__(self, text: str, kind: Hashable = None, *, is_answer: bool = False) -> None:
        """Make an error; `kind` identifies it where the text has names that differ each time (None: the text does).

        `is_answer`: the server could be reached, and refused.
        """
        super().__init__(text)
        self.is_answer = is_answer
        self.kind = text if kind is None else kind


class FleetServer(Protocol):
    """A server that runs SQL, or ClickHouse as a library."""

    @property
    def version(self) -> tuple[int, int]:
        """Return the first two numbers of the version."""

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """Run a statement and return its rows; raise FleetError."""

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        """Insert rows, given column by column; return once the server has them.  Raises FleetError."""

    def close(self) -> None:
        """Close the connection."""


def load() -> bool:
    """Import the driver before root is dropped, while its files can be read; return whether it is installed."""
    try:
        importlib.import_module("clickhouse_driver")
    except ImportError:
        return False
    with contextlib.suppress(ImportError):  # without them nothing is compressed
        for part in ("compression.lz4", "streams.compressed"):
            importlib.import_module(f"clickhouse_driver.{part}")
    return True


class Client:
    """A FleetServer at an address; it connects at the first query, and again after an error."""

    def __init__(
        self,
        target: Target,
        password: str,
        *,
        database: bool = True,
        patience: float = ANSWER_SECONDS,
        longest: float | None = None,
    ) -> None:
        """Make a client; `database`: use that of the target, which must exist; `patience` in seconds.

        The server stops a query after `longest` seconds, unless its user is read-only: old servers do not notice that
        a client has left.
        """
        import clickhouse_driver

        logging.getLogger("clickhouse_driver").setLevel(
            logging.CRITICAL
        )  # its errors are raised, too
        self._where = target.url()
        places = ((target.host, target.port), *target.more)
        self._peers = [f" ({host}:{port})" for host, port in places]  # already in the address
        has_lz4 = all(map(importlib.util.find_spec, ("lz4", "clickhouse_cityhash")))
        self._client = clickhouse_driver.Client(
            target.host,
            target.port,
            alt_hosts=others(target),
            database=target.database if database else "",
            user=target.user,
            password=password,
            secure=target.secure,
            client_name="bwtop",
            connect_timeout=min(CONNECT_SECONDS, patience),
            send_receive_timeout=patience,
            sync_request_timeout=min(PING_SECONDS, patience / 3),
            compression="lz4" if has_lz4 else False,
        )
        # not certifi's authorities: use those of the system or of SSL_CERT_FILE
        self._client.connection.ssl_options.pop("ca_certs", None)
        self._version: tuple[int, int] | None = None
        self._limits = {"max_execution_time": ceil(longest)} if longest else {}

    @property
    def version(self) -> tuple[int, int]:
        """See FleetServer."""
        if self._version is None:
            text = str(self.query("SELECT version()")[0][0])
            major, minor = text.split(".")[:2]
            self._version = int(major), int(minor)
        return self._version

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """See FleetServer; a read-only user may set nothing, and has no long statements."""
        is_long = len(statement) > LONG
        size = {"max_query_size": 2 * len(statement.encode())} if is_long else {}
        try:
            return _decoded(self._run(statement, settings=self._limits | size) or ())
        except FleetError as error:
            if error.kind != _READ_ONLY or not self._limits:
                raise
        self._limits = {}
        return self.query(statement)

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        """See FleetServer."""
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES"
        settings = {"insert_distributed_sync": 1}  # return once the shard has the rows
        settings |= INSERTING if self.version >= COLLECTING else {}
        self._run(statement, values, columnar=True, settings=settings)

    def _run(self, *arguments: Any, **options: Any) -> Any:
        try:
            return self._client.execute(*arguments, **options)
        except MemoryError:  # not the server's
            raise
        except Exception as error:  # of the driver, of the socket, or from a truncated block
            self.close()
            words = _words(error)
            for peer in self._peers:
                words = words.removesuffix(peer)
            kind = getattr(error, "code", None) or words
            is_answer = type(error).__name__ == "ServerException"
            if not is_answer:
                self._client.connection.hosts.rotate(-1)  # the next attempt begins with another
            raise FleetError(f"{self._where}: {words}", kind, is_answer=is_answer) from error

    def close(self) -> None:
        """See FleetServer."""
        self._client.disconnect()
        self._version = None  # the next server may have another


def _decoded(rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """Decode bytes: the driver leaves text that is not UTF-8 as bytes."""
    if not any(bytes in map(type, row) for row in rows):
        return rows
    return [
        tuple(v.decode(errors="replace") if isinstance(v, bytes) else v for v in r) for r in rows
    ]


def _words(error: Exception) -> str:
    """Return the message of an error, in one line."""
    if isinstance(error, EOFError | ConnectionError):
        return "the connection was lost"
    if isinstance(error, TimeoutError) or getattr(error, "code", 0) == _TIMED_OUT:
        return "no answer"
    text = getattr(error, "message", "") or str(error) or type(error).__name__
    text = re.sub(_NOISE, "", " ".join(text.split("Stack trace:")[0].split()))
    text = printable(text)[:LONGEST].rstrip(". ")
    advice = _ADVICE.get(getattr(error, "code", 0))
    return f"{text} ({advice})" if advice else text
