"""What came of the jobs, and the table of it."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.vm.jobs import LIMIT, Job

LAST = 12
"""How many lines of a traceback or of a console are shown."""

INDISPENSABLE = "6.1"
"""The kernel that a change may not land without in CI; others may be out of reach."""

MOVING = "newest"
"""The kernel that changes by itself: in CI its failures are told, and stop nobody's change."""

NOTHING_SELECTED = 5
"""pytest's exit status when -k left no test."""

STATUS = {124: f"not done in {LIMIT} s", 137: "hung even when interrupted"}
"""Exit statuses of the `timeout` around pytest."""


@dataclass(frozen=True)
class Failure:
    """A test that failed, or what kept one from running."""

    name: str
    text: str


@dataclass(frozen=True)
class Result:
    """A job that was to run."""

    job: Job
    passed: int = 0
    skipped: int = 0
    seconds: float = 0
    failures: tuple[Failure, ...] = ()

    @property
    def cell(self) -> str:
        """Its place in the table."""
        counts = {"passed": self.passed, "failed": len(self.failures), "skipped": self.skipped}
        said = [f"{count} {name}" for name, count in counts.items() if count]
        return ", ".join(said) or "none chosen"


@dataclass(frozen=True)
class Row:
    """A kernel."""

    kernel: str
    release: str = ""
    results: tuple[Result, ...] = ()
    untested: str = ""
    """Why nothing ran, if that is so."""
    package: str = ""
    """The version of its packages."""

    @property
    def failures(self) -> list[tuple[str, Failure]]:
        """The failures of all jobs, each with the job's name."""
        return [
            (result.job.name, failure) for result in self.results for failure in result.failures
        ]


def read(job: Job, folder: Path, console: str) -> Result:
    """Return what came of a job, from a guest's folder.  console: what to show if nothing is there."""
    status = folder / f"{job.file}.status"
    if not status.exists():
        return Result(job, failures=(Failure("the guest ended first", console),))
    return judged(job, int(status.read_text()), report(folder / f"{job.file}.xml"), console)


def report(path: Path) -> ET.Element:
    """Return pytest's report, empty if it left none."""
    return ET.parse(path).getroot() if path.exists() else ET.Element("testsuites")


def judged(job: Job, status: int, suites: ET.Element, console: str) -> Result:
    """Return a job's result, from pytest's exit status and report.  No status but success may pass without a failure."""
    cases = list(suites.iter("testcase"))
    failures = [failure for case in cases for failure in failures_of(case)]
    skipped = {name(case) for case in cases if case.find("skipped") is not None}
    passed = {name(case) for case in cases} - skipped - {failure.name for failure in failures}
    if why := unsaid(status, bool(failures), bool(passed), "-k" in job.arguments):
        failures.append(Failure(why, console))
    seconds = sum(float(suite.get("time", 0)) for suite in suites.iter("testsuite"))
    return Result(job, len(passed), len(skipped), seconds, tuple(failures))


def unsaid(status: int, failed: bool, passed: bool, narrowed: bool) -> str:
    """Return what is wrong with a run that no failure of a test tells; empty if nothing is."""
    if status in STATUS:
        return STATUS[status]
    if failed or (narrowed and status == NOTHING_SELECTED):
        return ""
    if status:
        return f"pytest ended with {status}"
    return "" if passed or narrowed else "no test passed"


def failures_of(case: ET.Element) -> list[Failure]:
    """Return a test's failure, and its error while cleaning up."""
    found = [*case.iter("failure"), *case.iter("error")]
    return [Failure(name(case), last_lines(element.text or "")) for element in found]


def name(case: ET.Element) -> str:
    """Return a test's name as pytest's command line takes it, nearly."""
    return f"{case.get('classname', '')}::{case.get('name', '')}".lstrip(":")


def last_lines(text: str) -> str:
    """Return the end of a text."""
    return "\n".join(text.rstrip().splitlines()[-LAST:])


def table(rows: Iterable[Row]) -> str:
    """Return kernels and their jobs as a table in Markdown.  A dash: not for this kernel."""
    rows = list(rows)
    columns = list(dict.fromkeys(result.job.name for row in rows for result in row.results))
    lines = [["kernel", "release", *columns], ["---"] * (len(columns) + 2)]
    for row in rows:
        cells = {result.job.name: result.cell for result in row.results}
        release = row.release if not row.untested else f"not tested ({row.untested})"
        lines.append([row.kernel, release, *(cells.get(column, "-") for column in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def failures(rows: Iterable[Row]) -> str:
    """Return all failures with the ends of their tracebacks."""
    return "\n\n".join(
        f"FAILED on {row.kernel}, {job}: {failure.name}\n{indented(failure.text)}"
        for row in rows
        for job, failure in row.failures
    )


def indented(text: str) -> str:
    """Return a text that stands out from what surrounds it."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def blocks(rows: Iterable[Row], *, ci: bool) -> bool:
    """Return whether a change may not land: in CI not for what is only told."""
    return any(
        (ci and bool(row.untested) and row.kernel == INDISPENSABLE)
        or (bool(row.failures) and not (ci and row.kernel == MOVING))
        for row in rows
    )
