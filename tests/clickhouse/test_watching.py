"""The command beside hosts that ship: batch mode and the full screen, as users see them."""

import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.clickhouse.client import READ_SECONDS, Client, FleetError
from bwtop.clickhouse.playback import STEP
from bwtop.clickhouse.target import Target
from bwtop.sqlite.delta import Delta
from tests.build import eventually, key
from tests.clickhouse.hosts import BACKUP, DATABASE, HOSTILE, NGINX, UPLINK, WEB
from tests.clickhouse.servers import ClickHouse, free_port
from tests.clickhouse.stores import ship
from tests.history.keep import Kept
from tests.kernel.running import HANG, command, start
from tests.kernel.test_history import recording
from tests.processes import ran, until
from tests.screen.terminal import Terminal

HOSTS: Final = (WEB, DATABASE, HOSTILE)


class Sending:
    """Hosts that record an interval every second, and ship every ten seconds at different moments."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.began = self._second = int(time.time()) - 30
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        assert self._ready.wait(HANG)

    def _work(self) -> None:
        hosts = {host: Kept() for host in HOSTS}
        due = dict.fromkeys(HOSTS, 0.0)
        with closing(Client(self.target, "")) as client:
            while not self._over.wait(0.5):
                self._record(hosts.values())
                for number, (host, kept) in enumerate(hosts.items()):
                    if time.time() >= due[host]:
                        with suppress(FleetError):  # it waits until the server is there again
                            ship(kept, client, host)
                            due[host] = (time.time() + 2 * number) // 5 * 5 + 5 - 2 * number
                self._ready.set()
        for kept in hosts.values():
            kept.connection.close()

    def _record(self, hosts: Collection[Kept]) -> None:
        """Record the seconds since the last call; each has an amount of its own."""
        while self._second + 1 <= time.time():
            flows = {
                (key(100), NGINX): {UPLINK: (self._second - self.began, 1)},
                (key(101), BACKUP): {UPLINK: (7, 0)},
            }
            for kept in hosts:
                kept.append(Delta(self._second, 1.0, flows))
            self._second += 1

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def sending_to(target: Target) -> Iterator[Sending]:
    made = Sending(target)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def sending(running: ClickHouse) -> Iterator[Sending]:
    """Return hosts that ship to a server that no test stops."""
    target = replace(running.target, database="watching")
    running.init(target.database)
    with sending_to(target) as made:
        yield made


def watching(target: Target, *flags: str) -> list[str]:
    return command("--from", target.url(), "--no-resolve", *flags)


def printed(target: Target, *flags: str) -> tuple[list[dict[str, Any]], str]:
    bwtop = watching(target, "--batch", "--format", "json", *flags)
    found = ran(bwtop, timeout=3 * HANG, check=True)
    return [json.loads(line) for line in found.stdout.splitlines()], found.stderr


@contextmanager
def watcher(target: Target) -> Iterator[subprocess.Popen[str]]:
    """Run the command with a time limit."""
    process = subprocess.Popen(
        watching(target, "--batch", "--format", "json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(3 * HANG, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_batch_prints_each_second_of_each_host_once(sending: Sending) -> None:
    documents, said = printed(sending.target, "-n", "14")
    begins, *later = said.splitlines()
    assert begins == "bwtop: watching 3 hosts, 15 s late"
    told = (sending.target.url(), "late: ", "back to normal")  # of a server that was held up
    assert all(any(words in line for words in told) for line in later), later
    moved: dict[str, list[tuple[int, int]]] = {}
    begun: dict[str, dict[str, Any]] = {}
    for document in documents:
        for process in document["processes"]:
            if process["name"] == "nginx":
                moved.setdefault(process["hostname"], []).append((process["rx"], process["tx"]))
                begun.setdefault(process["hostname"], document)
    assert moved.keys() == {host.name for host in HOSTS}
    for host, seconds in moved.items():
        count = sum(tx for _, tx in seconds)
        assert count >= 12
        first = (sum(rx for rx, _ in seconds) - count * (count - 1) // 2) // count
        assert sum(rx for rx, _ in seconds) == sum(range(first, first + count)), "no gap"
        at = sending.began + first
        shown = datetime.fromisoformat(begun[host]["time"]).timestamp()
        late = HANG if any("late: " in line for line in later) else 0.0
        assert 0 <= shown - at <= begun[host]["interval"] + STEP - 5 + late, "when it moved"


def test_batch_of_one_host_filtered_and_sorted(sending: Sending) -> None:
    documents, said = printed(sending.target, "-n", "2", "--host", "db*", "--process", "back*")
    assert "1 host" in said
    found = {(p["hostname"], p["name"]) for d in documents for p in d["processes"]}
    assert found == {(DATABASE.name, "backup")}


def test_batch_reports_a_server_outage_and_its_end(own: ClickHouse) -> None:
    with sending_to(own.target), watcher(own.target) as process:
        assert process.stderr
        assert process.stdout
        assert "watching 3 hosts" in process.stderr.readline()
        documents: list[dict[str, Any]] = []
        stdout = process.stdout  # read all the time: who takes nothing is given up at the end
        reader = threading.Thread(target=lambda: documents.extend(map(json.loads, stdout)))
        reader.start()
        assert eventually(lambda: bool(documents))
        own.kill()
        lines = iter(process.stderr.readline, "bwtop: back to normal\n")
        first = next(line for line in lines if "late: " not in line)
        assert own.target.url() in first
        own.start()
        assert all(own.target.url() in line or "late: " in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG) == 0
        reader.join(HANG)
    assert all(d["processes"] for d in documents if d["interval"] > 1.5), "no time without rows"


def test_the_screen_shows_all_hosts(sending: Sending) -> None:
    with Terminal(watching(sending.target), 120, 30) as terminal:
        shown = terminal.wait_for(lambda text: len(re.findall(r"^▸", text, re.MULTILINE)) == 6)
        head = shown.splitlines()[0]
        assert re.match(rf"bwtop {re.escape(sending.target.url())}  3 hosts, \d+ s late", head)
        assert re.search(r"^ HOST +PID USER +PROCESS", shown, re.MULTILINE)
        assert "\x1b" not in shown
        for host in (WEB, DATABASE):
            assert re.search(rf"^▸{host.name[:10]}.* 100 .* nginx", shown, re.MULTILINE)
        terminal.type("/host:web*\r")
        terminal.wait_for(lambda text: len(re.findall(r"^▸", text, re.MULTILINE)) == 2)
        terminal.type("\x1b")
        terminal.wait_for(lambda text: len(re.findall(r"^▸", text, re.MULTILINE)) == 6)
        terminal.type("g" * 7)
        terminal.wait_for(lambda text: "by host" in text and f" {WEB.name}" in text)
        terminal.type("q")
        assert terminal.wait() == 0


def test_hanging_server_delays_neither_keys_nor_exit(own: ClickHouse) -> None:
    with (
        sending_to(own.target) as hosts,
        watcher(own.target) as process,
        Terminal(watching(own.target), 100, 30) as terminal,
    ):
        terminal.wait_for("nginx")
        assert process.stdout
        process.stdout.readline()
        hosts.close()
        own.signal(signal.SIGSTOP)
        terminal.watch(2.5)
        process.send_signal(signal.SIGTERM)
        terminal.type("g" * 7)
        terminal.wait_for("by host", READ_SECONDS / 2)
        terminal.type("q")
        assert terminal.wait(READ_SECONDS / 2) == 0
        assert process.wait(HANG) == 0


@pytest.mark.parametrize("flags", [(), ("--batch",)])
def test_unreachable_server_opens_no_screen(flags: tuple[str, ...]) -> None:
    address = f"clickhouse://127.0.0.1:{free_port()}/bwtop"
    with Terminal(command("--from", address, *flags), 120, 30) as terminal:
        assert terminal.wait() == 2
        assert terminal.text().strip().count("\n") == 0
        assert "Connection refused" in terminal.text()
        assert b"\x1b" not in terminal.raw


COUNT: Final = 80
SIZE: Final = 1000


def datagrams() -> None:
    """Send known bytes for about eight seconds."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as end:
        end.bind(("127.0.0.1", 0))
        for _ in range(COUNT):
            end.sendto(bytes(SIZE), ("127.0.0.1", end.getsockname()[1]))
            time.sleep(0.1)


@pytest.mark.kernel
def test_another_host_sees_every_byte(target: Target, server: Client, tmp_path: Path) -> None:
    with recording(tmp_path / "history.db", "--ship", target.url()):
        until(lambda: server.query("SELECT count() FROM span WHERE level = 0") != [(0,)])
        with watcher(target) as process:
            assert process.stdout
            process.stdout.readline()
            child = start(datagrams)
            sent, seconds = 0, 0
            for line in process.stdout:
                for row in json.loads(line)["processes"]:
                    if row["pid"] == child.pid:
                        sent, seconds = sent + row["tx"], seconds + 1
                        assert row["hostname"] == socket.gethostname()
                if sent >= COUNT * SIZE:
                    break
            child.wait()
        assert sent == COUNT * SIZE
        assert seconds >= 4, "as it moved, not batch by batch"
