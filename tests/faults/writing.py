"""A recorder whose system calls fail, and what a power cut leaves of the files that it wrote.

`python -m tests.faults.writing DATABASE COUNT` records that many samples, with every rollup that they make due, and prints
what the recorder lost.
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bwtop.sqlite import recorder
from tests.history.recording import LENGTH, ROOT, Recorders, hurried
from tests.kernel.running import HANG
from tests.processes import ran

CALLS: Final = ("pwrite64", "fdatasync", "ftruncate")
"""The calls by which SQLite changes files; the memory that it maps is that of the -shm file, which a crash empties."""

LOGGED: Final = (*CALLS, "unlink")

FILES: Final = ("", "-wal", "-journal")
"""Ends of the names of a database's files; it has a journal until it is in WAL mode."""

SECTOR: Final = 512
"""Bytes that a disk writes as a whole."""


def record(path: Path, count: int) -> None:
    """Record samples until all are stored, then close; print what is lost."""
    vars(recorder)["SLOW"] = HANG  # says nothing of a slow disk
    feed = Recorders()(path, policy=hurried())
    for number in range(count):
        feed.put(1, LENGTH)
        until = time.monotonic() + 0.05
        while feed.recorder.stored <= number - 3 and time.monotonic() < until:
            time.sleep(0.001)
    deadline = time.monotonic() + HANG
    feed.recorder.close(lambda: time.monotonic() > deadline)
    print(json.dumps({"lost": feed.recorder.lost, "lines": feed.lines}))  # noqa: T201 - to the pipe


def under_strace(path: Path, count: int, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run `record` under strace(1), which sees the calls on the files of the database alone."""
    files = [word for end in FILES for word in ("-P", f"{path}{end}")]
    strace = ["strace", "-f", "-qq", *flags, *files]
    program = [sys.executable, "-B", "-m", __spec__.name]
    return ran([*strace, *program, path, str(count)], cwd=ROOT, timeout=4 * HANG)


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what `record` printed."""
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# Power cuts.


@dataclass(frozen=True)
class Call:
    """A call on a file that succeeded: data written at an offset, a new length (`offset`), a confirmation, the end."""

    name: str
    file: str
    offset: int = 0
    data: bytes = b""


_CALL: Final = re.compile(
    r'(?P<call>pwrite64|ftruncate|fdatasync|unlink)\((?:\d+<|")(?P<file>[^>"]+)[>"]'
    r'(?:, "(?P<data>(?:\\x[0-9a-f]{2})*)")?(?:, \d+)??(?:, (?P<offset>\d+))?\)\s+= \d+'
)


def calls(log: str) -> Iterator[Call]:
    """Yield the calls in the log of `strace -y -xx`."""
    for line in log.splitlines():
        match = _CALL.search(line)
        if match:
            file = _bytes(match["file"]).decode()
            yield Call(match["call"], file, int(match["offset"] or 0), _bytes(match["data"] or ""))


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def cut(done: Sequence[Call], dice: random.Random, kept: float) -> dict[str, bytes]:
    """Return the files after a power cut: each sector that was not confirmed is there with the probability `kept`.

    A file system keeps the order of what it is told of names: a removed file stays removed.
    """
    files: dict[str, bytearray] = {}
    waiting: list[Call] = []
    for call in done:
        if call.name == "fdatasync":
            for write in [each for each in waiting if each.file == call.file]:
                _apply(files.setdefault(write.file, bytearray()), write)
        if call.name == "unlink":
            files.pop(call.file, None)
        if call.name in ("fdatasync", "unlink"):
            waiting = [each for each in waiting if each.file != call.file]
        else:
            waiting.append(call)
    for write in waiting:
        for part in _sectors(write):
            if dice.random() < kept:
                _apply(files.setdefault(part.file, bytearray()), part)
    return {name: bytes(content) for name, content in files.items()}


def _sectors(write: Call) -> Iterator[Call]:
    if write.name == "ftruncate":
        yield write
    for start in range(0, len(write.data), SECTOR):
        data = write.data[start : start + SECTOR]
        yield replace(write, offset=write.offset + start, data=data)


def _apply(content: bytearray, write: Call) -> None:
    if write.name == "ftruncate":
        del content[write.offset :]
    content.extend(bytes(max(0, write.offset - len(content))))
    content[write.offset : write.offset + len(write.data)] = write.data


if __name__ == "__main__":
    record(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)
