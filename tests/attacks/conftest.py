"""The system that all attacks share, and a layer of its own for each."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.attacks.stage import Namespaces, Stage, build

_NUMBERS = count()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Namespaces, list[str]]]:
    namespaces = Namespaces(tmp_path_factory.mktemp("stage"))
    try:
        yield namespaces, build(namespaces)
    finally:
        namespaces.close()


@pytest.fixture
def stage(system: tuple[Namespaces, list[str]]) -> Iterator[Stage]:
    made = Stage(*system, f"test-{next(_NUMBERS)}")
    yield made
    made.close()
