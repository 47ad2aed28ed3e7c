"""Offsets from the kernel's headers, by a compiler."""

import os
import platform
import re
from collections.abc import Callable

import pytest

from bwtop.capture.attempt import Attempt
from bwtop.capture.btf import Field, MissingFieldError
from bwtop.capture.fields import FIELDS
from bwtop.capture.headers import Headers
from tests.capture import natively


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
        (
            "Unable to find kernel headers. Try CONFIG_IKHEADERS=m\n",
            "Unable to find kernel headers",
        ),
        # Only of what was asked for can be done without.
        ("FLAGS:1:1: error: use of undeclared identifier 'tcp_recvmsg'\n", "'tcp_recvmsg'"),
    ],
)
def test_nothing_understandable_is_told_in_one_line(said: str, reason: str) -> None:
    with pytest.raises(OSError, match=reason) as raised:
        Headers(lambda _: (None, said))
    assert "\n" not in str(raised.value)


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
    """Return a compiler for which these are the kernel's headers."""

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
    for path in (path for paths in FIELDS.values() for path in paths):
        if path in expected:
            assert found.field(path) == expected[path]
        else:
            with pytest.raises(MissingFieldError, match=re.escape(path)):
                found.field(path)
    assert found.function("tcp_recvmsg").parameters.index("flags") == flags
    with pytest.raises(MissingFieldError):
        found.function("no_such_function")


@pytest.mark.kernel
def test_real_compilers_reason_is_told() -> None:
    with pytest.raises(OSError, match="unknown type name 'nobody_knows'"):
        Headers(with_structures(f"nobody_knows variable;\n{FROM_5_19}"))


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
    attempt = Attempt(KPROBE)
    kernel = loader._kernel(attempt)
    assert attempt.notes == ["programs are named without their path (the kernel offers no BTF)"]
    with pytest.raises(OSError, match=r"the kernel offers no BTF .*headers cannot be used: "):
        kernel.function("tcp_sendmsg")
