"""Reports as a table, JSON and CSV: the same numbers in each, and nothing that a terminal interprets."""

import csv
import io
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from bwtop.history import ranges
from bwtop.history.dimensions import Dimension, fields
from bwtop.history.query import History
from bwtop.identity import names as names_module
from bwtop.identity.names import Names
from bwtop.identity.users import user_name
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.flows import UDP, Identity, Loss, Role
from bwtop.output import report
from bwtop.output import report_table as table
from bwtop.output.notes import length
from bwtop.output.report_table import LOOK_UP, PROCESSES, REMOTES
from bwtop.output.request import ReportRequest
from bwtop.sqlite import selection
from bwtop.sqlite.connections import open_reader
from bwtop.sqlite.reader import LocalReader
from bwtop.sqlite.store import Event
from bwtop.text import units as fmt
from bwtop.text.escape import printable, width
from tests.build import CONTROLS, HOSTILE, packed, remote, typed
from tests.documents import SCRIPTS, first_cells
from tests.history import keep
from tests.history.keep import DAY, HOUR, MINUTE, NGINX, OF_FLOWS, Kept, at, delta, local, move_to
from tests.kernel.running import HANG

WIDTHS: Final = [40, 60, 80, 132, 300]
LOOP: Final = remote("127.0.0.1", 8080)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the time zone at the end of each test."""
    monkeypatch.setenv("COLUMNS", "100")
    with local("UTC"):
        yield


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(path=tmp_path / "history.db")
    yield made
    made.connection.close()


@pytest.fixture
def ask(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> "Ask":
    return Ask(kept, monkeypatch)


class Ask:
    """Reports of a database, at a given time."""

    def __init__(self, kept: Kept, patch: pytest.MonkeyPatch) -> None:
        assert kept.path
        self._path = kept.path
        self._patch = patch
        self.now = 0.0

    def at(self, when: str) -> "Ask":
        self.now = at(when)
        return self

    def __call__(
        self, text: str, form: str = "table", *names: str, encoding: str = "utf-8", **settings: Any
    ) -> str:
        self._patch.setattr(report, "time", SimpleNamespace(time=lambda: self.now))
        request = ReportRequest(ranges.parse(text, self.now), by=keep.by(*names), **settings)
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", newline="")
        with closing(History(LocalReader(open_reader(self._path)))) as history:
            report.run(history, request, form, out)
        out.flush()
        return raw.getvalue().decode(encoding)

    def json(self, text: str, *names: str, **settings: Any) -> dict[str, Any]:
        written = self(text, "json", *names, **settings)
        assert written.endswith("\n")
        assert written.count("\n") == 1
        found = json.loads(written)
        assert isinstance(found, dict)
        return found

    def csv(self, text: str, *names: str, **settings: Any) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self(text, "csv", *names, **settings), newline="")))

    def table(self, text: str, *names: str, **settings: Any) -> list[list[str]]:
        """Return the lines in parts that empty ones divide: title, bars, rows, totals."""
        written = self(text, "table", *names, **settings)
        assert written.endswith("\n")
        assert not [line for line in written.split("\n") if line != line.rstrip()]
        return [part.split("\n") for part in written[:-1].split("\n\n")]


def sums(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    found = list(rows)
    return {way: sum(int(row[way]) for row in found) for way in ("rx", "tx")}


def every(kept: Kept, step: float, start: str, count: int, **settings: Any) -> None:
    """Append `count` consecutive deltas of numbered sizes."""
    begin = at(start)
    kept.append(
        *(
            delta(begin + i * step, 1000 + i, 500 + i, min(step, 60), **settings)
            for i in range(count)
        )
    )


def some(kept: Kept) -> None:
    """Record a day of several programs and remotes, up to noon."""
    start = at("2026-09-21 00:00")
    who = itertools.cycle(keep.PROGRAMS)
    far = itertools.cycle(keep.REMOTES)
    kept.append(
        *(
            delta(start + i * 601, 7919 * i, 104729 * (i % 7), 60, pid=1 + i % 3, who=w, far=f)
            for i, w, f in zip(range(72), who, far, strict=False)
        )
    )


def hostile(kept: Kept, start: float) -> None:
    for number, name in enumerate(HOSTILE):
        who = Identity(name, number, exe=f"/bin/{name}", unit=name, container=name, pod=name)
        kept.append(delta(start + number, 10**number, 3, who=who, pid=number + 1))


# JSON


def test_json_has_every_field_of_the_contract(kept: Kept, ask: Ask) -> None:
    some(kept)
    found = ask.at("2026-09-21 12:30").json("today")
    assert list(found) == [
        *("schema", "host", "from", "to", "covered", "recorded", "by", "scope", "total"),
        *("average", "peak"),
        *("percentile95", "projection", "lost", "notes", "bars", "rows", "rows_left_out"),
        *("networks", "usage"),
    ]
    assert set(found) == set(first_cells(SCRIPTS, "`bwtop.history/1`, one object"))
    assert found["schema"] == "bwtop.history/1"
    assert found["host"] == socket.gethostname()
    assert (found["from"], found["to"]) == (
        "2026-09-21T00:00:00+00:00",
        "2026-09-22T00:00:00+00:00",
    )
    assert found["covered"] == {"from": found["from"], "to": found["to"]}
    assert found["recorded"] == 72 * 60
    assert found["by"] == ["process"]
    assert found["lost"] == {"bytes": 0, "events": 0}
    assert found["notes"] == []
    rx, tx = keep.total(kept.deltas)
    assert found["total"] == {"rx": rx, "tx": tx}
    assert sums(found["rows"]) == sums(found["bars"]) == found["total"]
    assert [list(row) for row in found["rows"]] == [
        ["name", "exe", "uid", "kernel", "user", "rx", "tx"]
    ] * len(found["rows"])
    assert [list(bar) for bar in found["bars"]] == [
        ["from", "to", "label", "recorded", "rx", "tx"]
    ] * 13
    assert sum(bar["recorded"] for bar in found["bars"]) == found["recorded"]
    assert {(row["uid"], row["user"]) for row in found["rows"]} == {
        (0, "root"),
        (33, user_name(33)),
        (None, None),
    }


def test_json_times_are_local(kept: Kept, ask: Ask) -> None:
    move_to("America/New_York")
    every(kept, HOUR, "2026-11-01 00:00", 25)
    found = ask.at("2026-11-02 10:00").json("2026-11-01", "hour")
    assert (found["from"], found["to"]) == (
        "2026-11-01T00:00:00-04:00",
        "2026-11-02T00:00:00-05:00",
    )
    assert [bar["from"] for bar in found["bars"]][:4] == [
        "2026-11-01T00:00:00-04:00",
        "2026-11-01T01:00:00-04:00",
        "2026-11-01T01:00:00-05:00",
        "2026-11-01T02:00:00-05:00",
    ]
    assert [row["hour"] for row in found["rows"]] == [bar["from"] for bar in found["bars"]]
    assert found["bars"][1]["to"] == found["bars"][2]["from"]


def test_hostile_names_are_valid_json(kept: Kept, ask: Ask) -> None:
    hostile(kept, at("2026-09-21 10:00"))
    ask.at("2026-09-21 12:00")
    found = ask.json("today")
    names = {printable(name) for name in HOSTILE}
    assert {row["name"] for row in found["rows"]} == names
    assert sums(found["rows"]) == found["total"]
    assert ask("today", "json").isascii()
    units = {row["unit"] for row in ask.json("today", "unit")["rows"]}
    assert units == {name or None for name in names}, "an empty text is unknown"


def test_recorded_time_is_to_a_thousandth(kept: Kept, ask: Ask) -> None:
    kept.append(delta(at("2026-09-21 10:00"), 1000, 500, 3.00049))
    found = ask.at("2026-09-21 12:00").json("today")
    assert (found["recorded"], found["bars"][10]["recorded"]) == (3.0, 3.0)
    assert found["peak"] == {"rx_rate": 333.279, "tx_rate": 166.639, "over": "5 min"}


# Months


def month(kept: Kept) -> list[tuple[int, int]]:
    """Record five minutes at every hour of ten days; return their bytes."""
    begin = at("2026-09-01 00:00")
    moved = [(300 * (1 + 37 * i % 240), 600 * (1 + 53 * i % 240)) for i in range(240)]
    kept.append(
        *(delta(begin + i * HOUR, rx, tx, 300.0) for i, (rx, tx) in enumerate(moved)),
        delta(begin, 10**9, 0, 300.0, far=LOOP),
    )
    return moved


def test_month_has_percentile_and_projection(kept: Kept, ask: Ask) -> None:
    moved = month(kept)
    ask.at("2026-09-11 00:00")
    found = ask.json("month")
    place = 228 - 1  # the 95 % of 240 averages; nearest rank
    rates = [sorted(both[way] / 600 for both in moved)[place] for way in (0, 1)]
    # The five minutes with loopback are twice as long: two deltas were measured in them.
    low = [sorted(both[way] / 300 for both in moved)[place] for way in (0, 1)]
    assert found["percentile95"]["rx_rate"] == pytest.approx(low[0], abs=2)
    assert found["percentile95"]["tx_rate"] == pytest.approx(low[1], abs=3)
    assert rates[0] < found["percentile95"]["rx_rate"]
    rx, tx = (sum(both[way] for both in moved) for way in (0, 1))
    assert found["projection"] == {"rx": (rx + 10**9) * 3, "tx": tx * 3}
    assert found["total"]["rx"] == rx + 10**9
    seconds = 241 * 300
    assert found["average"] == {
        "rx_rate": round((rx + 10**9) / seconds, 3),
        "tx_rate": round(tx / seconds, 3),
    }
    assert found["scope"] == "with loopback"
    assert found["peak"]["over"] == found["percentile95"]["over"] == "5 min"
    *_, totals = ask.table("month")
    assert [line[:17].strip() for line in totals] == [
        *("TOTAL", "average", "peak", "internet", "95th percentile", "projection")
    ]
    assert totals[1].endswith("  recorded time, with loopback")
    assert totals[2].endswith("  over 5 min, with loopback")
    usage = found["usage"]
    assert (usage["networks"], usage["total"]) == (["internet"], {"rx": rx, "tx": tx})
    assert usage["projection"] == {"rx": rx * 3, "tx": tx * 3}
    assert fmt.size(rx) in totals[3]
    assert totals[4].endswith("  of 240 averages over 5 min, internet")
    # Of the five minutes with loopback, too, and those are twice as long.
    assert fmt.rate(usage["percentile95"]["rx_rate"]) in totals[4]
    assert usage["percentile95"]["rx_rate"] == pytest.approx(low[0], abs=2)
    assert (usage["percentile95"]["over"], usage["percentile95"]["of"]) == ("5 min", 240)
    assert fmt.size(tx * 3) in totals[5]
    assert totals[5].endswith("by 2026-10-01 00:00 at this rate, internet")


RANGES: Final = ("24h", "2026-09-01 05:00..2026-09-01 17:30", "2026-09-02", "90m")
"""Ranges that are no periods of bills."""


@pytest.mark.parametrize("text", RANGES)
def test_every_range_has_the_total_of_the_internet(kept: Kept, ask: Ask, text: str) -> None:
    """Beside the total of all, with loopback and the local network; percentile and projection are of periods."""
    begin = at("2026-09-01 00:00")
    fars = (remote("10.1.2.3"), remote("192.0.2.1"), remote("192.0.2.2", 53, UDP), LOOP)
    for place, far in enumerate(fars):
        kept.append(
            *(delta(begin + n * 600 + place, n, 10**place, far=far) for n in range(2 * 144))
        )
    kept.steps(begin + 2 * DAY)
    ask.at("2026-09-03 00:00")
    wanted = ranges.parse(text, ask.now)
    assert not wanted.is_period
    found = ask.json(text)
    moved = keep.within(kept.deltas, wanted.start, wanted.end)
    expected = {
        net: keep.total(moved, typed(f"net:{net}")) for net in ("internet", "lan", "loopback")
    }
    assert {net: (each["rx"], each["tx"]) for net, each in found["networks"].items()} == expected
    assert found["usage"] is None
    *_, totals = ask.table(text)
    assert [line[:17].strip() for line in totals] == ["TOTAL", "average", "peak", "internet"]
    assert all(fmt.size(amount) in totals[3] for amount in expected["internet"])
    assert totals[3].endswith("  in all")
    udp = ask.json(text, keep=typed("proto:udp"))
    assert udp["networks"] == {"internet": udp["total"]}


def test_total_of_the_internet_is_not_beside_one_that_a_filter_names(kept: Kept, ask: Ask) -> None:
    some(kept)
    ask.at("2026-09-21 12:30")
    for words in ("net:lan", "loopback:only", "process:curl"):
        *_, totals = ask.table("today", keep=typed(words))
        assert "internet" not in [line[:17].strip() for line in totals], words
    assert ask.json("today", keep=typed("process:curl"))["networks"] is None
    of_lan = ask.json("today", keep=typed("net:lan"))
    assert of_lan["networks"].get("lan", of_lan["total"]) == of_lan["total"]


def test_networks_of_very_many_rows_are_not_told_apart(
    kept: Kept, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take longer than the rest of the report."""
    some(kept)
    ask.at("2026-09-21 12:30")
    count = kept.count("delta")
    monkeypatch.setattr(selection, "MOST_TOLD_APART", count)
    assert ask.json("today")["networks"] is not None
    monkeypatch.setattr(selection, "MOST_TOLD_APART", count - 1)
    assert ask.json("today")["networks"] is None
    *_, totals = ask.table("today")
    assert [line[:17].strip() for line in totals] == ["TOTAL", "average", "peak"]


def test_usage_is_of_the_internet_or_of_the_networks_of_the_filter(kept: Kept, ask: Ask) -> None:
    """The local network does not count; where only hours are left, averages are over an hour."""
    begin = at("2026-09-01 00:00")
    lan, web = remote("10.1.2.3"), remote("192.0.2.1")
    for hour in range(48):
        kept.append(delta(begin + hour * HOUR, 10**6, 0, 300.0, far=lan))
        kept.append(delta(begin + hour * HOUR + 300, 1000 * hour, 3000, 300.0, far=web))
    ask.at("2026-09-03 00:00")
    found = ask.json("2026-09-01..2026-09-03")
    assert found["networks"] == {
        "internet": {"rx": 1000 * sum(range(48)), "tx": 48 * 3000},
        "lan": {"rx": 48 * 10**6, "tx": 0},
    }
    assert found["usage"]["percentile95"] == {
        "rx_rate": round(1000 * 43 / 300, 3),  # of 96, half of which are 0
        "tx_rate": 10.0,
        "over": "5 min",
        "of": 96,
    }
    of_lan = ask.json("2026-09-01..2026-09-03", keep=typed("net:lan"))
    assert (of_lan["scope"], of_lan["usage"]["networks"]) == ("lan", ["lan"])
    assert of_lan["usage"]["total"] == of_lan["total"] == of_lan["networks"]["lan"]
    kept.policy = keep.policy(seconds=HOUR, minutes=DAY)
    kept.reopen()
    kept.steps(at("2026-09-12 00:00"))
    older = ask.at("2026-09-12 00:00").json("2026-09-01..2026-09-03")
    assert older["networks"] == found["networks"]
    assert older["usage"]["percentile95"] == {
        "rx_rate": round(1000 * 45 / 600, 3),
        "tx_rate": 5.0,
        "over": "hour",
        "of": 48,
    }
    *_, totals = ask.table("2026-09-01..2026-09-03")
    assert totals[4].endswith("  of 48 averages over an hour, internet")
    assert totals[5].endswith("  of 96 averages over 5 min, with loopback")


@pytest.mark.parametrize(
    ("choice", "scope", "extra"),
    [("hide", "without loopback", 0), ("only", "loopback only", 10**9)],
)
def test_figures_have_one_scope(choice: str, scope: str, extra: int, kept: Kept, ask: Ask) -> None:
    moved = month(kept)
    keep = typed(f"loopback:{choice}")
    found = ask.at("2026-09-11 00:00").json("month", keep=keep)
    rx = extra or sum(both[0] for both in moved)
    assert (found["scope"], found["total"]["rx"], found["projection"]["rx"]) == (scope, rx, rx * 3)
    *_, totals = ask.table("month", keep=keep)
    scopes = {line.rpartition(", ")[2] for line in totals[1:]}
    assert scopes == {scope} if extra else {scope, "internet"} | {totals[3].rpartition(", ")[2]}


@pytest.mark.parametrize(
    ("now", "text", "projection", "percentile"),
    [
        ("2026-09-11 00:30", "month", True, True),
        ("2026-09-30 23:59:59", "2026-09", True, True),
        ("2026-10-01 00:00", "2026-09", False, True),
        ("2026-12-24 18:00", "2026-09", False, True),
        ("2026-09-11 00:30", "30d", False, False),
        ("2026-09-11 00:30", "today", False, False),
        ("2026-09-11 00:30", "2026-09-01..2026-10-01", True, True),
        ("2026-09-11 00:30", "2026-08-15..2026-09-15", True, True),
        ("2026-09-21 00:30", "2026-08-15..2026-09-15", False, True),
        ("2026-09-09 00:30", "week", True, True),
        ("2026-09-11 00:30", "2026-09-01 08:00..2026-10-01", False, False),
        ("2026-09-11 00:30", "all", False, False),
    ],
)
def test_projection_is_of_a_month_that_has_not_ended(
    now: str, text: str, projection: bool, percentile: bool, kept: Kept, ask: Ask
) -> None:
    month(kept)
    found = ask.at(now).json(text)
    assert (found["projection"] is not None) == projection
    written = ask(text)
    assert ("projection" in written) == projection
    assert ("95th percentile" in written) == percentile


def test_percentile_is_not_known_with_filters_on_processes(kept: Kept, ask: Ask) -> None:
    month(kept)
    ask.at("2026-09-11 00:00")
    filters = typed("process:curl"), typed("remote:192.0.2.0/24")
    for only in filters:
        found = ask.json("month", keep=only)
        assert found["percentile95"] is None
        assert found["projection"]["rx"] == 3 * found["total"]["rx"]
        *_, totals = ask.table("month", keep=only)
        assert totals[-2].startswith("95th percentile: not available with filters on")
        assert "over a day" in totals[2]


# CSV


def test_csv_has_a_header_and_rows(kept: Kept, ask: Ask) -> None:
    some(kept)
    written = ask.at("2026-09-21 12:30")("today", "csv")
    assert "\r" not in written
    assert written.split("\n")[0] == "name,exe,uid,kernel,user,rx,tx"
    rows = ask.csv("today")
    assert tuple(sums(rows).values()) == keep.total(kept.deltas)
    kernel = next(row for row in rows if row["name"] == "kworker/0:1")
    assert (kernel["exe"], kernel["uid"], kernel["kernel"], kernel["user"]) == ("", "", "1", "")
    assert {row["kernel"] for row in rows} == {"0", "1"}
    remotes = ask("today", "csv", "remote", "port")
    assert remotes.split("\n")[0] == "addr,loopback,port,role,rx,tx,remote_name,name_source"


def test_control_characters_are_escaped_in_csv(kept: Kept, ask: Ask) -> None:
    hostile(kept, at("2026-09-21 10:00"))
    ask.at("2026-09-21 12:00")
    for by in ("process", "unit", "exe"):
        written = ask("today", "csv", by)
        assert not CONTROLS.search(written.replace("\n", ""))
        assert written.count("\n") == len(HOSTILE) + 1
        rows = ask.csv("today", by)
        assert tuple(sums(rows).values()) == keep.total(kept.deltas)
    assert "\\x1b[2J\\x1b[31mred" in {row["name"] for row in ask.csv("today", "process")}


def test_dimensions_that_share_a_column_have_it_once(kept: Kept, ask: Ask) -> None:
    some(kept)
    written = ask.at("2026-09-21 12:30")("today", "csv", "process", "exe", "user", "day", "day")
    assert written.split("\n")[0] == "name,exe,uid,kernel,day,user,rx,tx"


# Bars


def bars(parts: list[list[str]]) -> list[str]:
    return parts[1][1:]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-10-24", 24),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Pacific/Chatham", "2026-06-01", 24),
    ],
)
def test_day_has_a_bar_per_hour(zone: str, day: str, hours: int, kept: Kept, ask: Ask) -> None:
    move_to(zone)
    every(kept, 1800, day, 2 * hours)
    ask.at(day).now += 2 * DAY
    parts = ask.table(day)
    assert parts[0] == [f"{day} 00:00 to {parts[0][0].split(' to ')[1]}"]
    assert parts[1][0].startswith("hour ")
    found = ask.json(day)
    assert sums(found["bars"]) == sums(found["rows"]) == found["total"]
    assert (found["total"]["rx"], found["total"]["tx"]) == keep.total(kept.deltas)
    labels = [line.split()[0] for line in bars(parts)]
    assert labels == [bar["from"][11:16] for bar in found["bars"]]
    assert (len(labels), labels[0], labels[-1]) == (hours, "00:00", "23:00")
    if hours == 25:
        assert labels[1:5] == ["01:00", "02:00", "02:00", "03:00"]
    if hours == 23:
        assert labels[1:3] == ["01:00", "03:00"]


@pytest.mark.parametrize(
    ("text", "step", "count", "unit", "first", "last"),
    [
        ("2026-09", DAY, 30, "day", "2026-09-01 Tue", "2026-09-30 Wed"),
        ("2026-01-01..2027-01-01", 27 * DAY, 14, "month", "2026-01", "2026-12"),
        ("2026-09-01 10:00..11:30", MINUTE, 90, "minute", "10:00", "11:29"),
        ("2026-09-01..2026-09-03", HOUR, 48, "hour", "Tue 00:00", "Wed 23:00"),
        ("2026-08-31..2026-09-07", HOUR, 168, "day", "2026-08-31 Mon", "2026-09-06 Sun"),
    ],
)
def test_bar_unit_suits_the_range(
    text: str, step: float, count: int, unit: str, first: str, last: str, kept: Kept, ask: Ask
) -> None:
    start = text[:16] if ":" in text else text[:10] if ".." in text else f"{text}-01"
    every(kept, step, start, count)
    parts = ask.at("2027-02-01").table(text)
    assert parts[1][0].split()[0] == unit
    assert [bars(parts)[place][:16].strip() for place in (0, -1)] == [first, last]
    assert not [line for line in bars(parts) if "not recorded" in line]
    assert len(bars(parts)) == len(ask.json(text)["bars"])


def test_today_ends_now(kept: Kept, ask: Ask) -> None:
    every(kept, HOUR, "2026-09-21 00:00", 11)
    parts = ask.at("2026-09-21 10:30").table("today")
    assert parts[0] == ["today: 2026-09-21 00:00 to 2026-09-21 10:30, 11 minutes recorded"]
    assert [line[:5] for line in bars(parts)] == [f"{hour:02}:00" for hour in range(11)]


@pytest.mark.parametrize(
    ("text", "times", "lines"),
    [
        ("2026-09-21", ["21 00:30", "21 05:10"], {1: "01:00 to 05:00", 3: "06:00 to 00:00"}),
        ("2026-09-21", ["21 00:30", "21 02:10"], {1: "01:00 to 02:00", 3: "03:00 to 00:00"}),
        (
            "2026-09-21 10:00..11:00",
            ["21 10:00", "21 10:07"],
            {1: "10:01 to 10:07", 3: "10:08 to 11:00"},
        ),
        (
            "2026-09",
            ["02 12:00", "08 12:00", "11 12:00", "30 12:00"],
            {
                0: "2026-09-01 Tue",
                2: "2026-09-03 Thu to 2026-09-07 Mon",
                4: "2026-09-09 Wed to 2026-09-10 Thu",
                6: "2026-09-12 Sat to 2026-09-29 Tue",
            },
        ),
    ],
)
def test_what_was_not_recorded_is_one_line(
    text: str, times: list[str], lines: dict[int, str], kept: Kept, ask: Ask
) -> None:
    kept.append(*(delta(at(f"2026-09-{time}")) for time in times))
    found = bars(ask.at("2026-10-21").table(text))
    missing = {n: line for n, line in enumerate(found) if line.endswith("not recorded")}
    assert missing == {place: f"{words}  not recorded" for place, words in lines.items()}


def test_hour_that_moved_nothing_has_no_bar(kept: Kept, ask: Ask) -> None:
    """Nothing passes the filter, but time was recorded."""
    every(kept, HOUR, "2026-09-21 00:00", 3)
    ask.at("2026-09-21 03:00")
    only = typed("process:no-such")
    parts = ask.table("today", keep=only)
    assert [line.split() for line in bars(parts)] == [
        [f"{hour:02}:00", "0", "B", "0", "B"] for hour in range(3)
    ]
    assert parts[2] == ["no traffic matches the filter"]
    assert parts[3][0].split() == ["TOTAL", "0", "B", "0", "B", "0", "B"]
    assert ask.json("today", keep=only)["rows"] == []
    assert ask("today", "csv", keep=only).count("\n") == 1


def test_longest_bar_is_the_largest(kept: Kept, ask: Ask) -> None:
    amounts = [(1, 0), (500, 500), (2000, 2000), (0, 1000), (3000, 0)]
    start = at("2026-09-21 00:00")
    kept.append(*(delta(start + i * HOUR, rx, tx) for i, (rx, tx) in enumerate(amounts)))
    ask.at("2026-09-21 05:00")
    found = bars(ask.table("today"))
    drawn = [(line.count("█"), line.count("░")) for line in found]
    room = 100 - 16 - 22 - 2
    assert drawn[2] == (room // 2, room // 2)
    assert [sum(both) for both in drawn] == [1, 15, 60, 15, 45]
    assert drawn[3] == (0, 15)
    assert drawn[4] == (45, 0)
    assert drawn[0] == (1, 0), "what is little is still seen"
    assert [line[16:38].split() for line in found][2] == ["2.0", "KiB"] * 2
    plain = bars(ask.table("today", encoding="ascii"))
    assert [(line.count("#"), line.count("-")) for line in plain] == drawn


# Rows of the table


def crowd(kept: Kept) -> None:
    """Record twelve programs with five remotes each; the last ones have the most bytes."""
    start = at("2026-09-21 10:00")
    for number in range(1, 13):
        who = Identity(f"p{number:02}", 0, exe=f"/bin/p{number:02}")
        kept.append(
            *(
                delta(start, number * far * 1000, 100, who=who, far=remote(f"192.0.2.{far}"))
                for far in range(1, 6)
            )
        )


def test_processes_have_their_top_remotes(kept: Kept, ask: Ask) -> None:
    crowd(kept)
    rows = ask.at("2026-09-21 12:00").table("today")[2]
    assert rows[0].split() == ["PROCESS", "RX", "TX", "TOTAL", "SHARE"]
    assert rows[0].startswith("PROCESS")
    assert len(rows) == 1 + PROCESSES * (2 + REMOTES) + 1
    assert rows[1].split()[:2] == ["p12", "root"]
    assert [line[:60].strip() for line in rows[2:6]] == [
        "to 192.0.2.5:443 tcp",
        "to 192.0.2.4:443 tcp",
        "to 192.0.2.3:443 tcp",
        "and 2 more remotes",
    ]
    assert {line[:4] for line in rows[2:6]} == {"    "}
    total = 78 * 15_000 + 60 * 100
    cells = ["175.8", "KiB", "500", "B", "176.3", "KiB", f"{180_500 / total:.1%}"]
    assert rows[1].split()[2:] == cells
    assert rows[5].split()[4:] == [
        *("35.2", "KiB", "200", "B", "35.4", "KiB", f"{36_200 / total:.1%}")
    ]
    assert rows[-1].split() == [
        *("and", "2", "more", "processes", "43.9", "KiB", "1000", "B", "44.9", "KiB"),
        f"{46_000 / total:.1%}",
    ]


def test_limit_is_of_processes_and_the_rest_is_summed_up(kept: Kept, ask: Ask) -> None:
    crowd(kept)
    ask.at("2026-09-21 12:00")
    rows = ask.table("today", limit=1)[2]
    assert [line.split()[0] for line in rows] == ["PROCESS", "p12", "to", "to", "to", "and", "and"]
    assert rows[-1].startswith("and 11 more processes ")
    assert ask.table("today", limit=11)[2][-1].startswith("and 1 more process ")
    assert "more process" not in ask("today", limit=12)
    assert [row["name"] for row in ask.json("today", limit=2)["rows"]] == ["p12", "p11"]
    assert [row["name"] for row in ask.csv("today", limit=2)] == ["p12", "p11"]
    assert ask.json("today", limit=2)["total"] == ask.json("today")["total"]


def test_groups_are_all_shown_unless_limited(kept: Kept, ask: Ask) -> None:
    crowd(kept)
    ask.at("2026-09-21 12:00")
    assert len(ask.table("today", "process")[2]) == 13
    rows = ask.table("today", "process", limit=3)[2]
    assert rows[4:] == [line for line in rows if line.startswith("and 9 more rows ")]


@pytest.mark.parametrize(
    ("sort", "reverse", "order"),
    [
        ("total", False, "acb"),
        ("total", True, "bca"),
        ("rx", False, "bca"),
        ("rx", True, "acb"),
        ("tx", False, "acb"),
        ("tx", True, "bca"),
    ],
)
def test_sorted_as_asked(sort: str, reverse: bool, order: str, kept: Kept, ask: Ask) -> None:
    start = at("2026-09-21 10:00")
    for name, rx, tx in (("a", 10, 500), ("b", 300, 1), ("c", 200, 200)):
        kept.append(delta(start, rx, tx, who=Identity(name)))
        far = remote("2001:db8::" + name)
        kept.append(delta(start, rx + 1000, tx + 1000, who=Identity("x"), far=far))
    ask.at("2026-09-21 12:00")
    settings = {"sort": sort, "reverse": reverse}
    whole = f"{order}x" if reverse else f"x{order}"
    assert "".join(row["name"] for row in ask.json("today", **settings)["rows"]) == whole
    assert "".join(row["name"] for row in ask.csv("today", **settings)) == whole
    rows = ask.table("today", **settings)[2][1:]
    assert "".join(line[0] for line in rows if line[0] != " ") == whole
    remotes = [re.search("2001:db8::(.)", line) for line in rows]
    assert "".join(found[1] for found in remotes if found) == order
    rows = ask.table("today", "process", **settings)[2][1:]
    assert "".join(line[0] for line in rows) == whole


def test_rows_of_time_stay_in_its_order(kept: Kept, ask: Ask) -> None:
    start = at("2026-09-21 00:00")
    kept.append(*(delta(start + i * HOUR, rx) for i, rx in enumerate((5, 900, 70))))
    ask.at("2026-09-21 12:00")
    for settings, order in (
        ({}, ["00", "01", "02"]),
        ({"sort": "rx"}, ["01", "02", "00"]),
        ({"sort": "total", "reverse": True}, ["00", "02", "01"]),
    ):
        rows = ask.json("today", "hour", **settings)["rows"]
        assert [row["hour"][11:13] for row in rows] == order
        lines = ask.table("today", "hour", **settings)[2][1:]
        assert [line[:16] for line in lines] == [f"2026-09-21 {hour}:00" for hour in order]


def test_processes_show_name_user_and_program(kept: Kept, ask: Ask) -> None:
    start = at("2026-09-21 10:00")
    people = (
        (Identity("curl", 0, exe="/usr/bin/curl"), "curl  root"),
        (Identity("python3", 54321, exe="/opt/app/bin/run"), "python3  54321  /opt/app/bin/run"),
        (Identity("kworker/0:1", None, kernel=True), "[kworker/0:1]  -"),
        (Identity("(unknown)"), "(unknown)  -"),
    )
    kept.append(*(delta(start, 1000 - n, who=who) for n, (who, _) in enumerate(people)))
    rows = ask.at("2026-09-21 12:00").table("today", "process")[2][1:]
    assert [line[:60].rstrip() for line in rows] == [text for _, text in people]


def test_groups_have_texts_of_their_own(kept: Kept, ask: Ask) -> None:
    start = at("2026-09-21 10:00")
    far = remote("2001:db8::1", 22, role=Role.SERVER), remote("192.0.2.1", 53, UDP)
    who = (
        Identity("a", 54321, unit="a.service", container="docker:1"),
        Identity("b", 0, unit="b.service"),
        Identity("c"),
    )
    kept.append(
        delta(start, 900, who=who[0], far=far[0]),
        delta(start, 90, who=who[1], far=far[1]),
        delta(start, 9, who=who[2], far=far[1]),
    )
    ask.at("2026-09-21 12:00")

    def labels(*by: str) -> list[str]:
        return [line[:60].rstrip() for line in ask.table("today", *by)[2]]

    assert labels("unit") == ["UNIT", "docker:1", "b.service", "(no unit)"]
    assert labels("container") == ["CONTAINER", "docker:1", "(no container)"]
    assert labels("user") == ["USER", "54321", "root", "-"]
    assert labels("exe") == ["EXE", "(unknown)"]
    assert labels("port") == ["PORT", "on :22", "to :53"]
    assert labels("proto") == ["PROTO", "tcp", "udp"]
    assert labels("day") == ["DAY", "2026-09-21"]
    assert labels("month") == ["MONTH", "2026-09"]
    assert labels("hour") == ["HOUR", "2026-09-21 10:00"]
    assert labels("proto", "remote") == ["PROTO  REMOTE", "tcp    2001:db8::1", "udp    192.0.2.1"]


# Totals


def test_totals_have_the_average_and_the_peak(kept: Kept, ask: Ask) -> None:
    start = at("2026-09-21 10:00")
    kept.append(
        delta(start, 30_000, 3_000, 60.0),
        delta(start + HOUR, 60_000, 60_000, 60.0),
        delta(start + 2 * HOUR, 0, 90_000, 180.0),
    )
    ask.at("2026-09-21 13:00")
    totals = ask.table("today")[3]
    assert totals[0].split() == [
        *("TOTAL", "87.9", "KiB", "149.4", "KiB", "237.3", "KiB", "100.0%")
    ]
    assert totals[1].split() == [
        *("average", "↓", "300", "B/s", "↑", "510", "B/s", "recorded", "time,"),
        *("with", "loopback"),
    ]
    assert totals[2].split() == [
        *("peak", "↓", "1000", "B/s", "↑", "1000", "B/s", "over", "5", "min,"),
        *("with", "loopback"),
    ]
    assert totals[3].split() == [
        *("internet", "↓", "87.9", "KiB", "↑", "149.4", "KiB", "in", "all")
    ]
    assert len(totals) == 4
    filtered = ask.table("today", keep=typed("process:curl"))[3]
    assert filtered[2].endswith("over an hour, with loopback")
    bits = ask.table("today", bits=True)[3]
    assert bits[0] == totals[0], "sizes stay bytes"
    assert bits[1].split()[2:7] == ["2.4", "kbit/s", "↑", "4.1", "kbit/s"]
    assert ask.json("today")["peak"] == {"rx_rate": 1000, "tx_rate": 1000, "over": "5 min"}
    assert "↓" not in ask("today", encoding="ascii")
    assert re.search(r"average +rx +300 B/s +tx +510 B/s", ask("today", encoding="ascii"))


# Nothing, or not all


def test_empty_database_says_so(kept: Kept, ask: Ask) -> None:
    ask.at("2026-09-21 12:00")
    for text in ("today", "month", "all", "2020-01-01"):
        title, line = ask(text)[:-1].split("\n")
        assert title.endswith("nothing recorded")
        assert line == "nothing has been recorded yet; run: sudo bwtop"
        assert ask.csv(text) == []
        found = ask.json(text)
        assert found["rows"] == []
        assert found["total"] == {"rx": 0, "tx": 0}
        assert found["recorded"] == 0
        assert found["percentile95"] is found["projection"] is None


def test_empty_range_names_what_there_is(kept: Kept, ask: Ask) -> None:
    every(kept, MINUTE, "2026-09-21 10:00", 60)
    ask.at("2026-09-25 12:00")
    for text in ("today", "2026-09-20", "2027-01-01"):
        assert ask(text).split("\n")[1:] == [
            "data exists from 2026-09-21 10:00 to 2026-09-21 11:00",
            "",
        ]
    assert ask("today").startswith("today: 2026-09-25 00:00 to 2026-09-25 12:00, nothing recorded")


@pytest.fixture(scope="module", name="forgotten")
def _forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Record two days; the minutes of the first are deleted, and the seconds before the last hour."""
    path = tmp_path_factory.mktemp("forgotten") / "history.db"
    made = Kept(keep.policy(seconds=HOUR, minutes=DAY), path)
    with local("UTC"):
        every(made, MINUTE, "2026-09-21 00:00", 2 * 1440)
        made.steps(at("2026-09-23 00:00"))
    yield made
    made.connection.close()


def test_pid_filter_notes_since_when_pids_are_known(
    forgotten: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Ask(forgotten, monkeypatch).at("2026-09-23 00:00")
    only = typed("pid:1")
    note = "process ids have the retention of tier seconds: this report begins at 2026-09-22 23:00"
    assert ask("2026-09-22", keep=only).endswith(f"\nnote: {note}\n")
    found = bars(ask.table("2026-09-22", keep=only))
    assert [line.split()[0] for line in found] == ["00:00", "23:00"]
    assert "process ids" not in ask("2026-09-22 23:00..23:30", keep=only)
    assert "process ids" not in ask("2026-09-22")
    nothing = ask("2026-09-21", keep=only).split("\n")
    assert nothing[1].startswith("data exists from ")
    assert nothing[2:] == [note, ""]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2026-09-21 10:10..10:40", "11:00"),
        ("2026-09-21 10:00..10:40", "11:00"),
        ("2026-09-21 10:10..11:00", "11:00"),
        ("2026-09-21 10:10..12:00", "12:00"),
        ("2026-09-21 10:00..11:40", "12:00"),
        ("2026-09-21", None),
        ("2026-09-22 10:10..10:40", None),
    ],
)
def test_widened_range_is_noted(
    text: str, end: str | None, forgotten: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Ask(forgotten, monkeypatch).at("2026-09-23 00:00")
    found = ask.json(text)
    assert sums(found["bars"]) == sums(found["rows"]) == found["total"]
    if end is None:
        assert found["notes"] == []
        return
    hours = int(end[:2]) - 10
    assert found["recorded"] == hours * HOUR
    assert found["from"].startswith(text[:16].replace(" ", "T"))
    assert found["covered"] == {
        "from": "2026-09-21T10:00:00+00:00",
        "to": f"2026-09-21T{end}:00+00:00",
    }
    note = f"finer detail of this range is deleted: this report covers 2026-09-21 10:00 to 2026-09-21 {end}"
    left = "part of this range has only totals by hour"
    filled = "; the bars are five-minute totals" if hours == 1 else ""
    assert found["notes"] == [note, *([left + filled] if hours == 1 else [])]
    assert ask(text).endswith("".join(f"note: {note}\n" for note in found["notes"]))


def test_events_are_noted(kept: Kept, ask: Ask) -> None:
    start = at("2026-09-21 10:00")
    one = delta(start)
    one.loss = Loss(spilled=3, spilled_bytes=4096, unnamed=2)
    kept.store.append(
        [one],
        [
            Event(start + 60, "clock", -3600.0),
            Event(start + 70, "sleep", 45.0),
            Event(start + 80, "sleep", 5400.0),
            Event(start + 90, "dropped", 1 << 20),
            Event(start + 91, "dropped", 1 << 20),
        ],
    )
    ask.at("2026-09-21 12:00")
    expected = [
        "the clock was set back by 1 hour at 2026-09-21 10:01",
        "the machine slept for 1 hour and 31 minutes",
        "2.0 MiB not recorded: the disk could not be written for too long",
        *(f"lost: {words}" for words in fmt.losses(one.loss)),
    ]
    found = ask.json("today")
    assert found["notes"] == expected
    assert found["lost"] == {"bytes": 4096, "events": 0}
    assert ask("today").split("\n")[-1 - len(expected) : -1] == [f"note: {n}" for n in expected]
    more = [30.0, 90.0, -40.0, 50.0]
    kept.store.append([], [Event(start + 61 + n, "clock", by) for n, by in enumerate(more)])
    assert ask.json("today")["notes"][:4] == [
        "the clock was set back by 1 hour at 2026-09-21 10:01",
        "the clock was set forward by 30 seconds at 2026-09-21 10:01",
        "the clock was set forward by 2 minutes at 2026-09-21 10:01",
        "the clock was set 2 more times",
    ]
    assert ask.json("2026-09-21 10:01:03..11:00")["notes"][:2] == [
        "the clock was set back by 40 seconds at 2026-09-21 10:01",
        "the clock was set forward by 50 seconds at 2026-09-21 10:01",
    ]
    assert ask.json("yesterday")["notes"] == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 second"),
        (59.4, "59 seconds"),
        (5400, "1 hour and 30 minutes"),
        (75 * DAY + 3660, "2 months and 14 days"),
        (400 * DAY + 3660, "1 year and 1 month"),
        (7 * DAY + 300, "7 days and 5 minutes"),
    ],
)
def test_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert length(seconds) == text


def test_heading_and_note_of_a_clock_that_was_ahead(kept: Kept, ask: Ask) -> None:
    kept.append(delta(at("2026-09-21 10:00")), delta(at("2027-09-21 10:00"), seconds=60.0))
    ask.at("2026-09-21 12:00")
    note = (
        "times up to 2027-09-21 10:01 are in the future: the time was wrong when they were recorded"
    )
    text = ask("all")
    assert text.startswith("all: 2026-09-21 00:00 to 2027-09-21 10:01, 1 minute recorded\n")
    assert text.endswith(f"note: {note}\n")
    assert ask.json("all")["notes"] == [note]
    assert ask("2027-09").startswith("2027-09-01 00:00 to 2027-09-21 10:01, 1 minute recorded\n")
    assert ask("today").startswith("today: 2026-09-21 00:00 to 2026-09-21 12:00, 1 second")
    assert ask.json("today")["notes"] == []
    assert "is in the future" in ask("2028-09")


# A terminal


def lively(kept: Kept) -> None:
    """Record hostile and wide names, and a note of each kind."""
    start = at("2026-09-21 10:00")
    hostile(kept, start)
    far = [remote("2001:db8:1111:2222:3333:4444:5555:6666", 65535), remote("*", 0, UDP), LOOP]
    kept.append(*(delta(start + 3 * HOUR, 2**50, 2**51 - 1, 60, far=f, who=NGINX) for f in far))
    one = delta(start)
    one.loss = Loss(1, 10**12, 1, 10**12, 1, 1)
    kept.store.append(
        [one],
        [Event(start, kind, 98_765.0) for kind in ("clock", "sleep", "dropped")] * 2,
    )


WHAT: Final[dict[str, dict[str, Any]]] = {
    "processes": {},
    "all of them": {"limit": 100},
    "groups": {"names": ("process",)},
    "pairs": {"names": ("unit", "remote")},
    "time": {"names": ("hour", "exe")},
    "bits": {"bits": True},
    "a process": {"keep": typed("pid:1")},
    "a name": {"keep": typed("process:nginx")},
    "nobody": {"keep": typed("process:nobody")},
}


def shapes(ask: Ask, monkeypatch: pytest.MonkeyPatch, columns: int, what: str) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    ask.at("2026-09-21 14:00")
    settings = dict(WHAT[what])
    by = settings.pop("names", ())
    texts = [
        ask(text, "table", *by, **settings)
        for text in ("month", "today", "2026-09-21 09:00..2026-09-21 14:00", "2026-09-20", "all")
    ]
    return [line for text in texts for line in text[:-1].split("\n")]


@pytest.mark.parametrize("what", WHAT)
def test_no_line_is_wider_than_the_terminal(
    what: str, kept: Kept, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    lively(kept)
    for columns in WIDTHS:
        lines = shapes(ask, monkeypatch, columns, what)
        assert [line for line in lines if CONTROLS.search(line)] == [], columns
        assert [line for line in lines if width(line) > columns] == [], columns


def test_numbers_stand_below_each_other(
    kept: Kept, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    lively(kept)
    ask.at("2026-09-21 14:00")
    for columns, by in itertools.product(WIDTHS[2:], ((), ("process",), ("unit", "remote"))):
        monkeypatch.setenv("COLUMNS", str(columns))
        _, _, rows, totals = ask.table("today", *by, limit=100)
        assert {width(line) for line in [*rows, totals[0]]} == {columns}, by


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "UTF-8", "utf8"])
def test_table_is_ascii_where_there_is_no_utf_8(encoding: str, kept: Kept, ask: Ask) -> None:
    some(kept)
    ask.at("2026-09-21 12:30")
    is_unicode = encoding.lower().startswith("utf")
    for by in ((), ("process",), ("hour",)):
        written = ask("month", "table", *by, encoding=encoding)
        assert ("█ received ░ sent" if is_unicode else "# received - sent") in written
        assert is_unicode or written.isascii()
        assert "\\u" not in written


def test_stream_without_an_encoding_gets_ascii(kept: Kept, ask: Ask) -> None:
    some(kept)
    assert kept.path
    out = io.StringIO()
    with closing(History(LocalReader(open_reader(kept.path)))) as history:
        report.run(
            history, ReportRequest(ranges.parse("2026-09-21", at("2026-09-22"))), "table", out
        )
    assert out.getvalue().isascii()


# Names


class KnownNames(Names):
    """A resolver that answers at once."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = {packed(address): name for address, name in known.items()}
        self.waits: list[tuple[set[bytes], float]] = []
        self.asked: set[bytes] = set()

    def get(self, address: bytes) -> str | None:
        self.asked.add(address)
        return self.known.get(address) if self.waits else None

    def wait(self, addresses: Iterable[bytes], seconds: float) -> None:
        self.waits.append((set(addresses), seconds))


def test_remotes_have_names(kept: Kept, ask: Ask) -> None:
    crowd(kept)
    known = KnownNames({"192.0.2.5": "five.example.org", "192.0.2.4": "\x1b[2Jevil"})
    rows = ask.at("2026-09-21 12:00").table("today", limit=2, names=known)[2]
    assert [line[:60].strip() for line in rows[2:5]] == [
        "to five.example.org:443 tcp",
        "to \\x1b[2Jevil:443 tcp",
        "to 192.0.2.3:443 tcp",
    ]
    shown = {packed(f"192.0.2.{number}") for number in (3, 4, 5)}
    assert known.waits == [(shown, LOOK_UP)]
    assert known.asked == shown, "names that are not shown are nobody's business"


def test_names_are_resolved_for_the_table_of_processes_only(kept: Kept, ask: Ask) -> None:
    crowd(kept)
    ask.at("2026-09-21 12:00")
    known = KnownNames({"192.0.2.5": "five.example.org"})
    assert ask("today", "json", names=known) == ask("today", "json")
    assert ask("today", "csv", "remote", names=known) == ask("today", "csv", "remote")
    assert "192.0.2.5" in ask("today", "table", "remote", names=known)
    assert not known.waits


def test_report_does_not_wait_for_a_silent_resolver(
    kept: Kept, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(kept)
    answer = threading.Event()
    monkeypatch.setattr(names_module, "look_up", lambda _: answer.wait(2 * HANG) and None)
    monkeypatch.setattr(table, "LOOK_UP", 0.05)
    ask.at("2026-09-21 12:00")
    began = time.monotonic()
    written = ask("today", names=Names())
    assert 0.05 <= time.monotonic() - began < HANG
    answer.set()
    assert "to 192.0.2.5:443 tcp" in written
    assert LOOK_UP <= 1


def test_long_name_gives_way_to_the_port(
    kept: Kept, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    kept.append(delta(at("2026-09-21 10:00")))
    known = KnownNames({"192.0.2.1": "a-very-long-name.of-a-host.in-some-cloud.example.org"})
    label = ask.at("2026-09-21 12:00").table("today", names=known)[2][2][:40].strip()
    assert re.fullmatch(r"to a-very-.*~.*\.org:443 tcp", label)
    assert len(label) <= 36
    monkeypatch.setenv("COLUMNS", "60")
    label = ask.table("today", names=known)[2][2][:20].strip()
    assert re.fullmatch(r"a-ver.*~.*:443", label), "the host is worth more than the words"


# All ways to ask


def agree(ask: Ask, kept: Kept, text: str, by: tuple[Dimension, ...], only: Filter) -> None:
    """Check that the three formats and plain totals agree."""
    names = [dimension.name for dimension in by]
    found = ask.json(text, *names, keep=only)
    expected = keep.grouped(kept.deltas, by, only)
    labels = fields(by)
    assert found["by"] == names
    assert {
        tuple(row[name] for name in labels): (row["rx"], row["tx"]) for row in found["rows"]
    } == expected
    assert sums(found["rows"]) == sums(found["bars"]) == found["total"]
    rows = ask.csv(text, *names, keep=only)
    assert sums(rows) == found["total"]
    texts = [
        {
            name: str(int(value) if isinstance(value, bool) else "" if value is None else value)
            for name, value in row.items()
        }
        for row in found["rows"]
    ]
    assert rows == [{name: one[name] for name in row} for row, one in zip(rows, texts, strict=True)]
    _, _, shown, totals = ask.table(text, *names, keep=only)
    assert len(shown) == 1 + len(rows)
    for line, row in zip(shown[1:], found["rows"], strict=True):
        both = row["rx"] + row["tx"]
        share = f"{both / sum(found['total'].values()):.1%}"
        sizes = [fmt.size(amount) for amount in (row["rx"], row["tx"], both)]
        assert line[60:].split() == f"{' '.join(sizes)} {share}".split()
    rx, tx = found["total"]["rx"], found["total"]["tx"]
    assert (
        totals[0][60:].split()[:-1] == f"{fmt.size(rx)} {fmt.size(tx)} {fmt.size(rx + tx)}".split()
    )


@pytest.mark.parametrize("first", OF_FLOWS, ids=lambda d: d.name)
def test_every_dimension_and_all_pairs_agree_in_all_forms(
    first: Dimension, kept: Kept, ask: Ask
) -> None:
    """Each pair in one of its orders: with the dimensions after it, in turn before and behind."""
    move_to("Asia/Kolkata")
    some(kept)
    ask.at("2026-09-22 12:00")
    agree(ask, kept, "2026-09-21", (first,), EVERYTHING)
    others = OF_FLOWS[OF_FLOWS.index(first) + 1 :]
    for number, second in enumerate(others):
        pair = (second, first) if number % 2 else (first, second)
        agree(ask, kept, "2026-09-21..2026-09-23", pair, EVERYTHING)


def test_programs_of_the_same_name_are_told_apart(kept: Kept, ask: Ask) -> None:
    ask.at("2026-09-21 12:00")
    for number, path in enumerate(("/usr/bin/same", "/opt/same", "/usr/bin/other"), 1):
        who = Identity(path.rpartition("/")[2], 0, exe=path)
        kept.append(delta(at("2026-09-21 10:00"), pid=number, who=who))
    for shown in (ask("today"), ask("today", "table", "process")):
        assert "same  root  /usr/bin/same" in shown
        assert "same  root  /opt/same" in shown
        assert "other  root  " in shown
        assert "/usr/bin/other" not in shown
    beside = ask("today", "table", "process-name", "process")
    assert "same          same  root  /usr/bin/same" in beside
    assert "same          same  root  /opt/same" in beside
