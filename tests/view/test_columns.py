"""The table of columns, and sorting by any of them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from bwtop.model.filter import EVERYTHING
from bwtop.model.flows import UDP, Identity, ProcessKey, Remote, Role, Traffic, format_address
from bwtop.model.live import LiveModel
from bwtop.model.rates import Counted
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import FlowTraffic
from bwtop.view.column import Column, iso, thousandths
from bwtop.view.columns import PROCESS_COLUMNS, REMOTE_COLUMNS
from bwtop.view.order import DEFAULT_SORT, Order, parse_order
from bwtop.view.rows import Branch, Expansion, Leaf, RowId
from bwtop.view.tree import Tree, View
from tests.build import NOW, interval, key, remote, sample

IDS = [column.id for column in PROCESS_COLUMNS]


def listed(
    traffic: FlowTraffic, *, identities: dict[ProcessKey, Identity], elapsed: float = 1.0
) -> list[Branch]:
    """Return the rows of processes, by pid."""
    shown = interval(traffic, elapsed=elapsed, identities=identities, order=Order("pid"))
    return list(shown.processes)


def three_processes() -> list[Branch]:
    """Return processes, by pid, that differ in every column, the third with as many unknown values as possible."""
    zsh, curl, b = key(30)._replace(exec=1), key(10)._replace(exec=3), key(20)
    return listed(
        {
            zsh: {remote(): Traffic(10, 200)},
            curl: {
                remote(): Traffic(29, 10),
                remote("10.0.0.2"): Traffic(1, 1),
                remote("10.0.0.3"): Traffic(1, 0),
            },
            b: {remote("*", 0): Traffic(19, 5), remote("192.0.2.9"): Traffic(1, 0)},
        },
        elapsed=2.0,
        identities={
            zsh: Identity(
                name="Zsh",
                uid=1000,
                cmdline="zsh -l",
                exe="/usr/bin/zsh",
                started=NOW,
                user="ada",
                unit="user@1000.service",
                container="docker:3f1e9a0b7c2d",
                container_name="web",
                image="nginx:1.25",
                pod="8a4c1b9e-03d2-4f5e-9a77-1c2b3d4e5f60",
            ),
            curl: Identity(
                name="curl",
                uid=33,
                cmdline="curl -s",
                exe="/usr/bin/curl",
                kernel=True,
                started=NOW - timedelta(seconds=5),
                user="www-data",
                unit="cron.service",
                container="podman:0123456789ab",
                container_name="DB",
                image="docker.io/library/postgres:16",
                pod="00000000-03d2-4f5e-9a77-1c2b3d4e5f60",
            ),
            b: Identity(name="b"),
        },
    )


def pids(rows: Iterable[Branch]) -> list[int | None]:
    return [row.pid for row in rows]


@pytest.mark.parametrize("columns", [PROCESS_COLUMNS, REMOTE_COLUMNS], ids=["process", "remote"])
def test_every_column_has_an_id_of_its_own_and_help(columns: tuple[Column[Any], ...]) -> None:
    ids = [column.id for column in columns]
    assert len(set(ids)) == len(ids)
    assert all(column.id.isidentifier() for column in columns)
    assert [column.id for column in columns if not column.help.strip()] == []
    helps = [column.help for column in columns]
    assert len(set(helps)) == len(helps)


def test_sorting_by_default_is_by_a_column_that_both_tables_have() -> None:
    assert DEFAULT_SORT in IDS
    assert DEFAULT_SORT in [column.id for column in REMOTE_COLUMNS]


def test_values_of_a_process() -> None:
    row = three_processes()[2]
    assert {column.id: column.get(row) for column in PROCESS_COLUMNS} == {
        "pid": 30,
        "start": "2026-11-23T08:00:01.000+00:00",
        "exec": 1,
        "name": "Zsh",
        "exe": "/usr/bin/zsh",
        "cmdline": "zsh -l",
        "uid": 1000,
        "user": "ada",
        "unit": "user@1000.service",
        "container": "docker:3f1e9a0b7c2d",
        "container_name": "web",
        "image": "nginx:1.25",
        "pod": "8a4c1b9e-03d2-4f5e-9a77-1c2b3d4e5f60",
        "kernel": False,
        "net": "internet",
        "asn": None,
        "country": None,
        "remotes": 1,
        "flows": 1,
        "peak": None,
        "rx": 10,
        "tx": 200,
        "rx_rate": 5.0,
        "tx_rate": 100.0,
        "rx_total": 10,
        "tx_total": 200,
        "rate": 105.0,
        "total": 210,
    }


def test_values_of_a_remote() -> None:
    counted = Counted(1, 2, 0.33333, 0.66666, 5, 7)
    far = remote("::1", 53, UDP, Role.SERVER)
    row = Leaf(counted, far, parent=RowId(), known=RemoteNames(lambda _: "localhost"))
    assert {column.id: column.get(row) for column in REMOTE_COLUMNS} == {
        "addr": "::1",
        "port": 53,
        "proto": "udp",
        "role": "server",
        "host": "localhost",
        "loopback": True,
        "rx": 1,
        "tx": 2,
        "rx_rate": 0.333,
        "tx_rate": 0.667,
        "rx_total": 5,
        "tx_total": 7,
        "rate": pytest.approx(0.99999),
        "total": 12,
        "name": "localhost",
        "name_source": "reverse",
        "net": "loopback",
        "asn": None,
        "country": None,
    }


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("pid", [10, 20, 30]),
        ("name", [20, 10, 30]),  # ignores case
        ("uid", [10, 30, 20]),
        ("start", [10, 30, 20]),  # missing values last
        ("exec", [20, 30, 10]),
        ("exe", [10, 30, 20]),
        ("user", [30, 10, 20]),
        ("unit", [10, 30, 20]),
        ("container", [30, 10, 20]),
        ("container_name", [10, 30, 20]),
        ("image", [10, 30, 20]),
        ("pod", [10, 30, 20]),
        ("cmdline", [20, 10, 30]),
        ("net", [30, 10, 20]),
        ("asn", [30, 10, 20]),  # unknown without a database: by traffic
        ("country", [30, 10, 20]),
        ("remotes", [10, 20, 30]),
        ("flows", [10, 20, 30]),
        ("peak", [30, 10, 20]),  # unknown, as there is one interval at a time: by traffic
        ("kernel", [30, 20, 10]),  # equal ones by traffic
        ("rx", [10, 20, 30]),  # the largest numbers first
        ("tx", [30, 10, 20]),
        ("rx_rate", [10, 20, 30]),
        ("tx_rate", [30, 10, 20]),
        ("rx_total", [10, 20, 30]),
        ("tx_total", [30, 10, 20]),
        ("rate", [30, 10, 20]),
        ("total", [30, 10, 20]),
    ],
)
def test_natural_order(column: str, expected: list[int]) -> None:
    assert pids(Order(column).processes(three_processes())) == expected


def test_every_column_has_a_sort_test() -> None:
    cases = test_natural_order.pytestmark[0].args[1]  # type: ignore[attr-defined] # put there by pytest
    assert {column for column, _ in cases} == set(IDS)


@pytest.mark.parametrize("column", [i for i in IDS if i != "kernel"])  # it has two equal values
def test_reverse_reverses_rows_with_values(column: str) -> None:
    """Rows without a value come last either way."""
    rows = three_processes()
    value = {c.id: c for c in PROCESS_COLUMNS}[column].get
    natural = Order(column).processes(rows)
    there = [row for row in natural if value(row) is not None]
    missing = [row for row in natural if value(row) is None]
    assert Order(column, reverse=True).processes(rows) == there[::-1] + missing


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("column", IDS)
def test_equal_rows_come_in_the_order_of_their_pids(column: str, *, reverse: bool) -> None:
    traffic = {ProcessKey(1, pid): {remote(): Traffic(5, 5)} for pid in (7, 3, 9, 5)}
    identities = dict.fromkeys(traffic, Identity("same"))
    rows = Order(column, reverse).processes(listed(traffic, identities=identities))
    expected = [9, 7, 5, 3] if column == "pid" and reverse else [3, 5, 7, 9]
    assert pids(rows) == expected


@pytest.mark.parametrize("reverse", [False, True])
def test_equal_rows_are_sorted_by_exit_rate_and_total(*, reverse: bool) -> None:
    """A process that only sends is above idle and exited ones when sorted by received bytes."""
    model = LiveModel()
    first = {key(n): {remote(): Traffic(0, 10 * n)} for n in (1, 2, 3, 4)}
    model.advance(sample(first, elapsed=100.0))
    now = {key(2): {remote(): Traffic(0, 5)}, key(4): {remote(): Traffic(0, 9000)}}
    model.advance(sample(now, exited=[key(4)]))
    view = View(EVERYTHING, order=Order("rx", reverse=reverse), idle=True)
    tree = Tree(model, view, Expansion(), RemoteNames())
    tree.sort()
    assert pids(tree.tops) == [2, 3, 1, 4]


def test_equal_remotes_are_sorted_by_traffic() -> None:
    moved = {"192.0.2.1": 5, "192.0.2.2": 70, "192.0.2.3": 6}
    traffic = {key(1): {remote(each): Traffic(0, sent) for each, sent in moved.items()}}
    (row,) = (shown := interval(traffic, identities={})).processes
    leaves = Order("rx").remotes(shown.remotes(row))
    assert [format_address(leaf.remote.address)[-1] for leaf in leaves] == ["2", "3", "1"]


def test_sorting_does_not_change_its_input() -> None:
    rows = three_processes()
    before = list(rows)
    Order("pid").processes(rows)
    assert rows == before


def remotes(flows: dict[Remote, Traffic]) -> Sequence[Leaf]:
    """Return the rows of the remotes of a process."""
    shown = interval({key(1): flows})
    return shown.remotes(shown.processes[0])


REMOTES = remotes(
    {
        remote("192.0.2.1"): Traffic(1, 5),
        remote("192.0.2.2"): Traffic(9, 0),
        remote("192.0.2.3"): Traffic(2, 1),
    }
)


@pytest.mark.parametrize(
    ("order", "last_bytes"),
    [
        (Order(), [2, 1, 3]),
        (Order("rate", reverse=True), [3, 1, 2]),
        (Order("rx"), [2, 3, 1]),
        (Order("tx", reverse=True), [2, 3, 1]),
        (Order("pid"), [2, 1, 3]),
        (Order("pid", reverse=True), [2, 1, 3]),
    ],
)
def test_remotes_are_sorted_like_their_processes_or_by_rate(
    order: Order, last_bytes: list[int]
) -> None:
    assert [row.remote.address[-1] for row in order.remotes(REMOTES)] == last_bytes


def test_equal_remotes_come_in_a_fixed_order() -> None:
    forwards = {remote(f"192.0.2.{n}"): Traffic(1, 1) for n in range(1, 6)}
    backwards = dict(reversed(forwards.items()))
    orders = [
        [row.remote for row in Order().remotes(remotes(flows))] for flows in (forwards, backwards)
    ]
    assert orders[0] == orders[1]


@pytest.mark.parametrize("column", IDS)
def test_order_is_parsed_from_a_column_id(column: str) -> None:
    assert parse_order(column) == Order(column)
    assert parse_order(f"-{column}") == Order(column, reverse=True)


@pytest.mark.parametrize("text", ["", "-", "nope", "--pid", "PID", "pid ", "addr"])
def test_error_lists_the_columns(text: str) -> None:
    with pytest.raises(ValueError, match="invalid column") as raised:
        parse_order(text)
    assert all(column in str(raised.value) for column in IDS)


def test_times_are_iso_8601_with_milliseconds() -> None:
    time = datetime(2026, 11, 23, 7, 59, 58, 123_999, tzinfo=UTC)
    assert iso(time) == "2026-11-23T07:59:58.123+00:00"
    assert (
        iso(datetime(2026, 11, 23, tzinfo=timezone(timedelta(0))))
        == "2026-11-23T00:00:00.000+00:00"
    )
    assert iso(None) is None


def test_rates_are_rounded_to_thousandths() -> None:
    assert thousandths(1 / 3) == 0.333
