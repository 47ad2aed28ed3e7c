"""Test the access policy: Host, Origin and Sec-Fetch-Site, token, cookie, and one-time link."""

import hmac
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from bwtop.identity.machine import this_machine
from bwtop.web import access, tokens
from bwtop.web.access import AccessPolicy, Address
from bwtop.web.answer import HttpError
from tests.web.serving import HTML, TOKEN, Stream, Web, bearer, exchange, reply, request


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Serve on loopback, open to all users."""
    with Web(tmp_path_factory.mktemp("web") / "none.db", hosts=["Top.Example.org"]) as running:
        yield running


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Serve as if on all addresses."""
    database = tmp_path_factory.mktemp("beyond") / "none.db"
    with Web(database, TOKEN, bound="0.0.0.0") as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Serve with a token."""
    with Web(tmp_path_factory.mktemp("closed") / "none.db", TOKEN) as running:
        yield running


def cookie(web: Web) -> str:
    """Return the headers of a browser that has opened a link."""
    given = web.ask(f"/login?key={web.policy.new_key()}").headers["set-cookie"]
    return given.partition(";")[0]


# Host.


LOOPBACK = ("LOCALHOST", "127.0.0.1", "127.0.0.2", "[::1]", "[0:0:0:0:0:0:0:1]", "localhost.")


@pytest.mark.parametrize("host", LOOPBACK)
def test_host_may_be_a_loopback_name_with_any_port_or_none(web: Web, host: str) -> None:
    for port in ("", ":80", f":{web.port}", ":1", ":65535"):
        assert web.ask(host=host + port).status == 200, port


@pytest.mark.parametrize("host", ["top.example.org", "TOP.EXAMPLE.ORG:443", "top.example.org."])
def test_host_may_be_an_allowed_name(web: Web, host: str) -> None:
    assert web.ask(host=host).status == 200


FOREIGN = (
    *("evil.example", "evil.example:8064", "localhost.evil.example", "evil.localhost"),
    *("127.0.0.1.evil.example", "example.org", "a.top.example.org", "192.0.2.1", "10.0.0.1:8064"),
    *("0.0.0.0", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::]", "[::2]"),
    *("[::ffff:192.0.2.1]", "[2001:db8::1]:80", "::1", "[::1", "::1]", "[::1]x", "[::1%25lo]"),
    *("localhost:", "localhost:x", "localhost:-1", "localhost:123456", "localhost:80:80"),
    *("localhost/", "localhost,evil.example", "localhost evil.example", "user@localhost"),
    *("http://localhost", "localhost\x00", "localhost\t.example", "loc\xe4lhost", "\xb2", "."),
    *("..", "-", "*", "a" * 300),
)


@pytest.mark.parametrize(
    ("path", "host"),
    [
        *(("/", host) for host in FOREIGN),
        *((path, FOREIGN[0]) for path in ("/api/v1/about", "/healthz", "/login?key=x", "/app.js")),
    ],
)
def test_unknown_host_is_refused(web: Web, path: str, host: str) -> None:
    refused = web.ask(path, host=host)
    assert refused.status == 421
    assert "unknown Host name" in refused.error


def test_request_needs_exactly_one_host(web: Web) -> None:
    for raw in (
        request(web.port, "/", host=None),
        *(
            request(web.port, "/", headers=[pair])
            for pair in (("Host", "localhost"), ("Host", "evil.example"), ("hOST", "localhost"))
        ),
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\tHost: localhost\r\n\r\n",
    ):
        refused = reply(exchange(web.port, raw))
        assert refused.status == 400, raw
        assert refused.error, raw
    for value in (b"", b" ", b":80", b"localhost\r\n .evil.example"):
        raw = b"GET / HTTP/1.1\r\nHost:" + value + b"\r\n\r\n"
        assert reply(exchange(web.port, raw)).status in (400, 421)


def test_beyond_loopback_host_may_be_an_address_or_the_hostname(
    beyond: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS cannot point a foreign name at an address literal."""
    for host in ("192.0.2.1:8064", "[2001:db8::1]:8064", "127.0.0.1", "localhost"):
        assert beyond.ask(host=host).status == 200, host
    for host in ("evil.example", "192.0.2.1.evil.example", "192.0.2.256", "1.2.3"):
        assert beyond.ask(host=host).status == 421, host
    monkeypatch.setattr(access.socket, "gethostname", lambda: "Mill")  # type: ignore[attr-defined]
    named = AccessPolicy(Address("0.0.0.0", 8064), TOKEN)
    unnamed = AccessPolicy(Address("127.0.0.1", 8064), None)
    message = http.client.HTTPMessage()
    message["Host"] = "mill:8064"
    asked = access.HttpRequest("GET", "/", "", message)
    named.check_host(asked)
    with pytest.raises(HttpError):
        unnamed.check_host(asked)


# Origin and Sec-Fetch-Site.


EVIL = "http://evil.example"
ORIGINS = (EVIL, "null", "https://localhost.evil.example", "http://localhost", "", "*")


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        *(("/api/v1/about", origin) for origin in ORIGINS),
        *((path, EVIL) for path in ("/app.js", "/api/v1/stream", "/healthz")),
    ],
)
def test_request_from_another_origin_is_refused(web: Web, path: str, origin: str) -> None:
    refused = web.ask(path, headers={"Origin": origin})
    assert refused.status == 403
    assert "another site" in refused.error


def test_own_page_has_access(web: Web) -> None:
    """The port is part of an origin; a proxy may add TLS."""
    own, evil = f"http://127.0.0.1:{web.port}", "http://evil.example"
    assert web.ask(headers={"Origin": own}).status == 200
    tls = {"Origin": "https://top.example.org"}
    assert web.ask(headers=tls, host="top.example.org").status == 200
    for site in ("none", "same-origin"):
        assert web.ask("/api/v1/about", headers=fetched(site, "cors", "empty")).status == 200
    others = (f"http://127.0.0.1:{web.port + 1}",), (f"http://localhost:{web.port}",)
    for origins in (*others, (own, evil), (evil, own)):
        assert web.ask(headers=[("Origin", origin) for origin in origins]).status == 403, origins


def fetched(site: str, mode: str, dest: str) -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}


EMBEDDED = (
    *(("no-cors", "script"), ("no-cors", "image"), ("no-cors", "document"), ("cors", "empty")),
    *(("navigate", "iframe"), ("navigate", "object")),
)


@pytest.mark.parametrize(
    ("path", "site"),
    [
        *(("/api/v1/about", site) for site in ("cross-site", "same-site", "CROSS-SITE", "other")),
        *((path, "cross-site") for path in ("/api/v1/live", "/app.js", "/healthz")),
    ],
)
def test_embedding_by_another_site_is_refused(web: Web, path: str, site: str) -> None:
    for mode, dest in EMBEDDED:
        assert web.ask(path, headers=fetched(site, mode, dest)).status == 403, (mode, dest)
    assert web.ask(path, headers={"Sec-Fetch-Site": site}).status == 403


def test_a_link_on_another_site_may_be_followed(web: Web) -> None:
    """The page itself has no data, and no other page can read or frame it."""
    for path in ("/", "/api/v1/about", "/healthz"):
        link = fetched("cross-site", "navigate", "document")
        assert web.ask(path, headers=link).status == 200
    for headers in ({"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert web.ask("/", headers=headers).body == HTML


# The token.


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_token_gives_access(closed: Web, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}"}
    assert closed.ask("/api/v1/about", headers=headers).status == 200
    assert closed.ask("/app.js", headers=headers).status == 200
    with Stream(closed.port, headers=headers) as stream:
        assert stream.status == 200


WRONG = (
    *("", "Bearer", "Bearer ", "Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"{TOKEN}"),
    *(
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN} {TOKEN}",
        f"Bearer {TOKEN}\x00",
        f"Basic {TOKEN}",
    ),
    *(f"Bearer{TOKEN}", "Bearer \xe4\xff\x80", "Bearer " + "\xff" * 3000, "Bearer " + "x" * 7000),
)


@pytest.mark.parametrize("given", WRONG)
def test_wrong_token_is_refused(closed: Web, given: str) -> None:
    refused = closed.ask("/api/v1/about", headers={"Authorization": given})
    assert refused.status == 401
    assert TOKEN not in refused.error


def test_secrets_are_compared_in_constant_time(
    closed: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only hmac.compare_digest() compares: if it always returns False, no secret is accepted."""
    compared: list[bytes] = []

    def never(_: bytes, wanted: bytes) -> bool:
        compared.append(wanted)
        return False

    known, key = {"Cookie": cookie(closed)}, closed.policy.new_key()
    monkeypatch.setattr(hmac, "compare_digest", never)
    for path, headers, status in (
        ("/api/v1/about", bearer(), 401),
        ("/api/v1/about", known, 401),
        (f"/login?key={key}", {}, 403),
    ):
        compared.clear()
        assert closed.ask(path, headers=headers).status == status
        assert compared, headers


def test_token_in_the_url_or_a_cookie_is_refused(closed: Web) -> None:
    name = cookie(closed).partition("=")[0]
    assert closed.ask(f"/api/v1/live?token={TOKEN}").status == 401
    assert closed.ask(f"/login?key={TOKEN}").status == 403
    assert closed.ask("/api/v1/about", headers={"Cookie": f"{name}={TOKEN}"}).status == 401


def test_token_gives_other_sites_no_access(closed: Web) -> None:
    with_token = bearer()
    assert closed.ask("/api/v1/about", headers=with_token, host="evil.example").status == 421
    from_there = {**with_token, "Origin": "http://evil.example"}
    assert closed.ask("/api/v1/about", headers=from_there).status == 403


# The cookie, and links that work once.


def test_a_link_gives_a_cookie_that_scripts_cannot_read(closed: Web) -> None:
    answer = closed.ask(f"/login?key={closed.policy.new_key()}")
    assert answer.status == 303
    assert answer.headers["location"] == "./"
    assert answer.headers["cache-control"] == "no-store"
    pair, *flags = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "Path=/"} < set(flags)
    assert {"SameSite=Lax", "SameSite=Strict"} & set(flags)
    assert TOKEN not in pair
    for path in ("/", "/app.js", "/api/v1/about"):
        assert closed.ask(path, headers={"Cookie": pair}).status == 200, path
        among = {"Cookie": f"a=b; {pair};c=\xff"}
        assert closed.ask(path, headers=among).status == 200, path


def test_the_cookie_is_that_of_the_token_and_the_port(closed: Web, tmp_path: Path) -> None:
    name, _, value = cookie(closed).partition("=")
    assert name.endswith(f"-{closed.port}")
    for wrong in ("", "x", value[:-1], value + "0", value.upper(), "\xff", value * 50):
        refused = closed.ask("/api/v1/about", headers={"Cookie": f"{name}={wrong}"})
        assert refused.status == 401, wrong
    with Web(tmp_path / "other.db", "another-token-of-a-test") as other:
        moved = f"{cookie(other).partition('=')[0]}={value}"
        assert other.ask("/api/v1/about", headers={"Cookie": moved}).status == 401


def test_servers_behind_one_name_have_cookies_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as ssh -L 9001:localhost:8064 ONE and ssh -L 9002:localhost:8064 OTHER: a browser ignores the port."""
    here = this_machine()
    names = set()
    for host in (here, here._replace(name="other"), here._replace(id="0")):
        monkeypatch.setattr(access, "this_machine", lambda host=host: host)
        for port in (8064, 8065):
            policy = AccessPolicy(Address("127.0.0.1", port), TOKEN)
            names.add(policy.cookie()[1].partition("=")[0])
    assert len(names) == 6
    monkeypatch.undo()
    policy = AccessPolicy(Address("127.0.0.1", 8064), TOKEN)
    assert policy.cookie()[1].partition("=")[0] in names, "it is the same after a restart"


def test_a_link_works_once(closed: Web) -> None:
    key = closed.policy.new_key()
    assert closed.ask(f"/login?key={key}").status == 303
    closed.policy.new_key()
    unknown = ("", "?key=", "?key=x", "?key=%C3%A4", "?key=" + "x" * 900)
    for query in (f"?key={key}", *unknown):
        refused = closed.ask(f"/login{query}")
        assert refused.status == 403
        assert "set-cookie" not in refused.headers
        assert key not in refused.error


def test_head_does_not_use_up_a_link(closed: Web) -> None:
    path = f"/login?key={closed.policy.new_key()}"
    for _ in range(3):
        assert "set-cookie" not in closed.ask(path, "HEAD").headers
    assert closed.ask(path, headers={"Origin": "http://evil.example"}).status == 403
    assert closed.ask(path, host="evil.example").status == 421
    assert closed.ask(path, "POST").status == 405
    assert "set-cookie" in closed.ask(path).headers


def test_key_taken_by_a_faster_thread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test the race at its critical moment."""
    guard = AccessPolicy(Address("127.0.0.1", 8064), TOKEN)
    key = guard.new_key()
    compare = hmac.compare_digest
    won: list[str] = []

    def slow(one: bytes, other: bytes) -> bool:
        found = compare(one, other)
        if found and not won:
            monkeypatch.setattr(hmac, "compare_digest", compare)
            won.append(guard.log_in(key)[0])
        return found

    monkeypatch.setattr(hmac, "compare_digest", slow)
    with pytest.raises(HttpError, match="already used"):
        guard.log_in(key)
    assert won == ["Set-Cookie"]


def test_oldest_of_many_unused_links_expires(closed: Web) -> None:
    keys = [closed.policy.new_key() for _ in range(access.MAX_KEYS + 1)]
    assert len(set(keys)) == len(keys)
    assert closed.ask(f"/login?key={keys[0]}").status == 403
    assert [closed.ask(f"/login?key={key}").status for key in keys[1:]] == [303] * access.MAX_KEYS


def test_the_token_makes_further_links_and_the_cookie_none(closed: Web) -> None:
    path = closed.ask("/api/v1/link", headers=bearer()).document["path"]
    assert path.startswith("login?key="), "relative to the page"
    assert "set-cookie" in closed.ask(f"/{path}").headers
    assert closed.ask(f"/{path}").status == 403
    refused = closed.ask("/api/v1/link", headers={"Cookie": cookie(closed)})
    assert refused.status == 403
    assert "token required" in refused.error


def test_head_of_link_makes_no_link(closed: Web) -> None:
    """Otherwise it would expire other links.  Its Content-Length is that of GET: RFC 9110, 8.6."""
    length = closed.ask("/api/v1/link", headers=bearer()).headers["content-length"]
    key = closed.policy.new_key()
    for _ in range(access.MAX_KEYS + 1):
        answer = closed.ask("/api/v1/link", "HEAD", bearer())
        assert (answer.status, answer.headers["content-length"]) == (200, length)
    assert closed.ask(f"/login?key={key}").status == 303


# Tokens in files.


INVALID = (
    *(b"", b"\n", b"short", b"x" * 15, b"two words of a token", b"tab\tin the token is wrong"),
    *(b"\x00" * 32, b"\xff" * 32, b"\x7fELF" + bytes(60), b"escape\x1b[2Jsequence-in-it"),
    *("schl\u00fcsselwort-lang".encode(), b"line-one-here\nline-two-here"),
)


@pytest.mark.parametrize("content", INVALID)
def test_token_file_without_a_valid_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(tokens.TokenError) as refused:
        tokens.read_token(path, {})
    assert content.decode(errors="replace").strip() not in str(refused.value) or not content.strip()


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o440, False), (0o604, True)])
def test_token_that_all_can_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, is_told: bool
) -> None:
    """systemd's credentials have the mode 0440: the mask of an access list with one user."""
    path = tmp_path / "token"
    path.write_text("x" * 16)
    path.chmod(mode)
    assert tokens.read_token(path, {}) == "x" * 16
    assert ("is readable by other users" in capsys.readouterr().err) == is_told


def test_tokens_have_sixteen_characters_or_more(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for around in ("{}", "{}\n", "\n {} \r\n"):
        path.write_text(around.format("x" * 16))
        assert tokens.read_token(path, {}) == "x" * 16
    made = {tokens.make_token() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 32
