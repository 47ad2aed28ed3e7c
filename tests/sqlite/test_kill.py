"""A recorder is killed at any moment: every acknowledged sample is stored once."""

import random
import signal
import subprocess
import time
from pathlib import Path

from tests.examples import examples
from tests.history.recording import (
    RACE,
    ROOT,
    START,
    amount,
    answer,
    command,
    found,
    is_sound,
    rows,
    totals,
)
from tests.kernel.running import HANG

KILLS = examples(20)


def test_no_kill_loses_or_doubles_what_is_committed(tmp_path: Path) -> None:
    """One database survives all kills, while minutes, hours and days are closed and deleted."""
    path, dice = tmp_path / "history.db", random.Random()
    seed = dice.randrange(10**9)
    dice.seed(seed)
    known, acknowledged = -1, -1
    deadline, turn = time.monotonic() + 15 * HANG, -1
    while turn < KILLS - 1 or not has_days(path):
        assert time.monotonic() < deadline, f"kills hit the closing of days too; {known}"
        turn += 1
        first = known + 1
        where = f"seed {seed}, turn {turn}, from {first}"
        told = killed(path, first, dice.uniform(0.0, 0.75), at_work=turn % 4 > 0)
        acknowledged = max([acknowledged, *told])
        if not is_begun(path):
            assert not told, where
            continue
        assert is_sound(path), where
        now = START + (known + 1000) * RACE
        there = found(path, now)
        assert there == {n: amount(n) for n in range(len(there))}, where
        assert len(there) > acknowledged, where
        assert len(there) > known, where
        seconds = answer(path, now=now).seconds
        assert seconds == len(there) * RACE, where
        assert check_finest(path), where
        known = len(there) - 1
    (kept,) = rows(path, "SELECT min(start) FROM interval")[0]
    assert kept > START, "old seconds were deleted"


def is_begun(path: Path) -> bool:
    """Return whether a database has its tables; one that is being made has a journal, which only a writer may undo."""
    journal = path.with_name(f"{path.name}-journal")
    is_made = path.exists() and not journal.exists()
    return is_made and rows(path, "PRAGMA user_version") != [(0,)]


def has_days(path: Path) -> bool:
    return is_begun(path) and rows(path, "SELECT count(*) > 0 FROM span WHERE level = 3") == [(1,)]


def check_finest(path: Path) -> bool:
    """Check that each kept interval is stored once, with its bytes, after the previous one."""
    starts = [start for (start,) in rows(path, "SELECT start FROM interval ORDER BY id")]
    per = rows(path, "SELECT rx, tx FROM delta ORDER BY interval")
    numbers = [round((start - START) / RACE) for start in starts]
    oldest = numbers[0] if numbers else 0
    return numbers == list(range(oldest, oldest + len(numbers))) and totals(per) == totals(
        amount(n) for n in numbers
    )


def killed(path: Path, first: int, after: float, *, at_work: bool) -> list[int]:
    """Run a recorder from a number on and kill it, at work or while it starts; return what it acknowledged."""
    with subprocess.Popen(
        command("race", str(path), str(first)), cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        lines = [process.stdout.readline()] if at_work else []
        time.sleep(after)
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [int(line) for line in lines if line.endswith(b"\n")]
