"""Python's http.server with limits for each client: connections, bytes, and time.

Every connection carries one request.  That costs a handshake on loopback, and rules out errors with unread bodies and
pipelined requests.
"""

import contextlib
import io
import select
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Self
from urllib.parse import quote_from_bytes

from bwtop.text.stderr import say
from bwtop.web.acceptor import HEAD_BYTES, Acceptor, is_whole
from bwtop.web.access import Address, HttpRequest
from bwtop.web.answer import HttpError, HttpResponse, refuse
from bwtop.web.room import Connection

MAX_STREAMS: Final = 32
"""Maximum number of open streams."""

MAX_CONNECTIONS: Final = MAX_STREAMS + 64
"""Maximum number of threads, one per complete request; Acceptor limits the rest."""

CLIENT_CONNECTIONS: Final = MAX_STREAMS + 32
"""The same limit for one client: all streams, and other requests of the same pages."""

BACKLOG: Final = 1024
"""Connections queued by the kernel; beyond, a client retries after a second."""

LINE_BYTES: Final = 8192

SEND_SECONDS: Final = 30.0
"""Time limit for a client to take an event or a part of an answer."""

PART_BYTES: Final = 65536
"""Bytes of a part: a client that takes one within SEND_SECONDS is slow, but not gone."""

LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 65536
"""Bytes read and discarded after the answer: closing earlier resets the connection, and loses the answer."""

METHODS: Final = ("GET", "HEAD")

BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
"""Statuses without a Content-Length of their own."""

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
"""Headers of every answer."""

Respond = Callable[[HttpRequest], HttpResponse]
"""Answers a request, or raises HttpError."""


class WebServer:
    """A web server; it listens at once, and answers after `start`."""

    def __init__(self, address: Address) -> None:
        """Listen on the address; raise OSError if that fails."""
        self.respond: Respond
        """Set by `start`."""
        self._listener = _listening(address)
        self.server_port: int = self._listener.getsockname()[1]
        self.address = Address(address.host, self.server_port)
        self._acceptor = Acceptor(self._listener, self._serve, MAX_CONNECTIONS, CLIENT_CONNECTIONS)
        self._thread: threading.Thread | None = None

    def start(self, respond: Respond) -> None:
        """Start to answer, in threads."""
        self.respond = respond
        self._thread = threading.Thread(target=self._acceptor.run, name="bwtop-web", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """Stop accepting; answers in progress go on."""
        self._acceptor.stop()
        if self._thread:
            self._thread.join()

    def server_close(self) -> None:
        """Close the listening socket."""
        self._listener.close()
        self._acceptor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server_close()

    def _serve(self, connection: Connection) -> None:
        """Answer one request; a lost client is no error, and Handler reports errors of bwtop."""
        if connection.is_uid_missing:
            connection.uid = self._acceptor.peers.by_table(connection.socket)
        with contextlib.suppress(OSError):
            Handler(connection, self)


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET if address.ip.version == 4 else socket.AF_INET6
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _escaped(line: bytes) -> bytes:
    """Return a request line with escapes for bytes that http.server takes for blanks, such as a part of "à".

    One that is not UTF-8 stays as it is.
    """
    try:
        line.decode()
    except UnicodeDecodeError:
        return line
    return quote_from_bytes(line, _UNESCAPED).encode()


_UNESCAPED: Final = bytes([*b"\t\r\n", *range(0x20, 0x7F)])
"""Printable ASCII, and what ends words and lines."""


class Handler(BaseHTTPRequestHandler):
    """The handler of one request."""

    disable_nagle_algorithm = True  # head and body are two writes
    protocol_version = "HTTP/1.1"

    def __init__(self, accepted: Connection, web: WebServer) -> None:
        """Answer at once, as every handler of http.server does."""
        self._accepted = accepted
        self._web = web
        accepted.socket.settimeout(SEND_SECONDS)
        # The base class only stores the server, and does not use it.
        super().__init__(accepted.socket, accepted.socket.getpeername(), None)  # type: ignore[arg-type]

    def version_string(self) -> str:
        """Return the Server header, without the version of Python."""
        return "bwtop"

    def setup(self) -> None:
        """Read from the bytes received so far (see socketserver)."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BytesIO(self._accepted.head)
        self._wrong: tuple[HTTPStatus, str] | None = None
        self.command = self.requestline = ""
        self.headers = self.MessageClass()

    def handle(self) -> None:
        """Answer one request; a lost or too slow client gets no answer."""
        with contextlib.suppress(OSError):
            answer = self._answer()
            if answer:
                self.connection.settimeout(SEND_SECONDS)
                self._send(answer)
                self._linger()

    def _answer(self) -> HttpResponse | None:
        try:
            request = self._read()
            return self._web.respond(request) if request else None
        except HttpError as refused:
            return refused.answer()
        except OSError:
            raise
        except Exception as error:  # the client must not see a traceback
            say(f"error while answering a request ({error!r}); please report it")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            return HttpError(status, "internal error; see the output of bwtop").answer()

    def _read(self) -> HttpRequest | None:
        """Return the request; None if the client sent none.  Raises HttpError and OSError."""
        self.raw_requestline = self.rfile.readline(LINE_BYTES + 1)
        if not self.raw_requestline:
            return None
        if len(self.raw_requestline) > LINE_BYTES:
            refuse(HTTPStatus.REQUEST_URI_TOO_LONG, "URL too long")
        head = self._accepted.head
        if len(head) >= HEAD_BYTES and not is_whole(head):
            refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "request too long")
        self.raw_requestline = _escaped(self.raw_requestline)
        if not self.parse_request():
            status, words = self._wrong or (HTTPStatus.BAD_REQUEST, "invalid request")
            refuse(status, words)
        if self.request_version == "HTTP/0.9" or not self.path.startswith("/"):
            refuse(HTTPStatus.BAD_REQUEST, "invalid request: expected HTTP/1")
        if self.command not in METHODS:
            allow = ("Allow", ", ".join(METHODS))
            refuse(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"method not allowed; use {' or '.join(METHODS)}",
                allow,
            )
        if not self.path.isascii():
            refuse(HTTPStatus.BAD_REQUEST, "invalid request: the URL is not UTF-8")
        path, _, query = self.path.partition("?")
        return HttpRequest(
            self.command, path, query, self.headers, self._accepted.uid, self._has_left
        )

    def send_error(self, code: int, *_: object, **__: object) -> None:
        """Keep an error found by http.server, for an answer in bwtop's own format."""
        status = HTTPStatus(code)
        self._wrong = status, f"invalid request: {status.phrase.lower()}"

    def handle_expect_100(self) -> bool:
        """Send no 100 Continue: no request needs a body."""
        return True

    def _send(self, answer: HttpResponse) -> None:
        try:
            self._send_all(answer)
        finally:
            if answer.stream:
                answer.stream.close()

    def _send_all(self, answer: HttpResponse) -> None:
        self.request_version = (
            self.protocol_version
        )  # http.server sends no head for an unreadable request
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        if answer.stream is None and answer.status not in BODILESS:
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
        """Return True if the client has closed its end."""
        self.connection.setblocking(False)  # noqa: FBT003 - socket's own
        try:
            return not self.connection.recv(1024)
        except BlockingIOError:
            return False
        finally:
            self.connection.settimeout(SEND_SECONDS)

    def _has_left(self) -> bool:
        """Return True if the client has closed the connection; unlike `_is_gone`, change no time limit."""
        waiting = select.poll()
        waiting.register(self.connection, select.POLLRDHUP)
        return bool(waiting.poll(0))

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
        """Log nothing: URLs contain filters, and links contain keys."""
