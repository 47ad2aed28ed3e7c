"""The C code as BCC gets it, and each of its files alone."""

import re
import subprocess
from pathlib import Path

import pytest

from bwtop.capture import sources
from bwtop.capture.backends import BACKENDS, Backend
from tests.capture import natively
from tests.capture.flags import flags

FILES = sorted(path.name for path in sources.BPF_SOURCES.glob("*.[ch]"))
VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "typed": ("-DTYPED_POINTERS=",),
    "storage": ("-DTYPED_POINTERS=", "-DSOCKET_STORAGE="),
    "cast": ("-DTYPED_POINTERS=", "-DCAST_CALL=1", "-DTYPE_inet_sock=1", "-DTYPE_tcp_sock=1", "-DTYPE_udp_sock=1"),
    "calls": ("-DKEEPS_CALLS=", "-DTHREADS_IN_HASH"),
    "one layer": ("-DONE_LAYER=",),
    "old": ("-UTASK_STORAGE", "-DNO_KERNEL_READS", "-DNO_LOOPS", "-DSOCK_PROTOCOL_MASK=255"),
}  # fmt: skip
"""Macros that a file may find defined, beside the usual ones."""


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.h").write_text(text)
    return folder


def test_includes_are_put_in_their_places_once(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        a='one\n#include "b.h"\n#include "c.h"\nfour\n',
        b='#include "c.h"\n#include "b.h"\nbee\n',
        c="see\n",
    )
    assert sources.text("a.h", folder).splitlines() == [
        '#line 1 "a.h"',
        "one",
        '#line 1 "b.h"',
        '#line 1 "c.h"',
        "see",
        '#line 2 "b.h"',
        "",
        "bee",
        '#line 3 "a.h"',
        "",
        "four",
    ]


def test_includes_of_the_system_stay(tmp_path: Path) -> None:
    folder = written(tmp_path, a="#include <linux/types.h>\n")
    assert sources.text("a.h", folder) == '#line 1 "a.h"\n#include <linux/types.h>\n'


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    folder = written(tmp_path, a='#include "none.h"\n')
    with pytest.raises(FileNotFoundError, match=r"none\.h"):
        sources.text("a.h", folder)


@pytest.mark.kernel
def test_compile_error_names_file_and_line(tmp_path: Path) -> None:
    folder = written(
        tmp_path, a='int b;\n#include "b.h"\nint d = wrong;\n', b="int c;\n\nint e = worse;\n"
    )
    compiled, said = natively.compile_text(sources.text("a.h", folder))
    assert compiled is None
    assert re.findall(r"^(\S+?):(\d+):\d+: error", said, re.MULTILINE) == [
        ("b.h", "3"),
        ("a.h", "3"),
    ]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_programs_of_a_backend_are_in_its_text(backend: Backend) -> None:
    text = sources.text(backend.source)
    assert not re.search('#include "', text)
    for probe in backend.probes:
        assert re.search(rf"\b{probe.program}\b", text), probe.program


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", FILES)
def test_each_file_compiles_alone(name: str, variant: str) -> None:
    """By a compiler that knows nothing of BCC."""
    words = ["gcc", *flags(), *VARIANTS[variant], "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    words += ["-Wno-unknown-pragmas", "-Wno-unused", "-Wno-builtin-declaration-mismatch", name]
    done = subprocess.run(words, cwd=sources.BPF_SOURCES, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".h")])
def test_headers_have_guards(name: str) -> None:
    macro = f"BWTOP_{name.upper().replace('.', '_')}"
    pattern = rf"/\*.*?\*/\n#ifndef {macro}\n#define {macro}\n.*\n#endif\n"
    assert re.fullmatch(pattern, (sources.BPF_SOURCES / name).read_text(), re.DOTALL)
