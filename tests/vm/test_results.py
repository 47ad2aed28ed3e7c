"""A job passes only if its tests ran: the exit status and the report of pytest are both read."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.vm.jobs import Job
from tests.vm.results import Failure, Result, Row, blocks, judged, read

BAD = """\
<testsuites><testsuite time="12.5">
<testcase classname="a" name="good" />
<testcase classname="a" name="clean_up" />
<testcase classname="a" name="clean_up"><error message="x">E   lost</error></testcase>
<testcase classname="a" name="bad"><failure message="x">one
E   assert 1 == 2</failure></testcase>
<testcase classname="a" name="lite"><skipped /></testcase>
</testsuite></testsuites>
"""
GOOD = '<testsuite time="3"><testcase classname="a" name="b" /></testsuite>'
SKIPPED = '<testsuite><testcase classname="a" name="b"><skipped /></testcase></testsuite>'
NONE = "<testsuite />"

JOB = Job("kprobe, BTF hidden", "6.1", "kprobe")
PASSED = Result(JOB, passed=1, seconds=3)
FAILED = Result(JOB, failures=(Failure("test", "assert False"),))


def test_failures_are_counted_once() -> None:
    """A test that passed and then failed to clean up has failed."""
    result = judged(JOB, 1, ET.fromstring(BAD), "")
    assert (result.seconds, result.cell) == (12.5, "1 passed, 2 failed, 1 skipped")
    assert [failure.name for failure in result.failures] == ["a::clean_up", "a::bad"]


@pytest.mark.parametrize(
    ("status", "report", "arguments", "wrong"),
    [
        (0, GOOD, (), ""),
        (124, GOOD, (), "not done in"),
        (137, NONE, (), "hung even when interrupted"),
        (4, NONE, (), "pytest ended with 4"),
        (5, NONE, (), "pytest ended with 5"),
        (5, NONE, ("-k", "x"), ""),
        (0, SKIPPED, (), "no test passed"),
    ],
)
def test_nothing_passes_without_having_run(
    status: int, report: str, arguments: tuple[str, ...], wrong: str
) -> None:
    job = Job("kprobe", "6.1", arguments=arguments)
    failures = judged(job, status, ET.fromstring(report), "the end").failures
    assert len(failures) == bool(wrong)
    assert all(wrong in failure.name and failure.text == "the end" for failure in failures)


def test_results_come_from_the_files_of_a_guest(tmp_path: Path) -> None:
    assert read(JOB, tmp_path, "panic").failures == (Failure("the guest ended first", "panic"),)
    (tmp_path / f"{JOB.file}.status").write_text("0\n")
    (tmp_path / f"{JOB.file}.xml").write_text(GOOD)
    assert read(JOB, tmp_path, "") == PASSED


@pytest.mark.parametrize(
    ("row", "by_hand", "in_ci"),
    [
        (Row("6.1", results=(PASSED,)), False, False),
        (Row("6.1", results=(FAILED,)), True, True),
        (Row("newest", results=(FAILED,)), True, False),
        (Row("6.1", untested="no network"), False, True),
        (Row("5.10", untested="no network"), False, False),
    ],
)
def test_failure_blocks_a_change(row: Row, by_hand: bool, in_ci: bool) -> None:
    assert (blocks([row], ci=False), blocks([row], ci=True)) == (by_hand, in_ci)
