"""The rows of the tree: every byte once in each grouping, in order, and found again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.conditions import Loopback
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.filter_fields import toggled
from bwtop.model.flows import UDP, UNATTRIBUTED, Host, Identity, ProcessKey, Role, Traffic
from bwtop.model.ledger import CATEGORIES, CLASSES, Flow, Tally
from bwtop.model.live import AVERAGES, LiveModel
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.model.typed import parse
from bwtop.view.columns import PROCESS_COLUMNS, REMOTE_COLUMNS
from bwtop.view.grouping import OF_FLOW, Grouping
from bwtop.view.order import DEFAULT_SORT, Order
from bwtop.view.rows import FIRST, Branch, Expansion, Leaf, Path, Row, RowId
from bwtop.view.tree import Tree, View
from tests.build import KEYS, NOW, REMOTES, key, packed, remote, sample

HOSTS = {packed("192.0.2.1"): "www.example.net", packed("127.0.0.1"): "localhost"}

IDENTITIES = (
    Identity("curl", 1000, "curl -s", "/usr/bin/curl", user="ada", unit="a.scope", started=NOW),
    Identity("Curl", 0, "Curl x", "/usr/bin/curl", user="root", unit="b.service", container="c:1"),
    Identity("sshd", 0, "sshd", "/usr/sbin/sshd", user="root", unit="b.service", pod="d"),
    Identity("kworker", 0, kernel=True),
    Identity("(unknown)"),
)

amounts = st.integers(0, 1000)
flows = st.dictionaries(
    st.sampled_from(REMOTES),
    st.tuples(amounts, amounts).map(lambda both: Traffic(*both)),
    min_size=1,
)
processes = st.sampled_from((*KEYS, key(3), UNATTRIBUTED))
readings = st.builds(
    sample,
    st.dictionaries(processes, flows),
    elapsed=st.sampled_from([0.5, 1.0, 2.0, 45.0]),
    identities=st.fixed_dictionaries(
        dict.fromkeys((*KEYS, key(3)), st.sampled_from(IDENTITIES)),
    ),
    exited=st.sets(st.sampled_from(KEYS), max_size=2),
)
groupings = st.sampled_from(Grouping)
orders = st.builds(Order, st.sampled_from([column.id for column in PROCESS_COLUMNS]), st.booleans())


@st.composite
def models(draw: st.DrawFn) -> LiveModel:
    """Draw a model with running, exited and removed processes."""
    model = LiveModel()
    model.set_average(draw(st.sampled_from(AVERAGES)))
    exited: set[ProcessKey] = set()
    for reading in draw(st.lists(readings, min_size=1, max_size=5)):
        reading.traffic = {k: f for k, f in reading.traffic.items() if k not in exited}
        model.advance(reading)
        exited |= reading.exited
    return model


def built(
    model: LiveModel,
    grouping: Grouping = Grouping.PROCESS,
    order: Order = Order(),
    toggles: Filter = EVERYTHING,
    typed: Filter = EVERYTHING,
    expansion: Expansion | None = None,
    before: Tree | None = None,
) -> Tree:
    view = View(toggles, typed, grouping, order)
    tree = Tree(model, view, expansion or Expansion(), RemoteNames(HOSTS.get))
    tree.sort(before)
    return tree


def below(
    tree: Tree, shown: Callable[[Row], bool] = lambda _: True, rows: Sequence[Row] | None = None
) -> Iterator[tuple[Path, Row]]:
    """Yield all rows with their places, and the children of expanded ones."""
    for place, row in enumerate(tree.tops if rows is None else rows):
        yield (place,), row
        if isinstance(row, Branch) and shown(row):
            for path, more in below(tree, shown, tree.children(row)):
                yield (place, *path), more


def ids(rows: Sequence[Row]) -> list[RowId]:
    return [row.id for row in rows]


def everything(tree: Tree) -> list[tuple[Path, RowId]]:
    return [(path, row.id) for path, row in below(tree)]


def numbers(row: Row) -> tuple[int, int, int, int]:
    return row.counted.rx, row.counted.tx, row.counted.rx_total, row.counted.tx_total


def summed(rows: Sequence[Row]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip((0, 0, 0, 0), *map(numbers, rows), strict=True))


def tallied(tallies: Sequence[Tally]) -> tuple[int, ...]:
    every = [(0, 0, 0, 0), *((t.rx_window, t.tx_window, t.rx, t.tx) for t in tallies)]
    return tuple(sum(column) for column in zip(*every, strict=True))


# Filters.

Scope = tuple[frozenset[str], Loopback]
"""The shown classes, and what is shown of loopback."""

scopes = st.tuples(st.frozensets(st.sampled_from(CLASSES), min_size=1), st.sampled_from(Loopback))


@given(models(), groupings, scopes)
def test_rows_are_the_sums_of_their_children_and_add_up_to_the_model(
    model: LiveModel, grouping: Grouping, scope: Scope
) -> None:
    tree = built(model, grouping, toggles=toggled(*scope))
    for _, row in below(tree):
        assert (row.counted.rx_rate, row.counted.tx_rate) == pytest.approx(
            (row.counted.rx / model.covered, row.counted.tx / model.covered)
        )
        if isinstance(row, Branch):
            assert tree.children(row)
            assert numbers(row) == summed(tree.children(row))
    categories = toggled(*scope).categories()
    listed = summed(tree.tops)
    if grouping is Grouping.PROCESS:  # which omits removed processes
        of_gone = [item for process in model.gone.values() for item in process.sums.items()]
        gone = tallied([tally for of, tally in of_gone if of in categories])
        listed = tuple(a + b for a, b in zip(listed, gone, strict=True))
    assert listed == tallied(model.window_sums(categories))


CONDITIONS: dict[str, Callable[[Flow], bool]] = {
    "": lambda _: True,
    "curl": lambda flow: flow.process.identity.name.lower() == "curl",
    "-curl": lambda flow: flow.process.identity.name.lower() != "curl",
    "pid:1": lambda flow: flow.process.key is not None and flow.process.key.pid == 1,
    "user:root port:8080": lambda flow: (
        flow.process.identity.user == "root" and flow.remote.port == 8080
    ),
    "example": lambda flow: flow.remote.address == packed("192.0.2.1"),
    "-localhost proto:tcp": lambda flow: flow.remote in REMOTES[:3:2],
    "nothing-like-this": lambda _: False,
}

LOCAL = {Loopback.SHOW: {False, True}, Loopback.HIDE: {False}, Loopback.ONLY: {True}}
"""The shown flows, by loopback or not."""


@given(models(), groupings, scopes, st.sampled_from(sorted(CONDITIONS)))
def test_every_flow_in_scope_is_shown_once(
    model: LiveModel, grouping: Grouping, scope: Scope, text: str
) -> None:
    tree = built(model, grouping, toggles=toggled(*scope), typed=parse(text))
    leaves = [row for _, row in below(tree) if isinstance(row, Leaf)]
    gone = [] if grouping is Grouping.PROCESS else model.gone.values()
    shown = {
        (flow.process.key or flow.process.identity, flow.remote): tallied([flow])
        for process in (*model.ledger.processes.values(), *gone)
        for flow in process.flows.values()
        if (flow.rx or flow.tx)
        and CATEGORIES[flow.category][0] in scope[0]
        and (flow.remote.address == packed("127.0.0.1")) in LOCAL[scope[1]]
        and CONDITIONS[text](flow)
    }
    assert {(leaf.id.process, leaf.remote): numbers(leaf) for leaf in leaves} == shown
    assert len(leaves) == len(shown)
    for _, row in below(tree):
        if isinstance(row, Branch):
            assert numbers(row) == summed(tree.children(row))


@given(models(), groupings, scopes, st.sampled_from(sorted(CONDITIONS)))
def test_rows_without_idle_ones_are_those_with_bytes_in_the_window(
    model: LiveModel, grouping: Grouping, scope: Scope, text: str
) -> None:
    toggles, keep = toggled(*scope), parse(text)
    view = View(toggles, keep, grouping, idle=False)
    tree = Tree(model, view, Expansion(), RemoteNames(HOSTS.get))
    shown = {row.id: pytest.approx(row.counted[:4]) for _, row in below(tree)}
    full = below(built(model, grouping, toggles=toggles, typed=keep))
    assert shown == {row.id: row.counted[:4] for _, row in full if any(row.counted[:2])}


def test_row_appears_with_its_first_bytes() -> None:
    model = LiveModel()
    model.pause()
    model.advance(sample({key(1): {remote(): Traffic(1)}}))
    assert [built(model, grouping).tops for grouping in Grouping] == [[]] * len(Grouping)
    model.resume()
    before = [everything(built(model, grouping)) for grouping in Grouping]
    assert all(before)
    model.pause()
    model.advance(sample({key(1): {remote("192.0.2.2"): Traffic(1)}}))
    assert [everything(built(model, grouping)) for grouping in Grouping] == before


@pytest.mark.parametrize("grouping", Grouping)
def test_rates_continue_after_a_reset(grouping: Grouping) -> None:
    """The rows add up to the rate over all, which a reset does not change."""
    model = LiveModel()
    model.set_average(10.0)
    quiet, busy = remote(), remote("192.0.2.2")
    model.advance(sample({key(1): {quiet: Traffic(100)}, key(2): {quiet: Traffic(50)}}))
    model.reset()
    model.advance(sample({key(1): {busy: Traffic(10)}}))
    tree = built(model, grouping)
    for _, row in below(tree):
        if isinstance(row, Branch):
            assert numbers(row) == summed(tree.children(row))
    assert summed(tree.tops) == (160, 0, 10, 0)


# Groups.


def lasting(identities: dict[ProcessKey, Identity], exited: Sequence[ProcessKey] = ()) -> LiveModel:
    """Return a model with one flow of each process, all to the same remote."""
    model = LiveModel()
    traffic = {name: {remote(): Traffic(name.stored_pid)} for name in identities}
    model.advance(sample(traffic, identities=identities, exited=exited))
    return model


@pytest.mark.parametrize(
    ("grouping", "identity", "label"),
    [
        (Grouping.EXECUTABLE, Identity("curl", exe="/bin/curl"), "/bin/curl"),
        (Grouping.EXECUTABLE, Identity("kworker", kernel=True), "[kworker]"),
        (Grouping.EXECUTABLE, Identity("sh"), "sh"),
        (Grouping.USER, Identity("sh", uid=5, user="ada"), "ada"),
        (Grouping.USER, Identity("sh", uid=0), "0"),
        (Grouping.USER, Identity("sh"), "(no user)"),
        (Grouping.UNIT, Identity("sh", unit="a.scope"), "a.scope"),
        (Grouping.UNIT, Identity("sh", unit="a.scope", container="docker:1"), "docker:1"),
        (Grouping.UNIT, Identity("sh", container="docker:1", container_name="web"), "web"),
        (Grouping.UNIT, Identity("sh"), "(no unit)"),
        (Grouping.CONTAINER, Identity("sh", container="docker:1", container_name="web"), "web"),
        (Grouping.CONTAINER, Identity("sh", unit="a.scope", container="docker:1"), "docker:1"),
        (Grouping.CONTAINER, Identity("sh", unit="a.scope"), "(no container)"),
        (Grouping.REMOTE, Identity("sh"), "192.0.2.1"),
    ],
)
def test_group_has_the_name_of_its_common_property(
    grouping: Grouping, identity: Identity, label: str
) -> None:
    model = lasting({key(1): identity, key(2): identity})
    tree = built(model, grouping)
    (group,) = tree.tops
    assert (group.id, group.identity.name) == (RowId(f"{grouping} {label}"), label)
    assert (group.size, group.key, group.pid) == (2, None, None)
    assert (group.process, group.address) == (
        None,
        packed("192.0.2.1") if grouping is Grouping.REMOTE else None,
    )
    assert ids(tree.children(group)) == [RowId(group.id.group, key(pid)) for pid in (2, 1)]
    assert tree.grouping is grouping


def test_hosts_are_grouped_by_id_not_by_name() -> None:
    """A host that gets another name is still the same host."""
    hosts = (Host("web", "a"), Host("web", "b"), Host("new", "a"), None)
    model = lasting({key(n): Identity("sh", host=host) for n, host in enumerate(hosts, 1)})
    tree = built(model, Grouping.HOST, Order("pid"))
    assert [(top.id.group, top.identity.name) for top in tree.tops] == [
        ("host ", "(this machine)"),
        ("host b", "web"),
        ("host a", "web"),
    ]
    assert [[child.id.process for child in tree.children(top)] for top in tree.tops] == [
        [key(4)],
        [key(2)],
        [key(1), key(3)],
    ]


@pytest.mark.parametrize("grouping", [Grouping.EXECUTABLE, Grouping.REMOTE])
def test_group_counts_the_living_and_all(grouping: Grouping) -> None:
    model = lasting({key(n): Identity("sh", exe="/bin/sh") for n in range(1, 6)}, [key(1), key(4)])
    for elapsed in (1.0, 100.0):  # the exited ones are forgotten, then remembered together
        (group,) = built(model, grouping).tops
        assert (group.living, group.size, group.exited) == (3, 5, False)
        model.advance(sample(elapsed=elapsed))
    model.advance(sample(exited=[key(2), key(3), key(5)]))
    (group,) = built(model, grouping).tops
    assert (group.living, group.size, group.exited) == (0, 5, True)


def test_host_without_a_name_is_shown_by_its_id() -> None:
    (group,) = built(lasting({key(1): Identity("sh", host=Host("", "a"))}), Grouping.HOST).tops
    assert group.identity.name == "a"


@pytest.mark.parametrize(
    "name", ["uid", "exe", "user", "unit", "container", "pod", "kernel", "host"]
)
def test_group_has_the_columns_that_its_processes_share(name: str) -> None:
    """Columns that differ between the processes are empty."""
    whole = Identity(
        "sh",
        5,
        exe="/bin/sh",
        kernel=True,
        user="ada",
        unit="a",
        container="c:1",
        pod="d",
        host=Host("web", "id"),
    )
    for grouping in list(Grouping)[1:]:
        (group,) = built(lasting({key(1): whole, key(2): whole}), grouping).tops
        assert getattr(group.identity, name) == getattr(whole, name)
        for other in built(lasting({key(1): whole, key(2): Identity("sh")}), grouping).tops:
            assert not getattr(other.identity, name) or other.size == 1


@pytest.mark.parametrize("grouping", Grouping)
def test_group_has_exited_when_all_members_have(grouping: Grouping) -> None:
    one = Identity("sh")
    for exited in ([], [key(1)], [key(1), key(2)]):
        tree = built(lasting({key(1): one, key(2): one}, exited), grouping)
        tops, rest = tree.tops, [row for _, row in below(tree) if isinstance(row, Branch)]
        of = {row.key: row.exited for row in rest if row.process}
        assert of == {key(1): key(1) in exited, key(2): key(2) in exited}
        if grouping is not Grouping.PROCESS:
            assert [top.exited for top in tops] == [len(exited) == 2]


@pytest.mark.parametrize("grouping", Grouping)
def test_removed_processes_still_count_in_groups(grouping: Grouping) -> None:
    one = Identity("sh", unit="a")
    model = lasting({key(pid): one for pid in (1, 2, 3)}, [key(1), key(2)])
    model.advance(sample(elapsed=100.0))
    tops = built(model, grouping).tops
    if grouping is Grouping.PROCESS:
        assert [(row.key, row.counted.rx_total) for row in tops] == [(key(3), 3)]
    else:
        assert [(row.size, row.counted.rx_total, row.exited) for row in tops] == [(3, 6, False)]
    model.advance(sample(exited=[key(3)]))
    model.advance(sample(elapsed=100.0))
    rows = [row for _, row in below(built(model, grouping)) if isinstance(row, Branch)]
    assert [row.exited for row in rows] == ([] if grouping is Grouping.PROCESS else [True, True])


@given(models(), groupings, scopes)
def test_graph_is_the_sum_of_whole_processes(
    model: LiveModel, grouping: Grouping, scope: Scope
) -> None:
    tree = built(model, grouping, toggles=toggled(*scope))
    for _, row in below(tree):
        if not isinstance(row, Branch):
            continue
        graph = tree.graph(row, 5)
        if grouping in {*OF_FLOW, Grouping.REMOTE, Grouping.CONVERSATION}:
            assert graph is None
            continue
        parts = [row] if row.process else tree.children(row)
        graphs = [
            model.graph(part.process, toggled(*scope).categories(), 5)
            for part in parts
            if isinstance(part, Branch) and part.process
        ]
        assert graph is not None
        for rates, *others in zip(graph, *graphs, strict=True):
            assert rates == pytest.approx((sum(o[0] for o in others), sum(o[1] for o in others)))


@pytest.mark.parametrize("grouping", Grouping)
def test_row_of_some_flows_has_no_graph(grouping: Grouping) -> None:
    model = lasting({key(1): Identity("sh")})
    tree = built(model, grouping, typed=parse("port:443"))
    assert [tree.graph(row, 5) for _, row in below(tree) if isinstance(row, Branch)] == [None] * (
        1 if grouping is Grouping.PROCESS else 2
    )


def test_pid_is_of_a_process_only() -> None:
    """Others have a key without pid, or none; columns print 0."""
    one = Identity("sh", user="ada")
    traffic = {who: {remote(): Traffic(1)} for who in (key(1), key(2), UNATTRIBUTED)}
    model = LiveModel()
    model.advance(sample(traffic, identities={key(1): one, key(2): one}, exited=[key(1)]))
    model.advance(sample(elapsed=100.0))
    tree = built(model, Grouping.USER, Order("pid"))
    rows = [row for _, row in below(tree) if isinstance(row, Branch)]
    assert [(row.key, row.pid, row.size, row.is_unattributed) for row in rows] == [
        (None, None, 2, False),  # a group of two
        (None, None, 1, False),  # the exited process
        (key(2), 2, 1, False),
        (None, None, 1, False),  # a group of one
        (UNATTRIBUTED, None, 1, True),
    ]
    assert [PROCESS_COLUMNS[0].get(row) for row in rows] == [1, 0, 2, 1, 0]
    for text, found in (("pid:0", ["(unknown)"]), ("pid:2", ["sh"])):
        tops = built(model, Grouping.EXECUTABLE, typed=parse(text)).tops
        assert [top.identity.name for top in tops] == found


# Order.


def varied() -> LiveModel:
    """Return processes that differ in every column, some with empty values."""
    model = LiveModel()
    identities = {
        ProcessKey(pid, pid): replace(one, started=NOW.replace(second=pid))
        for pid, one in enumerate(IDENTITIES[:4], 1)
    } | {ProcessKey(9, 9): IDENTITIES[4]}
    traffic = {
        name: {
            far: Traffic(name.start * 7 % 5 + n, name.start * 3 % 7)
            for n, far in enumerate(REMOTES)
        }
        for name in identities
    }
    model.advance(sample(traffic, identities=identities))
    model.advance(sample({k: dict(list(f.items())[1:]) for k, f in list(traffic.items())[1:]}))
    return model


@pytest.mark.parametrize("grouping", Grouping)
def test_rows_are_sorted_at_every_level(grouping: Grouping) -> None:
    model = varied()
    for column, reverse in product([column.id for column in PROCESS_COLUMNS], (False, True)):
        tree = built(model, grouping, Order(column, reverse))
        assert tree.order == Order(column, reverse)
        assert_sorted(tree.tops, column, reverse)
        for _, row in below(tree):
            if isinstance(row, Branch):
                assert_sorted(tree.children(row), column, reverse)


def assert_sorted(rows: Sequence[Row], wanted: str, reverse: bool) -> None:
    columns = REMOTE_COLUMNS if isinstance(rows[0], Leaf) else PROCESS_COLUMNS
    by_id = {column.header: column for column in columns}
    column = by_id.get(wanted, by_id[DEFAULT_SORT])
    values = [column.get(row) for row in rows]  # type: ignore[arg-type] # rows are of the columns' kind
    known = [v.lower() if isinstance(v, str) else v for v in values if v is not None]
    assert values[len(known) :] == [None] * (len(values) - len(known)), "nothing comes last"
    descending = column.descending != (reverse and column.id == wanted)
    assert known == sorted(known, reverse=descending)


@given(models(), groupings, orders, orders)
def test_reorder_equals_a_new_tree(
    model: LiveModel, grouping: Grouping, first: Order, then: Order
) -> None:
    tree = built(model, grouping, first)
    everything(tree)
    tree.reorder(then)
    assert tree.order == then
    assert everything(tree) == everything(built(model, grouping, then))


@pytest.mark.parametrize("grouping", list(Grouping)[1:])
def test_equal_groups_do_not_move_in_a_new_tree(grouping: Grouping) -> None:
    model = LiveModel()
    for pid, name in enumerate("cadb", 1):
        one = Identity(name, user=name, unit=name)
        traffic = {key(pid): {remote(f"192.0.2.{7 * pid % 5}"): Traffic(1, 1)}}
        model.advance(sample(traffic, identities={key(pid): one}))
    tree = built(model, grouping, Order("name", reverse=True))
    tree.reorder(Order("kernel"))
    assert ids(tree.tops) == ids(built(model, grouping, Order("kernel")).tops)


@given(models(), readings, groupings, orders, orders)
def test_rows_keep_their_places_and_new_ones_come_last(
    model: LiveModel, reading: Sample, grouping: Grouping, first: Order, then: Order
) -> None:
    before = built(model, grouping, first)
    children = {row.id: ids(rows) for row, rows in branches(before)}
    model.advance(reading)
    tree, fresh = built(model, grouping, then, before=before), built(model, grouping, then)
    assert ids(tree.tops) == kept(ids(before.tops), ids(fresh.tops))
    anew = {row.id: ids(rows) for row, rows in branches(fresh)}
    for row, rows in branches(tree):
        assert ids(rows) == kept(children.get(row.id, []), anew[row.id])
    numbers_of = {row.id: numbers(row) for _, row in below(fresh)}
    assert {row.id: numbers(row) for _, row in below(tree)} == numbers_of


def branches(tree: Tree) -> list[tuple[Branch, Sequence[Row]]]:
    return [(row, tree.children(row)) for _, row in below(tree) if isinstance(row, Branch)]


def kept(before: list[RowId], fresh: list[RowId]) -> list[RowId]:
    """Return the old order without removed rows, and the new rows after them in their own order."""
    old = [row for row in before if row in fresh]
    return old + [row for row in fresh if row not in old]


@pytest.mark.parametrize("grouping", Grouping)
@pytest.mark.parametrize("looked", [True, False])
def test_children_keep_their_places_even_if_not_drawn(grouping: Grouping, looked: bool) -> None:
    """Two intervals may end before the screen is drawn once."""
    model, tree = LiveModel(), None
    fars = remote(), remote("192.0.2.1", 80)
    for number, busy in enumerate((fars[0], fars[1], fars[1])):
        flows = {far: Traffic(1000 if far == busy else 1) for far in fars}
        model.advance(sample({key(1): flows, key(2): dict.fromkeys(fars, Traffic(1))}))
        tree = built(model, grouping, before=tree)
        if number == 0:
            order = everything(tree)
        elif looked:
            assert everything(tree) == order
    assert tree
    assert everything(tree) == order
    tree.sort()
    tree.reorder(Order())
    assert everything(tree) != order


def test_places_may_be_asked_for_while_a_row_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are made in the background while the screen opens those that it shows."""
    tree = built(lasting({key(1): Identity("sh"), key(2): Identity("sh")}))
    first, second = tree.tops

    class Opening(list[Row]):
        def __iter__(self) -> Iterator[Row]:
            tree.children(second)
            return super().__iter__()

    monkeypatch.setitem(tree._children, first.id, Opening(tree.children(first)))
    assert first.id in tree.places()
    assert second.id in tree.places()


# Expansion.


@pytest.mark.parametrize("rule", [False, True])
def test_expansion_is_a_rule_with_exceptions(rule: bool) -> None:
    one, other, new = (RowId(process=key(pid)) for pid in (1, 2, 3))
    expansion = Expansion(not rule)
    expansion.set(other, expanded=rule)
    expansion.set_all(expanded=rule)
    assert (one in expansion, other in expansion) == (rule, rule), "exceptions are forgotten"
    expansion.set(one, expanded=not rule)
    expansion.set(one, expanded=not rule)
    assert (one in expansion, other in expansion, new in expansion) == (not rule, rule, rule)
    expansion.set(one, expanded=rule)
    expansion.set(other, expanded=rule)
    assert expansion == Expansion(rule, set())


def test_tree_follows_its_expansion() -> None:
    expansion = Expansion()
    tree = built(lasting({key(1): Identity("sh"), key(2): Identity("sh")}), expansion=expansion)
    assert [path for path, _ in tree.walk(FIRST)] == [(0,), (1,)]
    expansion.set(tree.tops[0].id, expanded=True)
    assert [path for path, _ in tree.walk(FIRST)] == [(0,), (0, 0), (1,)]
    assert [tree.is_expanded(row) for _, row in tree.walk(FIRST)] == [True, False, False]
    expansion.set_all(expanded=True)
    assert [path for path, _ in tree.walk(FIRST)] == [(0,), (0, 0), (1,), (1, 0)]
    assert not tree.is_expanded(tree.row((0, 0))), "there is nothing below a remote"


# Walking.


@given(models(), groupings, orders, st.booleans(), st.integers(1, 4))
def test_walk_visits_every_shown_row_once_both_ways(
    model: LiveModel, grouping: Grouping, order: Order, rule: bool, every: int
) -> None:
    expansion = Expansion(rule)
    tree = built(model, grouping, order, expansion=expansion)
    for _, row in list(below(tree))[::every]:
        expansion.set(row.id, expanded=not rule)
    listing = list(below(tree, tree.is_expanded))
    assert list(tree.walk(FIRST)) == listing
    paths = [path for path, _ in listing]
    assert tree.last() == (paths[-1] if paths else FIRST)
    for here, there in pairwise(paths):
        assert here < there
        assert tree.after(here) == there
        assert tree.before(there) == here
    if paths:
        assert (tree.before(paths[0]), tree.after(paths[-1])) == (None, None)
        middle = len(paths) // 2
        assert list(tree.walk(paths[middle])) == listing[middle:]


@given(models(), groupings, orders)
def test_find_returns_the_place_of_every_row(
    model: LiveModel, grouping: Grouping, order: Order
) -> None:
    """Collapsed rows are found too: nothing is expanded here."""
    tree = built(model, grouping, order)
    rows = list(below(tree))
    assert len({row.id for _, row in rows}) == len(rows)
    for path, row in rows:
        assert tree.find(row.id) == path
        assert tree.row(path) is row
    for path, row in rows[::-1]:
        assert built(model, grouping, order).find(row.id) == path, "whatever was asked for before"


@given(models(), readings, groupings, orders)
def test_rows_are_found_again_after_an_interval_and_after_sorting(
    model: LiveModel, reading: Sample, grouping: Grouping, order: Order
) -> None:
    before = built(model, grouping)
    known = [row.id for _, row in below(before)]
    model.advance(reading)
    tree = built(model, grouping, before=before)
    for _ in range(2):
        there = {row.id: path for path, row in below(tree)}
        assert {row: tree.find(row) for row in known} == {row: there.get(row) for row in known}
        tree.reorder(order)


@pytest.mark.parametrize("grouping", Grouping)
def test_unlisted_row_is_not_found(grouping: Grouping) -> None:
    tree = built(varied(), grouping)
    group = tree.tops[0].id.group
    process = ProcessKey(9, 9)
    for missing in (
        RowId(),
        RowId(process=key(77)),
        RowId(process=process, remote=remote("203.0.113.9", 1)),
        RowId("user nobody"),
        RowId("user nobody", process),
        RowId(group, key(77)),
        RowId(group, key(77), REMOTES[0]),
        RowId(group, process, remote("203.0.113.9", 1)),
    ):
        assert tree.find(missing) is None


@pytest.mark.parametrize("grouping", Grouping)
def test_invalid_path_raises_index_error(grouping: Grouping) -> None:
    tree = built(varied(), grouping)
    (first, *_), leaf = tree.tops, next(p for p, row in below(tree) if isinstance(row, Leaf))
    for path in ((len(tree.tops),), (0, len(tree.children(first))), (*leaf, 0)):
        with pytest.raises(IndexError):
            tree.row(path)


def test_empty_model_has_no_rows() -> None:
    for grouping in Grouping:
        tree = built(LiveModel(), grouping, expansion=Expansion(rule=True))
        tree.sort(tree)
        assert (tree.tops, list(tree.walk(FIRST)), tree.last()) == ([], [], FIRST)


def test_each_distinct_remote_of_a_process_is_a_row() -> None:
    fars = {
        remote("192.0.2.1", 443),
        remote("192.0.2.1", 80),
        remote("192.0.2.1", 443, UDP),
        remote("192.0.2.1", 443, role=Role.SERVER),
        remote("192.0.2.2", 443),
    }
    model = LiveModel()
    model.advance(sample({key(1): dict.fromkeys(fars, Traffic(1))}))
    tree = built(model)
    assert {row.remote for row in tree.children(tree.tops[0]) if isinstance(row, Leaf)} == fars
    by_remote = built(model, Grouping.REMOTE)
    assert sorted(group.identity.name for group in by_remote.tops) == ["192.0.2.1", "192.0.2.2"]


def test_top_remote_is_that_with_most_bytes_now() -> None:
    model = LiveModel()
    curl, far = key(1), [remote(f"192.0.2.{number}", 443) for number in range(3)]
    model.advance(sample({curl: {far[0]: Traffic(900), far[1]: Traffic(50, 50)}}))
    tree = Tree(model, View(), Expansion(), RemoteNames())
    tree.sort()
    (row,) = tree.tops
    assert tree.top(row) == (curl, far[0], 0.9, 1)
    model.advance(sample({curl: {far[2]: Traffic(0, 7)}}))
    tree = Tree(model, View(grouping=Grouping.EXECUTABLE), Expansion(), RemoteNames())
    (group,) = tree.tops
    assert tree.top(group) == (curl, far[2], 1.0, 2)
    model.advance(sample({key(2): {far[2]: Traffic(1)}}))
    tree = Tree(model, View(), Expansion(), RemoteNames())
    idle = next(row for row in tree.tops if row.key == curl)
    assert tree.top(idle) == (curl, far[0], 900 / 1007, 2)


@pytest.mark.parametrize("order", [Order("total"), Order("name"), Order("pid", reverse=True)])
def test_exited_processes_come_last_in_any_order(order: Order) -> None:
    model = LiveModel()
    dead, first, second = key(1), key(2), key(3)
    names = {dead: Identity("m"), first: Identity("a"), second: Identity("z")}
    traffic = {dead: {remote(): Traffic(9999)}, first: {remote(): Traffic(1)}}
    model.advance(
        sample({**traffic, second: {remote(): Traffic(2)}}, identities=names, exited={dead})
    )
    view = View(order=order, living_first=True)
    tree = Tree(model, view, Expansion(), RemoteNames())
    tree.sort()
    assert [row.key for row in tree.tops][-1] == dead
    tree.reorder(Order("name", reverse=True))
    assert [row.key for row in tree.tops] == [second, first, dead]
    plain = Tree(model, View(order=Order("total")), Expansion(), RemoteNames())
    plain.sort()
    assert plain.tops[0].key == dead


@given(models(), groupings, st.booleans(), st.booleans(), st.integers(0, 2))
def test_folded_and_joined_rows_have_all_traffic_and_are_found(
    model: LiveModel, grouping: Grouping, fold: bool, join: bool, first: int
) -> None:
    view = View(grouping=grouping, living_first=True, fold=fold, join=join, first_remotes=first)
    tree = Tree(model, view, Expansion(), RemoteNames(HOSTS.get))
    tree.sort()
    plain_rows = built(model, grouping)
    assert numbers(Branch(RowId(), tree.counted(), IDENTITIES[0])) == summed(plain_rows.tops)
    rows = list(below(tree))
    assert all(tree.find(row.id) == path for path, row in rows)
    assert len({row.id for _, row in rows}) == len(rows)
    leaves = {row.id[1:3]: numbers(row) for _, row in rows if isinstance(row, Leaf)}
    wanted = [row for _, row in below(plain_rows) if isinstance(row, Leaf)]
    assert leaves == {row.id[1:3]: numbers(row) for row in wanted}
    for _, row in rows:
        if isinstance(row, Branch) and not row.joined:
            assert numbers(row) == summed(tree.children(row))
