"""Each write of a recording fails, or is the last before a kill or a power cut: nothing is damaged, nothing lost unsaid."""

import random
import re
from pathlib import Path

import pytest

from tests.examples import examples
from tests.faults.writing import LOGGED, Call, calls, cut, result, under_strace
from tests.history.recording import Recorders, amount, found, is_sound

COUNT = 40
"""Samples of a recording: it closes minutes, hours and days."""

CUTS = examples(50)
"""Kills or power cuts at places all over the recording, beside those at each confirmation of the disk."""

LOG = ("-y", "-xx", "-s", str(1 << 24), "-e", f"trace={','.join(LOGGED)}")
"""Flags of strace for a log with all that was written."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Call]]:
    """Return the database of a recorder that nothing disturbs, and the calls that made it."""
    path = tmp_path_factory.mktemp("undisturbed") / "history.db"
    log = path.with_name("log")
    done = under_strace(path, COUNT, *LOG, "-o", str(log))
    assert result(done) == {"lost": 0, "lines": []}
    return path, list(calls(log.read_text()))


def put() -> int:
    """Return the bytes of all samples."""
    return sum(sum(amount(number)) for number in range(COUNT))


def numbers(path: Path) -> list[int]:
    """Return the numbers of the stored samples, after a new recorder has opened the database."""
    Recorders()(path).recorder.close()
    assert is_sound(path)
    return sorted(number for number, moved in found(path).items() if moved == amount(number))


@pytest.mark.parametrize(
    ("call", "fault", "nth"),
    [
        *(("pwrite64", "error=EIO", nth) for nth in (2, 7)),
        *(("pwrite64", "error=ENOSPC", nth) for nth in (2, 7)),
        # a short write, which SQLite takes for a full disk
        *(("pwrite64", "retval=0", nth) for nth in (2, 7)),
        *(("fdatasync", "error=EIO", nth) for nth in (2, 7)),
        ("ftruncate", "error=EIO", 1),
    ],
)
def test_calls_that_fail_lose_nothing(call: str, fault: str, nth: int, tmp_path: Path) -> None:
    """Every call, or every second or seventh, fails; what the recorder could not store it says in bytes.

    SQLite tells its caller which call failed, and of the reasons only a full disk, and that only of a write.
    """
    path = tmp_path / "history.db"
    inject = f"inject={call}:{fault}:when={nth}+{nth}"
    log = tmp_path / "log"
    told = result(under_strace(path, COUNT, "-e", inject, "-o", str(log)))
    assert "(INJECTED)" in log.read_text()
    stored = numbers(path)
    assert sum(sum(amount(number)) for number in stored) + told["lost"] == put()
    said = [re.search("not recorded: ([0-9]+) bytes", line) for line in told["lines"]]
    assert [int(match[1]) for match in said if match] == [told["lost"]] * bool(told["lost"])


def ends(made: list[Call]) -> list[int]:
    """Return how many calls come before each kill or power cut."""
    evenly = {1 + turn * len(made) // CUTS for turn in range(CUTS)}
    return sorted(evenly | {n for n, call in enumerate(made, 1) if call.name == "fdatasync"})


@pytest.mark.parametrize("kept", [1.0, 0.5], ids=["kill", "power cut"])
def test_a_kill_or_a_power_cut_loses_only_what_was_not_committed(
    undisturbed: tuple[Path, list[Call]], kept: float, tmp_path: Path
) -> None:
    """A kill keeps all that was written; of what no fdatasync() has confirmed, a power cut keeps any sectors."""
    original, made = undisturbed
    dice = random.Random(5)
    known = 0
    for end in ends(made):
        path = tmp_path / str(end) / "history.db"
        path.parent.mkdir()
        for name, content in cut(made[:end], dice, kept).items():
            path.with_name(Path(name).name.replace(original.name, path.name)).write_bytes(content)
        stored = numbers(path)
        assert stored == list(range(len(stored)))
        assert len(stored) >= known, "a committed interval survives"
        is_certain = kept == 1.0 or made[end - 1].name == "fdatasync"
        known = len(stored) if is_certain else known
    assert known > COUNT / 2
