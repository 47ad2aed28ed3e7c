"""The record of the matrix: when it must run again, and the table for users."""

import shutil
from pathlib import Path

import pytest

from tests.vm import matrix
from tests.vm.guest import CHECKOUT
from tests.vm.jobs import JOBS
from tests.vm.kernels import KERNELS, MACHINES
from tests.vm.matrix import INPUTS, changes, inputs, recorded, sealed
from tests.vm.results import MOVING, Result, Row

ROWS = {
    machine: [
        Row(
            kernel.name,
            f"{kernel.line}.0-1-{machine}",
            tuple(Result(job, passed=70) for job in JOBS if job.kernel == kernel.name),
            package=f"{kernel.line}.1-1",
        )
        for kernel in KERNELS
        if kernel.machine == machine
    ]
    for machine in MACHINES
}


def recorded_of_all() -> matrix.Record:
    record: matrix.Record = {}
    for machine in MACHINES:
        record = recorded(record, machine, ROWS[machine], inputs())
    return record


def test_changed_sources_packages_and_records_demand_a_run() -> None:
    record = recorded_of_all()
    newer = [
        f"{kernel.machine}: kernel {kernel.line} has version {kernel.line}.2-1"
        for kernel in KERNELS
        if kernel.name != MOVING
    ]
    assert changes(record, lambda kernel: f"{kernel.line}.1-1") == []
    assert changes(record, lambda _: "") == [], "a version that cannot be looked up is the same"
    assert changes(record, lambda kernel: f"{kernel.line}.2-1") == newer
    record["machines"]["arm64"]["inputs"]["bpf"] = "0" * 64
    assert changes(record, lambda _: "") == ["the record was edited by hand"]
    assert changes(sealed(record), lambda _: "") == ["arm64: bpf has changed"]


def test_a_machine_may_be_tested_without_the_other() -> None:
    record = recorded_of_all()
    record["machines"]["amd64"]["inputs"]["bpf"] = "0" * 64
    record = recorded(sealed(record), "arm64", ROWS["arm64"], inputs())
    assert changes(record, lambda _: "", ["arm64"]) == []
    assert changes(record, lambda _: "") == ["amd64: bpf has changed"]
    record["machines"]["amd64"]["inputs"] = inputs()
    record = recorded(record, "arm64", ROWS["arm64"], inputs())
    assert changes(record, lambda _: "") == ["amd64 has not been tested"], "edited by hand"


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
    rows = [Row("5.10", untested="no route"), ROWS["amd64"][2]]
    matrix.write("amd64", rows, inputs(), file, document)
    matrix.write("arm64", ROWS["arm64"], inputs(), file, document)
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
