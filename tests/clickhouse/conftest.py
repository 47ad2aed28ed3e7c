"""ClickHouse servers that all tests share unless they stop them; each test has databases of its own."""

import importlib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bwtop.clickhouse.client import Client, FleetServer
from bwtop.clickhouse.target import Target
from tests.clickhouse.servers import ClickHouse, Library, free_port
from tests.clickhouse.shipping import Shippers, hurry
from tests.clickhouse.stores import Make, Place, former_script, of_library, of_server

_NUMBERS = count()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the certificate of an authority, and one that it has signed for localhost."""
    place = tmp_path_factory.mktemp("authority")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    (place / "names").write_text("subjectAltName=DNS:localhost\n")
    for words in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority",
        f"req {key} -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        " -extfile names -out server.pem",
    ):
        subprocess.run(["openssl", *words.split()], cwd=place, check=True, capture_output=True)
    return place


@pytest.fixture(scope="session")
def secure_port() -> int:
    """Return the port of the server for TLS."""
    return free_port()


@pytest.fixture(scope="session")
def running(
    tmp_path_factory: pytest.TempPathFactory, authority: Path, secure_port: int
) -> Iterator[ClickHouse]:
    """Return a server that no test stops."""
    more = f"""<tcp_port_secure>{secure_port}</tcp_port_secure><openSSL><server>
<certificateFile>{authority}/server.pem</certificateFile>
<privateKeyFile>{authority}/server.key</privateKeyFile><verificationMode>none</verificationMode>
</server></openSSL>"""
    server = ClickHouse(tmp_path_factory.mktemp("clickhouse"), more)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ClickHouse]:
    """Return a server with tables that the test may stop."""
    server = ClickHouse(tmp_path / "clickhouse")
    server.start()
    server.init()
    yield server
    server.stop()


@pytest.fixture
def target(running: ClickHouse) -> Target:
    """Return a new database with the tables."""
    made = replace(running.target, database=f"bwtop_{next(_NUMBERS)}")
    running.init(made.database)
    return made


@pytest.fixture(name="chdb", scope="session")
def _chdb(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the library: a process can have only one session."""
    session = importlib.import_module("chdb.session")
    return session.Session(str(tmp_path_factory.mktemp("chdb")))


@pytest.fixture(name="make", params=["18.16", "today"])
def _make(request: pytest.FixtureRequest) -> Iterator[Make]:
    if request.param == "today":
        yield of_library(request.getfixturevalue("chdb"))
        return
    with ExitStack() as stack:
        make = of_server(request.getfixturevalue("running"))
        yield lambda: stack.enter_context(closing(make()))


@pytest.fixture(params=["18.16", "today"])
def former(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Return a database with the tables of schema 1."""
    name = f"former_{next(_NUMBERS)}"
    server: FleetServer
    made: FleetServer
    with ExitStack() as stack:
        if request.param == "today":
            session = request.getfixturevalue("chdb")
            server, made = Library(session, "default"), Library(session, name)
        else:
            running = request.getfixturevalue("running")
            server = stack.enter_context(closing(running.client(database=False)))
            target = replace(running.target, database=name)
            made = stack.enter_context(closing(Client(target, "")))
        for statement in former_script(request.param, name):
            server.query(statement)
        yield Place(made, name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a history."""
    return tmp_path / "history.db"


@pytest.fixture
def store(make: Make) -> FleetServer:
    """Return an empty store of each kind."""
    return make()


@pytest.fixture
def server(target: Target) -> Iterator[Client]:
    """Return a connection to the store."""
    with closing(Client(target, "")) as client:
        yield client


@pytest.fixture
def shippers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shippers]:
    """Return shippers with short periods."""
    hurry(monkeypatch)
    made = Shippers()
    yield made
    made.close()
