"""Deltas with names of remotes, for tests of the history."""

from typing import Final

from bwtop.model.flows import Identity, Remote
from bwtop.model.named import Learned, NameSource
from bwtop.sqlite.delta import Delta, SeenName
from tests.build import key, remote
from tests.history.keep import CURL, flows_of

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
