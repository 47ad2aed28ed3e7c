"""A real Prometheus scrapes the real program: exact bytes by name, and how bwtop itself does."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.running import LAUNCHER, command, run, send_datagram, sink
from tests.kernel.talking import DOWN, UP, Service, receive_then_send, send_then_receive
from tests.kernel.test_history import place
from tests.metrics.server import Prometheus, example, prometheus
from tests.processes import ran, until
from tests.web.serving import TOKEN, Serving, as_user, serving

pytestmark = pytest.mark.kernel
__all__ = ["place"]  # the fixture


class Recording(Serving):
    """`bwtop --record --metrics`, from when it measures."""

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(r"metrics on .*:([0-9]+)/metrics$", line):
                self.port = int(found[1])
            if "recording to" in line:
                self._served.set()
        self._served.set()


@contextmanager
def recording(database: Path, *flags: str) -> Iterator[Recording]:
    process = subprocess.Popen(
        command("--record", "--db", str(database), "--metrics", "127.0.0.1:0", *flags),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Recording(process)
    try:
        yield running
        assert running.stop() == 0, running.lines
    finally:
        running.kill()


def called(name: str, action: Callable[[], object]) -> Callable[[], object]:
    """Return the action of a process of that name: bwtop asks for it at the first byte."""

    def named() -> None:
        Path("/proc/self/comm").write_text(name)
        action()

    return named


def by_kind(found: Prometheus, name: str) -> dict[tuple[str, str, str], float]:
    """Return the bytes that a name moved, by protocol, loopback and direction, as Prometheus has it."""
    return {
        (labels["protocol"], labels["loopback"], labels["direction"]): value
        for labels, value in found.query(f'bwtop_bytes_total{{process="{name}"}}')
    }


def check_exact_bytes(found: Prometheus) -> None:
    """Move known bytes, by TCP and UDP, and wait for them."""
    service = Service()
    service.talk(
        lambda client: called("one-client", lambda: send_then_receive(client))(),
        lambda server: called("one-server", lambda: receive_then_send(server))(),
    )
    with sink() as port:
        for size in (1009, 10_007, 40_009):
            run(called("one-sender", lambda size=size: send_datagram(port, size)))  # type: ignore[misc]
    expected = {
        "one-client": {("tcp", "true", "tx"): UP, ("tcp", "true", "rx"): DOWN},
        "one-server": {("tcp", "true", "tx"): DOWN, ("tcp", "true", "rx"): UP},
        "one-sender": {("udp", "true", "tx"): 51_025, ("udp", "true", "rx"): 0},
    }
    until(lambda: by_kind(found, "one-sender") == expected["one-sender"])
    assert {name: by_kind(found, name) for name in expected} == expected


@pytest.mark.alone  # a name that moves few of all bytes gets no counter of its own
def test_prometheus_has_the_bytes_of_a_recording_bwtop(place: Path, tmp_path: Path) -> None:
    with (
        recording(place / "history.db") as bwtop,
        prometheus(tmp_path, example("bwtop", f"127.0.0.1:{bwtop.port}")) as found,
    ):
        until(lambda: found.value("up") == 1)
        check_exact_bytes(found)
        assert found.value("bwtop_recording") == 1
        assert found.value("bwtop_flow_map_max_entries") == 2 * 65536
        assert found.value("bwtop_recorder_dropped_bytes_total") == 0
        assert found.value("bwtop_missed_events_total") == 0
        until(lambda: (found.value("rate(bwtop_reading_seconds_count[10s])") or 0) > 0.5)
        until(lambda: (found.value("bwtop_recorder_intervals_total") or 0) > 0)
        until(lambda: (found.value("max_over_time(bwtop_flow_map_entries[1m])") or 0) >= 3)
        assert (found.value("bwtop_recorder_lag_seconds") or 0) < 10
        (state,) = found.query("bwtop_info")
        assert state[0]["backend"] in ("fexit", "tracepoint", "kprobe")
        until(lambda: set(rules(found).values()) == {"ok"}, lambda: str(rules(found)))
        assert found.value('ALERTS{alertstate="firing"}') is None


def rules(found: Prometheus) -> dict[str, str]:
    """Return the example's alerts, and whether they could be evaluated."""
    (group,) = found.ask("rules")["groups"]
    return {rule["name"]: rule["health"] for rule in group["rules"]}


def test_what_is_exposed_passes_promtool_and_no_counter_goes_back(place: Path) -> None:
    with recording(place / "history.db") as bwtop, sink() as port:
        before: dict[str, float] = {}
        run(called('a"} 9\n\\b', lambda: send_datagram(port, 10_007)))
        until(
            lambda: (
                rb'process="a\"} 9\\x0a\\b",protocol="udp"} 10007.0' in bwtop.ask("/metrics").body
            )
        )
        for _ in range(4):
            run(lambda: send_datagram(port, 1009))
            text = bwtop.ask("/metrics").body.decode()
            done = ran(["promtool", "check", "metrics"], input=text)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            lines = [line for line in text.splitlines() if "_total" in line]
            after = {
                name: float(value)
                for name, _, value in (line.rpartition(" ") for line in lines)
                if not name.startswith("#")
            }
            assert all(after[name] >= value for name, value in before.items())
            assert "127.0.0.1" not in text
            before = after


@pytest.mark.alone  # a name that moves few of all bytes gets no counter of its own
def test_prometheus_has_the_bytes_of_a_serving_bwtop_that_knows_it(tmp_path: Path) -> None:
    token = tmp_path / "bwtop.token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with serving("--token-file", str(token), bind="0.0.0.0:0") as bwtop:
        assert bwtop.ask("/metrics").status == 401
        configuration = example("bwtop-remote", f"127.0.0.1:{bwtop.port}")
        assert "credentials_file: bwtop.token" in configuration
        with prometheus(tmp_path, configuration) as found:
            until(lambda: found.value("up") == 1)
            check_exact_bytes(found)
            assert found.value("bwtop_recording") is None, "with --no-record there is no recorder"
            token.write_text("another-token-than-before")
            until(lambda: found.value("up") == 0)
        assert bwtop.stop() == 0


def test_without_prometheus_client_all_else_is_served() -> None:
    without = (
        "import sys; sys.modules['prometheus_client'] = None;"
        f" sys.path.insert(0, {str(LAUNCHER.parent)!r});"
        " import bwtop.cli; bwtop.cli.main(sys.argv[1:])"
    )
    with serving(started=lambda *flags: [*command()[:1], "-c", without, *flags]) as bwtop:
        assert "apt install python3-prometheus-client" in bwtop.ask("/metrics").error
        assert bwtop.ask("/api/v1/live").status == 200
        assert bwtop.stop() == 0


def test_another_user_needs_to_be_trusted(place: Path) -> None:
    with recording(place / "history.db", "--trust-user", "12345") as bwtop:
        for uid, status in ((0, 200), (12345, 200), (23456, 401)):
            assert bwtop.ask("/metrics", uid=uid).status == status, uid
        assert "--trust-user NAME" in bwtop.ask("/metrics", uid=23456).error
        assert bwtop.ask("/healthz", uid=23456).status == 200


@pytest.mark.alone  # a name that moves few of all bytes gets no counter of its own
def test_while_another_one_measures_what_it_records_is_counted(place: Path) -> None:
    """By who serves its history and may not measure."""
    database = place / "history.db"
    line = b'bwtop_bytes_total{direction="tx",loopback="true",process="one-sender",protocol="udp"} 1009.0\n'
    with (
        recording(database) as bwtop,
        serving("--db", str(database), started=as_user) as web,
        sink() as port,
    ):
        until(lambda: b'backend="history"' in web.ask("/metrics").body)
        run(called("one-sender", lambda: send_datagram(port, 1009)))
        until(lambda: line in web.ask("/metrics").body)
        assert line in bwtop.ask("/metrics").body
        assert b"bwtop_recorder" not in web.ask("/metrics").body
        assert b"bwtop_flow_map" not in web.ask("/metrics").body
        assert web.stop() == 0
