"""Offsets of fields in the kernel's structures, from its headers: for kernels without BTF.

The compiler makes a function for each field, whose instructions hold the offset.  Fields that the headers do not have,
such as those of struct mount, are left out.
"""

import functools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bwtop.capture.btf import Field, Function, MissingFieldError
from bwtop.capture.fields import FIELDS
from bwtop.capture.kprobes import symbols

_INCLUDES: Final = (
    "linux/cgroup.h",
    "linux/cred.h",
    "linux/dcache.h",
    "linux/fs.h",
    "linux/kernfs.h",
    "linux/mm_types.h",
    "linux/mount.h",
    "linux/net.h",
    "linux/sched.h",
    "linux/sched/signal.h",
    "linux/skbuff.h",
    "linux/tcp.h",
    "linux/udp.h",
    "net/flow.h",
    "net/inet_sock.h",
    "net/sock.h",
    "net/tcp.h",
)

_FLAGS: Final = "FLAGS"
_FLAGS_POSITION: Final = """
int at_FLAGS(void *ctx)
{
	return __builtin_types_compatible_p(__typeof__(tcp_recvmsg),
		int(struct sock *, struct msghdr *, size_t, int, int, int *)) ? 4 : 3;
}
"""
"""Before 5.19 another argument stands before the flags; all functions named recvmsg are alike."""

_ERROR: Final = re.compile(r"^([A-Z0-9_]+):\d+:\d+: (?:fatal )?error: (.*)$", re.MULTILINE)
_INSTRUCTION: Final = struct.Struct("<BBhi")
_LOADS: Final = {0x61: 4, 0x69: 2, 0x71: 1, 0x79: 8}
"""Bytes that the instructions BPF_LDX | BPF_MEM load, by their code."""
# Each for 32 and for 64 bits: BPF_ALU and BPF_ALU64 with an immediate value; _COPIES with a register.
_ANDS: Final = (0x54, 0x57)
_LEFT_SHIFTS: Final = (0x64, 0x67)
_RIGHT_SHIFTS: Final = (0x74, 0x77)
_MOVES: Final = (0xB4, 0xB7)
_COPIES: Final = (0xBC, 0xBF)
_EXIT: Final = 0x95

Compile = Callable[[str], tuple[Callable[[str], bytes] | None, str]]
"""Compiles a text with the kernel's headers; returns the instructions of its functions by name (None on errors),
and the compiler's messages."""


@dataclass
class Headers:
    """The running kernel's headers; raises OSError when they cannot be used."""

    compile: Compile
    _found: dict[str, Field] = field(default_factory=dict)
    _flags: int = 0

    def __post_init__(self) -> None:
        questions = {f"F{n}": _question(path) for n, path in enumerate(_paths())}
        answers = self._ask(questions)
        self._flags = answers.pop(_FLAGS).bits // 8
        self._found = {
            path: answers[f"F{n}"] for n, path in enumerate(_paths()) if f"F{n}" in answers
        }

    def field(self, path: str) -> Field:
        """Return the place of "struct.member.member"; raises MissingFieldError."""
        try:
            return self._found[path]
        except KeyError:
            raise MissingFieldError(path) from None

    def function(self, name: str) -> Function:
        """Return a function of the kernel's symbols, only its flags named; raises MissingFieldError."""
        if name not in symbols():
            raise MissingFieldError(name)
        return Function(0, (*("" for _ in range(self._flags)), "flags"))

    def _ask(self, questions: dict[str, str]) -> dict[str, Field]:
        """Compile, without the fields that the headers lack, until there is no error: two or three times."""
        while True:
            functions, said = self.compile(_text(questions))
            if functions:
                return {name: _decode(functions(f"at_{name}")) for name in (*questions, _FLAGS)}
            faults = {name: fault for name, fault in _ERROR.findall(said) if name in questions}
            if not faults:
                raise OSError(_complaint(said))
            for name, fault in faults.items():
                _reconsider(questions, name, fault)


@functools.cache
def _paths() -> tuple[str, ...]:
    return tuple(path for paths in FIELDS.values() for path in paths)


def _question(path: str) -> str:
    structure, _, member = path.partition(".")
    return f"return __builtin_offsetof(struct {structure}, {member});"


def _reconsider(questions: dict[str, str], name: str, fault: str) -> None:
    """Change the question about a bit-field, which has no offset; drop the one about a missing field."""
    match = re.fullmatch(r"return __builtin_offsetof\((.*), (.*)\);", questions[name])
    if match and "bit-field" in fault:
        questions[name] = f"return (({match[1]} *)ctx)->{match[2]};"
    else:
        del questions[name]


def _text(questions: Mapping[str, str]) -> str:
    includes = "".join(f"#include <{name}>\n" for name in _INCLUDES)
    functions = "".join(
        f'#line 1 "{name}"\nint at_{name}(void *ctx) {{ {question} }}\n'
        for name, question in questions.items()
    )
    return f"{includes}{functions}{_FLAGS_POSITION}"


def _decode(instructions: bytes) -> Field:
    """Return the field of a function that returns its offset, or the value of a bit-field.

    Values are lists of bits, lowest first: their numbers in the structure, or None for those that were masked out.
    """
    registers: dict[int, list[int | None]] = {}
    for code, both, offset, value in _INSTRUCTION.iter_unpack(instructions):
        target, source = both & 15, both >> 4
        if code in _LOADS:
            registers[target] = list(range(offset * 8, (offset + _LOADS[code]) * 8))
        elif code in _COPIES:
            registers[target] = registers.get(source, [])
        elif code in _MOVES and target == 0:
            return Field(value * 8, 0)
        elif code in _RIGHT_SHIFTS:
            registers[target] = registers[target][value:]
        elif code in _LEFT_SHIFTS:
            registers[target] = ([None] * value + registers[target])[: 64 if code & 7 == 7 else 32]
        elif code in _ANDS:
            mask = value & 0xFFFFFFFF
            bits = enumerate(registers[target])
            registers[target] = [bit if mask >> n & 1 else None for n, bit in bits]
        elif code != _EXIT:
            raise OSError(
                f"the compiler answers by instructions of another kind: {instructions.hex()}"
            )
    found = [bit for bit in registers[0] if bit is not None]
    return Field(found[0], len(found))


def _complaint(said: str) -> str:
    lines = said.splitlines()
    return next((line for line in lines if "error" in line or "Unable" in line), "no headers")
