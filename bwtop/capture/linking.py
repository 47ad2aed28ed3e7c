"""Calls that BCC's compiler cannot make: of a function behind the program, and of a function of the kernel.

The C code calls helpers by numbers that no helper has.  One number becomes a call of the function, whose instructions
are appended; the other becomes a call of bpf_rdonly_cast().  Encoding: "Call instructions" and "Program-local
functions" in Documentation/bpf/standardization/instruction-set.rst.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

CHARGE_CALL: Final = 0x7FFF
"""The number by which programs call bwtop_charge()."""

CAST_CALL: Final = 0x7FFE
"""The number by which programs call bpf_rdonly_cast()."""

_INSTRUCTION: Final = struct.Struct("<BBhi")
_CALL: Final = 0x85  # BPF_JMP | BPF_CALL
_PSEUDO_CALL: Final = 1 << 4  # BPF_PSEUDO_CALL as the source register
_KERNEL_CALL: Final = 2 << 4  # BPF_PSEUDO_KFUNC_CALL
_LOAD_64: Final = 0x18  # the one instruction of two slots
_MAP_LOADS: Final = (1, 2)  # BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE
_VALUE: Final = struct.Struct("<i")  # the second half of an instruction


def link(program: bytes, function: bytes, cast: int = 0) -> bytes:
    """Return the program with its calls resolved, and the function behind it if called.

    cast: the BTF id of bpf_rdonly_cast().
    """
    linked = bytearray(program)
    end = len(program) // _INSTRUCTION.size
    for position, called in _calls(program):
        at = position * _INSTRUCTION.size
        if called == CAST_CALL:
            _INSTRUCTION.pack_into(linked, at, _CALL, _KERNEL_CALL, 0, cast)
        elif called == CHARGE_CALL:
            offset = end - position - 1  # counted from the instruction that follows
            _INSTRUCTION.pack_into(linked, at, _CALL, _PSEUDO_CALL, 0, offset)
            linked[len(program) :] = function
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
