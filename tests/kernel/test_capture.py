"""Nothing is lost, nothing is left behind, and root is given up."""

import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bwtop.capture import libbpf
from bwtop.capture.backends import Kind
from bwtop.capture.session import Capture
from bwtop.model.flows import UNATTRIBUTED, UNKNOWN_ADDRESS, Loss, ProcessKey, Traffic
from bwtop.model.sample import Sample
from tests.build import eventually
from tests.kernel import objects
from tests.kernel.conftest import lost
from tests.kernel.running import (
    HANG,
    LAUNCHER,
    WITHOUT_CGROUPS,
    Bwtop,
    Flow,
    capturing,
    command,
    run,
    send_datagram,
    sent,
    sink,
    start,
)
from tests.processes import ran, refused_line, until

pytestmark = pytest.mark.kernel

SIZE = 1009


def moved(sample: Sample, but: set[int]) -> int:
    """Bytes that all other processes moved: what is lost may be theirs, for nobody keeps a machine quiet."""
    return sum(
        traffic.rx + traffic.tx
        for process, remotes in sample.traffic.items()
        if process.pid not in but
        for traffic in remotes.values()
    )


REMOTES = 300_000


def send_to_many_remotes(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(REMOTES):
            sock.sendto(
                b"x" * (1 + number % 7),
                (f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", port),
            )


@pytest.mark.alone  # they fill the tables of others
def test_more_remotes_than_there_is_room_for() -> None:
    """The process's total stays exact; what lost its remote is counted, and said."""
    truth = sum(1 + number % 7 for number in range(REMOTES))
    with sink() as port, Bwtop("--max-flows", "4096", "-d", "600") as bwtop:
        pid = run(lambda: send_to_many_remotes(port))
        assert bwtop.stop() == 0
    flows = bwtop.flows(pid)
    assert sum(tx for _, tx in flows.values()) == truth
    every = [process for document in bwtop.documents for process in document["processes"]]
    assert sum(len(process["remotes"]) for process in every) > 4096
    spilled = flows[Flow("udp", "*", 0, "client")][1]
    others = sum(process["rx"] + process["tx"] for process in every if process["pid"] != pid)
    assert 0 < spilled <= lost(bwtop)["bytes"] <= spilled + others
    assert lost(bwtop)["flows"] > 0
    assert "unattributed_bytes" not in lost(bwtop)


def test_processes_beyond_the_flow_map_stay_apart() -> None:
    """The map is full of one process's flows; the others' totals are still their own."""
    with sink() as port, capturing(flows=64) as capture:

        def send(count: int) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for number in range(count):
                    sock.sendto(b"x", (f"127.0.0.{1 + number}", port))
                    sock.sendto(bytes(SIZE - 1), (f"127.0.0.{1 + number}", port))

        greedy = run(lambda: send(200))
        modest = [run(lambda: send(3)) for _ in range(5)]
        samples = [capture.read()]
        assert capture.fill == (128, 128)
        late = run(lambda: send(200))
        samples.append(capture.read())
        samples.append(capture.read())
        at_last = moved(samples[2], {late})
        assert capture.fill.entries < 128 or at_last
    assert sent(samples, greedy) == 200 * SIZE
    assert [sent(samples, pid) for pid in modest] == [3 * SIZE] * 5
    assert sent(samples, late) == 200 * SIZE
    for sample, pids, least in zip(
        samples, ({greedy, *modest}, {late}), (200 + 5 * 3 - 128, 200 - 128), strict=False
    ):
        spilled = sum(
            traffic.tx
            for process, remotes in sample.traffic.items()
            if process.pid in pids
            for far, traffic in remotes.items()
            if far.address == UNKNOWN_ADDRESS
        )
        others = moved(sample, pids)
        assert spilled == least * SIZE or (spilled > least * SIZE and others)
        assert sample.loss.spilled == least or (sample.loss.spilled > least and others)
        assert spilled <= sample.loss.spilled_bytes <= spilled + others
    assert samples[2].loss == Loss() or at_last


def test_bytes_of_more_processes_than_there_is_room_for() -> None:
    """When even the map of last resort is full, they fall to one row, and the sum is still right."""

    def send_twice() -> None:
        send_datagram(port, 1)
        send_datagram(port, SIZE - 1)

    with sink() as port, capturing() as witness, capturing(flows=1, processes=4) as capture:
        pids = {run(send_twice) for _ in range(12)}
        sample = capture.read()
        others = moved(witness.read(), pids)
        quiet = capture.read()
        others_later = moved(witness.read(), pids)
    mine = {key for key in sample.traffic if key.pid in pids}
    rest = Traffic()
    for far, traffic in sample.traffic[UNATTRIBUTED].items():
        assert far.address == UNKNOWN_ADDRESS or others
        rest = rest.plus(traffic)
    known = sum(sent([sample], key.stored_pid) for key in mine)
    assert known == len(mine) * SIZE
    assert 12 * SIZE <= known + rest.tx <= 12 * SIZE + others
    assert rest.rx + rest.tx == sample.loss.unattributed_bytes
    assert len(mine) == 2 + 4 or (len(mine) < 2 + 4 and others)
    assert sample.loss.unnamed == 8 or (sample.loss.unnamed > 8 and others)
    assert quiet.loss.unnamed == 0 or others_later or others
    assert sample.identities[UNATTRIBUTED].name == "(unattributed)"
    assert UNATTRIBUTED not in quiet.traffic or others_later or others


def test_room_of_exited_processes_is_used_again() -> None:
    """Records of processes that are gone do not fill the maps: here there is room for 32, and 48 come.

    Another capture tells how many processes of others have records: rounds in which they leave no room do not count.
    """
    room, mine, rounds = 32, 4, 0
    deadline = time.monotonic() + HANG
    others: set[ProcessKey] = set()
    with sink() as port, capturing() as witness, capturing(flows=4096, processes=room) as capture:
        while rounds < 12:
            assert time.monotonic() < deadline, f"{len(others)} processes of others take the room"
            pids = {run(lambda: send_datagram(port, SIZE)) for _ in range(mine)}
            sample, all_that_moved = capture.read(), witness.read()
            others |= {key for key in all_that_moved.traffic if key.pid not in pids}
            had_room = len(others) + mine <= room
            others -= all_that_moved.exited
            if not had_room:
                continue
            rounds += 1
            named = {k.pid: identity.name for k, identity in sample.identities.items()}
            assert all(named[pid] not in ("", "(unknown)") for pid in pids)
            assert sample.loss == Loss()
            assert {k.pid for k in sample.exited} >= pids


def broken_program() -> bytes:
    """Return an ELF file (elf(5)) that the kernel finds out to have an impossible address when the old program is gone."""
    machine = {"x86_64": 62, "aarch64": 183}[os.uname().machine]
    start = 0xFFFF_0000_0000_0000
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("=HHIQQQIHHHHHH", 2, machine, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("=IIQQQQQQ", 1, 5, 0, start, start, 120, 120, 4096)


def test_process_that_an_exec_kills_has_ended(tmp_path: Path) -> None:
    """It counted itself as another program by then.  Each left a record: anybody could fill the map with them."""
    program = tmp_path / "broken"
    program.write_bytes(broken_program())
    program.chmod(0o755)

    def become() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        send_datagram(port, SIZE)
        os.execv(program, [str(program)])

    with sink() as port, capturing() as capture:
        child = start(become)
        _, status = os.waitpid(child.pid, 0)
        assert os.WIFSIGNALED(status), status
        sample = capture.read()
        (process,) = [key for key in sample.traffic if key.pid == child.pid]
        assert process in sample.exited


def test_process_that_found_no_room_is_named_later() -> None:
    """It goes on with the one flow that it had when it came."""
    with sink() as port, capturing(processes=4) as capture:
        pause, go = os.pipe()

        sent, sending = os.pipe()

        def wait() -> None:
            send_datagram(port, SIZE)
            os.write(sending, b"x")
            os.read(pause, 1)

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect(("127.0.0.1", port))
                while True:
                    sock.send(bytes(SIZE))
                    os.write(sending, b"x")
                    time.sleep(0.01)

        waiting = [start(wait) for _ in range(8)]
        for _ in waiting:
            os.read(sent, 1)
        late = start(send)
        try:
            os.read(sent, 1)
            assert name_of(capture, late.pid) == "(unknown)"
            os.write(go, b"x" * len(waiting))
            for child in waiting:
                child.wait()
            deadline = time.monotonic() + HANG
            while (name := name_of(capture, late.pid)) == "(unknown)":
                assert time.monotonic() < deadline
            assert name == Path("/proc/self/comm").read_text().strip()
        finally:
            os.kill(late.pid, signal.SIGKILL)
            os.waitpid(late.pid, 0)


def name_of(capture: Capture, pid: int) -> str:
    """Return the name in a reading in which the process has moved bytes."""
    while True:
        time.sleep(0.02)
        for key, identity in capture.read().identities.items():
            if key.pid == pid:
                return identity.name


def test_kill_leaves_nothing_behind() -> None:
    """Programs, maps and links go with the process's descriptors, cgroup programs too."""
    with Bwtop() as bwtop:
        held = objects.held(bwtop.process.pid)
        assert all(held[kind] and held[kind] <= objects.ids()[kind] for kind in objects.KINDS)
        bwtop.stop(signal.SIGKILL)
    until(
        lambda: not any(objects.ids()[kind] & held[kind] for kind in objects.KINDS),
        "something of bwtop is still attached",
    )


def test_main_process_is_without_the_compiler(bwtop: Bwtop) -> None:
    maps = Path(f"/proc/{bwtop.process.pid}/maps").read_text()
    assert "libbcc" not in maps
    assert "libLLVM" not in maps


def test_without_root_one_line_says_what_to_do() -> None:
    """The code is imported first: nobody may not be allowed into this checkout."""
    program = "import os; from bwtop import cli; os.setresuid(*3 * [65534]); cli.main(['--batch'])"
    line = refused_line(ran([sys.executable, "-c", program], cwd=LAUNCHER.parent))
    assert "sudo bwtop" in line


def test_without_cgroups_peers_of_unconnected_udp_are_not_guessed() -> None:
    """Bytes are counted all the same, and what is missing is said."""
    with sink() as port, Bwtop(prefix=WITHOUT_CGROUPS) as bwtop:

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(bytes(SIZE), ("127.0.0.1", port))
                sock.connect(("127.0.0.1", port))
                sock.send(bytes(SIZE))

        pid = run(send)
        flows = bwtop.settled_flows(pid)
    assert flows == {
        Flow("udp", "*", 0, "client"): (0, SIZE),
        Flow("udp", "127.0.0.1", port, "client"): (0, SIZE),
    }
    assert any("no cgroup v2 hierarchy is mounted" in message for message in bwtop.messages)


@pytest.mark.parametrize("shell", [[], ["sh", "-c", '"$@"; exit', "sh"]], ids=["", "from-a-shell"])
def test_within_a_network_namespace_peers_are_known(shell: list[str]) -> None:
    """`ip netns exec` mounts another /sys, where no cgroups are."""
    name = f"bwtop-test-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with sink() as port, Bwtop(prefix=["ip", "netns", "exec", name, *shell]) as bwtop:
            pid = run(lambda: send_datagram(port, SIZE))
            flows = bwtop.settled_flows(pid)
            subprocess.run(["pkill", "-INT", "-P", str(bwtop.process.pid)], check=False)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    assert flows == {Flow("udp", "127.0.0.1", port, "client"): (0, SIZE)}
    assert not any("cgroup" in message for message in bwtop.messages)


def test_last_partial_interval_is_printed() -> None:
    """SIGINT ends it alike: see test_output.py.  nohup is respected: SIGHUP does not."""
    with sink() as port, Bwtop("-d", "600", prefix=["nohup"]) as bwtop:
        bwtop.process.send_signal(signal.SIGHUP)
        pid = run(lambda: send_datagram(port, SIZE))
        assert bwtop.stop(signal.SIGTERM) == 0
    assert bwtop.flows(pid) == {Flow("udp", "127.0.0.1", port, "client"): (0, SIZE)}
    (document,) = bwtop.documents
    assert document["interval"] < 600


def test_counting_starts_everywhere_at_once() -> None:
    """A connection that is busy while bwtop starts: what one end receives is what the other sent, but for its buffer."""
    ours, theirs = stream()
    shared = memoryview(mmap.mmap(-1, 4096)).cast("q")
    stop, chunks = 0, 1  # places in it

    def write() -> None:
        while not shared[stop]:
            ours.sendall(bytes(20_011))
            shared[chunks] += 1

    def read() -> None:
        while theirs.recv(20_011):
            pass

    # Both ends' buffers are limited to 64 KiB below, and the kernel doubles that.
    buffered = 512 * 1024
    reader, writer = start(read), start(write)
    assert eventually(lambda: shared[chunks] > 0)
    with capturing() as capture:
        enough = shared[chunks] + 1 + 10 * buffered // 20_011
        assert eventually(lambda: shared[chunks] > enough)
        sample = capture.read()
        shared[stop] = 1
        ours.shutdown(socket.SHUT_WR)
    totals = {
        process.pid: (sum(t.rx for t in remotes.values()), sum(t.tx for t in remotes.values()))
        for process, remotes in sample.traffic.items()
    }
    for child in (writer, reader):
        os.waitpid(child.pid, 0)
    received, sent_bytes = totals[reader.pid][0], totals[writer.pid][1]
    assert sent_bytes > 10 * buffered
    assert abs(received - sent_bytes) < buffered
    for sock in (ours, theirs):
        sock.close()


def stream() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    return client, server


def test_stopped_and_continued_it_goes_on() -> None:
    """Ctrl-Z and fg: the interval is as long as it was, and the rates are right."""
    with Bwtop() as bwtop:
        bwtop.settle()
        bwtop.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        bwtop.process.send_signal(signal.SIGCONT)
        bwtop.settle()
        bwtop.settle()
        assert bwtop.process.poll() is None
    assert max(document["interval"] for document in bwtop.documents) > 0.8
    assert all(document["interval"] > 0 for document in bwtop.documents)


@pytest.mark.parametrize("signals", [1, 2])
def test_output_that_nobody_takes_does_not_keep_it_alive(signals: int) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, bytes(4096))
    process = subprocess.Popen(
        command("--batch", "--no-resolve", "-d", "0.1", "--format", "json"),
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert process.stderr
    assert b"measuring" in process.stderr.readline()
    until(
        lambda: "pipe_write" in Path(f"/proc/{process.pid}/wchan").read_text(),
        "it does not wait for its reader",
    )
    for _ in range(signals):
        process.terminate()
        time.sleep(0.2)
    assert process.wait(HANG) < 0, "killed by a signal, as it could not finish"
    process.stderr.close()
    os.close(reading)


def test_closed_pipe_ends_it_quietly() -> None:
    reader = f"{' '.join(command('--batch', '--no-record', '--format', 'json', '-d', '0.1'))} | head -n 1"
    result = ran(["bash", "-o", "pipefail", "-c", reader])
    assert result.returncode == 0
    assert result.stdout.count("\n") == 1
    assert result.stderr == "bwtop: measuring (backend: tracepoint)\n"


def test_missed_events_can_be_read_for_every_program() -> None:
    with capturing() as capture:
        assert capture.read().loss.missed_events == 0
        infos = [libbpf.prog_info(fd) for fd in capture.programs]
    probes = capture.report.backend.probes
    assert len(infos) == sum(probe.kind is not Kind.ITERATOR for probe in probes)
    assert all(info.name.decode().startswith("bwtop_") for info in infos)
