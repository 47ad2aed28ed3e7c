"""Test the server: methods, headers, limits, and that no client can block it."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import pytest

from bwtop.model.flows import Traffic
from bwtop.web import acceptor, events, files, server
from bwtop.web.access import Address, HttpRequest
from bwtop.web.answer import HttpResponse
from bwtop.web.server import MAX_STREAMS
from tests.build import key, remote, sample
from tests.kernel.running import HANG
from tests.processes import descriptors_of, until
from tests.web.serving import (
    HTML,
    SCRIPT,
    TOKEN,
    Listener,
    Reply,
    Stream,
    Web,
    bearer,
    connect,
    exchange,
    read_all,
    reply,
    request,
)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Serve for all tests that change nothing."""
    with Web(tmp_path_factory.mktemp("still") / "none.db") as running:
        running.put()
        until(lambda: running.ask("/api/v1/live").status == 200)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running.broadcaster, "age", lambda: 0.0)  # /healthz looks at it
            patch.setattr(server, "LINGER_SECONDS", HANG)  # clients close at once
            yield running


ASKED = (
    ("/", 200, "text/html; charset=utf-8"),
    ("/app.js", 200, "text/javascript; charset=utf-8"),
    ("/app.css", 200, "text/css; charset=utf-8"),
    ("/healthz", 200, "application/json"),
    ("/api/v1/live", 200, "application/json"),
    ("/api/v1/live.csv", 200, "text/csv; charset=utf-8"),
    ("/api/v1/about", 200, "application/json"),
    ("/api/v1/openapi.json", 200, "application/json"),
    ("/login", 303, "application/json"),
    ("/metrics", 503, "application/json"),
    ("/api/v1/history", 503, "application/json"),
    ("/api/v1/hosts", 503, "application/json"),
    ("/api/v1/export.csv", 503, "application/json"),
    ("/api/v1/live?x=1", 400, "application/json"),
    ("/api/v1/live?filter=%ff", 400, "application/json"),
    ("/nothing", 404, "application/json"),
)

# What every answer has.


def check_security(answer: Reply) -> None:
    headers = answer.headers
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    assert not [words for words in policy.values() if "unsafe" in words or "*" in words]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["server"] == "bwtop"
    assert headers["connection"] == "close"
    assert "python" not in answer.head.lower()
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(("path", "status", "kind"), ASKED)
def test_each_answer_has_its_type_and_security_headers(
    still: Web, path: str, status: int, kind: str
) -> None:
    answer, head = still.ask(path), still.ask(path, "HEAD")
    assert answer.status == head.status == status, answer
    assert answer.headers["content-type"] == kind
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert "cache-control" in answer.headers
    check_security(answer)
    if status >= 400:
        assert answer.error
    assert head.body == b""
    differing = (
        {"date", "content-length"} if path == "/api/v1/about" else {"date"}
    )  # it has the time
    assert answer.headers.keys() == head.headers.keys() > differing
    assert {n for n, v in head.headers.items() if answer.headers[n] != v} <= differing


def test_a_stream_has_the_same_headers_and_no_length(still: Web) -> None:
    with Stream(still.port) as stream:
        head = still.ask("/api/v1/stream", "HEAD")
        assert (head.status, head.body) == (200, b"")
        for answer in (stream.reply, head):
            check_security(answer)
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["cache-control"] == "no-store"
        assert "content-length" not in stream.reply.headers


def test_cached_file_is_not_sent_again(still: Web) -> None:
    """RFC 9110, 8.6: 304 has the length of the 200 that it stands for, or none."""
    answer = still.ask("/app.js")
    tag = answer.headers["etag"]
    assert answer.body == SCRIPT
    known = still.ask("/app.js", headers={"If-None-Match": tag})
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", tag)
    assert known.headers.get("content-length") in (None, str(len(SCRIPT)))
    check_security(known)
    for other in ('"other"', "", "*", tag.strip('"')):
        assert still.ask("/app.js", headers={"If-None-Match": other}).body == SCRIPT


# Methods.


METHODS = (
    *("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "Get"),
    *("head", "GETX", "GE", "HEADER", "GET\x00", "\x00", "{}", "GET/", "-", "\xc9", "A" * 4000),
)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        *(("/", method) for method in METHODS),
        *((path, "POST") for path in ("/app.js", "/api/v1/live", "/api/v1/stream", "/nothing")),
    ],
)
def test_other_methods_are_refused(still: Web, path: str, method: str) -> None:
    refused = still.ask(path, method, {"Content-Length": "0"})
    assert refused.status == 405
    assert refused.headers["allow"] == "GET, HEAD"
    assert refused.error == "method not allowed; use GET or HEAD"
    check_security(refused)


@pytest.mark.parametrize(
    "headers",
    [
        *({"Content-Length": size} for size in ("5", "-1", "x", "9" * 100)),
        {"Transfer-Encoding": "chunked"},
        {"Transfer-Encoding": "chunked, x", "Content-Length": "3"},
        {"Expect": "100-continue", "Content-Length": "3"},
        {"Expect": "something else"},
        {"Connection": "keep-alive"},
        {"Upgrade": "websocket", "Connection": "Upgrade"},
        {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings"},
        {"Range": "bytes=0-1"},
    ],
)
def test_each_connection_gets_one_answer(still: Web, headers: dict[str, str]) -> None:
    """Bytes after a request are never read as another request."""
    hidden = request(still.port, "/api/v1/openapi.json")
    raw = request(still.port, "/", headers=headers) + b"0\r\n\r\n" + hidden
    got = exchange(still.port, raw)
    assert got.count(b"HTTP/1.1 ") == 1
    assert reply(got).body == HTML


# What is no request.


HOST = b"Host: localhost\r\n"

LINES = (
    *(b"", b" ", b"GET", b"GET /", b"GET / ", b"POST /", b"HEAD /"),  # HTTP/0.9 has no version
    *(b"GET / HTTP/0.9", b"GET / HTTP/1", b"GET / HTTP/1.1.1", b"GET / HTTP/x.y"),
    *(b"GET / HTTP/\xb2.\xb2", b"GET / http/1.1", b"GET / HTTPS/1.1"),
    *(b"GET / x HTTP/1.1", b"GET x HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
    *(b"GET ?x HTTP/1.1", b"GET http://localhost/ HTTP/1.1", b"GET http://evil.example/ HTTP/1.1"),
    *(b"GET file:///etc/passwd HTTP/1.1", b"CONNECT evil.example:80 HTTP/1.1"),
    *(b"GET /\xff HTTP/1.1", b"GET /?x=\xe9 HTTP/1.1"),
)

INVALID = (
    *((line + b"\r\n" + HOST + b"\r\n", 400) for line in LINES),
    (b"\r\n\r\n", 400),
    (b"\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET / HTTP/2.0\r\n\r\n", 505),
    (b"GET / HTTP/9.9\r\n\r\n", 505),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\n\n", 400),  # TLS
    (b"\x05\x01\x00\n\n", 400),  # SOCKS
    (bytes(100) + b"\r\n\r\n", 400),
    (bytes(range(256)) * 4 + b"\r\n\r\n", 400),
    (b"\xff" * 100 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: yyyyyyy\r\n" * 5000 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nno header at all\r\n" + HOST + b"\r\n", 400),
    (b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\n\r\n", 414),
    (b"x" * 60_000, 414),
    (b"GET /?" + b"x=y&" * 4000 + b" HTTP/1.1\r\n\r\n", 414),
)


@pytest.mark.parametrize(("raw", "status"), INVALID)
def test_invalid_request_gets_one_line(still: Web, raw: bytes, status: int) -> None:
    refused = reply(exchange(still.port, raw, shut=True))
    assert (refused.status, bool(refused.error)) == (status, True)
    check_security(refused)
    assert still.ask("/").body == HTML


@pytest.mark.parametrize("text", ["é", "à", "Å", "\x85", "\x1c", "\x0b"])
def test_url_that_is_not_escaped_means_the_same(still: Web, text: str) -> None:
    """So curl sends what was typed; http.server takes a part of some letters for a blank."""
    path = "/api/v1/live?sort="
    typed = (path + text).encode().decode("latin-1")
    refused = reply(exchange(still.port, request(still.port, typed)))
    assert refused.error == still.ask(path + quote(text)).error
    assert repr(text) in refused.error


def test_longest_request_is_accepted(still: Web) -> None:
    """Requests of the page are far shorter; a proxy adds headers."""
    path = "/" + "x" * 8000
    assert still.ask(path).status == 404
    assert still.ask(headers={"X": "y" * 12_000}).status == 200
    assert still.ask(headers=[(f"X-{n}", "y") for n in range(90)]).status == 200


@pytest.mark.parametrize("cut", [1, 4, 5, 14, 16, 20, 35])
def test_truncated_request_does_not_stop_the_server(still: Web, cut: int) -> None:
    """The client closes, half-closes or resets."""
    raw = request(still.port, "/")[:cut]
    exchange(still.port, raw, shut=True)
    connect(still.port).close()
    with connect(still.port) as sock:
        sock.sendall(raw)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert still.ask("/").body == HTML


def test_a_request_may_come_in_pieces(still: Web) -> None:
    """Lines may end with LF alone."""
    with connect(still.port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET / HTTP/1.0\nHost: localhost\n\n":
            sock.sendall(bytes([byte]))
        assert reply(read_all(sock)).body == HTML


def test_internal_error_is_one_line_and_is_logged(
    web: Web, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(web.server, "respond", broken)
    refused = web.ask("/api/v1/live?filter=my-secret")
    assert refused.status == 500
    assert "secret" not in refused.error
    check_security(refused)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError" in said
    assert "my-secret" not in said


def test_before_start_requests_wait() -> None:
    """The server listens before it can answer."""
    early = server.WebServer(Address("127.0.0.1", 0))
    try:
        with connect(early.server_port) as sock:
            sock.sendall(request(early.server_port, "/"))
            sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            early.start(lambda _: HttpResponse(HTTPStatus.OK))
            sock.settimeout(HANG)
            assert reply(read_all(sock)).status == 200
            early.shutdown()
    finally:
        early.server_close()


# Paths.


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Serve files beside a file that must not be served."""
    place = tmp_path_factory.mktemp("filed")
    (place / "secret.js").write_text("SECRET")
    static = place / "static"
    (static / "below").mkdir(parents=True)
    for name in ("index.html", "app.js", "app.css", "icon.svg"):
        (static / name).write_text(f"the {name}")
    for name in ("notes.txt", ".hidden", "app.js~", "app.py", "below/app.js", "below/index.html"):
        (static / name).write_text("SECRET")
    (static / "link").symlink_to("../secret.js")
    (static / "etc").symlink_to("/etc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "STATIC", static)
        found = files.load(None, {})
    with Web(place / "none.db", files=found) as running:
        yield running


OUTSIDE = (
    *("/../secret.js", "/./../secret.js", "/below/../../secret.js"),
    *("/../../../../../../../../etc/passwd", "/..", "/../", "/.", "/./app.js"),
    *("/%2e%2e/secret.js", "/%2e%2e%2fsecret.js", "/..%2fsecret.js", "/%252e%252e/secret.js"),
    *("/..%c0%afsecret.js", "/%u002e%u002e/secret.js", "/..\\secret.js", "/..%5csecret.js"),
    *("/\\..\\secret.js", "//etc/passwd", "///etc/passwd", "//127.0.0.1/etc/passwd"),
    *("/etc/passwd", "/etc", "/etc/", "/link", "/secret.js", "/notes.txt", "/.hidden", "/app.js~"),
    *("/app.py", "/app.js/", "/app.js%00", "/%00", "/app.js;x", "/app.js.", "/APP.JS"),
    *("/%61pp.js", "/below", "/below/", "/below/app.js", "/index.html", "/static/app.js"),
    *("/bwtop/web/api.py", "/proc/self/environ", "/~root", "/api/v1/../../app.js"),
    *("/api/v1/live/", "/api/v1", "/api/v2/live", "/#", "/app.js#x"),
    *("/app.js\x00.html", "/\xff\xfe", "/\xe2\x80\xae"),
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_escapes_the_static_files(filed: Web, path: str) -> None:
    refused = filed.ask(path)
    assert refused.status in (400, 404)
    assert refused.error
    for told in (b"SECRET", b"root:", b"the app.js", b"the index.html"):
        assert told not in refused.body


# Streams.


def opened(web: Web) -> Stream:
    """Open a stream as soon as a place is free."""
    deadline = time.monotonic() + HANG
    while (stream := Stream(web.port)).status != 200:
        stream.close()
        assert time.monotonic() < deadline, "there is no room"
    return stream


@contextmanager
def all_places(web: Web) -> Iterator[list[Stream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(opened(web)) for _ in range(MAX_STREAMS)]


def is_full(web: Web) -> bool:
    with Stream(web.port) as stream:
        return stream.status == 503


def test_there_are_thirty_two_streams_at_once(web: Web) -> None:
    web.put()
    with all_places(web) as streams:
        assert len(streams) == 32
        refused = web.ask("/api/v1/stream")
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "32 pages" in refused.error
        assert web.ask("/api/v1/stream?filter=port:x").status == 400
        assert web.ask("/api/v1/live").status == 200, "all else goes on"
        assert all(stream.next("interval").id == 1 for stream in streams)


def test_closed_stream_frees_its_place(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place is freed at the next interval or heartbeat."""
    monkeypatch.setattr(events, "HEARTBEAT", 0.2)
    with all_places(web) as streams:
        assert is_full(web)
        for number in (0, 1, 2):
            streams[number].close()
            streams[number] = opened(web)
            assert is_full(web)
        for stream in streams:
            stream.close()
    with all_places(web):
        assert is_full(web)


def test_head_and_refused_streams_take_no_place(tmp_path: Path) -> None:
    with Web(tmp_path / "none.db", TOKEN) as web:
        for _ in range(MAX_STREAMS + 1):
            assert web.ask("/api/v1/stream", "HEAD", bearer()).status == 200
            assert web.ask("/api/v1/stream").status == 401
            assert web.ask("/api/v1/stream?sort=x", headers=bearer()).status == 400
            assert web.ask("/api/v1/stream", "POST", bearer()).status == 405
            assert web.ask("/api/v1/stream", headers=bearer(), host="evil.example").status == 421
        with Stream(web.port, headers=bearer()) as stream:
            assert stream.status == 200


def test_stream_that_fails_to_start_frees_its_place(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object, __: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(server.Handler, "send_response", broken)
        for _ in range(MAX_STREAMS + 1):
            assert exchange(web.port, request(web.port, "/api/v1/stream")) == b""
    with all_places(web):
        assert is_full(web)


def test_streams_end_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.1)
    with ExitStack() as stack:
        web = Web(tmp_path / "none.db")
        streams = [stack.enter_context(Stream(web.port)) for _ in range(5)]
        web.close()
        for stream in streams:
            assert stream.rest().endswith(b"\n\n")


# Time.


def test_silent_client_is_disconnected(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "HEAD_SECONDS", 0.2)
    with ExitStack() as stack:
        socks = [stack.enter_context(connect(web.port)) for _ in range(4)]
        begun = (b"", b"G", b"GET / HTTP/1.1\r\n", request(web.port, "/")[:-2])
        for sock, data in zip(socks, begun, strict=True):
            sock.sendall(data)
        assert [read_all(sock) for sock in socks] == [b""] * 4


def test_trickling_client_is_disconnected(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte arrives in time, but all together would take very long."""
    monkeypatch.setattr(acceptor, "HEAD_SECONDS", 0.3)
    with connect(web.port) as sock, pytest.raises(ConnectionError):
        until(lambda: sock.send(b"y") == 0)


def test_client_that_reads_no_answer_is_disconnected(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = HttpResponse(HTTPStatus.OK, body=bytes(64 << 20))
    asked = threading.Event()

    def respond(_: HttpRequest) -> HttpResponse:
        asked.set()
        return big

    monkeypatch.setattr(web.server, "respond", respond)
    monkeypatch.setattr(server, "SEND_SECONDS", 0.3)
    with connect(web.port) as sock:
        sock.sendall(request(web.port, "/"))
        assert asked.wait(HANG)
        until(lambda: len(web.threads()) <= 2)
        assert len(read_all(sock)) < len(big.body)


def test_steady_slow_reader_has_no_time_limit(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export over a slow line continues; only a client that takes nothing is disconnected.

    A pause of this process while the server waits for its client looks like such a client, so there are five attempts.
    """
    monkeypatch.setattr(server, "SEND_SECONDS", 0.5)
    big = HttpResponse(HTTPStatus.OK, body=bytes(2 << 20))
    monkeypatch.setattr(web.server, "respond", lambda _: big)
    for _ in range(5):
        taken, seconds = taken_slowly(web.port)
        assert seconds > 2 * server.SEND_SECONDS or taken < len(big.body)
        if taken > len(big.body):
            return
    pytest.fail("disconnected each time")


def taken_slowly(port: int) -> tuple[int, float]:
    """Return the bytes of an answer that is read slowly, up to its end or a reset, and the seconds that took."""
    taken = 0
    with socket.socket() as sock, suppress(ConnectionResetError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(HANG)
        sock.connect(("127.0.0.1", port))
        sock.sendall(request(port, "/"))
        began = time.monotonic()
        while part := sock.recv(65536):
            taken += len(part)
            time.sleep(0.05)
    return taken, time.monotonic() - began


def test_client_that_reads_no_stream_is_disconnected(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It blocks no other client meanwhile."""
    monkeypatch.setattr(server, "SEND_SECONDS", 8.0)  # longer than this process pauses
    many = {key(pid): {remote(): Traffic(1009, 1)} for pid in range(1, 400)}
    with Listener(web.port) as reader, connect(web.port) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(request(web.port, "/api/v1/stream"))
        both = 5  # the broadcaster's, the server's, one for each stream, and ours that reads
        until(lambda: len(web.threads()) == both)
        put = 0
        deadline = time.monotonic() + HANG
        while len(web.threads()) == both and time.monotonic() < deadline:
            web.put(sample(many))
            put += 1
            reader.wait(lambda put=put: len(reader.of("interval")) >= put)  # type: ignore[misc]
        assert len(web.threads()) == both - 1
        assert [event.id for event in reader.of("interval")] == list(range(1, put + 1))


def test_client_that_sends_after_the_answer_is_disconnected(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.3)
    raw = request(web.port, "/", "POST", {"Content-Length": "99999999"})
    with connect(web.port) as sock:
        sock.sendall(raw)
        with pytest.raises(ConnectionError):
            sock.sendall(b"x" * (1 << 26))
    with connect(web.port) as sock:  # neither sends nor closes
        sock.sendall(raw)
        assert reply(read_all(sock)).status == 405
        until(lambda: len(web.threads()) <= 2)


def test_each_connection_has_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 5)
    monkeypatch.setattr(acceptor, "HEAD_SECONDS", HANG)
    with Web(tmp_path / "none.db") as web:
        with ExitStack() as stack:
            held = [stack.enter_context(Stream(web.port)) for _ in range(5)]
            assert len(web.threads()) == 2 + 5
            silent = stack.enter_context(connect(web.port))
            assert len(web.threads()) == 2 + 5, "without a request there is no thread"
            with monkeypatch.context() as patch:
                patch.setattr(acceptor, "WAIT_SECONDS", 0.3)
                raw = exchange(web.port, request(web.port))
            assert raw == b"", "it waited, and there was no room"
            assert len(web.threads()) == 2 + 5
            held[0].close()
            web.put()
            until(lambda: len(web.threads()) == 2 + 4)
            assert web.ask("/").body == HTML
            silent.sendall(request(web.port, "/"))
            assert reply(read_all(silent)).body == HTML
        for _ in range(20):  # each has given its place back
            assert web.ask("/").body == HTML


def test_a_thread_that_cannot_be_started_costs_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(acceptor, "WAIT_SECONDS", 0.2)
    with Web(tmp_path / "none.db") as web:

        def broken(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", broken)
            for _ in range(10):
                assert exchange(web.port, request(web.port, "/")) == b""
        assert web.ask("/").body == HTML


def test_two_hundred_at_once_all_get_answers(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is more than there are threads."""
    monkeypatch.setattr(acceptor, "WAIT_SECONDS", HANG)
    monkeypatch.setattr(acceptor, "SCARCE_SECONDS", HANG)
    web.put()
    assert server.MAX_CONNECTIONS < 200
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: web.ask("/api/v1/about").status, range(200)))
    assert answers == [200] * 200
    until(lambda: len(web.threads()) <= 2)


def test_all_descriptors_are_closed(web: Web) -> None:
    web.ask("/")
    until(lambda: len(web.threads()) <= 2)
    before = len(descriptors_of("socket:"))
    for _ in range(100):
        web.ask("/")
        exchange(web.port, b"nonsense\r\n\r\n")
        exchange(web.port, b"GET / HT", shut=True)
    until(lambda: len(web.threads()) <= 2)
    until(lambda: len(descriptors_of("socket:")) <= before)


def test_urls_are_not_logged(web: Web, capfd: pytest.CaptureFixture[str]) -> None:
    web.ask("/api/v1/live?filter=secret")
    web.ask("/login?key=secret")
    web.ask("/secret", "POST")
    exchange(web.port, b"secret\x1b[2J\r\n\r\n")
    assert capfd.readouterr() == ("", "")


def test_answer_in_progress_learns_that_its_client_has_left() -> None:
    asked: list[HttpRequest] = []

    def respond(request: HttpRequest) -> HttpResponse:
        asked.append(request)
        until(request.is_gone)
        learned.set()
        return HttpResponse(HTTPStatus.OK)

    learned = threading.Event()
    web = server.WebServer(Address("127.0.0.1", 0))
    web.start(respond)
    try:
        with socket.create_connection(("127.0.0.1", web.server_port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: bool(asked))
            assert not asked[0].is_gone()
        assert learned.wait(HANG)
    finally:
        web.shutdown()
        web.server_close()
