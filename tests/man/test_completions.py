"""Completions, asked of the shells themselves."""

import os
import pty
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bwtop.history.dimensions import DIMENSIONS
from bwtop.options.flags import ROWS
from bwtop.view.columns import PROCESS_COLUMNS
from man.__main__ import ROOT
from tests.kernel.running import HANG
from tests.processes import ran

FOLDER = ROOT / "share" / "completions"

Ask = Callable[[str], set[str]]
"""A function that returns the completions of a command line."""


def bash(line: str) -> set[str]:
    """Return the completions of bash; the line is divided as by readline: "=" is a word of its own."""
    words = [word for word in re.split(r"(=)|\s+", line) if word]
    if line[-1] in " =":
        words += [""] if line[-1] == " " else []
    script = (
        f'source {FOLDER}/bwtop.bash; COMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1));'
        ' _bwtop; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = ran(["bash", "--norc", "-c", script, "bash", *words], check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def fish(line: str) -> set[str]:
    script = f"source {FOLDER}/bwtop.fish; complete -C {line!r}"
    done = ran(["fish", "--no-config", "-c", script], check=True)
    assert done.stderr == ""
    found = {row.split("\t")[0] for row in done.stdout.splitlines()}
    before, equals, _ = line.split(" ")[-1].partition("=")  # fish gives the flag again
    return {word.removeprefix(before + equals) if equals else word for word in found}


ZSHRC = f"""
PS1='READY> ' RPS1= PROMPT_EOL_MARK=
unsetopt prompt_cr prompt_sp
fpath=({FOLDER} $fpath)
autoload -Uz compinit
compinit -u -D
zstyle ':completion:*' verbose no
LISTMAX=0
bindkey '^I' list-choices
"""


@dataclass(frozen=True)
class Zsh:
    """A real zsh at a terminal: it lists completions, and is then told to say that it has."""

    pid: int
    terminal: int

    def ask(self, line: str) -> set[str]:
        os.write(self.terminal, line.encode() + b"\t\x15print DONE$((1+1))\n")
        shown, _, _ = read_until(self.terminal, rb"DONE2.*READY> ").partition("DONE2")
        return set(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", shown).split())

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


def start_zsh() -> Zsh:
    with TemporaryDirectory() as folder:
        Path(folder, ".zshrc").write_text(ZSHRC)
        pid, terminal = pty.fork()
        if not pid:
            os.environ.update(ZDOTDIR=folder, TERM="dumb")
            os.execvp("sh", ["sh", "-c", "stty rows 200 columns 100; exec zsh -d -i"])
        read_until(terminal, b"READY> ")
    return Zsh(pid, terminal)


RUNNING: list[Zsh] = []
"""The zsh of this module, once a test has asked it."""


@pytest.fixture(scope="module", autouse=True)
def _end_of_zsh() -> Iterator[None]:
    yield
    while RUNNING:
        RUNNING.pop().close()


def zsh(line: str) -> set[str]:
    if not RUNNING:
        RUNNING.append(start_zsh())
    return RUNNING[0].ask(line)


def read_until(terminal: int, mark: bytes) -> str:
    """Read what the shell shows until it matches a pattern."""
    shown, deadline = b"", time.monotonic() + HANG
    while not re.search(mark, shown, re.DOTALL):
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 4096)
    return shown.decode(errors="replace")


SHELLS = pytest.mark.parametrize("ask", [bash, zsh, fish], ids=lambda ask: ask.__name__)


@SHELLS
def test_every_flag_is_there(ask: Ask) -> None:
    names = {flag.long for flag in ROWS}
    found = {word.rstrip("=") for word in ask("bwtop --")}
    assert names - found == set()


@SHELLS
def test_a_flag_is_completed(ask: Ask) -> None:
    assert {"--format", "--format="} & ask("bwtop --batch --form")
    assert "--bits" not in ask("bwtop --batch --form")


@SHELLS
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bwtop --format ", {"table", "json", "csv"}),
        ("bwtop --format j", {"json"}),
        ("bwtop --backend=", {"fexit", "tracepoint", "kprobe"}),
        ("bwtop --loopback ", {"show", "hide", "only"}),
        ("bwtop --theme=l", {"light"}),
        ("bwtop --sort tx", {column.id for column in PROCESS_COLUMNS if column.id[:2] == "tx"}),
        ("bwtop -s un", {"unit"}),
        ("bwtop --by ", {dimension.name for dimension in DIMENSIONS}),
        ("bwtop --history last", {"last-week", "last-month"}),
        ("bwtop --user roo", {"root"}),
        ("bwtop --trust-user roo", {"root"}),
    ],
)
def test_a_value_is_completed(ask: Ask, line: str, words: set[str]) -> None:
    found = ask(line)
    assert words <= found
    assert not {"--batch", "--bits"} & found


@SHELLS
def test_a_list_goes_on(ask: Ask) -> None:
    found = {word.rpartition(",")[2] for word in ask("bwtop --by day,us")}
    assert "user" in found
    assert "proto" not in found


@SHELLS
def test_this_process_is_a_process(ask: Ask) -> None:
    found = ask(f"bwtop --pid {str(os.getpid())[:-1]}")
    assert str(os.getpid()) in found


@SHELLS
def test_files(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "history-one.db").touch()
    found = ask(f"bwtop --db {tmp_path}/hist")
    assert any(word.endswith("history-one.db") for word in found)
