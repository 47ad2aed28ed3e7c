"""What is watched: a capture of our own and its recorder, what another bwtop records, or what many hosts send."""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bwtop.capture.session import CaptureError, Fill, Loading
from bwtop.clickhouse import shipper
from bwtop.clickhouse.client import Server
from bwtop.clickhouse.follow import FleetFollower
from bwtop.clickhouse.shipper import Shipper
from bwtop.measure.intervals import READING_PERIOD, Readings, Status, Tap
from bwtop.model.filter import Filter
from bwtop.rights import account as accounts
from bwtop.rights import privileges
from bwtop.rights.account import Account
from bwtop.rights.confine import confine
from bwtop.sqlite.follow import Follower
from bwtop.sqlite.recorder import OVER_SIZE, Recorder
from bwtop.sqlite.schema import HistoryError, plain
from bwtop.sqlite.writer import Options

NEEDS_ROOT: Final = "measuring needs root (or CAP_BPF and CAP_PERFMON); try: sudo bwtop"

FOLLOW_SECONDS: Final = 3.0
"""For a server to go on with an answer: with the ping before it less than live.GRACE, so that bwtop ends well where one
hangs."""

FOLLOW_PERIOD: Final = 10.0
"""Seconds between questions to a server, within longer intervals: it has work to do for each."""

Notify = Callable[[str], None]
"""Takes a line for people; it may be called from any thread."""


@dataclass(frozen=True)
class Measurement:
    """Readings, and where they come from."""

    readings: Readings
    backend: str
    degradations: Sequence[str]
    status: Callable[[], Status]
    close: Callable[[], None]
    """Ends it; what is still to be written is written."""
    tap: Tap | None = None
    recorder: Recorder | None = None
    shipper: Shipper | None = None
    following: bool = False
    """Whether the readings are another bwtop's."""
    period: float = READING_PERIOD
    """Seconds between readings, at most."""
    to_the_end: bool = True
    """Whether what moved until the end is worth a last reading."""
    passed_over: Sequence[str] = ()
    """Backends that would have come first, and why they are not used."""
    fill: Callable[[], Fill] | None = None
    """How full the kernel's map of flows was at the last reading; None where another bwtop reads it."""


def measure(
    loading: Loading,
    options: Options | None,
    notify: Notify,
    *,
    ship: shipper.Options | None = None,
    keep_kill: bool = False,
    prepare: Callable[[], None] = lambda: None,
) -> Measurement:
    """Waits for the probes, gives up root, and records unless `options` are None; raises CaptureError.

    What is recorded is shipped, if somebody says where.  `prepare` is called when the history is there, but what root alone can reach not yet out of reach.
    """
    capture = loading.start()
    report = capture.report
    keep = privileges.needed(capture.try_reading)
    if keep_kill:
        keep += (privileges.CAP_KILL,)
    if options is None:
        prepare()
        confine(accounts.unprivileged(os.environ), keep=keep)
        return Measurement(
            capture,
            report.backend.name,
            report.degradations(),
            lambda: Status("not recording"),
            capture.close,
            passed_over=capture.passed_over,
            fill=lambda: capture.fill,
        )
    recorder = Recorder(options, notify)
    sender = Shipper(ship, options.path, notify) if ship else None
    _drop_root(recorder, options.account, sender, prepare, keep)

    def close() -> None:
        capture.close()
        recorder.close()
        if sender:
            sender.close()

    return Measurement(
        capture,
        report.backend.name,
        report.degradations(),
        lambda: _status(recorder, sender),
        close,
        recorder.put,
        recorder,
        sender,
        passed_over=capture.passed_over,
        fill=lambda: capture.fill,
    )


def _drop_root(
    recorder: Recorder,
    account: Account | None,
    sender: Shipper | None,
    prepare: Callable[[], None],
    keep: tuple[int, ...],
) -> None:
    """Become the account that the history is opened with, before it is opened.

    Where root alone can reach it, root opens it first: it stays open when its path is out of reach.
    """
    if account is None and os.geteuid() == 0:
        recorder.open()
        if sender:
            sender.open()
        prepare()
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
    warning = f"not recording: {state.fault}" if state.fault else ""
    if recorder.is_over_size:
        warning = OVER_SIZE
    if sender and state.recording:
        return Status(f"{state.words()}, shipping", warning or sender.state.warning(time.time()))
    return Status(state.words(), warning)


def follow(path: Path) -> Measurement:
    """What another bwtop records now; raises CaptureError if nobody does, for only root can measure."""
    try:
        follower = Follower(path)
    except FileNotFoundError:
        raise CaptureError(f"{NEEDS_ROOT} (and nobody records to {path})") from None
    except (HistoryError, OSError, sqlite3.Error) as error:
        raise CaptureError(f"{NEEDS_ROOT} ({plain(error, path)})") from None
    if not follower.recorder():
        follower.close()
        raise CaptureError(
            f"{NEEDS_ROOT} (nobody records to {path} now; bwtop --history shows what was)"
        )
    return Measurement(
        follower, "", [], lambda: _followed(follower), follower.close, following=True
    )


def follow_fleet(server: Server, keep: Filter) -> Measurement:
    """What the hosts that a filter names send to a server now; raises FleetError."""
    follower = FleetFollower(server, keep)
    return Measurement(
        follower,
        "",
        [],
        lambda: Status(*follower.state()),
        follower.close,
        following=True,
        period=FOLLOW_PERIOD,
        to_the_end=False,
    )


def _followed(follower: Follower) -> Status:
    who = follower.recorder()
    if who:
        return Status(f"from the history of {who}, a second late")
    return Status("nobody records", "what is shown is old: the bwtop that recorded has ended")
