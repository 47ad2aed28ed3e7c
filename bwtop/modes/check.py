"""bwtop --check: show which backends work here and verify their counts."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

from bwtop.capture import preemption
from bwtop.capture.backends import ABSENT, Backend
from bwtop.capture.selftest import prove
from bwtop.capture.session import DEFAULT_LIMITS, Capture, Loading, Report
from bwtop.containers.names import ContainerNames
from bwtop.modes import common
from bwtop.options.flags import Options
from bwtop.rights import account as accounts
from bwtop.rights import landlock, privileges
from bwtop.rights.confine import confine
from bwtop.text.escape import printable


def run(options: Options, out: TextIO) -> bool:
    """Try each backend, or only that of --backend; check what those that work count, and write the results.

    Return True if at least one works and all counts are right.
    """
    working: list[Capture] = []
    mode = preemption.mode()
    backends = common.backends(options, mode)
    if len(backends) > 1:
        out.write(f"{_order(backends[0], mode)}\n")
    for backend in backends:
        limits = replace(DEFAULT_LIMITS, names=not options.no_names)
        (report,), capture = Loading([backend], limits, common.cache_folder(options)).finish()
        for line in _lines(report, used=capture is not None and not working):
            out.write(f"{line}\n")
        if capture:
            working.append(capture)
    if not working:
        return False
    keep = privileges.needed(working[0].try_reading)
    account = accounts.unprivileged(os.environ)
    names = None if options.no_container_names else ContainerNames(account)
    confine(account, keep=keep)
    for line in (*_rights(), *_container_names(names)):
        out.write(f"{line}\n")
    verdicts = [_prove(capture, out) for capture in working]
    return all(verdicts)


def _order(first: Backend, mode: str) -> str:
    """Return the line about which backend is tried first, and why."""
    if preemption.interrupts(mode):
        reason = (
            f"this kernel may interrupt programs (preemption: {mode}), and it misses the fewest"
        )
    else:
        reason = f"this kernel interrupts no programs (preemption: {mode}), and it costs least"
    return f"{first.name} is tried first: {reason}"


def _lines(report: Report, *, used: bool) -> Iterator[str]:
    name = report.backend.name
    if report.refusal:
        yield f"{name}: does not work here: {report.refusal}"
        yield f"  it needs {report.backend.needs}"
    else:
        yield f"{name}: works here" + (" (selected)" if used else "")
    if report.start:
        yield f"  programs: {report.start}"
    if report.backend.has_one_layer:
        yield "  one layer: one program counts an ordinary message, because nothing interrupts it here"
    for probe in report.backend.probes:
        reason = report.probes.get(probe.target)
        yield f"  {probe.kind} {probe.target}: {_state(reason)}"
        if reason and reason != ABSENT and probe.without:
            yield f"    so {probe.without}"
    if report.names:
        yield "  names of remotes: as programs ask for them (DNS, TLS, HTTP)"
    for note in report.notes:
        yield f"  {note}"


def _rights() -> Iterator[str]:
    """Yield lines about the remaining privileges of this process, read back from the kernel."""
    yield f"privileges after start: {privileges.described()}"
    version = landlock.abi()
    files = (
        f"Landlock {version}: can read only system files, can write only the folder of the history"
        if version
        else "no Landlock (needs Linux 5.13): bwtop can open all files that its user can open"
    )
    yield f"  {files}"


def _container_names(names: ContainerNames | None) -> Iterator[str]:
    """Yield lines about the process that reads the names of containers, which ends with that."""
    found = names.hello() if names else None
    if names:
        names.close()
    if found is None:
        reason = "no folder of a container engine is here" if names else "not read"
        yield f"names of containers: {reason}"
        return
    yield f"names of containers: read by a process with {found.rights}"
    yield (
        "  Landlock: it can read only these folders"
        if found.is_restricted
        else "  no Landlock (needs Linux 5.13): it can read all files; it opens only these folders"
    )
    for path in found.folders:
        yield f"  {printable(path)}"


def _state(reason: str | None) -> str:
    if reason is None:
        return "not tried"
    return f"refused: {reason}" if reason else "attached"


def _prove(capture: Capture, out: TextIO) -> bool:
    out.write(f"known bytes over loopback, counted by {capture.report.backend.name}:\n")
    everything_right = True
    for result in prove(capture):
        out.write(f"  {result}\n")
        everything_right = everything_right and result.right
    capture.close()
    return everything_right
