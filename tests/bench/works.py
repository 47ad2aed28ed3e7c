"""The work that is measured: real traffic over loopback, each in a process of its own, whose speed is its figure.

`python -m tests.bench.works NAME AMOUNT` does it once and prints the figure, so that what is measured is not the one that
measures.
"""

import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PACE: Final = 2000
"""Short connections a second."""

PARTS: Final = 10
"""Of a work that is measured: where a machine halts for a moment, the others tell."""


def udp(messages: int) -> float:
    """Return the microseconds of a datagram of 32 bytes sent and received, without a connection."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        to, message = ours.getsockname(), bytes(32)
        send, receive = ours.sendto, ours.recvfrom
        begun = time.perf_counter()
        for _ in range(messages):
            send(message, to)
            receive(64)
        return (time.perf_counter() - begun) / messages * 1e6


def udp_connected(messages: int) -> float:
    """Return the same between two sockets that are connected to each other."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        server.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        server.connect(client.getsockname())
        message, send, receive = bytes(32), client.send, server.recv
        begun = time.perf_counter()
        for _ in range(messages):
            send(message)
            receive(64)
        return (time.perf_counter() - begun) / messages * 1e6


def tcp(messages: int) -> float:
    """Return the microseconds of a byte sent one way over a connection, and received; there and back in turn."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        begun = time.perf_counter()
        for _ in range(messages // 2):
            client.send(b"x")
            server.recv(1)
            server.send(b"x")
            client.recv(1)
        return (time.perf_counter() - begun) / messages * 1e6


def connections(number: int) -> float:
    """Return the processor microseconds of a connection, both ends and the kernel's part, at 2,000 a second.

    It is opened, carries a request of 100 bytes and an answer of 1,000, and is closed.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        answering = threading.Thread(target=_answer, args=(listener, number))
        before = time.process_time()
        answering.start()
        begun = time.perf_counter()
        for done in range(number):
            with socket.create_connection(listener.getsockname()) as client:
                client.send(bytes(100))
                while client.recv(4096):
                    pass
            time.sleep(max(begun + (done + 1) / PACE - time.perf_counter(), 0))
        answering.join()
        return (time.process_time() - before) / number * 1e6


def _answer(listener: socket.socket, number: int) -> None:
    for _ in range(number):
        server, _ = listener.accept()
        with server:
            server.recv(4096)
            server.send(bytes(1000))


def iperf_tcp(seconds: int) -> float:
    """Return the Gbit/s of one connection."""
    end = _iperf(seconds)["end"]
    return float(end["sum_received"]["bits_per_second"]) / 1e9


def iperf_udp(seconds: int) -> float:
    """Return the received Gbit/s of datagrams of 1,400 bytes, as many as go through."""
    end = _iperf(seconds, "--udp", "--bandwidth", "0", "--length", "1400")["end"]["sum"]
    arrived = 1 - end["lost_percent"] / 100
    return float(end["bits_per_second"]) * arrived / 1e9


def _iperf(seconds: int, *flags: str) -> dict[str, dict[str, dict[str, float]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = subprocess.Popen(
        ["iperf3", "--server", "--one-off", "--bind", "127.0.0.1", "--port", port],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for_listener(int(port))
        client = ["iperf3", "--json", "--client", "127.0.0.1", "--port", port]
        done = subprocess.run(
            [*client, "--time", str(seconds), *flags], capture_output=True, check=True
        )
    finally:
        server.terminate()
        server.wait()
    answer: dict[str, dict[str, dict[str, float]]] = json.loads(done.stdout)
    return answer


def _wait_for_listener(port: int) -> None:
    """Wait until iperf3 listens on 127.0.0.1; it would serve a connection to find that out, and no other."""
    sought = f"0100007F:{port:04X}"
    for _ in range(500):
        with open("/proc/net/tcp") as table:
            if any(line.split()[1] == sought and line.split()[3] == "0A" for line in table):
                return
        time.sleep(0.01)


@dataclass(frozen=True)
class Work:
    """One kind of traffic."""

    name: str
    title: str
    do: Callable[[int], float]
    amount: int
    """The argument of `do` at full effort."""
    quick: int
    more_is_better: bool = False

    def figure(self, amount: int) -> float:
        """Return what the work says of itself; where it can be done in parts, the median of ten, after one that warms all up."""
        if self.more_is_better:
            return self.do(amount)
        self.do(amount // PARTS)
        return statistics.median(self.do(amount // PARTS) for _ in range(PARTS))


WORKS: Final = (
    Work("udp", "UDP, 32 bytes sent and received, µs", udp, 100_000, 5000),
    Work("udp_connected", "the same, connected", udp_connected, 100_000, 5000),
    Work("tcp", "TCP, 1 byte there and back, µs a byte", tcp, 100_000, 5000),
    Work("connections", "2,000 short TCP connections/s, CPU µs each", connections, 4000, 400),
    Work("iperf_tcp", "iperf3 TCP, Gbit/s", iperf_tcp, 3, 1, more_is_better=True),
    Work("iperf_udp", "iperf3 UDP, Gbit/s received", iperf_udp, 3, 1, more_is_better=True),
)


def measured(work: Work, *, quick: bool) -> float:
    """Return the figure of a work that is done in a process of its own."""
    amount = work.quick if quick else work.amount
    command = [sys.executable, "-m", "tests.bench.works", work.name, str(amount)]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def main() -> None:
    """Do the named work once, and print its figure."""
    name, amount = sys.argv[1], int(sys.argv[2])
    work = next(work for work in WORKS if work.name == name)
    sys.stdout.write(f"{work.figure(amount)}\n")


if __name__ == "__main__":
    main()
