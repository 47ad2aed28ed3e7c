"""The table of the demo's processes, with their remotes, rates and rhythms."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bwtop.model.flows import TCP, UDP

_SHIFT: Final = 0.15
"""Phase shift between two remotes of a process, as a fraction of the period."""

Rhythm = Callable[[float], float]
"""Fraction of the full rate, 0 to 1, at a point of the period, 0 to 1."""


def steady(_: float) -> float:
    """Return the full rate at every point."""
    return 1.0


def bursts(point: float) -> float:
    """Return the full rate for a third of the period, else 0."""
    return 1.0 if point < 1 / 3 else 0.0


def waves(point: float) -> float:
    """Return a rate that rises slowly and falls again."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * point)


@dataclass(frozen=True)
class DemoProcess:
    """A demo process and its traffic."""

    name: str
    """At most 15 bytes, as the kernel keeps it (TASK_COMM_LEN in linux/sched.h)."""
    protocol: int
    remotes: tuple[str, ...]
    """Addresses."""
    rx: int
    """Bytes/s received at the full rate, over all remotes."""
    tx: int
    """Bytes/s sent at the full rate, over all remotes."""
    rhythm: Rhythm
    period: float = 1.0
    """Length of the rhythm in seconds."""
    datagram: int = 0
    """Bytes per datagram; 0 for TCP."""
    serves: bool = False
    """True: the remotes connect to the process; False: it connects to them."""

    def level(self, seconds: float, remote: int) -> float:
        """Return the fraction of the full rate, 0 to 1, after `seconds` for the remote with index `remote`."""
        return self.rhythm((seconds / self.period - remote * _SHIFT) % 1)


def _addresses(network: str, count: int) -> tuple[str, ...]:
    return tuple(f"{network}.{host}" for host in range(1, count + 1))


PROCESSES: Final = (
    DemoProcess(
        "demo-download",
        TCP,
        _addresses("127.80.0", 2),
        rx=6_000_000,
        tx=30_000,
        rhythm=waves,
        period=40,
    ),
    DemoProcess(
        "demo-backup",
        TCP,
        _addresses("127.22.0", 1),
        rx=8_000,
        tx=2_400_000,
        rhythm=bursts,
        period=15,
    ),
    DemoProcess(
        "demo-web",
        TCP,
        _addresses("127.100.0", 12),
        rx=60_000,
        tx=1_500_000,
        rhythm=bursts,
        period=9,
        serves=True,
    ),
    DemoProcess(
        "demo-sync", TCP, ("127.60.0.1", "::1"), rx=120_000, tx=40_000, rhythm=waves, period=20
    ),
    DemoProcess(
        "demo-call",
        UDP,
        _addresses("127.50.0", 1),
        rx=150_000,
        tx=150_000,
        rhythm=steady,
        datagram=1_000,
    ),
    DemoProcess(
        "demo-dns", UDP, _addresses("127.53.0", 8), rx=3_200, tx=1_600, rhythm=steady, datagram=100
    ),
)
"""All demo processes except the far end.  At full rate they move 11 MB/s."""
