"""Offsets of fields in the running kernel's structures, from its own BTF (/sys/kernel/btf/vmlinux).

Format: Documentation/bpf/btf.rst.  libbpf reads and indexes it (about 10 ms); this module walks the members.
"""

import ctypes
import functools
from dataclasses import dataclass
from typing import Final, Protocol

from bwtop.capture.libbpf import library

_KIND_STRUCT: Final = 4
_KIND_UNION: Final = 5
_KIND_TYPEDEF: Final = 8
_KIND_FUNC: Final = 12
_KIND_FUNC_PROTO: Final = 13
_QUALIFIERS: Final = frozenset(
    {_KIND_TYPEDEF, 9, 10, 11, 18}
)  # typedef, volatile, const, restrict, type_tag


class MissingFieldError(Exception):
    """This kernel's BTF has no such type or member."""


class _Type(ctypes.Structure):
    """struct btf_type."""

    _fields_ = [("name_off", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32)]


class _Member(ctypes.Structure):
    """struct btf_member."""

    _fields_ = [
        ("name_off", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    ]


class _Param(ctypes.Structure):
    """struct btf_param."""

    _fields_ = [("name_off", ctypes.c_uint32), ("type", ctypes.c_uint32)]


@dataclass(frozen=True)
class Function:
    """A kernel function's prototype."""

    type_id: int
    parameters: tuple[str, ...]
    """Their names, in order."""


@dataclass(frozen=True)
class Field:
    """A member's place: bits from the start of its structure; width in bits, 0 unless it is a bit-field."""

    bits: int
    width: int

    @property
    def offset(self) -> int:
        """Bytes from the start of the structure."""
        return self.bits // 8

    @property
    def mask(self) -> int:
        """The bits of the byte at `offset` that hold the field (little-endian layout)."""
        return ((1 << (self.width or 8)) - 1) << (self.bits % 8)


class Kernel(Protocol):
    """A source of facts about the running kernel's structures and functions: Btf, or capture.headers.Headers."""

    def field(self, path: str) -> Field:
        """Return the place of "struct.member.member"; raises MissingFieldError."""

    def function(self, name: str) -> Function:
        """Return a function that can be hooked; raises MissingFieldError."""


@functools.cache
def _vmlinux() -> int:
    """Load it once for all backends: it takes 6 MB.  Raises OSError."""
    found = library().btf__load_vmlinux_btf()
    if not found:
        raise OSError(ctypes.get_errno(), "the kernel offers no BTF (/sys/kernel/btf/vmlinux)")
    return int(found)


class Btf:
    """The running kernel's type information; raises OSError when it offers none."""

    def __init__(self) -> None:
        self._lib = library()
        self._btf = _vmlinux()

    def tracepoint(self, name: str) -> int:
        """Return the BTF id of the type that a program for the tracepoint attaches to; raises MissingFieldError."""
        return self._find(f"btf_trace_{name}", _KIND_TYPEDEF)

    def iterator(self, name: str) -> int:
        """Return the BTF id of the function that an iterator program attaches to; raises MissingFieldError."""
        return self._find(f"bpf_iter_{name}", _KIND_FUNC)

    def function(self, name: str) -> Function:
        """Return a function that is not inlined everywhere; raises MissingFieldError."""
        type_id = self._find(name, _KIND_FUNC)
        address = self._lib.btf__type_by_id(self._btf, type_id)
        address = self._lib.btf__type_by_id(self._btf, _Type.from_address(address).size)
        head = _Type.from_address(address)
        assert head.info >> 24 & 0x1F == _KIND_FUNC_PROTO, name
        params = (_Param * (head.info & 0xFFFF)).from_address(address + ctypes.sizeof(_Type))
        names = (self._lib.btf__name_by_offset(self._btf, param.name_off) for param in params)
        return Function(type_id, tuple(name.decode() for name in names))

    def structure(self, name: str) -> int:
        """Return the BTF id of a structure; raises MissingFieldError."""
        return self._find(name, _KIND_STRUCT)

    def field(self, path: str) -> Field:
        """Return the place of "struct.member.member"; raises MissingFieldError.

        Members of anonymous structures count as members of their parent.
        """
        struct, *members = path.split(".")
        type_id = self.structure(struct)
        bits = width = 0
        for name in members:
            found = self._member(type_id, name)
            if found is None:
                raise MissingFieldError(path)
            type_id, at, width = found
            bits += at
        return Field(bits, width)

    def _find(self, name: str, kind: int) -> int:
        type_id = int(self._lib.btf__find_by_name_kind(self._btf, name.encode(), kind))
        if type_id < 0:
            raise MissingFieldError(name)
        return type_id

    def _resolve(self, type_id: int) -> tuple[int, _Type]:
        """Return the address and head of a type, behind typedefs and qualifiers."""
        while True:
            address = self._lib.btf__type_by_id(self._btf, type_id)
            head = _Type.from_address(address)
            if head.info >> 24 & 0x1F not in _QUALIFIERS:
                return address, head
            type_id = head.size

    def _member(self, type_id: int, wanted: str) -> tuple[int, int, int] | None:
        """Return (type, bit offset, bit-field width) of a member, or None; depth first through anonymous ones."""
        address, head = self._resolve(type_id)
        if head.info >> 24 & 0x1F not in (_KIND_STRUCT, _KIND_UNION):
            return None
        has_bitfields = head.info >> 31
        members = (_Member * (head.info & 0xFFFF)).from_address(address + ctypes.sizeof(_Type))
        for member in members:
            bits = member.offset & 0xFFFFFF if has_bitfields else member.offset
            width = member.offset >> 24 if has_bitfields else 0
            name = self._lib.btf__name_by_offset(self._btf, member.name_off).decode()
            if name == wanted:
                return member.type, bits, width
            inner = None if name else self._member(member.type, wanted)
            if inner:
                return inner[0], bits + inner[1], inner[2]
        return None
