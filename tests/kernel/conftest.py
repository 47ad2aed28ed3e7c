"""One bwtop for all tests that only watch; tests tell their processes apart by pid."""

import os
from collections.abc import Iterator

import pytest

from tests.kernel.older import Older, older
from tests.kernel.running import STARTED, Bwtop

MAY_MISS = bool(os.environ.get("BWTOP_TEST_MAY_MISS"))
"""Set on kernels that preempt programs, and where emulation makes those last long enough for it to happen."""

ATTEMPTS = 6


@pytest.fixture(scope="package")
def before() -> Iterator[Older]:
    """Make connections that are there before `bwtop` is."""
    with older(ATTEMPTS if MAY_MISS else 1) as kept:
        yield kept


@pytest.fixture(scope="package")
def bwtop(before: Older) -> Iterator[Bwtop]:
    """Run a bwtop that sees everything, with room for all that any test sends.

    Where events may be missed the room is less: with kprobes they are while a map is read, and a large one takes longer.
    """
    with Bwtop("--max-flows", "65536" if MAY_MISS else "524288") as running:
        yield running
        found = lost(running)
        found.pop("names", None)  # a test sends more of them than any bwtop has room for
        if MAY_MISS:
            # A test that lacked bytes because of them has been tried again.
            found.pop("events", None)
        assert not found, "something was lost while the tests ran"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Where events may be missed, what is counted is exact unless bwtop says that some were: then it is tried again."""
    if not MAY_MISS:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    for attempts_left in reversed(range(ATTEMPTS)):
        missed = missed_anywhere()
        try:
            pyfuncitem.obj(**arguments)
        except Exception:  # whatever a test fails with
            for running in STARTED:
                if running.process.poll() is None:
                    running.settle()
            if not attempts_left or missed_anywhere() == missed:
                raise
        else:
            break
    return True


def missed_anywhere() -> int:
    """Return how many events the bwtops of these tests have said they missed."""
    return sum(lost(running).get("events", 0) for running in STARTED)


def lost(running: Bwtop) -> dict[str, int]:
    """Return what a bwtop reported as lost, zeros left out."""
    total: dict[str, int] = {}
    for document in running.documents:
        for name, amount in document["lost"].items():
            if amount:
                total[name] = total.get(name, 0) + amount
    return total
