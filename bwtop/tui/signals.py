"""Sending signals to a process that is still the one that was shown."""

import os
import signal
from typing import Final

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
"""What the chooser offers, the gentlest first."""


class SignalError(Exception):
    """The signal was not sent; the text is the kernel's answer."""


def send(process: ProcessKey, number: signal.Signals) -> None:
    """Sends a signal; a process that has the pid now but is another one gets none (pidfd_open(2)).

    Raises SignalError.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError as error:
        raise SignalError(error.strerror or str(error)) from None
    try:
        if not is_same(process):
            raise SignalError("it has exited; its pid is another process's now")
        signal.pidfd_send_signal(descriptor, number)
    except OSError as error:
        raise SignalError(error.strerror or str(error)) from None
    finally:
        os.close(descriptor)
