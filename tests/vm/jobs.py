"""What is run in each kernel's guest: one table."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.vm.guest import PROGRESS, SHARED
from tests.vm.kernels import BY_NAME

EXACT = (
    "tests/kernel/test_tcp.py",
    "tests/kernel/test_udp.py",
    "tests/kernel/test_corks.py",
    "tests/kernel/test_other.py",
    "tests/kernel/test_layers.py",
    "tests/kernel/test_ids.py",
    "tests/kernel/test_remote_names.py",
)
"""The tests that count bytes exactly: every backend must pass them."""

IDENTITY = ("tests/kernel/test_identity.py",)
"""Who a process is all backends read alike; the first of them is asked on each kernel."""

FALLBACKS = ("tests/kernel/test_fallbacks.py",)
"""Starts bwtop many times, which takes long under emulation: on one kernel."""

CACHE = ("tests/kernel/test_cache.py",)
"""Starts bwtop many times, too: on one kernel, with the backends that not every machine has."""

REFUSALS = ("tests/kernel/test_refusals.py",)

PRIVILEGES = ("tests/kernel/test_privileges.py",)

BACKENDS = {
    "5.10": ("fexit", "kprobe"),
    "6.1": ("fexit", "kprobe"),
    "6.12": ("fexit", "tracepoint", "kprobe"),
    "newest": ("fexit", "tracepoint", "kprobe"),
    "6.1-arm64": ("kprobe",),
    "6.12-arm64": ("fexit", "tracepoint", "kprobe"),
}
"""The backends that a kernel must have.  One that it refuses is a failure."""

PREEMPTING = ("newest",)
"""Kernels that interrupt programs: there bytes may be missing where bwtop says that it missed events."""

HIDE_BTF = "mount -t tmpfs -o ro none /sys/kernel/btf"
ONLY_PRIVILEGED = "echo 2 > /proc/sys/kernel/unprivileged_bpf_disabled"

LIMIT = 2400
"""Seconds after which a job is interrupted: several times what the slowest one needs."""

SILENCE = 900
"""Seconds after which pytest says where a test waits."""

PATIENCE = 10
"""How many times longer than on a real processor something may take before a test calls it hung."""


@dataclass(frozen=True)
class Job:
    """One run of pytest."""

    name: str
    """Of its column in the table; the backend's, if there is nothing special about the run."""
    kernel: str
    backend: str = ""
    """The one that is forced; empty for bwtop's own choice."""
    preparation: str = ""
    """A command before it.  What it mounts is gone after the job."""
    arguments: tuple[str, ...] = EXACT

    @property
    def machine(self) -> str:
        """The kernel's."""
        return BY_NAME[self.kernel].machine

    @property
    def file(self) -> str:
        """The name of its results, in a form that is good for a file."""
        return "".join(c if c.isalnum() else "-" for c in self.name)


JOBS = (
    *(
        Job(
            backend,
            kernel,
            backend,
            arguments=EXACT
            + IDENTITY * (backend == backends[0])
            + FALLBACKS * (kernel == "6.1")
            + CACHE * (kernel == "6.12" and backend != "tracepoint"),
        )
        for kernel, backends in BACKENDS.items()
        for backend in backends
    ),
    Job("kprobe, BTF hidden", "6.1", "kprobe", HIDE_BTF, (*EXACT, "-m", "kernel and not starts")),
    Job("refusals", "6.1-arm64", arguments=REFUSALS),
    *(
        Job(
            "unprivileged_bpf_disabled=2", kernel, preparation=ONLY_PRIVILEGED, arguments=PRIVILEGES
        )
        for kernel in ("5.10", "6.1")
    ),
)


def chosen(
    machine: str | None, kernel: str | None, name: str | None, keywords: str | None
) -> list[Job]:
    """Return the jobs of a machine, a kernel and a column; of all, where None.  keywords: pytest's -k."""
    more = ("-k", keywords) if keywords else ()
    return [
        replace(job, arguments=(*job.arguments, *more))
        for job in JOBS
        if machine in (None, job.machine)
        and kernel in (None, job.kernel)
        and name in (None, job.name)
    ]


def script(jobs: list[Job]) -> str:
    """Return what runs jobs one after the other, with a line before and after each for `progress`."""
    return "\n".join(line for job in jobs for line in commands(job)) + "\nexit 0\n"


def commands(job: Job) -> Iterator[str]:
    """Yield what a guest's shell does for a job."""
    pytest = shlex.join([
        *("timeout", "--signal=INT", "--kill-after=60", str(LIMIT)),
        *("python3", "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", "-m", "kernel"),
        *("-o", f"faulthandler_timeout={SILENCE}", f"--junitxml={SHARED}/{job.file}.xml"),
        *job.arguments,
    ])  # fmt: skip
    environment = f"CI=true BWTOP_TEST_PATIENCE={PATIENCE}"
    if job.kernel in PREEMPTING:
        environment += " BWTOP_TEST_MAY_MISS=1"
    if job.backend:
        environment += f" BWTOP_TEST_BACKEND={job.backend}"
    alone = f"{job.preparation or ':'} && {environment} {pytest}"
    yield f"echo; echo '{PROGRESS}started {job.name}'"
    yield f"unshare --mount sh -c {shlex.quote(alone)}"
    yield f"echo $? > {SHARED}/{job.file}.status"
    yield f"sync; echo; echo '{PROGRESS}ended {job.name}'"
