"""The metrics as OTLP over HTTP in JSON, as a collector gets them."""

import gzip
import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from bwtop.metrics import otlp
from bwtop.metrics.otlp import OtlpExporter, document
from bwtop.metrics.otlp_target import HEADERS, PATH, OtlpTarget, headers, parse
from bwtop.metrics.table import METRICS, Type
from bwtop.metrics.totals import MetricsLabel
from bwtop.metrics.watch import BOUNDS, Watch
from bwtop.model.flows import Host, Identity, Traffic
from tests.build import HOSTILE, key, remote, sample
from tests.clickhouse.servers import free_port
from tests.history.recording import is_line
from tests.kernel.running import HANG
from tests.metrics.test_exposition import Behind
from tests.processes import until

OF_KIND: Final = {Type.COUNTER: "sum", Type.GAUGE: "gauge", Type.HISTOGRAM: "histogram"}


def watched(*names: str) -> Watch:
    """Return counters of 1009 bytes received by each name."""
    watch = Watch([MetricsLabel.UNIT])
    who = {key(n): Identity(name, unit="a.service" if n else None) for n, name in enumerate(names)}
    traffic = {one: {remote(): Traffic(1009, 0)} for one in who}
    watch.take(sample(traffic, identities=who, elapsed=1.5), 0.02)
    watch.take(sample(), 5.0)
    watch.sender = Behind()
    return watch


def attributes(listed: list[dict[str, Any]]) -> dict[str, str]:
    assert all(
        set(one) == {"key", "value"} and set(one["value"]) == {"stringValue"} for one in listed
    )
    assert all(one["value"]["stringValue"].isprintable() for one in listed)
    return {one["key"]: one["value"]["stringValue"] for one in listed}


def checked(found: dict[str, Any]) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Check the shape of ExportMetricsServiceRequest, as JSON of Protocol Buffers; return points by metric."""
    ((resource,),) = found.values()
    assert set(found) == {"resourceMetrics"}
    about = attributes(resource["resource"]["attributes"])
    assert about["service.name"] == "bwtop"
    assert set(about) == {
        "service.name",
        "service.version",
        "service.instance.id",
        "host.name",
        "host.id",
    }
    (scope,) = resource["scopeMetrics"]
    points: dict[str, list[tuple[dict[str, str], float]]] = {}
    known = {one.name.removesuffix("_total"): one for one in METRICS}
    for metric in scope["metrics"]:
        row = known[metric["name"]]
        kind = OF_KIND[row.type]
        assert set(metric) == {"name", "description", "unit", kind}
        assert metric["description"] == row.help
        assert metric["unit"] in ("By", "s", ""), "1 makes it a ratio in Prometheus"
        data = metric[kind]
        if kind != "gauge":
            assert data["aggregationTemporality"] == 2
            assert data.get("isMonotonic") is (True if kind == "sum" else None)
        for point in data["dataPoints"]:
            begun, now = int(point["startTimeUnixNano"]), int(point["timeUnixNano"])
            assert begun <= now <= time.time_ns()
            if kind == "histogram":
                counts = list(map(int, point["bucketCounts"]))
                assert sum(counts) == int(point["count"])
                assert len(counts) == len(point["explicitBounds"]) + 1
                continue
            assert isinstance(point.get("asInt", ""), str)
            assert isinstance(point.get("asDouble", 0.0), float)
            number = int(point["asInt"]) if "asInt" in point else point["asDouble"]
            points.setdefault(row.name, []).append((attributes(point["attributes"]), number))
    return points


def test_document_has_the_metrics_of_the_table() -> None:
    watch = watched("nginx", *HOSTILE)
    found = document(watch.figures(), time.time() - 60, time.time(), "record")
    points = checked(json.loads(json.dumps(found)))
    moved = points["bwtop_bytes_total"]
    assert sum(number for _, number in moved) == 1009 * (1 + len(HOSTILE))
    assert (
        {"process": "nginx", "direction": "rx", "protocol": "tcp", "loopback": "false"},
        1009,
    ) in moved
    assert any(labels.get("unit") == "a.service" for labels, _ in moved)
    assert points["bwtop_measured_seconds_total"] == [({}, 2.5)]
    assert ({"kind": "server"}, 2) in points["bwtop_ship_errors_total"]
    assert points["process_start_time_seconds"][0][1] <= time.time()
    assert "bwtop_recording" not in points, "unknown values are absent"
    metrics = found["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    (durations,) = (one["histogram"] for one in metrics if one["name"] == "bwtop_reading_seconds")
    (point,) = durations["dataPoints"]
    assert (point["count"], point["sum"]) == ("2", 5.02)
    assert point["explicitBounds"] == list(BOUNDS)
    assert point["bucketCounts"] == ["0", "0", "1", "0", "0", "0", "0", "1"]


def test_hosts_and_modes_are_instances_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus tells series apart by it; clones of a machine share its id."""
    figures = watched("nginx").figures()

    def instance(mode: str, host: Host) -> str:
        monkeypatch.setattr(otlp, "this_machine", lambda: host)
        (one,) = document(figures, 0.0, 1.0, mode)["resourceMetrics"]
        return attributes(one["resource"]["attributes"])["service.instance.id"]

    hosts = [Host("web1", "1" * 32), Host("web2", "1" * 32), Host("web1", "2" * 32)]
    found = [instance(mode, host) for mode in ("record", "serve") for host in hosts]
    assert len(set(found)) == 6
    assert found[0] == instance("record", hosts[0])


# The exchange.


@dataclass
class Collector:
    """A collector on loopback."""

    status: int = 200
    answer: bytes = b"{}"
    hangs: threading.Event | None = None
    """It answers once that is set."""
    port: int = 0
    documents: "queue.Queue[tuple[str, dict[str, str], dict[str, Any]]]" = field(
        default_factory=queue.Queue
    )

    def next(self) -> tuple[str, dict[str, str], dict[str, Any]]:
        return self.documents.get(timeout=HANG)


@contextmanager
def collecting(collector: Collector) -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            collector.documents.put((self.path, dict(self.headers), json.loads(body)))
            if collector.hangs:
                collector.hangs.wait(HANG)
            self.send_response(collector.status)
            self.send_header("Content-Length", str(len(collector.answer)))
            self.end_headers()
            self.wfile.write(collector.answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", collector.port), Handler) as server:
        collector.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()


def exporter(port: int, watch: Watch, lines: list[str], **more: Any) -> OtlpExporter:
    made = OtlpExporter(
        OtlpTarget(False, "127.0.0.1", port, PATH), watch, lines.append, "record", **more
    )
    made.start()
    return made


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "PERIOD", 0.05)
    monkeypatch.setattr(otlp, "CLOSE_SECONDS", HANG)


def test_collector_gets_documents_and_a_last_one() -> None:
    watch, lines = watched("nginx"), list[str]()
    with collecting(Collector()) as collector:
        made = exporter(collector.port, watch, lines, headers={"Authorization": "Bearer x"})
        path, sent, found = collector.next()
        assert (path, sent["Content-Type"]) == ("/v1/metrics", "application/json")
        assert sent["Authorization"] == "Bearer x"
        assert sum(n for _, n in checked(found)["bwtop_bytes_total"]) == 1009
        collector.next()
        watch.take(sample({key(0): {remote(): Traffic(0, 2003)}}), 0.0)
        made.close()
        while not collector.documents.empty():
            *_, found = collector.next()
        points = checked(found)
        assert sum(n for _, n in points["bwtop_bytes_total"]) == 3012, "right before the end"
        assert points["bwtop_otlp_documents_total"][0][1] >= 2
    assert lines == []


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (503, b"", "refused", "503 Service Unavailable"),
        (302, b"", "refused", "302 Found"),
        (
            200,
            b'{"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "\\u001b[2J"}}',
            "rejected",
            "points rejected: \\x1b[2J",
        ),
    ],
)
def test_errors_are_counted_and_told_once(
    status: int, answer: bytes, kind: str, words: str
) -> None:
    watch, lines = watched("nginx"), list[str]()
    with collecting(Collector(status, answer)) as collector:
        made = exporter(collector.port, watch, lines)
        for _ in range(4):
            collector.next()
        collector.status, collector.answer = 200, b"not json"
        for _ in range(3):
            collector.next()
        made.close()
    figures = made.figures()
    assert figures.errors[kind] >= 3
    assert figures.documents >= 2
    url = made._target.url()
    assert lines == [
        f"not exporting: {url}: {words}; counters go on",
        f"exporting to {url} again",
    ]
    assert all(map(is_line, lines))


@pytest.mark.parametrize("number", [b"1e400", b"[" * 60_000, b"-1", b"NaN", b'"x"'])
def test_hostile_answer_does_not_end_the_exporter(number: bytes) -> None:
    answer = b'{"partialSuccess": {"rejectedDataPoints": %s}}' % number
    with collecting(Collector(answer=answer)) as collector:
        made = exporter(collector.port, watched("nginx"), [])
        for _ in range(3):
            collector.next()
        made.close()
    assert made.figures().documents >= 3


def test_attempt_that_fails_in_any_way_is_counted() -> None:
    lines: list[str] = []
    made = OtlpExporter(
        OtlpTarget(False, "a..b", 4318, PATH), watched("nginx"), lines.append, "record"
    )
    made.start()
    await_errors(made)
    made.close()
    assert len(lines) == 1
    assert is_line(lines[0])


def await_errors(made: OtlpExporter) -> None:
    """Wait for two attempts without a connection."""
    until(lambda: made.figures().errors["connection"] >= 2)


def test_collector_that_starts_later_gets_all_bytes() -> None:
    watch, lines, port = watched("nginx"), list[str](), free_port()
    made = exporter(port, watch, lines)
    await_errors(made)
    with collecting(Collector(port=port)) as collector:
        *_, found = collector.next()
        points = checked(found)
        assert sum(n for _, n in points["bwtop_bytes_total"]) == 1009
        errors = {labels["kind"]: n for labels, n in points["bwtop_otlp_errors_total"]}
        assert errors["connection"] >= 2
        made.close()


def test_measuring_and_the_end_wait_for_no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "CLOSE_SECONDS", 0.1)
    watch, hangs = watched("nginx"), threading.Event()
    with collecting(Collector(hangs=hangs)) as collector:
        made = exporter(collector.port, watch, [])
        collector.next()
        for _ in range(100):
            watch.take(sample(), 0.0)
        made.close()
        assert not hangs.is_set()
        hangs.set()


# The address.


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/metrics"),
        ("http://otel/", "http://otel:4318/v1/metrics"),
        ("https://[::1]/own/path", "https://[::1]:443/own/path"),
        ("http://otel.example./", "http://otel.example.:4318/v1/metrics"),
    ],
)
def test_address_has_the_usual_port_and_path(text: str, url: str) -> None:
    assert parse(text).url() == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "otel",
        "grpc://otel",
        "http://",
        "http://a:0",
        "http://a:x",
        "http://a/?q",
        "http://a/\r\nb",
        "http://a..b:4318",
        f"http://{'a' * 64}.example",
        "http://u:p@a",
    ],
)
def test_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid address|credentials"):
        parse(text)


def test_headers_are_those_of_the_environment() -> None:
    text = "api-key=a%20b, X_Y =c==,bad name=1,empty=,n=\x7f,=1"
    expected = {"api-key": "a b", "X_Y": "c=="}
    assert headers({HEADERS[1]: text}) == expected
    assert headers({HEADERS[0]: "a=1", HEADERS[1]: text}) == {"a": "1"}
    assert headers({}) == {}
