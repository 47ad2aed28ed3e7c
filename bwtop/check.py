"""bwtop --check: what this kernel allows, and whether what it counts is true."""

import os
from collections.abc import Iterator
from typing import TextIO

from bwtop.capture import privileges
from bwtop.capture.backends import BACKENDS
from bwtop.capture.session import Capture, Loading, Report
from bwtop.identity.users import sudo_user
from bwtop.proof import prove


def run(out: TextIO) -> bool:
    """Tries every backend and writes what came of it, then proves the first that works.

    True when one works and all that it counted was exact.
    """
    used: Capture | None = None
    for backend in BACKENDS:
        (report,), capture = Loading([backend]).finish()
        if capture and used:
            capture.close()
        for line in _lines(report, used=capture is not None and used is None):
            out.write(f"{line}\n")
        used = used or capture
    return used is not None and _prove(used, out)


def _lines(report: Report, *, used: bool) -> Iterator[str]:
    name = report.backend.name
    if report.refusal:
        yield f"{name}: does not work here: {report.refusal}"
        yield f"  it needs {report.backend.needs}"
    else:
        yield f"{name}: works here" + (", and would be used" if used else "")
    for probe in report.backend.probes:
        reason = report.probes.get(probe.target)
        state = "not tried" if reason is None else f"refused: {reason}" if reason else "accepted"
        yield f"  {probe.kind} {probe.target}: {state}"
        if reason and probe.without:
            yield f"    so {probe.without}"


def _prove(capture: Capture, out: TextIO) -> bool:
    privileges.drop(sudo_user(os.environ))
    out.write(f"known bytes over loopback, counted by {capture.report.backend.name}:\n")
    everything_right = True
    for result in prove(capture):
        out.write(f"  {result}\n")
        everything_right = everything_right and result.right
    capture.close()
    return everything_right
