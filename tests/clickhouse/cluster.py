"""Two shards of one replica each, and the ZooKeeper that they need, as Debian has it; in folders of the test's own."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.clickhouse.servers import ClickHouse, free_port
from tests.kernel.running import HANG

JAR: Final = Path("/usr/share/java/zookeeper.jar")

NAME: Final = "fleet"

_MORE: Final = """<zookeeper><node><host>127.0.0.1</host><port>{zookeeper}</port></node></zookeeper>
<remote_servers><fleet>{shards}</fleet></remote_servers>
<macros><shard>{port}</shard><replica>only</replica></macros>
<distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>
<interserver_http_host>127.0.0.1</interserver_http_host><interserver_http_port>{http}</interserver_http_port>
"""

_SHARD: Final = """<shard><internal_replication>true</internal_replication>
<replica><host>127.0.0.1</host><port>{port}</port></replica></shard>"""


def is_there() -> bool:
    """Return True if ZooKeeper and Java are installed."""
    return JAR.exists() and shutil.which("java") is not None


@contextmanager
def zookeeper(folder: Path) -> Iterator[int]:
    """Start ZooKeeper; yield its port."""
    port = free_port()
    folder.mkdir()
    (folder / "zoo.cfg").write_text(
        f"dataDir={folder}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\n"
        "admin.enableServer=false\n"
    )
    main = "org.apache.zookeeper.server.ZooKeeperServerMain"
    with (folder / "output").open("wb") as out:
        process = subprocess.Popen(
            ["java", "-Xmx128m", "-cp", str(JAR), main, str(folder / "zoo.cfg")],
            stdout=out,
            stderr=out,
        )
    try:
        _await(port, process)
        yield port
    finally:
        process.kill()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until ZooKeeper reports its state; it listens before it can do anything."""
    deadline = time.monotonic() + HANG
    while not _says(port, b"srvr").startswith(b"Zookeeper version"):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)


def _says(port: int, word: bytes) -> bytes:
    """Return ZooKeeper's answer to one of its words of four letters; empty if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5.0) as sock:
            sock.sendall(word)
            return sock.recv(1000)
    except OSError:
        return b""


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[ClickHouse, ClickHouse]]:
    """Start two shards without tables; yield their servers."""
    ports = free_port(), free_port()
    shards = "".join(_SHARD.format(port=port) for port in ports)
    with zookeeper(folder / "zookeeper") as keeper:
        servers = [
            ClickHouse(
                folder / str(port),
                _MORE.format(zookeeper=keeper, shards=shards, port=port, http=free_port()),
                port=port,
            )
            for port in ports
        ]
        try:
            for server in servers:
                server.start()
            yield servers[0], servers[1]
        finally:
            for server in servers:
                server.stop()
