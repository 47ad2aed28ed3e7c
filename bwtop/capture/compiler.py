"""The compiler: BCC, which makes maps and programs of the sources in bpf/.

No other module imports bcc: its LLVM takes more than 100 MB, which end with the loader's process.
"""

import ctypes
import os
from collections.abc import Callable, Iterable
from typing import Any, Self

from bwtop.capture import sources
from bwtop.capture.backends import Backend
from bwtop.capture.cache import Built
from bwtop.capture.linking import CHARGE_CALL, LISTEN_CALL, link


class CompileError(Exception):
    """BCC could not compile the program or create its maps; the text is its first complaint."""


class StandardError:
    """Captures what compilers write to descriptor 2, where the screen is."""

    def __enter__(self) -> Self:
        self._file = os.fdopen(os.memfd_create("stderr"), "rb")
        self._saved = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        return self

    def text(self) -> str:
        """Return everything written so far."""
        self._file.seek(0)
        return self._file.read().decode(errors="replace")

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        self._file.close()


def compile_with_headers(text: str) -> tuple[Callable[[str], bytes] | None, str]:
    """Compile with the kernel's own headers, which BCC finds beside its modules."""
    os.environ.pop("BCC_KERNEL_SOURCE", None)
    import bcc

    with StandardError() as said:
        try:
            module = bcc.BPF(text=text.encode(), cflags=["-w", "-ferror-limit=0"])
        except Exception:  # bcc raises nothing more precise
            return None, said.text()
    return lambda name: bytes(module.dump_func(name.encode())), ""


def compile_backend(backend: Backend, definitions: Iterable[str]) -> Any:
    """Return BCC's module: maps created, programs compiled and not yet loaded; raises CompileError."""
    os.environ["BCC_KERNEL_SOURCE"] = str(sources.BPF_SOURCES)
    import bcc

    flags = [*definitions, "-Wno-macro-redefined"]  # of BCC's own headers
    with StandardError() as said:
        try:
            return bcc.BPF(text=sources.text(backend.source).encode(), cflags=flags)
        except Exception as error:  # bcc raises nothing more precise
            lines = said.text().splitlines()
            complaint = next((line for line in lines if "error" in line), type(error).__name__)
            raise CompileError(f"BCC: {complaint.strip()}") from error


def built(module: Any, cast: int) -> Built:
    """Return the maps and the linked programs of BCC's module."""
    import bcc

    lib, handle = bcc.lib, ctypes.c_void_p(module.module)
    lib.bpf_table_name.restype = ctypes.c_char_p  # the others are declared, or return a number
    maps = (lib.bpf_table_name(handle, n) for n in range(lib.bpf_num_tables(handle)))
    names = [lib.bpf_function_name(handle, n) for n in range(lib.bpf_num_functions(handle))]
    called = {CHARGE_CALL: b"bwtop_charge", LISTEN_CALL: b"bwtop_listen"}
    functions = {n: module.dump_func(name) for n, name in called.items() if name in names}
    return Built(
        {name.decode(): lib.bpf_table_fd(handle, name) for name in maps},
        {name.decode(): link(module.dump_func(name), functions, cast) for name in names},
        owner=module,
    )
