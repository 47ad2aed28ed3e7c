"""The real program records what it measures, and reports it; also to others than root."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bwtop.history.calendar import HOUR
from bwtop.measure.sources import NEEDS_ROOT
from bwtop.sqlite.lock import holder
from tests.kernel.running import HANG, Bwtop, command, command_as, run, send_datagram, sink
from tests.processes import USER, ran, refused_line, until

pytestmark = pytest.mark.kernel


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a directory of an ordinary user's; pytest's own are within one of root's."""
    with tempfile.TemporaryDirectory(prefix="bwtop-test-") as directory:
        os.chown(directory, USER, USER)
        yield Path(directory)


@contextmanager
def recording(database: Path, *flags: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """`bwtop --record`, from the line that says so on."""
    process = subprocess.Popen(
        command("--record", "--db", str(database), *flags),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stderr
    try:
        assert "recording to" in process.stderr.readline()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


def stop(process: subprocess.Popen[str]) -> int:
    """End a process by SIGTERM; return its exit status."""
    process.terminate()
    return process.wait(HANG)


def history(database: Path, *flags: str, uid: int = 0) -> Any:
    """Return what `bwtop --history` says of all times in JSON."""
    asked = ["--history", "all", "--format", "json", "--db", str(database), *flags]
    answer = ran(command_as(uid, *asked) if uid else command(*asked), check=True)
    return json.loads(answer.stdout)


def sent(database: Path, pid: int) -> int:
    """Return the bytes that a process sent, by the history."""
    total: int = history(database, "--pid", str(pid))["total"]["tx"]
    return total


def test_every_interval_is_recorded_and_agrees_with_what_was_printed(place: Path) -> None:
    """Filters change what is printed and not what is recorded; --no-record leaves nothing."""
    database, filtered = place / "history.db", place / "filtered.db"
    with (
        sink() as port,
        Bwtop("--db", str(database)) as running,
        Bwtop("--db", str(filtered), "--tcp") as tcp,
        Bwtop("--db", str(place / "none.db"), "--no-record"),
    ):
        pids = [run(lambda size=size: send_datagram(port, size)) for size in (1009, 10007, 40009)]  # type: ignore[misc]
        running.settle()
        tcp.settle()
    assert not tcp.processes(pids[0])
    assert sent(filtered, pids[0]) == 1009
    assert not list(place.glob("none*"))
    printed = {pid: sum(p["tx"] for p in running.processes(pid)) for pid in pids}
    assert list(printed.values()) == [1009, 10007, 40009]
    assert {pid: sent(database, pid) for pid in pids} == printed
    whole = history(database, "--by", "process,remote,port,proto")
    (row,) = [r for r in whole["rows"] if r["port"] == port and r["role"] == "client"]
    assert (row["proto"], row["addr"], row["loopback"]) == ("udp", "127.0.0.1", True)
    assert row["tx"] == sum(printed.values())
    assert whole["total"]["tx"] == sum(d["total"]["tx"] for d in running.documents)
    assert whole["total"]["rx"] == sum(d["total"]["rx"] for d in running.documents)


def test_exec_within_an_interval_leaves_both_programs_in_the_history(place: Path) -> None:
    database = place / "history.db"

    def become() -> None:
        send_datagram(port, 30011)
        os.execv("/bin/bash", ["bash", "-c", f"printf %2003s >/dev/udp/127.0.0.1/{port}"])

    with sink() as port, Bwtop("--db", str(database)) as bwtop:
        pid = run(become)
        bwtop.settle()
    rows = history(database, "--pid", str(pid))["rows"]
    assert sorted((row["name"] == "bash", row["tx"]) for row in rows) == [
        (False, 30011),
        (True, 2003),
    ]


def test_files_belong_to_whom_the_directory_belongs_to(place: Path) -> None:
    """And so does the process: neither is root's."""
    database = place / "state" / "bwtop" / "history.db"
    with recording(database) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n" in status
        assert "CapPrm:\t0000000000000000\n" in status
        stop(process)
        for path in place.rglob("*"):
            assert path.stat().st_uid == USER, path
            assert not path.stat().st_mode & 0o077, path
    assert history(database, uid=USER)["total"] == history(database)["total"]
    assert all(path.stat().st_uid == USER for path in place.rglob("*")), "reading made root's files"


def test_in_a_directory_of_roots_it_records_without_being_root(tmp_path: Path) -> None:
    """It has the files open before it gives up root; the path is out of its reach afterwards."""
    tmp_path.chmod(0o700)
    database = tmp_path / "history.db"
    with sink() as port, recording(database) as process:
        assert "Uid:\t65534\t" in Path(f"/proc/{process.pid}/status").read_text()
        pid = run(lambda: send_datagram(port, 3001))
        assert stop(process) == 0
        assert process.stderr
        assert "stopped; " in process.stderr.read()
    assert sent(database, pid) == 3001, "the last, partial interval is stored"
    assert all(path.stat().st_uid == 0 for path in tmp_path.iterdir())


def test_a_second_one_measures_and_says_who_records(place: Path) -> None:
    database = place / "history.db"
    with sink() as port, recording(database) as first:
        with Bwtop("--db", str(database)) as second:
            pid = run(lambda: send_datagram(port, 1019))
            second.settle()
        assert sum(p["tx"] for p in second.processes(pid)) == 1019
        (said,) = [line for line in second.messages if "not recording" in line]
        assert said.endswith(f"is recorded by bwtop --record (pid {first.pid})")
        third = ran(command("--record", "--db", str(database)))
        assert third.returncode == 2
        assert third.stderr == said + "\n"
        stop(first)
    assert sent(database, pid) == 1019, "recorded once"


def test_a_second_one_takes_over(place: Path) -> None:
    database = place / "history.db"
    with sink() as port, recording(database) as first, Bwtop("--db", str(database)) as second:
        first.kill()
        first.wait()
        until(lambda: "again" in second.messages[-1], lambda: second.messages)
        assert holder(database) == f"bwtop (pid {second.process.pid})"
        pid = run(lambda: send_datagram(port, 1021))
        second.settle()
    assert sent(database, pid) == 1021


def test_who_is_not_root_watches_what_another_one_records(place: Path) -> None:
    database = place / "history.db"
    with (
        sink() as port,
        recording(database),
        subprocess.Popen(
            command_as(USER, "--batch", "--format", "json", "--db", str(database)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as watching,
    ):
        assert watching.stderr
        assert watching.stdout
        assert "watching from the history of bwtop --record" in watching.stderr.readline()
        pid = run(lambda: send_datagram(port, 1031))
        shown = (p for line in watching.stdout for p in json.loads(line)["processes"])
        process = next(p for p in shown if p["pid"] == pid)
        watching.kill()
    assert process["tx"] == 1031
    assert [r["port"] for r in process["remotes"]] == [port]
    assert process["name"]
    assert process["start"]


def test_without_root_and_without_a_recorder_one_line_says_so(place: Path) -> None:
    database = place / "history.db"
    refused_in_one_line(database, f"and no bwtop records to {database}")
    with recording(database) as process:
        process.kill()
        process.wait()
    refused_in_one_line(database, f"no bwtop records to {database} now")


def refused_in_one_line(database: Path, reason: str) -> None:
    line = refused_line(ran(command_as(USER, "--batch", "--db", str(database))))
    assert line.startswith(f"{NEEDS_ROOT} ({reason}")


def test_kill_loses_no_committed_interval(place: Path) -> None:
    """The whole program; the recorder alone is killed fifty times elsewhere."""
    database = place / "history.db"
    amounts = [4001, 4003]
    with sink() as port:
        for number, amount in enumerate(amounts, 1):
            with recording(database) as process:
                run(lambda amount=amount: send_datagram(port, amount))  # type: ignore[misc]
                deadline = time.monotonic() + HANG
                while _committed(database, port) != sum(amounts[:number]):
                    assert time.monotonic() < deadline, "it is not recorded"
                    time.sleep(0.05)
                process.kill()
    assert _committed(database, port) == sum(amounts)
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def _committed(database: Path, port: int) -> int:
    rows = history(database, "--by", "port")["rows"]
    return sum(row["tx"] for row in rows if (row["port"], row["role"]) == (port, "client"))


_CLOCK = r"""
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const long none;
static volatile const long *offset = &none;

__attribute__((constructor)) static void map_offset(void)
{
	int fd = open(getenv("CLOCK_OFFSET"), O_RDONLY);
	void *mapped = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);

	if (mapped != MAP_FAILED)
		offset = mapped;
	close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = syscall(SYS_clock_gettime, clock, now);

	if (!result && clock == CLOCK_REALTIME)
		now->tv_sec += *offset;
	return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec precise;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &precise);
	now->tv_sec = precise.tv_sec;
	now->tv_usec = precise.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *result)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}
"""
"""A library to preload: the wall clock alone is ahead by the seconds in a file, a long, at any moment of its change."""


def test_a_clock_that_is_set_bends_no_rate_and_loses_nothing(place: Path) -> None:
    """The program's own clock goes back an hour, and then two forward."""
    source, library, offset = (place / name for name in ("clock.c", "clock.so", "offset"))
    source.write_text(_CLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=HANG)
    offset.write_bytes(bytes(8))
    database = place / "history.db"
    prefix = ["env", f"LD_PRELOAD={library}", f"CLOCK_OFFSET={offset}"]
    with sink() as port, Bwtop("-d", "0.5", "--db", str(database), prefix=prefix) as running:
        for seconds in (0, -HOUR, HOUR):
            with offset.open("r+b") as clock:
                clock.write(int(seconds).to_bytes(8, sys.byteorder, signed=True))
            running.settle(seconds)
            run(lambda: send_datagram(port, 1039))
            running.settle(seconds)
    hours = [int(document["time"][11:13]) for document in running.documents]
    assert len(set(hours)) > 2, "the clock did not move"
    assert all(0 < document["interval"] < HOUR / 2 for document in running.documents)
    whole = history(database, "--by", "port")
    (row,) = [r for r in whole["rows"] if (r["port"], r["role"]) == (port, "client")]
    assert row["tx"] == 3 * 1039
    assert whole["total"]["tx"] == sum(d["total"]["tx"] for d in running.documents)
    assert 0 < whole["recorded"] < HOUR / 2
    back, forward = [note for note in whole["notes"] if "clock" in note]
    assert back.startswith("the clock was set back by 1 hour at ")
    assert forward.startswith("the clock was set forward by 2 hours at ")


@pytest.mark.parametrize("text", ["this is no database\n" * 100, ""])
def test_what_is_no_database_is_left_alone(place: Path, text: str) -> None:
    """An empty file becomes one: nothing is lost by that."""
    database = place / "history.db"
    database.write_text(text)
    os.chown(database, USER, USER)
    with sink() as port, Bwtop("--db", str(database)) as running:
        pid = run(lambda: send_datagram(port, 1033))
        running.settle()
        assert sum(p["tx"] for p in running.processes(pid)) == 1033
        complaints = [line for line in running.messages if "not recording" in line]
    if text:
        (complaint,) = complaints
        assert "is not a history of bwtop" in complaint
        assert database.read_text() == text
        assert ran(command("--record", "--db", str(database))).returncode == 2
    else:
        assert not complaints
        assert sent(database, pid) == 1033
