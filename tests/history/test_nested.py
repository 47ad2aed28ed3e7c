"""Processes with their largest remotes: picked by the store, the same as of all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.history import nested
from bwtop.history.dimensions import ENDPOINT
from bwtop.history.nested import PROCESS, SORTS, Nested
from bwtop.history.query import ReportRow
from bwtop.history.ranges import Range
from bwtop.history.store import Order
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.reader import LocalReader
from tests.build import key, typed
from tests.history.keep import (
    HOUR,
    NGINX,
    NOON,
    PROGRAMS,
    REMOTES,
    Kept,
    delta,
    grouped,
    local,
    policy,
    total,
)

WHOLE = Range("", NOON - HOUR, NOON + 5 * HOUR)

programs = st.sampled_from((*PROGRAMS, replace(NGINX, unit="other.service")))
"""Two of them are one process: its unit is no part of it."""

moved = st.tuples(st.integers(0, 9), st.integers(0, 9))
flows = st.dictionaries(
    st.tuples(st.integers(1, 3).map(key), programs),
    st.dictionaries(st.sampled_from(REMOTES), moved, min_size=1),
)
deltas = st.builds(
    Delta, st.integers(0, 4 * HOUR).map(lambda s: float(NOON + s)), st.just(1.0), flows
)
filters = st.sampled_from(["", "process:nginx", "-user:0", "proto:tcp", "loopback:hide", "port:53"])
orders = st.tuples(st.sampled_from(list(SORTS)), st.booleans())


@contextmanager
def asked(kept: Kept, keep: Filter = EVERYTHING) -> Iterator[Nested]:
    try:
        yield nested.ask(kept.history(), WHOLE, keep, WHOLE.end)
    finally:
        kept.let_go()


@given(st.lists(deltas, min_size=1, max_size=6), filters, orders, st.integers(1, 9))
def test_remotes_are_the_first_of_all(
    found: list[Delta], text: str, order: Order, most: int
) -> None:
    keep = typed(text)
    with local("UTC"):
        kept = Kept(policy())
        kept.append(*sorted(found, key=lambda each: each.start))
        kept.steps(NOON + 2 * HOUR + 100)
        with asked(kept, keep) as answer:
            sums = grouped(found, [PROCESS, ENDPOINT], keep)
            assert (answer.answer.rx, answer.answer.tx) == total(found, keep)
            assert {row.labels for row in answer.answer.rows} == {label[:-1] for label in sums}
            for row in answer.answer.rows:
                mine = [
                    ReportRow(label[-1:], *both)
                    for label, both in sums.items()
                    if label[:-1] == row.labels
                ]
                rows, count = answer.remotes(row.labels, order, most)
                assert count == len(mine)
                assert (row.rx, row.tx) == (sum(r.rx for r in mine), sum(r.tx for r in mine))
                value = SORTS[order[0]]
                best = nested.ordered(mine, order)[:most]
                assert [value(r) for r in rows] == [value(r) for r in best]
                assert {(r.labels, r.rx, r.tx) for r in rows} <= {
                    (r.labels, r.rx, r.tx) for r in mine
                }
                assert len({r.labels for r in rows}) == len(rows)


@pytest.mark.parametrize("text", ["", "process:curl"])
def test_no_remote_is_read_that_is_not_shown(text: str) -> None:
    """A report of two million remotes took 31 seconds."""
    kept = Kept()
    kept.append(*[delta(NOON + n, far=far) for n, far in enumerate(REMOTES)])
    statements: list[str] = []
    kept.connection.set_trace_callback(statements.append)
    with asked(kept, typed(text)) as answer:
        (row,) = answer.answer.rows
        assert answer.remotes(row.labels, ("total", False), 2)[1] == len(REMOTES)
    read = [statement for statement in statements if "FROM remote" in statement]
    assert len(read) == 2
    joined = [statement for statement in statements if "JOIN remote" in statement]
    assert all("GROUP BY protocol, net" in statement for statement in joined), "bounded"


def test_other_stores_list_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalReader, "ranks_remotes", False)
    kept = Kept()
    kept.append(*[delta(NOON + n, rx=n, far=far) for n, far in enumerate(REMOTES)])
    with asked(kept) as answer:
        (row,) = answer.answer.rows
        rows, count = answer.remotes(row.labels, ("rx", False), 2)
    assert [row.labels[0] for row in rows] == [REMOTES[-1], REMOTES[-2]]
    assert count == len(REMOTES)
