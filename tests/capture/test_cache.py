"""The cache of compiled programs: whatever is not of this very bwtop, kernel and user is compiled anew, and no error."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.capture import cache
from bwtop.capture.cache import Built, Entry, UnusableError
from bwtop.capture.features import NOTHING
from bwtop.capture.selftest import prove
from bwtop.capture.session import Loading
from bwtop.rights import landlock
from tests.capture.kept import FEW, file
from tests.kernel.running import HANG, LAUNCHER

OTHER: Final = 65534

PROGRAMS: Final = Built({}, {"bwtop_send": NOTHING, "bwtop_recv": 9 * NOTHING})


# Files, without a kernel.


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    """Return an entry with a program in the cache."""
    inputs = cache.inputs("tracepoint", (1, 2), ["probe"], 3, ["-DMACRO=1"])
    made = Entry(tmp_path_factory.mktemp("cache"), "tracepoint", inputs)
    made.save(PROGRAMS, ["b", "a"])
    return made


def reason(entry: Entry) -> str:
    """Return the reason why an entry is not used."""
    with pytest.raises(UnusableError) as error:
        entry.load()
    return str(error.value)


def test_what_is_kept_is_returned(entry: Entry) -> None:
    kept = entry.load()
    assert kept.refused == {"a", "b"}
    assert kept.build() == PROGRAMS


@given(data=st.data())
def test_any_damage_is_found(entry: Entry, data: st.DataObject) -> None:
    path = file(entry.folder)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    place = data.draw(st.integers(0, len(whole) - 1), "place")
    if data.draw(st.booleans(), "cut"):
        del damaged[place:]
    else:
        damaged[place] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(damaged)
    try:
        assert reason(entry) == "the file is damaged"
    finally:
        path.write_bytes(whole)


@given(content=st.binary(max_size=200))
def test_foreign_content_is_refused(entry: Entry, content: bytes) -> None:
    path = file(entry.folder)
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        assert reason(entry) == "the file is damaged"
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("content", [[], {}, {"inputs": []}, 4711, None])
def test_content_of_another_kind_is_refused(entry: Entry, content: Any) -> None:
    """With the checksum that belongs to it."""
    path = file(entry.folder)
    whole = path.read_bytes()
    path.write_bytes(cache._text(content))
    try:
        assert reason(entry) == "the file is not bwtop's"
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel", ["6.1.0-1-amd64", "#1 SMP", "x86_64", "00"]),
        ("bwtop", ["0.0.1", "00"]),
        ("compiler", "__version__ = '0.1'"),
        ("backend", "fexit"),
        ("limits", [1, 3]),
        ("refused probes", []),
        ("BTF ids", [4]),
        ("definitions", ["-DMACRO=2"]),
    ],
)
def test_each_input_is_compared(entry: Entry, name: str, value: object) -> None:
    other = replace(entry, inputs={**entry.inputs, name: value})
    assert reason(other) == f"the programs in {entry.folder} differ in {name}"


def named_by_uname(place: int) -> Callable[[pytest.MonkeyPatch, Path], None]:
    def change(patch: pytest.MonkeyPatch, _: Path) -> None:
        fields = [*os.uname()]
        fields[place] = "other"
        patch.setattr(os, "uname", lambda: os.uname_result(fields))

    return change


def other_build(patch: pytest.MonkeyPatch, folder: Path) -> None:
    notes = folder / "notes"
    notes.write_bytes(b"another build id")
    patch.setattr(cache, "_NOTES", notes)


def other_source(patch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "tracepoint.c").write_text("int main;")
    patch.setattr(cache, "BPF_SOURCES", folder)


CHANGES: Final[dict[str, tuple[Callable[[pytest.MonkeyPatch, Path], None], str]]] = {
    "release": (named_by_uname(2), "kernel"),
    "version": (named_by_uname(3), "kernel"),
    "machine": (named_by_uname(4), "kernel"),
    "build": (other_build, "kernel"),
    "bwtop's version": (lambda patch, _: patch.setattr(cache, "__version__", "9"), "bwtop"),
    "C code": (other_source, "bwtop"),
    "Python code": (
        lambda patch, folder: patch.setattr(cache, "__file__", str(folder / "cache.py")),
        "bwtop",
    ),
    "BCC": (
        lambda patch, _: patch.setattr(cache, "_compiler", lambda: "__version__ = '9'"),
        "compiler",
    ),
}


@pytest.mark.parametrize(("change", "name"), CHANGES.values(), ids=CHANGES)
def test_inputs_tell_kernels_and_sources_apart(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch, Path], None],
    name: str,
) -> None:
    inputs = partial(cache.inputs, "kprobe", (1, 2), (), 0, None)
    before = inputs()
    assert inputs() == before
    change(monkeypatch, tmp_path)
    after = inputs()
    assert [key for key in before if before[key] != after[key]] == [name]


def test_kernel_that_cannot_be_identified_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_NOTES", Path("/nonexistent/notes"))
    with pytest.raises(UnusableError, match="cannot identify the kernel: /nonexistent/notes"):
        cache.inputs("kprobe", (1, 2), (), 0, None)


def test_other_users_have_a_folder_of_their_own_and_need_landlock(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user of the service also runs what measures: without Landlock it could write what root's rights load."""
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert cache.default_folder() == cache.SERVICE_FOLDER != cache.ROOT_FOLDER
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert reason(entry) == "without root the cache needs Landlock (Linux 5.13)"
    monkeypatch.setattr(landlock, "abi", lambda: 1)
    assert "belongs to uid 0" in reason(entry)


# With a kernel.


def started(folder: Path, limits: Any = FEW) -> str:
    """Start bwtop's capture, move known bytes, and return the origin of its programs."""
    capture = Loading(limits=limits, cache=folder).start()
    try:
        assert [str(result) for result in prove(capture) if not result.right] == []
        assert capture.fill.room == limits.ids
        return capture.report.start
    finally:
        capture.close()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that one start has filled."""
    folder = tmp_path_factory.mktemp("first")
    assert started(folder) == f"compiled (no programs in {folder})"
    return folder


@pytest.fixture
def filled(first: Path, tmp_path: Path) -> Path:
    """Return a copy of the filled cache."""
    return Path(shutil.copytree(first, tmp_path / "cache"))


def flip(folder: Path) -> None:
    content = bytearray(file(folder).read_bytes())
    content[len(content) // 3] ^= 4
    file(folder).write_bytes(content)


def link_file(folder: Path) -> None:
    there = file(folder).rename(folder.with_name("there"))
    (folder / "tracepoint").symlink_to(there)
    (folder / "fexit").symlink_to(there)
    (folder / "kprobe").symlink_to(there)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("attack", "why"),
    [(flip, "the file is damaged"), (link_file, "symbolic link")],
    ids=["bit", "file is a link"],
)
def test_unusable_file_is_not_used_and_written_anew(
    filled: Path, attack: Callable[[Path], object], why: str
) -> None:
    attack(filled)
    start = started(filled)
    assert start.startswith("compiled (")
    assert why in start
    assert started(filled) == f"from the cache in {filled}"


@pytest.mark.kernel
def test_unsafe_folder_is_neither_read_nor_written(filled: Path) -> None:
    os.chown(filled, OTHER, 0)
    before = {path.name: path.read_bytes() for path in filled.iterdir()}
    start = started(filled)
    assert start.startswith("compiled (")
    assert start.count("belongs to uid 65534") == 2, "why it is not read, and not written"
    assert {path.name: path.read_bytes() for path in filled.iterdir()} == before


@pytest.mark.kernel
def test_other_limits_are_compiled_and_have_their_size(filled: Path) -> None:
    more = replace(FEW, flows=2 * FEW.flows)
    assert "differ in limits" in started(filled, more)
    assert started(filled, more) == f"from the cache in {filled}"


@contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs during the block."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.kernel
def test_full_disk_is_no_error(tmp_path: Path) -> None:
    with mounted(tmp_path, "mode=700,size=16k"):
        start = started(tmp_path)
        assert start.startswith(f"compiled (no programs in {tmp_path}); cannot be cached: ")
        assert start.endswith("No space left on device")
        assert list(tmp_path.iterdir()) == [], "nothing unfinished is left"


@pytest.mark.kernel
def test_several_at_once_share_a_cache(tmp_path: Path) -> None:
    for wanted in ("compiled (", "from the cache in "):
        loadings = [Loading(limits=FEW, cache=tmp_path) for _ in range(2)]
        captures = [loading.start() for loading in loadings]
        starts = [capture.report.start for capture in captures]
        for capture in captures:
            capture.close()
        assert all(start.startswith(wanted) for start in starts), starts


# The command.

CHECKS: Final = """
mount -t tmpfs none /var/cache
"$@" --check
"$@" --check
stat -c '%A %u %n' /var/cache/bwtop /var/cache/bwtop/*
rm -r /var/cache/bwtop
"$@" --check --no-cache
test ! -e /var/cache/bwtop
"""


@pytest.mark.kernel
def test_check_says_whether_the_start_was_from_the_cache() -> None:
    script = ["unshare", "--mount", "sh", "-ec", CHECKS, "sh", sys.executable, str(LAUNCHER)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=5 * HANG, check=True)
    said = re.findall(r"^(\w+): works here|^  programs: (.*)|^([d-]rw.* /.*)", done.stdout, re.M)
    backends = {name for name, _, _ in said if name}
    origins = [origin for _, origin, _ in said if origin]
    files = [file for _, _, file in said if file]
    count = len(backends)
    assert origins == [
        *count * ["compiled (no programs in /var/cache/bwtop)"],
        *count * ["from the cache in /var/cache/bwtop"],
        *count * ["compiled (--no-cache)"],
    ]
    assert files == [
        "drwx------ 0 /var/cache/bwtop",
        *(f"-rw------- 0 /var/cache/bwtop/{name}" for name in sorted(backends)),
    ]
