"""Numbers of remotes and flows, and peaks: of all that is below a row, whatever it stands for."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

from bwtop.model.filter_fields import toggled
from bwtop.model.flows import UDP, Identity, Role, Traffic
from bwtop.model.live import LINGER, LiveModel
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import FlowTraffic
from bwtop.model.series import LENGTH
from bwtop.model.typed import parse
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.view.grouping import Grouping
from bwtop.view.rows import Branch, Expansion, Leaf
from bwtop.view.tree import Tree, View
from tests.build import interval, key, remote, sample
from tests.view.test_tree import Scope, below, built, groupings, models, scopes

COLUMNS = {column.id: column for column in PROCESS_COLUMNS}

WEB, SHELL = key(1), key(2)
IDENTITIES = {WEB: Identity("web", unit="a"), SHELL: Identity("sh", unit="a")}
FLOWS: FlowTraffic = {
    WEB: {
        remote("192.0.2.1", 443): Traffic(100),
        remote("192.0.2.1", 443, UDP): Traffic(1),
        remote("192.0.2.2", 443): Traffic(2),
        remote("127.0.0.1", 80, role=Role.SERVER): Traffic(3),
    },
    SHELL: {remote("192.0.2.1", 443): Traffic(5), remote("*", 0, UDP): Traffic(1)},
}


def started(traffic: FlowTraffic = FLOWS) -> LiveModel:
    model = LiveModel()
    model.advance(sample(traffic, identities=IDENTITIES))
    return model


def values(row: Branch, *columns: str) -> list[Any]:
    return [COLUMNS[name].get(row) for name in columns]


def counts(tree: Tree) -> dict[str, list[Any]]:
    return {row.identity.name: values(row, "remotes", "flows") for row in tree.tops}


def branches(tree: Tree) -> list[Branch]:
    return [row for _, row in below(tree) if isinstance(row, Branch)]


def leaves(tree: Tree, row: Branch) -> Iterator[Leaf]:
    for child in tree.children(row):
        yield from leaves(tree, child) if isinstance(child, Branch) else [child]


# Remotes and flows.


def test_an_address_with_several_ports_and_protocols_is_one_remote() -> None:
    assert counts(built(started())) == {"web": [3, 4], "sh": [2, 2]}


def test_group_counts_an_address_once_and_the_flows_of_each_process() -> None:
    assert counts(built(started(), Grouping.UNIT)) == {"a": [4, 6]}
    by_remote = counts(built(started(), Grouping.REMOTE))
    assert by_remote["192.0.2.1"] == [1, 3]


def test_hidden_flows_are_not_counted() -> None:
    tree = built(started(), typed=parse("proto:tcp loopback:hide"))
    assert counts(tree) == {"web": [2, 2], "sh": [1, 1]}


@given(models(), groupings, scopes)
def test_counts_are_those_of_the_rows_below(
    model: LiveModel, grouping: Grouping, scope: Scope
) -> None:
    tree = built(model, grouping, toggles=toggled(*scope))
    for row in branches(tree):
        below = list(leaves(tree, row))
        if grouping is Grouping.CONVERSATION and row.process is None:
            continue  # counts one end of each
        assert values(row, "remotes", "flows") == [
            len({leaf.remote.address for leaf in below}),
            len(below),
        ]


def test_an_interval_counts_the_flows_that_moved_bytes_in_it() -> None:
    (row,) = interval({WEB: {remote(): Traffic(1), remote("192.0.2.2"): Traffic()}}).processes
    assert values(row, "remotes", "flows", "peak") == [1, 1, None]


def test_remotes_beyond_the_first_have_no_counts() -> None:
    model = started({WEB: {remote(f"192.0.2.{n}"): Traffic(1) for n in range(9)}})
    tree = Tree(model, View(first_remotes=2), Expansion(), RemoteNames())
    tree.sort()
    *_, rest = tree.children(tree.tops[0])
    assert isinstance(rest, Branch)
    assert values(tree.tops[0], "remotes", "flows") == [9, 9]
    assert values(rest, "remotes", "flows", "peak") == [None] * 3


# Peaks.


def moved(**amounts: int) -> FlowTraffic:
    """Return traffic by process, in one direction each."""
    ends = {
        "web": (WEB, remote(), False),
        "local": (WEB, remote("127.0.0.1"), True),
        "sh": (SHELL, remote(), True),
    }
    found: FlowTraffic = {}
    for name, amount in amounts.items():
        process, far, sends = ends[name]
        traffic = Traffic(0, amount) if sends else Traffic(amount)
        found.setdefault(process, {})[far] = traffic
    return found


def advanced(*readings: FlowTraffic) -> LiveModel:
    model = LiveModel()
    for reading in readings:
        model.advance(sample(reading, elapsed=2.0, identities=IDENTITIES))
    return model


def peaks(tree: Tree) -> dict[str, float | None]:
    return {row.identity.name: row.peak for row in tree.tops}


READINGS = (moved(web=600, sh=100), moved(web=500, local=200), moved(sh=400), moved())


def test_peak_is_the_highest_rate_of_one_interval_both_directions_together() -> None:
    model = advanced(*READINGS)
    assert peaks(built(model)) == {"web": 350.0, "sh": 200.0}
    assert peaks(built(model, toggles=parse("loopback:hide"))) == {"web": 300.0, "sh": 200.0}
    model.set_average(40.0)
    assert peaks(built(model)) == {"web": 350.0, "sh": 200.0}, "no average of several intervals"


def test_peak_of_a_group_is_of_its_processes_together() -> None:
    assert peaks(built(advanced(*READINGS), Grouping.UNIT)) == {"a": 350.0}
    together = (moved(web=600, sh=100), moved(web=500, sh=400))
    assert peaks(built(advanced(*together), Grouping.UNIT)) == {"a": 450.0}


def test_peak_is_as_old_as_the_graphs() -> None:
    model = advanced(moved(web=600, sh=1), *[moved(web=2)] * (LENGTH - 1))
    assert peaks(built(model))["web"] == 300.0
    model.advance(sample())
    assert peaks(built(model)) == {"web": 1.0, "sh": 0.0}


@pytest.mark.parametrize("grouping", [Grouping.REMOTE, Grouping.NET])
def test_peak_of_a_part_of_a_process_is_unknown(grouping: Grouping) -> None:
    model = advanced(*READINGS)
    assert [row.peak for row in branches(built(model, grouping))] == [None] * 5
    assert peaks(built(model, typed=parse("loopback:hide"))) == {"web": None, "sh": None}
    assert peaks(built(model, typed=parse("process:web"))) == {"web": 350.0}


def test_peak_of_a_group_has_what_exited_processes_moved() -> None:
    model = advanced(moved(web=600, sh=100))
    model.advance(sample(moved(web=1), exited=[SHELL], elapsed=LINGER))
    model.advance(sample(moved(web=1), elapsed=LINGER + 1))
    assert SHELL not in model.ledger.processes
    assert peaks(built(model, Grouping.UNIT)) == {"a": 350.0}
    model.reset()
    model.advance(sample(moved(web=1)))
    assert peaks(built(model, Grouping.UNIT)) == {"a": 300.0}, "the reset forgets exited ones"


@given(models(), groupings, scopes)
def test_peak_is_the_highest_of_the_graph(
    model: LiveModel, grouping: Grouping, scope: Scope
) -> None:
    tree = built(model, grouping, toggles=toggled(*scope))
    for row in branches(tree):
        graph = tree.graph(row, LENGTH)
        expected = None if graph is None else max(map(sum, graph), default=0.0)
        assert row.peak == (expected if expected is None else pytest.approx(expected))
