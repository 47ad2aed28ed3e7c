"""A day of a busy desktop, for pictures."""

import math
import random
import time
from pathlib import Path

from bwtop.history.calendar import Unit, ceiling
from bwtop.model.flows import TCP, UDP, Identity, ProcessKey
from bwtop.sqlite.delta import Delta
from tests.build import remote
from tests.history.keep import HOUR, Kept, policy


def a_desktops_day(path: Path, start: int) -> None:
    """Write a history of a busy day as the recorder does; `start`: local midnight, in UTC seconds."""
    programs = (
        (Identity("backup", 0, exe="/usr/bin/restic"), 40, ("192.0.2.10", 443)),
        (Identity("firefox", 1042, exe="/usr/lib/firefox/firefox"), 25, ("198.51.100.7", 443)),
        (Identity("apt", 0, exe="/usr/lib/apt/methods/http"), 9, ("203.0.113.80", 80)),
        (Identity("syncd", 1042, exe="/opt/sync/syncd"), 6, ("2001:db8::17", 22000)),
        (Identity("ssh", 1042, exe="/usr/bin/ssh"), 3, ("192.0.2.22", 22)),
        (Identity("chronyd", 110, exe="/usr/sbin/chronyd"), 1, ("198.51.100.123", 123)),
    )
    kept = Kept(policy(), path)
    randomly = random.Random(3)
    for when in range(start, ceiling(Unit.DAY, start), 600):
        hour = (when - start) / HOUR
        flows = {}
        for place, (who, weight, (address, port)) in enumerate(programs):
            wave = 0.15 + math.sin(math.pi * hour / 24) ** 4 + (place == 0) * (2 < hour < 4) * 3
            amount = int(weight * 200_003 * wave * (0.5 + randomly.random()))
            up = 0.9 if who.name in ("backup", "syncd") else 0.08
            far = remote(address, port, UDP if port == 123 else TCP)
            near = remote(f"203.0.113.{20 + place}", port, UDP if port == 123 else TCP)
            flows[ProcessKey(place + 1, 100 + place), who] = {
                far: (int(amount * (1 - up)), int(amount * up)),
                near: (amount // 9, amount // 31),
            }
        kept.append(Delta(when, 600.0, flows))
    kept.steps(time.time())
    kept.connection.close()
