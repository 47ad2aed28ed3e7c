"""Names of remote addresses: of known hosts, and by reverse DNS."""

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from bwtop.identity.lookup import Lookup, Unanswered, Unsettled
from bwtop.model.flows import Host, parse_address

_THREADS: Final = 4
"""Look-ups in flight."""

_TRY_AGAIN: Final = 2
"""h_errno of netdb.h: no answer from any server, or SERVFAIL, which is also the answer for a zone whose own servers are
away."""

_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_OPTION: Final = re.compile(r"^options\b.*\btimeout:(\d{1,2})", re.MULTILINE)
_TIME_OUT: Final = 5.0

DEAD: Final = "the name server does not answer; addresses are shown without names"


class Names:
    """Reverse DNS in the background; a name that is not known yet is None."""

    def __init__(self) -> None:
        self._lookup = Lookup(look_up, "bwtop-dns", _THREADS)

    @property
    def trouble(self) -> str:
        """Return why there are no names; empty while the resolver answers."""
        return DEAD if self._lookup.is_dead else ""

    def get(self, address: bytes) -> str | None:
        """Return the name of a packed address if it is known; else ask for it."""
        return self._lookup.get(address) if _is_worth_asking(address) else None

    def wait(self, addresses: Iterable[bytes], seconds: float) -> None:
        """Wait until the names of all addresses are known, but at most so many seconds."""
        self._lookup.wait(filter(_is_worth_asking, addresses), seconds)


class PeerNames:
    """The names of hosts that are known by their addresses; of other remotes those of another source."""

    def __init__(self, names: Names | None, peers: Callable[[], Mapping[bytes, Host]]) -> None:
        """names: None: other remotes have none.  peers: returns the hosts by packed address."""
        self._names = names
        self._peers = peers

    def get(self, address: bytes) -> str | None:
        """Return the name of a packed address if it is known; else ask for it."""
        if host := self._peers().get(address):
            return host.label
        return self._names.get(address) if self._names else None


def look_up(address: bytes) -> str | None:
    """Return the name of a packed address from the system's resolver, None if it has none; raise Unanswered or Unsettled.

    Block for as long as the resolver does: 10 s for each server that drops packets (resolv.conf(5)).  gethostbyaddr()
    releases the GIL meanwhile; getnameinfo() of Python 3.11 holds it.
    """
    parsed = parse_address(address)
    if parsed is None:
        return None
    began = time.monotonic()
    try:
        return socket.gethostbyaddr(str(parsed))[0]
    except socket.herror as error:
        if error.errno == _TRY_AGAIN:
            raise Unanswered if time.monotonic() - began >= time_out() else Unsettled from None
        return None
    except (OSError, UnicodeError):  # a name in /etc/hosts may be of any bytes
        return None


def time_out(configuration: Path = _RESOLV_CONF) -> float:
    """Return the seconds that the resolver waits for an answer (resolv.conf(5)); what fails sooner has another reason."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        found = _OPTION.findall(configuration.read_text(errors="replace"))
    return float(found[-1]) if found else _TIME_OUT


def _is_worth_asking(address: bytes) -> bool:
    """Return whether a server may know the name: asking makes traffic of our own."""
    parsed = parse_address(address)
    return parsed is not None and not (
        parsed.is_loopback or parsed.is_multicast or parsed.is_link_local or parsed.is_unspecified
    )
