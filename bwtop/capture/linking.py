"""Calls that BCC's compiler cannot make: of functions behind the program, and of a function of the kernel.

The C code calls helpers by numbers that no helper has.  Some become calls of a function, whose instructions
are appended; another becomes a call of bpf_rdonly_cast().  Encoding: "Call instructions" and "Program-local
functions" in Documentation/bpf/standardization/instruction-set.rst.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

CHARGE_CALL: Final = 0x7FFF
"""The number by which programs call bwtop_charge()."""

CAST_CALL: Final = 0x7FFE
"""The number by which programs call bpf_rdonly_cast()."""

LISTEN_CALL: Final = 0x7FFD
"""The number by which programs call bwtop_listen()."""

_INSTRUCTION: Final = struct.Struct("<BBhi")
_CALL: Final = 0x85  # BPF_JMP | BPF_CALL
_PSEUDO_CALL: Final = 1 << 4  # BPF_PSEUDO_CALL as the source register
_KERNEL_CALL: Final = 2 << 4  # BPF_PSEUDO_KFUNC_CALL
_LOAD_64: Final = 0x18  # the one instruction of two slots
_MAP_LOADS: Final = (1, 2)  # BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE
_VALUE: Final = struct.Struct("<i")  # the second half of an instruction


def link(program: bytes, functions: Mapping[int, bytes], cast: int = 0) -> bytes:
    """Return the program with its calls resolved, and behind it the functions that it calls.

    functions: by the numbers that they are called by.  cast: the BTF id of bpf_rdonly_cast().
    """
    linked = bytearray(program)
    places: dict[int, int] = {}
    for position, called in _calls(program):
        at = position * _INSTRUCTION.size
        if called == CAST_CALL:
            _INSTRUCTION.pack_into(linked, at, _CALL, _KERNEL_CALL, 0, cast)
        elif called in functions:
            if called not in places:
                places[called] = len(linked) // _INSTRUCTION.size
                linked += link(functions[called], {}, cast)
            offset = places[called] - position - 1  # counted from the instruction that follows
            _INSTRUCTION.pack_into(linked, at, _CALL, _PSEUDO_CALL, 0, offset)
    return bytes(linked)


def _calls(program: bytes) -> Iterator[tuple[int, int]]:
    """Yield the places of calls of helpers, in instructions, and the helpers' numbers."""
    second_slot = False
    for position, (code, registers, _, value) in enumerate(_INSTRUCTION.iter_unpack(program)):
        if not second_slot and code == _CALL and not registers >> 4:
            yield position, value
        second_slot = not second_slot and code == _LOAD_64


def map_loads(program: bytes) -> Iterator[tuple[int, int]]:
    """Yield the places where a program loads the address of a map, in bytes, and the maps' descriptors."""
    second_slot = False
    for position, (code, registers, _, value) in enumerate(_INSTRUCTION.iter_unpack(program)):
        if not second_slot and code == _LOAD_64 and registers >> 4 in _MAP_LOADS:
            yield position * _INSTRUCTION.size, value
        second_slot = not second_slot and code == _LOAD_64


def with_maps(program: bytes, maps: Iterable[tuple[int, int]]) -> bytes:
    """Return the program with other maps: pairs as `map_loads` yields them."""
    moved = bytearray(program)
    for place, descriptor in maps:
        _VALUE.pack_into(moved, place + _VALUE.size, descriptor)
    return bytes(moved)
