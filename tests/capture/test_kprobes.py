"""Probe events in tracefs: their misses, their owners, and why there are none."""

import os
import time
from pathlib import Path

import pytest

from bwtop.capture import kprobes
from bwtop.capture.libbpf import RefusedError

PROFILE = """  bwtop_17_4711_r_tcp_sendmsg                                  1000               3
  bwtop_17_4711_p_tcp_sendmsg                                  1000               4
  bwtop_170_4711_r_tcp_sendmsg                                  500             100
  myprobe                                                  500            1000
"""


def test_misses_of_ones_own_probes_are_added_up() -> None:
    assert kprobes.missed(PROFILE, "bwtop_17_4711_") == 7
    assert kprobes.missed(PROFILE, "bwtop_170_4711_") == 100
    assert kprobes.missed(PROFILE, "bwtop_18_4711_") == 0
    assert kprobes.missed("", "bwtop_17_4711_") == 0
    assert kprobes.missed("\n  bwtop_17_4711_p_f 18446744073709551615 5\n\n", "bwtop_17_4711_") == 5


def without(monkeypatch: pytest.MonkeyPatch, *roots: Path) -> str:
    """Return the reason why there are no events if tracefs is at these places."""
    monkeypatch.setattr(kprobes, "_ROOTS", roots)
    with pytest.raises(RefusedError) as raised:
        kprobes.Events(1)
    reason = str(raised.value)
    assert "\n" not in reason
    assert "Errno" not in reason, "a plain text, not what Python makes of an error"
    return reason


def test_without_events_it_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "tracefs cannot be read" in without(monkeypatch)
    assert "tracefs cannot be read" in without(monkeypatch, tmp_path / "empty", tmp_path / "none")
    (tmp_path / "trace").touch()
    assert "CONFIG_KPROBE_EVENTS" in without(monkeypatch, tmp_path / "none", tmp_path)
    (tmp_path / "kprobe_events").mkdir()
    assert without(monkeypatch, tmp_path) == "EISDIR (Is a directory)"


@pytest.fixture
def tracefs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder in place of tracefs; everything written to its files stays there, one line behind the other."""
    monkeypatch.setattr(kprobes, "_ROOTS", (tmp_path / "none", tmp_path))
    (tmp_path / "kprobe_events").touch()
    return tmp_path


def give_id(tracefs: Path, name: str, number: int) -> None:
    folder = tracefs / "events" / "bwtop" / name
    folder.mkdir(parents=True)
    (folder / "id").write_text(f"{number}\n")


def written(tracefs: Path) -> str:
    return (tracefs / "kprobe_events").read_text()


def test_start_takes_away_what_others_have_left(tracefs: Path) -> None:
    gone = 2**22 + 1  # above any pid: PID_MAX_LIMIT
    mine = kprobes.Events(os.getpid()).prefix
    others = (
        f"p:bwtop/{mine}p_f f\np:kprobes/q f\np:other/bwtop_{gone}_1_p_f f\np:bwtop/bwtop_x f\n"
    )
    before = f"{others}r64:bwtop/bwtop_{gone}_1_r_f f+0\n"
    (tracefs / "kprobe_events").write_text(before)
    kprobes.Events(os.getpid())
    assert written(tracefs) == f"{before}-:bwtop/bwtop_{gone}_1_r_f"


def test_start_takes_away_what_one_with_the_same_pid_has_left(tracefs: Path) -> None:
    """As after a restart of a container, in which pids begin again."""
    left = f"bwtop_{os.getpid()}_4711_p_f"
    (tracefs / "kprobe_events").write_text(f"p:bwtop/{left} f\n")
    kprobes.Events(os.getpid())
    assert written(tracefs) == f"p:bwtop/{left} f\n-:bwtop/{left}"


def test_events_are_made_attached_and_taken_away(
    tracefs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached = []

    def attach(event: int, program: int) -> int:
        attached.append((event, program))
        return 1000 + event

    def refuse(event: int, program: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(kprobes, "_open", attach)
    give_id(tracefs, "bwtop_7_9_r_tcp_sendmsg", 41)
    give_id(tracefs, "bwtop_7_9_p_tcp_sendmsg", 42)
    monkeypatch.setattr(kprobes, "_start", lambda _: "9")
    events = kprobes.Events(7)
    assert events.prefix == "bwtop_7_9_"
    assert events.attach(5, "tcp_sendmsg", at_return=True) == 1041
    assert written(tracefs) == "r4096:bwtop/bwtop_7_9_r_tcp_sendmsg tcp_sendmsg"
    (tracefs / "kprobe_events").write_text("")
    assert events.attach(6, "tcp_sendmsg", at_return=False) == 1042
    assert written(tracefs) == "p:bwtop/bwtop_7_9_p_tcp_sendmsg tcp_sendmsg"
    assert attached == [(41, 5), (42, 6)]
    (tracefs / "kprobe_events").write_text("")
    give_id(tracefs, "bwtop_7_9_p_f", 43)
    monkeypatch.setattr(kprobes, "_open", refuse)
    with pytest.raises(PermissionError):
        events.attach(5, "f", at_return=False)
    assert written(tracefs) == "p:bwtop/bwtop_7_9_p_f f"
    (tracefs / "kprobe_events").write_text("")
    events.remove()
    names = ("r_tcp_sendmsg", "p_tcp_sendmsg", "p_f")
    assert written(tracefs) == "".join(f"-:bwtop/bwtop_7_9_{name}" for name in names)


@pytest.mark.filterwarnings(
    "ignore:subprocess:ResourceWarning"
)  # it outlives its maker: that is its purpose
def test_what_is_left_behind_takes_the_events_away_at_the_end(
    tracefs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kprobes, "_open", lambda *_: 0)
    monkeypatch.setattr(kprobes, "_start", lambda _: "9")
    events = kprobes.Events(7)
    for name in ("bwtop_7_9_p_f", "bwtop_7_9_p_g"):
        give_id(tracefs, name, 1)
        events.attach(5, name[-1], at_return=False)
    (tracefs / "kprobe_events").write_text("")
    held = events.leave_sweeper()
    time.sleep(0.3)
    assert written(tracefs) == "", "not before the end"
    os.close(held)
    deadline = time.monotonic() + 30
    while written(tracefs).count("\n") < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert written(tracefs) == "-:bwtop/bwtop_7_9_p_f\n-:bwtop/bwtop_7_9_p_g\n"


def test_functions_that_are_there_once_can_be_hooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kallsyms = tmp_path / "kallsyms"
    kallsyms.write_text(
        "ffffffff81000000 T once\n"
        "ffffffff81000010 t of_a_module\t[ipv6]\n"
        "ffffffff81000020 t twice\n"
        "ffffffff81000030 t twice\n"
        "ffffffff81000040 t changed.isra.0\n"
        "ffffffff81000050 D data\n"
        "ffffffff81000060 b once\n"
    )
    monkeypatch.setattr(kprobes, "_KALLSYMS", kallsyms)
    assert kprobes.symbols.__wrapped__() == {"once", "of_a_module", "changed.isra.0"}


@pytest.mark.kernel
def test_functions_of_the_running_kernel_are_known() -> None:
    assert {"tcp_sendmsg", "tcp_recvmsg", "udp_sendmsg", "udp_recvmsg"} <= kprobes.symbols()
    assert "jiffies" not in kprobes.symbols(), "data is no function"
