"""Fields of the running kernel, and the tables of fields and probes."""

import re
from functools import cache

import pytest

from bwtop.capture import fields, sources
from bwtop.capture.backends import BACKENDS, Backend, Kind, named
from bwtop.capture.btf import Btf, Field, MissingFieldError
from tests.capture.kernels import MadeUp

by_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf()


@cache
def source(backend: Backend) -> str:
    """Return the backend's C program."""
    return sources.text(backend.source)


@pytest.mark.parametrize(
    ("path", "offset"),
    [
        # Structures whose layout is fixed: by a protocol, by the ABI, or for as long as anyone remembers.
        ("udphdr.check", 6),
        ("tcphdr.ack_seq", 8),
        ("list_head.prev", 8),
        ("iphdr.daddr", 16),
        ("ipv6hdr.daddr.in6_u.u6_addr32", 24),
        ("sock_common.skc_daddr", 0),
        ("sock_common.skc_family", 16),
    ],
)
def test_offset_is_counted_in_bytes_through_every_level(btf: Btf, path: str, offset: int) -> None:
    assert btf.field(path) == Field(bits=offset * 8, width=0)
    assert btf.field(path).offset == offset


@pytest.mark.parametrize(
    ("path", "offset", "mask"),
    [
        ("iphdr.ihl", 0, 0x0F),
        ("iphdr.version", 0, 0xF0),
        ("tcphdr.fin", 13, 0x01),
        ("tcphdr.cwr", 13, 0x80),
    ],
)
def test_bit_field_has_a_mask(btf: Btf, path: str, offset: int, mask: int) -> None:
    found = btf.field(path)
    assert (found.offset, found.mask) == (offset, mask)


@pytest.mark.parametrize(
    "path",
    [
        "no_such_struct.member",
        "sock.no_such_member",
        "sock.__sk_common.no_such_member",
        "sock.sk_protocol.member_of_a_number",
        "task_struct.mm.exe_file",  # behind a pointer
        "u32.member_of_a_typedef",
    ],
)
def test_missing_field_is_named(btf: Btf, path: str) -> None:
    with pytest.raises(MissingFieldError) as raised:
        btf.field(path)
    assert str(raised.value) in (path, path.split(".")[0])


def test_functions_and_tracepoints_have_types(btf: Btf) -> None:
    assert btf.tracepoint("sched_process_exec") > 0
    found = btf.function("tcp_sendmsg")
    assert found.type_id > 0
    assert found.parameters == ("sk", "msg", "size"), "unchanged from 4.15 on"
    for look_up in (btf.tracepoint, btf.function):
        with pytest.raises(MissingFieldError, match="no_such_name"):
            look_up("no_such_name")


def test_definitions_carry_every_offset_that_a_text_reads_to_the_compiler(btf: Btf) -> None:
    text = " ".join(fields.FIELDS)
    defined = dict(
        re.findall(r"^-D(\w+)=(\d+)$", "\n".join(fields.definitions(btf, text)), re.MULTILINE)
    )
    named_fields = {name.removesuffix("_MASK") for name in defined}
    assert named_fields <= fields.FIELDS.keys()
    assert fields.FIELDS.keys() - named_fields <= {"PROTO_SENDPAGE"}, "6.5 dropped this one"
    assert fields.FIELDS.keys() >= fields.OPTIONAL >= {"PROTO_SENDPAGE"}
    assert list(fields.definitions(btf, "LOAD(u16, sk, SOCK_FAMILY_OF)")) == []
    assert len(list(fields.definitions(btf, "LOAD(u16, sk, SOCK_FAMILY)"))) == 1
    assert int(defined["SOCK_FAMILY"]) == btf.field("sock.__sk_common.skc_family").offset
    repair = btf.field("tcp_sock.repair")
    assert (int(defined["TCP_REPAIR"]), int(defined["TCP_REPAIR_MASK"])) == (
        repair.offset,
        repair.mask,
    )


def test_bit_field_comes_with_its_mask() -> None:
    """The fields of Linux up to 5.5, some of which are bit-fields to this day."""
    old = MadeUp(
        sk_userlocks=Field(504 * 8 + 4, 4), sk_type=Field(506 * 8, 16), skc_num=Field(112, 0)
    )
    assert sorted(fields.definitions(old, "SOCK_USERLOCKS SOCK_TYPE SOCK_NUM")) == [
        "-DSOCK_NUM=14",
        "-DSOCK_TYPE=506",
        "-DSOCK_TYPE_MASK=65535",
        "-DSOCK_USERLOCKS=504",
        "-DSOCK_USERLOCKS_MASK=240",
    ]


def test_newest_name_that_the_kernel_has_is_taken() -> None:
    old, new = {"parent": Field(64, 0)}, {"__parent": Field(128, 0)}
    for kernel, offset in ((MadeUp(**old), 8), (MadeUp(**new), 16), (MadeUp(**old, **new), 16)):
        assert list(fields.definitions(kernel, "KERNFS_PARENT")) == [f"-DKERNFS_PARENT={offset}"]


def test_missing_field_is_left_out_if_programs_can_do_without() -> None:
    assert list(fields.definitions(MadeUp(), " ".join(fields.OPTIONAL))) == []
    with pytest.raises(MissingFieldError, match=r"kernfs_node\.__parent"):
        list(fields.definitions(MadeUp(), "KERNFS_PARENT"))


@by_backend
def test_programs_read_fields_as_every_kernel_has_them(backend: Backend) -> None:
    """Optional ones if they are there, those that are bit-fields on any kernel as such.

    One of struct mount's stands for all of them.  sk_protocol had eight bits up to 5.5, and the type begins in the next:
    read as 16 bits UDP was no UDP.
    """
    text = source(backend)
    for macro in fields.OPTIONAL:
        if re.search(rf"\b{macro}\b", text):
            assert f"#ifdef {'MOUNT_NS' if macro.startswith('MOUNT_') else macro}" in text
    for macro in ("SOCK_USERLOCKS", "SOCK_PROTOCOL", "TCP_REPAIR"):
        assert re.search(rf"\b{macro}_MASK\b", text)


def test_backends_are_tried_in_this_order() -> None:
    """The cheapest, the one that misses least where programs are interrupted, and the one that needs least."""
    assert [backend.name for backend in BACKENDS] == ["tracepoint", "fexit", "kprobe"]
    assert [named(backend.name) for backend in BACKENDS] == list(BACKENDS)
    with pytest.raises(KeyError):
        named("no-such-backend")


@by_backend
def test_probes_of_a_backend_agree(backend: Backend) -> None:
    """None is attached twice, and those that may be missing say what is not counted then."""
    targets = [probe.target for probe in backend.probes]
    assert len({probe.program for probe in backend.probes}) == len(targets)
    assert len({(probe.kind, probe.target) for probe in backend.probes}) == len(targets)
    for probe in backend.probes:
        if probe.may_be_absent or probe.kind is Kind.CGROUP:
            assert probe.without
        assert bool(probe.attach_type) == (probe.kind is Kind.CGROUP)
