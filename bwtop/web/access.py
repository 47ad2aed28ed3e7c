"""Access control: checks of Host, Origin, user and token.

A page of another site can make a browser send requests to bwtop.  It can read the answers only if its own name resolves
to bwtop's address (DNS rebinding): the check of Host prevents that.  The checks of Origin and Sec-Fetch-Site refuse its
requests, except for a link to the page.  Browsers send Sec-Fetch-Site to loopback and over TLS (Fetch Metadata, 2).
Without it, beyond loopback, SameSite keeps the cookie from other sites, but not from other ports of this host, which
count as the same site: their pages can send requests but not read the answers, and their servers see the cookie.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Final

from bwtop.identity.machine import this_machine
from bwtop.web.answer import HttpError, refuse
from bwtop.web.trusted import Trusted

MAX_KEYS: Final = 8
"""Unused one-time links; the oldest expires first."""

MAX_USED: Final = 64
"""Used one-time links remembered for the error message."""

COOKIE_SECONDS: Final = 30 * 86400


@dataclass(frozen=True)
class HttpRequest:
    """An HTTP request."""

    method: str
    path: str
    query: str
    headers: Message
    uid: int | None = None
    """The uid of a client process on this machine; None: unknown."""
    is_gone: Callable[[], bool] = lambda: False
    """Returns whether the client has closed its connection."""


@dataclass(frozen=True)
class Address:
    """The address to listen on."""

    host: str
    """An IP address."""
    port: int

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """Return the IP address."""
        return ipaddress.ip_address(self.host)

    def url(self, host: str | None = None) -> str:
        """Return the URL of the page; for an unspecified address, by the name of this machine."""
        shown = host or (socket.gethostname() if self.ip.is_unspecified else self.host)
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/"


class AccessError(HttpError):
    """The client has no access, or only with the token."""

    def __init__(
        self, status: HTTPStatus, why: str, to_people: str, *headers: tuple[str, str]
    ) -> None:
        super().__init__(status, why, *headers)
        self.to_people = to_people
        """The text above the token form."""


ENTER: Final = (
    "Enter the token to open the page. bwtop printed it at startup, or has it in its --token-file."
)


class AccessPolicy:
    """The access checks of a server."""

    def __init__(
        self,
        address: Address,
        token: str | None,
        hosts: Iterable[str] = (),
        trusted: Trusted | None = None,
    ) -> None:
        """Allow `hosts` as further names of this server; on loopback, `trusted` users need no token."""
        self._loopback = address.ip.is_loopback
        self._names = {"localhost", *(host.lower() for host in hosts)}
        if not self._loopback:
            self._names.add(socket.gethostname().lower())
        self._token = token.encode() if token else None
        self._trusted = trusted if self._loopback else None
        self._cookie_name = _cookie_name(address.port)
        self._keys: deque[bytes] = deque(maxlen=MAX_KEYS)
        self._used: deque[bytes] = deque(maxlen=MAX_USED)

    # Checks of every request.

    def check_host(self, request: HttpRequest) -> None:
        """Refuse a Host that does not name this server."""
        hosts = request.headers.get_all("Host", [])
        if len(hosts) != 1:
            refuse(HTTPStatus.BAD_REQUEST, "expected exactly one Host header")
        if not self._is_ours(hosts[0]):
            refuse(
                HTTPStatus.MISDIRECTED_REQUEST,
                "unknown Host name; allow it with --allow-host NAME",
            )

    def _is_ours(self, host: str) -> bool:
        """Return True for a known name or an address literal: DNS cannot point a foreign name at a literal."""
        found = _HOST.fullmatch(host)
        if not found:
            return False
        name = found[1].strip("[]").rstrip(".").lower()
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._loopback

    def check_origin(self, request: HttpRequest) -> None:
        """Refuse requests from pages of other sites, except following a link to the page."""
        host = request.headers.get("Host", "").lower()
        for origin in request.headers.get_all("Origin", []):
            if origin.lower() not in (f"http://{host}", f"https://{host}"):
                refuse(HTTPStatus.FORBIDDEN, "request from a page of another site refused")
        site = request.headers.get("Sec-Fetch-Site", "none")
        is_followed = (
            request.headers.get("Sec-Fetch-Mode") == "navigate"
            and request.headers.get("Sec-Fetch-Dest") == "document"
        )
        if site not in ("none", "same-origin") and not is_followed:
            refuse(HTTPStatus.FORBIDDEN, "request from a page of another site refused")

    # The user, and the token.

    @property
    def takes_token(self) -> bool:
        """Return True if there is a token."""
        return self._token is not None

    def check_access(self, request: HttpRequest) -> None:
        """Refuse an untrusted user without the token and the cookie."""
        if self.has_access(request):
            return
        raise AccessError(
            HTTPStatus.UNAUTHORIZED,
            self._why(request),
            ENTER,
            ("WWW-Authenticate", 'Bearer realm="bwtop"'),
        )

    def has_access(self, request: HttpRequest) -> bool:
        """Return True for the token, the cookie, and trusted users."""
        return self.has_token(request) or self._has_cookie(request) or self._is_trusted(request)

    def _is_trusted(self, request: HttpRequest) -> bool:
        return self._trusted is not None and self._trusted.include(request.uid)

    def _why(self, request: HttpRequest) -> str:
        user = "this user" if request.uid is None else f"uid {request.uid}"
        if self._token is None:
            return f"access denied for {user}; allow it with --trust-user NAME, or use --token-file PATH"
        why = (
            "token required; send Authorization: Bearer TOKEN, or open the link that bwtop printed"
        )
        return f"{why}; or allow {user} with --trust-user NAME" if self._loopback else why

    def has_token(self, request: HttpRequest) -> bool:
        """Return True if the request has the token itself."""
        if self._token is None:
            return False
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and _same(
            given.strip().encode(errors="replace"), self._token
        )

    def _has_cookie(self, request: HttpRequest) -> bool:
        if self._token is None:
            return False
        wanted = self._cookie()
        pairs = (
            part.partition("=")
            for header in request.headers.get_all("Cookie", [])
            for part in header.split(";")
        )
        return any(
            name.strip() == self._cookie_name
            and _same(value.strip().encode(errors="replace"), wanted)
            for name, _, value in pairs
        )

    def _cookie(self) -> bytes:
        """Return the value of the cookie, derived from the token."""
        assert self._token, "cookies need a token"
        return hmac.new(self._token, b"bwtop cookie", hashlib.sha256).hexdigest().encode()

    def new_key(self, *, works: bool = True) -> str:
        """Return the key of a one-time link; with `works=False`, of a link that never works."""
        key = secrets.token_urlsafe(24)
        if works:
            self._keys.append(key.encode())
        return key

    def log_in(self, key: str) -> tuple[str, str]:
        """Return the cookie header for the key of an unused one-time link; refuse other keys."""
        given = key.encode(errors="replace")
        found = [known for known in list(self._keys) if _same(given, known)]
        was_used = bool(found) or any(_same(given, used) for used in list(self._used))
        try:
            for known in found:
                self._keys.remove(known)
                self._used.append(known)
        except ValueError:  # another thread was faster
            found = []
        if not found:
            why = "this link was already used" if was_used else "unknown link"
            raise AccessError(HTTPStatus.FORBIDDEN, why, f"{why.capitalize()}. {ENTER}")
        return self.cookie()

    def cookie(self) -> tuple[str, str]:
        """Return the header that sets the cookie."""
        flags = f"HttpOnly; SameSite=Lax; Path=/; Max-Age={COOKIE_SECONDS}"
        return "Set-Cookie", f"{self._cookie_name}={self._cookie().decode()}; {flags}"


_HOST: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(:[0-9]{1,5})?", re.ASCII
)
"""RFC 3986, 3.2.2, limited to host names and addresses."""


def _cookie_name(port: int) -> str:
    """Return the name of the cookie, which no other server has: cookies do not tell ports apart (RFC 6265, 8.5).

    Through tunnels, one host name in a browser can be several machines.  Copies of a machine can share its id, and many
    machines are named localhost: the cookie is of both.
    """
    machine = this_machine()
    digest = hashlib.sha256(f"{machine.name} {machine.id}".encode(errors="surrogateescape"))
    return f"bwtop-{digest.hexdigest()[:8]}-{port}"


def _same(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)
