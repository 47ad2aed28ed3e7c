"""Load the program of a probe and attach it, by kind."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bwtop.capture import libbpf
from bwtop.capture.backends import Kind, Probe
from bwtop.capture.btf import Btf, Kernel, MissingFieldError
from bwtop.capture.cgroups import NoRootError, v2_root
from bwtop.capture.features import NOTHING
from bwtop.capture.kprobes import Events, symbols
from bwtop.capture.libbpf import RefusedError
from bwtop.capture.namespaces import RefusedNamespaceError, in_each

Programs = Callable[[str], bytes]
"""Returns the instructions (struct bpf_insn, 8 bytes each) of a program by its name."""


@dataclass
class Attacher:
    """Attaches probes one by one; raises RefusedError, MissingFieldError or OSError if the kernel refuses one."""

    kernel: Kernel
    programs: list[int] = field(default_factory=list)
    links: list[int] = field(default_factory=list)
    """Descriptors that keep the programs attached."""
    events: Events | None = None
    """The events of kprobes; None before the first kprobe."""

    def try_(self, probe: Probe, instructions: bytes = NOTHING) -> None:
        """Load a trial program in the place of the probe's and close it; do nothing for kinds that cannot be tried."""
        if load := _LOAD.get(probe.kind):
            os.close(load(self, probe, instructions))

    def try_attaching(self, probe: Probe) -> None:
        """Attach an empty program in the place of a typed probe's for a moment; some kernels load what they cannot attach."""
        program = _LOAD[probe.kind](self, probe, NOTHING)
        try:
            os.close(libbpf.raw_tracepoint_open(program))
        finally:
            os.close(program)

    def try_cgroup(self, probe: Probe, instructions: bytes) -> None:
        """Load a trial program of a cgroup and close it; such a program need not return 0."""
        os.close(self._load_cgroup(probe, instructions))

    def attach(self, probe: Probe, programs: Programs) -> None:
        """Attach the probe for as long as the descriptors in `links` are open."""
        _ATTACH[probe.kind](self, probe, programs)

    def _btf(self) -> Btf:
        assert isinstance(self.kernel, Btf), "typed programs are for kernels with BTF"
        return self.kernel

    def close(self) -> None:
        """Detach everything and close all descriptors."""
        for descriptor in (*self.links, *self.programs):
            os.close(descriptor)
        if self.events:
            self.events.remove()

    def _load_traced(self, probe: Probe, instructions: bytes) -> int:
        return libbpf.prog_load(
            libbpf.PROG_TYPE_TRACING,
            libbpf.ATTACH_TRACE_RAW_TP,
            probe.program,
            instructions,
            self._btf().tracepoint(probe.target),
        )

    def _load_trampoline(self, probe: Probe, instructions: bytes) -> int:
        kind = (
            libbpf.ATTACH_TRACE_FENTRY if probe.kind is Kind.FENTRY else libbpf.ATTACH_TRACE_FEXIT
        )
        return libbpf.prog_load(
            libbpf.PROG_TYPE_TRACING,
            kind,
            probe.program,
            instructions,
            self.kernel.function(probe.target).type_id,
        )

    def _load_kprobe(self, probe: Probe, instructions: bytes) -> int:
        self.events = self.events or Events(os.getppid())
        if probe.target not in symbols():
            raise MissingFieldError(probe.target)
        return libbpf.prog_load(libbpf.PROG_TYPE_KPROBE, 0, probe.program, instructions)

    def _load_untyped(self, probe: Probe, instructions: bytes) -> int:
        return libbpf.prog_load(libbpf.PROG_TYPE_RAW_TRACEPOINT, 0, probe.program, instructions)

    def _load_cgroup(self, probe: Probe, instructions: bytes) -> int:
        return libbpf.prog_load(
            libbpf.PROG_TYPE_CGROUP_SOCK_ADDR, probe.attach_type, probe.program, instructions
        )

    def _attach_typed(self, probe: Probe, programs: Programs) -> None:
        program = _LOAD[probe.kind](self, probe, programs(probe.program))
        self._keep(program, lambda: libbpf.raw_tracepoint_open(program))

    def _attach_untyped(self, probe: Probe, programs: Programs) -> None:
        program = self._load_untyped(probe, programs(probe.program))
        self._keep(program, lambda: libbpf.raw_tracepoint_open(program, probe.target))

    def _attach_kprobe(self, probe: Probe, programs: Programs) -> None:
        """Attach the return before the entry, so that whatever an entry keeps is taken away."""
        if probe.kind is Kind.KRETPROBE:
            self._attach_event(probe, programs(probe.program), at_return=True)
            self._attach_event(probe, programs(f"{probe.program}_in"), at_return=False)
        else:
            self._attach_event(probe, programs(probe.program), at_return=False)

    def _attach_event(self, probe: Probe, instructions: bytes, *, at_return: bool) -> None:
        program = self._load_kprobe(probe, instructions)
        events = self.events
        assert events, "made when the first program of a kprobe is loaded"
        self._keep(program, lambda: events.attach(program, probe.target, at_return=at_return))

    def _attach_cgroup(self, probe: Probe, programs: Programs) -> None:
        try:
            root = v2_root()
        except NoRootError as error:
            raise RefusedError(str(error)) from None
        program = self._load_cgroup(probe, programs(probe.program))
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._keep(
            program, lambda: libbpf.cgroup_link_create(program, directory, probe.attach_type)
        )

    def _run_iterator(self, probe: Probe, programs: Programs) -> None:
        """Run the iterator once, over everything; nothing stays attached."""
        program = libbpf.prog_load(
            libbpf.PROG_TYPE_TRACING,
            libbpf.ATTACH_TRACE_ITER,
            probe.program,
            programs(probe.program),
            self._btf().iterator(probe.target),
        )
        try:
            if probe.is_by_namespace:
                in_each(lambda: libbpf.run_iterator(program))
            else:
                libbpf.run_iterator(program)
        except RefusedNamespaceError as error:
            raise RefusedError(str(error)) from None
        finally:
            os.close(program)

    def _keep(self, program: int, link: Callable[[], int]) -> None:
        try:
            self.links.append(link())
        except (OSError, RefusedError):
            os.close(program)
            raise
        self.programs.append(program)


_LOAD: Final = {
    Kind.TRACEPOINT: Attacher._load_traced,
    Kind.FENTRY: Attacher._load_trampoline,
    Kind.FEXIT: Attacher._load_trampoline,
    Kind.KPROBE: Attacher._load_kprobe,
    Kind.KRETPROBE: Attacher._load_kprobe,
    Kind.UNTYPED_TRACEPOINT: Attacher._load_untyped,
}

_ATTACH: Final = {
    Kind.TRACEPOINT: Attacher._attach_typed,
    Kind.FENTRY: Attacher._attach_typed,
    Kind.FEXIT: Attacher._attach_typed,
    Kind.KPROBE: Attacher._attach_kprobe,
    Kind.KRETPROBE: Attacher._attach_kprobe,
    Kind.UNTYPED_TRACEPOINT: Attacher._attach_untyped,
    Kind.CGROUP: Attacher._attach_cgroup,
    Kind.ITERATOR: Attacher._run_iterator,
}
