"""What passes the innermost hooks by, and what they must not lose or count twice when the layer around them sees it too."""

import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from bwtop.capture import kprobes, libbpf, preemption
from bwtop.capture.backends import named
from bwtop.capture.session import Loading
from bwtop.model.flows import TCP, format_address
from tests.kernel.conftest import MAY_MISS, lost
from tests.kernel.running import (
    BACKEND,
    HANG,
    PATIENCE,
    Bwtop,
    Flow,
    capturing,
    has_protocol,
    run,
    start,
)
from tests.kernel.talking import (
    DOWN,
    UP,
    Service,
    payload,
    receive,
    receive_by_splice,
    receive_then_send,
    send_then_receive,
)
from tests.kernel.test_tcp import file_of

pytestmark = pytest.mark.kernel

THREADS = 200
SIZE = 1009
IPPROTO_SCTP = 132
SCTP_EVENTS = 11
MSG_NOTIFICATION = 0x8000
SOL_TLS = 282
TCP_ULP = 31
TLS_TX, TLS_RX = 1, 2


def load_module(name: str) -> None:
    """Kernels that have a protocol as a module may not load it by themselves."""
    subprocess.run(["modprobe", "-q", name], check=False)


def blocked(pid: int) -> int:
    """How many threads of a process wait for something: state S in proc_pid_stat(5)."""
    states = (
        p.read_text().rpartition(")")[2].split()[0]
        for p in Path(f"/proc/{pid}/task").glob("*/stat")
    )
    return sum(state == "S" for state in states)


def wait_until_blocked(pid: int, threads: int) -> None:
    deadline = time.monotonic() + HANG
    while blocked(pid) < threads:
        assert time.monotonic() < deadline, "the threads do not wait"
        time.sleep(0.05)
    time.sleep(0.2)


def receive_in_threads(connections: list[socket.socket], size: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    threads = [threading.Thread(target=receive, args=(c, size)) for c in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def pairs(count: int) -> list[tuple[socket.socket, socket.socket]]:
    """Make connections from addresses of their own: 127.0.4.1 and so on."""
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
        found = []
        for number in range(count):
            client = socket.create_connection(
                listener.getsockname(), source_address=(f"127.0.4.{number + 1}", 0)
            )
            found.append((client, listener.accept()[0]))
        return found


def test_two_hundred_threads_that_wait_lose_nothing(bwtop: Bwtop) -> None:
    """All of them are inside recv() at once, on two processors, each in a call that was entered long before."""
    connections = pairs(THREADS)
    servers = [server for _, server in connections]
    missed = lost(bwtop).get("events", 0)
    receiving = start(lambda: receive_in_threads(servers, SIZE * 3))
    wait_until_blocked(receiving.pid, THREADS)
    for client, _ in connections:
        client.sendall(payload(SIZE))
    wait_until_blocked(receiving.pid, THREADS)
    for client, _ in connections:
        client.sendall(payload(2 * SIZE))
    receiving.wait()
    port = servers[0].getsockname()[1]
    for ends in connections:
        for end in ends:
            end.close()
    found = bwtop.settled_flows(receiving.pid)
    missed = lost(bwtop).get("events", 0) - missed
    whole = {
        Flow("tcp", f"127.0.4.{number + 1}", port, "server"): (3 * SIZE, 0)
        for number in range(THREADS)
    }
    if MAY_MISS:
        # So many threads on two processors interrupt each other all the time; what lacks must have been said.
        lacking = {flow: 3 * SIZE - found.get(flow, (0, 0))[0] for flow in whole}
        assert found.keys() <= whole.keys()
        assert set(lacking.values()) <= {0, SIZE, 2 * SIZE, 3 * SIZE}
        assert sum(lacking.values()) <= missed * 2 * SIZE
    else:
        assert found == whole


@pytest.mark.starts
@pytest.mark.skipif(
    BACKEND not in ("fexit", "kprobe") or preemption.interrupts(preemption.mode()),
    reason="only these have layers, and here they need them",
)
def test_one_program_counts_an_ordinary_message() -> None:
    """Where nothing interrupts it; beside it, one sees that a received datagram was counted, and fexit notes what is sent."""
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", 0))
    ours.connect(ours.getsockname())
    ((client, server),) = pairs(1)
    runs: dict[str, set[str]] = {}
    with ours, client, server, capturing() as capture:
        if not capture.report.backend.has_one_layer:
            return  # up to 6.4 kprobe needs all
        statistics = libbpf.library().bpf_enable_stats(0)
        for name, one, other in (("udp", ours, ours), ("tcp", client, server)):
            before = [libbpf.prog_info(program).run_cnt for program in capture.programs]
            for _ in range(100):
                one.send(b"x")
                other.recv(1)
            for program, count in zip(capture.programs, before, strict=True):
                info = libbpf.prog_info(program)
                if info.run_cnt - count >= 100:
                    runs.setdefault(name, set()).add(info.name.decode())
        os.close(statistics)
    datagram = {"bwtop_udp_send_"} if BACKEND == "fexit" else set()
    assert runs == {
        "udp": {"bwtop_inet_send", "bwtop_skb_consu", "bwtop_inet_recv"} | datagram,
        "tcp": {"bwtop_inet_send", "bwtop_inet_recv"},
    }


@pytest.mark.starts
@pytest.mark.skipif(
    BACKEND != "kprobe", reason="only kprobes can miss returns; this backend has none"
)
def test_missed_returns_are_said_and_leave_no_wrong_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of each function may be under way at once, and twenty wait in recv.

    What is counted is at its own remote and never more than moved: a return finds no arguments of another call.
    """
    monkeypatch.setattr(kprobes, "MAX_ACTIVE", 1)
    capture = Loading([named("kprobe")]).start()
    connections = pairs(20)
    rounds = 30

    def talk(number: int) -> None:
        """Send and receive on two connections in turn, so that what one call leaves could harm the next."""
        for _ in range(rounds):
            for client, server in (connections[number], connections[(number + 1) % 20]):
                client.sendall(payload(100 + number))
                server.recv(1)

    def wait_in_threads() -> None:
        """Has twenty calls wait at once, so that nineteen returns are missed however fast the machine is."""
        threads = [threading.Thread(target=server.recv, args=(1,)) for _, server in connections]
        for thread in threads:
            thread.start()
        time.sleep(0.5 * PATIENCE)
        for client, _ in connections:
            client.sendall(payload(1))
        for thread in threads:
            thread.join()

    def talk_in_threads() -> None:
        wait_in_threads()
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    pid = run(talk_in_threads)
    time.sleep(0.5)
    sample = capture.read()
    capture.close()
    flows = {
        (format_address(remote.address), remote.protocol): traffic
        for process, remotes in sample.traffic.items()
        if process.pid == pid
        for remote, traffic in remotes.items()
    }
    for ends in connections:
        for end in ends:
            end.close()
    sent = {("127.0.0.1", TCP): 20 + rounds * 2 * sum(100 + n for n in range(20))}
    received = {(f"127.0.4.{n + 1}", TCP): 1 + rounds * 2 for n in range(20)}
    assert flows.keys() <= sent.keys() | received.keys()
    for flow, traffic in flows.items():
        assert traffic.tx <= sent.get(flow, 0)
        assert traffic.rx <= received.get(flow, 0)
    assert sample.loss.missed_events > 0


def tls(connection: socket.socket) -> None:
    """Give a connection to kernel TLS, both ways with one key: struct tls12_crypto_info_aes_gcm_128."""
    connection.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    info = struct.pack("=HH8s16s4s8s", 0x0303, 51, bytes(8), bytes(16), bytes(4), bytes(8))
    connection.setsockopt(SOL_TLS, TLS_TX, info)
    connection.setsockopt(SOL_TLS, TLS_RX, info)


def has_tls() -> bool:
    load_module("tls")
    available = Path("/proc/sys/net/ipv4/tcp_available_ulp")
    return available.exists() and "tls" in available.read_text().split()


@pytest.fixture
def _kernel_tls() -> None:
    if not has_tls():
        pytest.skip("this kernel has no TLS")


@pytest.mark.usefixtures("_kernel_tls")
def test_kernel_tls_counts_the_applications_bytes(bwtop: Bwtop) -> None:
    def client(connection: socket.socket) -> None:
        tls(connection)
        send_then_receive(connection)

    def server(connection: socket.socket) -> None:
        tls(connection)
        receive_then_send(connection)

    service = Service()
    client_pid, server_pid = service.talk(client, server)
    bwtop.settle()
    port = service.port
    assert bwtop.flows(client_pid) == {Flow("tcp", "127.0.0.1", port, "client"): (DOWN, UP)}
    assert bwtop.flows(server_pid) == {Flow("tcp", "127.0.0.1", port, "server"): (UP, DOWN)}


@pytest.mark.usefixtures("_kernel_tls")
def test_kernel_tls_by_sendfile_and_splice(bwtop: Bwtop) -> None:
    """Before 5.11 and by tracepoints, splice() out of kernel TLS is not seen; then nothing is counted for it."""

    def client(connection: socket.socket) -> None:
        tls(connection)
        with file_of(UP) as file:
            left = UP
            while left:
                left -= os.sendfile(connection.fileno(), file, None, left)

    def server(connection: socket.socket) -> None:
        tls(connection)
        receive_by_splice(connection, UP)

    service = Service()
    client_pid, server_pid = service.talk(client, server)
    bwtop.settle()
    port = service.port
    assert bwtop.flows(client_pid) == {Flow("tcp", "127.0.0.1", port, "client"): (0, UP)}
    received = {Flow("tcp", "127.0.0.1", port, "server"): (UP, 0)} if bwtop.sees_datagrams else {}
    assert bwtop.flows(server_pid) == received


def test_sctp(bwtop: Bwtop) -> None:
    load_module("sctp")
    if not has_protocol(IPPROTO_SCTP):
        pytest.skip("this kernel has no SCTP")

    def client(connection: socket.socket) -> None:
        for _ in range(11):
            connection.sendall(payload(SIZE))
        receive(connection, SIZE)

    def server(connection: socket.socket) -> None:
        receive(connection, 11 * SIZE)
        connection.sendall(payload(SIZE))

    service = Service(protocol=IPPROTO_SCTP)
    client_pid, server_pid = service.talk(client, server)
    bwtop.settle()
    assert bwtop.flows(client_pid) == {
        Flow("sctp", "127.0.0.1", service.port, "client"): (SIZE, 11 * SIZE)
    }
    assert bwtop.flows(server_pid) == {
        Flow("sctp", "127.0.0.1", service.port, "server"): (11 * SIZE, SIZE)
    }


def test_sctp_events_are_no_payload(bwtop: Bwtop) -> None:
    """Where only the call is seen, they look like data."""
    load_module("sctp")
    if not has_protocol(IPPROTO_SCTP):
        pytest.skip("this kernel has no SCTP")
    service = Service(protocol=IPPROTO_SCTP)
    service.listener.setsockopt(IPPROTO_SCTP, SCTP_EVENTS, bytes([0, 1, 0, 0, 0, 1]))
    told = os.pipe()

    def server(connection: socket.socket) -> None:
        events = 0
        while data := connection.recvmsg(4096):
            if data[2] & MSG_NOTIFICATION:
                events += len(data[0])
            elif not data[0]:
                break
        os.write(told[1], events.to_bytes(4, "little"))

    _, pid = service.talk(lambda connection: connection.sendall(payload(SIZE)), server)
    events = int.from_bytes(os.read(told[0], 4), "little")
    for descriptor in told:
        os.close(descriptor)
    assert events
    assert bwtop.settled_flows(pid) == {
        Flow("sctp", "127.0.0.1", service.port, "server"): (
            SIZE if bwtop.sees_datagrams else SIZE + events,
            0,
        )
    }


def test_bound_socket_that_speaks_first_is_a_server(bwtop: Bwtop) -> None:
    """Its port was named by bind(), as an announcer's is."""

    def announce() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 5353 + os.getpid() % 1000))
            sock.sendto(bytes(SIZE), ("127.0.0.5", 33001))

    pid = run(announce)
    port = 5353 + pid % 1000
    assert bwtop.settled_flows(pid) == {Flow("udp", "127.0.0.5", port, "server"): (0, SIZE)}


@pytest.mark.skipif(
    BACKEND != "kprobe" or not preemption.interrupts(preemption.mode()),
    reason="only kprobes are held back by reading maps, if that can be interrupted",
)
def test_reading_is_interrupted_by_no_ordinary_thread(bwtop: Bwtop) -> None:
    """Though it has given up root: a thread's schedule is real-time while it reads, and ordinary again."""
    threads = list(Path(f"/proc/{bwtop.process.pid}/task").glob("*/stat"))
    seen: dict[Path, set[int]] = {thread: set() for thread in threads}
    deadline = time.monotonic() + HANG
    while {os.SCHED_FIFO, os.SCHED_OTHER} not in seen.values():
        assert time.monotonic() < deadline, f"policies of sched(7) seen: {seen.values()}"
        for thread in threads:
            seen[thread].add(int(thread.read_text().rpartition(")")[2].split()[38]))


@pytest.mark.starts
@pytest.mark.skipif(BACKEND != "kprobe", reason="only kprobes have names that could stay behind")
def test_killed_it_leaves_no_kprobes_behind() -> None:
    """The kernel keeps events of tracefs until they are taken away."""
    events = (
        next(root for root in kprobes._ROOTS if (root / "kprobe_events").exists()) / "kprobe_events"
    )
    with Bwtop() as bwtop:
        name = f"bwtop_{bwtop.process.pid}_"
        assert name in events.read_text()
        bwtop.process.kill()
        bwtop.process.wait(HANG)
    deadline = time.monotonic() + HANG
    while name in events.read_text():
        assert time.monotonic() < deadline, events.read_text()
        time.sleep(0.1)
