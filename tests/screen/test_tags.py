"""Tagged processes: real ones, which get real signals together."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from bwtop.model.flows import Identity, ProcessKey, Traffic
from bwtop.model.largest import LEAST
from bwtop.model.live import LINGER
from bwtop.tui.glyphs import ASCII
from bwtop.tui.keymap import Context
from bwtop.tui.styles import Style
from tests.build import key, remote
from tests.screen.harness import SIZES, Harness
from tests.screen.test_panels import bottom, started

MANY = 60


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    running = [subprocess.Popen(["sleep", "600"]) for _ in range(3)]
    yield running
    for process in running:
        process.kill()
        process.wait()


def harness_of(children: list[subprocess.Popen[bytes]], reused: int = -1) -> Harness:
    """Return a screen with the children in their order; one of them has another start."""
    harness = Harness(100, 24)
    keys = [
        ProcessKey((started(child.pid) + (place == reused)) * 10_000_000, child.pid)
        for place, child in enumerate(children)
    ]
    harness.feed(
        {one: {remote(): Traffic(1000 - place)} for place, one in enumerate(keys)},
        {one: Identity(f"child{place}", os.getuid()) for place, one in enumerate(keys)},
    )
    return harness


def test_signal_goes_to_all_tagged_processes(children: list[subprocess.Popen[bytes]]) -> None:
    harness = harness_of(children)
    harness.press("m", "down", "insert")
    for columns in (100, 80):
        harness.size = (columns, 24)
        assert "2 tagged" in harness.text()
    assert [line[0] for line in harness.lines() if " child" in line] == ["*", "▸", "*"]
    assert "child0" in harness.styled(Style.TAGGED)[0]
    harness.press("K")
    assert "Signal for 2 processes" in harness.text()
    harness.press("enter")
    assert bottom(harness).startswith("Send SIGTERM to 2 processes?  y yes n no")
    panel = [line.split("  ")[0].strip() for line in harness.lines()]
    assert f"child0 ({children[0].pid})" in panel
    assert f"child2 ({children[2].pid})" in panel
    assert f"child1 ({children[1].pid})" not in panel
    harness.press("y")
    assert bottom(harness) == "SIGTERM sent to 2 processes"
    assert [children[place].wait(30) for place in (0, 2)] == [-signal.SIGTERM] * 2
    with pytest.raises(subprocess.TimeoutExpired):
        children[1].wait(0.2)


def test_reused_pid_among_the_tagged_gets_no_signal(
    children: list[subprocess.Popen[bytes]],
) -> None:
    harness = harness_of(children, reused=1)
    children[0].kill()
    children[0].wait()
    harness.press("m", "m", "m", "K", "enter", "y")
    assert "SIGTERM sent to 1 of 3 processes" in bottom(harness)
    assert f"child0 ({children[0].pid}): No such process; 1 more" in bottom(harness)
    assert children[2].wait(30) == -signal.SIGTERM
    with pytest.raises(subprocess.TimeoutExpired):
        children[1].wait(0.2)


def test_tags_are_taken_back_and_end_with_their_process(
    children: list[subprocess.Popen[bytes]],
) -> None:
    harness = harness_of(children)
    harness.press("m", "m", "up", "m")
    assert "1 tagged" in harness.text()
    harness.press("U")
    assert bottom(harness) == "untagged 1 process"
    assert "tagged  row" not in harness.text()
    harness.press("home", "m")
    first = next(iter(harness.state.tags))
    harness.feed(exited=[first])
    harness.press("home", "K")
    assert "Signal for child1" in harness.text(), "the selected one"


def test_tag_of_a_large_process_ends_with_it_too(
    children: list[subprocess.Popen[bytes]],
) -> None:
    """It stays listed with its total."""
    harness = harness_of(children)
    first = key_of(harness, "child0")
    harness.feed({first: {remote(): Traffic(LEAST)}})
    harness.press("m")
    assert list(harness.state.tags) == [first]
    harness.feed(exited=[first])
    harness.feed(elapsed=2 * LINGER)
    harness.feed()
    assert first in harness.state.live.ledger.processes
    harness.press("home", "K")
    assert "Signal for child1" in harness.text()


def key_of(harness: Harness, name: str) -> ProcessKey:
    (found,) = [row.key for row in harness.state.tree.tops if row.identity.name == name]
    assert found
    return found


def test_a_group_is_tagged_whole_and_kernel_threads_are_not() -> None:
    harness = Harness(100, 24)
    harness.feed(
        {key(n): {remote(): Traffic(n)} for n in (1, 2, 3)},
        {
            key(1): Identity("a", 7),
            key(2): Identity("b", 7),
            key(3): Identity("kworker", 0, kernel=True),
        },
    )
    harness.press("m")
    assert bottom(harness) == "no process here takes signals"
    harness.press("g", "g", "end", "m")
    assert "2 tagged" in harness.text()
    harness.press("m")
    assert "tagged  row" not in harness.text()
    harness.press("e", "end", "m")
    assert len(harness.state.tags) == 1, "the process of a remote"


@pytest.mark.parametrize("size", [*SIZES, (20, 6), (1, 1)])
def test_a_question_about_many_says_how_many_it_does_not_list(size: tuple[int, int]) -> None:
    harness = Harness(*size, glyphs=ASCII)
    harness.feed(
        {key(n): {remote(): Traffic(n)} for n in range(1, MANY + 1)},
        {key(n): Identity(f"p\x1b{n}", 7) for n in range(1, MANY + 1)},
    )
    harness.press("g", "g", "m", "K", "enter")
    harness.check()
    assert harness.state.context is Context.CONFIRM
    if size[1] >= 10:
        text = harness.text()
        assert re.search(r"and \d+ more", text) or size[1] > MANY
        assert len([line for line in harness.lines() if " p\\x1b" in line]) > 3
    harness.click(3, size[1] // 2)
    harness.press("n")
    assert harness.state.question is None


def test_rows_of_other_hosts_are_not_tagged() -> None:
    harness = Harness(100, 24, origin="clickhouse://db/bwtop")
    harness.feed({key(1): {remote(): Traffic(1)}})
    harness.press("m")
    assert bottom(harness) == "no process here takes signals"
