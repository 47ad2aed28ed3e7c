"""What people and programs read, from real traffic."""

import csv
import ctypes
import io
import os
import pty
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from bwtop.capture.selftest import moves
from tests.kernel.running import HANG, WITHOUT_CGROUPS, Bwtop, Document, command, run, send_datagram
from tests.kernel.talking import DOWN, UP, Service, receive_then_send, send_then_receive
from tests.processes import ran, refused_line

pytestmark = pytest.mark.kernel

PR_SET_NAME = 15


@contextmanager
def printing(*flags: str, environment: dict[str, str] | None = None) -> Iterator[list[str]]:
    """Run a bwtop of one long interval; what it printed is in the list once the block is left."""
    process = subprocess.Popen(
        command("--batch", "--no-resolve", "--no-record", "-d", "600", *flags),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stderr
    assert "measuring" in process.stderr.readline()
    printed: list[str] = []
    yield printed
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANG)
    assert (process.returncode, err) == (0, "")
    printed += out.splitlines()


HOSTILE = b"\x1b[2J\x9b31m\n\r\x07"
STRANGE = "naïve日本".encode()


def send_as(name: bytes) -> int:
    """Send a datagram under a name; return the pid."""

    def named() -> None:
        ctypes.CDLL(None).prctl(PR_SET_NAME, name)
        send_datagram(9, 1009)

    return run(named)


@dataclass(frozen=True)
class Printed:
    """What instances printed of the same interval, and who moved bytes in it."""

    document: Document
    udp: Document
    none: Document
    csv: list[str]
    narrow: list[str]
    wide: list[str]
    client: int
    server: int
    hostile: int
    strange: int


@pytest.fixture(scope="module")
def printed() -> Printed:
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    with (
        Bwtop("-d", "600") as every,
        Bwtop("-d", "600", "--udp", "--remote", "127.0.0.0/8") as udp,
        Bwtop("-d", "600", "--process", "no such") as none,
        printing("--format", "csv", environment=ascii_only) as lines,
        printing("-s", "pid", environment=ascii_only | {"COLUMNS": "57"}) as narrow,
        printing("-s", "pid", environment={"COLUMNS": "200"}) as wide,
    ):
        client, server = Service().talk(send_then_receive, receive_then_send)
        hostile, strange = send_as(HOSTILE), send_as(STRANGE)
    (document,), (udp_only,), (nothing,) = every.documents, udp.documents, none.documents
    views = (lines, narrow, wide)
    return Printed(document, udp_only, nothing, *views, client, server, hostile, strange)


def test_every_view_gives_the_same_numbers(printed: Printed) -> None:
    """JSON, CSV and table, and the sums within each."""
    document, client, server = printed.document, printed.client, printed.server
    by_process = {p["pid"]: (p["rx"], p["tx"]) for p in document["processes"]}
    assert by_process[client] == (DOWN, UP)
    assert by_process[server] == (UP, DOWN)
    assert document["total"] == {
        way: sum(p[way] for p in document["processes"]) for way in ("rx", "tx")
    }

    rx: Counter[int] = Counter()
    tx: Counter[int] = Counter()
    for row in csv.DictReader(io.StringIO("\n".join(printed.csv))):
        rx[int(row["pid"])] += int(row["rx"])
        tx[int(row["pid"])] += int(row["tx"])
    assert {pid: (rx[pid], tx[pid]) for pid in (client, server)} == {
        pid: by_process[pid] for pid in (client, server)
    }

    (row_of_client,) = (line for line in printed.wide if re.match(rf" *{client} ", line))
    assert row_of_client.split()[-4:] == ["768.0", "KiB", "976.6", "KiB"]


def test_strange_names_reach_no_terminal(printed: Printed) -> None:
    """Escape sequences stay words, and a name that the locale cannot write ends nothing."""
    column = printed.csv[0].split(",").index("pid")
    for lines, before in ((printed.narrow, " *"), (printed.csv, f"([^,]*,){{{column}}}")):
        assert all(line.isprintable() for line in lines)
        for pid, name in ((printed.hostile, "\\x1b[2J"), (printed.strange, "na\\xefve")):
            (line,) = (line for line in lines if re.match(rf"{before}{pid}\b", line))
            assert name in line


def test_filters_choose_flows_and_totals_alike(printed: Printed) -> None:
    assert printed.client not in {p["pid"] for p in printed.udp["processes"]}
    (mine,) = (p for p in printed.udp["processes"] if p["pid"] == printed.hostile)
    assert [(r["proto"], r["tx"]) for r in mine["remotes"]] == [("udp", 1009)]
    assert printed.udp["total"]["tx"] == sum(p["tx"] for p in printed.udp["processes"])
    assert (printed.none["processes"], printed.none["total"]) == ([], {"rx": 0, "tx": 0})


def test_table_fits_the_terminal(printed: Printed) -> None:
    assert max(len(line) for line in printed.narrow if "\\x" not in line) <= 57
    assert max(map(len, printed.wide)) == 200


def test_without_flags_it_prints_five_intervals_and_says_so() -> None:
    result = ran(command("-d", "0.1", "--format", "json"))
    assert result.returncode == 0
    assert result.stdout.count("\n") == 5
    assert "printing 5 intervals" in result.stderr


IN_PID_NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]
"""Like a container that does not share the host's PIDs."""


@pytest.mark.parametrize("prefix", [[], IN_PID_NAMESPACE], ids=["host", "PID namespace"])
def test_check_says_what_this_kernel_allows(prefix: list[str]) -> None:
    result = ran([*prefix, *command("--check")])
    assert (result.returncode, result.stderr) == (0, "")
    assert "tracepoint: works here" in result.stdout
    assert result.stdout.count(" (selected)\n") == 1
    assert "  raw tracepoint sock_send_length: attached\n" in result.stdout
    assert "  fexit tcp_sendmsg: " in result.stdout, "refused on some kernels, with the reason"
    proof = result.stdout.partition("known bytes over loopback, counted by tracepoint:\n")[
        2
    ].splitlines()[: len(moves(sees_datagrams=False))]
    assert len(proof) == len(moves(sees_datagrams=False))
    assert all(line.endswith(": exact") for line in proof)


def test_check_gives_the_reason_of_what_is_missing() -> None:
    result = ran([*WITHOUT_CGROUPS, *command("--check")])
    assert result.returncode == 0
    assert "  cgroup sendmsg4: refused: no cgroup v2 hierarchy is mounted\n" in result.stdout
    assert "so the peer of unconnected UDP (sent over IPv4) shows as '*'" in result.stdout
    assert (
        "UDP over IPv6, unconnected: exact, but for a remote that is not known ('*')\n"
        in result.stdout
    )


def test_a_kernel_that_refuses_gets_one_line_with_its_own_reason() -> None:
    """Even root may load nothing without the capabilities for it."""
    powerless = ["setpriv", "--bounding-set", "-perfmon,-sys_admin", "--"]
    line = refused_line(ran([*powerless, *command("--batch")]))
    assert "no backend works here: fexit: raw tracepoint sched_process_exec: EPERM" in line
    assert "tracepoint: raw tracepoint sched_process_exec: EPERM" in line
    assert "it needs kernel 6.3 or newer" in line
    assert "kprobe: " in line


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        (">/dev/full", 2, "bwtop: No space left on device\n"),
        (">&-", 2, "bwtop: standard output is closed\n"),
        ("2>&-", 0, ""),
        ("<&-", 0, "bwtop: measuring (backend: tracepoint)\n"),
    ],
)
def test_output_that_cannot_be_written(redirection: str, status: int, said: str) -> None:
    line = f"{' '.join(command('--batch', '--no-record', '-n', '1', '-d', '0.1'))} {redirection}"
    result = ran(["sh", "-c", line])
    assert result.returncode == status
    assert (
        result.stderr.removeprefix("bwtop: measuring (backend: tracepoint)\n" if status else "")
        == said
    )


def test_output_is_flushed_line_by_line_to_a_terminal() -> None:
    """On a terminal too: a row of a process that moves bytes now is there within two seconds."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("--batch", "--no-resolve", "-n", "60", "--process", "visible"),
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert process.stderr
    assert b"measuring" in process.stderr.readline()

    def visible() -> None:
        ctypes.CDLL(None).prctl(PR_SET_NAME, b"visible")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(20):
                sock.sendto(bytes(1009), ("127.0.0.1", 9))
                time.sleep(0.1)

    row = f"{run(visible)} root     visible".encode()
    seen = b""
    while not (row in seen and b"TOTAL  1 process " in seen):
        seen += os.read(ours, 65536)
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(HANG) == 0
    os.close(ours)
