"""The client: its answers, and its error messages."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from bwtop.clickhouse.client import INSERTING, LONGEST, Client, FleetError
from bwtop.clickhouse.migrations import install
from bwtop.clickhouse.schema import EVENT
from bwtop.clickhouse.target import Target
from tests.clickhouse.servers import ClickHouse, Library, listening
from tests.history.recording import ROOT, is_line
from tests.processes import ran


def error_of(client: Client, statement: str = "SELECT 1") -> str:
    """Return the error message without the address."""
    with contextlib.closing(client), pytest.raises(FleetError) as caught:
        client.query(statement)
    address, _, words = str(caught.value).partition(": ")
    assert "://" in address
    assert words
    return words


def test_client_reads_the_server_version(server: Client) -> None:
    assert server.version == (18, 16)


def test_rows_that_were_inserted_are_there(server: Client) -> None:
    host, moment = UUID("12345678-1234-4234-8234-123456789abc"), 1_790_000_000
    values: list[list[Any]] = [
        [host],
        ["name"],
        [-(2**63)],
        [2**64 - 1],
        [moment],
        [moment + 0.5],
        ["x"],
        [-1.5],
    ]
    server.insert("event", EVENT.names(), values)
    assert server.query("SELECT * FROM event") == [
        (
            *(host, "name", -(2**63), 2**64 - 1, datetime.fromtimestamp(moment, UTC)),
            *(moment + 0.5, "x", -1.5),
        )
    ]


def test_current_clickhouse_knows_the_settings_of_an_insert(chdb: object) -> None:
    """It is a library here, and stores rows at once; as a server it collects them first, and waits."""
    library = Library(chdb, "default")
    install(library, "inserting")
    settings = ", ".join(f"{name} = {value}" for name, value in INSERTING.items())
    library.query(
        f"INSERT INTO inserting.span (level, time, version) SETTINGS {settings}"
        " SELECT 0, toDateTime(86400 * (22000 + number)), 1 FROM numbers(150)"
    )
    assert library.query("SELECT count() FROM inserting.span") == [(150,)]


def test_a_statement_that_gives_no_rows_gives_none(server: Client) -> None:
    assert list(server.query("SELECT * FROM traffic WHERE 0")) == []
    assert list(server.query("OPTIMIZE TABLE traffic")) == []


# Errors.


def test_an_error_is_one_line_without_a_stack(server: Client) -> None:
    words = error_of(server, "SELECT nothing_of_that_name FROM traffic")
    assert words.startswith("Unknown identifier: nothing_of_that_name")
    assert is_line(words)
    assert "DB::" not in words


def test_a_long_and_hostile_error_is_cut_and_printable(server: Client) -> None:
    words = error_of(server, "SELECT \x1b[2J\n\r" + "x" * 5000)
    assert words.isprintable()
    assert len(words) <= LONGEST


def test_a_password_is_in_no_error(running: ClickHouse, target: Target) -> None:
    secret = "correct battery"
    for user in ("writer", "nobody"):
        words = error_of(Client(replace(target, user=user), secret))
        assert is_line(words)
        assert secret not in words


def test_server_stops_a_query_that_takes_too_long(target: Target) -> None:
    with contextlib.closing(Client(target, "", longest=0.5)) as client:
        words = error_of(client, "SELECT count() FROM system.numbers WHERE number % 2 = 3")
    assert "Timeout exceeded" in words


def test_read_only_user_has_no_such_limit(target: Target) -> None:
    reader = Client(replace(target, user="reader"), "", longest=0.5)
    with contextlib.closing(reader) as client:
        assert client.query("SELECT 1") == client.query("SELECT 1") == [(1,)]
        assert "readonly" in error_of(client, "CREATE TABLE x (n UInt8) ENGINE = Memory")


@contextlib.contextmanager
def saying(text: bytes) -> Iterator[int]:
    """Open a port that sends a text to each client, then closes the connection."""

    def answer(client: socket.socket) -> None:
        with client:
            client.recv(1 << 16)
            client.sendall(text)

    with listening(answer) as port:
        yield port


@pytest.mark.parametrize(
    "text",
    [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(range(256)) * 9],
)
def test_port_of_another_service(text: bytes) -> None:
    with saying(text) as port:
        words = error_of(Client(Target("127.0.0.1", port), "", patience=2.0))
        assert words.isprintable()
        assert len(words) <= LONGEST


def test_driver_is_loaded_before_root_is_dropped(target: Target) -> None:
    """A driver installed in a home directory is out of reach afterwards."""
    program = f"""
import gc, importlib.util, sys
from clickhouse_driver.connection import Connection
from bwtop.clickhouse import client
from bwtop.clickhouse.target import Target
assert client.load()
sys.path[:] = [path for path in sys.path if not path.endswith("-packages")]
assert not importlib.util.find_spec("pytest")
found = client.Client(Target("127.0.0.1", {target.port}), "", database=False)
connections = [one for one in gc.get_objects() if isinstance(one, Connection)]
print(found.query("SELECT 1"), connections[0].compressor_cls is not None)
"""
    answer = ran([sys.executable, "-B", "-c", program], cwd=ROOT, check=True)
    assert answer.stdout == "[(1,)] True\n", "it compresses what it sends, too"


# TLS.


@pytest.fixture
def secure(target: Target, secure_port: int) -> Target:
    """Return the database by TLS."""
    return replace(target, host="localhost", port=secure_port, secure=True)


def test_tls_takes_a_certificate_of_a_known_authority(
    authority: Path, secure: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE adds one to the system's, as it does for other programs."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    with contextlib.closing(Client(secure, "")) as client:
        assert client.query("SELECT count() FROM traffic") == [(0,)]


def test_tls_refuses_a_certificate_of_an_unknown_authority(secure: Target) -> None:
    words = error_of(Client(secure, ""))
    assert words == "certificate verify failed: unable to get local issuer certificate"


def test_tls_refuses_a_certificate_of_another_name(
    authority: Path, secure: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    words = error_of(Client(replace(secure, host="127.0.0.1"), ""))
    assert "certificate is not valid for '127.0.0.1'" in words


def test_tls_and_plain_text_do_not_mix(secure: Target, target: Target) -> None:
    for wrong in (replace(secure, secure=False), replace(target, secure=True)):
        words = error_of(Client(wrong, "", patience=2.0))
        assert is_line(words)


def test_a_statement_may_name_thousands_of_hosts(running: ClickHouse) -> None:
    listed = ", ".join(f"'{number:036}'" for number in range(10_000))
    with contextlib.closing(running.client(database=False)) as client:
        assert client.query(f"SELECT '{7:036}' IN ({listed})") == [(1,)]
