"""Intervals as a table, JSON lines or CSV; the numbers are the same in each."""

import csv
import io
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.filter import EVERYTHING
from bwtop.model.flows import (
    UDP,
    UNATTRIBUTED_IDENTITY,
    Host,
    Identity,
    Loss,
    ProcessKey,
    Role,
    Traffic,
)
from bwtop.model.rates import Counted
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import FlowTraffic, Sample
from bwtop.options.values import FORMATS
from bwtop.output import intervals as batch
from bwtop.output.intervals import WRITERS, Layout
from bwtop.text.escape import width
from bwtop.view.interval import Interval, Intervals
from bwtop.view.order import Order
from tests.build import CONTROLS, HOSTILE, NOW, interval, key, remote
from tests.documents import SCRIPTS, first_cells
from tests.strategies import samples

WIDTHS = [1, 40, 60, 80, 200]
WIDE = Layout(backend="tracepoint", width=200)

CURL, SSHD, NFSD = key(10), key(20), key(30)

IDENTITIES = {
    CURL: Identity(
        "curl",
        uid=1000,
        cmdline="curl https://example.org/",
        exe="/usr/bin/curl",
        started=NOW,
        user="ada",
        unit="user@1000.service",
        cgroup="/user.slice",
    ),
    SSHD: Identity("sshd", uid=33333, started=NOW),
    NFSD: Identity("nfsd", uid=0, user="root", kernel=True, started=NOW),
}
TRAFFIC: FlowTraffic = {
    CURL: {
        remote("192.0.2.1", 443): Traffic(2048, 100),
        remote("2001:db8::1", 443): Traffic(4096, 0),
    },
    SSHD: {remote("198.51.100.7", 22, role=Role.SERVER): Traffic(10, 1_000_000)},
    NFSD: {remote("*", 0, UDP): Traffic(7, 0)},
}


def busy(loss: Loss = Loss(), order: Order = Order(), limit: int | None = None) -> Interval:
    """Return three processes: sshd the busiest, then curl, then nfsd."""
    return interval(
        TRAFFIC, elapsed=2.0, identities=IDENTITIES, loss=loss, order=order, limit=limit
    )


def hostile() -> Interval:
    """Return every hostile name as that of a process, a user and a remote, sorted by pid."""
    traffic = {
        key(pid): {remote(f"192.0.2.{pid}"): Traffic(pid, pid)}
        for pid in range(1, len(HOSTILE) + 1)
    }
    identities = {
        process: Identity(name, cmdline=name, exe=name, user=name, unit=name, container=name)
        for process, name in zip(traffic, HOSTILE, strict=True)
    }
    return interval(
        traffic,
        identities=identities,
        names=RemoteNames(lambda address: HOSTILE[address[-1] - 1]),
        order=Order("pid"),
    )


def written(form: str, layout: Layout, *intervals: Interval) -> str:
    out = io.StringIO()
    writer = WRITERS[form](out, layout)
    for one in intervals:
        writer.write(one)
    return out.getvalue()


def table(shown: Interval, layout: Layout = WIDE) -> list[str]:
    """Return the lines of the table, without the empty last one."""
    text = written("table", layout, shown)
    assert text.endswith("\n\n")
    return text[:-2].split("\n")


def document(shown: Interval, layout: Layout = WIDE) -> dict[str, Any]:
    line = written("json", layout, shown)
    assert line.count("\n") == 1
    parsed = json.loads(line)
    assert isinstance(parsed, dict)
    return parsed


def csv_rows(shown: Interval, layout: Layout = WIDE) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written("csv", layout, shown), newline="")))


# The table


@pytest.mark.parametrize("cells", WIDTHS)
@pytest.mark.parametrize("bits", [False, True])
def test_no_line_is_wider_than_the_terminal(cells: int, *, bits: bool) -> None:
    layout = Layout(backend="tracepoint", width=cells, bits=bits)
    for shown in (busy(), hostile(), interval(), busy(Loss(1, 1, 1, 1, 1, 1))):
        lines = table(shown, layout)
        assert [line for line in lines if width(line) > cells or CONTROLS.search(line)] == []
    assert len(table(hostile(), layout)) == len(table(interval(), layout)) + 2 * len(HOSTILE)


@pytest.mark.parametrize("cells", [60, 80, 200])
def test_numbers_stand_below_each_other(cells: int) -> None:
    for shown in (busy(), hostile()):
        _, *lines = table(shown, Layout(backend="tracepoint", width=cells))
        assert {width(line) for line in lines} == {cells}


def test_width_is_the_terminals_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    assert width(table(busy(), Layout(backend="tracepoint"))[-1]) == 77


def test_file_has_tables_of_132_columns_and_networks_from_118_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert width(table(busy(), Layout(backend="tracepoint"))[-1]) == 132
    for wide in (117, 118):
        titles = table(busy(), Layout("tracepoint", width=wide))[1]
        assert (" NET" in titles) == (wide == 118)


def test_narrower_table_drops_networks_first_then_totals_then_the_user() -> None:
    headings = [table(busy(), Layout("tracepoint", width=w))[1].split() for w in range(120, 55, -1)]
    assert [heading for heading, _ in groupby(headings)] == [
        ["PID", "USER", "PROCESS", "NET", "RX/s", "TX/s", "RX", "TOTAL", "TX", "TOTAL"],
        ["PID", "USER", "PROCESS", "RX/s", "TX/s", "RX", "TOTAL", "TX", "TOTAL"],
        ["PID", "USER", "PROCESS", "RX/s", "TX/s"],
        ["PID", "PROCESS", "RX/s", "TX/s"],
    ]


def test_remotes_have_their_network_and_processes_that_of_most_bytes() -> None:
    traffic = {
        CURL: {
            remote("192.0.2.1"): Traffic(50),
            remote("127.0.0.1", 53, UDP): Traffic(7),
            remote("fe80::1"): Traffic(9),
        },
        NFSD: {remote("*", 0): Traffic(1)},
    }
    _, titles, *rows, total = table(interval(traffic, identities=IDENTITIES))
    end = titles.index("NET") + len("NET")
    assert [row[end - 12 : end].strip() for row in (*rows, total)] == [
        *("internet +2", "internet", "lan", "loopback"),
        *("unknown", "unknown", ""),
    ]


def test_table_begins_with_time_duration_and_backend() -> None:
    heading = table(busy())[0]
    assert heading.startswith(NOW.astimezone().strftime("%Y-%m-%d %H:%M:%S"))
    assert heading.endswith("2.0 s  backend tracepoint")


def test_rows_are_sorted_by_rate_with_their_remotes_indented_below() -> None:
    assert [(line[:7], line[:60].split()[-3:]) for line in table(busy())[2:-1]] == [
        ("     20", ["20", "33333", "sshd"]),
        ("    fro", ["on", ":22", "tcp"]),
        ("     10", ["10", "ada", "curl"]),
        ("    to ", ["to", "[2001:db8::1]:443", "tcp"]),
        ("    to ", ["to", "192.0.2.1:443", "tcp"]),
        ("     30", ["30", "root", "[nfsd]"]),
        ("    to ", ["to", "*", "udp"]),
    ]


@pytest.mark.parametrize(
    ("far", "host", "label"),
    [
        (remote("192.0.2.1", 443), None, "to 192.0.2.1:443 tcp"),
        (remote("192.0.2.1", 443), "www.example.org", "to www.example.org:443 tcp"),
        (remote("2001:db8::1", 53, UDP), None, "to [2001:db8::1]:53 udp"),
        (remote("192.0.2.1", 0, 1), None, "to 192.0.2.1 icmp"),
        (remote("192.0.2.1", 22, role=Role.SERVER), None, "from 192.0.2.1 on :22 tcp"),
        (remote("2001:db8::1", 22, role=Role.SERVER), None, "from 2001:db8::1 on :22 tcp"),
        (remote("*", 0, UDP), None, "to * udp"),
        (remote("192.0.2.1", 443), "\x1b[2Jevil", "to \\x1b[2Jevil:443 tcp"),
    ],
)
def test_remote_shows_direction_host_port_and_protocol(
    far: Any, host: str | None, label: str
) -> None:
    shown = interval({CURL: {far: Traffic(1, 1)}}, names=RemoteNames(lambda _: host))
    assert table(shown)[3].startswith(f"    {label}  ")


def numbers(line: str) -> list[str]:
    """Return the four numeric columns at the end of a line."""
    return re.findall(r"\d+(?:\.\d+)? \S+", line)[-4:]


def test_totals_are_of_all_processes() -> None:
    last = table(busy())[-1]
    assert last.startswith("TOTAL  3 processes ")
    assert numbers(last) == ["3.0 KiB/s", "488.3 KiB/s", "6.0 KiB", "976.7 KiB"]


def test_limit_hides_processes_but_not_their_bytes() -> None:
    lines = table(busy(limit=1))
    assert [line.split()[0] for line in lines[2:-1]] == ["20", "from"]
    assert lines[-1].startswith("TOTAL  3 processes (showing 1) ")
    assert numbers(lines[-1]) == numbers(table(busy())[-1])


def test_rates_may_be_in_bits_and_totals_stay_in_bytes() -> None:
    last = table(busy(), replace(WIDE, bits=True))[-1]
    assert numbers(last) == ["24.6 kbit/s", "4.0 Mbit/s", "6.0 KiB", "976.7 KiB"]


@pytest.mark.parametrize("bits", [False, True])
@pytest.mark.parametrize(
    "amount", [0, 1, 999, 1023, 124_999, 124_999.99, 2**20 - 1, 2**40 - 1, 1e15]
)
def test_no_number_is_cut(amount: float, *, bits: bool) -> None:
    counted = Counted(0, 0, amount, amount, int(amount), int(amount))
    shown = replace(busy(), counted=counted)
    assert "~" not in table(shown, replace(WIDE, bits=bits))[-1]


def test_losses_are_in_words() -> None:
    assert not [line for line in table(busy()) if line.startswith("lost")]
    lines = table(busy(Loss(spilled=7, spilled_bytes=2048, missed_events=3)))
    assert [line.split(":")[0] for line in lines[-2:]] == ["lost", "lost"]
    assert "2.0 KiB" in lines[-2]
    assert "3 events" in lines[-1]


# JSON


REMOTE: dict[str, Any] = {
    "addr": "2001:db8::1",
    "port": 443,
    "proto": "tcp",
    "role": "client",
    "host": None,
    "loopback": False,
    "rx": 4096,
    "tx": 0,
    "rx_rate": 2048.0,
    "tx_rate": 0.0,
    "rx_total": 4096,
    "tx_total": 0,
    "name": None,
    "name_source": None,
    "net": "internet",
    "asn": None,
    "country": None,
}
PROCESS: dict[str, Any] = {
    "pid": 10,
    "start": "2026-11-23T08:00:01.000+00:00",
    "exec": 0,
    "name": "curl",
    "exe": "/usr/bin/curl",
    "cmdline": "curl https://example.org/",
    "uid": 1000,
    "user": "ada",
    "unit": "user@1000.service",
    "container": None,
    "container_name": None,
    "image": None,
    "pod": None,
    "kernel": False,
    "rx": 6144,
    "tx": 100,
    "rx_rate": 3072.0,
    "tx_rate": 50.0,
    "rx_total": 6144,
    "tx_total": 100,
}


def test_json_has_every_field_of_the_contract() -> None:
    found = document(busy(Loss(1, 2, 3, 4, 5, 6, 7)))
    assert set(found) == set(first_cells(SCRIPTS, "`bwtop.batch/1`, one object"))
    processes = found.pop("processes")
    assert found == {
        "schema": "bwtop.batch/1",
        "time": "2026-11-23T08:00:01.000+00:00",
        "interval": 2.0,
        "backend": "tracepoint",
        "host": socket.gethostname(),
        "lost": {
            "flows": 1,
            "bytes": 2,
            "unattributed_bytes": 4,
            "unnamed": 5,
            "events": 6,
            "names": 7,
        },
        "total": {"rx": 6161, "tx": 1_000_100},
        "networks": {
            "internet": {"rx": 6154, "tx": 1_000_100},
            "unknown": {"rx": 7, "tx": 0},
        },
    }
    assert [process["name"] for process in processes] == ["sshd", "curl", "nfsd"]
    remotes = processes[1].pop("remotes")
    assert json.dumps(processes[1]) == json.dumps(PROCESS)
    assert json.dumps(remotes[0]) == json.dumps(REMOTE)
    assert [far["addr"] for far in remotes] == ["2001:db8::1", "192.0.2.1"]


def test_json_is_one_line_of_plain_ascii_per_interval() -> None:
    text = written("json", WIDE, busy(), hostile(), interval())
    assert text.isascii()
    lines = text.removesuffix("\n").split("\n")
    assert not [line for line in lines if CONTROLS.search(line)]
    assert [len(json.loads(line)["processes"]) for line in lines] == [3, len(HOSTILE), 0]


def test_json_gives_hostile_names_back_as_they_were() -> None:
    processes = document(hostile())["processes"]
    for field in ("name", "cmdline", "exe", "user", "unit", "container"):
        assert [process[field] for process in processes] == list(HOSTILE)
    assert [process["remotes"][0]["host"] for process in processes] == list(HOSTILE)


def test_json_is_sorted_and_limited_but_its_totals_are_of_all() -> None:
    found = document(busy(order=Order("rx"), limit=2))
    assert [process["name"] for process in found["processes"]] == ["curl", "sshd"]
    assert found["total"] == {"rx": 6161, "tx": 1_000_100}


# CSV


def test_csv_has_a_header_and_a_line_per_process_and_remote() -> None:
    text = written("csv", WIDE, busy(), busy())
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    far = [{"name": "remote_name"}.get(name, name) for name in REMOTE]
    own = [name for name in PROCESS if name not in far]
    assert header == ["time", "interval", *own, *far]
    assert written("csv", WIDE) == ",".join(header) + "\n"
    assert [len(line) for line in lines] == [len(header)] * 8


def test_csv_values() -> None:
    row = csv_rows(busy(order=Order("rx"), limit=1))[0]
    assert (row.pop("time"), row.pop("interval")) == (PROCESS["start"], "2.0")
    values = PROCESS | REMOTE | {"name": PROCESS["name"], "remote_name": None}
    texts = {name: str(value) for name, value in values.items() if value is not None}
    assert row == dict.fromkeys(values, "") | texts | {"kernel": "0", "loopback": "0"}


def test_csv_escapes_control_characters() -> None:
    text = written("csv", WIDE, hostile())
    assert [line for line in text.split("\n") if CONTROLS.search(line)] == []
    assert len(csv_rows(hostile())) == len(HOSTILE)
    quoted = next(row for row in csv_rows(hostile()) if row["name"].startswith("comma"))
    assert quoted["name"] == "comma,quote\"apostrophe'tab\\x09"


# All of them


def csv_sums(rows: list[dict[str, str]], column: str) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for row in rows:
        process = row["pid"], row["start"]
        sums[process] = sums.get(process, 0) + int(row[column])
    return sums


@given(st.lists(samples, min_size=1, max_size=4))
def test_csv_sums_are_those_of_json(timeline: list[Sample]) -> None:
    """Rule 9: all views give the same number."""
    intervals = Intervals(EVERYTHING, RemoteNames())
    for reading in timeline:
        for process in reading.traffic:
            reading.identities[process] = Identity(f"p{process.start}", started=NOW.replace(microsecond=process.start * 1000))  # fmt: skip
        shown = intervals.advance(reading)
        found, rows = document(shown), csv_rows(shown)
        for column in ("rx", "tx"):
            sums = csv_sums(rows, column)
            assert sums == {(str(p["pid"]), p["start"]): p[column] for p in found["processes"]}
            assert sum(sums.values()) == found["total"][column]
            for process in found["processes"]:
                assert process[column] == sum(far[column] for far in process["remotes"])


def test_flags_list_the_formats() -> None:
    assert tuple(WRITERS) == FORMATS


@pytest.mark.parametrize("form", FORMATS)
def test_each_interval_is_flushed_at_once(form: str) -> None:
    reached = io.BytesIO()
    out = io.TextIOWrapper(reached, encoding="utf-8")
    sizes = []

    def intervals() -> Iterator[Interval]:
        for _ in range(3):
            sizes.append(len(reached.getvalue()))
            yield busy()

    batch.run(intervals(), form, WIDE, out)
    sizes.append(len(reached.getvalue()))
    assert sizes == sorted(set(sizes)), "an interval waited for the next one"


# Of many machines


WEB = Host("web1", "11111111-1111-4111-8111-111111111111")
FLEET = replace(WIDE, backend="", origin="clickhouse://192.0.2.9/bwtop")


def of_hosts(*hosts: Host, unknown_name: str = UNATTRIBUTED_IDENTITY.name) -> Interval:
    """Return busy() on one host or on one after the other, with bytes of an unknown process."""
    unknown = ProcessKey(9, None)
    each = cycle(hosts or [WEB])
    identities = {
        process: replace(who, host=next(each))
        for process, who in {**IDENTITIES, unknown: Identity(unknown_name)}.items()
    }
    return interval(
        {**TRAFFIC, unknown: {remote("*"): Traffic(1, 0)}}, elapsed=2.0, identities=identities
    )


def test_rows_of_many_hosts_name_their_host_in_every_format() -> None:
    found = document(of_hosts(), FLEET)
    assert (found["backend"], found["host"]) == ("clickhouse", FLEET.origin)
    assert {(p["hostname"], p["host_id"]) for p in found["processes"]} == {WEB}
    assert {p["name"]: p["pid"] for p in found["processes"]}["(unattributed)"] == 0
    header, *lines = csv.reader(io.StringIO(written("csv", FLEET, of_hosts()), newline=""))
    assert header[2:5] == ["hostname", "host_id", "pid"]
    assert {tuple(line[2:4]) for line in lines} == {WEB}
    first, titles, *rows = written("table", FLEET, of_hosts()).splitlines()
    assert first.endswith(f"  {FLEET.origin}")
    assert titles.split()[:4] == ["HOST", "PID", "USER", "PROCESS"]
    named = [row.split()[:4] for row in rows if row.startswith("web1")]
    assert named[0] == ["web1", "20", "33333", "sshd"]
    assert named[-1] == ["web1", "-", "-", "(unattributed)"]
    assert len(named) == 4


@pytest.mark.parametrize("columns", WIDTHS)
def test_table_of_many_hosts_is_as_wide_as_the_terminal(columns: int) -> None:
    shown = of_hosts(*(Host(name, name) for name in HOSTILE))
    lines = written("table", replace(FLEET, width=columns), shown).splitlines()
    assert not [line for line in lines if width(line) > columns or CONTROLS.search(line)]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_of_an_unknown_process_is_escaped(name: str) -> None:
    shown = of_hosts(Host(name, name), unknown_name=name)
    assert not [line for line in table(shown, FLEET) if CONTROLS.search(line)]
