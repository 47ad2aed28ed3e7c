"""The command: options become filters, settings and reports.  No test here measures."""

import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bwtop import cli
from bwtop.capture.backends import Backend
from bwtop.capture.session import CaptureError, Loading, Report
from bwtop.history.nested import SORTS
from bwtop.history.tiers import default_retention
from bwtop.measure.sources import NEEDS_ROOT
from bwtop.model.conditions import Loopback
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.modes import batch as modes_batch
from bwtop.modes import check as modes_check
from bwtop.modes import common
from bwtop.modes import history as modes_history
from bwtop.modes import salvage as modes_salvage
from bwtop.modes import screen as screen_mode
from bwtop.options.config import Config
from bwtop.options.flags import Options
from bwtop.output import report
from bwtop.rights import privileges
from bwtop.sqlite.rollup import Policy
from bwtop.sqlite.writer import RecordingOptions
from bwtop.text import stderr
from bwtop.tui.keys import DEFAULT
from bwtop.tui.settings import Settings
from bwtop.tui.state import ScreenState
from bwtop.view.columns import ALL_COLUMNS
from bwtop.view.order import Order
from tests.build import stable_id, typed
from tests.history.keep import CURL, NGINX, Kept, delta
from tests.history.named import named_delta
from tests.options.examples import parse, refusal

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], EVERYTHING),
        (["--tcp", "--tcp", "--udp"], typed("proto:tcp,udp")),
        (["--pid", "1,2"], typed("pid:1,2")),
        (["--user", "0"], typed("user:0")),
        (["--process", "a,b*"], typed("process:a,b*")),
        (["--remote", "::1"], typed("remote:::1/128")),
        (["--loopback", "only"], typed("loopback:only")),
    ],
    ids=stable_id,
)
def test_filter_is_made_from_its_flags(arguments: list[str], expected: Filter) -> None:
    assert common.filter_of(parse(*arguments)) == expected


@pytest.mark.parametrize("message", ["plain", "two\nlines", "  many   spaces\t\r\n"])
def test_message_is_one_line(message: str, capfd: pytest.CaptureFixture[str]) -> None:
    stderr.say(message)
    assert capfd.readouterr().err == f"bwtop: {' '.join(message.split())}\n"


def test_flags_set_the_settings_of_the_screen() -> None:
    given = parse(
        *("--udp", "--other", "--loopback", "hide", "--bits", "--no-resolve"),
        *("-d", "2.5", "-s", "-pid", "--pid", "7,8", "--user", "root"),
        *("--process", "nginx*,my app", "--remote", "10.0.0.0/8,::1"),
    )
    settings = screen_mode.settings_of(given, Config())
    assert settings.classes == {"udp", "other"}
    assert settings.loopback is Loopback.HIDE
    assert (settings.bits, settings.names, settings.interval) == (True, True, 2.5)
    assert settings.order == Order("pid", reverse=True)
    assert settings.filter == 'pid:7,8 user:0 process:"nginx*,my app" remote:10.0.0.0/8,::1/128'
    assert typed(settings.filter) == common.typed_of(given)


def test_host_is_a_filter_of_the_screen_so_that_the_past_is_of_the_same_hosts() -> None:
    origin = ("--from", "clickhouse://192.0.2.9/bwtop")
    given = parse(*origin, "--host", "web*,db1", "--process", "nginx")
    settings = screen_mode.settings_of(given, Config())
    assert settings.filter == "process:nginx host:web*,db1"
    state = ScreenState("host.example", DEFAULT, settings, origin=origin[1])
    assert (state.filter_error, state.typed) == ("", common.filter_of(given))


def test_without_flags_the_screen_shows_everything() -> None:
    assert screen_mode.settings_of(parse(), Config()) == Settings()


# History


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a path without a history; measuring or changing the user fails."""

    def never(*_: object, **__: object) -> Any:
        pytest.fail("the command must neither measure nor change its user")

    for name in ("load", "start_measuring"):
        monkeypatch.setattr(common, name, never)
    for module in (common, modes_history):
        monkeypatch.setattr(module, "confine", lambda *_: None)  # other tests need this process
    monkeypatch.setattr(modes_salvage, "confine", lambda *_, prepare=lambda: None: prepare())
    monkeypatch.setenv("BWTOP_DB", str(tmp_path / "none.db"))
    return tmp_path / "none.db"


@pytest.fixture
def history(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a history of the last minute with two programs."""
    start = time.time() - 30
    kept = Kept(path=nowhere)
    kept.append(delta(start, 100, 5000, who=CURL, pid=1), delta(start, 3000, 10, who=NGINX, pid=2))
    kept.connection.close()
    return nowhere


def failing(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line of a failing command."""
    return refusal(capfd, lambda: cli.main(arguments))


def printed(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.main(arguments)
    captured = capfd.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize(
    ("flags", "order"),
    [
        ([], ["curl", "nginx"]),
        (["-s", "rx_rate"], ["nginx", "curl"]),
        (["--sort", "-tx"], ["nginx", "curl"]),
    ],
    ids=repr,
)
def test_history_sorts(
    flags: list[str], order: list[str], history: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(printed(capfd, "--history", "1h", "--format", "json", *flags))
    assert [row["name"] for row in found["rows"]] == order


def test_history_rejects_other_sort_columns(
    nowhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    others = {c.id for c in ALL_COLUMNS} - modes_history.SORTS.keys()
    for sort in (*others, *(f"-{column}" for column in others)):
        error = failing(capfd, "--history", "--sort", sort)
        assert error == f"bwtop: invalid --sort '{sort}' for --history; expected total, rx or tx\n"


def test_all_byte_columns_sort_the_history() -> None:
    numbers = {c.id for c in ALL_COLUMNS if re.match(r"(rx|tx|rate|total)", c.id)}
    assert set(modes_history.SORTS) == numbers
    assert {
        column: "total" if column == "rate" else column.partition("_")[0] for column in numbers
    } == modes_history.SORTS
    assert set(modes_history.SORTS.values()) == set(SORTS)


def test_history_takes_the_flags(history: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capfd, "--history", "1h", "--format", "json", "--by", "user,proto"))
    assert found["by"] == ["user", "proto"]
    written = printed(capfd, "--history", "1h", "--format", "csv", "--process", "curl")
    assert written == "name,exe,uid,kernel,user,rx,tx\ncurl,/usr/bin/curl,0,0,root,100,5000\n"
    written = printed(capfd, "--history", "1h", "--format", "csv", "--pid", "2", "--by", "exe")
    assert written == "exe,rx,tx\n/usr/sbin/nginx,3000,10\n"
    found = json.loads(printed(capfd, "--history", "1h", "--format", "json", "--limit", "1"))
    assert [row["name"] for row in found["rows"]] == ["curl"]
    written = printed(capfd, "--history", "1h", "--no-resolve", "--bits")
    assert "PROCESS" in written
    assert "bit/s" in written
    assert "no traffic matches" in printed(capfd, "--history", "1h", "--udp")


@pytest.mark.parametrize(
    "flags",
    [[], *(["--by", by, "--format", "csv"] for by in ("remote", "name", "domain"))],
    ids=str,
)
def test_no_names_reports_addresses(
    flags: list[str], nowhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = Kept(path=nowhere)
    kept.append(named_delta(time.time() - 30, "www.example.org"))
    kept.connection.close()
    found = ("--history", "1h", "--no-resolve", *flags)
    assert "example.org" in printed(capfd, *found)
    plain = printed(capfd, *found, "--no-names")
    assert "192.0.2.1" in plain
    assert "example.org" not in plain


def test_no_resolve_disables_name_lookups(
    history: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[Any] = []
    monkeypatch.setattr(report, "run", lambda _, request, *__: requests.append(request))
    monkeypatch.setattr(modes_history, "Names", lambda: "names")
    for more in ([], ["--no-resolve"]):
        printed(capfd, "--history", *more)
    assert [request.names for request in requests] == ["names", None]


def test_db_selects_the_history(
    history: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BWTOP_DB", str(tmp_path / "other.db"))
    error = failing(capfd, "--history")
    assert str(tmp_path / "other.db") in error
    assert "curl" in printed(capfd, "--history", "1h", "--db", str(history), "--no-resolve")
    monkeypatch.chdir(tmp_path)
    assert "curl" in printed(capfd, "--history", "1h", "--db", history.name, "--no-resolve")


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + bytes(500)]
)
def test_foreign_db_is_one_line(
    content: bytes, tmp_path: Path, nowhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.db").write_bytes(content)
    assert str(tmp_path / "odd.db") in failing(capfd, "--history", "--db", str(tmp_path / "odd.db"))


def test_directory_as_db_is_one_line(
    tmp_path: Path, nowhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert str(tmp_path) in failing(capfd, "--history", "--db", str(tmp_path))


def test_db_of_another_program_is_refused(
    tmp_path: Path, nowhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "odd.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.commit()
    assert "another program's" in failing(capfd, "--history", "--db", str(tmp_path / "odd.db"))


def test_flags_set_the_recorder_options(nowhere: Path, tmp_path: Path) -> None:
    options = common.recording(parse())
    assert options == RecordingOptions(nowhere, Policy(default_retention(), None), who="bwtop")
    options = common.recording(
        parse(
            *("--record", "--db", str(tmp_path / "x.db"), "--store-cmdlines"),
            *("--max-size", "2M", "--keep-remotes", "50", "--retention", "seconds=1m"),
        )
    )
    assert options == RecordingOptions(
        tmp_path / "x.db",
        Policy(default_retention() | {"seconds": 60.0}, 2 << 20, 50),
        cmdlines=True,
        who="bwtop --record",
    )
    assert common.recording(parse("--no-record")) is None


@pytest.mark.parametrize(
    "flags", [["--record"], ["--no-record"], ["--batch", "--no-record"], ["--check"]]
)
def test_measuring_needs_root(
    flags: list[str],
    nowhere: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(privileges, "may_load", lambda: False)
    assert failing(capfd, *flags) == f"bwtop: {NEEDS_ROOT}\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([], {"tracepoint", "fexit", "kprobe"}), (["--backend", "kprobe"], {"kprobe"})],
    ids=["all", "one"],
)
def test_check_tries_all_backends_or_the_one_that_is_named(
    flags: list[str],
    expected: set[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []

    class Refused(Loading):
        def __init__(self, backends: Sequence[Backend], *_: object) -> None:
            self.backends = backends

        def finish(self) -> tuple[list[Report], None]:
            tried.extend(backend.name for backend in self.backends)
            return [Report(self.backends[0], "refused", {}, [], "", names=False)], None

    monkeypatch.setattr(modes_check, "Loading", Refused)
    monkeypatch.setattr(privileges, "may_load", lambda: True)
    with pytest.raises(SystemExit) as end:
        cli.main(["--check", *flags])
    said = capfd.readouterr().out
    assert (end.value.code, set(tried), len(tried)) == (2, expected, len(expected))
    assert ("is tried first" in said) == (not flags)
    assert {name for name in tried if f"{name}: does not work here" in said} == expected


def test_many_hosts_have_intervals_of_whole_seconds_also_if_configured(
    nowhere: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("interval = 0.5\n")
    flags = ("--config", str(tmp_path / "config.toml"), "--from", "clickhouse://h/d")
    words = "bwtop: --interval must be 1 or more with --from\n"
    assert failing(capfd, *flags) == words
    assert failing(capfd, *flags, "--batch") == words


@pytest.mark.parametrize("mode", ["--batch", "--demo"])
def test_unknown_network_is_refused_before_anything_starts(
    mode: str, nowhere: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileges, "may_load", lambda: True)
    assert "'nope'" in failing(capfd, mode, "--net", "nope")


@pytest.mark.parametrize("flags", [["--format", "json"], ["--limit", "5"]], ids=str)
@pytest.mark.parametrize("terminal", [False, True])
def test_only_without_a_terminal_bwtop_stops_by_itself(
    flags: list[str],
    nowhere: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    terminal: bool,
) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise CaptureError("refused")

    monkeypatch.setattr(modes_batch, "has_terminal", lambda: terminal)
    monkeypatch.setattr(privileges, "may_load", lambda: False)
    monkeypatch.setattr(common, "start_measuring", refuse)
    with pytest.raises(SystemExit):
        cli.main(flags)
    *said, last = capfd.readouterr().err.splitlines()
    stops = ["bwtop: no terminal; printing 5 intervals (-n N changes that)"]
    assert (said, last) == ([] if terminal else stops, "bwtop: refused")


def test_history_needs_no_root(
    history: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(privileges, "may_load", lambda: False)
    assert "curl" in printed(capfd, "--history", "1h", "--no-resolve")


def test_missing_history_is_one_line(
    nowhere: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(privileges, "may_load", lambda: False)
    for arguments in (["--history"], ["--history", "7d", "--by", "day", "--format", "json"]):
        assert failing(capfd, *arguments) == (
            f"bwtop: nothing has been recorded yet: {nowhere} does not exist; run: sudo bwtop\n"
        )
    assert not nowhere.exists()


@pytest.mark.parametrize("flag", ["--help", "--version", "--print-config", "--print-schema"])
def test_output_that_cannot_be_written_is_one_line_and_a_closed_pipe_is_quiet(flag: str) -> None:
    def run(out: int) -> tuple[int, str]:
        ended = subprocess.run(
            [sys.executable, "-B", str(ROOT / "bwtop.py"), flag],
            env={"PATH": "/usr/bin", "HOME": "/nonexistent"},  # without PYTHONUNBUFFERED
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        os.close(out)
        return ended.returncode, ended.stderr

    assert run(os.open("/dev/full", os.O_WRONLY)) == (2, "bwtop: No space left on device\n")
    reader, writer = os.pipe()
    os.close(reader)
    assert run(writer) == (0, "")


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_report_into_a_nonblocking_pipe_is_whole(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """It ended in the middle of a line, with status 2."""
    kept = Kept(path=nowhere)
    programs = [replace(CURL, name=f"curl{number}") for number in range(1000)]
    kept.append(*(delta(time.time() - 30, 1, 1, who=who) for who in programs))
    kept.connection.close()
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)

    def slowly() -> str:
        time.sleep(0.2)
        with os.fdopen(reader, "r") as taken:
            return taken.read()

    with ThreadPoolExecutor() as threads:
        text = threads.submit(slowly)
        with os.fdopen(writer, "w") as out:
            monkeypatch.setattr(sys, "stdout", out)
            cli.main(["--history", "1h", "--by", "process", "--format", form, "--no-resolve"])
    assert all(who.name in text.result() for who in programs)
    assert text.result().endswith("\n")


INTERRUPTED = """
import signal, sys, time
from bwtop import cli
from bwtop.modes import common
from bwtop.rights import privileges

def attach(*_, **__):
    signal.raise_signal({number})
    time.sleep(60)

privileges.may_load = lambda: True
common.load = lambda _: True
common.start_measuring = attach
cli.main({arguments!r})
"""


@pytest.mark.parametrize("mode", [["--batch"], ["--record"], ["--serve", "--bind", "127.0.0.1:0"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_before_the_first_interval_ends_bwtop_at_once(
    tmp_path: Path, mode: list[str], number: signal.Signals
) -> None:
    """SIGALRM ended it if the probes took five seconds more: a failed service."""
    arguments = [*mode, "--no-config", "--no-names", "--db", str(tmp_path / "history.db")]
    code = INTERRUPTED.format(number=int(number), arguments=arguments)
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=50)
    assert ended.returncode == -number
    assert b"Traceback" not in ended.stderr


LATE = """
from bwtop import cli
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.model.flows import Traffic
from bwtop.modes import common
from bwtop.rights import privileges
from tests.build import key, remote, sample

class Readings:
    def read(self):
        found = sample({key(7): {remote(): Traffic(10)}}, elapsed=0.1)
        found.late = sample({key(7): {remote(): Traffic(1)}}, elapsed=0.0)
        return found

privileges.may_load = lambda: True
common.load = lambda _: None
common.start_measuring = lambda *_, **__: Measurement(
    readings=Readings(), status=lambda: Status(""), close=lambda _: None
)
cli.main("--batch -n 2 -d 0.1 --format json --no-resolve --no-config".split())
"""


def test_batch_counts_intervals_and_not_the_late_data_between() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LATE], cwd=ROOT, capture_output=True, timeout=50, check=True
    )
    found = [json.loads(line)["interval"] for line in ended.stdout.splitlines()]
    assert found == [0.1, 0.0, 0.1, 0.0]


def test_link_to_a_history_is_resolved(tmp_path: Path) -> None:
    """A lock beside the link would let two bwtops record to the same history."""
    (tmp_path / "real.db").touch()
    (tmp_path / "link.db").symlink_to("real.db")
    assert common.history(parse("--db", str(tmp_path / "link.db"))).path == tmp_path / "real.db"
    assert common.history(parse("--db", str(tmp_path / "x" / ".." / "real.db"))).path == (
        tmp_path / "real.db"
    )


def test_failing_history_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Options) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(cli, "run_history", fail)
    with pytest.raises(SystemExit) as end:
        cli.main(["--history"])
    assert end.value.code == 2
    assert capfd.readouterr().err == "bwtop: cannot read the history: disk I/O error\n"


def test_salvage_copies_a_history(
    history: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.db"
    arguments = ("--salvage", str(history), "--db", str(new))
    cli.main(arguments)
    told = capfd.readouterr().err.splitlines()
    assert "bwtop: program: 2 rows saved" in told
    assert told[-1] == f"bwtop: to read it: bwtop --history all --db {new}"
    assert "curl" in printed(capfd, "--history", "1h", "--no-resolve", "--db", str(new))
    assert failing(capfd, *arguments) == f"bwtop: {new} exists; choose another with --db\n"
    absent = failing(capfd, "--salvage", str(tmp_path / "absent.db"), "--db", str(tmp_path / "x"))
    assert absent == f"bwtop: No such file or directory: {tmp_path / 'absent.db'}\n"
    assert not (tmp_path / "x").exists()
