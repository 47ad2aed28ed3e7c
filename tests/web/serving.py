"""Run the browser view for tests, in this process or as a program, and send it requests."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from bwtop.history.dimensions import DIMENSIONS
from bwtop.history.process import LIMITS, QueryLimits
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.metrics.exposition import Exposition
from bwtop.model.flows import Identity, Traffic
from bwtop.model.sample import Sample
from bwtop.web.access import AccessPolicy, Address, HttpRequest
from bwtop.web.answer import HttpResponse
from bwtop.web.api import Api
from bwtop.web.broadcaster import Broadcaster
from bwtop.web.files import File
from bwtop.web.history import HistoryAccess, LocalHistory
from bwtop.web.reports import Reports
from bwtop.web.scrape import Scraped
from bwtop.web.server import WebServer
from bwtop.web.source import LiveSource
from bwtop.web.trusted import Trusted, TrustedUsers
from tests.build import key, remote, sample
from tests.kernel.running import HANG, LAUNCHER, command, timestamp
from tests.processes import USER, until

TOKEN: Final = "a-token-of-a-test-4b1f"
HTML: Final = b"<!doctype html><title>the page</title>\n"
SCRIPT: Final = b"'use strict';\n" + b"// long\n" * 1000
HAVING: Final = [d for d in DIMENSIONS if d.name not in ("asn", "country")]
"""The dimensions that need no database."""

FILES: Final = {
    "/": File("text/html; charset=utf-8", HTML, '"page"'),
    "/app.js": File("text/javascript; charset=utf-8", SCRIPT, '"script"'),
    "/app.css": File("text/css; charset=utf-8", b"p{}\n", '"style"'),
}

Headers = Mapping[str, str]
Fields = Headers | Sequence[tuple[str, str]]

# Asking.


@dataclass(frozen=True)
class Reply:
    """A raw HTTP answer."""

    head: str
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers by lower-case name; check that none is repeated."""
        found: dict[str, str] = {}
        for line in self.head.split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            assert name.lower() not in found, f"{name} comes twice"
            found[name.lower()] = value
        return found

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """Return the reason of the refusal; check that the answer is one line of JSON."""
        assert self.headers["content-type"] == "application/json", self
        assert self.body.count(b"\n") == 1, self
        assert self.body.endswith(b"\n"), self
        found = self.document
        assert list(found) == ["error"], self
        assert "Traceback" not in found["error"], self
        return str(found["error"])


def reply(raw: bytes) -> Reply:
    head, blank, body = raw.partition(b"\r\n\r\n")
    assert blank, raw
    assert head.startswith(b"HTTP/1.1 "), raw
    return Reply(head.decode("ascii"), body)


def read_all(sock: socket.socket) -> bytes:
    """Read until the end or a reset."""
    parts: list[bytes] = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), HANG)


def connect_as(uid: int, port: int, host: str = "127.0.0.1") -> socket.socket:
    """Return a connection made by a process of another user; the socket keeps that user."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if not child:
            with suppress(BaseException):
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                made = connect(port, host)
                socket.send_fds(theirs, [b"."], [made.fileno()])
            os._exit(0)
        theirs.close()
        ours.settimeout(HANG)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(child, 0)
    (descriptor,) = descriptors
    found = socket.socket(fileno=descriptor)
    found.settimeout(HANG)
    return found


def exchange(port: int, data: bytes, *, shut: bool = False, uid: int | None = None) -> bytes:
    """Send bytes on a new connection, perhaps of another user; return all bytes until the server closes it."""
    with connect(port) if uid is None else connect_as(uid, port) as sock:
        with suppress(OSError):  # it has read enough, and may have said so
            sock.sendall(data)
            if shut:
                sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def request(
    port: int,
    path: str = "/healthz",
    method: str = "GET",
    headers: Fields = (),
    *,
    host: str | None = "",
) -> bytes:
    """Format a request; `host` None: without Host."""
    lines = [f"{method} {path} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host or f'127.0.0.1:{port}'}")
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines += [f"{name}: {value}" for name, value in pairs]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def ask(
    port: int,
    path: str = "/healthz",
    method: str = "GET",
    headers: Fields = (),
    *,
    host: str | None = "",
    uid: int | None = None,
) -> Reply:
    """Send a request, with `uid` as another user."""
    return reply(exchange(port, request(port, path, method, headers, host=host), uid=uid))


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: Any
    id: int | None = None


class Closed:
    """An object that is closed at the end of a with statement."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stream(Closed):
    """An open stream."""

    def __init__(self, port: int, path: str = "/api/v1/stream", headers: Headers = {}) -> None:  # noqa: B006 - read only
        self.socket = connect(port)
        self._file = self.socket.makefile("rb")
        self.socket.sendall(request(port, path, headers=headers))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            assert line, f"no head: {head!r}"
            head += line
        self.reply = reply(head)

    @property
    def status(self) -> int:
        return self.reply.status

    def rest(self) -> bytes:
        return self._file.read()

    def blocks(self) -> Iterator[list[str]]:
        """Yield the blocks of the stream, including heartbeats, until it ends."""
        lines: list[str] = []
        while line := self._file.readline():
            text = line.decode().rstrip("\n")
            if text:
                lines.append(text)
            else:
                yield lines
                lines = []

    def events(self) -> Iterator[Event]:
        for lines in self.blocks():
            found = dict(line.split(": ", 1) for line in lines)
            if "event" in found:
                number = int(found["id"]) if "id" in found else None
                yield Event(found["event"], json.loads(found["data"]), number)

    def next(self, name: str) -> Event:
        """Return the next event of a name."""
        return next(event for event in self.events() if event.name == name)

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Listener(Closed):
    """A stream read by a thread, with the arrival time of each event."""

    def __init__(self, port: int, path: str = "/api/v1/stream", headers: Headers = {}) -> None:  # noqa: B006 - read only
        self.came: list[tuple[float, Event]] = []
        self.stream = Stream(port, path, headers)
        assert self.stream.status == 200, self.stream.reply
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self.stream.events():
                self.came.append((time.monotonic(), event))
        except (OSError, ValueError):  # closed
            return

    def of(self, name: str) -> list[Event]:
        return [event for _, event in list(self.came) if event.name == name]

    @property
    def intervals(self) -> list[Any]:
        return [event.data for event in self.of("interval")]

    @property
    def documents(self) -> list[Any]:
        """Return the same as tests.kernel.running.Bwtop."""
        return self.intervals

    def wait(self, condition: Callable[[], object]) -> None:
        until(condition, lambda: f"only {self.came[-3:]} came")

    def settle(self) -> None:
        """Wait for the end of an interval that began after now: at the end of the one before it.

        Intervals are not counted: those of before now may still be on their way.
        """
        now = time.time()
        self.wait(
            lambda: (
                len(self.intervals) > 1
                and all(timestamp(one["time"]) > now for one in self.intervals[-2:])
            )
        )

    def close(self) -> None:
        with suppress(OSError):  # the server was first
            self.stream.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(HANG)
        self.stream.close()


class Asked:
    """A server on a port of loopback."""

    port: int

    def ask(
        self,
        path: str = "/healthz",
        method: str = "GET",
        headers: Fields = (),
        *,
        host: str | None = "",
        uid: int | None = None,
    ) -> Reply:
        return ask(self.port, path, method, headers, host=host, uid=uid)


# In this process.


class NoReadings:
    """The readings of a measurement whose samples the test puts."""

    def read(self) -> Sample:
        raise AssertionError("nothing reads in tests")


def reports_of(history_access: HistoryAccess, limits: QueryLimits = LIMITS) -> Reports:
    """Return reports that have started."""
    made = Reports(history_access, limits=limits)
    made.start()
    return made


class JustMeasured(Broadcaster):
    """A broadcaster whose last interval has just come: a page may open long after a test has put it."""

    def age(self) -> float:
        return 0.0


class Web(Asked, Closed):
    """The complete browser view without probes: the test puts the samples."""

    def __init__(
        self,
        database: Path,
        token: str | None = None,
        hosts: Iterable[str] = (),
        *,
        bound: str = "127.0.0.1",
        trusted: Trusted | None = None,
        files: Mapping[str, File] = FILES,
        history_access: HistoryAccess | None = None,
        metrics: Exposition | None = None,
    ) -> None:
        """Listen on loopback; the policy assumes `bound`; `history_access` replaces the local history.

        By default it trusts this process's user without a token, and no user with one.
        """
        self._threads = set(threading.enumerate())
        self.reports = reports_of(history_access or LocalHistory(database))
        self.server = WebServer(Address("127.0.0.1", 0))
        self.port = self.server.server_port
        if token is None and trusted is None:
            trusted = TrustedUsers(os.geteuid())
        self.policy = AccessPolicy(Address(bound, self.port), token, hosts, trusted)
        self.broadcaster = JustMeasured(None)
        self.source = LiveSource(self.reports.origin)
        api = Api(
            self.policy,
            files,
            broadcaster=self.broadcaster,
            source=self.source,
            history=self.reports,
            names=None,
            interval=1.0,
            metrics=metrics,
        )
        self._respond = api.respond
        self.asked: list[HttpRequest] = []
        self.broadcaster.start()
        self.server.start(self._noted)

    def _noted(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request)
        return self._respond(request)

    def measure(self) -> None:
        """Pretend that probes are attached."""
        status = Status("not recording")
        self.source.set(
            Measurement(
                readings=NoReadings(),
                backend="tracepoint",
                status=lambda: status,
                close=lambda _: None,
            )
        )

    def put(self, one: Sample | None = None) -> None:
        if self.source.why:
            self.measure()
        self.broadcaster.put(one or sample(), "tracepoint")

    def threads(self) -> list[threading.Thread]:
        """Return its running threads."""
        return [t for t in threading.enumerate() if t not in self._threads]

    def close(self) -> None:
        self.broadcaster.close()
        self.server.shutdown()
        self.server.server_close()
        self.reports.close()
        until(lambda: not self.threads(), lambda: f"{self.threads()} are still at work")


class Exposing(Asked, Closed):
    """The server of --record --metrics, with a reading; by default it trusts as Web does."""

    def __init__(
        self, token: str | None = None, hosts: Iterable[str] = (), trusted: Trusted | None = None
    ) -> None:
        users = trusted or (None if token else TrustedUsers(os.geteuid()))
        self._scraped = Scraped(Address("127.0.0.1", 0), token, hosts, users)
        self.url = self._scraped.url
        self.port = urlsplit(self.url).port or 0
        traffic, curl = {key(1): {remote(): Traffic(1009, 0)}}, {key(1): Identity("curl")}
        self._scraped.watch.take(sample(traffic, identities=curl), 0.01)
        self._scraped.start()

    def close(self) -> None:
        self._scraped.close()


# The real program.


@dataclass
class Serving(Asked):
    """`bwtop --serve` on a free port of loopback, ready once it has printed its URL."""

    process: subprocess.Popen[str]
    port: int = 0
    lines: list[str] = field(default_factory=list)
    _served: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._served.wait(HANG) or not self.port:
            self.kill()
            raise AssertionError(f"it does not serve: {self.lines}")

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if found := re.match(r"bwtop: serving on http://\S+:([0-9]+)/$", line):
                self.port = int(found[1])
                self._served.set()
        self._served.set()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def token(self) -> str:
        """Return the generated token."""
        (line,) = [line for line in self.lines if "the token" in line]
        return line.rpartition(" ")[2]

    @property
    def login(self) -> str:
        """Return the path of the printed one-time link."""
        until(lambda: any("one-time link" in line for line in self.lines))
        (line,) = [line for line in self.lines if "one-time link" in line]
        return "/" + line.split("/", 3)[3]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and return its exit status; all its output is then read."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(HANG)
        self._reader.join(HANG)
        return status

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(HANG)
        self._reader.join(HANG)
        assert self.process.stderr
        self.process.stderr.close()


def as_user(*flags: str) -> list[str]:
    """Return the command of `USER`'s bwtop; `USER` may not be allowed into this checkout, so modules and files are loaded first."""
    program = (
        f"import os, sys; sys.path.insert(0, {str(LAUNCHER.parent)!r});"
        " import bwtop.cli, bwtop.metrics.exposition, bwtop.web.history, bwtop.web.serve;"
        " import bwtop.clickhouse.client as client, bwtop.web.files as files; client.load();"
        " found = files.load(None, {}); files.load = lambda *_: found;"
        f" os.setgroups([]); os.setresgid(*3 * [{USER}]); os.setresuid(*3 * [{USER}]);"
        f" bwtop.cli.main({list(flags)!r})"
    )
    return [sys.executable, "-c", program]


@contextmanager
def serving(
    *flags: str,
    bind: str = "127.0.0.1:0",
    started: Callable[..., list[str]] = command,
    env: Mapping[str, str] | None = None,
) -> Iterator[Serving]:
    """Run it, by default as root without recording; `started` runs it as another user."""
    arguments = ["--serve", "--bind", bind, "--no-resolve", *flags]
    if not {"--db", "--from"} & set(flags):
        arguments.append("--no-record")
    process = subprocess.Popen(
        started(*arguments),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    found = Serving(process)
    try:
        yield found
    finally:
        found.kill()
