"""Test the history of many hosts on a real ClickHouse: the API and the program."""

import csv
import io
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from bwtop.clickhouse.client import PING_SECONDS, Client
from bwtop.clickhouse.target import Target
from bwtop.history.query import History
from bwtop.model.flows import Host
from bwtop.web import reports
from bwtop.web.access import HttpRequest
from bwtop.web.answer import HttpError
from bwtop.web.history import FleetHistory
from bwtop.web.source import ELSEWHERE
from tests.clickhouse import hosts
from tests.clickhouse.hosts import (
    BACKUP,
    DATABASE,
    FORMULA,
    HOSTILE,
    HOSTS,
    NGINX,
    RUNNING,
    TWINS,
    WEB,
)
from tests.clickhouse.servers import PASSWORD, ClickHouse, free_port
from tests.history.others import needs_root
from tests.kernel.running import HANG
from tests.processes import USER, status, until
from tests.web.serving import Serving, as_user, connect, reports_of, request, serving
from tests.web.test_api import Served


def history_access(target: Target, patience: float = 60.0) -> FleetHistory:
    return FleetHistory(target.url(), lambda: Client(target, "", patience=patience))


@pytest.fixture(scope="module")
def served(server: ClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(
        tmp_path_factory.mktemp("none") / "none.db", history_access=history_access(server.target)
    )
    yield made
    made.close()


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[Served]:
    """Return an Api with an unreachable server."""
    made = Served(
        tmp_path / "none.db", history_access=history_access(Target("127.0.0.1", free_port()))
    )
    yield made
    made.close()


def total(moved: Sequence[tuple[int, int]]) -> dict[str, int]:
    return {"rx": sum(rx for rx, _ in moved), "tx": sum(tx for _, tx in moved)}


# What is answered.


def test_about_has_the_origin_and_no_live_view(served: Served, server: ClickHouse) -> None:
    found = served.json("/api/v1/about")
    assert found["origin"] == server.target.url() == f"clickhouse://127.0.0.1:{server.port}/bwtop"
    assert found["status"] == {
        "state": "past",
        "backend": None,
        "degradations": [],
        "history": f"history of many hosts, from {server.target.url()}",
        "warning": "",
    }
    assert served.json("/healthz") == {"status": "ok"}


def test_about_does_not_wait_for_the_server(
    server: ClickHouse, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page can start without `about`."""
    server.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert served.json("/api/v1/about")["history"] is None
        assert time.monotonic() - began < 4 * PING_SECONDS, "a query would wait for half a minute"
    finally:
        server.signal(signal.SIGCONT)


def test_hosts_have_their_ids(served: Served, server: ClickHouse) -> None:
    found = served.json("/api/v1/hosts")
    assert (found["schema"], found["origin"]) == ("bwtop.hosts/1", server.target.url())
    assert [(one["hostname"], one["host_id"]) for one in found["hosts"]] == sorted(HOSTS)
    assert found["history"]["from"] < found["history"]["to"]
    assert b"\x1b" not in served("/api/v1/hosts").body


def test_hosts_and_their_processes_have_their_bytes(served: Served) -> None:
    found = served.json("/api/v1/history", "range=yesterday&by=host,process")
    assert (found["host"], found["by"]) == (None, ["host", "process"])
    assert {
        (Host(row["hostname"], row["host_id"]), row["name"]): (row["rx"], row["tx"])
        for row in found["rows"]
    } == {(host, who.name): hosts.moved(host, who) for host in HOSTS for who in RUNNING[host]}
    sums = [row["rx"] + row["tx"] for row in found["rows"]]
    assert sums == sorted(sums, reverse=True)
    summed = served.json("/api/v1/history", "range=yesterday&by=process")
    by_name = {row["name"]: {"rx": row["rx"], "tx": row["tx"]} for row in summed["rows"]}
    for who in (NGINX, BACKUP):
        running = [host for host in HOSTS if who in RUNNING[host]]
        assert by_name[who.name] == total([hosts.moved(host, who) for host in running])


CHOSEN: Final[tuple[tuple[str, Sequence[Host]], ...]] = (
    ("host=web1.example.org", [WEB]),
    ("host=web*,db-?", [WEB, DATABASE]),
    (f"host={HOSTILE.id},{WEB.id}", [HOSTILE, WEB]),
    ("host=<img*", [HOSTILE]),
    ("host=nobody", []),
    ("filter=host:WEB*,db-2", [WEB, DATABASE]),
    ('filter=host:"<img src=x*"', [HOSTILE]),
    ("filter=-host:web* -host:db-2", [HOSTILE, *TWINS, FORMULA]),
    ("host=web*,db-2&filter=-host:db-2", [WEB]),
)


@pytest.mark.parametrize(("text", "wanted"), CHOSEN, ids=[text for text, _ in CHOSEN])
def test_some_hosts_alone(served: Served, text: str, wanted: Sequence[Host]) -> None:
    asked = quote(text, safe="=&")
    found = served.json("/api/v1/history", f"range=yesterday&by=host&{asked}")
    assert sorted((row["hostname"], row["host_id"]) for row in found["rows"]) == sorted(wanted)
    assert found["total"] == total([hosts.moved(host) for host in wanted])


def test_exports_are_of_the_same_hosts(served: Served) -> None:
    asked = f"range=yesterday&by=host,process&host={HOSTILE.id},{quote(FORMULA.name)}"
    found = served.json("/api/v1/history", asked)
    assert len(found["rows"]) == 2
    assert served.json("/api/v1/export.json", asked) == found
    answer = served("/api/v1/export.csv", asked)
    assert dict(answer.headers)["Content-Disposition"] == (
        'attachment; filename="bwtop-yesterday-by-host-process.csv"'
    )
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert {row["host_id"]: row["hostname"] for row in rows} == {
        HOSTILE.id: "<img src=x onerror=alert(1)>\\x1b[2J\\u202e,*",
        FORMULA.id: "'=1+2",
    }


def test_unreachable_server_gets_one_line(nowhere: Served) -> None:
    for path in ("history", "hosts", "export.csv", "export.json"):
        refused = nowhere.refused(f"/api/v1/{path}")
        assert refused.status is HTTPStatus.SERVICE_UNAVAILABLE
        assert refused.why.startswith(f"{nowhere.reports.origin}: ")
        assert "refused" in refused.why
        assert "\n" not in refused.why
        assert refused.headers == (("Retry-After", "10"),)
    assert nowhere.json("/api/v1/about")["status"]["state"] == "past"


@pytest.mark.parametrize("path", ["live", "live.csv", "stream"])
def test_live_routes_are_refused_without_retry(served: Served, path: str) -> None:
    """A retry is useless: the refusal has no Retry-After."""
    refused = served.refused(f"/api/v1/{path}")
    assert (refused.status, refused.why) == (HTTPStatus.SERVICE_UNAVAILABLE, ELSEWHERE)
    assert refused.headers == ()


class Endless(FleetHistory):
    """A history whose server computes for ever."""

    def _open(self) -> Iterator[History]:
        self._connect().query("SELECT count() FROM system.numbers WHERE number % 2 = 3")
        raise AssertionError("it has no end")


def test_server_stops_a_query_whose_client_has_left(server: ClickHouse) -> None:
    """A new server notices, an old one stops when the time of the query is over."""
    made = reports_of(Endless(server.target.url(), lambda: Client(server.target, "", longest=8)))
    is_gone = threading.Event()
    with closing(server.client()) as client, ThreadPoolExecutor(1) as pool:

        def is_running() -> bool:
            found = client.query("SELECT query FROM system.processes")
            return any("system.numbers" in query for (query,) in found)

        try:
            http = HttpRequest("GET", "/", "", Message(), is_gone=is_gone.is_set)
            asking = pool.submit(made.ask, reports.HOSTS_AND_TIME, http)
            until(is_running)
            is_gone.set()
            assert isinstance(asking.exception(HANG), HttpError)
            until(lambda: not is_running())
        finally:
            is_gone.set()
            made.close()


# The program.


def rows(web: Serving, **headers: str) -> list[Any]:
    answer = web.ask("/api/v1/history?range=yesterday&by=host", headers=headers)
    assert answer.status == 200, answer
    found: list[Any] = answer.document["rows"]
    return found


@needs_root
def test_root_is_dropped(server: ClickHouse) -> None:
    with serving("--from", server.target.url()) as web:
        assert len(rows(web)) == len(HOSTS)
        found = status(web.pid)
        assert found["Uid"].split() == found["Gid"].split() == ["65534"] * 4
        assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert found["NoNewPrivs"] == "1"
        until(lambda: len(web.lines) > 3)
        assert web.lines[3:] == [f"bwtop: history of many hosts, from {server.target.url()}"]


@needs_root
def test_it_needs_no_root(server: ClickHouse) -> None:
    with serving("--from", server.target.url(), started=as_user) as web:
        assert len(rows(web)) == len(HOSTS)
        assert status(web.pid)["Uid"].split() == [str(USER)] * 4


def test_program_starts_without_the_server_and_recovers(tmp_path: Path) -> None:
    late = ClickHouse(tmp_path)
    with serving("--from", late.target.url()) as web:
        for _ in range(2):
            refused = web.ask("/api/v1/history")
            assert refused.status == 503
            assert refused.error.startswith(f"{late.target.url()}: ")
            assert "refused" in refused.error
        assert web.ask("/").status == web.ask("/healthz").status == 200
        try:
            late.start()
            assert "bwtop --ship ... --init" in web.ask("/api/v1/history").error
            late.init()
            with closing(late.client()) as client:
                hosts.send_past(WEB, hosts.yesterday(WEB), client)
            assert [row["host_id"] for row in rows(web)] == [WEB.id]
            late.kill()
            assert web.ask("/api/v1/history").status == 503
        finally:
            late.stop()
        assert web.stop() == 0
    assert not any("Traceback" in line for line in web.lines)
    assert len(web.lines) == 4, web.lines


def test_password_is_that_of_the_file(server: ClickHouse, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    url = f"clickhouse://writer@127.0.0.1:{server.port}/bwtop"
    for text, expected in (("not the one", 503), (PASSWORD, 200)):
        secret.write_text(f"{text}\n")
        with serving("--from", url, "--password-file", str(secret)) as web:
            answer = web.ask("/api/v1/history")
            assert (answer.status, text.encode() in answer.body) == (expected, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_signal_ends_it_while_the_server_is_silent(
    server: ClickHouse, number: signal.Signals
) -> None:
    with serving("--from", server.target.url()) as web:
        assert rows(web)
        server.signal(signal.SIGSTOP)
        try:
            with connect(web.port) as asking:
                asking.sendall(request(web.port, "/api/v1/history"))
                asked = time.monotonic()
                until(lambda: time.monotonic() > asked + 0.5)
                assert web.stop(number) == 0
                assert time.monotonic() - asked < 30
        finally:
            server.signal(signal.SIGCONT)
        assert not any("Traceback" in line for line in web.lines), web.lines
