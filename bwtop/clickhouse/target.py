"""The address and password of a ClickHouse server."""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from bwtop.rights import opening
from bwtop.text.invalid import invalid

PORTS: Final = {"clickhouse": 9000, "clickhouses": 9440}
"""Default ports of the native protocol, without and with TLS."""

DATABASE: Final = "bwtop"
USER: Final = "default"

_EXPECTED: Final = f"clickhouse://user@host:9000/{DATABASE}"

PASSWORD: Final = "BWTOP_PASSWORD"  # noqa: S105 - the name of a variable
"""Environment variable of the password, used without a password file."""


MOST: Final = 4096
"""Largest size of a password file, in bytes."""


class PasswordError(ValueError):
    """The password cannot be read; the text says why."""


@dataclass(frozen=True)
class Target:
    """A database on a server."""

    host: str
    port: int
    user: str = USER
    database: str = DATABASE
    secure: bool = False
    """Use TLS; the certificate must be signed by a known authority."""
    more: tuple[tuple[str, int], ...] = ()
    """Hosts and ports of other servers with the same database, used in turn when one fails."""

    def url(self) -> str:
        """Return the address as it is typed; it has no password."""
        scheme = "clickhouses" if self.secure else "clickhouse"
        places = ((self.host, self.port), *self.more)
        hosts = ",".join(_place(host, port, PORTS[scheme]) for host, port in places)
        user = "" if self.user == USER else f"{quote(self.user, safe='')}@"
        return f"{scheme}://{user}{hosts}/{self.database}"


def _place(host: str, port: int, usual: int = 0) -> str:
    """Return a host and its port, unless that is the usual one."""
    name = f"[{host}]" if ":" in host else host
    return name if port == usual else f"{name}:{port}"


def others(target: Target) -> str | None:
    """Return the other addresses as the driver takes them; None: there are none."""
    return ",".join(_place(host, port) for host, port in target.more) or None


_PARTS: Final = r"([^/?#]*//)((?:[^/?#,]*@)?)([^/?#@]*)((?:[/?#].*)?)"
"""Scheme, user, servers, and the rest of an address."""


def parse(text: str) -> Target:
    """Parse clickhouse://[user@]host[:port][,host[:port]...][/database], or clickhouses:// for TLS; raise ValueError."""
    parts = re.fullmatch(_PARTS, text, re.DOTALL)
    if parts is None:
        raise invalid("address", text, _EXPECTED)
    scheme, user, hosts, rest = parts.groups()
    first, *more = hosts.split(",")
    found = _single(f"{scheme}{user}{first}{rest}", text)
    further = [_single(f"{scheme}{place}", text) for place in more]
    return replace(found, more=tuple((other.host, other.port) for other in further))


def _single(text: str, whole: str) -> Target:
    """Parse an address of one server; raise ValueError about the whole address."""
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        raise invalid("address", whole, _EXPECTED) from None
    if found.password is not None:
        raise ValueError(f"do not put the password in the URL; use --password-file or ${PASSWORD}")
    if found.scheme not in PORTS or not found.hostname or port == 0 or found.query + found.fragment:
        raise invalid("address", whole, _EXPECTED)
    database = found.path.strip("/") or DATABASE
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", database, re.ASCII):
        raise invalid("database name", database, "letters, digits and _")
    user = unquote(found.username or "") or USER
    if not user.isprintable():
        raise invalid("user name", user, "printable characters")
    return Target(
        found.hostname, port or PORTS[found.scheme], user, database, found.scheme == "clickhouses"
    )


def password(path: Path | None, environment: Mapping[str, str]) -> str:
    """Return the password from the file, without the line end; else from the environment; else an empty one.

    Raises PasswordError and OSError.
    """
    if path is None:
        return environment.get(PASSWORD, "")
    content = opening.read(path, MOST, opening.rights(path, environment))
    if content.mode & stat.S_IROTH:
        raise PasswordError(f"{path} is world-readable; run: chmod 600 {path}")
    try:
        return content.data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise PasswordError(f"the password in {path} is not UTF-8; save it as UTF-8") from None
