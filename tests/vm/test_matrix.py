"""The record of the matrix: when it must run again, and the table for users."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vm import matrix
from tests.vm.guest import CHECKOUT
from tests.vm.jobs import JOBS
from tests.vm.kernels import KERNELS, MACHINES, Kernel
from tests.vm.matrix import INPUTS, changes, inputs, recorded, sealed
from tests.vm.results import MOVING, Result, Row

ROWS = {
    kernel.name: Row(
        kernel.name,
        f"{kernel.line}.0-1-{kernel.machine}",
        tuple(Result(job, passed=70) for job in JOBS if job.kernel == kernel.name),
        package=f"{kernel.line}.1-1",
    )
    for kernel in KERNELS
}

ARM64 = {"6.1-arm64", "6.12-arm64"}


def recorded_of_all() -> matrix.Record:
    record: matrix.Record = {}
    for row in ROWS.values():
        record = recorded(record, row, inputs())
    return record


def same(kernel: Kernel) -> str:
    return f"{kernel.line}.1-1"


def said(
    record: matrix.Record, version: matrix.Version = same, machines: Sequence[str] = MACHINES
) -> dict[str, frozenset[str]]:
    """Return what differs from a record, each with the kernels that must run for it."""
    return {change.what: change.kernels for change in changes(record, version, machines)}


def test_changed_sources_packages_and_records_demand_a_run() -> None:
    record = recorded_of_all()
    newer = {
        f"{kernel.machine}: kernel {kernel.line} has version {kernel.line}.2-1": {kernel.name}
        for kernel in KERNELS
        if kernel.name != MOVING
    }
    assert said(record) == {}
    assert said(record, lambda _: "") == {}, "a version that cannot be looked up is the same"
    assert said(record, lambda kernel: f"{kernel.line}.2-1") == newer
    record["machines"]["arm64"]["inputs"]["bpf"] = "0" * 64
    assert said(record) == {
        "amd64: the record was edited by hand": set(ROWS) - ARM64,
        "arm64: the record was edited by hand": ARM64,
    }
    assert said(sealed(record)) == {"arm64: bpf has changed": ARM64}


def test_a_machine_may_be_tested_without_the_other() -> None:
    record = recorded_of_all()
    record["machines"]["amd64"]["inputs"]["bpf"] = "0" * 64
    record = recorded(sealed(record), ROWS["6.1-arm64"], inputs())
    assert said(record, machines=["arm64"]) == {}
    assert list(said(record)) == ["amd64: bpf has changed"]
    record["machines"]["amd64"]["inputs"] = inputs()
    record = recorded(record, ROWS["6.1-arm64"], inputs())
    untested = [f"amd64: kernel {line} has not been tested" for line in ("5.10", "6.1", "6.12")]
    assert {*untested, "arm64: kernel 6.12 has not been tested"} < set(said(record)), "by hand"


def test_a_kernel_may_be_tested_without_the_others() -> None:
    record = recorded_of_all()
    newer = replace(ROWS["6.1"], package="6.1.2-1")
    record = recorded(record, newer, inputs())
    assert list(said(record)) == ["amd64: kernel 6.1 has version 6.1.1-1"], "what is not recorded"
    assert [row["kernel"] for row in record["machines"]["amd64"]["kernels"]] == [
        kernel.name for kernel in KERNELS if kernel.machine == "amd64"
    ]
    other = inputs() | {"bpf": "0" * 64}
    record = recorded(record, newer, other)
    assert [row["kernel"] for row in record["machines"]["amd64"]["kernels"]] == ["6.1"]
    record = recorded(record, ROWS["6.1"], inputs())
    assert said(record) == {
        f"amd64: kernel {line} has not been tested": {line} for line in ("5.10", "6.12", MOVING)
    }


@pytest.mark.parametrize(
    "path",
    [
        *("bpf/new.h", "bwtop/capture/new.py", "tests/kernel/running.py"),
        *("tests/kernel/test_tcp.py", "tests/kernel/test_serve.py", "tests/vm/test_matrix.py"),
    ],
)
def test_sources_are_those_that_guests_run(tmp_path: Path, path: str) -> None:
    for folder in INPUTS:
        shutil.copytree(CHECKOUT / folder, tmp_path / folder)
    before = inputs(tmp_path)
    with (tmp_path / path).open("a") as file:
        file.write("/* more */")
    after = inputs(tmp_path)
    counts = not path.endswith(("test_serve.py", "test_matrix.py"))
    changed = [folder for folder in INPUTS if before[folder] != after[folder]]
    assert changed == [folder for folder in INPUTS if counts and path.startswith(f"{folder}/")]


def test_record_is_kept_with_its_table(tmp_path: Path) -> None:
    file, document = tmp_path / "matrix.json", tmp_path / "kernels.md"
    document.write_text(f"before\n\n{matrix.HEADER}\n|---|\n| old |\n\nafter\n")
    for name in ("6.12-arm64", "6.12", "6.1-arm64"):
        matrix.write(ROWS[name], inputs(), file, document)
    matrix.write(Row("5.10", untested="no route"), inputs(), file, document)
    assert sealed(matrix.read(file)) == matrix.read(file)
    refused = ("refused: trampolines do not attach", "refused: no such tracepoints")
    assert document.read_text().splitlines() == [
        "before",
        "",
        "| kernel | machine | release | fexit | tracepoint | kprobe |",
        "|---|---|---|---|---|---|",
        f"| 5.10 | amd64 | not tested (no route) | - | {refused[1]} | - |",
        "| 6.12 | amd64 | 6.12.0-1-amd64 | 70 | 70 | 70 |",
        f"| 6.1 | arm64 | 6.1.0-1-arm64 | {refused[0]} | {refused[1]} | 70 |",
        "| 6.12 | arm64 | 6.12.0-1-arm64 | 70 | 70 | 70 |",
        "",
        "after",
    ]


def test_table_for_users_is_that_of_the_record() -> None:
    record = matrix.read()
    assert sealed(record) == record, "matrix.json was edited by hand; run: make test-kernels"
    text = matrix.DOCUMENT.read_text()
    assert matrix.with_table(text, record) == text, "run: make test-kernels"
