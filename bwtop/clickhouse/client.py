"""A connection to ClickHouse by its native protocol (clickhouse-driver)."""

import contextlib
import importlib
import importlib.util
import logging
import re
from collections.abc import Hashable, Sequence
from typing import Any, Final, Protocol

from bwtop.clickhouse.target import Target
from bwtop.text.escape import printable

CONNECT_SECONDS: Final = 5.0
PING_SECONDS: Final = 5.0
"""The driver asks for an answer before each question, and connects anew where none comes."""

ANSWER_SECONDS: Final = 60.0
"""Between two parts of an answer; a server says nothing while it writes what it was sent."""

READ_SECONDS: Final = 20.0
"""The same where somebody waits: a server that works on a question says so ten times a second."""

LONGEST: Final = 300
"""Characters of what a server says is wrong."""

LONG: Final = 1 << 17
"""Characters of a statement, half of what servers take by themselves: thousands of hosts that have plans of their own."""

MISSING: Final = (
    "clickhouse-driver is missing: pip install 'clickhouse-driver[lz4]'"
    " (on Debian add --break-system-packages)"
)

_MENDED: Final = {
    60: "create the tables: bwtop --ship ... --init",  # UNKNOWN_TABLE
    81: "create the database: bwtop --ship ... --init",  # UNKNOWN_DATABASE
}
"""What helps against an error, by the server's number for it."""

_NOISE: Final = r"^(DB::\w+[.:] )+|\[SSL[^]]*\] | \(_ssl\.c:\d+\)"
"""What of an error's text is for programmers."""

_TIMED_OUT: Final = 209
"""The driver's number for it: SOCKET_TIMEOUT."""


class FleetError(Exception):
    """The server cannot be used now; the text says why, in one line."""

    def __init__(self, text: str, kind: Hashable = None) -> None:
        """`kind` tells one from another where texts have names that differ every time; None: the text does."""
        super().__init__(text)
        self.kind = text if kind is None else kind


class Server(Protocol):
    """What takes SQL: a server, or ClickHouse as a library."""

    @property
    def version(self) -> tuple[int, int]:
        """Its first two numbers."""

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """Runs it; the rows that it gives.  Raises FleetError."""

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        """Adds rows, given column by column; returns once the server has them.  Raises FleetError."""

    def close(self) -> None:
        """Lets go of it."""


def load() -> bool:
    """Loads the driver, while it can still be read: root may be about to be given up; whether it is there."""
    try:
        importlib.import_module("clickhouse_driver")
    except ImportError:
        return False
    with contextlib.suppress(ImportError):  # nothing is compressed then
        for part in ("compression.lz4", "streams.compressed"):
            importlib.import_module(f"clickhouse_driver.{part}")
    return True


class Client:
    """A Server by its address; it connects when it is first asked, and again after an error."""

    def __init__(
        self,
        target: Target,
        password: str,
        *,
        database: bool = True,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        """`database`: whether to be in the target's, which must be there then; `patience` in seconds."""
        import clickhouse_driver

        logging.getLogger("clickhouse_driver").setLevel(
            logging.CRITICAL
        )  # its errors are raised, too
        self._where = target.url()
        self._peer = f" ({target.host}:{target.port})"  # the address has it already
        has_lz4 = all(map(importlib.util.find_spec, ("lz4", "clickhouse_cityhash")))
        self._client = clickhouse_driver.Client(
            target.host,
            target.port,
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
        # certifi's authorities, where that is there: the system's count, and those of SSL_CERT_FILE
        self._client.connection.ssl_options.pop("ca_certs", None)
        self._version: tuple[int, int] | None = None

    @property
    def version(self) -> tuple[int, int]:
        """See Server."""
        if self._version is None:
            text = str(self.query("SELECT version()")[0][0])
            major, minor = text.split(".")[:2]
            self._version = int(major), int(minor)
        return self._version

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """See Server; without settings, if that is possible: who may only read may set none."""
        is_long = len(statement) > LONG
        settings = {"max_query_size": 2 * len(statement.encode())} if is_long else None
        return _decoded(self._run(statement, settings=settings) or ())

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        """See Server."""
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES"
        settings = {"insert_distributed_sync": 1}  # a row is there when its shard has it
        self._run(statement, values, columnar=True, settings=settings)

    def _run(self, *arguments: Any, **options: Any) -> Any:
        try:
            return self._client.execute(*arguments, **options)
        except (
            Exception
        ) as error:  # the driver's own, the socket's, and what it makes of a cut block
            self.close()
            words = _words(error).removesuffix(self._peer)
            kind = getattr(error, "code", None) or words
            raise FleetError(f"{self._where}: {words}", kind) from error

    def close(self) -> None:
        """See Server."""
        self._client.disconnect()


def _decoded(rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """With text where others have written what is none; the driver leaves that as it is."""
    if not any(bytes in map(type, row) for row in rows):
        return rows
    return [
        tuple(v.decode(errors="replace") if isinstance(v, bytes) else v for v in r) for r in rows
    ]


def _words(error: Exception) -> str:
    """What is wrong, in one line."""
    if isinstance(error, EOFError | ConnectionError):
        return "the connection was lost"
    if isinstance(error, TimeoutError) or getattr(error, "code", 0) == _TIMED_OUT:
        return "no answer"
    text = getattr(error, "message", "") or str(error) or type(error).__name__
    text = re.sub(_NOISE, "", " ".join(text.split("Stack trace:")[0].split()))
    text = printable(text)[:LONGEST].rstrip(". ")
    mended = _MENDED.get(getattr(error, "code", 0))
    return f"{text} ({mended})" if mended else text
