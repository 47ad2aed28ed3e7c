"""A start from the cache of compiled programs: the same programs, without the compiler."""

import base64
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from bwtop.capture import libbpf
from bwtop.capture.attach import Attacher, Programs
from bwtop.capture.backends import BACKENDS, Backend, Probe, named
from bwtop.capture.libbpf import RefusedError
from bwtop.capture.selftest import prove
from bwtop.capture.session import Capture, Loading
from tests.capture.kept import FEW, rewrite
from tests.kernel.running import BACKEND, HANG, LAUNCHER

pytestmark = pytest.mark.kernel

CHOSEN: Final[Sequence[Backend]] = [named(BACKEND)] if BACKEND else BACKENDS


@contextmanager
def capturing(folder: Path | None) -> Iterator[Capture]:
    """Start a bwtop's capture, in this process, with a cache."""
    capture = Loading(CHOSEN, FEW, folder).start()
    try:
        yield capture
    finally:
        capture.close()


def wrong(capture: Capture) -> list[str]:
    """Move known bytes in every way; return what was not counted exactly."""
    return [str(result) for result in prove(capture) if not result.right]


def is_cached(capture: Capture) -> bool:
    return capture.report.start.startswith("from the cache in ")


START: Final = """
import sys
from pathlib import Path
from bwtop.capture import loader
from bwtop.capture.backends import BACKENDS, named
from bwtop.capture.session import Loading
from tests.capture.kept import FEW

serve = loader.serve

def observed(*arguments):
    serve(*arguments)
    print("with" if "bcc" in sys.modules else "without", "BCC", flush=True)

loader.serve = observed
Loading([*map(named, sys.argv[2:])] or BACKENDS, FEW, Path(sys.argv[1])).start()
"""


def started(folder: Path) -> str:
    """Start it in a fresh process, whose loader says whether it has imported BCC."""
    backends = [BACKEND] if BACKEND else []
    done = subprocess.run(
        [sys.executable, "-c", START, folder, *backends],
        cwd=LAUNCHER.parent,
        stdout=subprocess.PIPE,
        text=True,
        timeout=HANG,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that one start has filled."""
    path = tmp_path_factory.mktemp("cache")
    assert started(path) == "with BCC\n"
    return path


class Facts(NamedTuple):
    """What is to be the same."""

    programs: list[tuple[object, ...]]
    """By the kernel: tag is a hash of the instructions, without the numbers of maps."""
    maps: Mapping[str, tuple[object, ...]]
    probes: dict[str, str]
    notes: list[str]


def facts(capture: Capture) -> Facts:
    programs = map(libbpf.prog_info, capture.programs)
    maps = {name: libbpf.map_info(descriptor) for name, descriptor in capture._maps.items()}
    shapes = {
        name: (
            *(info.name, info.type, info.key_size, info.value_size),
            *(info.max_entries, info.map_flags, info.map_extra),
        )
        for name, info in maps.items()
    }
    return Facts(
        [(info.name, info.type, bytes(info.tag), info.xlated_prog_len) for info in programs],
        shapes,
        capture.report.probes,
        capture.report.notes,
    )


def test_cached_start_is_equal_to_a_compiled_one(folder: Path) -> None:
    """One after the other: events of kprobes are named after the process."""
    with capturing(folder) as cached:
        assert is_cached(cached)
        assert wrong(cached) == []
        found = facts(cached)
    with capturing(None) as compiled:
        assert compiled.report.start == "compiled (--no-cache)"
        assert facts(compiled) == found


def test_cached_start_imports_no_bcc(folder: Path) -> None:
    assert started(folder) == "without BCC\n"


def too_large(content: dict[str, Any]) -> None:
    for described in content["maps"].values():
        described["key_size"] = 1 << 31


def half_broken(content: dict[str, Any]) -> None:
    """Let some probes attach before one is refused: its program begins with an instruction that the kernel does not know."""
    programs = list(content["programs"].values())
    for program in programs[len(programs) // 2 :]:
        code = base64.b64decode(program["code"])
        program["code"] = base64.b64encode(b"\xff" * 8 + code[8:]).decode()


@pytest.mark.parametrize("damage", [half_broken, too_large])
def test_programs_that_the_kernel_refuses_are_compiled_anew(folder: Path, damage: Any) -> None:
    rewrite(folder, damage)
    with capturing(folder) as capture:
        assert capture.report.start.startswith("compiled (the kernel refuses "), "as it says"
        assert wrong(capture) == []
    with capturing(folder) as capture:
        assert is_cached(capture), "it was rewritten"


def test_probe_that_was_refused_before_may_be_refused_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hooks of cgroups where no hierarchy is mounted; a probe that is refused anew is one refusal too many."""
    attach = Attacher.attach
    refused: list[str] = []

    def refuse(attacher: Attacher, probe: Probe, programs: Programs) -> None:
        if probe.target in refused:
            raise RefusedError("not now")
        attach(attacher, probe, programs)

    monkeypatch.setattr(Attacher, "attach", refuse)
    with capturing(folder) as capture:
        optional = next(probe for probe in capture.report.backend.probes if probe.without)
    refused.append(optional.target)
    for start in ("compiled (the kernel refuses ", "from the cache in "):
        with capturing(folder) as capture:
            assert capture.report.start.startswith(start)
            assert capture.report.probes[optional.target] == "not now"
    refused.clear()
    with capturing(folder) as capture:
        assert is_cached(capture)
        assert capture.report.probes[optional.target] == "", "it is tried each time"
