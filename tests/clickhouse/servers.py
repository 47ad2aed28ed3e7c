"""ClickHouse of Debian as a server in a folder of the test, and the current one as the library chdb."""

import contextlib
import json
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from bwtop.clickhouse.client import Client, FleetError, FleetServer
from bwtop.clickhouse.migrations import install
from bwtop.clickhouse.target import Target

PATIENCE: Final = 60.0

_CONFIG: Final = """<yandex>
<logger><level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>
<tcp_port>{port}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
<users_config>{folder}/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>67108864</mark_cache_size>
{more}
</yandex>
"""

_USERS: Final = """<yandex><profiles><default/><readonly><readonly>1</readonly></readonly></profiles><quotas><default/></quotas><users>
<default><password></password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></default>
<{user}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></{user}>
<reader><password></password><networks><ip>127.0.0.1</ip></networks>
<profile>readonly</profile><quota>default</quota></reader>
</users></yandex>
"""

PASSWORD: Final = "correct horse"


def free_port() -> int:
    """Return a port that is free and stays so: the kernel chooses those of others from 32768 on (ip(7)).

    Each of the processes that run tests has a range of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    first = 20_000 + 1500 * worker
    while True:
        port = random.SystemRandom().randrange(first, first + 1500)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def listening(take: Callable[[socket.socket], object]) -> Iterator[int]:
    """Open a port, and call a function with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    take(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class ClickHouse:
    """A clickhouse-server that can be stopped in every way."""

    def __init__(self, folder: Path, more: str = "", *, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.target = self.at(self.port)
        folder.mkdir(parents=True, exist_ok=True)
        config = _CONFIG.format(folder=folder, port=self.port, more=more)
        (folder / "config.xml").write_text(config)
        self.let_in("writer", PASSWORD)
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def at(port: int) -> Target:
        return Target("127.0.0.1", port)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def let_in(self, user: str, password: str) -> None:
        """Add a user beside the default one; a running server notices within seconds."""
        file = self.folder / "users.xml"
        before = file.stat().st_mtime if file.exists() else 0.0
        file.write_text(_USERS.format(user=user, password=password))
        when = max(file.stat().st_mtime, before + 2)  # it looks at whole seconds
        os.utime(file, (when, when))

    def start(self) -> None:
        """Start the server, and return once it answers; skip the test on a Debian that has none."""
        if (
            not shutil.which("clickhouse-server")
            and platform.freedesktop_os_release().get("VERSION_ID") != "12"
        ):
            pytest.skip("this distribution has no clickhouse-server")
        with (self.folder / "output").open("ab") as out:
            self._process = subprocess.Popen(
                ["clickhouse-server", f"--config-file={self.folder}/config.xml"],
                stdout=out,
                stderr=out,
                cwd=self.folder,
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with contextlib.closing(self.client(database=False)) as client:
                    client.query("SELECT 1")
                return
            except FleetError:
                assert time.monotonic() < deadline, (self.folder / "output").read_text()
                assert self._process.poll() is None, (self.folder / "output").read_text()
                time.sleep(0.05)

    def client(self, *, database: bool = True, patience: float = 60.0) -> Client:
        return Client(self.target, "", database=database, patience=patience)

    def init(self, database: str | None = None, cluster: str | None = None) -> None:
        with contextlib.closing(self.client(database=False)) as client:
            install(client, database or self.target.database, cluster=cluster)

    def signal(self, number: int) -> None:
        assert self._process
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Kill the server, as in a crash."""
        assert self._process
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        if self._process:
            self.signal(signal.SIGCONT)
            self.kill()


class Library:
    """The current ClickHouse in this process; a process can have only one, so its tables are emptied instead."""

    def __init__(self, session: Any, database: str) -> None:
        self._session = session
        self._database = database
        self._version: tuple[int, int] | None = None

    @property
    def version(self) -> tuple[int, int]:
        if self._version is None:
            major, minor = str(self.query("SELECT version()")[0][0]).split(".")[:2]
            self._version = int(major), int(minor)
        return self._version

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        try:
            self._session.query(f"USE {self._database}")
            found = self._session.query(statement, "JSONCompact").bytes()
        except Exception as error:
            raise FleetError(str(error)) from error
        if not found:
            return []
        answer = json.loads(found)
        wide = [column["type"] in ("UInt64", "Int64") for column in answer["meta"]]
        return [
            tuple(int(v) if is_wide else v for v, is_wide in zip(row, wide, strict=True))
            for row in answer["data"]
        ]

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        rows = "\n".join(json.dumps([*map(_plain, row)]) for row in zip(*values, strict=True))
        self._session.query(f"USE {self._database}")
        self._session.query(
            f"INSERT INTO {table} ({', '.join(columns)}) FORMAT JSONCompactEachRow\n{rows}"
        )

    def close(self) -> None:
        pass


def merge(server: FleetServer, table: str) -> None:
    """Merge all parts of a table, and drop those that are over; while it merges by itself, it refuses."""
    deadline = time.monotonic() + 60
    server.query("SET optimize_throw_if_noop = 1")
    while True:
        try:
            server.query(f"OPTIMIZE TABLE {table} FINAL")
            return
        except FleetError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return str(IPv6Address(value))
    return str(value) if isinstance(value, UUID) else value
