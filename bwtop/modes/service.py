"""bwtop --record: measuring for the history alone, as a service does."""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from bwtop.measure.intervals import READING_PERIOD, Clock, samples
from bwtop.measure.sources import Measurement
from bwtop.sqlite.recorder import Recorder
from bwtop.text.escape import count, printable

NOTICE: Final = 5
WARNING: Final = 4
"""Priorities of syslog(3)."""


class Log:
    """Lines on standard error, with their priority where systemd's journal reads them (sd-daemon(3))."""

    def __init__(self, out: TextIO, environment: Mapping[str, str]) -> None:
        self._out = out
        self._prefixed = _is_journal(out, environment.get("JOURNAL_STREAM", ""))

    def __call__(self, text: str, priority: int = WARNING) -> None:
        """Writes one; who does not read them is no reason to stop."""
        prefix = f"<{priority}>" if self._prefixed else "bwtop: "
        with contextlib.suppress(OSError, ValueError):  # ValueError: Python has closed it
            self._out.write(f"{prefix}{printable(' '.join(text.split()))}\n")
            self._out.flush()


def _is_journal(out: TextIO, stream: str) -> bool:
    """JOURNAL_STREAM has the device and inode of what the journal reads (systemd.exec(5))."""
    try:
        found = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def notifier(environment: Mapping[str, str]) -> Callable[[str], None]:
    """What tells the service manager how it goes (sd_notify(3)); nothing where nobody asked."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return lambda _: None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        sock.close()
        return lambda _: None

    def send(text: str) -> None:
        with contextlib.suppress(OSError):
            sock.send(text.encode())

    return send


def run(
    measurement: Measurement,
    recorder: Recorder,
    clock: Clock,
    log: Log,
    tell: Callable[[str], None],
) -> None:
    """Records until the clock says stop; then the last, shorter interval too."""
    log(f"recording to {recorder.path} (backend: {measurement.backend})", NOTICE)
    tell("READY=1")
    for _ in samples(measurement.readings, lambda: READING_PERIOD, clock, measurement.tap):
        pass
    tell("STOPPING=1")
    measurement.close()
    log(f"stopped; {count(round(recorder.seconds), 'second')} recorded", NOTICE)
