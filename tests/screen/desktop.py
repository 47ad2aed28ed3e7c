"""Programs of a desktop that speak to named servers, all in a network namespace of their own, for at most three minutes.

They speak from 127.0.0.1: so the servers' ends are loopback, and theirs are not.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Talk(NamedTuple):
    """A connection of a program; the rates are in KiB/s."""

    program: str
    name: str
    """Of the server: in a TLS hello at port 443, in a request at port 80, and nowhere else."""
    address: str
    port: int
    up: float
    down: float


TALKS = (
    Talk("firefox", "cdn.example.net", "203.0.113.20", 443, 9, 1250),
    Talk("firefox", "www.example.com", "198.51.100.7", 443, 6, 210),
    Talk("firefox", "fonts.example.net", "203.0.113.21", 443, 1, 34),
    Talk("backup", "storage.example.org", "198.51.100.40", 443, 560, 5),
    Talk("apt", "deb.example.org", "203.0.113.80", 80, 2, 240),
    Talk("syncd", "peer.example.com", "198.51.100.90", 443, 88, 14),
    Talk("ssh", "", "10.8.0.5", 22, 3, 9),
)

_SCRIPT = """
import contextlib, json, math, random, signal, socket, ssl, sys, threading, time
signal.alarm(180)
talks = json.loads(sys.argv[1])
def hello(name):
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
def pour(connection, rate):
    dice = random.Random(rate)
    begun, left = time.monotonic() - dice.random() * 60, 0.0
    while True:
        wave = math.sin((time.monotonic() - begun) / (5 + dice.random() / 5))
        left += rate * 1024 / 20 * (0.7 + 0.4 * wave) * dice.uniform(0.8, 1.2)
        if left >= 1:
            connection.sendall(bytes(int(left)))
            left -= int(left)
        time.sleep(0.05)
def drain(connection):
    while connection.recv(1 << 16):
        pass
def both(connection, rate):
    threading.Thread(target=ending, args=[drain, connection], daemon=True).start()
    ending(pour, connection, rate)
def ending(work, *arguments):
    with contextlib.suppress(OSError):  # the other end has been killed
        work(*arguments)
def serve(port):
    down = {talk[2]: talk[5] for talk in talks}
    listener = socket.create_server(("", port))
    while True:
        connection, _ = listener.accept()
        rate = down[connection.getsockname()[0]]
        threading.Thread(target=both, args=[connection, rate], daemon=True).start()
def speak(program, name, address, port, up, down):
    connection = socket.create_connection((address, port), source_address=("127.0.0.1", 0))
    if port == 443:
        connection.sendall(hello(name))
    elif port == 80:
        connection.sendall(f"GET / HTTP/1.1\\r\\nHost: {name}\\r\\n\\r\\n".encode())
    both(connection, up)
program = sys.argv[2]
if program == "servers":
    works = [(serve, [port]) for port in {talk[3] for talk in talks}]
else:
    works = [(speak, talk) for talk in talks if talk[0] == program]
for work, arguments in works:
    threading.Thread(target=work, args=arguments, daemon=True).start()
time.sleep(0.5)
print("ready", flush=True)
threading.Event().wait()
"""


@contextlib.contextmanager
def desktop(folder: Path) -> Iterator[None]:
    """Run them, until the body ends."""
    name = f"bwtop-desktop-{os.getpid()}"
    with contextlib.ExitStack() as ending:
        _ip("netns", "add", name)
        ending.callback(_ip, "netns", "delete", name)
        _ip("-n", name, "link", "set", "lo", "up")
        for talk in TALKS:
            _ip("-n", name, "address", "add", f"{talk.address}/32", "dev", "lo")
        for program in ("servers", *dict.fromkeys(talk.program for talk in TALKS)):
            ending.enter_context(_running(name, folder / program))
        yield


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextlib.contextmanager
def _running(namespace: str, program: Path) -> Iterator[None]:
    """Run a program under its name, which the kernel takes from its file's."""
    program.symlink_to("/usr/bin/python3")
    command = ["ip", "netns", "exec", namespace, str(program), "-c", _SCRIPT]
    process = subprocess.Popen([*command, json.dumps(TALKS), program.name], stdout=subprocess.PIPE)
    assert process.stdout
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
