"""Rights of a process before and after it drops root; each test asks in a process of its own."""

import json
import os
import select
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bwtop.rights import privileges
from bwtop.rights.account import NOBODY, Account
from bwtop.rights.privileges import CAP_BPF, CAP_KILL, CAP_PERFMON, CAP_SYS_ADMIN
from tests.kernel.running import HANG
from tests.kernel.test_privileges import with_only
from tests.processes import capability_sets, ran, status

pytestmark = pytest.mark.kernel

CAP_NET_ADMIN = 12
SOMEBODY = Account(1234, 1234)

With = Callable[..., Callable[[str], Any]]


def in_child(function: Callable[[], object]) -> Any:
    """Call a function in a forked process; return its result, or the name of the exception that it raises."""
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


def state() -> dict[str, Any]:
    """Return the ids and the rights of this thread."""
    now = status("thread-self")
    return {
        "uid": now["Uid"].split(),
        "gid": now["Gid"].split(),
        "groups": now["Groups"].split(),
        "no_new_privs": now["NoNewPrivs"],
        "capabilities": capability_sets("thread-self"),
    }


def capabilities(*kept: int) -> dict[str, list[int]]:
    """Return the sets of a process with these permitted and in effect; none is ever handed on."""
    held = sorted(kept)
    return {"CapInh": [], "CapPrm": held, "CapEff": held, "CapBnd": [], "CapAmb": []}


@pytest.fixture(name="readable", scope="module")
def _readable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a copy of the package that every user can read; pytest's own folders are root's alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        copy = Path(folder)
        copy.chmod(0o755)
        package = Path(privileges.__file__).parents[1]
        (copy / "bwtop").mkdir()
        for source in (package / "__init__.py", *(package / "rights").glob("*.py")):
            target = copy / source.relative_to(package.parent)
            target.parent.mkdir(exist_ok=True)
            target.write_text(source.read_text())
        yield copy


@pytest.fixture(name="somebody_with", scope="module")
def _somebody_with(readable: Path) -> With:
    """Return an evaluator of expressions in a process of setpriv's with some capabilities and no others."""

    def with_these(*caps: int) -> Callable[[str], Any]:
        return lambda expression: evaluated(readable, with_only(*caps), expression)

    return with_these


def evaluated(readable: Path, prefix: list[str], expression: str) -> Any:
    program = (
        f"import json, os, sys\nsys.path.insert(0, {str(readable)!r})\nfrom bwtop.rights.account import *\n"
        f"from bwtop.rights.privileges import *\nfrom bwtop.rights.privileges import _held\n"
        f"print(json.dumps({expression}))"
    )
    command = [*prefix, "/usr/bin/python3", "-c", program]
    result = ran(command)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


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
def test_others_may_load_with_the_capabilities_for_it(
    somebody_with: With, caps: tuple[int, ...], may: bool
) -> None:
    assert somebody_with(*caps)("(may_load(), os.getuid())") == [may, SOMEBODY.uid]
    assert in_child(privileges.may_load) is True, "root"


def needing(*caps: int) -> Callable[[], None]:
    """Return a reader that needs all of these in effect, as the kernel does."""

    def read() -> None:
        assert os.geteuid() == NOBODY.uid, "asked by a process that is root no more"
        if not set(caps) <= set(capability_sets("thread-self")["CapEff"]):
            raise PermissionError(1, "Operation not permitted")

    return read


@pytest.mark.parametrize("caps", [(), (CAP_BPF,), (CAP_SYS_ADMIN,)])
def test_no_more_is_needed_than_reading_needs(caps: tuple[int, ...]) -> None:
    before = state()
    assert privileges.needed(needing(*caps)) == caps
    assert state() == before, "found out by others"


def refuse() -> None:
    raise PermissionError(1, "Operation not permitted")


def die() -> None:
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("read", [refuse, {}.popitem, die], ids=["refused", "broken", "killed"])
def test_reading_that_never_works_needs_the_most_there_is(read: Callable[[], object]) -> None:
    assert privileges.needed(read) == (CAP_SYS_ADMIN,)


def test_what_is_not_held_cannot_be_found_to_be_enough(somebody_with: With) -> None:
    read = (
        "(lambda: (_ for _ in ()).throw(PermissionError(1, ''))"
        f" if {CAP_BPF} not in _held('CapEff') else None)"
    )
    assert somebody_with(CAP_BPF)(f"needed({read})") == [CAP_BPF]
    assert somebody_with(CAP_PERFMON)(f"needed({read})") == [CAP_SYS_ADMIN]


@pytest.mark.parametrize("kept", [(), (CAP_BPF,), (CAP_KILL, CAP_BPF), (CAP_SYS_ADMIN,)])
@pytest.mark.parametrize("account", [NOBODY, Account(SOMEBODY.uid, SOMEBODY.gid + 1)])
def test_root_is_left_for_good_but_for_what_is_kept(
    account: Account, kept: tuple[int, ...]
) -> None:
    def drop() -> tuple[dict[str, Any], str]:
        privileges.drop(account, keep=kept)
        with pytest.raises(PermissionError):
            os.setuid(0)
        return state(), privileges.described()

    after, described = in_child(drop)
    assert after == {
        "uid": [str(account.uid)] * 4,
        "gid": [str(account.gid)] * 4,
        "groups": [str(account.gid)] if account == NOBODY else [],
        "no_new_privs": "1",
        "capabilities": capabilities(*kept),
    }
    assert described.startswith(f"uid {account.uid}, capabilities: ")
    assert ("CAP_BPF" in described) is (CAP_BPF in kept)
    assert described.endswith(", bounding set: empty, no_new_privs: yes")


@pytest.mark.parametrize(
    ("kept", "left"), [((), []), ((CAP_BPF,), [CAP_BPF]), ((CAP_BPF, CAP_SYS_ADMIN), [CAP_BPF])]
)
def test_who_is_not_root_stays_who_they_are(
    somebody_with: With, kept: tuple[int, ...], left: list[int]
) -> None:
    """What they do not hold they cannot keep; that is no error."""
    uid, effective, permitted = somebody_with(CAP_BPF, CAP_PERFMON)(
        f"(drop(Account(4711, 4711), keep={kept}), os.getresuid(),"
        " sorted(_held('CapEff')), sorted(_held('CapPrm')))[1:]"
    )
    assert uid == [SOMEBODY.uid] * 3
    assert effective == permitted == left


@pytest.mark.parametrize(
    "account", [Account(0, 0), Account(0, 5), Account(2**32 - 1, 5), Account(-1, 5)]
)
def test_root_is_not_left_for_root(account: Account) -> None:
    """(uid_t)-1 would leave the user as it is: setresuid(2)."""

    def drop() -> None:
        privileges.drop(account)

    assert in_child(drop) == "PrivilegeError"


@pytest.mark.parametrize(
    "broken",
    ["setresuid", "setresgid", "setgroups", "_set_capabilities", "_empty_bounding_set", "_prctl"],
)
def test_step_that_changes_nothing_is_noticed(broken: str) -> None:
    """A kernel, or a seccomp filter, that says yes and does nothing."""

    def drop() -> None:
        os.setgroups([4])
        where = os if hasattr(os, broken) else privileges
        setattr(where, broken, lambda *_: None)
        privileges.drop(SOMEBODY, keep=(CAP_KILL,))

    assert in_child(drop) in ("PrivilegeError", "OSError")


def test_child_dies_with_its_parent() -> None:
    reading, writing = os.pipe()

    def start() -> None:
        parent = os.getpid()
        if os.fork() == 0:
            privileges.die_with_parent(parent)
            os.write(writing, b"ready")
            signal.pause()
        signal.pause()

    parent = os.fork()
    if parent == 0:
        os.close(reading)
        start()
    os.close(writing)
    assert os.read(reading, 5) == b"ready"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert select.select([reading], [], [], HANG)[0], "the child has its end of the pipe still"
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_child_of_a_parent_that_is_gone_ends() -> None:
    assert in_child(lambda: privileges.die_with_parent(os.getppid())) is None
    pid = os.fork()
    if pid == 0:
        privileges.die_with_parent(os.getppid() + 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
