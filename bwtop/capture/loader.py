"""The child that compiles, loads and attaches, and hands the descriptors over.

It is the only importer of bcc, which brings LLVM along: more than 100 MB that leave with this process.  Everything it
attaches is a descriptor, so what it hands over ends with the process that holds it, kill -9 included.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from bwtop.capture import libbpf
from bwtop.capture.backends import Backend, Kind, Probe
from bwtop.capture.btf import Btf, MissingFieldError
from bwtop.capture.cgroups import v2_root
from bwtop.capture.fields import definitions
from bwtop.capture.libbpf import RefusedError

BPF_SOURCES: Final = Path(__file__).resolve().parents[2] / "bpf"

MAPS: Final = (
    "bwtop_active",
    "bwtop_flows_a",
    "bwtop_flows_b",
    "bwtop_spill",
    "bwtop_unattributed",
    "bwtop_processes",
    "bwtop_changes",
    "bwtop_loss",
)
"""The maps that user space reads, in the order in which their descriptors are sent."""

MESSAGE_SIZE: Final = 1 << 16


@dataclass
class Attempt:
    """What became of one backend."""

    backend: Backend
    refusal: str = ""
    """Why it cannot be used; empty when it can."""
    probes: dict[str, str] = field(default_factory=dict)
    """By target: the kernel's reason for refusing it, empty when it is attached."""
    maps: list[int] = field(default_factory=list)
    programs: list[int] = field(default_factory=list)
    links: list[int] = field(default_factory=list)

    def refuse(self, probe: Probe, error: Exception) -> None:
        """Notes why a probe is not there, which may mean that the backend is not."""
        self.probes[probe.target] = str(error)
        if not probe.without:
            self.refusal = f"{probe.kind} {probe.target}: {error}"

    def description(self) -> dict[str, Any]:
        """What the other side is told, beside the descriptors."""
        return {
            "backend": self.backend.name,
            "refusal": self.refusal,
            "probes": self.probes,
            "programs": len(self.programs),
        }


@dataclass(frozen=True)
class Limits:
    """How much the maps hold."""

    flows: int
    """Active flows in one reading (a second)."""
    processes: int


def try_backend(backend: Backend, limits: Limits) -> Attempt:
    """Compiles, loads and attaches a backend as far as this kernel lets it."""
    attempt = Attempt(backend)
    try:
        btf = Btf()
        _try_probes(attempt, btf)
        if attempt.refusal:
            return attempt
        module = _compile(backend, btf, limits)
    except MissingFieldError as missing:
        attempt.refusal = f"the kernel's BTF does not know {missing}"
    except (OSError, CompileError) as error:
        attempt.refusal = str(error)
    else:
        _attach_all(attempt, btf, module)
    return attempt


class CompileError(Exception):
    """BCC could not compile the program or create its maps; the text is its first complaint."""


class _StandardError:
    """Catches what compilers write to descriptor 2, which is where the screen is."""

    def __enter__(self) -> Self:
        self._file = os.fdopen(os.memfd_create("stderr"), "rb")
        self._saved = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        return self

    def text(self) -> str:
        """All that has been written so far."""
        self._file.seek(0)
        return self._file.read().decode(errors="replace")

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        self._file.close()


def _compile(backend: Backend, btf: Btf, limits: Limits) -> Any:
    """BCC's module: maps created, programs compiled and not yet loaded.

    The parts are joined because BCC rewrites map accesses only in the main file.
    """
    os.environ["BCC_KERNEL_SOURCE"] = str(BPF_SOURCES)
    import bcc

    text = b"".join(
        f'#line 1 "{name}"\n'.encode() + (BPF_SOURCES / name).read_bytes() for name in backend.parts
    )
    flags = [
        *definitions(btf),
        f"-DMAX_FLOWS={limits.flows}",
        f"-DMAX_PROCESSES={limits.processes}",
        "-Wno-macro-redefined",  # of BCC's own headers
    ]
    with _StandardError() as said:
        try:
            return bcc.BPF(text=text, cflags=flags)
        except Exception as error:  # bcc raises nothing more precise
            lines = said.text().splitlines()
            complaint = next((line for line in lines if "error" in line), type(error).__name__)
            raise CompileError(f"BCC: {complaint.strip()}") from error


_TRIAL: Final = bytes.fromhex("b700000000000000 9500000000000000")
"""A program that returns 0 and does nothing else: r0 = 0; exit."""


def _try_probes(attempt: Attempt, btf: Btf) -> None:
    """Loads programs that do nothing for the probes that a backend cannot do without.

    What the kernel refuses it refuses within milliseconds, before anything is compiled.
    """
    for probe in attempt.backend.probes:
        if probe.kind is Kind.TRACEPOINT and not probe.without:
            try:
                os.close(_load_tracepoint(probe, btf, _TRIAL))
            except (RefusedError, MissingFieldError, OSError) as error:
                attempt.refuse(probe, error)
                return


def _attach_all(attempt: Attempt, btf: Btf, module: Any) -> None:
    maps = {name: module[name.encode()].map_fd for name in MAPS}
    attempt.maps = list(maps.values())
    for probe in attempt.backend.probes:
        try:
            instructions = module.dump_func(probe.program.encode())
            attached = _ATTACH[probe.kind](probe, btf, instructions)
        except (RefusedError, MissingFieldError, OSError) as error:
            attempt.refuse(probe, error)
            if attempt.refusal:
                return
        else:
            attempt.probes[probe.target] = ""
            attempt.programs += attached[:1]
            attempt.links += attached[1:]
    # Counting starts here, everywhere at once: until now there was no map to count in.
    libbpf.map_update(maps["bwtop_active"], bytes(4), maps["bwtop_flows_a"].to_bytes(4, "little"))


def _load_tracepoint(probe: Probe, btf: Btf, instructions: bytes) -> int:
    return libbpf.prog_load(
        libbpf.PROG_TYPE_TRACING,
        libbpf.ATTACH_TRACE_RAW_TP,
        probe.program,
        instructions,
        btf.tracepoint(probe.target),
    )


def _attach_tracepoint(probe: Probe, btf: Btf, instructions: bytes) -> list[int]:
    program = _load_tracepoint(probe, btf, instructions)
    return [program, libbpf.raw_tracepoint_open(program)]


def _run_iterator(probe: Probe, btf: Btf, instructions: bytes) -> list[int]:
    program = libbpf.prog_load(
        libbpf.PROG_TYPE_TRACING,
        libbpf.ATTACH_TRACE_ITER,
        probe.program,
        instructions,
        btf.iterator(probe.target),
    )
    libbpf.run_iterator(program)
    return []


def _attach_cgroup(probe: Probe, _: Btf, instructions: bytes) -> list[int]:
    root = v2_root()
    if root is None:
        raise RefusedError("no cgroup v2 hierarchy is mounted")
    program = libbpf.prog_load(
        libbpf.PROG_TYPE_CGROUP_SOCK_ADDR, probe.attach_type, probe.program, instructions
    )
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    return [program, libbpf.cgroup_link_create(program, directory, probe.attach_type)]


_ATTACH: Final[dict[Kind, Callable[[Probe, Btf, bytes], list[int]]]] = {
    Kind.TRACEPOINT: _attach_tracepoint,
    Kind.CGROUP: _attach_cgroup,
    Kind.ITERATOR: _run_iterator,
}
"""How each kind is attached: descriptors of the program and of the link that holds it, none for what has had its run.
They raise RefusedError, MissingFieldError or OSError."""


def serve(connection: socket.socket, backends: Sequence[Backend], limits: Limits) -> None:
    """Tries the backends in turn and sends what came of it, with the descriptors of the first that attached.

    The message is JSON: {"attempts": [Attempt.description(), …], "since": seconds of the monotonic clock}; its
    descriptors are the MAPS, then the programs, then the links of the last attempt, unless that was refused.
    """
    attempts: list[Attempt] = []
    for backend in backends:
        attempts.append(try_backend(backend, limits))
        if not attempts[-1].refusal:
            break
    message = {
        "attempts": [attempt.description() for attempt in attempts],
        "since": time.monotonic(),
    }
    last = attempts[-1]
    descriptors = [] if last.refusal else [*last.maps, *last.programs, *last.links]
    socket.send_fds(connection, [json.dumps(message).encode()], descriptors)
