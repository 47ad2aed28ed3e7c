"""Deltas with names of remotes, for tests of the history."""

from typing import Final

from bwtop.model.flows import Identity, Remote, Role
from bwtop.model.named import Learned, NameSource
from bwtop.sqlite.delta import Delta, SeenName
from tests.build import key, remote
from tests.history.keep import CURL, DAY, NGINX, NOON, Kept, flows_of

SITE: Final = remote("192.0.2.1", 443)


def learned(
    name: str,
    source: NameSource = NameSource.SNI,
    *,
    pid: int = 1,
    address: bytes = SITE.address,
    port: int = SITE.port,
) -> Learned:
    """Return a name as a reading has it; DNS says nothing about ports."""
    of_port = port if source in (NameSource.SNI, NameSource.HOST) else None
    return Learned(key(pid), address, of_port, name, source, 3600)


def named_delta(
    start: float, *names: str | Learned, who: Identity = CURL, pid: int = 1, far: Remote = SITE
) -> Delta:
    """Return an interval in which a process moved a byte and asked for names; other processes are unknown."""
    found = Delta(start, 1.0, flows_of(far, pid=pid, who=who))
    for name in names:
        one = (
            learned(name, pid=pid, address=far.address, port=far.port)
            if isinstance(name, str)
            else name
        )
        known = who if one.process == key(pid) else None
        seen = SeenName(one.process, known, one.address, one.port, one.name, one.source)
        found.names[seen] = start
    return found


CURL_USER: Final = Identity("curl", 1000, exe="/usr/bin/curl")
PEER: Final = remote("2001:db8::2", 8443)
LONELY: Final = remote("192.0.2.50", 443)
SERVED: Final = remote("192.0.2.1", 443, role=Role.SERVER)


def named(kept: Kept) -> Kept:
    """Record names: one address asked for by two processes, one told to others, one that changed, and none."""
    dns, host = NameSource.DNS, NameSource.HOST

    def other(start: float, *names: str | Learned, far: Remote = SITE) -> Delta:
        return named_delta(start, *names, who=NGINX, pid=2, far=far)

    for delta in (
        named_delta(NOON, "www.example.co.uk", learned("cdn.example.net", dns)),
        other(NOON + 1, "other.example.org"),
        named_delta(NOON + 2, far=remote("192.0.2.1", 80)),  # no SNI of this port: DNS
        named_delta(NOON + 3, pid=3, who=CURL_USER),  # another user's: DNS of another process
        other(NOON + 4, learned("two.example.org", dns, pid=2, address=PEER.address), far=PEER),
        named_delta(NOON + 60, "late.example.co.uk", "late2.example.co.uk"),
        other(NOON + 61, learned("old.example", dns, pid=2, address=PEER.address)),
        other(NOON + 62, learned("new.example", host, pid=2, port=80)),
        named_delta(NOON + 63, far=remote("198.51.100.7", 443, role=Role.SERVER)),
        named_delta(NOON + 64, learned("none.example", dns, pid=9, address=LONELY.address)),
        other(NOON + 65, far=LONELY),
        named_delta(NOON + 66, learned("sent.example", pid=1, port=443), far=SERVED),
        named_delta(NOON + 67, far=remote("127.0.0.1", 53)),
        named_delta(NOON + 68, far=remote("*", 0)),
        named_delta(NOON + 3 * DAY, "www.example.co.uk"),
    ):
        kept.append(delta)
    return kept


QUESTIONS: Final = tuple(
    (start, end, by, words)
    for start, end in ((0, 30), (0, 100), (60, 65), (0, 4 * DAY), (3 * DAY, 4 * DAY), (-9, 0))
    for by, words in (
        (("name",), ""),
        (("domain",), ""),
        (("name", "process", "port"), "-loopback:only"),
        (("day", "domain"), ""),
        (("process",), "name:*.example.co.uk"),
        (("remote",), "-name:*.org"),
        (("remote", "name"), "remote:example.org:443 | lonely | none"),
    )
)
"""Seconds after NOON, groups and filters."""
