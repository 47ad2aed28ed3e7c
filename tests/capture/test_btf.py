"""Fields of the running kernel, and the tables that say which fields and programs there are."""

import re
from functools import cache
from pathlib import Path

import pytest

from bwtop.capture import fields
from bwtop.capture.backends import BACKENDS, Backend, Kind, Probe, named
from bwtop.capture.btf import Btf, Field, Function, MissingFieldError

BPF = Path(__file__).parents[2] / "bpf"

PROBES = [
    pytest.param(backend, probe, id=f"{backend.name}-{probe.program}")
    for backend in BACKENDS
    for probe in backend.probes
]


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf()


@cache
def source(backend: Backend) -> str:
    """The backend's C program."""
    return "\n".join((BPF / part).read_text() for part in backend.parts)


@pytest.mark.parametrize(
    ("path", "offset"),
    [
        # Structures whose layout is fixed: by a protocol, by the ABI, or for as long as anyone remembers.
        ("udphdr.source", 0),
        ("udphdr.check", 6),
        ("tcphdr.ack_seq", 8),
        ("ethhdr.h_source", 6),
        ("list_head.next", 0),
        ("list_head.prev", 8),
        ("iphdr.ttl", 8),
        ("iphdr.saddr", 12),
        ("iphdr.daddr", 16),
        ("ipv6hdr.daddr", 24),
        ("ipv6hdr.daddr.in6_u", 24),
        ("ipv6hdr.daddr.in6_u.u6_addr32", 24),
        ("sock_common.skc_daddr", 0),
        ("sock_common.skc_dport", 12),
        ("sock_common.skc_num", 14),
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
        ("tcphdr.doff", 12, 0xF0),
        ("tcphdr.fin", 13, 0x01),
        ("tcphdr.ack", 13, 0x10),
        ("tcphdr.cwr", 13, 0x80),
    ],
)
def test_bit_field_has_a_mask(btf: Btf, path: str, offset: int, mask: int) -> None:
    found = btf.field(path)
    assert (found.offset, found.mask) == (offset, mask)


@pytest.mark.parametrize(
    ("field", "offset", "mask"),
    [
        (Field(bits=0, width=0), 0, 0xFF),
        (Field(bits=160, width=0), 20, 0xFF),
        (Field(bits=153, width=1), 19, 0x02),
        (Field(bits=156, width=4), 19, 0xF0),
    ],
)
def test_mask_is_of_the_byte_at_the_offset(field: Field, offset: int, mask: int) -> None:
    assert (field.offset, field.mask) == (offset, mask)


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


def test_tracepoint_has_a_type(btf: Btf) -> None:
    assert btf.tracepoint("sched_process_exec") > 0


def test_missing_tracepoint_is_named(btf: Btf) -> None:
    with pytest.raises(MissingFieldError, match="no_such_tracepoint"):
        btf.tracepoint("no_such_tracepoint")


@pytest.mark.parametrize("macro", fields.FIELDS)
def test_field_is_in_the_running_kernel_unless_programs_can_do_without(
    btf: Btf, macro: str
) -> None:
    try:
        fields._locate(btf, fields.FIELDS[macro])
    except MissingFieldError:
        assert macro in {"PROTO_SENDPAGE"}, "of those that are optional, 6.5 dropped this one"
        assert macro in fields.OPTIONAL


def test_optional_fields_are_fields() -> None:
    assert fields.OPTIONAL.issubset(fields.FIELDS)


def test_definitions_carry_every_offset_that_a_text_reads_to_the_compiler(btf: Btf) -> None:
    text = " ".join(fields.FIELDS)
    defined = dict(
        re.findall(r"^-D(\w+)=(\d+)$", "\n".join(fields.definitions(btf, text)), re.MULTILINE)
    )
    named_fields = {name.removesuffix("_MASK") for name in defined}
    assert named_fields <= fields.FIELDS.keys()
    assert fields.FIELDS.keys() - named_fields <= fields.OPTIONAL
    assert list(fields.definitions(btf, "LOAD(u16, sk, SOCK_FAMILY_OF)")) == []
    assert len(list(fields.definitions(btf, "LOAD(u16, sk, SOCK_FAMILY)"))) == 1
    assert int(defined["SOCK_FAMILY"]) == btf.field("sock.__sk_common.skc_family").offset
    repair = btf.field("tcp_sock.repair")
    assert (int(defined["TCP_REPAIR"]), int(defined["TCP_REPAIR_MASK"])) == (
        repair.offset,
        repair.mask,
    )


class Fields:
    """A kernel that has these fields and no others."""

    def __init__(self, **fields: Field) -> None:
        self._fields = fields

    def field(self, path: str) -> Field:
        name = path.rpartition(".")[2]
        if name not in self._fields:
            raise MissingFieldError(path)
        return self._fields[name]

    def function(self, name: str) -> Function:
        raise MissingFieldError(name)


def test_bit_field_comes_with_its_mask() -> None:
    """The fields of Linux up to 5.5, some of which are bit-fields to this day."""
    old = Fields(
        sk_userlocks=Field(504 * 8 + 4, 4),
        sk_protocol=Field(505 * 8, 8),
        sk_type=Field(506 * 8, 16),
        skc_num=Field(14 * 8, 0),
    )
    text = "SOCK_USERLOCKS SOCK_PROTOCOL SOCK_TYPE SOCK_NUM"
    assert sorted(fields.definitions(old, text)) == [
        "-DSOCK_NUM=14",
        "-DSOCK_PROTOCOL=505",
        "-DSOCK_PROTOCOL_MASK=255",
        "-DSOCK_TYPE=506",
        "-DSOCK_TYPE_MASK=65535",
        "-DSOCK_USERLOCKS=504",
        "-DSOCK_USERLOCKS_MASK=240",
    ]


@pytest.mark.parametrize("macro", sorted(fields.OPTIONAL))
def test_optional_field_that_is_missing_is_left_out(macro: str) -> None:
    assert list(fields.definitions(Fields(), f"#ifdef {macro}")) == []


def test_any_other_field_that_is_missing_is_named() -> None:
    with pytest.raises(MissingFieldError, match=r"sock\.sk_type"):
        list(fields.definitions(Fields(), "LOAD(u16, sk, SOCK_TYPE)"))


@pytest.mark.parametrize("macro", sorted(fields.OPTIONAL))
def test_programs_ask_whether_an_optional_field_is_there(macro: str) -> None:
    """One of struct mount's stands for all of them: they are there together or not at all."""
    asked = "MOUNT_NS" if macro.startswith("MOUNT_") else macro
    for backend in BACKENDS:
        text = source(backend)
        if re.search(rf"\b{macro}\b", text):
            assert f"#ifdef {asked}" in text


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("macro", ["SOCK_USERLOCKS", "SOCK_PROTOCOL", "TCP_REPAIR"])
def test_field_that_is_a_bit_field_on_some_kernels_is_read_as_one(
    backend: Backend, macro: str
) -> None:
    """sk_protocol had eight bits up to 5.5, and the type begins in the next: read as 16 bits UDP was no UDP.

    sk_type had 16 even then, so it is read like a field of its own.
    """
    assert re.search(rf"\b{macro}_MASK\b", source(backend))


def test_newest_name_that_the_kernel_has_is_taken(btf: Btf) -> None:
    assert fields._locate(btf, ("sock.gone", "udphdr.check", "udphdr.source")).offset == 6


def test_field_that_has_no_name_left_is_called_by_its_newest(btf: Btf) -> None:
    with pytest.raises(MissingFieldError, match=r"sock\.newest"):
        fields._locate(btf, ("sock.newest", "sock.older"))


def test_every_field_is_read_by_some_program() -> None:
    text = "\n".join(map(source, BACKENDS))
    assert [m for m in fields.FIELDS if not re.search(rf"\b{m}(_MASK)?\b", text)] == []


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_every_offset_that_a_program_reads_is_a_field(backend: Backend) -> None:
    read = re.findall(
        r"(?:LOAD|READ_KERNEL)\(\w+,[^;]*?\b([A-Z][A-Z0-9]*_[A-Z0-9_]+)\)", source(backend)
    )
    assert read, "the pattern finds none: it is out of date"
    assert set(read) - fields.FIELDS.keys() == set()


def test_backends_are_tried_in_this_order() -> None:
    """The one that counts most exactly, the one without trampolines, and the one that needs least."""
    assert [backend.name for backend in BACKENDS] == ["fexit", "tracepoint", "kprobe"]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_backend_is_found_by_its_name(backend: Backend) -> None:
    assert named(backend.name) is backend
    assert backend.needs


def test_there_is_no_backend_of_another_name() -> None:
    with pytest.raises(KeyError):
        named("no-such-backend")


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_parts_exist_and_each_is_there_once(backend: Backend) -> None:
    assert len(set(backend.parts)) == len(backend.parts)
    assert [part for part in backend.parts if not (BPF / part).is_file()] == []


@pytest.mark.parametrize(("backend", "probe"), PROBES)
def test_probe_has_its_program(backend: Backend, probe: Probe) -> None:
    """A function, or a macro whose first argument is the function's name."""
    definition = rf"^(?:int |[A-Z_]+\(){probe.program}\b"
    assert len(re.findall(definition, source(backend), re.MULTILINE)) == 1


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_every_program_has_its_probe(backend: Backend) -> None:
    functions = re.findall(
        r"^(?:int |EXIT\(|ENTRY\()(bwtop_\w+)[(,]", source(backend), re.MULTILINE
    )
    called_by_all = {"bwtop_identify"}
    assert set(functions) - called_by_all <= {probe.program for probe in backend.probes}
    assert called_by_all < set(functions)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_no_program_and_no_target_is_attached_twice(backend: Backend) -> None:
    programs = [probe.program for probe in backend.probes]
    targets = [(probe.kind, probe.target) for probe in backend.probes]
    assert len(set(programs)) == len(programs)
    assert len(set(targets)) == len(targets)


@pytest.mark.parametrize(("backend", "probe"), PROBES)
def test_probe_that_may_be_absent_is_not_indispensable(backend: Backend, probe: Probe) -> None:
    if probe.may_be_absent:
        assert probe.without


@pytest.mark.parametrize(("backend", "probe"), PROBES)
def test_macro_of_a_program_is_of_its_probes_kind(backend: Backend, probe: Probe) -> None:
    """EXIT for those at a return, of which kprobe.h makes two programs, the entry's with _in behind."""
    macros = {
        Kind.FEXIT: "EXIT",
        Kind.KRETPROBE: "EXIT",
        Kind.FENTRY: "ENTRY",
        Kind.KPROBE: "ENTRY",
    }
    found = re.findall(rf"^(\w+)\({probe.program}, (\w+), ", source(backend), re.MULTILINE)
    expected = [(macros[probe.kind], probe.target)] if probe.kind in macros else []
    assert [row for row in found if row[0] in ("EXIT", "ENTRY")] == expected


@pytest.mark.parametrize(
    ("header", "programs"),
    [("fexit.h", {"program"}), ("kprobe.h", {"program", "program##_in"})],
)
def test_programs_that_a_backend_makes_of_an_exit(header: str, programs: set[str]) -> None:
    text = (BPF / header).read_text()
    macro = re.search(r"#define EXIT\(program, .*?\n\n", text, re.DOTALL)
    assert macro
    assert set(re.findall(r"^int (\S+?)\(", macro[0], re.MULTILINE)) == programs


@pytest.mark.parametrize(("backend", "probe"), PROBES)
def test_stand_in_comes_after_the_one_it_stands_in_for(backend: Backend, probe: Probe) -> None:
    if probe.stands_in_for:
        targets = [probe.target for probe in backend.probes]
        assert targets.index(probe.stands_in_for) < targets.index(probe.target)
        assert probe.without, "a backend that cannot do without it has no stand-in"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("tcp_sendmsg", ("sk", "msg", "size")),
        ("inet_recvmsg", ("sock", "msg", "size", "flags")),
        ("skb_consume_udp", ("sk", "skb", "len")),
    ],
)
def test_function_has_its_parameters_names(
    btf: Btf, name: str, parameters: tuple[str, ...]
) -> None:
    """These have not changed from 4.15 on."""
    found = btf.function(name)
    assert found.parameters == parameters
    assert found.type_id > 0


def test_missing_function_is_named(btf: Btf) -> None:
    with pytest.raises(MissingFieldError, match="no_such_function"):
        btf.function("no_such_function")


@pytest.mark.parametrize(("backend", "probe"), PROBES)
def test_cgroup_probes_say_where_they_attach_and_what_they_are_for(
    backend: Backend, probe: Probe
) -> None:
    """A kernel may have no cgroup v2, so none of these may be indispensable."""
    if probe.kind is Kind.CGROUP:
        assert probe.attach_type
        assert probe.without
