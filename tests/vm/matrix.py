"""The last green runs of the kernel matrix: for each machine hashes of what was tested, and for each kernel its packages and results."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.vm.guest import CHECKOUT
from tests.vm.jobs import BACKENDS, JOBS
from tests.vm.kernels import BY_NAME, KERNELS, MACHINES, Kernel
from tests.vm.results import MOVING, Row

FILE: Final = CHECKOUT / "tests/vm/matrix.json"

DOCUMENT: Final = CHECKOUT / "man/guide/kernels.md"
"""Where users find the table."""

INPUTS: Final = (
    "bpf",
    "bwtop/capture",
    "bwtop/identity",
    "bwtop/names",
    "bwtop/rights",
    "tests/kernel",
    "tests/vm",
)
"""The folders with what guests run, and with what runs guests."""

SOURCES: Final = (".c", ".h", ".py", ".txt")

COLUMNS: Final = ("fexit", "tracepoint", "kprobe")
"""The backends, in the order of the table for users."""

REFUSALS: Final = {
    "tracepoint": "refused: no such tracepoints",
    "fexit": "refused: trampolines do not attach",
}
"""Why a kernel does not have a backend."""

HEADER: Final = f"| kernel | machine | release | {' | '.join(COLUMNS)} |"

Record = dict[str, Any]

Version = Callable[[Kernel], str]
"""Tells the version of a kernel's packages that a run would use; empty if it cannot be known."""


# What was tested.


def inputs(checkout: Path = CHECKOUT) -> dict[str, str]:
    """Return a hash of each folder of sources."""
    return {folder: digest(checkout, folder) for folder in INPUTS}


def digest(checkout: Path, folder: str) -> str:
    """Return a hash of the names and contents of a folder's sources."""
    whole = hashlib.sha256()
    paths = sources(checkout, folder)
    assert paths, f"no sources in {folder}"
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(checkout)} {content}\n".encode())
    return whole.hexdigest()


def sources(checkout: Path, folder: str) -> list[Path]:
    """Return the sources in a folder, without tests that no guest runs."""
    in_guests = {checkout / argument for job in JOBS for argument in job.arguments}
    return sorted(
        path
        for path in (checkout / folder).rglob("*")
        if path.suffix in SOURCES and (path in in_guests or not path.name.startswith("test_"))
    )


# The record.


def recorded(record: Record, row: Row, tested: dict[str, str]) -> Record:
    """Return a record with a kernel's row of this run.

    It is without what was edited by hand, and without rows of the same machine that are of other sources.
    """
    machines = record["machines"] if record and sealed(record) == record else {}
    machine = BY_NAME[row.kernel].machine
    before = machines.get(machine, {})
    others = before["kernels"] if before.get("inputs") == tested else []
    rows = {kernel["kernel"]: kernel for kernel in others} | {row.kernel: of_kernel(row)}
    mine = {"inputs": tested, "kernels": [rows[name] for name in BY_NAME if name in rows]}
    return sealed({"machines": machines | {machine: mine}})


def of_kernel(row: Row) -> Record:
    """Return a kernel's part of the record."""
    return {
        "kernel": row.kernel,
        "package": row.package,
        "release": row.release,
        "untested": row.untested,
        "passed": {result.job.name: result.passed for result in row.results},
    }


def sealed(record: Record) -> Record:
    """Return a record with a hash of itself, which tells when it was edited by hand."""
    content = {name: value for name, value in record.items() if name != "seal"}
    seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return content | {"seal": seal}


def read(file: Path = FILE) -> Record:
    """Return the record that is kept; empty if there is none."""
    record: Record = json.loads(file.read_text()) if file.exists() else {}
    return record


def write(row: Row, tested: dict[str, str], file: Path = FILE, document: Path = DOCUMENT) -> None:
    """Keep the record of a run of a kernel's jobs, and put the table into the document for users."""
    record = recorded(read(file), row, tested)
    file.write_text(json.dumps(record, indent=2) + "\n")
    document.write_text(with_table(document.read_text(), record))


@dataclass(frozen=True)
class Change:
    """What differs from the record."""

    what: str
    kernels: frozenset[str]
    """The names of those that must run for it."""


def changes(record: Record, version: Version, machines: Iterable[str] = MACHINES) -> list[Change]:
    """Return what differs from the record of these machines.

    A version that cannot be known, as without a network, counts as the same.  The newest kernel's is not compared: it
    changes every week, and its failures stop no change.
    """
    if sealed(record) != record:
        return [
            Change(f"{machine}: the record was edited by hand", names_of(machine))
            for machine in machines
        ]
    now = inputs()
    return [change for machine in machines for change in changes_of(machine, record, now, version)]


def changes_of(
    machine: str, record: Record, now: dict[str, str], version: Version
) -> Iterator[Change]:
    """Yield what differs from a machine's part of the record."""
    mine = record["machines"].get(machine, {"inputs": now, "kernels": []})
    for name in INPUTS:
        if mine["inputs"].get(name) != now[name]:
            yield Change(f"{machine}: {name} has changed", names_of(machine))
    used = {kernel["kernel"]: kernel["package"] for kernel in mine["kernels"]}
    for name in sorted(names_of(machine)):
        kernel = BY_NAME[name]
        if name not in used:
            yield Change(f"{machine}: kernel {kernel.line} has not been tested", frozenset({name}))
        elif name != MOVING and (newest := version(kernel)) not in ("", used[name]):
            yield Change(f"{machine}: kernel {kernel.line} has version {newest}", frozenset({name}))


def names_of(machine: str) -> frozenset[str]:
    """Return the names of a machine's kernels."""
    return frozenset(kernel.name for kernel in KERNELS if kernel.machine == machine)


# The table for users.


def with_table(text: str, record: Record) -> str:
    """Return a document with the table of this record instead of the one it has."""
    lines = text.splitlines(keepends=True)
    first = lines.index(HEADER + "\n")
    after = next(at for at in range(first, len(lines)) if not lines[at].startswith("|"))
    return "".join([*lines[:first], *(line + "\n" for line in table(record)), *lines[after:]])


def table(record: Record) -> list[str]:
    """Return the lines of the table: the tests that passed with each backend."""
    rows = [
        line(machine, kernel)
        for machine in MACHINES
        if machine in record["machines"]
        for kernel in record["machines"][machine]["kernels"]
    ]
    return [HEADER, "|---" * (3 + len(COLUMNS)) + "|", *rows]


def line(machine: str, kernel: Record) -> str:
    """Return a kernel's line of the table."""
    release = f"not tested ({kernel['untested']})" if kernel["untested"] else kernel["release"]
    cells = [cell(kernel, backend) for backend in COLUMNS]
    return f"| {' | '.join([BY_NAME[kernel['kernel']].line, machine, release, *cells])} |"


def cell(kernel: Record, backend: str) -> str:
    """Return how many tests passed with a backend."""
    if backend not in BACKENDS[kernel["kernel"]]:
        return REFUSALS[backend]
    return str(kernel["passed"].get(backend, "-"))
