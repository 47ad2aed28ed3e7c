"""A port that takes datagrams."""

from collections.abc import Iterator

import pytest

from tests.kernel import running


@pytest.fixture
def sink() -> Iterator[int]:
    """Yield a UDP port of 127.0.0.1 that no process reads."""
    with running.sink() as port:
        yield port
