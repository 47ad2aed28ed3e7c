"""Fixtures: a browser, and servers for it.

Every test ends with a check for faults: console messages, policy violations, and requests to other servers.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.build import pass_midnight
from tests.web.browser import Visit, chromium
from tests.web.page.scenes import Past, Scene, Visitor
from tests.web.serving import Serving, Web


@pytest.fixture(scope="package")
def opened() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def visit(opened: Browser) -> Iterator[Visitor]:
    """Open pages; check them for faults at the end of the test."""
    visits: list[Visit] = []

    def begin(origin: str | Web | Serving, query: str = "", **options: Any) -> Visit:
        if not isinstance(origin, str):
            origin = f"http://127.0.0.1:{origin.port}"
        visits.append(Visit(opened, origin, query, **options))
        return visits[-1]

    yield begin
    for each in visits:
        each.close()
    for each in visits:
        each.check()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path / "none.db") as running:
        yield running


@pytest.fixture(scope="package")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    pass_midnight()
    with Past(tmp_path_factory.mktemp("past")) as running:
        yield running
