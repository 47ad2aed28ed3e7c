"""What a process may do before and after it has given up root; each is asked in a process of its own."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bwtop.capture import privileges
from bwtop.capture.privileges import CAP_BPF, CAP_KILL, CAP_PERFMON, CAP_SYS_ADMIN

pytestmark = pytest.mark.kernel

CAP_NET_ADMIN = 12
NOBODY = 65534
SOMEBODY = 1234

SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def in_child(function: Callable[[], object]) -> Any:
    """What the function returns in a forked process, or the name of what it raises."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                answer = function()
            except BaseException as error:
                answer = type(error).__name__
            os.write(writing, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(answer)


def status() -> dict[str, str]:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


def held(field: str = "CapEff") -> list[int]:
    mask = int(status()[field], 16)
    return [bit for bit in range(64) if mask >> bit & 1]


def state() -> dict[str, Any]:
    """Who this thread is and what it may do."""
    now = status()
    return {
        "uid": now["Uid"].split(),
        "gid": now["Gid"].split(),
        "groups": now["Groups"].split(),
        "no_new_privs": now["NoNewPrivs"],
        "capabilities": {field: held(field) for field in SETS},
    }


def capabilities(*kept: int) -> dict[str, list[int]]:
    """Those permitted and in effect; none is ever handed on."""
    return {"CapInh": [], "CapPrm": sorted(kept), "CapEff": sorted(kept), "CapAmb": []}


def somebody_with(*caps: int) -> Callable[[str], Any]:
    """Evaluates an expression in a process of setpriv's with these capabilities and no others.

    It may not be let into this checkout, so it gets the module's text.
    """
    names = ",".join(("-all", *(f"+cap_{number}" for number in caps)))
    text = Path(privileges.__file__).read_text()

    def ask(expression: str) -> Any:
        program = f"{text}\nimport json\nprint(json.dumps({expression}))"
        result = subprocess.run(
            [
                "setpriv",
                f"--reuid={SOMEBODY}",
                f"--regid={SOMEBODY}",
                "--clear-groups",
                f"--inh-caps={names}",
                f"--ambient-caps={names}",
                "/usr/bin/python3",
                "-c",
                program,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return ask


def test_root_may_load() -> None:
    assert in_child(privileges.may_load) is True


def test_root_without_any_capability_is_root_nevertheless() -> None:
    """The kernel decides, and its refusal is told; nobody is sent to become what they are."""

    def ask() -> bool:
        privileges._set_capabilities(0)
        return privileges.may_load()

    assert in_child(ask) is True


@pytest.mark.parametrize(
    ("caps", "may"),
    [
        ((CAP_BPF, CAP_PERFMON), True),
        ((CAP_SYS_ADMIN,), True),
        ((CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN), True),
        ((CAP_BPF,), False),
        ((CAP_PERFMON,), False),
        ((CAP_NET_ADMIN, CAP_KILL), False),
        ((), False),
    ],
)
def test_others_may_load_with_the_capabilities_for_it(caps: tuple[int, ...], may: bool) -> None:
    assert somebody_with(*caps)("(may_load(), os.getuid())") == [may, SOMEBODY]


def test_capability_that_is_not_in_effect_does_not_help() -> None:
    """Permitted ones can be out of effect, as in a process that was started by one that had them."""

    def ask() -> tuple[bool, list[int]]:
        os.setgroups([])
        privileges._prctl(privileges._PR_SET_KEEPCAPS)
        os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)
        return privileges.may_load(), held("CapPrm")

    may, permitted = in_child(ask)
    assert not may
    assert CAP_BPF in permitted


def needing(*caps: int) -> Callable[[], None]:
    """Reads if all of these are in effect, as the kernel would ask for them."""

    def read() -> None:
        assert os.geteuid() == NOBODY, "asked by a process that is root no more"
        if not set(caps) <= set(held()):
            raise PermissionError(1, "Operation not permitted")

    return read


@pytest.mark.parametrize("caps", [(), (CAP_BPF,), (CAP_SYS_ADMIN,)])
def test_no_more_is_needed_than_reading_needs(caps: tuple[int, ...]) -> None:
    before = state()
    assert privileges.needed(needing(*caps)) == caps
    assert state() == before, "found out by others"


def test_what_nobody_is_let_do_needs_the_most_there_is() -> None:
    def refuse() -> None:
        raise PermissionError(1, "Operation not permitted")

    assert privileges.needed(refuse) == (CAP_SYS_ADMIN,)


def test_reader_that_breaks_is_no_reader_that_works() -> None:
    def fail() -> None:
        raise KeyError

    def die() -> None:
        os.kill(os.getpid(), 9)

    for broken in (fail, die):
        assert privileges.needed(broken) == (CAP_SYS_ADMIN,)


def test_what_is_not_held_cannot_be_found_to_be_enough() -> None:
    read = (
        "(lambda: (_ for _ in ()).throw(PermissionError(1, ''))"
        f" if {CAP_BPF} not in _held('CapEff') else None)"
    )
    assert somebody_with(CAP_BPF)(f"needed({read})") == [CAP_BPF]
    assert somebody_with(CAP_PERFMON)(f"needed({read})") == [CAP_SYS_ADMIN]


@pytest.mark.parametrize("kept", [(), (CAP_BPF,), (CAP_KILL, CAP_BPF), (CAP_SYS_ADMIN,)])
def test_root_is_left_for_good_but_for_what_is_kept(kept: tuple[int, ...]) -> None:
    def drop() -> dict[str, Any]:
        privileges.drop(None, keep=kept)
        return state()

    assert in_child(drop) == {
        "uid": [str(NOBODY)] * 4,
        "gid": [str(NOBODY)] * 4,
        "groups": [str(NOBODY)],
        "no_new_privs": "1",
        "capabilities": capabilities(*kept),
    }


@pytest.mark.parametrize("kept", [(), (CAP_BPF,)])
def test_root_becomes_the_user_who_is_named(kept: tuple[int, ...]) -> None:
    def drop() -> dict[str, Any]:
        privileges.drop((SOMEBODY, SOMEBODY + 1), keep=kept)
        return state()

    after = in_child(drop)
    assert (after["uid"], after["gid"]) == ([str(SOMEBODY)] * 4, [str(SOMEBODY + 1)] * 4)
    assert after["groups"] == [], "root's are gone"
    assert after["capabilities"] == capabilities(*kept)


@pytest.mark.parametrize("kept", [(), (CAP_BPF,)])
def test_there_is_no_way_back(kept: tuple[int, ...]) -> None:
    def drop() -> None:
        privileges.drop(None, keep=kept)
        os.setuid(0)

    assert in_child(drop) == "PermissionError"


def test_none_of_it_goes_to_programs_that_are_started() -> None:
    def drop() -> list[str]:
        privileges.drop(None, keep=(CAP_BPF, CAP_KILL))
        text = subprocess.check_output(["/bin/cat", "/proc/self/status"], text=True)
        return [line.split()[1] for line in text.splitlines() if line.startswith(SETS)]

    assert {int(mask, 16) for mask in in_child(drop)} == {0}


@pytest.mark.parametrize(
    ("kept", "left"),
    [((), []), ((CAP_BPF,), [CAP_BPF]), ((CAP_BPF, CAP_SYS_ADMIN), [CAP_BPF])],
)
def test_who_is_not_root_stays_who_they_are(kept: tuple[int, ...], left: list[int]) -> None:
    """What they do not hold they cannot keep; that is no error."""
    uid, effective, permitted = somebody_with(CAP_BPF, CAP_PERFMON)(
        f"(drop(None, keep={kept}), os.getresuid(), sorted(_held('CapEff')), sorted(_held('CapPrm')))[1:]"
    )
    assert uid == [SOMEBODY] * 3
    assert effective == permitted == left


def test_who_is_not_root_does_not_become_the_user_who_is_named() -> None:
    ask = somebody_with(CAP_BPF)
    assert ask("(drop((4711, 4711)), os.getresuid())[1]") == [SOMEBODY] * 3
