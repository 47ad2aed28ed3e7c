"""Programs that BCC compiles on this machine as the loader does, without loading them."""

import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from bwtop.capture import compiler, features, loader
from bwtop.capture.attach import Attacher
from bwtop.capture.attempt import Attempt
from bwtop.capture.backends import Backend, Kind
from bwtop.capture.btf import Btf
from bwtop.capture.linking import CHARGE_CALL, LISTEN_CALL
from bwtop.capture.sources import BPF_SOURCES

LIMITS = loader.Limits(flows=1024, processes=1024)


class Instruction(NamedTuple):
    """struct bpf_insn; a 64-bit load comes with only its first half of the value."""

    place: int
    """Counted in slots of eight bytes."""
    code: int
    source: int
    offset: int
    value: int


def instructions(program: bytes) -> Iterator[Instruction]:
    """Yield all instructions of a program, without the second slots of 64-bit loads."""
    skip = False
    for place, (code, registers, offset, value) in enumerate(struct.iter_unpack("<BBhi", program)):
        if not skip:
            yield Instruction(place, code, registers >> 4, offset, value)
        skip = not skip and code == 0x18


def compile_text(text: str) -> tuple[Callable[[str], bytes] | None, str]:
    """Compile as compiler.compile_with_headers() does, but with the few headers that bwtop brings along."""
    import bcc

    with pytest.MonkeyPatch.context() as patch, compiler.StandardError() as said:
        patch.setenv("BCC_KERNEL_SOURCE", str(BPF_SOURCES))
        try:
            module = bcc.BPF(text=text.encode(), cflags=["-w", "-ferror-limit=0"])
        except Exception:  # bcc raises nothing more precise
            return None, said.text()
    return lambda name: bytes(module.dump_func(name.encode())), ""


@cache
def module(backend: Backend) -> Any:
    """Return the backend's programs for the running kernel."""
    return compiled(Attempt(backend))


def compiled(attempt: Attempt) -> Any:
    """Return the programs of an attempt at a backend."""
    attacher = Attacher(Btf())
    loader._listen(attempt, attacher)
    return _compiled(attempt.backend, loader._definitions(attempt, attacher, LIMITS))


def functions(made: Any) -> dict[int, bytes]:
    """Return the functions that programs of a module call, by the numbers that they are called by."""
    import bcc

    named = {CHARGE_CALL: b"bwtop_charge", LISTEN_CALL: b"bwtop_listen"}
    return {
        number: bytes(made.dump_func(name))
        for number, name in named.items()
        if bcc.lib.bpf_function_start(made.module, name)
    }


@cache
def old_module(backend: Backend) -> Any:
    """Return the backend's programs for the oldest kernel: it knows no loops, no kernel reads and no storage, but sendpage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "definitions", lambda _: ["-DNO_LOOPS", "-DNO_KERNEL_READS"])
        words = [*loader._definitions(Attempt(backend), Attacher(Btf()), LIMITS)]
    if not any(word.startswith("-DPROTO_SENDPAGE=") for word in words):
        words.append("-DPROTO_SENDPAGE=0")
    return _compiled(backend, iter(words))


def _compiled(backend: Backend, words: Iterator[str]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BCC_KERNEL_SOURCE", "")  # put back afterwards: the loader sets it for good
        return compiler.compile_backend(backend, words)


def programs(backend: Backend) -> dict[str, Kind]:
    """Return the names of all attached programs: at a return and its entry there are two."""
    found = {probe.program: probe.kind for probe in backend.probes}
    entries = {f"{name}_in": Kind.KPROBE for name, kind in found.items() if kind is Kind.KRETPROBE}
    return found | entries
