"""Questions to the kernel about its features, and the compiler's definitions from the answers."""

import os
import struct
from collections.abc import Callable
from functools import cache

import pytest

from bwtop.capture import features, libbpf
from bwtop.capture.attach import Attacher
from bwtop.capture.attempt import Attempt
from bwtop.capture.backends import FEXIT, KPROBE, TRACEPOINT, Kind
from bwtop.capture.btf import Btf, Function, MissingFieldError
from bwtop.capture.libbpf import RefusedError
from bwtop.capture.linking import CAST_CALL, CHARGE_CALL, link
from bwtop.capture.session import CaptureError, Loading
from bwtop.capture.sources import BPF_SOURCES
from tests.capture import natively
from tests.capture.natively import Instruction, instructions
from tests.processes import descriptors_of

OLD_PROGRAMS = natively.programs(KPROBE)
LAST_HELPER_OF_4_20 = 90  # bpf_msg_push_data(), uapi/linux/bpf.h
PROBE_READ_KERNEL = 113  # uapi/linux/bpf.h
MAP_IN_LOAD = 1  # BPF_PSEUDO_MAP_FD


class WithoutCast(Btf):
    """A kernel before 6.2."""

    def function(self, name: str) -> Function:
        if name == "bpf_rdonly_cast":
            raise MissingFieldError(name)
        return super().function(name)


@pytest.mark.parametrize(
    ("bits", "byteorder", "reason"),
    [
        (64, "little", ""),
        (32, "little", "this Python is 32-bit and little-endian; "),
        (64, "big", "this Python is 64-bit and big-endian; "),
    ],
)
def test_other_pythons_measure_nothing(bits: int, byteorder: str, reason: str) -> None:
    assert features.unsuited(bits, byteorder).startswith(reason)
    assert bool(features.unsuited(bits, byteorder)) == bool(reason)


def test_unsuited_python_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = features.unsuited(32)
    monkeypatch.setattr(features, "unsuited", lambda: reason)
    with pytest.raises(CaptureError) as raised:
        Loading().finish()
    assert str(raised.value) == reason


@pytest.mark.kernel
def test_kernel_that_takes_typed_programs_is_asked_for_the_cast() -> None:
    attacher = Attacher(Btf())
    asked: list[bytes] = []

    def load(instructions: bytes) -> None:
        asked.append(instructions)
        attacher.try_(TRACEPOINT.probes[0], instructions)

    assert features.cast(Btf(), load) == Btf().function("bpf_rdonly_cast").type_id
    assert len(asked) == 1


def test_kernel_without_the_cast_or_that_refuses_it_does_without() -> None:
    def refuse(instructions: bytes) -> None:
        raise RefusedError("EINVAL")

    assert features.cast(WithoutCast(), lambda _: None) == 0
    assert features.cast(Btf(), refuse) == 0


@pytest.mark.kernel
def test_with_the_cast_nothing_on_the_way_of_a_message_is_read_by_a_helper() -> None:
    """Only naming a process reads so (bwtop_charge), and addresses that are no structures' fields."""
    attempt = Attempt(TRACEPOINT, cast=1)
    module = natively.compiled(attempt)
    for name in ("bwtop_send", "bwtop_recv", "bwtop_adjust"):
        calls = [
            i.value for i in instructions(bytes(module.dump_func(name.encode()))) if i.code == 0x85
        ]
        assert PROBE_READ_KERNEL not in calls
        assert CAST_CALL in calls


def refusing(*macros: str) -> Callable[[bytes], None]:
    refused = {trial.instructions for trial in features.TRIALS if trial.macro in macros}
    assert len(refused) == len(macros)

    def load(instructions: bytes) -> None:
        if instructions in refused:
            raise RefusedError("EINVAL")

    return load


@pytest.mark.parametrize(
    ("refused", "defined"),
    [
        ((), {"-DTASK_STORAGE"}),  # a kernel of today
        (("TASK_STORAGE",), set()),  # 5.10
        (("TASK_STORAGE", "NO_KERNEL_READS"), {"-DNO_KERNEL_READS"}),  # 5.4
        (("TASK_STORAGE", "NO_KERNEL_READS", "NO_LOOPS"), {"-DNO_KERNEL_READS", "-DNO_LOOPS"}),
        # Carried back by a distribution: each is asked for by itself.
        (("NO_LOOPS",), {"-DTASK_STORAGE", "-DNO_LOOPS"}),
        (("NO_KERNEL_READS",), {"-DTASK_STORAGE", "-DNO_KERNEL_READS"}),
    ],
)
def test_what_is_refused_is_done_without(refused: tuple[str, ...], defined: set[str]) -> None:
    found = list(features.definitions(refusing(*refused)))
    assert set(found) == defined
    assert len(found) == len(defined)


def test_macros_of_trials_are_in_the_c_code() -> None:
    text = "".join(path.read_text() for path in BPF_SOURCES.glob("*.[ch]"))
    for trial in features.TRIALS:
        assert f"#ifdef {trial.macro}\n" in text or f"defined({trial.macro})" in text, trial.macro


def test_only_a_refusal_is_an_answer() -> None:
    """Without a descriptor left, say, nothing is known of the kernel."""

    def load(_: bytes) -> None:
        raise OSError(24, "Too many open files")

    with pytest.raises(OSError, match="Too many"):
        list(features.definitions(load))
    with pytest.raises(OSError, match="Too many"):
        features.may_call(load, features.TASK_STORAGE_GET)


@pytest.mark.parametrize(
    ("reason", "may"),
    [
        ("EINVAL (Invalid argument): unknown func bpf_task_storage_get#156", False),
        ("EINVAL (Invalid argument): invalid func unknown#156", False),
        (
            "EINVAL (Invalid argument): program of this type cannot use helper bpf_task_storage_get#156",
            False,
        ),
        ("EACCES (Permission denied): R1 type=ctx expected=map_ptr", True),
        ("EACCES (Permission denied): R1 !read_ok", True),
    ],
)
def test_refusal_of_a_helper_is_told_from_that_of_its_arguments(reason: str, may: bool) -> None:
    def load(instructions: bytes) -> None:
        first, *_ = natively.instructions(instructions)
        assert first == Instruction(0, 0x85, 0, 0, 156)
        raise RefusedError(reason)

    assert features.may_call(load, 156) is may


@pytest.mark.kernel
def test_running_kernel_has_all_of_it() -> None:
    """Linux 6.3 and newer, where the tests run."""
    attacher = Attacher(Btf())
    probe = FEXIT.probes[0]
    before = descriptors_of("anon_inode:")

    def load(instructions: bytes) -> None:
        attacher.try_(probe, instructions)

    assert list(features.definitions(load)) == ["-DTASK_STORAGE"]
    assert features.may_call(load, features.TASK_STORAGE_GET)
    assert not features.may_call(load, 9999)
    of_cgroups = next(one for one in TRACEPOINT.probes if one.kind is Kind.CGROUP)
    attacher.try_cgroup(of_cgroups, features.NOTHING)
    assert descriptors_of("anon_inode:") == before, "programs of trials are closed"


@cache
def old_program(name: str) -> bytes:
    """Return the program of an old kernel, as it is loaded."""
    module = natively.old_module(KPROBE)
    return link(
        bytes(module.dump_func(name.encode())), natively.functions(natively.old_module(KPROBE))
    )


@pytest.mark.kernel
@pytest.mark.parametrize(("name", "kind"), OLD_PROGRAMS.items())
def test_program_for_old_kernels_is_short_and_without_loops(name: str, kind: Kind) -> None:
    """Before 5.2 a program may have 4096 instructions (BPF_MAXINSNS), its functions included.

    Before 5.3 no jump may lead back to where it came from: check_cfg() in kernel/bpf/verifier.c of those.  This kernel
    takes it, too.
    """
    program = old_program(name)
    assert len(program) // 8 <= 4096
    charge = natively.functions(natively.old_module(KPROBE))[CHARGE_CALL]
    assert not has_loop(program.removesuffix(charge))
    assert not has_loop(charge)
    kinds = {Kind.UNTYPED_TRACEPOINT: libbpf.PROG_TYPE_RAW_TRACEPOINT}
    os.close(libbpf.prog_load(kinds.get(kind, libbpf.PROG_TYPE_KPROBE), 0, name, program))


@pytest.mark.kernel
@pytest.mark.parametrize("name", OLD_PROGRAMS)
def test_program_for_old_kernels_has_only_what_4_20_knows(name: str) -> None:
    found = list(instructions(old_program(name)))
    calls = {i.value for i in found if i.code == 0x85 and i.source == 0}
    assert max(calls, default=0) <= LAST_HELPER_OF_4_20
    assert not [i for i in found if i.code & 7 == 6], "32-bit jumps came with 5.1"
    additions = [i for i in found if i.code in (0xC3, 0xDB)]
    assert not [i for i in additions if i.value], "atomic operations but additions came with 5.12"
    loads = {i.source for i in found if i.code == 0x18}
    assert loads <= {0, MAP_IN_LOAD}, "global data came with 5.2"


def has_loop(instructions: bytes) -> bool:
    """Return True if any instruction can come after itself, without calls: check_cfg() looked for that."""
    decoded = list(struct.iter_unpack("<BBhi", instructions))

    def following(place: int) -> list[int]:
        code, _, offset, _ = decoded[place]
        if code == 0x95:  # exit
            return []
        if code == 0x18:  # two slots
            return [place + 2]
        if code & 7 not in (5, 6) or code == 0x85:  # no jump, or a call
            return [place + 1]
        return [place + 1 + offset] if code == 0x05 else [place + 1, place + 1 + offset]

    done: set[int] = set()
    path: list[tuple[int, list[int]]] = [(0, following(0))]
    under_way = {0}
    while path:
        place, left = path[-1]
        if not left:
            path.pop()
            under_way.discard(place)
            done.add(place)
            continue
        after = left.pop()
        if after in under_way:
            return True
        if after not in done:
            under_way.add(after)
            path.append((after, following(after)))
    return False
