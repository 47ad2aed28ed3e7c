"""The whole program without probes: a process called mover moves 1009 bytes each way in each tenth of a second."""

import sys
from pathlib import Path

from tests.kernel.running import LAUNCHER

_PROGRAM = """
import sys
root, record, grace, *flags = sys.argv[1:]
sys.path.insert(0, root)
from bwtop import cli
from bwtop.measure import intervals
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.model.flows import Identity, Traffic
from bwtop.modes import common
from bwtop.rights import privileges
from bwtop.tui import background
from tests.build import key, remote, sample

class Readings:
    def read(self):
        traffic = {key(7): {remote(): Traffic(1009, 1009)}}
        return sample(traffic, elapsed=0.1, identities={key(7): Identity("mover")})

record = open(record, "ab", buffering=0)
measurement = Measurement(
    readings=Readings(),
    backend="none",
    on_reading=lambda _: record.write(b"r"),
    status=lambda: Status(""),
    close=lambda _: record.write(b"c"),
)
intervals.GRACE = float(grace)
background.PATIENCE = 60.0
privileges.may_load = lambda: True
common.load = lambda _: None
common.start_measuring = lambda *_, **__: measurement
cli.main(["--no-resolve", "--no-config", "-d", "0.1", *flags])
"""


def fake(*flags: str, record: Path = Path("/dev/null"), grace: float = 10.0) -> list[str]:
    """Return the command.

    It writes "r" to `record` for each reading and "c" at its end, for which it has `grace` seconds.
    """
    return [sys.executable, "-c", _PROGRAM, str(LAUNCHER.parent), str(record), str(grace), *flags]
