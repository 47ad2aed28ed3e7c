"""A process of a known name that moves bytes over loopback until it is stopped, or for a minute."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
import signal, socket, sys, threading, time

def drain(listener):
    connection, _ = listener.accept()
    while connection.recv(65536):
        pass

signal.alarm(600)
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
threading.Thread(target=drain, args=(listener,), daemon=True).start()
client = socket.create_connection(("127.0.0.1", port))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
print(port, datagrams.getsockname()[1], flush=True)
step = 0
while True:
    step += 1
    client.sendall(bytes(int(sys.argv[1]) * (1 + (step // 20) ** 2 % 7)))
    datagrams.sendto(bytes(101), datagrams.getsockname())
    datagrams.recvfrom(4096)
    time.sleep(0.05)
"""


@dataclass(frozen=True)
class Mover:
    """The process, and the ports that it moves bytes through."""

    process: subprocess.Popen[str]
    tcp: int
    udp: int


@contextlib.contextmanager
def mover(folder: Path, name: str = "mover", size: int = 1009) -> Iterator[Mover]:
    """Run a mover under a name of at most 15 bytes; the kernel takes it from the file name of the program."""
    program = folder / name
    if not program.exists():
        program.symlink_to("/usr/bin/python3")
    process = subprocess.Popen(
        [program, "-c", _SCRIPT, str(size)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        tcp, udp = map(int, process.stdout.readline().split())
        yield Mover(process, tcp, udp)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
