"""The record of the matrix: when it must run again, and the table for users."""

import shutil
from pathlib import Path

import pytest

from tests.vm import matrix
from tests.vm.guest import CHECKOUT
from tests.vm.jobs import JOBS
from tests.vm.kernels import KERNELS, Kernel
from tests.vm.matrix import INPUTS, Record, changes, inputs, recorded, sealed
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


def same(kernel: Kernel) -> str:
    return f"{kernel.name}.1-1"


def unknown(_: Kernel) -> str:
    return ""


@pytest.fixture
def record() -> Record:
    """The record of a run with these sources."""
    return recorded(ROWS, inputs())


@pytest.mark.parametrize("version", [same, unknown])
def test_nothing_changed(record: Record, version: matrix.Version) -> None:
    assert changes(record, version) == []


def test_a_newer_package_is_a_change_but_not_of_the_newest_kernel(record: Record) -> None:
    newer = [f"kernel {k.name} has version {k.name}.2-1" for k in KERNELS if k.name != MOVING]
    assert changes(record, lambda kernel: f"{kernel.name}.2-1") == newer


def test_a_record_that_was_edited_is_none(record: Record) -> None:
    record["kernels"][0]["passed"]["fexit"] += 1
    assert changes(record, same) == ["the record was edited by hand"]


def test_other_sources_are_a_change(record: Record) -> None:
    record["inputs"]["bpf"] = "0" * 64
    assert changes(sealed(record), same) == ["bpf has changed"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of all inputs."""
    for folder in INPUTS:
        shutil.copytree(CHECKOUT / folder, tmp_path / folder)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    ["bpf/new.h", "bwtop/capture/new.py", "tests/kernel/running.py", "tests/kernel/test_tcp.py"],
)
def test_what_guests_run_counts(checkout: Path, path: str) -> None:
    before = inputs(checkout)
    with (checkout / path).open("a") as file:
        file.write("/* more */")
    after = inputs(checkout)
    assert [path.startswith(f"{folder}/") for folder in INPUTS] == [
        before[folder] != after[folder] for folder in INPUTS
    ]


@pytest.mark.parametrize("path", ["tests/kernel/test_serve.py", "tests/vm/test_matrix.py"])
def test_what_no_guest_runs_does_not(checkout: Path, path: str) -> None:
    before = inputs(checkout)
    (checkout / path).write_text("")
    (checkout / "bpf" / "__pycache__").mkdir()
    (checkout / "bpf" / "__pycache__" / "a.pyc").touch()
    assert inputs(checkout) == before


def test_a_renamed_file_is_a_change(checkout: Path) -> None:
    before = inputs(checkout)
    path = next((checkout / "bpf").glob("*.h"))
    path.rename(path.with_name("renamed.h"))
    assert inputs(checkout)["bpf"] != before["bpf"]


def test_a_record_is_kept_with_its_table(tmp_path: Path) -> None:
    file, document = tmp_path / "matrix.json", tmp_path / "kernels.md"
    document.write_text(f"before\n\n{matrix.HEADER}\n|---|\n| old |\n\nafter\n")
    matrix.write(ROWS, inputs(), file, document)
    assert changes(matrix.read(file), same) == []
    assert document.read_text().splitlines() == [
        "before",
        "",
        "| kernel | release | fexit | tracepoint | kprobe |",
        "|---|---|---|---|---|",
        "| 5.10 | 5.10.0-1-amd64 | 70 | refused: no such tracepoints | 70 |",
        "| 6.1 | 6.1.0-1-amd64 | 70 | refused: no such tracepoints | 70 |",
        "| 6.12 | 6.12.0-1-amd64 | 70 | 70 | 70 |",
        "| newest | newest.0-1-amd64 | 70 | 70 | 70 |",
        "",
        "after",
    ]


def test_a_kernel_that_could_not_be_had_is_told() -> None:
    row = Row("5.10", untested="no route")
    (kernel,) = recorded([row], {})["kernels"]
    assert matrix.line(kernel) == (
        "| 5.10 | not tested (no route) | - | refused: no such tracepoints | - |"
    )


def test_the_table_for_users_is_that_of_the_record() -> None:
    record = matrix.read()
    assert sealed(record) == record, "matrix.json was edited by hand; run: make test-kernels"
    text = matrix.DOCUMENT.read_text()
    assert matrix.with_table(text, record) == text, "run: make test-kernels"
