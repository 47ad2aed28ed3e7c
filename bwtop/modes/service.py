"""bwtop --record as a service: log, service manager, and the recording loop."""

import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from bwtop.measure.intervals import READING_PERIOD, Clock, samples
from bwtop.measure.sources import Measurement
from bwtop.measure.stopping import finishing
from bwtop.rights.opening import file_id
from bwtop.sqlite.recorder import Recorder
from bwtop.text.escape import count, printable

EXTEND: Final = 20.0
"""Seconds that the service manager waits on for what is not stored yet."""

NOTICE: Final = 5
WARNING: Final = 4
"""Priorities of syslog(3)."""


class Log:
    """A log on standard error, with priorities if the systemd journal reads it (sd-daemon(3))."""

    def __init__(self, out: TextIO, environment: Mapping[str, str]) -> None:
        self._out = out
        self._prefixed = _is_journal(out, environment.get("JOURNAL_STREAM", ""))

    def __call__(self, text: str, priority: int = WARNING) -> None:
        """Write one line; ignore a closed standard error."""
        prefix = f"<{priority}>" if self._prefixed else "bwtop: "
        with contextlib.suppress(OSError, ValueError):  # ValueError: Python has closed it
            self._out.write(f"{prefix}{printable(' '.join(text.split()))}\n")
            self._out.flush()


def _is_journal(out: TextIO, stream: str) -> bool:
    """Compare with JOURNAL_STREAM, the device and inode of the journal's stream (systemd.exec(5))."""
    try:
        device, inode = file_id(out.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{device}:{inode}"


def notifier(environment: Mapping[str, str]) -> Callable[[str], None]:
    """Return a function that sends a state to the service manager (sd_notify(3)); without one it does nothing."""
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
    """Record until the clock stops, including the last, shorter interval."""
    log(f"recording to {recorder.path} (backend: {measurement.backend})", NOTICE)
    tell("READY=1")
    try:
        with finishing(measurement, _extender(tell)):
            for _ in samples(measurement, lambda: READING_PERIOD, clock):
                pass
            tell("STOPPING=1")
    finally:
        log(f"stopped; {count(round(recorder.seconds), 'second')} recorded", NOTICE)


def _extender(tell: Callable[[str], None]) -> Callable[[], None]:
    """Return a function that asks the service manager to wait on, once in EXTEND / 2 seconds (sd_notify(3))."""
    last = -EXTEND

    def extend() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= EXTEND / 2:
            last = now
            tell(f"EXTEND_TIMEOUT_USEC={round(EXTEND * 1e6)}")

    return extend
