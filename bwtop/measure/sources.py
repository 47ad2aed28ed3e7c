"""Sources of readings: a capture of this bwtop with its recorder, another recorder, or ClickHouse."""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bwtop.capture.session import Capture, CaptureError, Loading
from bwtop.clickhouse import shipper
from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.follow import FleetFollower
from bwtop.clickhouse.shipper import Shipper
from bwtop.containers.names import ContainerNames
from bwtop.measure.intervals import Source, Status
from bwtop.model.conversations import Peers
from bwtop.model.filter import Filter
from bwtop.rights import account as accounts
from bwtop.rights import privileges
from bwtop.rights.account import Account
from bwtop.rights.confine import confine
from bwtop.sqlite.errors import HistoryError, plain
from bwtop.sqlite.follow import Follower
from bwtop.sqlite.recorder import OVER_SIZE, Recorder
from bwtop.sqlite.writer import RecordingOptions

NEEDS_ROOT: Final = "measuring needs root (or CAP_BPF and CAP_PERFMON); try: sudo bwtop"

FOLLOW_SECONDS: Final = 3.0
"""Timeout of a request to ClickHouse.  With the ping before it, it is shorter than intervals.GRACE, so that bwtop ends
cleanly if the server hangs."""

FOLLOW_PERIOD: Final = 10.0
"""Seconds between queries to ClickHouse within longer intervals; each query costs the server work."""

GiveUp = Callable[[], bool]
"""Returns whether to wait no longer."""

Notify = Callable[[str], None]
"""Takes a line for the user; may be called from any thread."""


@dataclass(frozen=True, kw_only=True)
class Measurement(Source):
    """A source of readings and its status."""

    backend: str = ""
    """Empty when following."""
    degradations: Sequence[str] = ()
    status: Callable[[], Status]
    close: Callable[[GiveUp], None]
    """End the measurement, after writing all pending data, unless the function returns True meanwhile."""
    recorder: Recorder | None = None
    shipper: Shipper | None = None
    peers: Callable[[], Peers] = dict
    """Returns the hosts of remotes by packed address: those that send to the same ClickHouse."""
    following: bool = False
    """True: the readings come from another recorder or from ClickHouse."""
    passed_over: Sequence[str] = ()
    """Preferred backends that failed, with the reason."""

    @property
    def why(self) -> str:
        """Return the reason for missing intervals, such as a recorder that has exited; empty while they come."""
        return self.status().warning if self.following else ""

    def lost(self) -> int:
        """Return the measured bytes that could not be recorded."""
        return self.recorder.lost if self.recorder else 0


def measure(
    loading: Loading,
    options: RecordingOptions | None,
    notify: Notify,
    *,
    ship: shipper.ShippingOptions | None = None,
    keep_kill: bool = False,
    container_names: bool = True,
) -> Measurement:
    """Wait for the probes, drop root, and record unless `options` is None; raises CaptureError.

    Ship the recorded data if `ship` is given.  Name containers by a helper process unless told not to.
    """
    capture = loading.start()
    account = (options.account if options else None) or accounts.unprivileged(os.environ)
    names = ContainerNames(account) if container_names else None
    report = capture.report
    keep = privileges.needed(capture.try_reading)
    if keep_kill:
        keep += (privileges.CAP_KILL,)
    if options is None:
        confine(accounts.unprivileged(os.environ), keep=keep)
        _greet(names)
        return Measurement(
            readings=capture,
            backend=report.backend.name,
            degradations=report.degradations(),
            status=lambda: Status("not recording"),
            close=lambda _: _end(capture, names),
            passed_over=capture.passed_over,
            fill=lambda: capture.fill,
            containers=names,
        )
    recorder = Recorder(options, notify)
    sender = Shipper(ship, options.path, notify) if ship else None
    _drop_root(recorder, options.account, sender, keep)
    _greet(names)

    def close(give_up: GiveUp) -> None:
        _end(capture, names)
        recorder.close(give_up)
        if sender:
            sender.close()

    return Measurement(
        readings=capture,
        backend=report.backend.name,
        degradations=report.degradations(),
        status=lambda: _status(recorder, sender),
        close=close,
        on_reading=recorder.put,
        recorder=recorder,
        shipper=sender,
        passed_over=capture.passed_over,
        fill=lambda: capture.fill,
        containers=names,
    )


def _greet(names: ContainerNames | None) -> None:
    if names:
        names.greet()


def _end(capture: Capture, names: ContainerNames | None) -> None:
    capture.close()
    if names:
        names.close()


def _drop_root(
    recorder: Recorder,
    account: Account | None,
    sender: Shipper | None,
    keep: tuple[int, ...],
) -> None:
    """Become the account that owns the history, then open the history.

    If only root can reach the path, open it as root first; it stays open after root is dropped.
    """
    if account is None and os.geteuid() == 0:
        recorder.open()
        if sender:
            sender.open()
        confine(accounts.unprivileged(os.environ), keep=keep)
        if recorder.state.is_lasting:
            recorder.abandon()
            return
    else:
        account = account or accounts.unprivileged(os.environ)
        confine(account, recorder.path, keep=keep, prepare=recorder.open)
    recorder.start()
    if sender:
        sender.start(lambda: recorder.state.recording)


def _status(recorder: Recorder, sender: Shipper | None) -> Status:
    state = recorder.state
    warning = ""
    if state.fault:
        warning = f"not recording: {state.fault}"
    elif recorder.is_over_size:
        warning = OVER_SIZE
    elif recorder.aside:
        warning = f"the history was damaged; set aside as {recorder.aside}"
    if sender and state.recording:
        return Status(f"{state.words()}, shipping", warning or sender.state.warning(time.time()))
    return Status(state.words(), warning)


def follow(path: Path, *, names: bool = True) -> Measurement:
    """Follow the running recorder of the history, with the names of remotes or without.

    Raises CaptureError if none runs, as measuring needs root.
    """
    try:
        follower = Follower(path, names=names)
    except FileNotFoundError:
        raise CaptureError(f"{NEEDS_ROOT} (and no bwtop records to {path})") from None
    except (HistoryError, OSError, sqlite3.Error) as error:
        raise CaptureError(f"{NEEDS_ROOT} ({plain(error, path)})") from None
    if not follower.recorder():
        follower.close()
        raise CaptureError(
            f"{NEEDS_ROOT} (no bwtop records to {path} now; bwtop --history shows past usage)"
        )
    return Measurement(
        readings=follower,
        status=lambda: _followed(follower),
        close=lambda _: follower.close(),
        following=True,
    )


def follow_fleet(server: FleetServer, keep: Filter, *, names: bool = True) -> Measurement:
    """Follow the hosts that match a filter on ClickHouse, with the names of remotes or without; raises FleetError."""
    follower = FleetFollower(server, keep, names=names)
    return Measurement(
        readings=follower,
        status=lambda: Status(*follower.state()),
        close=lambda _: follower.close(),
        following=True,
        peers=follower.peers,
        period=FOLLOW_PERIOD,
        to_the_end=False,
    )


def _followed(follower: Follower) -> Status:
    who = follower.recorder()
    if who:
        return Status(f"from the history of {who}, one second behind")
    return Status("no bwtop records", "stale: the recorder has exited")
