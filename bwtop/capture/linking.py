"""Puts a function behind a program that calls it, which BCC's compiler does not do.

The C code calls a helper of a number that the kernel has none for; here that becomes a call of the function, whose
instructions are appended.  Encoding: Documentation/bpf/standardization/instruction-set.rst, "Program-local functions".
"""

import struct
from collections.abc import Iterator
from typing import Final

IDENTIFY_CALL: Final = 0x7FFF
"""The number by which programs call bwtop_identify()."""

_INSTRUCTION: Final = struct.Struct("<BBhi")
_CALL: Final = 0x85  # BPF_JMP | BPF_CALL
_PSEUDO_CALL: Final = 1 << 4  # BPF_PSEUDO_CALL as the source register
_LOAD_64: Final = 0x18  # the one instruction of two slots


def link(program: bytes, function: bytes) -> bytes:
    """The program with the function behind it, if it calls it."""
    calls = list(_calls(program))
    if not calls:
        return program
    linked = bytearray(program + function)
    end = len(program) // _INSTRUCTION.size
    for position in calls:
        offset = end - position - 1  # counted from the instruction that follows
        _INSTRUCTION.pack_into(linked, position * _INSTRUCTION.size, _CALL, _PSEUDO_CALL, 0, offset)
    return bytes(linked)


def _calls(program: bytes) -> Iterator[int]:
    """The places, in instructions, of calls to the function."""
    second_slot = False
    for position, (code, registers, _, value) in enumerate(_INSTRUCTION.iter_unpack(program)):
        if not second_slot and code == _CALL and not registers >> 4 and value == IDENTIFY_CALL:
            yield position
        second_slot = not second_slot and code == _LOAD_64
