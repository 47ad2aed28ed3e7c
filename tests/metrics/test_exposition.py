"""Test the exposition: complete, well formed, consistent, and parsed back unchanged."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from bwtop import __version__
from bwtop.capture.session import Fill
from bwtop.clickhouse.shipper import ERRORS, SendingFigures
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.metrics.exposition import Exposition
from bwtop.metrics.table import METRICS, Type
from bwtop.metrics.totals import OTHER, MetricsLabel, label
from bwtop.metrics.watch import BOUNDS, READINGS, ExportFigures, Watch
from bwtop.metrics.watch import ERRORS as EXPORT_ERRORS
from bwtop.model.flows import Identity, Loss, Traffic
from bwtop.model.sample import Sample
from bwtop.sqlite.recorder import Recorder, RecorderState
from bwtop.sqlite.writer import RecordingOptions
from tests.build import HOSTILE, key, remote, sample
from tests.kernel.running import HANG
from tests.processes import ran, until

Labels = frozenset[tuple[str, str]]


class Behind:
    """A spool with a backlog."""

    def figures(self) -> SendingFigures:
        errors = {"connection": 3, "server": 2, "history": 0}
        return SendingFigures(17, 23.5, 1000, errors, 1.7e9, -3600.5)


class Exported:
    """An exporter to a collector that refuses."""

    def figures(self) -> ExportFigures:
        return ExportFigures(5, dict.fromkeys(EXPORT_ERRORS, 1))


class Readings:
    """A reader of prepared samples."""

    def __init__(self, *samples: Sample, seconds: float = 0.0) -> None:
        self.samples = list(samples)
        self.seconds = seconds

    def read(self) -> Sample:
        time.sleep(self.seconds)
        return self.samples.pop(0)


def measurement(
    readings: Readings,
    backend: str = "fexit",
    fill: Callable[[], Fill] | None = None,
    **others: Any,
) -> Measurement:
    status = Status("")
    return Measurement(
        readings=readings,
        backend=backend,
        status=lambda: status,
        close=lambda _: None,
        fill=fill,
        **others,
    )


def parsed(text: str) -> dict[str, dict[Labels, float]]:
    """Return values by sample name and labels, as parsed by prometheus_client."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]  # of its own
        for one in family.samples:
            values = found.setdefault(one.name, {})
            labels = frozenset(one.labels.items())
            assert labels not in values, one
            values[labels] = one.value
    return found


def exposed(watch: Watch) -> dict[str, dict[Labels, float]]:
    return parsed(Exposition(watch).text().decode())


def value(watch: Watch, name: str, **labels: str) -> float:
    return exposed(watch)[name][frozenset(labels.items())]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(RecordingOptions(tmp_path / "history.db"))
    made.open()
    made.start()
    yield made
    made.close()


@pytest.fixture
def full(recorder: Recorder) -> Watch:
    """Return a watch with a value for every metric."""
    watch = Watch()
    reading = sample(
        {key(1): {remote(): Traffic(1009, 2003)}},
        identities={key(1): Identity("curl")},
        loss=Loss(1, 2, 3, 4, 5, 6),
    )
    readings = Readings(reading)
    watch.over(
        measurement(readings, fill=lambda: Fill(7, 65536), recorder=recorder)
    ).readings.read()
    watch.sender, watch.exporter = Behind(), Exported()
    return watch


# The table.


def test_exactly_the_table_is_exposed(full: Watch) -> None:
    text = Exposition(full).text().decode()
    told = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert told == [[metric.name, metric.type] for metric in METRICS]
    for metric in METRICS:
        assert f"# HELP {metric.name} {metric.help}\n" in text
        assert metric.name.startswith(("bwtop_", "process_"))
        assert not metric.help.endswith(".")
        for one in parsed(text).get(metric.name, {}):
            assert {name for name, _ in one} == set(metric.labels)
    assert "192.0.2.1" not in text, "remotes are not exposed"
    assert '443"' not in text, "a port in a label; digits of a number may be these"


def test_prometheus_own_linter_has_no_complaint(full: Watch) -> None:
    done = ran(["promtool", "check", "metrics"], input=Exposition(full).text().decode())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What is known, and what is not.


def test_unknown_values_are_absent() -> None:
    found = exposed(Watch())
    assert {name for name in found if not name.startswith("process_")} == {"bwtop_info"}, (
        "a server that shows the past alone measures nothing"
    )
    assert found["bwtop_info"] == {frozenset({("version", __version__), ("backend", "none")}): 1}


def test_counters_begin_with_the_measurement() -> None:
    watch = Watch()
    watch.over(measurement(Readings()))
    found = exposed(watch)
    assert len(found["bwtop_bytes_total"]) == 12
    assert set(found["bwtop_bytes_total"].values()) == {0}
    absent = ("bwtop_flow_map", "bwtop_record", "bwtop_history", "bwtop_spool", "bwtop_ship")
    assert not [name for name in found if name.startswith(absent)]


def test_open_metrics_say_since_when_counters_count() -> None:
    before = time.time()
    watch = Watch()
    exposition = Exposition(watch)
    watch.over(measurement(Readings()))
    watch.take(sample(), 0.1)
    text = exposition.text(is_open=True).decode()
    found = {
        one.name: one
        for family in open_metrics_families(text)  # type: ignore[no-untyped-call]  # of its own
        for one in family.samples
    }
    for metric in METRICS:
        if metric.type is Type.COUNTER and metric.name in found:
            created = found[f"{metric.name.removesuffix('_total')}_created"]
            since = found["process_start_time_seconds"].value if metric.is_own else before
            assert since <= created.value <= (since if metric.is_own else time.time())
    assert "_created" not in exposition.text().decode()
    classic = {name for name in exposed(watch) if not name.endswith("_created")}
    assert {name for name in found if not name.endswith("_created")} == classic


def test_followed_history_has_its_own_backend() -> None:
    watch = Watch()
    watch.over(measurement(Readings(), "", following=True))
    assert value(watch, "bwtop_info", version=__version__, backend="history") == 1


def test_losses_add_up() -> None:
    watch = Watch()
    for _ in range(2):
        watch.take(sample(loss=Loss(1, 20, 300, 4000, 50_000, 600_000)), 0.0)
    for kind, updates, lost in (("remote", 2, 40), ("process", 600, 8000)):
        assert value(watch, "bwtop_lost_updates_total", kind=kind) == updates
        assert value(watch, "bwtop_lost_bytes_total", kind=kind) == lost
    assert value(watch, "bwtop_unnamed_processes_total") == 100_000
    assert value(watch, "bwtop_missed_events_total") == 1_200_000


def test_readings_are_timed() -> None:
    watch = Watch()
    readings = Readings(sample(elapsed=1.5), sample(elapsed=2.0), seconds=0.05)
    watched = watch.over(measurement(readings))
    watched.readings.read()
    watched.readings.read()
    found = exposed(watch)
    assert value(watch, "bwtop_reading_seconds_count") == 2
    assert 0.1 <= value(watch, "bwtop_reading_seconds_sum") < HANG
    assert value(watch, "bwtop_measured_seconds_total") == 3.5
    buckets = {dict(labels)["le"]: n for labels, n in found["bwtop_reading_seconds_bucket"].items()}
    assert list(map(float, buckets)) == [*BOUNDS, float("inf")]
    assert (buckets["0.03"], buckets["+Inf"]) == (0, 2)


@pytest.mark.parametrize("seconds", [0.0, *BOUNDS, 3.01, 1e9])
def test_bound_belongs_to_the_bucket_below(seconds: float) -> None:
    watch = Watch()
    watch.take(sample(), seconds)
    for bound in BOUNDS:
        found = value(watch, "bwtop_reading_seconds_bucket", le=str(bound))
        assert found == (seconds <= bound)


def test_fullest_map_is_reported_for_a_minute() -> None:
    watch = Watch()
    watch.take(sample(), 0.0, Fill(900, 1000))
    for entries in range(READINGS - 1):
        watch.take(sample(), 0.0, Fill(entries, 1000))
        assert value(watch, "bwtop_flow_map_entries") == 900
    watch.take(sample(), 0.0, Fill(3, 1000))
    assert value(watch, "bwtop_flow_map_entries") == READINGS - 2
    assert value(watch, "bwtop_flow_map_max_entries") == 1000


def test_recording_is_absent_where_another_bwtop_records(tmp_path: Path) -> None:
    """That is no fault; an alert on 0 fired as long as both ran."""
    recorder = Recorder(RecordingOptions(tmp_path / "history.db"))
    watch = Watch()
    watch.over(measurement(Readings(sample()), recorder=recorder)).readings.read()
    recorder.state = RecorderState(other="bwtop (pid 7)")
    assert "bwtop_recording" not in exposed(watch)
    recorder.state = RecorderState(fault="the disk is full")
    assert value(watch, "bwtop_recording") == 0


def test_recorder_and_spool_metrics(full: Watch, recorder: Recorder) -> None:
    assert value(full, "bwtop_recording") == 1
    for name in ("lag_seconds", "waiting_intervals", "intervals_total", "dropped_bytes_total"):
        assert value(full, f"bwtop_recorder_{name}") == 0, name
    recorder.put(sample({key(1): {remote(): Traffic(1, 1)}}))
    until(lambda: value(full, "bwtop_recorder_intervals_total") >= 1)
    assert value(full, "bwtop_recorder_lag_seconds") < HANG
    assert value(full, "bwtop_spool_intervals") == 17
    assert value(full, "bwtop_spool_lag_seconds") == 23.5
    assert value(full, "bwtop_ship_rows_total") == 1000
    assert {kind: value(full, "bwtop_ship_errors_total", kind=kind) for kind in ERRORS} == {
        "connection": 3,
        "server": 2,
        "history": 0,
    }
    assert value(full, "bwtop_ship_last_success_timestamp_seconds") == 1.7e9
    assert value(full, "bwtop_ship_clock_offset_seconds") == -3600.5


def test_use_of_the_machine_is_that_of_this_process() -> None:
    """Prometheus' own library counts the same, but is not confined."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    watch = Watch()
    with (Path("/dev/null")).open(), Path("/dev/null").open():
        found = exposed(watch)
        for name, slack in (
            ("process_cpu_seconds_total", 5.0),
            ("process_resident_memory_bytes", 100e6),
            ("process_open_fds", 5),
            ("process_start_time_seconds", 2.0),
        ):
            assert found[name][frozenset()] == pytest.approx(
                registry.get_sample_value(name), abs=slack
            )
    assert found["process_open_fds"][frozenset()] == value(watch, "process_open_fds") + 2


def test_further_labels_are_shown_where_asked_for() -> None:
    watch = Watch([MetricsLabel.UNIT, MetricsLabel.CONTAINER, MetricsLabel.UNIT])
    who = {key(1): Identity("nginx", unit="web.service"), key(2): Identity("nginx")}
    watch.take(sample({one: {remote(): Traffic(7, 0)} for one in who}, identities=who), 0.0)
    labels = {"process": "nginx", "direction": "rx", "protocol": "tcp", "loopback": "false"}
    for unit in ("web.service", ""):
        assert value(watch, "bwtop_bytes_total", unit=unit, container="", **labels) == 7


# Names, and numbers.


@given(st.lists(st.text(max_size=30) | st.sampled_from(HOSTILE), max_size=20))
@example(list(HOSTILE))
@example(['a"b', "a\\b", "a\\\\", "{}", 'x",process="y', "# HELP", "\\n", "NaN"])
def test_names_are_parsed_back_unchanged(names: list[str]) -> None:
    watch = Watch()
    keys = [key(number) for number in range(len(names))]
    watch.take(
        sample(
            {one: {remote(): Traffic(1, 0)} for one in keys},
            identities=dict(zip(keys, map(Identity, names), strict=True)),
        ),
        0.0,
    )
    found = exposed(watch)["bwtop_bytes_total"]
    assert {dict(labels)["process"] for labels in found} == {OTHER, *map(label, names)}
    assert sum(found.values()) == len(names)


@given(st.integers(0, 2**53), st.integers(0, 2**53))
def test_bytes_are_exact(rx: int, tx: int) -> None:
    watch = Watch()
    reading = sample(
        {key(1): {remote("127.0.0.1"): Traffic(rx, tx)}}, identities={key(1): Identity("curl")}
    )
    watch.take(reading, 0.0)
    if rx or tx:
        labels = {"process": "curl", "protocol": "tcp", "loopback": "true"}
        assert value(watch, "bwtop_bytes_total", direction="rx", **labels) == rx
        assert value(watch, "bwtop_bytes_total", direction="tx", **labels) == tx


def test_each_exposition_is_consistent() -> None:
    """Scrape during readings that each add equal amounts in both directions and for two names."""
    watch = Watch()
    reading = sample(
        {key(n): {remote(): Traffic(1009, 1009)} for n in (1, 2)},
        identities={key(1): Identity("one"), key(2): Identity("two")},
    )
    done = threading.Event()

    def measure() -> None:
        while not done.is_set():
            watch.take(reading, 0.0)

    thread = threading.Thread(target=measure)
    thread.start()
    last = 0.0
    try:
        for _ in range(200):
            found = exposed(watch)["bwtop_bytes_total"]
            own = {n for labels, n in found.items() if ("process", OTHER) not in labels}
            assert len(own) <= 1
            now = max(own, default=0.0)
            assert now >= last
            last = now
    finally:
        done.set()
        thread.join()
    assert last > 0


def test_slow_scraper_does_not_block_measuring(full: Watch) -> None:
    families = iter(Exposition(full).collect())
    next(families)
    measuring = threading.Thread(target=full.take, args=(sample(), 0.0), daemon=True)
    measuring.start()
    measuring.join(10)
    assert not measuring.is_alive()
    next(families)


def test_age_is_of_the_last_reading() -> None:
    watch = Watch()
    time.sleep(0.01)
    assert watch.age() >= 0.01
    began = time.monotonic()
    watch.take(sample(), 0.0)
    assert watch.age() <= time.monotonic() - began
