"""The child process that loads and attaches the programs, and sends the descriptors.

It compiles them if the cache has none.  Every attachment is a descriptor, so it ends with the process that holds it,
kill -9 included.
"""

import functools
import itertools
import json
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Final

from bwtop.capture import (
    bulk,
    cache,
    compiler,
    features,
    fields,
    functions,
    libbpf,
    listening,
    sources,
)
from bwtop.capture.attach import Attacher
from bwtop.capture.attempt import Attempt
from bwtop.capture.backends import ABSENT, Backend, Kind
from bwtop.capture.btf import Btf, Field, Function, Kernel, MissingFieldError
from bwtop.capture.cache import Built, Entry, Kept, UnusableError
from bwtop.capture.compiler import CompileError
from bwtop.capture.counters import IDS_PER_BLOCK, give_all
from bwtop.capture.headers import Headers
from bwtop.capture.libbpf import RefusedError
from bwtop.capture.linking import CHARGE_CALL

MAPS: Final = (
    "bwtop_flows",
    "bwtop_blocks",
    "bwtop_ids",
    "bwtop_free",
    "bwtop_wait",
    "bwtop_nothing",
    "bwtop_spill",
    "bwtop_unattributed",
    "bwtop_processes",
    "bwtop_ended",
    "bwtop_loss",
    "bwtop_spilled",
)
"""The maps that user space reads, in the order in which their descriptors are sent."""

HEARD: Final = "bwtop_heard"
"""The ring of messages with names of remotes in them, which is sent after the MAPS if programs listen."""

MESSAGE_SIZE: Final = 1 << 16


@dataclass(frozen=True)
class Limits:
    """The sizes of the maps, in entries, and what programs leave alone."""

    flows: int
    """Flows of one interval (a second) that are told apart for certain."""
    processes: int
    names: bool = True
    """True to listen for names of remotes, on kernels that can."""

    @property
    def ids(self) -> int:
        """The flows that can have counters: those of an interval, and as many that moved before it."""
        return 2 * self.flows


def try_backend(backend: Backend, limits: Limits, folder: Path | None = None) -> Attempt:
    """Load and attach a backend as far as this kernel allows; errors are in the result.

    folder: the cache of compiled programs; None: compile them.
    """
    attempt = _try_layers(backend, limits, folder)
    if attempt.refusal and attempt.names:
        deaf = _try_layers(backend, replace(limits, names=False), folder)
        if not deaf.refusal:
            deaf.notes.append(f"{_NO_NAMES} (this kernel refuses to listen: {attempt.refusal})")
            return deaf
    return attempt


def _try_layers(backend: Backend, limits: Limits, folder: Path | None) -> Attempt:
    """Try a backend, with all layers if one is not enough."""
    attempt = _try_backend(backend, limits, folder)
    if backend.layered:
        needed = {probe.target for probe in backend.layered.probes if not probe.without}
        if attempt.refusal and attempt.refused() - needed:
            return _try_backend(backend.layered, limits, folder)
    return attempt


def _try_backend(backend: Backend, limits: Limits, folder: Path | None) -> Attempt:
    attempt = Attempt(backend)
    try:
        attacher = Attacher(_kernel(attempt))
        _try_probes(attempt, attacher)
        if backend.has_one_layer and backend.has(Kind.KRETPROBE) and not attempt.refusal:
            _refuse_pages(attempt)
        if attempt.refusal:
            return attempt
        attempt.cast = _cast(attacher, backend)
        if limits.names:
            _listen(attempt, attacher)
        _start(attempt, attacher, limits, folder)
    except MissingFieldError as missing:
        attempt.refusal = f"this kernel does not know {missing}"
    except OSError as error:
        attempt.refusal = error.strerror or str(error)
    except CompileError as error:
        attempt.refusal = str(error)
    return attempt


def _start(attempt: Attempt, attacher: Attacher, limits: Limits, folder: Path | None) -> None:
    """Attach the cached programs, or else compile them, attach those and keep them."""
    definitions = _definitions(attempt, attacher, limits)
    known = [*definitions] if isinstance(attacher.kernel, Btf) else None
    entry = None
    try:
        entry = _entry(attempt, limits, known, folder)
        _attach_kept(attempt, attacher.kernel, entry.load(), limits)
    except UnusableError as reason:
        attempt.start = f"compiled ({reason})"
    else:
        attempt.start = f"from the cache in {folder}"
        return
    if not _is_attachable(attempt, attacher):
        return
    # Without BTF, list them first: that compiles with the kernel's headers, before BCC is pointed at ours.
    words = [*definitions] if known is None else known
    module = compiler.compile_backend(attempt.backend, words)
    built = compiler.built(module, attempt.cast)
    _attach_all(attempt, attacher, built)
    if attempt.refusal:
        attacher.close()
        return
    _hand_over(attempt, attacher, built, limits)
    if entry:
        # The cache finds out from what is in a map of maps what it is for.
        nothing = built.maps["bwtop_nothing"].to_bytes(4, "little")
        libbpf.map_update(built.maps["bwtop_wait"], bytes(4), nothing)
        try:
            entry.save(built, attempt.refused())
        except UnusableError as reason:
            attempt.start += f"; cannot be cached: {reason}"


def _entry(
    attempt: Attempt, limits: Limits, definitions: Sequence[str] | None, folder: Path | None
) -> Entry:
    """Return the place of the programs in the cache; raises UnusableError."""
    if folder is None:
        raise UnusableError("--no-cache")
    name = attempt.backend.name
    programs = f"{name}, one layer" if attempt.backend.has_one_layer else name
    inputs = cache.inputs(programs, astuple(limits), attempt.refused(), attempt.cast, definitions)
    if not limits.names:
        name += "-no-names"
    return Entry(folder, name, inputs)


def _attach_kept(attempt: Attempt, kernel: Kernel, kept: Kept, limits: Limits) -> None:
    """Attach cached programs; raises UnusableError, with nothing attached, if the kernel refuses more than it did."""
    attacher, tried = Attacher(kernel), dict(attempt.probes)
    built = kept.build()
    _attach_all(attempt, attacher, built)
    if refused := sorted(attempt.refused() - kept.refused):
        reason = f"{refused[0]}: {attempt.probes[refused[0]]}"
        attempt.refusal, attempt.probes = "", tried
        attacher.close()
        built.close()
        raise UnusableError(f"the kernel refuses a cached program: {reason}")
    _hand_over(attempt, attacher, built, limits)


class UnsuitedError(Exception):
    """Nothing can be measured on this machine with this Python; the text is the reason."""


def _kernel(attempt: Attempt) -> Kernel:
    """Return the facts about this kernel: its BTF or, for untyped programs, its headers.  Raises OSError."""
    try:
        return Btf()
    except OSError as no_btf:
        if attempt.backend.is_typed:
            raise
        attempt.notes.append("programs are named without their path (the kernel offers no BTF)")
        return _HeadersIfAsked(no_btf)


@dataclass
class _HeadersIfAsked:
    """The kernel's headers, compiled when first asked: a start from the cache does not ask.  Raises OSError then."""

    no_btf: OSError

    @functools.cached_property
    def _headers(self) -> Headers:
        try:
            return Headers(compiler.compile_with_headers)
        except OSError as no_headers:
            raise OSError(
                f"{self.no_btf.strerror}, and its headers cannot be used: {no_headers}"
            ) from None

    def field(self, path: str) -> Field:
        """See Headers."""
        return self._headers.field(path)

    def function(self, name: str) -> Function:
        """See Headers."""
        return self._headers.function(name)


def _cast(attacher: Attacher, backend: Backend) -> int:
    """Return the BTF id of the kernel's cast, or 0 if the backend's programs cannot call one."""
    if not isinstance(attacher.kernel, Btf) or not backend.is_typed:
        return 0
    return features.cast(attacher.kernel, functools.partial(attacher.try_, backend.probes[0]))


_NO_NAMES: Final = "names of remotes come from reverse DNS alone"


def _listen(attempt: Attempt, attacher: Attacher) -> None:
    """Find out whether programs can listen for names of remotes, and note why not."""
    load = functools.partial(attacher.try_, attempt.backend.probes[0])
    if not attempt.backend.is_typed:
        attempt.notes.append(f"{_NO_NAMES} (with this backend)")
        return
    for helper in (features.SOCKET_STORAGE_GET, listening.TASK_PT_REGS):
        if not features.may_call(load, helper):
            attempt.notes.append(f"{_NO_NAMES} (listening needs Linux 5.15)")
            return
    try:
        attempt.names = [*listening.definitions(attacher.kernel)]
    except MissingFieldError as missing:
        attempt.notes.append(f"{_NO_NAMES} (this bwtop does not know {missing})")


def _definitions(attempt: Attempt, attacher: Attacher, limits: Limits) -> Iterator[str]:
    """Yield the compiler's arguments: everything that the C code must know about this kernel."""
    backend = attempt.backend
    first = backend.probes[0]
    yield from fields.definitions(attacher.kernel, sources.text(backend.source))
    yield from features.definitions(lambda instructions: attacher.try_(first, instructions))
    if attempt.cast and isinstance(attacher.kernel, Btf):
        yield from features.cast_definitions(attacher.kernel)
    if backend.has(Kind.FEXIT, Kind.KRETPROBE):
        yield from functions.definitions(attacher.kernel, attempt.refused())
        if backend.has_one_layer:
            yield "-DONE_LAYER"
    if backend.is_typed and features.may_call(
        functools.partial(attacher.try_, first), features.SOCKET_STORAGE_GET
    ):
        yield "-DSOCKET_STORAGE"
    for probe in backend.probes:
        if probe.kind is Kind.CGROUP and not features.may_call(
            functools.partial(attacher.try_cgroup, probe), features.TASK_STORAGE_GET
        ):
            yield "-DTHREADS_IN_HASH"
            break
    yield from attempt.names
    yield f"-DCHARGE_CALL={CHARGE_CALL}"
    yield f"-DFLOWS_FLAGS={libbpf.MAP_MMAPABLE if bulk.can_be_mapped() else 0}"
    yield f"-DIDS_PER_BLOCK={IDS_PER_BLOCK}"
    # Up to 6.0 the kernel warns of untyped programs that allocate memory.
    yield f"-DPROCESSES_FLAGS={libbpf.MAP_NO_PREALLOC if backend.is_typed else 0}"
    yield f"-DMAX_IDS={limits.ids}"
    yield f"-DMAX_PROCESSES={limits.processes}"


def _try_probes(attempt: Attempt, attacher: Attacher) -> None:
    """Load an empty program in the place of each probe's.

    So the kernel refuses probes within milliseconds, before anything is compiled.
    """
    if attempt.backend.has(Kind.KRETPROBE) and (unknown := functions.unknown_machine()):
        attempt.refusal = unknown
        return
    for probe in attempt.backend.probes:
        try:
            attacher.try_(probe)
        except (RefusedError, MissingFieldError, OSError) as error:
            attempt.refuse(probe, error)
            if attempt.refusal:
                return


def _refuse_pages(attempt: Attempt) -> None:
    """Refuse one layer of kprobes up to 6.4: there UDP's sendpage is not counted by it."""
    if attempt.probes.get("inet_sendpage") != ABSENT:
        attempt.refusal = attempt.probes["ip_append_page"] = "sendpage needs all layers"


def _is_attachable(attempt: Attempt, attacher: Attacher) -> bool:
    """Attach an empty program to one function that the backend needs; return False if the kernel refuses it.

    Kernels may load what they cannot attach.  That takes some time, so ask only before compiling, which takes far more.
    """
    needed = (p for p in attempt.backend.probes if p.kind is Kind.FEXIT and not p.without)
    for probe in itertools.islice(needed, 1):
        try:
            attacher.try_attaching(probe)
        except (RefusedError, OSError) as error:
            attempt.refuse(probe, error)
    return not attempt.refusal


def _attach_all(attempt: Attempt, attacher: Attacher, built: Built) -> None:
    """Attach every probe that is not refused, up to the first that is and that the backend needs."""
    for probe in filter(attempt.is_to_be_tried, attempt.backend.probes):
        try:
            attacher.attach(probe, built.programs.__getitem__)
        except (RefusedError, MissingFieldError, OSError) as error:
            attempt.refuse(probe, error)
            if attempt.refusal:
                return
        else:
            attempt.probes[probe.target] = ""


def _hand_over(attempt: Attempt, attacher: Attacher, built: Built, limits: Limits) -> None:
    maps = {name: built.maps[name] for name in (*MAPS, *((HEARD,) if attempt.names else ()))}
    attempt.maps = list(maps.values())
    attempt.programs = attacher.programs
    attempt.links = attacher.links
    if attacher.events:
        attempt.profile = attacher.events.open_profile()
        attempt.events = attacher.events.prefix
        attempt.links.append(attacher.events.leave_sweeper())
    give_all(maps["bwtop_free"], limits.ids)
    # Counting starts here, everywhere at once.
    libbpf.map_update(built.maps["bwtop_counting"], bytes(4), (1).to_bytes(4, "little"))
    attempt.since = time.monotonic()


def serve(
    connection: socket.socket,
    backends: Sequence[Backend],
    limits: Limits,
    folder: Path | None = None,
) -> None:
    """Try the backends in turn and send the results, with the descriptors of the first that attached.

    The message is JSON: {"attempts": [Attempt.description(), …], "since": seconds of the monotonic clock}; its
    descriptors are those of the last attempt, unless that was refused: the MAPS, the programs, kprobe_profile if it has
    "events", then what only has to stay open.

    Raise UnsuitedError if none can be tried.
    """
    if unsuited := features.unsuited():
        raise UnsuitedError(unsuited)
    attempts: list[Attempt] = []
    for backend in backends:
        attempts.append(try_backend(backend, limits, folder))
        if not attempts[-1].refusal:
            break
    message = {
        "attempts": [attempt.description() for attempt in attempts],
        "since": attempts[-1].since,
    }
    last = attempts[-1]
    descriptors = [] if last.refusal else last.descriptors()
    socket.send_fds(connection, [json.dumps(message).encode()], descriptors)
