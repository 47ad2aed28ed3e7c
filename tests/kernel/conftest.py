"""One bwtop for all tests that only watch; tests tell their processes apart by pid."""

from collections.abc import Iterator

import pytest

from tests.kernel.running import Bwtop


@pytest.fixture(scope="session")
def bwtop() -> Iterator[Bwtop]:
    """A running bwtop that sees everything, with room for all that any test sends."""
    with Bwtop("--max-flows", "524288") as running:
        yield running
        assert not lost(running), "something was lost while the tests ran"


def lost(running: Bwtop) -> dict[str, int]:
    """What a bwtop reported as lost, zeros left out."""
    total: dict[str, int] = {}
    for document in running.documents:
        for name, amount in document["lost"].items():
            if amount:
                total[name] = total.get(name, 0) + amount
    return total
