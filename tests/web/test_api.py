"""Test the answer of each route to valid and invalid requests."""

import csv
import gzip
import io
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop import __version__
from bwtop.history.dimensions import DIMENSIONS
from bwtop.history.process import LIMITS, QueryLimits
from bwtop.history.query import History
from bwtop.history.ranges import parse
from bwtop.identity.machine import this_machine
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.metrics.exposition import Exposition
from bwtop.metrics.watch import Watch
from bwtop.model import geography
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.filter_fields import FIELDS, HOST, RECORDED
from bwtop.model.flows import Identity, Traffic, pack_address
from bwtop.model.geography import Geography
from bwtop.output import report
from bwtop.output.request import ReportRequest as Report
from bwtop.sqlite.connections import open_reader
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.reader import LocalReader
from bwtop.text.escape import printable
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.web import api as module
from bwtop.web import params, reports, views
from bwtop.web.access import AccessPolicy, Address, HttpRequest
from bwtop.web.answer import CSV, JSON, METRICS, HttpError, HttpResponse
from bwtop.web.api import MAX_DOWNLOADS, ROUTES, Api
from bwtop.web.broadcaster import Broadcaster
from bwtop.web.files import CHART, File
from bwtop.web.history import HistoryAccess, LocalHistory
from bwtop.web.params import HISTORY
from bwtop.web.reports import Download
from bwtop.web.route import Route
from bwtop.web.scraping import OPEN_METRICS
from bwtop.web.source import STUCK, LiveSource
from bwtop.web.trusted import TrustedUsers
from bwtop.web.views import Document, Sheet
from tests.build import CONTROLS, HOSTILE, key, remote, sample, typed
from tests.faults import many
from tests.history import keep
from tests.history.keep import CURL, NOON, PROGRAMS, REMOTES, Kept, delta, local
from tests.history.named import named
from tests.kernel.running import HANG
from tests.web.serving import HAVING, NoReadings, reports_of
from tests.web.test_views import FORMULAS, Names

NOW: Final = 1000.0
FILES: Final = {
    "/": File("text/html; charset=utf-8", b"<!doctype html>", '"1"'),
    "/app.js": File("text/javascript; charset=utf-8", b"1", '"2"'),
}

WEB: Final = remote()
WHEN: Final = "2026-09-21"
"""The day of NOON."""


class Served:
    """An Api with its sources."""

    def __init__(
        self,
        path: Path,
        token: str | None = None,
        *,
        chart: bool = False,
        exposing: bool = True,
        history_access: HistoryAccess | None = None,
        limits: QueryLimits = LIMITS,
    ) -> None:
        self.now = NOW
        self.broadcaster = Broadcaster(Names(), lambda: self.now)
        self.broadcaster.start()
        self.path = path
        self.reports = reports_of(history_access or LocalHistory(path), limits)
        self.source = LiveSource(self.reports.origin)
        self.watch = Watch()
        trusted = None if token else TrustedUsers(os.geteuid())
        self.policy = AccessPolicy(Address("127.0.0.1", 8064), token, trusted=trusted)
        files = {**FILES, CHART: FILES["/app.js"]} if chart else FILES
        self.api = Api(
            *(self.policy, files, self.broadcaster, self.source, self.reports, Names()),
            interval=1.0,
            metrics=Exposition(self.watch) if exposing else None,
        )

    def close(self) -> None:
        self.broadcaster.close()
        self.reports.close()

    def measure(self, *, following: bool = False) -> None:
        self.source.set(
            Measurement(
                readings=NoReadings(),
                backend="" if following else "tracepoint",
                degradations=["no cgroup v2"],
                status=lambda: Status("recorded", "beware"),
                close=lambda _: None,
                following=following,
            )
        )

    def put(self, rx: int = 1, tx: int = 0, who: Identity = CURL) -> None:
        one = sample({key(10): {WEB: Traffic(rx, tx)}}, identities={key(10): who})
        self.broadcaster.put(one, "tracepoint")

    def __call__(
        self, path: str, text: str = "", method: str = "GET", **headers: str
    ) -> HttpResponse:
        answer = self.respond(path, text, method, **headers)
        return read(answer) if isinstance(answer.stream, Download) else answer

    def respond(
        self, path: str, text: str = "", method: str = "GET", **headers: str
    ) -> HttpResponse:
        message = Message()
        message["Host"] = "127.0.0.1:8064"
        for name, value in headers.items():
            message[name.replace("_", "-")] = value
        return self.api.respond(HttpRequest(method, path, text, message, os.geteuid()))

    def json(self, path: str, text: str = "") -> Any:
        answer = self(path, text)
        assert (answer.status, answer.type) == (HTTPStatus.OK, JSON)
        assert answer.body.count(b"\n") == 1
        assert answer.body.isascii()
        return json.loads(answer.body)

    def csv(self, path: str, text: str = "") -> list[dict[str, str]]:
        answer = self(path, text)
        assert (answer.status, answer.type) == (HTTPStatus.OK, CSV)
        return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))

    def refused(self, path: str, text: str = "", **headers: str) -> HttpError:
        with pytest.raises(HttpError) as error:
            self(path, text, **headers)
        assert not CONTROLS.search(error.value.why)
        return error.value


def read(answer: HttpResponse) -> HttpResponse:
    """Return an answer with the body that it streams."""
    assert answer.stream
    with closing(answer.stream):
        body = b"".join(answer.stream)
    assert dict(answer.headers)["Content-Length"] == str(len(body))
    return replace(answer, body=body, stream=None)


@pytest.fixture(autouse=True, scope="module")
def _utc() -> Iterator[None]:
    with local("UTC"):
        yield


def fill(kept: Kept) -> None:
    """Record two hours of traffic between all programs and all remotes."""
    for number, who in enumerate(PROGRAMS):
        for place, far in enumerate(REMOTES):
            rx, tx = 1000 + 10 * number + place, place * 7
            when = NOON + number * 1500 + place
            kept.append(delta(when, rx, tx, pid=number + 1, who=who, far=far))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    made = Kept(path=tmp_path_factory.mktemp("api") / "history.db")
    fill(made)
    yield made
    made.connection.close()


@pytest.fixture(scope="module")
def served(kept: Kept) -> Iterator[Served]:
    assert kept.path
    made = Served(kept.path)
    made.measure()
    made.put(5, 3)
    yield made
    made.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    """Return an Api without samples and history."""
    made = Served(tmp_path / "history.db")
    yield made
    made.close()


def ours(text: str, table: tuple[params.Param, ...] = params.LIVE) -> views.LiveView:
    return views.live(params.read(text, table))


# What is live.


def test_live_is_the_last_interval(served: Served) -> None:
    found = served.json("/api/v1/live")
    assert found["schema"] == "bwtop.batch/1"
    assert found["total"] == {"rx": 5, "tx": 3}
    assert found["processes"][0]["remotes"][0]["host"] == "www.example.net"
    for text in ("", "filter=nobody", "idle=show&limit=1&remotes=none&sort=-pid"):
        drawn = served.broadcaster.wait(Document(ours(text)), 0, 5)
        assert drawn
        assert served("/api/v1/live", text).body == drawn.body + b"\n"
    assert served.json("/api/v1/live", "filter=nobody")["processes"] == []


def test_live_as_csv(served: Served) -> None:
    answer = served("/api/v1/live.csv", "proto=tcp")
    drawn = served.broadcaster.wait(Sheet(ours("proto=tcp")), 0, 5)
    assert drawn
    assert answer.body == drawn.body
    assert dict(answer.headers)["Content-Disposition"] == 'attachment; filename="bwtop-live.csv"'
    (line,) = served.csv("/api/v1/live.csv")
    assert (line["name"], line["rx"], line["addr"]) == ("curl", "5", "192.0.2.1")


@pytest.mark.parametrize("path", ["/api/v1/live", "/api/v1/live.csv"])
def test_before_the_first_interval_the_refusal_has_a_reason(
    fresh: Served, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as impatient:
        impatient.setattr(module, "PATIENCE", 0.05)
        error = fresh.refused(path)
        assert (error.status, error.why) == (HTTPStatus.SERVICE_UNAVAILABLE, "starting")
        assert dict(error.headers)["Retry-After"]
        fresh.source.lose("no bwtop records")
        assert fresh.refused(path).why == "no bwtop records"
        fresh.measure()
        assert fresh.refused(path).why == "no interval has been measured yet"
    fresh.put()
    assert fresh(path).status is HTTPStatus.OK


def test_slow_drawing_has_a_message_of_its_own(
    fresh: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.measure()
    fresh.put()
    assert fresh("/api/v1/live").status is HTTPStatus.OK
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    let = threading.Event()
    monkeypatch.setattr(views.Document, "draw", lambda *_: let.wait(10) and b"{}")
    why = fresh.refused("/api/v1/live", "limit=1").why
    let.set()
    assert why == "drawing takes longer than 0.05 seconds; use a filter or a limit"


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.path not in ("/api/v1/link", "/login")], ids=lambda r: r.path
)
def test_answers_are_not_stored(served: Served, route: Route) -> None:
    answer = served(route.path, f"range={WHEN}" if route.params == HISTORY else "")
    assert dict(answer.headers)["Cache-Control"] == "no-store"
    if answer.stream:
        answer.stream.close()


# What is past.


KEEP: Final = [
    ("", EVERYTHING),
    ("proto=udp", typed("proto:udp")),
    ("loopback=hide", typed("loopback:hide")),
    ("loopback=only&proto=tcp,udp", typed("proto:tcp,udp loopback:only")),
    ("process=ngin*", typed("process:ngin*")),
    ("user=0,33", typed("user:0,33")),
    ("pid=1,3", typed("pid:1,3")),
    ("remote=192.0.2.0/24,::1", typed("remote:192.0.2.0/24,::1")),
    ("filter=nginx+port%3A443", typed("nginx port:443")),
    ("filter=-remote:127.0.0.0/8&user=33", typed("user:33 -remote:127.0.0.0/8")),
    ("filter=nobody", typed("nobody")),
]


PART: Final = f"{WHEN} 12:20..13:00"
ASKED: Final = [
    *((text, wish, "user,hour", PART) for text, wish in KEEP),
    *(
        ("", EVERYTHING, by, when)
        for by in ("process", "remote", "user,hour", "unit,proto", "port", "day", "exe,month")
        for when in (WHEN, PART)
        if (by, when) != ("user,hour", PART)
    ),
]
"""Each filter with one grouping, each grouping and range without a filter."""


@pytest.mark.parametrize(("text", "wish", "by", "when"), ASKED)
def test_sums_are_those_of_the_history(
    served: Served, kept: Kept, text: str, wish: Filter, by: str, when: str
) -> None:
    wanted, dimensions = parse(when, NOON), keep.by(*by.split(","))
    try:
        answer = kept.history().ask(wanted, dimensions, wish, wanted.end)
    finally:
        kept.let_go()
    expected = report.document(answer, Report(wanted, dimensions, wish), dimensions)
    asked = f"{text}&by={by}&range={quote(when)}".lstrip("&")
    found = served.json("/api/v1/history", asked)
    for row in found["rows"]:
        assert "addr" not in row or (row.pop("host") is not None) == (row["addr"] == "192.0.2.1")
    assert found == json.loads(json.dumps(expected))
    assert (found["percentile95"] is None) == bool(text and not re.match("proto|loopback", text))
    assert sum(row["rx"] for row in found["rows"]) == found["total"]["rx"]
    rows = served.csv("/api/v1/export.csv", asked)
    assert [(int(row["rx"]), int(row["tx"])) for row in rows] == [
        (row["rx"], row["tx"]) for row in found["rows"]
    ]


def test_rows_are_sorted_and_limited_and_totals_are_of_all(served: Served) -> None:
    everything = served.json("/api/v1/history", f"range={WHEN}&by=remote")
    values: dict[str, Callable[[dict[str, int]], int]] = {
        "total": lambda row: -row["rx"] - row["tx"],
        "rx": lambda row: -row["rx"],
        "-rx": lambda row: row["rx"],
        "tx": lambda row: -row["tx"],
        "-tx": lambda row: row["tx"],
    }
    for sort, value in values.items():
        found = served.json("/api/v1/history", f"range={WHEN}&by=remote&limit=3&sort={sort}")
        assert len(found["rows"]) == 3
        assert [value(r) for r in found["rows"]] == sorted(map(value, everything["rows"]))[:3]
        assert found["total"] == everything["total"]


def test_rows_by_time_are_in_its_order_by_default(served: Served) -> None:
    def totals(text: str) -> list[int]:
        rows = served.json("/api/v1/history", text)["rows"]
        return [row["rx"] + row["tx"] for row in rows]

    when = f"range={WHEN}&by=hour,process"
    largest = sorted(totals(when), reverse=True)
    assert totals(f"{when}&sort=total") == largest != totals(when)
    assert totals(f"{when}&sort=-total") == largest[::-1]


def test_range_is_the_requested_one(served: Served) -> None:
    found = served.json("/api/v1/history", f"range={WHEN}+12:00..13:00&by=process")
    assert (found["from"], found["to"]) == (
        "2026-09-21T12:00:00+00:00",
        "2026-09-21T13:00:00+00:00",
    )
    assert len(found["bars"]) == 60
    assert found["recorded"] > 0


def test_json_says_how_many_rows_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test one row more than the limit: JSON keeps the largest and all sums, and CSV has every row."""
    monkeypatch.setattr(reports, "MOST_ROWS", 1000)
    kept = Kept(path=tmp_path / "history.db")
    count = 1001
    far = {remote(f"10.0.{n >> 8}.{n & 255}"): (1 + n, 0) for n in range(count)}
    kept.append(Delta(NOON, 1.0, {(key(1), CURL): far}))
    kept.connection.close()
    served = Served(tmp_path / "history.db")
    asked = f"range={WHEN}&by=remote"
    note = "first 1,000 of 1,001 rows; choose a shorter range or fewer groups"
    for text in (asked, f"{asked}&limit={count}"):
        found = served.json("/api/v1/history", text)
        assert (len(found["rows"]), found["rows_left_out"]) == (1000, 1)
        assert found["notes"] == [note]
        assert found["rows"][-1]["rx"] == 2, "the smallest row is left out"
        assert found["total"]["rx"] == sum(range(1, count + 1))
    few = served.json("/api/v1/history", f"{asked}&limit=5")
    assert (len(few["rows"]), few["rows_left_out"], few["notes"]) == (5, count - 5, [])
    body = served("/api/v1/export.csv", asked).body
    assert body.count(b"\n") == 1 + count
    served.close()


def test_query_beyond_its_memory_is_refused_with_advice(tmp_path: Path) -> None:
    many.make(tmp_path / "history.db", 100_000)
    small = Served(tmp_path / "history.db", limits=QueryLimits(memory=1 << 20))
    error = small.refused("/api/v1/history", many.WORST)
    assert error.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert error.why == "stopped at 1 MiB of memory; choose a shorter range or fewer groups"
    assert small.json("/api/v1/history", "range=2020-01-01")["rows"] == []
    small.close()


class SlowHistory(LocalHistory):
    """A history whose queries take as long as one lets them."""

    def _open(self) -> Iterator[History]:
        time.sleep(HANG)
        yield from super()._open()


def test_query_that_takes_too_long_is_refused_with_advice(kept: Kept) -> None:
    """No refused download keeps its place."""
    assert kept.path
    slow = SlowHistory(kept.path)
    hasty = Served(kept.path, history_access=slow, limits=QueryLimits(seconds=0))
    for path in ("/api/v1/history", "/api/v1/hosts", *["/api/v1/export.csv"] * (MAX_DOWNLOADS + 1)):
        error = hasty.refused(path)
        assert error.status is HTTPStatus.SERVICE_UNAVAILABLE
        assert error.why == "stopped after 0 seconds; choose a shorter range or fewer groups"
    hasty.close()


def test_export_is_the_history_as_a_download(served: Served) -> None:
    text = f"range={WHEN}&by=day,user&filter=nginx"
    saved = served("/api/v1/export.json", text)
    assert saved.body == served("/api/v1/history", text).body
    name = 'attachment; filename="bwtop-2026-09-21-by-day-user.{}"'
    assert dict(saved.headers)["Content-Disposition"] == name.format("json")
    rows = served("/api/v1/export.csv", text)
    assert dict(rows.headers)["Content-Disposition"] == name.format("csv")


@pytest.mark.parametrize("dimension", [d.name for d in HAVING])
def test_csv_has_a_header_for_every_dimension(served: Served, dimension: str) -> None:
    body = served("/api/v1/export.csv", f"range={WHEN}&by={dimension}").body.decode()
    header, *lines = csv.reader(io.StringIO(body, newline=""))
    fields = next(d.fields for d in DIMENSIONS if d.name == dimension)
    names = ["remote_name", "name_source"] if "addr" in fields else []
    user = ["user"] if "uid" in fields else []
    assert header == [*fields, *user, "rx", "tx", *names]
    assert lines
    assert {len(line) for line in lines} == {len(header)}
    nothing = served("/api/v1/export.csv", f"range=2020-01-01&by={dimension}").body.decode()
    assert list(csv.reader(io.StringIO(nothing))) == [header]


def saved_as(text: str) -> str | HttpError:
    """Return the name of the file that a query is saved as, or its refusal."""
    try:
        return module._file_name(params.read(text, HISTORY))
    except HttpError as refused:
        return refused


@given(
    st.sampled_from(
        [
            *(WHEN, "all", "7d", "month", "2026-09", f"{WHEN}..", f"{WHEN} 08:00..12:00"),
            *(f"{WHEN}t08:00:00+02:00..2026-09-22", f"{WHEN} 08:00z..12:00", "LAST-WEEK"),
        ]
    ),
    st.lists(st.sampled_from([*" \t\n\r\x0b\x0c\x1c\x85\xa0\u2028\u3000"]), max_size=3).map(
        "".join
    ),
    st.permutations([d.name for d in HAVING]).flatmap(
        lambda names: st.integers(1, len(names)).map(lambda count: names[:count])
    ),
)
@example('2026-09-21"; filename="x.exe', "", ["day"])
@example("../../etc/passwd", "", ["day"])
def test_names_of_saved_files_are_harmless(when: str, blank: str, by: list[str]) -> None:
    text = urlencode({"range": blank + when.replace(" ", f" {blank}") + blank, "by": ",".join(by)})
    found = saved_as(text)
    if isinstance(found, HttpError):
        assert found.status is HTTPStatus.BAD_REQUEST
        assert when.startswith(("../", '2026-09-21"')) or (blank and ":" in when)
    else:
        assert re.fullmatch("bwtop[a-z0-9-]+", found)


@pytest.fixture(scope="module")
def with_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a history with names of remotes."""
    path = tmp_path_factory.mktemp("named") / "history.db"
    named(Kept(path=path)).connection.close()
    return path


def test_remotes_have_their_recorded_names_else_those_of_reverse_dns(with_names: Path) -> None:
    with closing(Served(with_names)) as served:
        text = f"range={WHEN}"
        (line,) = served.json("/api/v1/history", f"{text}&by=remote&remote=192.0.2.50")["rows"]
        assert (line["host"], line["name_source"]) == ("none.example", "dns")
        for by in ("remote", "remote,name", "remote,domain"):
            rows = served.json("/api/v1/history", f"{text}&by={by}")["rows"]
            assert any(row["name_source"] for row in rows)
            for row in rows:
                found = row["remote_name"] if row["name_source"] else resolved(row["addr"])
                assert row["host"] == found


def resolved(address: str) -> str | None:
    """Return the name of an address by reverse DNS."""
    return Names().get(pack_address(address) or b"")


NAMES: Final = [*FORMULAS, *HOSTILE, "<script>alert(1)</script>", "a,b\n\"c'", "\x00"]
STORED: Final = [name for name in NAMES if "\udcff" not in name]
"""SQLite's text excludes surrogates."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Record each name as process, program, unit and container."""
    path = tmp_path_factory.mktemp("hostile") / "history.db"
    kept = Kept(path=path)
    for number, name in enumerate(STORED):
        who = Identity(name, number, exe=name, unit=name, container=name, pod=name)
        kept.append(delta(NOON + number, number + 1, 0, pid=number + 1, who=who))
    kept.connection.close()
    made = Served(path)
    yield made
    made.close()


def test_hostile_names_are_plain_text_in_json(hostile: Served) -> None:
    rows = hostile.json("/api/v1/history", f"range={WHEN}&by=process,unit")["rows"]
    assert sorted(row["rx"] for row in rows) == [*range(1, len(STORED) + 1)]
    for row in rows:
        name = STORED[row["rx"] - 1]
        assert row["name"] == printable(name)
        for field in ("exe", "unit", "container", "pod"):
            assert row[field] == (printable(name) or None), "an empty text is none"


def test_hostile_names_are_plain_text_in_csv(hostile: Served) -> None:
    text = f"range={WHEN}&by=process,unit"
    body = hostile("/api/v1/export.csv", text).body.decode()
    assert not CONTROLS.search(body.replace("\n", ""))
    assert body.count("\n") == 1 + len(STORED)
    lines = hostile.csv("/api/v1/export.csv", text)
    assert sorted(int(line["rx"]) for line in lines) == [*range(1, len(STORED) + 1)]
    for line in lines:
        name = STORED[int(line["rx"]) - 1]
        for field in ("name", "exe", "unit", "container", "pod"):
            assert not re.match(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]", line[field])
            assert line[field].startswith("'") == (name in FORMULAS and name[0] != "\t")


def test_csv_of_the_command_line_has_its_names_as_they_are(hostile: Served) -> None:
    """Its readers are programs, not spreadsheets."""
    out = io.StringIO()
    with closing(History(LocalReader(open_reader(hostile.path)))) as history:
        report.run(history, Report(parse(WHEN, NOON), keep.by("process")), "csv", out)
    shown = {row["name"] for row in csv.DictReader(io.StringIO(out.getvalue(), newline=""))}
    assert {name for name in FORMULAS if name.isprintable()} <= shown
    assert not [name for name in shown if name.startswith("'")]


# Where there is no history.


def test_without_a_history_each_refusal_has_a_reason(fresh: Served) -> None:
    for path in ("/api/v1/history", "/api/v1/export.csv", "/api/v1/export.json", "/api/v1/hosts"):
        error = fresh.refused(path)
        assert error.status is HTTPStatus.SERVICE_UNAVAILABLE
        assert error.why == "nothing has been recorded yet; run: sudo bwtop"
    assert fresh.json("/api/v1/about")["history"] is None
    fresh.measure()
    fresh.put()
    assert fresh.json("/api/v1/live")["total"]["rx"] == 1, "what is live needs none"
    fresh.source.lose("no bwtop records")
    assert fresh.refused("/api/v1/live").why == "no bwtop records", "what was live is no more"


# What else there is to know.


def test_about(served: Served) -> None:
    found = served.json("/api/v1/about")
    assert found["schema"] == "bwtop.about/1"
    assert (found["version"], found["host"]) == (__version__, socket.gethostname())
    assert found["interval"] == 1.0
    assert found["chart"] is None
    assert found["history"] == {
        "from": "2026-09-21T12:00:00+00:00",
        "to": "2026-09-21T13:40:09+00:00",
    }
    assert [column["id"] for column in found["columns"]] == [c.id for c in PROCESS_COLUMNS]
    assert [one["id"] for one in found["dimensions"]] == [d.name for d in HAVING]
    fields = {field["id"]: (field["live"], field["recorded"]) for field in found["fields"]}
    assert fields == {f.name: (f in FIELDS, f in RECORDED) for f in (*FIELDS, HOST)}
    for row in (*found["columns"], *found["dimensions"], *found["fields"]):
        assert row["help"]


def test_groups_that_need_a_database_are_offered_where_there_is_one(kept: Kept) -> None:
    with closing(Served(kept.path or Path())) as served:
        for path in ("/api/v1/history", "/api/v1/export.csv"):
            error = served.refused(path, f"range={WHEN}&by=process,asn")
            assert error.status is HTTPStatus.BAD_REQUEST
            assert error.why == "by: asn requires --asn-db PATH, a MaxMind DB file"
    geography.use(Geography(country=lambda _: {"country": "de"}))
    try:
        with closing(Served(kept.path or Path())) as served:
            found = served.json("/api/v1/about")["dimensions"]
            assert [one["id"] for one in found] == [d.name for d in DIMENSIONS if d.name != "asn"]
            (row,) = served.json("/api/v1/history", f"range={WHEN}&by=country")["rows"]
            assert row["country"] == "DE"
            assert served.refused("/api/v1/history", "by=asn").status is HTTPStatus.BAD_REQUEST
    finally:
        geography.use(Geography())


def test_hosts_of_one_machine_are_itself(served: Served) -> None:
    found = served.json("/api/v1/hosts")
    here = this_machine()
    assert found == {
        "schema": "bwtop.hosts/1",
        "origin": None,
        "history": served.json("/api/v1/about")["history"],
        "hosts": [{"hostname": here.name, "host_id": here.id}],
    }


def test_busy_history_is_refused_for_now_and_about_does_not_wait(kept: Kept) -> None:
    """No page can start without `about`."""
    assert kept.path
    busy = Served(kept.path, limits=QueryLimits(at_once=0, patience=0.2))
    error = busy.refused("/api/v1/history")
    assert error.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert error.why == "too many queries at once; try again"
    assert dict(error.headers)["Retry-After"]
    busy.close()
    patient = Served(kept.path, limits=QueryLimits(at_once=0, patience=2 * HANG))
    began = time.monotonic()
    assert patient.json("/api/v1/about")["history"] is None
    assert time.monotonic() - began < HANG
    patient.close()


def test_downloads_at_once_are_limited(served: Served) -> None:
    streams = [served.respond("/api/v1/export.csv").stream for _ in range(MAX_DOWNLOADS)]
    error = served.refused("/api/v1/export.csv")
    assert error.why == "too many downloads at once; try again"
    assert dict(error.headers)["Retry-After"]
    for stream in streams:
        assert stream
        stream.close()
    assert served.csv("/api/v1/export.csv", f"range={WHEN}")


def test_about_names_chart_js_where_there_is_one(tmp_path: Path) -> None:
    made = Served(tmp_path / "history.db", chart=True)
    assert made.json("/api/v1/about")["chart"] == CHART
    assert made(CHART).body == b"1"
    made.close()


def test_about_has_the_status(fresh: Served) -> None:
    def status() -> Any:
        return fresh.json("/api/v1/about")["status"]

    assert (status()["state"], status()["warning"]) == ("waiting", "starting")
    fresh.measure()
    assert status() == {
        "state": "measuring",
        "backend": "tracepoint",
        "degradations": ["no cgroup v2"],
        "history": "recorded",
        "warning": "beware",
    }
    fresh.measure(following=True)
    assert (status()["state"], status()["backend"]) == ("following", None)
    fresh.source.lose("no bwtop records")
    assert (status()["state"], status()["warning"]) == ("waiting", "no bwtop records")


def test_metrics_are_as_prometheus_reads_them(served: Served) -> None:
    reading = sample({key(10): {WEB: Traffic(1009, 0)}}, identities={key(10): CURL})
    served.watch.take(reading, 0.01)
    answer = served("/metrics")
    assert (answer.status, answer.type) == (HTTPStatus.OK, METRICS)
    line = 'bwtop_bytes_total{direction="rx",loopback="false",process="curl",protocol="tcp"} 1009.0'
    assert line in answer.body.decode().splitlines()


@pytest.mark.parametrize(
    ("accept", "encoding", "is_open", "is_packed"),
    [
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "gzip", True, True),
        ("application/openmetrics-text; q=0, text/plain", "br, GZIP;q=0.5", False, True),
        ("*/*", "gzip;q=0", False, False),
        ("text/html, application/openmetrics-text2", "identity", False, False),
    ],
)
def test_metrics_have_the_format_and_encoding_that_the_client_asks_for(
    served: Served, accept: str, encoding: str, is_open: bool, is_packed: bool
) -> None:
    answer = served("/metrics", Accept=accept, Accept_Encoding=encoding)
    assert answer.type == (OPEN_METRICS if is_open else METRICS)
    assert (("Content-Encoding", "gzip") in answer.headers) == is_packed
    assert ("Vary", "Accept, Accept-Encoding") in answer.headers
    text = (gzip.decompress(answer.body) if is_packed else answer.body).decode()
    assert "bwtop_info{" in text
    assert text.endswith("# EOF\n") == is_open


def test_without_prometheus_client_only_metrics_are_refused(tmp_path: Path) -> None:
    made = Served(tmp_path / "history.db", exposing=False)
    refused = made.refused("/metrics")
    assert refused.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "apt install python3-prometheus-client" in refused.why
    assert made.json("/healthz") == {"status": "ok"}
    made.close()


def test_healthz_fails_while_intervals_are_overdue(fresh: Served) -> None:
    assert fresh.json("/healthz") == {"status": "ok"}
    fresh.measure()
    assert fresh.json("/healthz") == {"status": "ok"}
    fresh.put()
    fresh.now += 2 + STUCK
    assert fresh.json("/healthz") == {"status": "ok"}
    fresh.now += 1
    stuck = fresh.refused("/healthz")
    assert (stuck.status, stuck.why) == (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "no interval for 13 seconds",
    )
    fresh.measure(following=True)
    assert fresh.json("/healthz") == {"status": "ok"}, "it is another bwtop's to measure"
    fresh.measure()
    fresh.put()
    assert fresh.json("/healthz") == {"status": "ok"}


# Nonsense.


def outcome(served: Served, path: str, text: str) -> HttpResponse | HttpError:
    """Return the answer or the refusal: only HttpError may be raised."""
    try:
        return served(path, text)
    except HttpError as refused:
        return refused


def is_answered(served: Served, path: str, text: str) -> None:
    found = outcome(served, path, text)
    if isinstance(found, HttpError):
        assert 400 <= found.status < 600
        assert found.why
        assert not CONTROLS.search(found.why)
        json.loads(found.answer().body)
    else:
        assert found.status in (HTTPStatus.OK, HTTPStatus.SEE_OTHER)
        for name, value in found.headers:
            assert not CONTROLS.search(name + value)
        if found.stream:
            found.stream.close()


PIECES: Final = (
    *(f"{name}=" for name in sorted({p.name for route in ROUTES for p in route.params})),
    *("&", "%", "%00", "%0A", "%FF", "%F0%9F%92%A9", "+", ",", ":", "..", "-", '"', "'", "<", "=1"),
    *("all", "day", "process", "month", "2026-09-21", "9999-12", "0001-01-01", "1d", "port:443"),
    *("9" * 20, "tcp", "show", "none", "::1/64", "0.0.0.0/0", "*", "[", "rx", "limit=1&by=day"),
)
nonsense: Final = (
    st.text()
    | st.text(st.characters(exclude_categories=()))
    | st.lists(st.sampled_from(PIECES + HOSTILE)).map("".join)
    | st.binary(max_size=40).map(lambda b: f"filter={quote(b)}")
)
sense: Final = st.sampled_from(sorted({p.name for route in ROUTES for p in route.params}))


@pytest.mark.parametrize("path", [route.path for route in ROUTES])
@given(
    text=nonsense
    | st.dictionaries(sense, st.sampled_from(PIECES + HOSTILE), max_size=3).map(
        lambda pairs: urlencode(pairs, errors="replace")
    )
)
def test_any_query_gets_an_answer(served: Served, path: str, text: str) -> None:
    is_answered(served, path, text)


@given(
    path=st.text() | st.lists(st.sampled_from(["/", "..", "api", "v1", "%2e", "\x00"])).map("".join)
)
def test_any_path_gets_an_answer(served: Served, path: str) -> None:
    is_answered(served, path, "")


RANGES: Final = (
    *("9999-12-31", "9999-12", "9999-12-31 23:00..23:59", "9999-12-01..9999-12-31"),
    *("9999-01..9999-12", "9998-01-01..9999-12-31", "0001-01-01", "0001-01", "0001-01-01.."),
    *("0001-01-01..9999-12-31", "0001-01-02..0001-01-03", "0001-01-02 00:00..00:01"),
    *("1900-01..2100-01", "1960-01-01", "1969-12-31..1970-01-02", "999999w", "999999m", "1m"),
    *("2026-09-21 12:00:00.. 12:00:01", "9999-12-31 23:00-23:59..9999-12-31 23:59-23:59"),
    *("0001-01-01 00:00+23:59..0001-01-02", "2026-09-21 12:00+24:00..13:00", "all"),
)


@pytest.mark.parametrize("by", ["process", "hour", "day", "month"])
@pytest.mark.parametrize("when", RANGES)
def test_range_at_the_end_of_the_calendar_gets_an_answer(
    served: Served, when: str, by: str
) -> None:
    for path in ("/api/v1/history", "/api/v1/export.csv"):
        is_answered(served, path, urlencode({"range": when, "by": by}))
