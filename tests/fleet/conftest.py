"""Servers that are started once, for all tests that leave them as they are; each test has databases of its own there."""

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from bwtop.fleet.client import Server
from bwtop.fleet.target import Target
from tests.fleet.servers import ClickHouse
from tests.fleet.stores import Make, of_library, of_server

_NUMBERS = count()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """Nobody stops it."""
    server = ClickHouse(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def target(running: ClickHouse) -> Target:
    """A new database, with the tables."""
    made = replace(running.target, database=f"bwtop_{next(_NUMBERS)}")
    running.init(made.database)
    return made


@pytest.fixture(name="chdb", scope="session")
def _chdb(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """There is one session in a process, ever."""
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


@pytest.fixture(name="server")
def _server(make: Make) -> Server:
    return make()
