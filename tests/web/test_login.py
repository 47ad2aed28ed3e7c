"""Test the login page in a real browser: with a token, a link, and a proxy with a path prefix."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser

from bwtop.web import files, login
from bwtop.web.access import AccessError, HttpRequest
from tests.build import sample
from tests.processes import until
from tests.web.browser import CONTRASTS, UNNAMED, Visit, chromium
from tests.web.serving import TOKEN, Web, bearer, connect
from tests.web.test_static import Markup, inline

PREFIX: Final = "/tools/bwtop"
REFUSED: Final = r"the server responded with a status of (40[13]|503)"
"""Chromium's messages for refused requests and a missing history."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Serve without trusted users, as for requests of another user."""
    with Web(tmp_path / "none.db", TOKEN, files=files.load(None, {})) as running:
        running.put(sample())
        until(lambda: running.ask("/api/v1/live", headers=bearer()).status == 200)
        yield running


@contextmanager
def visit(browser: Browser, origin: str, query: str = "", **options: Any) -> Iterator[Visit]:
    made = Visit(browser, origin, query, **options)
    made.expect_fault(REFUSED)
    try:
        yield made
        made.check()
        assert not [url for url in made.asked if TOKEN in url], "the token is in no address"
    finally:
        made.close()


def measuring(visit: Visit, web: Web) -> None:
    """Wait until the page says so; with one interval alone it would be stale after some seconds."""

    def is_said() -> bool:
        web.put(sample())
        return "measuring" in visit.text("#status")

    visit.until(is_said, "measuring")


def enter(visit: Visit, token: str) -> None:
    visit.find("#token").fill(token)
    visit.find("form button").click()


def test_form_takes_the_token(browser: Browser, web: Web) -> None:
    with visit(browser, f"http://127.0.0.1:{web.port}", "?view=history") as page:
        assert "token" in page.text("main.login")
        for wrong in ("wrong", "ärgerlich", TOKEN + "x"):
            enter(page, wrong)
            page.has("#wrong", "Wrong token.")
        enter(page, f" {TOKEN} ")
        page.until(lambda: page.query.get("view") == "history" and page.find("#rows").count())
        page.go()
        measuring(page, web)
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")


def test_form_says_when_nothing_answers(browser: Browser, tmp_path: Path) -> None:
    with Web(tmp_path / "none.db", TOKEN, files=files.load(None, {})) as web:
        made = Visit(browser, f"http://127.0.0.1:{web.port}")
    try:
        enter(made, TOKEN)
        made.has("#wrong", "bwtop does not answer")
    finally:
        made.close()


def test_used_link_shows_the_form_and_the_form_the_page(browser: Browser, web: Web) -> None:
    link = f"login?key={web.policy.new_key()}"
    assert web.ask(f"/{link}").status == 303
    with visit(browser, f"http://127.0.0.1:{web.port}", link) as page:
        page.has("main.login", "This link was already used.")
        enter(page, TOKEN)
        measuring(page, web)
        assert page.page.url == f"{page.origin}/"


@pytest.mark.parametrize(("scheme", "width"), [("light", 400), ("dark", 1280)])
def test_form_can_be_read(browser: Browser, web: Web, scheme: str, width: int) -> None:
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 600}}
    with visit(browser, f"http://127.0.0.1:{web.port}", **options) as page:
        enter(page, "wrong")
        page.has("#wrong", "Wrong token")
        assert [found for found in page.run(CONTRASTS) if found["ratio"] < 4.5] == []
        assert page.run(UNNAMED) == []
        assert page.run("() => document.documentElement.scrollWidth <= innerWidth")
        assert page.run("() => document.activeElement.id") == "token"


# Behind a proxy.


class Proxy:
    """A proxy that forwards paths below the prefix, without it, and refuses others."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.refused: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self._pass, args=(near,), daemon=True).start()

    def _pass(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (part := near.recv(8192)):
                head += part
            if not head:
                return
            method, path, rest = head.decode("latin-1").split(" ", 2)
            if path == "/favicon.ico":  # Chromium asks for it where a page names none, as JSON
                near.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                return
            if not path.startswith(f"{PREFIX}/"):
                self.refused.append(path)
                return
            with connect(self.target) as far:
                far.sendall(f"{method} {path.removeprefix(PREFIX)} {rest}".encode("latin-1"))
                while part := far.recv(8192):
                    near.sendall(part)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def proxy(web: Web) -> Iterator[Proxy]:
    made = Proxy(web.port)
    yield made
    made.close()


def test_page_works_below_a_prefix(browser: Browser, web: Web, proxy: Proxy) -> None:
    """Open a one-time link, then both views and all that they load."""
    path = web.ask("/api/v1/link", headers=bearer()).document["path"]
    with visit(browser, f"http://127.0.0.1:{proxy.port}{PREFIX}", path) as page:
        assert page.page.url == f"{page.origin}/"
        measuring(page, web)
        page.chart_drawn()
        page.find("#to-history").click()
        page.has("#error", "nothing has been recorded yet")
        assert page.page.url.startswith(f"{page.origin}/?")
        page.go("api/v1/about")
        assert "bwtop.about/1" in page.text("body")
    assert proxy.refused == []


def test_form_works_below_a_prefix(browser: Browser, web: Web, proxy: Proxy) -> None:
    for asked in ("", "api/v1/about", "login?key=x"):
        with visit(browser, f"http://127.0.0.1:{proxy.port}{PREFIX}", asked) as page:
            enter(page, TOKEN)
            page.until(lambda page=page: page.find("#login").count() == 0)  # type: ignore[misc]
            if asked.startswith("api"):
                assert "bwtop.about/1" in page.text("body")
            else:
                measuring(page, web)
    assert proxy.refused == []


# Its text.


def test_form_is_safe_markup() -> None:
    """Its texts are escaped, and no script or style is inline."""
    request = HttpRequest("GET", "/a/b", "", Message())
    refused = AccessError(HTTPStatus.UNAUTHORIZED, "why", "<script>'\"&")
    body = login.page(request, refused).body.decode()
    assert "&lt;script&gt;" in body
    markup = Markup(body)
    assert inline(markup) == []
    named = [value.removeprefix("../") for value in markup.values("src") + markup.values("href")]
    assert {f"/{name}" for name in named} == login.FILES
