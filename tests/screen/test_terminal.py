"""The real program in a real terminal, as root, with real traffic; test_capabilities.py has what needs no probes."""

import base64
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bwtop.history.calendar import Unit, floor
from bwtop.tui.dialogs import GUARD
from bwtop.tui.input import PAUSE
from bwtop.tui.paste import BRACKETS_ON
from tests.history.desktop import a_desktops_day
from tests.kernel.running import LAUNCHER, command, command_as
from tests.processes import children, status, until
from tests.screen.desktop import TALKS, desktop
from tests.screen.mover import Mover, mover
from tests.screen.picture import svg
from tests.screen.terminal import Terminal

pytestmark = [pytest.mark.kernel, pytest.mark.screen]

SOMEBODY = 31234
"""A uid without a user."""

ALTERNATE = (b"\x1b[?47h", b"\x1b[?1049h")


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Mover]:
    with mover(tmp_path) as running:
        yield running


def screen(
    *flags: str,
    columns: int = 80,
    rows: int = 24,
    env: dict[str, str] | None = None,
    background: str | None = "rgb:1616/1818/1d1d",
) -> Terminal:
    """Return bwtop in a terminal, without name lookups."""
    options = {"columns": columns, "rows": rows, "env": env, "background": background}
    return Terminal(command("--no-resolve", *flags), **options)  # type: ignore[arg-type]  # each its own


def measuring(terminal: Terminal) -> None:
    terminal.wait_for("backend tracepoint")


def filtered(terminal: Terminal, text: str = "mover") -> None:
    """Type a filter that hides other traffic of the machine."""
    terminal.type(f"/{text}\r")
    terminal.wait_for(lambda seen: f"filter {text}" in seen and "h help" in seen)


OURS = (True, True, True, False)
THEIRS = (False, False, False, True)


def restored(terminal: Terminal) -> None:
    """Check that the program has left the terminal as if it had never run."""
    assert terminal.wait() == 0
    assert terminal.modes == THEIRS
    assert terminal.text().strip() == ""
    with Terminal(["sleep", "10"]) as untouched:
        assert terminal.settings() == untouched.settings()


def copied(terminal: Terminal, text: str) -> None:
    """Copy the pid of the selected process to the clipboard of the terminal: OSC 52."""
    terminal.type("y")
    terminal.wait_for(f"copied {text}")
    assert b"\x1b]52;c;" + base64.b64encode(text.encode()) + b"\x1b\\" in terminal.raw


def test_row_remote_toggle_resize_quit(tmp_path: Path) -> None:
    """The actions of a user in the first minute."""
    with screen() as terminal:
        measuring(terminal)
        with mover(tmp_path) as moving:
            seen = terminal.wait_for("mover")
            assert re.search(rf"{moving.process.pid} +root +mover", seen)
            filtered(terminal)
            copied(terminal, str(moving.process.pid))
            terminal.type("\r")
            remote = f"to 127.0.0.1:{moving.tcp} tcp"
            datagrams = f"to 127.0.0.1:{moving.udp} udp"
            lines = terminal.wait_for(remote).splitlines()
            (row,) = [place for place, line in enumerate(lines) if " root     mover" in line]
            assert any(remote in line for line in lines[row + 1 :])
            terminal.type("t")
            terminal.wait_for(
                lambda seen: "tcp off" in seen and remote not in seen and datagrams in seen
            )
            terminal.type("t")
            terminal.wait_for(remote)
            terminal.resize(60, 14)
            terminal.wait_for(lambda seen: remote in seen and "peak" not in seen)
            terminal.resize(120, 40)
            terminal.wait_for(
                lambda seen: remote in seen and "peak" in seen and "TOP REMOTE" in seen
            )
        terminal.wait_for("† ")
        assert terminal.modes == OURS
        terminal.type("q")
        restored(terminal)


def test_screen_records_and_shows_it(tmp_path: Path) -> None:
    """A second bwtop names the recorder."""
    flags = ("--db", str(tmp_path / "history.db"))
    with screen(*flags) as terminal:
        terminal.wait_for("backend tracepoint  recording")
        with screen(*flags) as second:
            second.wait_for(f"recorded by bwtop (pid {terminal.pid})")
            terminal.type("q")
            assert terminal.wait() == 0
            second.wait_for("backend tracepoint  recording")
            second.type("q")
            assert second.wait() == 0


def test_without_root_you_see_what_a_recorder_records() -> None:
    with tempfile.TemporaryDirectory(prefix="bwtop-test-") as directory:
        os.chown(directory, SOMEBODY, SOMEBODY)
        flags = ("--db", f"{directory}/history.db")
        with (
            mover(Path(directory)) as moving,
            Terminal(command("--record", *flags)) as recorder,
        ):
            recorder.wait_for("recording to")
            with Terminal(command_as(SOMEBODY, *flags, "--no-resolve"), columns=100) as terminal:
                words = (
                    f"from the history of bwtop --record (pid {recorder.pid}), one second behind"
                )
                terminal.wait_for(words)
                terminal.wait_for("root     mover")
                filtered(terminal)
                terminal.type("\r")
                seen = terminal.wait_for(f"to 127.0.0.1:{moving.tcp} tcp")
                assert re.search(rf"{moving.process.pid} +root +mover +[1-9]", seen)
                recorder.type("\x03")
                assert recorder.wait() == 0
                terminal.wait_for("no bwtop records")
                terminal.type("q")
                assert terminal.wait() == 0


def test_ctrl_z_restores_the_terminal_and_fg_resumes(moving: Mover, tmp_path: Path) -> None:
    settings = tmp_path / "inputrc"
    settings.write_text("set enable-bracketed-paste off\n")  # so that bwtop is what turns it off
    env = {"PS1": "prompt> ", "INPUTRC": str(settings)}
    with Terminal(["bash", "--norc", "-i"], env=env) as terminal:
        terminal.wait_for("prompt>")
        before = terminal.settings()
        terminal.type(" ".join(command("--no-resolve")) + "\r")
        terminal.wait_for("mover")
        for _ in range(2):
            terminal.type("\x1a")
            seen = terminal.wait_for("Stopped")
            assert "backend" not in seen
            assert terminal.modes == THEIRS
            terminal.wait_for(lambda seen: seen.rstrip().endswith("prompt>"))
            assert terminal.settings() == before
            terminal.type("fg\r")
            terminal.wait_for(lambda seen: "mover" in seen and "backend" in seen)
            assert terminal.modes == OURS
        terminal.type("q")
        terminal.wait_for(lambda seen: seen.rstrip().endswith("prompt>"))
        assert terminal.settings() == before
        terminal.type("echo status $?\r")
        terminal.wait_for("status 0")


def test_sigterm_restores_the_terminal() -> None:
    with screen() as terminal:
        measuring(terminal)
        os.kill(terminal.pid, signal.SIGTERM)
        restored(terminal)


@pytest.mark.parametrize("prefix", [(), ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")])
def test_hangup_quits(prefix: tuple[str, ...]) -> None:
    """Even under nohup, which ignores the signal."""
    with Terminal([*prefix, *command()]) as terminal:
        measuring(terminal)
        terminal.hang_up()
        assert terminal.wait() == 0


BROKEN = """
import sys
sys.path.insert(0, {root!r})
from bwtop import cli
from bwtop.tui.state import ScreenState
def advance(self, sample):
    raise RuntimeError("broken on purpose")
ScreenState.advance = advance
cli.main(["--no-resolve"])
"""


def test_traceback_comes_after_the_terminal_is_restored() -> None:
    code = BROKEN.format(root=str(LAUNCHER.parent))
    with Terminal([sys.executable, "-c", code]) as terminal:
        assert terminal.wait() == 1
        assert b"\x1b[?2004h" in terminal.raw
        assert terminal.modes == THEIRS
        assert "RuntimeError: broken on purpose" in terminal.text()
        left = max(terminal.raw.rfind(code) for code in (b"\x1b[?47l", b"\x1b[?1049l"))
        assert 0 < left < terminal.raw.find(b"Traceback")


def test_keys_work_while_the_probes_are_attached() -> None:
    """On a busy machine they may be attached before the test has its turn: then it tries again."""
    for _ in range(5):
        with screen() as terminal:
            terminal.wait_for(lambda text: "attaching" in text or "backend" in text)
            terminal.type("h")
            seen = terminal.wait_for("which process moves how many bytes")
            terminal.type("\x03")
            assert terminal.wait() == 0
            assert terminal.modes == THEIRS
        if "attaching" in seen:
            return
    pytest.fail("the help never came before the probes")


REFUSED = {
    "nobody": ["setpriv", "--reuid=65534", "--clear-groups"],
    "without bpf(2)": ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"],
}


@pytest.mark.parametrize("who", REFUSED)
def test_refusal_is_one_line_and_opens_no_screen(who: str) -> None:
    wide = 800  # the line lists three backends
    with Terminal([*REFUSED[who], *command()], columns=wide) as terminal:
        assert terminal.wait() == 2
        (line,) = terminal.text().strip().splitlines()
        assert line.startswith("bwtop: ")
        assert not any(code in terminal.raw for code in ALTERNATE)


def test_signal_reaches_a_process_of_another_user(moving: Mover) -> None:
    with chosen(moving) as terminal:
        terminal.type("K")
        terminal.wait_for(f"Signal for mover ({moving.process.pid})")
        terminal.type("\r")
        terminal.wait_for(f"Send SIGTERM to mover ({moving.process.pid})?")
        terminal.watch(GUARD)
        terminal.type("y")
        terminal.wait_for("SIGTERM sent to mover")
        assert moving.process.wait(30) == -signal.SIGTERM
        terminal.wait_for("† ")


PASTED = "Kill it\nyes it is\nquit, yes\n"
"""As commands: open the signals, choose one, confirm it, quit."""

IGNORED = "pasted text ignored; press / to filter"


def as_paste(text: str) -> str:
    """Return the bytes of a paste in mode 2004."""
    return f"\x1b[200~{text}\x1b[201~"


def chosen(moving: Mover) -> Terminal:
    """Return a screen with the mover alone."""
    terminal = screen(columns=120)
    terminal.wait_for("mover")
    filtered(terminal)
    return terminal


@pytest.mark.parametrize("pasted", [as_paste("q"), PASTED], ids=repr)
def test_paste_sends_no_signal_and_does_not_quit(moving: Mover, pasted: str) -> None:
    """Before the fix it sent SIGTERM to the selected process."""
    with chosen(moving) as terminal:
        terminal.type(pasted)
        terminal.wait_for(IGNORED)
        assert "Signal for" not in terminal.text()
        terminal.watch(PAUSE)
        terminal.type("h")
        terminal.wait_for("which process moves how many bytes")
        assert moving.process.poll() is None


def test_past_is_read_by_a_process_without_rights(moving: Mover) -> None:
    """Steps come out of the file that is being recorded, and recording goes on."""
    with screen("--no-container-names", columns=120) as terminal:
        measuring(terminal)
        filtered(terminal)
        terminal.wait_for("root     mover ")
        terminal.watch(3)
        terminal.type("[")
        seen = terminal.wait_for(lambda text: " PAST " in text and "looking" not in text)
        assert re.search(rf"{moving.process.pid} +root +mover", seen)
        assert "by second" in seen
        helpers = children(terminal.pid)
        assert helpers
        for found in map(status, helpers):
            assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == 0
            assert found["NoNewPrivs"] == "1"
        terminal.type(".")
        terminal.wait_for(lambda text: " PAST " not in text and "recording" in text)
        terminal.type("q")
        assert terminal.wait() == 0
        until(lambda: not any(Path(f"/proc/{child}").exists() for child in helpers))


def test_what_is_shown_is_written_as_the_user_behind_sudo(moving: Mover) -> None:
    """The screen itself can write nowhere."""
    with tempfile.TemporaryDirectory(prefix="bwtop-test-") as directory:
        os.chown(directory, SOMEBODY, SOMEBODY)
        behind = {"SUDO_UID": str(SOMEBODY), "SUDO_GID": str(SOMEBODY)}
        bwtop = command("--no-resolve", "--no-record")
        with Terminal(bwtop, env=behind, cwd=Path(directory)) as terminal:
            terminal.wait_for("mover")
            terminal.type("w")
            terminal.wait_for("write to bwtop-")
            terminal.type("\x15")
            terminal.type("a.csv")
            terminal.type("\r")
            terminal.wait_for(lambda seen: "wrote" in seen and " to a.csv" in seen)
            written = Path(directory, "a.csv")
            assert "mover" in written.read_text()
            assert (written.stat().st_uid, written.stat().st_mode & 0o777) == (SOMEBODY, 0o600)
            terminal.type("q")
            assert terminal.wait() == 0


def test_setup_is_saved_for_the_user_behind_sudo(moving: Mover) -> None:
    with tempfile.TemporaryDirectory(prefix="bwtop-test-") as directory:
        config = Path(directory, "config.toml")
        config.write_text("# mine\nbits = true\n")
        for path in (config.parent, config):
            os.chown(path, SOMEBODY, SOMEBODY)
        behind = {"SUDO_UID": str(SOMEBODY), "SUDO_GID": str(SOMEBODY)}
        bwtop = command("--no-resolve", "--no-record", "--config", str(config))
        with Terminal(bwtop, env=behind) as terminal:
            terminal.wait_for("mover")
            terminal.type("S")
            terminal.wait_for("theme    auto")
            terminal.type("j")
            terminal.type("\r")
            terminal.wait_for("mouse    off")
            assert not terminal.mouse
            terminal.type("k")
            terminal.type("\r")
            terminal.wait_for("theme    dark")
            terminal.type("q")
            terminal.wait_for("saved to")
            terminal.type("q")
            assert terminal.wait() == 0
        wanted = '# mine\nbits = true\ntheme = "dark"\nmouse = false\n'
        assert config.read_text() == wanted
        assert config.stat().st_uid == SOMEBODY


def test_mouse_can_be_left_to_the_terminal(moving: Mover, tmp_path: Path) -> None:
    """SIGSTOP cannot be caught: the modes are set again afterwards, and the mouse is still left."""
    config = tmp_path / "config.toml"
    config.write_text("mouse = false\n")
    with screen("--config", str(config)) as terminal:
        terminal.wait_for("mover")
        assert terminal.modes == (True, False, True, False)
        os.kill(terminal.pid, signal.SIGSTOP)
        drawn = len(terminal.raw)
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.wait_for(lambda _: terminal.raw.count(BRACKETS_ON.encode()) == 2)
        terminal.watch(0.2)
        assert terminal.modes == (True, False, True, False)
        assert any(code in terminal.raw[drawn:] for code in ALTERNATE)
        terminal.wait_for(lambda _: b"mover" in terminal.raw.rpartition(BRACKETS_ON.encode())[2])


PICTURES = os.environ.get("BWTOP_PICTURES")


def test_picture_of_the_screen(tmp_path: Path) -> None:
    """Draw the picture of the README if BWTOP_PICTURES names a directory for it (`make picture`)."""
    with screen("--loopback", "hide", columns=116, rows=28) as terminal, ExitStack() as running:
        measuring(terminal)
        running.enter_context(desktop(tmp_path))
        terminal.wait_for(lambda seen: all(f" {talk.program} " in seen for talk in TALKS))
        terminal.type("\r")
        terminal.wait_for("to www.example.com:443 tcp")
        if PICTURES:
            terminal.watch(130)
        terminal.wait_for("cdn.example.net")
        drawing = svg(terminal.screen, "sudo bwtop")
        for part in ("bwtop", "backup", "cdn.example.net", "SHARE"):
            assert part in drawing
        if PICTURES:
            (Path(PICTURES) / "screen.svg").write_text(drawing)


def test_picture_of_a_report(tmp_path: Path) -> None:
    """Draw another picture of the README."""
    midnight = floor(Unit.DAY, floor(Unit.DAY, time.time()) - 1)
    a_desktops_day(tmp_path / "history.db", midnight)
    report = command("--history", "yesterday", "--no-resolve", "--db", str(tmp_path / "history.db"))
    with Terminal(report, columns=100, rows=52) as terminal:
        terminal.wait_for("average")
        terminal.wait_for("peak")
        drawing = svg(terminal.screen, "bwtop --history yesterday")
        for part in ("firefox", "backup", "SHARE", "TOTAL", "23:00"):
            assert part in drawing
        if PICTURES:
            (Path(PICTURES) / "report.svg").write_text(drawing)
