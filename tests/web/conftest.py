"""Fixtures of several modules: a server without history, and a broadcaster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bwtop.web.broadcaster import Broadcaster
from tests.web.serving import Web


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
