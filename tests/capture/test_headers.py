"""Offsets out of what a compiler makes of the kernel's headers."""

import itertools
import os
import platform
import re
import struct
from collections.abc import Callable

import pytest

from bwtop.capture import headers
from bwtop.capture.btf import Field, MissingFieldError
from bwtop.capture.fields import FIELDS
from bwtop.capture.headers import Headers
from tests.capture import natively

EXIT = bytes.fromhex("9500000000000000")


def move(value: int) -> bytes:
    return struct.pack("<BBhi", 0xB7, 0, 0, value) + EXIT


@pytest.mark.parametrize(
    ("instructions", "field"),
    [
        (move(0), Field(0, 0)),
        (move(1234), Field(9872, 0)),
        # r0 = *(u8 *)(r1 + 20); r0 &= 0xf0; r0 >>= 4
        (bytes.fromhex("7110140000000000 57000000f0000000 7700000004000000") + EXIT, Field(164, 4)),
        # r0 = *(u8 *)(r1 + 21): a bit-field that fills its byte
        (bytes.fromhex("7110150000000000") + EXIT, Field(168, 8)),
        # r0 = *(u32 *)(r1 + 8); r0 &= 0xff00
        (bytes.fromhex("6110080000000000 5700000000ff0000") + EXIT, Field(72, 8)),
    ],
)
def test_place_is_read_off_the_instructions(instructions: bytes, field: Field) -> None:
    assert headers._decode(instructions) == field


class Compiler:
    """Knows these structures, and complains of the rest as clang does."""

    def __init__(self, offsets: dict[str, int], bit_fields: dict[str, bytes]) -> None:
        self._offsets, self._bit_fields = offsets, bit_fields
        self.runs = 0

    def __call__(self, text: str) -> tuple[Callable[[str], bytes] | None, str]:
        self.runs += 1
        lines = text.splitlines()
        answers, complaints = {"at_FLAGS": move(4)}, []
        for head, line in itertools.pairwise(lines):
            if not head.startswith("#line 1"):
                continue
            name = head.split('"')[1]
            what = line.partition("{ ")[2].removesuffix(" }")
            answer = self._answer(what)
            if isinstance(answer, bytes):
                answers[f"at_{name}"] = answer
            else:
                complaints.append(f"{name}:1:40: error: {answer}")
        if complaints:
            return None, "\n".join(complaints)
        return answers.__getitem__, ""

    def _answer(self, what: str) -> bytes | str:
        for path in {**self._offsets, **self._bit_fields}:
            structure, _, member = path.partition(".")
            if what == f"return __builtin_offsetof(struct {structure}, {member});":
                if path in self._bit_fields:
                    return f"cannot compute offset of bit-field '{member}'"
                return move(self._offsets[path])
            if f"((struct {structure} *)ctx)->{member}" in what:
                return self._bit_fields[path]
        return "no member named 'x' in 'struct y'"


@pytest.mark.parametrize(
    "fault",
    [
        "no member named '__parent' in 'struct kernfs_node'",
        "no member named '__parent' in 'kernfs_node'",
        "offsetof of incomplete type 'struct mount'",
        "offsetof requires struct, union, or class type, 'int' invalid",
    ],
)
def test_what_is_not_there_is_asked_for_no_more(fault: str) -> None:
    questions = {"F1": headers._question("a.b"), "F2": headers._question("a.c")}
    headers._reconsider(questions, "F1", fault)
    assert questions == {"F2": "return __builtin_offsetof(struct a, c);"}


def test_bit_field_is_asked_for_otherwise_and_only_once() -> None:
    fault = "cannot compute offset of bit-field 'repair'"
    questions = {"F1": headers._question("tcp_sock.inner.repair"), "F2": headers._question("a.c")}
    headers._reconsider(questions, "F1", fault)
    assert "((struct tcp_sock *)ctx)->inner.repair" in questions["F1"]
    assert "offsetof" not in questions["F1"]
    headers._reconsider(questions, "F1", fault)
    assert list(questions) == ["F2"], "or it would go on for ever"


def test_each_fault_is_told_by_the_name_of_its_question() -> None:
    """As clang writes it, with the line that is meant and notes about others."""
    said = """F12:1:31: error: no member named '__parent' in 'kernfs_node'
int at_F12(void *ctx) { return __builtin_offsetof(struct kernfs_node, __parent); }
                              ^                                      ~~~~~~~~
/virtual/main.c:1:66: note: bit-field is declared here
In file included from /virtual/main.c:4:
include/net/sock.h:1:31: error: unknown type name 'nobody'
F3:1:67: error: cannot compute offset of bit-field 'repair'
F4:1:8: warning: of no interest
"""
    assert headers._ERROR.findall(said) == [
        ("F12", "no member named '__parent' in 'kernfs_node'"),
        ("F3", "cannot compute offset of bit-field 'repair'"),
    ]


@pytest.mark.parametrize("fault", ["no member named 'x' in 'y'", "cannot compute: bit-field 'x'"])
def test_compiler_that_is_never_content_is_asked_no_longer_than_there_are_questions(
    fault: str,
) -> None:
    runs = 0

    def compile_(text: str) -> tuple[None, str]:
        nonlocal runs
        runs += 1
        names = re.findall(r'^#line 1 "(\w+)"$', text, re.MULTILINE)
        return None, "\n".join(f"{name}:1:1: error: {fault}" for name in names[:1])

    with pytest.raises(OSError, match="no headers"):
        Headers(compile_)
    assert runs <= 2 * sum(map(len, FIELDS.values())) + 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "no headers"),
        ("warning: of no interest\nnote: neither\n", "no headers"),
        ("in file x\ninclude/net/sock.h:7:1: error: no type 'u8'\nmore\n", "error: no type 'u8'"),
        (
            "/virtual/main.c:3:10: fatal error: 'linux/fs.h' file not found\n",
            "'linux/fs.h' file not found",
        ),
        # Only of what was asked for can be done without.
        ("FLAGS:1:1: error: use of undeclared identifier 'tcp_recvmsg'\n", "'tcp_recvmsg'"),
    ],
)
def test_nothing_understandable_is_told_in_one_line(said: str, reason: str) -> None:
    with pytest.raises(OSError, match=reason) as raised:
        Headers(lambda _: (None, said))
    assert "\n" not in str(raised.value)


BIT_FIELD = bytes.fromhex("7110140000000000 57000000f0000000") + EXIT


def test_what_the_headers_have_is_found_and_the_rest_is_missing() -> None:
    compiler = Compiler({"socket.sk": 24}, {"sock.sk_userlocks": BIT_FIELD})
    found = Headers(compiler)
    assert found.field("socket.sk") == Field(192, 0)
    assert found.field("sock.sk_userlocks") == Field(164, 4)
    with pytest.raises(MissingFieldError, match=r"mount\.mnt_ns"):
        found.field("mount.mnt_ns")
    assert compiler.runs <= 3


def test_flags_come_after_as_many_others_as_the_prototype_says() -> None:
    found = Headers(Compiler({"socket.sk": 24}, {}))
    assert found.function("tcp_recvmsg").parameters.index("flags") == 4
    with pytest.raises(MissingFieldError):
        found.function("no_such_function")


COMMON = """
struct sock_common { int skc_daddr; char skc_rest[12]; unsigned short skc_family; };
struct kernfs_node { long count; struct kernfs_node *parent; const char *name; };
struct file { char before[16]; struct path { void *mnt, *dentry; } f_path; };
"""

UP_TO_5_5 = f"""{COMMON}
struct sock {{
	struct sock_common __sk_common;
	char before[484];
	unsigned int sk_padding : 1, sk_kern_sock : 1, sk_no_check_tx : 1, sk_no_check_rx : 1,
		sk_userlocks : 4, sk_protocol : 8, sk_type : 16;
	unsigned short sk_gso_max_segs;
}};
struct tcp_sock {{
	char before[1000];
	unsigned char nonagle : 4, thin_lto : 1, recvmsg_inq : 1, repair : 1, frto : 1;
	unsigned char repair_queue;
}};
int tcp_recvmsg(struct sock *, struct msghdr *, __SIZE_TYPE__, int, int, int *);
"""

FROM_5_19 = f"""{COMMON}
struct sock {{
	struct sock_common __sk_common;
	char before[484];
	unsigned char sk_gso_disabled : 1, sk_kern_sock : 1, sk_no_check_tx : 1, sk_no_check_rx : 1,
		sk_userlocks : 4;
	unsigned char sk_pacing_shift;
	unsigned short sk_type;
	unsigned short sk_protocol;
}};
struct tcp_sock {{
	char before[1000];
	unsigned char chrono_type : 2, rate_app_limited : 1, fastopen_connect : 1,
		fastopen_no_cookie : 1, is_sack_reneg : 1, fastopen_client_fail : 2;
	unsigned char nonagle : 4, thin_lto : 1, recvmsg_inq : 1, repair : 1, frto : 1;
	unsigned char repair_queue;
}};
int tcp_recvmsg(struct sock *, struct msghdr *, __SIZE_TYPE__, int, int *);
"""

ALONE = f"""{COMMON}
struct sock {{
	struct sock_common __sk_common;
	char before[44];
	unsigned int sk_userlocks : 8, : 24;
	unsigned int sk_type : 16, sk_protocol : 16;
}};
struct tcp_sock {{ long before; unsigned char repair : 1; unsigned char nonagle : 4; }};
int tcp_recvmsg(struct sock *, struct msghdr *, __SIZE_TYPE__, int);
"""


def with_structures(text: str) -> Callable[[str], tuple[Callable[[str], bytes] | None, str]]:
    """A compiler for which these are the kernel's headers."""

    def compile_(questions: str) -> tuple[Callable[[str], bytes] | None, str]:
        asked = re.sub(r"^#include .*$", "", questions, flags=re.MULTILINE)
        return natively.compile_text(f"struct msghdr;\nstruct sock;\n{text}\n{asked}")

    return compile_


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("structures", "places", "flags"),
    [
        # Bytes from the start, bits into the byte, bits.
        (
            UP_TO_5_5,
            {
                "sock.sk_userlocks": (504, 4, 4),
                "sock.sk_protocol": (505, 0, 8),
                "sock.sk_type": (506, 0, 16),
                "tcp_sock.repair": (1000, 6, 1),
            },
            4,
        ),
        (
            FROM_5_19,
            {
                "sock.sk_userlocks": (504, 4, 4),
                "sock.sk_protocol": (508, 0, 0),
                "sock.sk_type": (506, 0, 0),
                "tcp_sock.repair": (1001, 6, 1),
            },
            3,
        ),
        (
            ALONE,
            {
                "sock.sk_userlocks": (64, 0, 8),
                "sock.sk_type": (68, 0, 16),
                "sock.sk_protocol": (70, 0, 16),
                "tcp_sock.repair": (8, 0, 1),
            },
            3,
        ),
    ],
    ids=["up to 5.5", "from 5.19", "at their units' ends"],
)
def test_real_compiler_tells_where_fields_are(
    structures: str, places: dict[str, tuple[int, int, int]], flags: int
) -> None:
    """A repair taken for TCP_CHRONO_BUSY left out what was sent while something was on its way."""
    found = Headers(with_structures(structures))
    common = {
        "sock.__sk_common.skc_daddr": (0, 0, 0),
        "sock.__sk_common.skc_family": (16, 0, 0),
        "kernfs_node.parent": (8, 0, 0),
        "kernfs_node.name": (16, 0, 0),
        "file.f_path.mnt": (16, 0, 0),
        "file.f_path.dentry": (24, 0, 0),
    }
    expected = {
        path: Field(byte * 8 + bit, width)
        for path, (byte, bit, width) in {**common, **places}.items()
    }
    assert found._found == expected, "and nothing else is there"
    assert found.function("tcp_recvmsg").parameters.index("flags") == flags


@pytest.mark.kernel
def test_real_compilers_reason_is_told() -> None:
    with pytest.raises(OSError, match="unknown type name 'nobody_knows'"):
        Headers(with_structures(f"nobody_knows variable;\n{FROM_5_19}"))


def test_without_headers_the_reason_is_the_compilers() -> None:
    said = "Unable to find kernel headers. Try rebuilding kernel with CONFIG_IKHEADERS=m\n"
    with pytest.raises(OSError, match="Unable to find kernel headers"):
        Headers(lambda _: (None, said))


@pytest.mark.kernel
@pytest.mark.skipif(
    os.path.exists(f"/lib/modules/{platform.release()}/build"), reason="this machine has headers"
)
def test_without_btf_and_headers_the_backend_says_both(monkeypatch: pytest.MonkeyPatch) -> None:
    from bwtop.capture import loader
    from bwtop.capture.backends import KPROBE

    def no_btf() -> None:
        raise OSError(3, "the kernel offers no BTF (/sys/kernel/btf/vmlinux)")

    monkeypatch.setattr(loader, "Btf", no_btf)
    attempt = loader.try_backend(KPROBE, loader.Limits(1024, 1024))
    assert "the kernel offers no BTF" in attempt.refusal
    assert "headers cannot be used" in attempt.refusal
