"""Fixtures of several modules: a server without history, a broadcaster, and a ClickHouse."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bwtop.web import api, events
from bwtop.web.broadcaster import Broadcaster
from tests.clickhouse import hosts
from tests.clickhouse.servers import ClickHouse
from tests.kernel.running import HANG
from tests.web.serving import Web


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a drawing as long as it takes: a stall of this process is no slow drawing."""
    for module in (api, events):
        monkeypatch.setattr(module, "PATIENCE", HANG)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web(tmp_path / "none.db") as running:
        yield running


@pytest.fixture
def broadcaster() -> Iterator[Broadcaster]:
    made = Broadcaster(None)
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """Run a ClickHouse with what many hosts did yesterday."""
    with hosts.clickhouse(tmp_path_factory.mktemp("clickhouse")) as running:
        with closing(running.client()) as client:
            hosts.send_yesterday(client)
        yield running
