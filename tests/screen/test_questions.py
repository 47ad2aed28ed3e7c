"""The ten questions of the guide: their keys are pressed, and the screen has the answer."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from bwtop.model.flows import Identity, ProcessKey, Traffic
from bwtop.tui.keymap import parse_key
from bwtop.tui.procfs import _TICK
from tests.build import key, remote
from tests.screen.harness import Harness
from tests.screen.test_panels import started
from tests.screen.test_past import Archive, recorded

GUIDE: Final = Path(__file__).parents[2] / "man" / "guide" / "screen.md"

QUESTIONS: Final = re.findall(r"^\| ([^|]+\?) \| (`.*`) \|$", GUIDE.read_text(), re.MULTILINE)

MOST_KEYS: Final = 4


@pytest.fixture
def hog() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a real process, which is the one with the most traffic."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def copied() -> list[str]:
    return []


@pytest.fixture(scope="module")
def archive() -> Archive:
    return Archive(recorded())


@pytest.fixture
def harness(archive: Archive, hog: subprocess.Popen[bytes], copied: list[str]) -> Harness:
    harness = Harness(columns=110, rows=40)
    harness.state.history.look = archive.look
    harness.state.copy = copied.append
    far = remote("203.0.113.7", 443)
    hogging, mail = ProcessKey(started(hog.pid) * _TICK, hog.pid), key(2)
    harness.feed(
        {
            hogging: {far: Traffic(0, 9_000_000)},
            mail: {remote("10.1.2.3", 443): Traffic(5000, 1), remote("10.1.2.3", 25): Traffic(1)},
        },
        {
            hogging: Identity("backup", 0, "backup --all", container="docker:0123456789ab"),
            mail: Identity("mail", 8, "mail", "/usr/bin/mail", unit="mail.service"),
        },
    )
    return harness


Check = Callable[[Harness, list[str], "subprocess.Popen[bytes]"], object]


def uplink(harness: Harness, *_: object) -> None:
    lines = harness.lines()
    place = next(n for n, line in enumerate(lines) if " backup " in line)
    assert "203.0.113.7:443" in lines[place + 1]


def container(harness: Harness, *_: object) -> None:
    assert "8.6 MiB" in harness.line("docker:0123456789ab")


def since(harness: Harness, *_: object) -> None:
    assert "sleep 600" in harness.text()
    assert " started " in harness.text()


def ten_minutes(harness: Harness, *_: object) -> None:
    assert harness.state.past
    assert harness.state.past.moment.start <= time.time() - 600


def address(_: Harness, copied: list[str], __: object) -> None:
    assert copied == ["203.0.113.7"]


def today(harness: Harness, *_: object) -> None:
    assert harness.state.past
    moment = harness.state.past.moment
    assert time.localtime(moment.start)[3:6] == (0, 0, 0)
    assert moment.end - moment.start >= 23 * 3600


def stopped(_: Harness, __: list[str], hog: "subprocess.Popen[bytes]") -> None:
    assert hog.wait(30) == -15


def network(harness: Harness, *_: object) -> None:
    assert "1 process" in harness.text()
    assert "mail" in harness.text()
    assert " backup " not in harness.text()


def top_remote(harness: Harness, *_: object) -> None:
    assert "203.0.113.7" in harness.lines()[harness.row_of("PROCS") + 1]


def new(harness: Harness, *_: object) -> None:
    assert "sort start▼" in harness.text()


CHECKS: Final[tuple[Check, ...]] = (
    *(uplink, container, since, ten_minutes, address, today, stopped, network, top_remote, new),
)


def test_the_guide_has_ten_questions() -> None:
    assert len(QUESTIONS) == len(CHECKS) == 10


@pytest.mark.parametrize(
    ("keys", "check"),
    [(keys, check) for (_, keys), check in zip(QUESTIONS, CHECKS, strict=True)],
    ids=[check.__name__ for check in CHECKS],
)
def test_answer_takes_few_keys(
    harness: Harness, hog: "subprocess.Popen[bytes]", copied: list[str], keys: str, check: Check
) -> None:
    """What is typed into the filter counts as one."""
    names = re.findall("`([^`]+)`", keys)
    assert len(names) <= MOST_KEYS
    for name in names:
        if " " in name:
            harness.type(name)
        else:
            harness.press(parse_key(name))
    check(harness, copied, hog)
