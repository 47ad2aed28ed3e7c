"""Send signals to a process, safe against reuse of its pid."""

import os
import signal
from typing import Final, NamedTuple

from bwtop.model.flows import ProcessKey
from bwtop.tui.procfs import is_same

SIGNALS: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCONT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""The signals on offer, the gentlest first."""


class SignalTarget(NamedTuple):
    """A process that gets a signal."""

    process: ProcessKey
    name: str

    def __str__(self) -> str:
        """Return its name and pid."""
        return f"{self.name} ({self.process.pid})"


class SignalError(Exception):
    """A signal that was not sent; the text is the answer of the kernel."""


def send(process: ProcessKey, number: signal.Signals) -> None:
    """Send a signal, but not to another process that reuses the pid (pidfd_open(2)).

    Raise SignalError.

    """
    if process.pid is None:
        raise SignalError("there is no such process")
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError as error:
        raise SignalError(error.strerror or str(error)) from None
    try:
        if not is_same(process):
            raise SignalError("the process has exited; its pid was reused")
        signal.pidfd_send_signal(descriptor, number)
    except OSError as error:
        raise SignalError(error.strerror or str(error)) from None
    finally:
        os.close(descriptor)
