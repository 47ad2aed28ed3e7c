"""bwtop --check: what this kernel allows, and whether what it counts is true."""

import os
from collections.abc import Iterator
from typing import TextIO

from bwtop.capture.backends import ABSENT, BACKENDS, Probe
from bwtop.capture.selftest import prove
from bwtop.capture.session import Capture, Loading, Report
from bwtop.rights import account as accounts
from bwtop.rights import landlock, privileges
from bwtop.rights.confine import confine


def run(out: TextIO) -> bool:
    """Tries every backend and writes what came of it, then proves those that work.

    True when one works and all that was counted was right.
    """
    working: list[Capture] = []
    for backend in BACKENDS:
        (report,), capture = Loading([backend]).finish()
        for line in _lines(report, used=capture is not None and not working):
            out.write(f"{line}\n")
        if capture:
            working.append(capture)
    if not working:
        return False
    keep = privileges.needed(working[0].try_reading)
    confine(accounts.unprivileged(os.environ), keep=keep)
    for line in _rights():
        out.write(f"{line}\n")
    verdicts = [_prove(capture, out) for capture in working]
    return all(verdicts)


def _lines(report: Report, *, used: bool) -> Iterator[str]:
    name = report.backend.name
    if report.refusal:
        yield f"{name}: does not work here: {report.refusal}"
        yield f"  it needs {report.backend.needs}"
    else:
        yield f"{name}: works here" + (", and would be used" if used else "")
    for probe in report.backend.probes:
        reason = report.probes.get(probe.target)
        yield f"  {probe.kind} {probe.target}: {_state(probe, reason)}"
        if reason and reason != ABSENT and probe.without:
            yield f"    so {probe.without}"
    for note in report.notes:
        yield f"  {note}"


def _rights() -> Iterator[str]:
    """Yield what this process may still do, read back from the kernel."""
    yield f"after the start: {privileges.described()}"
    version = landlock.abi()
    files = (
        f"Landlock {version}: only the system's files can be read, only the history's folder written"
        if version
        else "no Landlock here (Linux 5.13 and newer): files are as open as to any program of this user"
    )
    yield f"  {files}"


def _state(probe: Probe, reason: str | None) -> str:
    if reason is None:
        return f"only in place of {probe.stands_in_for}" if probe.stands_in_for else "not tried"
    return f"refused: {reason}" if reason else "accepted"


def _prove(capture: Capture, out: TextIO) -> bool:
    out.write(f"known bytes over loopback, counted by {capture.report.backend.name}:\n")
    everything_right = True
    for result in prove(capture):
        out.write(f"  {result}\n")
        everything_right = everything_right and result.right
    capture.close()
    return everything_right
