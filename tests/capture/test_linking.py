"""Programs with the function behind them that they call."""

import struct

import pytest

from bwtop.capture.backends import BACKENDS, KPROBE, Backend
from bwtop.capture.linking import CAST_CALL, CHARGE_CALL, link, map_loads, with_maps
from tests.capture import natively
from tests.capture.natively import instructions

FUNCTION = bytes.fromhex("b700000000000000 9500000000000000")
EXIT = bytes.fromhex("9500000000000000")


def instruction(code: int, registers: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, registers, 0, value)


FUNCTIONS = {CHARGE_CALL: FUNCTION}

CALL = instruction(0x85, value=CHARGE_CALL)


@pytest.mark.parametrize("before", [0, 1, 7])
@pytest.mark.parametrize("after", [1, 5])
def test_call_leads_to_the_function_behind_the_program(before: int, after: int) -> None:
    program = instruction(0xB7) * before + CALL + EXIT * after
    linked = link(program, FUNCTIONS)
    assert linked[len(program) :] == FUNCTION
    code, registers, _, offset = struct.unpack_from("<BBhi", linked, before * 8)
    assert (code, registers >> 4) == (0x85, 1), "a call within the program"
    target = before + 1 + offset  # counted from the next instruction
    assert target == len(program) // 8
    assert linked[: before * 8] == program[: before * 8]
    assert linked[(before + 1) * 8 : len(program)] == EXIT * after


def test_other_calls_are_left_alone() -> None:
    """Of a helper, and of a function that the program had before, whose offset may look like the number."""
    helper = instruction(0x85, value=CHARGE_CALL - 2)
    within = instruction(0x85, registers=0x10, value=CHARGE_CALL)
    linked = link(helper + within + CALL + EXIT, FUNCTIONS)
    assert linked[:16] == helper + within


def test_every_call_leads_to_the_one_copy() -> None:
    linked = link(CALL + CALL + EXIT, FUNCTIONS)
    assert len(linked) == 3 * 8 + len(FUNCTION)
    offsets = [struct.unpack_from("<BBhi", linked, place * 8)[3] for place in (0, 1)]
    assert offsets == [2, 1]


def test_call_of_the_cast_is_one_of_the_kernel() -> None:
    program = instruction(0x85, value=CAST_CALL) + EXIT
    assert link(program, FUNCTIONS, 4711) == instruction(0x85, registers=0x20, value=4711) + EXIT


def test_numbers_that_look_like_a_call_are_left_alone() -> None:
    """The second half of a 64-bit load is no instruction."""
    program = instruction(0x18) + CALL + EXIT
    assert link(program, FUNCTIONS) == program


def test_call_right_behind_a_64_bit_load_is_one() -> None:
    program = instruction(0x18) + instruction(0x18) + CALL + EXIT
    linked = link(program, FUNCTIONS)
    assert linked == program[:16] + instruction(0x85, registers=0x10, value=1) + EXIT + FUNCTION


def test_maps_of_a_program_are_found_and_replaced() -> None:
    """By their descriptors, of which a 64-bit load has one of two kinds; a number that looks like one is left alone."""
    second = instruction(0)
    number = instruction(0x18, value=7) + instruction(0x18, registers=0x10, value=8)
    address = instruction(0x18, registers=0x11, value=9) + second
    value = instruction(0x18, registers=0x22, value=10) + second
    program = number + address + CALL + value + EXIT
    loads = list(map_loads(program))
    assert loads == [(16, 9), (40, 10)]
    assert with_maps(program, loads) == program
    moved = with_maps(program, [(place, descriptor + 100) for place, descriptor in loads])
    assert list(map_loads(moved)) == [(16, 109), (40, 110)]
    assert with_maps(moved, loads) == program


CALLERS = {"fexit": "bwtop_tcp_sendmsg", "tracepoint": "bwtop_send", "kprobe": "bwtop_tcp_sendmsg"}


def ends(function: bytes) -> bool:
    """Return True if a function cannot run into the one behind it: check_subprogs() in kernel/bpf/verifier.c asks for that."""
    return list(instructions(function))[-1].code in (0x95, 0x05)  # exit, goto


@pytest.mark.kernel
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_what_bcc_compiles_ends_with_the_function_if_it_calls_it(backend: Backend) -> None:
    module = natively.old_module(KPROBE) if backend is KPROBE else natively.module(backend)
    functions = natively.functions(module)
    assert (len(functions) > 1) is (backend is not KPROBE)
    assert all(map(ends, functions.values()))
    callers = set()
    for name in natively.programs(backend):
        if backend is not KPROBE and name == "bwtop_inet_sendpage":
            continue  # gone in 6.5
        program = bytes(module.dump_func(name.encode()))
        linked = link(program, functions)
        calls = [i for i in instructions(program) if i.code == 0x85]
        to_link = {i.place: i.value for i in calls if i.value in functions}
        assert all(i.source == 0 for i in calls), "BCC makes no calls of functions itself"
        if not to_link:
            assert linked == program
            continue
        callers.add(name)
        assert ends(program)
        behind = dict.fromkeys(to_link.values())
        assert linked[len(program) :] == b"".join(functions[number] for number in behind)
        for old, new in zip(instructions(program), instructions(linked), strict=False):
            if old.place in to_link:
                assert (new.code, new.source, new.offset) == (0x85, 1, 0)
                start = (new.place + 1 + new.value) * 8
                assert linked[start:].startswith(functions[to_link[old.place]])
            else:
                assert new == old
    assert CALLERS[backend.name] in callers
    assert "bwtop_exit" not in callers
