"""What came of the jobs, read from reports as pytest writes them, and the table."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.vm import jobs
from tests.vm.jobs import JOBS, Job, chosen
from tests.vm.kernels import KERNELS
from tests.vm.results import Failure, Result, Row, blocks, failures, judged, read, table

REPORT = """\
<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="5" time="12.5">
<testcase classname="tests.kernel.test_tcp" name="test_good" time="1.0" />
<testcase classname="tests.kernel.test_tcp" name="test_clean_up" time="1.0" />
<testcase classname="tests.kernel.test_tcp" name="test_clean_up" time="0.1">
<error message="failed on teardown">E   AssertionError: lost</error></testcase>
<testcase classname="tests.kernel.test_tcp" name="test_bad[4]" time="2.0">
<failure message="assert 1 == 2">one
two
E   assert 1 == 2

tests/kernel/test_tcp.py:7: AssertionError</failure></testcase>
<testcase classname="tests.kernel.test_udp" name="test_lite" time="0.0">
<skipped type="pytest.skip" message="none" /></testcase>
</testsuite></testsuites>
"""

GOOD = (
    '<testsuites><testsuite time="3"><testcase classname="a" name="b" /></testsuite></testsuites>'
)
NONE = '<testsuites><testsuite time="3" /></testsuites>'
SKIPPED = '<testsuite><testcase classname="a" name="b"><skipped /></testcase></testsuite>'

JOB = Job("kprobe, BTF hidden", "6.1", "kprobe")


def test_a_report_is_counted() -> None:
    """A test that passed and then failed to clean up has failed, once."""
    result = judged(JOB, 1, ET.fromstring(REPORT), "")
    assert (result.passed, result.skipped, result.seconds) == (1, 1, 12.5)
    assert result.cell == "1 passed, 2 failed, 1 skipped"
    clean_up, bad = result.failures
    assert clean_up == Failure("tests.kernel.test_tcp::test_clean_up", "E   AssertionError: lost")
    assert bad.name == "tests.kernel.test_tcp::test_bad[4]"
    assert bad.text.endswith("tests/kernel/test_tcp.py:7: AssertionError")


@pytest.mark.parametrize(
    ("status", "report", "arguments", "wrong"),
    [
        (0, GOOD, (), None),
        (124, GOOD, (), "not done in"),
        (137, NONE, (), "hung even when interrupted"),
        (4, NONE, (), "pytest ended with 4"),
        (5, NONE, (), "pytest ended with 5"),
        (5, NONE, ("-k", "x"), None),
        (0, SKIPPED, (), "no test passed"),
        (0, SKIPPED, ("-k", "x"), None),
    ],
)
def test_nothing_passes_without_having_run(
    status: int, report: str, arguments: tuple[str, ...], wrong: str | None
) -> None:
    result = judged(
        Job("kprobe", "6.1", arguments=arguments), status, ET.fromstring(report), "the end"
    )
    if wrong is None:
        assert not result.failures
    else:
        (failure,) = result.failures
        assert wrong in failure.name
        assert failure.text == "the end"


def test_a_guest_that_ended_first_has_failed(tmp_path: Path) -> None:
    assert read(JOB, tmp_path, "panic").failures == (Failure("the guest ended first", "panic"),)


def test_files_of_a_guest_are_read(tmp_path: Path) -> None:
    (tmp_path / "kprobe--BTF-hidden.status").write_text("0\n")
    (tmp_path / "kprobe--BTF-hidden.xml").write_text(GOOD)
    assert read(JOB, tmp_path, "") == Result(JOB, passed=1, seconds=3)


def test_a_job_that_could_not_even_begin_has_failed(tmp_path: Path) -> None:
    (tmp_path / "kprobe--BTF-hidden.status").write_text("1\n")
    assert read(JOB, tmp_path, "mount: no").failures == (
        Failure("pytest ended with 1", "mount: no"),
    )


ROWS = [
    Row("5.10", untested="no route"),
    Row(
        "6.1",
        "6.1.0-1-amd64",
        (
            Result(Job("fexit", "6.1"), passed=80, skipped=1),
            Result(JOB, passed=79, failures=(Failure("a::b", "x\ny"),)),
        ),
    ),
    Row("6.12", "6.12.1-amd64", (Result(Job("tracepoint", "6.12"), passed=81),)),
]


def test_the_table() -> None:
    assert table(ROWS).splitlines() == [
        "| kernel | release | fexit | kprobe, BTF hidden | tracepoint |",
        "| --- | --- | --- | --- | --- |",
        "| 5.10 | not tested (no route) | - | - | - |",
        "| 6.1 | 6.1.0-1-amd64 | 80 passed, 1 skipped | 79 passed, 1 failed | - |",
        "| 6.12 | 6.12.1-amd64 | - | - | 81 passed |",
    ]


def test_failures_are_named_with_what_they_said() -> None:
    assert failures(ROWS) == "FAILED on 6.1, kprobe, BTF hidden: a::b\n    x\n    y"


def test_jobs_are_told_apart() -> None:
    """In the table by name, and in a guest's folder by file."""
    assert len({(job.kernel, job.name) for job in JOBS}) == len(JOBS)
    assert len({(job.kernel, job.file) for job in JOBS}) == len(JOBS)
    assert {job.kernel for job in JOBS} == {kernel.name for kernel in KERNELS}


def test_jobs_are_chosen() -> None:
    (job,) = chosen("6.1", "fexit", "tcp and not out")
    assert job.backend == "fexit"
    assert job.arguments[-2:] == ("-k", "tcp and not out")
    assert "-k 'tcp and not out'" in " ".join(jobs.commands(job)).replace("'\"'\"'", "'")
    assert chosen("5.10", "tracepoint", None) == []
    assert chosen(None, None, None) == list(JOBS)


FAILED = Result(Job("fexit", "6.1"), failures=(Failure("test", "assert False"),))


@pytest.mark.parametrize(
    ("row", "by_hand", "in_ci"),
    [
        (Row("6.1", results=(Result(Job("fexit", "6.1"), passed=1),)), False, False),
        (Row("6.1", results=(FAILED,)), True, True),
        (Row("newest", results=(FAILED,)), True, False),
        (Row("6.1", untested="no network"), False, True),
        (Row("5.10", untested="no network"), False, False),
    ],
)
def test_what_stops_a_change(row: Row, by_hand: bool, in_ci: bool) -> None:
    good = Row("6.12", results=(Result(Job("fexit", "6.12"), passed=1),))
    assert blocks([good, row], ci=False) is by_hand
    assert blocks([good, row], ci=True) is in_ci
