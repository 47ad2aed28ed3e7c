"""Who a process is: taken in the kernel at its first byte; an exec makes it another one."""

import ctypes
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bwtop.capture.cgroups import v2_root
from tests.kernel.running import (
    PATIENCE,
    Bwtop,
    Document,
    Flow,
    run,
    run_as,
    send_datagram,
    sink,
    start,
    timestamp,
)
from tests.kernel.talking import UP, Service, payload, receive

pytestmark = pytest.mark.kernel

BASH = os.path.realpath("/bin/bash")
BRIEF = 200 if PATIENCE == 1 else 20
"""How many short-lived processes there are; starting one takes long where it is emulated."""

_PR_SET_NAME = 15


@pytest.fixture
def port() -> Iterator[int]:
    """Open a UDP port that takes datagrams and does not answer."""
    with sink() as bound:
        yield bound


def datagram_script(port: int, size: int) -> str:
    """Return what bash runs to send one datagram by itself, with no further process."""
    return f"printf '%*s' {size} >/dev/udp/127.0.0.1/{port}"


def only(bwtop: Bwtop, pid: int) -> Document:
    """Return the last entry of a process."""
    bwtop.settle()
    return bwtop.processes(pid)[-1]


def test_many_processes_that_live_for_milliseconds(bwtop: Bwtop, port: int, tmp_path: Path) -> None:
    """Each is gone long before anybody could ask /proc; each has its own name, command line and bytes."""
    expected = {}
    for number in range(BRIEF):
        link = tmp_path / f"brief-{number}"
        link.symlink_to(BASH)
        script = datagram_script(port, 1000 + number)
        words = [str(link), "-c", script, "argument", str(number)]
        pid = run(lambda words=words: os.execv(words[0], words))  # type: ignore[misc]
        expected[pid] = (f"brief-{number}", f"{link} -c {script} argument {number}", 1000 + number)
    bwtop.settle()
    for pid, (name, cmdline, size) in expected.items():
        (entry,) = bwtop.processes(pid)
        assert (entry["name"], entry["cmdline"]) == (name, cmdline)
        assert entry["exe"] == BASH
        assert (entry["rx"], entry["tx"]) == (0, size)


def test_exec_makes_another_process(bwtop: Bwtop, port: int, tmp_path: Path) -> None:
    """What moved before it belongs to the program of then, also within one interval."""
    link = tmp_path / "afterwards"
    link.symlink_to(BASH)

    def become() -> None:
        set_name(b"before")
        send_datagram(port, 30011)
        os.execv(link, ["afterwards", "-c", datagram_script(port, 2003), "new"])

    pid = run(become)
    bwtop.settle()
    entries = {entry["name"]: entry for entry in bwtop.processes(pid)}
    assert {name: entry["tx_total"] for name, entry in entries.items()} == {
        "before": 30011,
        "afterwards": 2003,
    }
    before, after = entries["before"], entries["afterwards"]
    assert before["exe"] == os.path.realpath(sys.executable)
    assert after["cmdline"].startswith("afterwards -c printf")
    assert after["exe"] == BASH
    assert after["start"] == before["start"]


def test_exec_without_a_byte_afterwards(bwtop: Bwtop, port: int) -> None:
    """The bytes stay the old program's; the new one has none and is not listed."""

    def become() -> None:
        send_datagram(port, 30011)
        os.execv(BASH, [BASH, "-c", ":"])

    (entry,) = [only(bwtop, pid) for pid in [run(become)]]
    assert (entry["exe"], entry["tx_total"]) == (os.path.realpath(sys.executable), 30011)


def test_exec_in_a_thread(bwtop: Bwtop, port: int) -> None:
    """The thread takes the place of the process, with its pid and its start."""

    def become() -> None:
        send_datagram(port, 1009)
        words = [BASH, "-c", datagram_script(port, 2003)]
        threading.Thread(target=os.execv, args=(BASH, words)).start()
        time.sleep(60)

    pid = run(become)
    bwtop.settle()
    assert sorted(entry["tx_total"] for entry in bwtop.processes(pid)) == [1009, 2003]


def test_forked_child_with_an_inherited_socket(bwtop: Bwtop) -> None:
    """Whoever makes the call is charged, not who opened the socket."""
    service = Service()

    def client() -> None:
        connection = service.connect()
        child = start(lambda: connection.sendall(payload(UP)))
        os.write(pids[1], child.pid.to_bytes(4, "little"))
        child.wait()

    def server() -> None:
        connection, _ = service.listener.accept()
        receive(connection, UP)

    pids = os.pipe()
    serving = start(server)
    parent = run(client)
    serving.wait()
    service.listener.close()
    child = int.from_bytes(os.read(pids[0], 4), "little")
    for descriptor in pids:
        os.close(descriptor)
    assert bwtop.settled_flows(child) == {Flow("tcp", "127.0.0.1", service.port, "client"): (0, UP)}
    assert bwtop.flows(parent) == {}


def set_name(name: bytes) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name)


def test_threads_with_names_of_their_own(bwtop: Bwtop, port: int) -> None:
    """All threads' bytes are their process's, under the name of its first thread."""

    def work(number: int) -> None:
        set_name(f"worker-{number}".encode())
        for _ in range(10):
            send_datagram(port, 1009)

    def threads() -> None:
        set_name(b"the-process")
        workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    entry = only(bwtop, run(threads))
    assert entry["name"] == "the-process"
    assert entry["tx_total"] == 8 * 10 * 1009


def test_end_of_a_thread_is_not_the_end_of_its_process(bwtop: Bwtop, port: int) -> None:
    """Totals go on counting when threads have come and gone."""
    reading, writing = os.pipe()

    def threads() -> None:
        for _ in range(3):
            worker = threading.Thread(target=send_datagram, args=(port, 1009))
            worker.start()
            worker.join()
            os.read(reading, 1)

    child = start(threads)
    for count in (1, 2, 3):
        bwtop.await_entries(child.pid, count)
        os.write(writing, b"x")
    child.wait()
    for descriptor in (reading, writing):
        os.close(descriptor)
    assert [entry["tx_total"] for entry in bwtop.processes(child.pid)] == [1009, 2018, 3027]


EXIT = 60 if os.uname().machine == "x86_64" else 93
"""The number of exit(2): asm/unistd.h, and asm-generic/unistd.h for newer machines."""


def test_process_outlives_its_first_thread(bwtop: Bwtop, port: int) -> None:
    """The leader is a zombie by then; its name and start are still the process's."""

    def work() -> None:
        time.sleep(0.1)
        send_datagram(port, 1009)
        os._exit(0)

    def outlive() -> None:
        set_name(b"leaderless")
        threading.Thread(target=work).start()
        ctypes.CDLL(None).syscall(EXIT, 0)  # of this thread only

    entry = only(bwtop, run(outlive))
    assert entry["name"] == "leaderless"
    assert entry["tx_total"] == 1009


def test_start_time(bwtop: Bwtop, port: int) -> None:
    before = time.time()
    pid = run(lambda: send_datagram(port, 1009))
    assert before - 0.01 <= timestamp(only(bwtop, pid)["start"]) <= time.time()


def test_reused_pid_is_another_process(bwtop: Bwtop, port: int) -> None:
    first = run(lambda: send_datagram(port, 101))
    run_as(first, lambda: send_datagram(port, 103))
    bwtop.settle()
    entries = bwtop.entries(first)[-2:]
    assert sorted(entry["tx_total"] for entry in entries) == [101, 103]
    assert len({entry["start"] for entry in entries}) == 2


def test_effective_user(bwtop: Bwtop, port: int) -> None:
    def as_nobody() -> None:
        os.seteuid(65534)
        send_datagram(port, 1009)

    run(as_nobody)
    bwtop.settle()  # on a slow machine the name comes an interval later
    entry = only(bwtop, run(as_nobody))
    assert (entry["uid"], entry["user"]) == (65534, "nobody")


def test_deleted_program(bwtop: Bwtop, port: int, tmp_path: Path) -> None:
    program = tmp_path / "short lived"
    shutil.copy(BASH, program)
    script = f"rm '{program}'; {datagram_script(port, 1009)}"
    pid = run(lambda: os.execv(program, [str(program), "-c", script]))
    assert only(bwtop, pid)["exe"] == f"{program} (deleted)"


def test_program_from_memory(bwtop: Bwtop, port: int) -> None:
    def from_memory() -> None:
        memory = os.memfd_create("in memory", 0)
        os.write(memory, Path(BASH).read_bytes())
        os.execve(memory, ["in-memory", "-c", datagram_script(port, 1009)], {})

    entry = only(bwtop, run(from_memory))
    assert entry["exe"] == "/memfd:in memory (deleted)"


@pytest.mark.parametrize("gone", [False, True])
def test_program_on_another_mount(bwtop: Bwtop, port: int, tmp_path: Path, gone: bool) -> None:
    """The path leads through a mount point, as /proc/PID/exe tells it.  If that is gone, half a path would be wrong."""
    script = (f"umount -l '{tmp_path}'; " if gone else "") + datagram_script(port, 1009)

    def mounted() -> None:
        libc = ctypes.CDLL(None)
        assert libc.unshare(0x00020000) == 0  # CLONE_NEWNS
        assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
        assert libc.mount(b"none", os.fsencode(tmp_path), b"tmpfs", 0, None) == 0
        program = tmp_path / "there"
        shutil.copy(BASH, program)
        os.execv(program, [str(program), "-c", script])

    entry = only(bwtop, run(mounted))
    assert (entry["name"], entry["exe"]) == ("there", None if gone else f"{tmp_path}/there")


def test_long_command_line_is_cut(bwtop: Bwtop, port: int) -> None:
    words = [BASH, "-c", datagram_script(port, 1009), "x" * 1000]
    cmdline = only(bwtop, run(lambda: os.execv(BASH, words)))["cmdline"]
    assert cmdline.startswith(f"{BASH} -c printf")
    assert (len(cmdline), cmdline[-2:]) == (257, "x…")


def test_unit_and_container_from_the_cgroup(bwtop: Bwtop, port: int) -> None:
    identifier = "4f" * 32
    parent = Path(v2_root()) / "bwtop_test.slice"
    group = parent / f"docker-{identifier}.scope"
    group.mkdir(parents=True)
    try:

        def inside() -> None:
            (group / "cgroup.procs").write_text("0")
            send_datagram(port, 1009)

        entry = only(bwtop, run(inside))
    finally:
        group.rmdir()
        parent.rmdir()
    assert entry["unit"] == f"docker-{identifier}.scope"
    assert entry["container"] == "docker:4f4f4f4f4f4f"


def test_hostile_name(bwtop: Bwtop, port: int) -> None:
    """JSON carries it whole, escaped; see test_output.py for what a terminal gets."""
    name = "\x1b]0;x\x07\n\u202eevil"

    def hostile() -> None:
        set_name(name.encode())
        send_datagram(port, 1009)

    assert only(bwtop, run(hostile))["name"] == name.encode()[:15].decode(
        "utf-8", "backslashreplace"
    )
