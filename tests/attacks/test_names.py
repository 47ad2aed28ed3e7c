"""Names that programs choose for themselves, on their way into the history.

Found: sudo took a history for a sudoers file, with a rule that was in the path of a program.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.attacks.stage import HANG, Stage, wait_until

pytestmark = pytest.mark.kernel

RULE = "ada ALL=(ALL) NOPASSWD: ALL"

MOVER = f"""
import os, socket, subprocess, sys
folder = "/home/ada/x\\n{RULE}\\n\\x1b[31m\\x9b"
os.makedirs(folder)
subprocess.run(["cp", os.path.realpath("/usr/bin/python3"), folder + "/mover"], check=True)
code = '''
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("moving", flush=True)
while True:
    sock.sendto(bytes(997), ("127.0.0.1", 9))
    time.sleep(0.02)
'''
os.execv(folder + "/mover", ["mover", "-c", code])
"""
"""A program of ada's, in a directory whose name has lines in it."""

INTERVALS = 3
"""After so many the first is in the history."""

FILES = ("history.db", "history.db-wal")


def recorded(stage: Stage, folder: str) -> bytes:
    """Return all that a history of ada's and its log hold now."""
    paths = (stage.path(f"{folder}/{name}") for name in FILES)
    return b"".join(path.read_bytes() for path in paths if path.exists())


@pytest.fixture
def mover(stage: Stage) -> Iterator[None]:
    """Run MOVER during the test."""
    command = stage.command("ada", "/usr/bin/python3", "-c", MOVER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "moving\n"
        yield
        process.kill()


@contextlib.contextmanager
def watching(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    """Yield ada's `sudo bwtop` once it has seen the program."""
    command = stage.command("ada", "sudo", "-n", "bwtop", "--batch", "-d", "0.3")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            seen = (line for line in process.stdout if "mover" in line)
            assert all(next(seen, "") for _ in range(INTERVALS)), "it ended"
            yield process
        finally:
            for pid in stage.bwtops():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("mover")
def test_lines_of_a_path_are_no_lines_of_the_history(stage: Stage) -> None:
    folder = "/home/ada/.local/state/bwtop"
    with watching(stage) as process:
        wait_until(lambda: RULE.encode() in recorded(stage, folder), "it is in the history")
        contents = [recorded(stage, folder)]
        process.terminate()
        process.communicate(timeout=HANG)
    contents.append(recorded(stage, folder))
    for content in contents:
        ends = re.findall(re.escape(RULE.encode()) + rb"(.*?)/mover", content, re.DOTALL)
        assert ends
        assert not re.search(rb"[\n\r]ada ALL", content)
        assert b"\x1b[31m" not in content
        assert not any("\x9b".encode() in end for end in ends), "numbers may have such bytes"


@pytest.mark.usefixtures("mover")
@pytest.mark.parametrize("killed", [True, False])
def test_path_of_a_program_does_not_make_ada_root(stage: Stage, killed: bool) -> None:
    """The whole attack: link, program, bwtop under sudo with fixed arguments, and then sudo for anything."""
    stage.shell("ada", "mkdir -p .local/state/bwtop")
    stage.shell("ada", "ln -s /etc/sudoers.d/zz .local/state/bwtop/history.db")
    with stage.unchanged("/home/ada"), watching(stage) as process:
        if not killed:
            process.terminate()
            process.communicate(timeout=HANG)
    assert stage.run("ada", "sudo", "-n", "id", "-u").stdout == ""
