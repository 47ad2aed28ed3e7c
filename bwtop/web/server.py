"""Python's http.server with limits on all that a client can use up: connections, bytes, and time.

Every connection carries one request.  That costs a loopback handshake, and leaves nothing to go wrong with bodies that
nobody wants or requests that follow half-read ones.
"""

import contextlib
import io
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from bwtop.messages import say
from bwtop.web.answer import Answer, RefusedError, refuse
from bwtop.web.gate import Address, Request

MAX_STREAMS: Final = 32
"""Pages that are kept up to date at once."""

MAX_CONNECTIONS: Final = MAX_STREAMS + 64
"""Each has a thread; further ones wait to be accepted."""

WAIT_SECONDS: Final = 10.0
"""For one of those to end."""

HEAD_SECONDS: Final = 10.0
"""In which a request must have come."""

HEAD_BYTES: Final = 16384
LINE_BYTES: Final = 8192

SEND_SECONDS: Final = 30.0
"""In which an event, or a part of an answer, must have been taken."""

PART_BYTES: Final = 65536
"""Who takes as much in each of those times is slow, but not gone."""

LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 65536
"""What is read and thrown away after the answer: closing before would reset the connection, and lose it."""

METHODS: Final = ("GET", "HEAD")

SECURITY: Final = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""In every answer."""

Respond = Callable[[Request], Answer]
"""Answers, or raises RefusedError."""


class Server(ThreadingHTTPServer):
    """Listens at once; answers when it is started."""

    request_queue_size = 256

    def __init__(self, address: Address) -> None:
        """Raises OSError where that address cannot be listened on."""
        self.address_family = socket.AF_INET if address.ip.version == 4 else socket.AF_INET6
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.respond: Respond = lambda _: refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not started yet")
        super().__init__((address.host, address.port), Handler)
        self.address = Address(address.host, self.server_port)

    def server_bind(self) -> None:
        """Without asking DNS for our own name, as HTTPServer does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def start(self, respond: Respond) -> None:
        """Begins to answer, in threads."""
        self.respond = respond
        threading.Thread(target=self.serve_forever, name="bwtop-web", daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread, when there may be one more."""
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that goes is no error, and Handler tells of ours."""


class _HeadReader(io.RawIOBase):
    """A request's beginning, within a number of bytes and a time that no trickle prolongs."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + HEAD_SECONDS
        self._left = HEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """See io; raises TimeoutError when it is over, and RefusedError beyond the limit."""
        if not self._left:
            refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long")
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining)
        count = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


def _decoded(target: str) -> str:
    """What was asked for as its bytes were meant: http.server reads them as Latin-1, and browsers write UTF-8."""
    try:
        return target.encode("latin-1").decode()
    except UnicodeDecodeError:
        refuse(HTTPStatus.BAD_REQUEST, "not a request: the address is no UTF-8")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    disable_nagle_algorithm = True  # head and body are two writes
    protocol_version = "HTTP/1.1"

    def version_string(self) -> str:
        """What the Server header says: not which Python this is."""
        return "bwtop"

    def setup(self) -> None:
        """See socketserver."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_HeadReader(self.connection))
        self._wrong: tuple[HTTPStatus, str] | None = None
        self.command = self.requestline = ""
        self.headers = self.MessageClass()

    def handle(self) -> None:
        """Answers one request; a client that goes away or is too slow gets none."""
        with contextlib.suppress(OSError):
            answer = self._answer()
            if answer:
                self.connection.settimeout(SEND_SECONDS)
                self._send(answer)
                self._linger()

    def _answer(self) -> Answer | None:
        try:
            request = self._read()
            return self.server.respond(request) if request else None
        except RefusedError as refused:
            return refused.answer()
        except OSError:
            raise
        except Exception as error:  # whatever it is, the client gets no traceback
            say(f"a request could not be answered ({error!r}); please report it")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            return RefusedError(status, "an error in bwtop; its own output says more").answer()

    def _read(self) -> Request | None:
        """The request; None: the client went without one.  Raises RefusedError and OSError."""
        self.raw_requestline = self.rfile.readline(LINE_BYTES + 1)
        if not self.raw_requestline:
            return None
        if len(self.raw_requestline) > LINE_BYTES:
            refuse(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
        if not self.parse_request():
            status, words = self._wrong or (HTTPStatus.BAD_REQUEST, "not a request")
            refuse(status, words)
        if self.request_version == "HTTP/0.9" or not self.path.startswith("/"):
            refuse(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1")
        if self.command not in METHODS:
            allow = ("Allow", ", ".join(METHODS))
            refuse(HTTPStatus.METHOD_NOT_ALLOWED, f"there are only {' and '.join(METHODS)}", allow)
        path, _, query = _decoded(self.path).partition("?")
        return Request(self.command, path, query, self.headers)

    def send_error(self, code: int, *_: object, **__: object) -> None:
        """What http.server finds wrong while it reads; the answer is ours."""
        status = HTTPStatus(code)
        self._wrong = status, f"not a request: {status.phrase.lower()}"

    def handle_expect_100(self) -> bool:
        """Nobody wants a body."""
        return True

    def _send(self, answer: Answer) -> None:
        try:
            self._send_all(answer)
        finally:
            if answer.stream:
                answer.stream.close()

    def _send_all(self, answer: Answer) -> None:
        self.request_version = (
            self.protocol_version
        )  # http.server sends no head where it could read none
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        if answer.stream is None and answer.status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(answer.body)))  # RFC 9110, 8.6
        for name, value in (*answer.headers, *SECURITY):
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.stream is None:
            body = memoryview(answer.body)
            for start in range(0, len(body), PART_BYTES):
                self.connection.sendall(body[start : start + PART_BYTES])
        else:
            for part in answer.stream:
                if self._is_gone():
                    return
                self.connection.sendall(part)

    def _is_gone(self) -> bool:
        """Whether the client has closed its end; it has nothing more to say."""
        self.connection.setblocking(False)  # noqa: FBT003 - socket's own
        try:
            return not self.connection.recv(1024)
        except BlockingIOError:
            return False
        finally:
            self.connection.settimeout(SEND_SECONDS)

    def _linger(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + LINGER_SECONDS
        left = LINGER_BYTES
        while left > 0 and (remaining := deadline - time.monotonic()) > 0:
            self.connection.settimeout(remaining)
            count = len(self.connection.recv(min(left, 8192)))
            if not count:
                return
            left -= count

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Nothing: addresses asked for have filters in them, and links have keys."""
