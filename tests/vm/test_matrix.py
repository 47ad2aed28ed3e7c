"""The record of the matrix: when it must run again, and the table for users."""

import shutil
from pathlib import Path

import pytest

from tests.vm import matrix
from tests.vm.guest import CHECKOUT
from tests.vm.jobs import JOBS
from tests.vm.kernels import KERNELS
from tests.vm.matrix import INPUTS, changes, inputs, recorded, sealed
from tests.vm.results import MOVING, Result, Row

ROWS = [
    Row(
        kernel.name,
        f"{kernel.name}.0-1-amd64",
        tuple(Result(job, passed=70) for job in JOBS if job.kernel == kernel.name),
        package=f"{kernel.name}.1-1",
    )
    for kernel in KERNELS
]


def test_changed_sources_packages_and_records_demand_a_run() -> None:
    record = recorded(ROWS, inputs())
    newer = [f"kernel {k.name} has version {k.name}.2-1" for k in KERNELS if k.name != MOVING]
    assert changes(record, lambda kernel: f"{kernel.name}.1-1") == []
    assert changes(record, lambda _: "") == [], "a version that cannot be looked up is the same"
    assert changes(record, lambda kernel: f"{kernel.name}.2-1") == newer
    record["inputs"]["bpf"] = "0" * 64
    assert changes(record, lambda _: "") == ["the record was edited by hand"]
    assert changes(sealed(record), lambda _: "") == ["bpf has changed"]


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
    rows = [Row("5.10", untested="no route"), ROWS[2]]
    matrix.write(rows, inputs(), file, document)
    assert sealed(matrix.read(file)) == matrix.read(file)
    assert document.read_text().splitlines() == [
        "before",
        "",
        "| kernel | release | fexit | tracepoint | kprobe |",
        "|---|---|---|---|---|",
        "| 5.10 | not tested (no route) | - | refused: no such tracepoints | - |",
        "| 6.12 | 6.12.0-1-amd64 | 70 | 70 | 70 |",
        "",
        "after",
    ]


def test_table_for_users_is_that_of_the_record() -> None:
    record = matrix.read()
    assert sealed(record) == record, "matrix.json was edited by hand; run: make test-kernels"
    text = matrix.DOCUMENT.read_text()
    assert matrix.with_table(text, record) == text, "run: make test-kernels"
