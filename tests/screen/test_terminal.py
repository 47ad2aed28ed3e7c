"""The real program in a real terminal, as root, with real traffic."""

import base64
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import urwid

from bwtop.history.calendar import Unit, floor
from bwtop.tui.background import QUESTION
from bwtop.tui.dialogs import GUARD
from bwtop.tui.input import PAUSE
from bwtop.tui.paste import BRACKETS_ON
from bwtop.tui.styles import DARK, LIGHT, PLAIN, THEMES, Style
from tests.history.desktop import a_desktops_day
from tests.kernel.running import LAUNCHER, command, command_as
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


def modes(terminal: Terminal) -> tuple[bool, bool, bool, bool]:
    """Return modes as booleans: second buffer, mouse, bracketed paste, cursor."""
    return terminal.alternate, terminal.mouse, terminal.brackets, terminal.cursor_visible


OURS = (True, True, True, False)
THEIRS = (False, False, False, True)


def test_row_remote_toggle_resize_quit(tmp_path: Path) -> None:
    """The actions of a user in the first minute."""
    with screen() as terminal:
        measuring(terminal)
        with mover(tmp_path) as moving:
            seen = terminal.wait_for("mover")
            assert re.search(rf"{moving.process.pid} +root +mover", seen)
            filtered(terminal)
            terminal.type("\r")
            remote = f"to 127.0.0.1:{moving.tcp} tcp"
            lines = terminal.wait_for(remote).splitlines()
            (row,) = [place for place, line in enumerate(lines) if " root     mover" in line]
            assert any(remote in line for line in lines[row + 1 :])
            terminal.type("t")
            seen = terminal.wait_for("tcp off")
            assert remote not in seen
            assert f"to 127.0.0.1:{moving.udp} udp" in seen
            terminal.type("t")
            terminal.wait_for(remote)
            terminal.resize(60, 14)
            terminal.wait_for(lambda seen: remote in seen and "peak" not in seen)
            terminal.resize(120, 40)
            terminal.wait_for(
                lambda seen: remote in seen and "peak" in seen and "TOP REMOTE" in seen
            )
        terminal.wait_for("† ")
        assert modes(terminal) == OURS
        terminal.type("q")
        assert terminal.wait() == 0
        assert modes(terminal) == THEIRS
        assert terminal.text().strip() == ""


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


def test_terminal_is_left_as_it_was() -> None:
    with screen() as terminal:
        measuring(terminal)
        terminal.type("q")
        assert terminal.wait() == 0
        after = terminal.settings()
    with Terminal(["sleep", "10"]) as untouched:
        assert after == untouched.settings()


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
            assert modes(terminal) == THEIRS
            terminal.wait_for(lambda seen: seen.rstrip().endswith("prompt>"))
            assert terminal.settings() == before
            terminal.type("fg\r")
            terminal.wait_for(lambda seen: "mover" in seen and "backend" in seen)
            assert modes(terminal) == OURS
        terminal.type("q")
        terminal.wait_for(lambda seen: seen.rstrip().endswith("prompt>"))
        assert terminal.settings() == before
        terminal.type("echo status $?\r")
        terminal.wait_for("status 0")


def test_screen_is_redrawn_after_sigstop(moving: Mover) -> None:
    """SIGSTOP cannot be caught, and another program may have drawn on the terminal meanwhile."""
    with screen() as terminal:
        terminal.wait_for("mover")
        os.kill(terminal.pid, signal.SIGSTOP)
        drawn = len(terminal.raw)
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.wait_for(lambda _: any(code in terminal.raw[drawn:] for code in ALTERNATE))
        terminal.wait_for("mover")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_fatal_signals_restore_the_terminal(number: signal.Signals) -> None:
    with screen() as terminal:
        measuring(terminal)
        os.kill(terminal.pid, number)
        assert terminal.wait() == 0
        assert modes(terminal) == THEIRS
        assert "Traceback" not in terminal.text()


@pytest.mark.parametrize("prefix", [(), ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")])
def test_hangup_quits(prefix: tuple[str, ...]) -> None:
    """Even under nohup, which ignores the signal."""
    with Terminal([*prefix, *command()]) as terminal:
        measuring(terminal)
        terminal.hang_up()
        assert terminal.wait() == 0


@pytest.mark.parametrize("known", [(1049,), (47, 1049), (47, 1047, 1049)])
def test_text_from_before_is_back_whichever_modes_the_terminal_knows(known: Sequence[int]) -> None:
    """urwid 2.1 asks for mode 47 alone: what it drew stayed on a terminal that knows only 1049."""
    before = ["sh", "-c", 'echo "text from before"; exec "$@"', "sh"]
    with Terminal([*before, *command("--no-resolve")], alternate=known) as terminal:
        measuring(terminal)
        assert terminal.alternate
        assert "text from before" not in terminal.text()
        terminal.type("q")
        assert terminal.wait() == 0
        assert terminal.text().split() == ["text", "from", "before"]


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
        assert modes(terminal) == THEIRS
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
            assert modes(terminal) == THEIRS
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
        assert moving.process.wait(10) == -signal.SIGTERM
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


@pytest.mark.parametrize("pasted", [as_paste(PASTED), as_paste("q"), PASTED], ids=repr)
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


@pytest.mark.parametrize("size", [(0, 0), (0, 24), (80, 0)], ids=str)
def test_terminal_without_a_size_is_taken_for_80_by_24(size: tuple[int, int]) -> None:
    """It has none from the start, or loses it."""
    columns, rows = size
    stty = ["sh", "-c", 'stty cols "$0" rows "$1" && shift && exec "$@"', str(columns), str(rows)]
    with Terminal([*stty, *command("--no-resolve")]) as terminal:
        measuring(terminal)
        assert "h help" in terminal.lines()[23]
        terminal.resize(80, 20)  # the emulator drops rows at the top, until bwtop draws them
        terminal.wait_for(
            lambda _: "bwtop" in terminal.lines()[0] and "h help" in terminal.lines()[19]
        )
        terminal.screen.resize(lines=24, columns=80)
        terminal.announce(*size)
        terminal.wait_for(lambda _: "h help" in terminal.lines()[23])
        terminal.type("q")
        assert terminal.wait() == 0


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


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
        children = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children").read_text().split()
        assert children
        for status in (status_of(int(child)) for child in children):
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
            assert status["NoNewPrivs"] == "1"
        terminal.type(".")
        terminal.wait_for(lambda text: " PAST " not in text and "recording" in text)
        terminal.type("q")
        assert terminal.wait() == 0
        assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_copy_goes_to_the_clipboard_of_the_terminal(moving: Mover) -> None:
    with screen() as terminal:
        measuring(terminal)
        filtered(terminal)
        terminal.wait_for("root     mover ")
        terminal.type("y")
        terminal.wait_for(f"copied {moving.process.pid}")
        text = base64.b64encode(str(moving.process.pid).encode())
        assert b"\x1b]52;c;" + text + b"\x1b\\" in terminal.raw


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
    config = tmp_path / "config.toml"
    config.write_text("mouse = false\n")
    with screen("--config", str(config)) as terminal:
        terminal.wait_for("mover")
        assert modes(terminal) == (True, False, True, False)
        os.kill(terminal.pid, signal.SIGSTOP)
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.wait_for(lambda _: terminal.raw.count(BRACKETS_ON.encode()) == 2)
        terminal.watch(0.2)
        assert not terminal.mouse


def test_c_locale_gets_ascii(moving: Mover) -> None:
    with screen(env={"LANG": "C"}) as terminal:
        seen = terminal.wait_for("mover")
        assert "RX/s" in seen
        assert terminal.raw.isascii()


def colours(raw: bytes) -> set[bytes]:
    """Return the set colours: SGR parameters of ECMA-48 that are not plain."""
    found = {part for run in re.findall(rb"\x1b\[([0-9;]*)m", raw) for part in run.split(b";")}
    return {part for part in found if re.fullmatch(rb"3[0-8]|4[0-8]|9[0-7]|10[0-7]", part)}


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_colours_can_be_turned_off(moving: Mover, env: dict[str, str]) -> None:
    with screen(env=env) as terminal:
        terminal.wait_for("mover")
        terminal.type("jh")
        terminal.wait_for("Keys")
        assert colours(terminal.raw) == set()


@pytest.mark.parametrize(
    ("kind", "many"), [("xterm-256color", True), ("xterm", False), ("linux", False)]
)
def test_colours_are_those_of_the_terminal(moving: Mover, kind: str, many: bool) -> None:
    """38;5 is one of 256; 32 and 92 are two of the 16."""
    with screen(env={"TERM": kind}) as terminal:
        terminal.wait_for("mover")
        used = colours(terminal.raw)
        assert (b"38" in used) == many
        assert bool(used & {b"32", b"92"}) != many


def sets(theme: str, raw: bytes) -> bool:
    """Return True if the colour of what is received is that of a theme, of 256 colours."""
    look = THEMES[theme][Style.RX]
    number = urwid.AttrSpec(look.high, look.background, 256).foreground_number
    return re.search(rb"38;5;%d[;m]" % number, raw) is not None


@pytest.mark.parametrize(
    ("background", "flags", "theme"),
    [
        ("rgb:ffff/ffff/dddd", (), LIGHT),
        ("rgb:0000/2b2b/3636", (), DARK),
        ("rgba:ff/ff/ff/ff", (), LIGHT),
        (None, (), PLAIN),
        ("rgb:ffff/ffff/ffff", ("--theme", DARK), DARK),
    ],
)
def test_theme_is_that_of_the_background(
    moving: Mover, background: str | None, flags: Sequence[str], theme: str
) -> None:
    """The terminal is asked unless a theme was chosen; the answer is no key, and leaves nothing behind."""
    with screen(*flags, background=background) as terminal:
        terminal.wait_for(lambda _: sets(theme, terminal.raw))
        assert (QUESTION.encode() in terminal.raw) == (not flags)
        seen = terminal.wait_for("mover")
        assert "]11" not in seen
        others = [other for other in THEMES if other not in (theme, PLAIN)]
        assert not any(sets(other, terminal.raw) for other in others)
        terminal.type("q")
        assert terminal.wait() == 0


def test_console_has_no_question_and_no_eighths_of_blocks(moving: Mover) -> None:
    with screen(env={"TERM": "linux"}) as terminal:
        terminal.wait_for("mover")
        terminal.watch(2)
        assert QUESTION.encode() not in terminal.raw
        shown = terminal.raw.decode()
        assert "↓" in shown
        assert not set(shown) & set("▁▂▃▄▅▆▇▸▾▲▼…")


PICTURES = os.environ.get("BWTOP_PICTURES")


def test_picture_of_the_screen(tmp_path: Path) -> None:
    """Draw the picture of the README if BWTOP_PICTURES names a directory for it (`make picture`)."""
    with screen("--loopback", "hide", columns=116, rows=28) as terminal, ExitStack() as running:
        measuring(terminal)
        running.enter_context(desktop(tmp_path))
        terminal.wait_for(lambda seen: all(f" {talk.program} " in seen for talk in TALKS))
        terminal.type("\r")
        terminal.wait_for("to www.example.com:443 tcp")
        terminal.watch(130 if PICTURES else 2)
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
