"""The compiler's definitions of hooked functions."""

import os
import re
from pathlib import Path

import pytest

from bwtop.capture import functions
from bwtop.capture.backends import HOOKS, Hook
from bwtop.capture.btf import Btf, MissingFieldError
from tests.capture.kernels import MadeUp

BPF = Path(__file__).parents[2] / "bpf"
HOOKS_H = (BPF / "hooks.h").read_text()
HANDLERS = "".join(path.read_text() for path in BPF.glob("*.h"))

RECVMSG = {
    4: ("sk", "msg", "len", "flags"),
    5: ("sk", "msg", "len", "flags", "addr_len"),
    6: ("sk", "msg", "len", "nonblock", "flags", "addr_len"),
}
"""The prototypes of tcp_recvmsg and udp_recvmsg over time."""


def defined(kernel: MadeUp, refused: set[str] | None = None) -> dict[str, str]:
    words = functions.definitions(kernel, refused or set())
    return dict(word.removeprefix("-D").split("=", 1) for word in words)


@pytest.mark.parametrize(("arguments", "flags"), [(4, "3"), (5, "3"), (6, "4")])
def test_flags_are_where_the_prototype_has_them(arguments: int, flags: str) -> None:
    found = defined(MadeUp(tcp_recvmsg=RECVMSG[arguments], udp_recvmsg=RECVMSG[arguments]))
    assert found["TCP_RECVMSG_FLAGS"] == found["UDP_RECVMSG_FLAGS"] == flags
    assert found["ARGS_tcp_recvmsg"] == str(arguments)


def test_every_hook_has_a_number_of_its_own_and_its_arguments() -> None:
    found = defined(MadeUp(tcp_recvmsg=RECVMSG[4], udp_recvmsg=RECVMSG[4]))
    numbers = [int(found[f"CALL_{hook.function}"]) for hook in HOOKS]
    assert sorted(numbers) == list(range(int(found["CALLS"])))
    assert found["ARGS_inet_sendpage"] == "0", "a function that is not there is not hooked"


def test_arguments_are_as_many_as_the_prototype_has() -> None:
    for hook in HOOKS:
        kernel = {"tcp_recvmsg": RECVMSG[5], "udp_recvmsg": RECVMSG[5]}
        found = defined(MadeUp(**{**kernel, hook.function: ("flags", *"abcdef")}))
        sevens = [name for name, value in found.items() if value == "7" and "ARGS" in name]
        assert sevens == [f"ARGS_{hook.function}"]


def test_flags_of_each_protocol_are_its_own() -> None:
    found = defined(MadeUp(tcp_recvmsg=RECVMSG[6], udp_recvmsg=RECVMSG[5]))
    assert (found["TCP_RECVMSG_FLAGS"], found["UDP_RECVMSG_FLAGS"]) == ("4", "3")


@pytest.mark.parametrize(
    ("machine", "registers", "result"),
    [
        # Words of struct pt_regs, arch/x86/include/asm/ptrace.h: di, si, dx, cx, r8; ax
        ("x86_64", "14,13,12,11,9", "10"),
        ("aarch64", "0,1,2,3,4", "0"),
    ],
)
def test_registers_are_the_machines(
    machine: str, registers: str, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*system[:4], machine)))
    found = defined(MadeUp(tcp_recvmsg=RECVMSG[4], udp_recvmsg=RECVMSG[4]))
    assert (found["REGISTERS"], found["RESULT"]) == (registers, result)
    assert int(found["ARGUMENTS"]) == len(registers.split(","))
    assert functions.unknown_machine() == ""


@pytest.mark.parametrize(
    ("refused", "by_call"),
    [
        ((), "0"),
        (("udp_send_skb",), "1"),
        (("udp_v6_send_skb",), "1"),
        (("udp_send_skb", "udp_v6_send_skb"), "1"),
        (("inet_sendpage", "skb_consume_udp", "udp_push_pending_frames"), "0"),
    ],
)
def test_udp_counts_by_call_where_its_datagrams_cannot_be_seen(
    refused: tuple[str, ...], by_call: str
) -> None:
    found = defined(MadeUp(tcp_recvmsg=RECVMSG[4], udp_recvmsg=RECVMSG[4]), set(refused))
    assert found["UDP_BY_CALL"] == by_call


def test_every_hook_has_its_program_and_handler() -> None:
    rows = re.findall(r"^(EXIT|ENTRY)\((\w+), (\w+), on_\w+\)$", HOOKS_H, re.MULTILINE)
    around = re.findall(r"^(AROUND)\((\w+), (\w+), on_\w+, on_\w+\)$", HOOKS_H, re.MULTILINE)
    in_c = {(kind == "ENTRY", program, function) for kind, program, function in rows + around}
    in_python = {(h.at_entry, h.program or f"bwtop_{h.function}", h.function) for h in HOOKS}
    assert in_c == in_python
    assert len(rows) == len(HOOKS), "each is there once, but for those around"
    defined = re.findall(r"^[A-Z]+\(", HOOKS_H, re.MULTILINE)
    assert len(rows) + len(around) == len(defined), "the pattern sees all"


def arguments(hook: Hook) -> dict[str, int]:
    """Return the places at which a hook's handler reads arguments, by its names for them; on new kernels no array is among them."""
    row = re.search(rf"^E\w+\(\w+, {hook.function}, (on_\w+)\)$", HOOKS_H, re.MULTILINE)
    assert row
    handler = re.search(rf"{row[1]}\(const struct (\w+) \*args\b.*?\n}}\n", HANDLERS, re.DOTALL)
    assert handler
    fields = re.search(rf"struct {handler[1]} {{\s+u64 (.*?);\n}};", HANDLERS)
    assert fields
    names = [name for name in fields[1].split(", ") if "[" not in name]
    return {name: names.index(name) for name in re.findall(r"args->(\w+)", handler[0])}


CHANGED_IN_6_5 = ("inet_sendpage", "ip_append_page", "udp_splice_eof", "udpv6_splice_eof")
"""Functions that are there before or after it."""


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.function)
def test_arguments_have_the_names_of_the_kernels_prototype(hook: Hook) -> None:
    try:
        parameters = Btf().function(hook.function).parameters
    except MissingFieldError:
        assert hook.function in CHANGED_IN_6_5
        return
    flow = {"fl4": "flow", "fl6": "flow"}
    names = [flow.get(name, name) for name in parameters]
    read = arguments(hook)
    assert read
    assert {name: names.index(name) for name in read} == read
