"""The details of a process as a page, of a real process."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from bwtop.history.programs import ProgramQuery, ProgramUsage
from bwtop.model.flows import Identity, ProcessKey, Traffic
from bwtop.tui import procfs
from bwtop.tui.keymap import Context
from tests.build import key, remote
from tests.screen.harness import SIZES, Harness
from tests.screen.test_panels import started

USAGE = ProgramUsage(1_790_000_000.0, 5 << 20, 70 << 20, float(20 << 20))

COMMAND = "long-argument " * 150


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Yield a process that listens on a TCP port and has a UDP socket with a peer; and the port."""
    code = (
        "import socket, sys, time; s = socket.create_server(('127.0.0.1', 0));"
        "u = socket.socket(type=socket.SOCK_DGRAM); u.connect(('127.0.0.1', 9));"
        "print(s.getsockname()[1], flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, *COMMAND.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield process, int(process.stdout.readline())
        process.kill()


def test_ports_are_known_without_ipv6(
    server: tuple[subprocess.Popen[bytes], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ipv6.disable=1 the kernel has no tables of it."""
    monkeypatch.setattr(procfs, "TABLES", (*procfs.TABLES, "tcp-of-no-kernel"))
    pid = server[0].pid
    listening = procfs.listening(ProcessKey(started(pid) * 10_000_000, pid))
    assert listening == [f"tcp {server[1]}"]


@pytest.fixture
def harness(server: tuple[subprocess.Popen[bytes], int]) -> Harness:
    pid = server[0].pid
    one = ProcessKey(started(pid) * 10_000_000, pid)
    harness = Harness(100, 43)
    harness.state.history.look_at_program = lambda _, show: show(USAGE)
    harness.feed(
        {one: {remote(f"192.0.2.{n}", 443): Traffic(n, 2 * n) for n in range(1, 61)}},
        {one: Identity("server", os.getuid(), container="docker:0123456789ab", unit="a.scope")},
    )
    return harness


def test_page_has_all_facts(harness: Harness, server: tuple[subprocess.Popen[bytes], int]) -> None:
    harness.press("i", "i")
    assert harness.state.context is Context.DETAILS
    found = {}
    for _ in range(12):
        for line in harness.lines()[4:-1]:
            found[line[:11].strip()] = line[11:].strip()
        harness.press("page down")
    parent = f"({os.getpid()})"
    assert found["parent"].endswith(parent)
    assert found["listens"] == f"tcp {server[1]}"
    assert found["unit"] == "a.scope"
    assert found["container"] == "docker:0123456789ab"
    assert found["today"] == "5.0 MiB of usually 20.0 MiB a day"
    assert found["this week"] == "70.0 MiB of usually 140.0 MiB a week"
    assert found["history"].startswith("first seen 2026-09-2")


def test_page_scrolls_and_closes(harness: Harness) -> None:
    """The command of some 2,000 characters is whole, and the remotes come after it."""
    harness.press("i", "i", "home")
    first = harness.below()
    assert "192.0.2.60:443" not in first
    harness.press("down", "j", "up", "k")
    assert harness.below() == first
    harness.press("end")
    last = harness.below()
    assert "192.0.2.11:443" in last
    assert "and 10 more" in last
    assert "20 B" in last
    harness.press("page up", "G")
    assert harness.below() == last
    for closing in ("esc", "q", "i", "enter"):
        harness.press(closing)
        assert harness.state.context is Context.LIST
        assert "first seen" not in harness.text()
        harness.press("i", "i")


def test_page_stays_on_its_process(harness: Harness) -> None:
    harness.press("i", "i")
    harness.feed({key(7): {remote(): Traffic(1 << 30)}}, {key(7): Identity("other")})
    harness.pass_time()
    assert " server (" in harness.text()
    harness.state.filter("name:other")
    harness.state.build()
    harness.screen.changed()
    assert "This process has left the list" in harness.text()
    harness.check()


def _answer(
    asked: list[ProgramQuery],
    answer: ProgramUsage | str,
    question: ProgramQuery,
    show: Callable[[ProgramUsage | str], None],
) -> None:
    asked.append(question)
    show(answer)


def test_history_may_have_nothing_to_say() -> None:
    asked: list[ProgramQuery] = []
    harness = Harness(100, 43)
    harness.feed({key(1): {remote(): Traffic(1)}}, {key(1): Identity("a\x1b", exe="/a")})
    for answer, words in (
        (ProgramUsage(None), "nothing of it yet"),
        (ProgramUsage(5.0, 7, 7), "7 B; what is usual is known after a day"),
        ("the history\x1b is closed", "the history\\x1b is closed"),
    ):
        harness.state.history.look_at_program = partial(_answer, asked, answer)
        harness.press("i", "i")
        assert words in harness.text()
        assert "parent    -" in harness.text()
        harness.check()
        harness.press("esc")
    assert (asked[0].name, asked[0].exe, asked[0].host) == ("a\x1b", "/a", "")


@pytest.mark.parametrize("size", [*SIZES, (1, 1), (20, 5), (12, 50)])
def test_page_fits_any_size(harness: Harness, size: tuple[int, int]) -> None:
    harness.size = size
    for name in ("i", "i", "page down", "end", "home", "down"):
        harness.press(name)
        harness.check()


def test_ports_of_others_are_not_guessed() -> None:
    """The pid is another process's, or its files cannot be read: no port is better than a wrong one."""
    with socket.create_server(("127.0.0.1", 0)):
        assert procfs.listening(ProcessKey(12345, os.getpid())) is None
        assert procfs.parent(ProcessKey(12345, os.getpid())) is None
    assert procfs.listening(ProcessKey(1, 1 << 22)) is None
